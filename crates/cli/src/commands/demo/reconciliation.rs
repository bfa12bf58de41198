//! Both halves of what passed between the two, laid side by side.

use serde_json::{Map, Value, json};

use super::contract;
use super::processes::Processes;
use crate::answer::Problem;

const OURS: &str = "acme.evidence";
const THEIRS: &str = "globex.evidence";

/// What `evidence reconcile` says.
#[derive(Debug)]
pub(super) struct Reconciliation {
    report: Value,
}

/// Each operator exports its half; acme compares them.
pub(super) async fn reconcile(processes: &mut Processes) -> Result<Reconciliation, Problem> {
    for (home, with, out) in [
        ("acme", "globex.example", OURS),
        ("globex", "acme.example", THEIRS),
    ] {
        let export = ["evidence", "export", "--home", home, "--with", with];
        processes
            .run(&[&export[..], &["--out", out]].concat())
            .await?;
        let verify = ["evidence", "verify", out, "--trust", "trust"];
        processes.run(&verify).await?;
    }
    let report = compare(processes, &[]).await?;
    Ok(Reconciliation { report })
}

/// Compares the halves that were exported, and what else acme holds.
pub(super) async fn compare(processes: &mut Processes, more: &[&str]) -> Result<Value, Problem> {
    let files = ["evidence", "reconcile", OURS, THEIRS];
    let options = ["--trust", "trust", "--contract", contract::FILE];
    let (report, _) = processes
        .run_any(&[&files[..], &options, more].concat())
        .await?;
    Ok(report)
}

impl Reconciliation {
    pub(super) fn problems(&self) -> Vec<String> {
        if self.report.get("matched") == Some(&Value::Bool(true)) && self.calls() > 0 {
            return Vec::new();
        }
        vec![format!("the two halves do not match: {}", self.report)]
    }

    fn calls(&self) -> u64 {
        self.report
            .get("calls")
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        let of = |name: &str| self.report.get(name);
        json!({
            "ours": OURS,
            "theirs": THEIRS,
            "matched": of("matched"),
            "calls": of("calls"),
            "records": of("records"),
            "lines": of("lines"),
            "classes": of("classes"),
            "told": of("told"),
        })
    }

    pub(super) fn text(&self) -> String {
        let none = Map::new();
        let classes = self.report.get("classes").and_then(Value::as_object);
        let mut totals: Vec<String> = classes
            .unwrap_or(&none)
            .iter()
            .map(|(class, count)| format!("{count} {}", class.replace('_', " ")))
            .collect();
        // What matches first, then what does not.
        totals.sort_by_key(|total| !total.ends_with(" matched"));
        let records = self.report.get("records").and_then(Value::as_u64);
        format!(
            "BOTH HALVES. Acme exported its half into {OURS}, globex its own into {THEIRS}. Side by \
             side, {} calls and {} records:\n  {}\n",
            self.calls(),
            records.unwrap_or_default(),
            totals.join(", "),
        )
    }
}

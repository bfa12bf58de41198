//! A receipt that shows that something was asked for, and hides what.

use serde_json::{Value, json};

use super::lines::{Line, sequence};
use super::processes::Processes;
use super::world::World;
use crate::answer::{OrProblem as _, Problem};

const OPEN: &str = "refund.receipt";
const REDACTED: &str = "redacted.receipt";
/// A word of the parameters.
const WORD: &[u8] = b"amount_cents";

/// Both receipts of one record.
#[derive(Debug)]
pub(super) struct Redaction {
    call: usize,
    open: Value,
    redacted: Value,
    taken_out: Value,
    /// Whether the bytes of either file hold what was asked for.
    open_tells: bool,
    redacted_tells: bool,
}

/// Gets acme's receipt of a request with all that it can disclose, and takes that out again.
pub(super) async fn redact(
    line: &Line<'_>,
    world: &World,
    processes: &mut Processes,
) -> Result<Redaction, Problem> {
    let number = line.acme.as_ref().and_then(sequence).unwrap_or_default();
    let number = number.to_string();
    let get = ["receipt", "get", "--home", "acme", "--sequence", &number];
    let more = ["--disclose", "all", "--wait", "witnessed", "--out", OPEN];
    processes.run(&[&get[..], &more].concat()).await?;
    let redact = ["receipt", "redact", OPEN, "--out", REDACTED];
    let hide = ["--hide", "parameters,evaluation-input,contract"];
    let redacted = processes.run(&[&redact[..], &hide].concat()).await?;
    let mut explained = Vec::new();
    for file in [OPEN, REDACTED] {
        let verify = ["verify", file, "--trust", "trust", "--level", "witnessed"];
        let (report, _) = processes.run_any(&verify).await?;
        let first = report.pointer("/receipts/0").cloned();
        explained.push(first.unwrap_or(Value::Null));
    }
    let mut explained = explained.into_iter();
    let mut next = || explained.next().unwrap_or(Value::Null);
    let tells = |file: &str| {
        let bytes = std::fs::read(world.directory.join(file)).at(file)?;
        Ok::<_, Problem>(bytes.windows(WORD.len()).any(|window| window == WORD))
    };
    Ok(Redaction {
        call: line.number,
        open: next(),
        redacted: next(),
        taken_out: redacted.get("taken_out").cloned().unwrap_or(Value::Null),
        open_tells: tells(OPEN)?,
        redacted_tells: tells(REDACTED)?,
    })
}

impl Redaction {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for receipt in [&self.open, &self.redacted] {
            if receipt.get("verified") != Some(&Value::Bool(true)) {
                problems.push(format!("a receipt is not verified: {receipt}"));
            }
        }
        let hides = names(&self.redacted, "hidden").contains("parameters");
        if !hides || self.redacted_tells || !self.open_tells {
            problems.push("the redacted receipt does not hide what was asked for".to_owned());
        }
        problems
    }

    pub(super) fn json(&self) -> Value {
        let redacted = &self.redacted;
        json!({
            "call": self.call,
            "id": redacted.pointer("/record/id"),
            "file": REDACTED,
            "taken_out": self.taken_out,
            "verified": redacted.get("verified"),
            "level": redacted.get("level"),
            "disclosed": redacted.get("disclosed"),
            "hidden": redacted.get("hidden"),
            "holds_the_parameters": self.redacted_tells,
            "open": {
                "file": OPEN,
                "verified": self.open.get("verified"),
                "level": self.open.get("level"),
                "disclosed": self.open.get("disclosed"),
                "hidden": self.open.get("hidden"),
                "holds_the_parameters": self.open_tells,
            },
        })
    }

    pub(super) fn text(&self) -> String {
        format!(
            "A REDACTED RECEIPT. {OPEN} is acme's receipt of call {} and discloses: {}. {REDACTED} is \
             the same without: {}. It verifies up to the same level, for nothing that is signed was \
             changed: a record holds no more than salted digests of these.\n",
            self.call,
            names(&self.open, "disclosed"),
            names(&self.redacted, "hidden"),
        )
    }
}

/// The fields of one list, for people.
fn names(receipt: &Value, list: &str) -> String {
    let names: Vec<&str> = receipt
        .get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    names.join(", ")
}

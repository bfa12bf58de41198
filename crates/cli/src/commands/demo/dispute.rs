//! The dispute: globex denies an outcome that it has signed, and acme proves that it has.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::lines::{Line, field, level};
use super::processes::Processes;
use super::reconciliation::compare;
use super::world::World;
use crate::answer::{OrProblem as _, Problem};

/// The whole journal of globex, for the program that plays its dishonest self.
const JOURNAL: &str = "globex-journal.evidence";
const DENIAL: &str = "denial.receipt";
/// Where acme puts its proofs, and what is all that the arbiter has.
const FAULTS: &str = "faults";
const ARBITER: &str = "arbiter";
const PROOF: &str = "globex.example.own_record_denied.fault";
const ALTERED: &str = "altered.fault";
/// The reason that the denial gives, and another one of the same length.
const REASON: &str = "not_ours";
const OTHER_REASON: &str = "not_mine";

/// What the two disagree about.
#[derive(Debug)]
pub(super) struct Quarrel {
    call: usize,
    asks: String,
    /// The outcome: its id, and the receipt of it that acme got from globex.
    id: String,
    receipt: String,
    level: String,
    /// What the honest globex says when it is told to deny it.
    honest: String,
}

/// The dispute and its end.
#[derive(Debug)]
pub(super) struct Dispute {
    quarrel: Quarrel,
    /// What `verify` says of the denial.
    denial: Value,
    /// What `fault prove` has found, of anybody.
    faults: Vec<Value>,
    /// What acme's comparison says once it has the denial.
    contradicting: u64,
    /// What the arbiter finds of the proof, and of an altered copy.
    verdict: Value,
    altered: Value,
}

impl Quarrel {
    /// Somebody at globex wants the outcome of a call to be undone: `channel deny` does not do it.
    pub(super) async fn begin(line: &Line<'_>, processes: &mut Processes) -> Result<Self, Problem> {
        let outcome = line
            .outcome
            .as_ref()
            .ok_or_else(|| Problem::new("acme has no outcome of globex's to dispute"))?;
        let receipt = outcome.get("file").and_then(Value::as_str);
        let (Some(receipt), Some(id)) = (receipt, field(outcome, "id")) else {
            return Err(Problem::new("the outcome in dispute has no receipt"));
        };
        let deny = ["channel", "deny", "--home", "globex", "--with"];
        let what = ["acme.example", receipt, "--reason", REASON];
        let honest = processes.run_refused(&[&deny[..], &what].concat()).await?;
        let export = ["evidence", "export", "--home", "globex", "--out", JOURNAL];
        processes.run(&export).await?;
        Ok(Self {
            call: line.number,
            asks: line.call.planned.about.clone(),
            id: id.to_owned(),
            receipt: receipt.to_owned(),
            level: level(Some(outcome)).to_owned(),
            honest,
        })
    }

    /// So globex takes its key to another program. Nothing of the demo runs any more: what acme
    /// holds must be enough, and for the arbiter, what acme hands over.
    pub(super) async fn end(
        self,
        world: &World,
        processes: &mut Processes,
    ) -> Result<Dispute, Problem> {
        let arguments = ["globex/keys/enforcer.pem", JOURNAL, &self.id, DENIAL];
        processes
            .run_program(&world.dishonest_globex, &arguments)
            .await?;
        let verify = ["verify", DENIAL, "--trust", "trust", "--level", "signed"];
        let (denial, _) = processes.run_any(&verify).await?;
        let prove = ["fault", "prove", "auto", DENIAL, "--home", "acme"];
        let found = processes
            .run_any(&[&prove[..], &["--out", FAULTS]].concat())
            .await?
            .0;
        let compared = compare(processes, &["--we-hold", DENIAL]).await?;
        hand_over(&world.directory, processes)?;
        let mut verdicts = Vec::new();
        for proof in [PROOF, ALTERED] {
            let verify = ["fault", "verify", proof, "--trust", "trust"];
            verdicts.push(processes.run_in(ARBITER, &verify).await?.0);
        }
        let mut verdicts = verdicts.into_iter();
        let mut next = || verdicts.next().unwrap_or(Value::Null);
        Ok(Dispute {
            quarrel: self,
            denial: denial
                .pointer("/receipts/0")
                .cloned()
                .unwrap_or(Value::Null),
            faults: found
                .get("faults")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
            contradicting: compared
                .pointer("/classes/contradicting")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
            verdict: next(),
            altered: next(),
        })
    }
}

/// Gives the arbiter the trust file and the proof; and, in a second file, a proof in which globex
/// states another reason than it did.
fn hand_over(directory: &Path, processes: &mut Processes) -> Result<(), Problem> {
    let folder = directory.join(ARBITER);
    fs::create_dir(&folder).at(folder.display())?;
    let proof = directory.join(FAULTS).join(PROOF);
    fs::copy(directory.join("trust"), folder.join("trust")).at("trust")?;
    let mut bytes = fs::read(&proof).at(proof.display())?;
    fs::write(folder.join(PROOF), &bytes).at(PROOF)?;
    processes.note(format!(
        "mkdir {ARBITER} && cp trust {FAULTS}/{PROOF} {ARBITER}/"
    ));
    let stated = bytes
        .windows(REASON.len())
        .position(|window| window == REASON.as_bytes())
        .ok_or_else(|| Problem::new("the proof does not hold the denial's reason"))?;
    for (byte, other) in bytes.iter_mut().skip(stated).zip(OTHER_REASON.bytes()) {
        *byte = other;
    }
    fs::write(folder.join(ALTERED), bytes).at(ALTERED)?;
    processes.note(format!(
        "LC_ALL=C sed s/{REASON}/{OTHER_REASON}/ {ARBITER}/{PROOF} > {ARBITER}/{ALTERED}"
    ));
    Ok(())
}

impl Dispute {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.quarrel.honest.contains("record_is_ours") {
            problems.push(format!("globex would deny it: {}", self.quarrel.honest));
        }
        if self.denial.get("verified") != Some(&Value::Bool(true)) {
            problems.push(format!("globex has not signed a denial: {}", self.denial));
        }
        let only = match self.faults.as_slice() {
            [fault] => {
                fault.get("kind") == Some(&json!("own_record_denied"))
                    && fault.get("accused") == Some(&json!("globex.example"))
            }
            _ => false,
        };
        if !only {
            problems.push(format!(
                "not exactly one fault is proven: {:?}",
                self.faults
            ));
        }
        if self.contradicting == 0 {
            problems.push("no call contradicts itself".to_owned());
        }
        if self.verdict.get("convicts") != Some(&Value::Bool(true))
            || self.verdict.get("accused") != Some(&json!("globex.example"))
        {
            problems.push(format!("globex is not convicted: {}", self.verdict));
        }
        if self.altered.get("convicts") != Some(&Value::Bool(false)) {
            problems.push(format!("an altered proof convicts: {}", self.altered));
        }
        problems
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "call": self.quarrel.call,
            "asks": self.quarrel.asks,
            "outcome": {
                "id": self.quarrel.id,
                "file": self.quarrel.receipt,
                "level": self.quarrel.level,
            },
            "honest_globex_says": self.quarrel.honest,
            "denial": { "file": DENIAL, "signed_by_globex": self.denial.get("verified") },
            "faults": self.faults,
            "contradicting": self.contradicting,
            "arbiter": {
                "dir": ARBITER,
                "file": PROOF,
                "convicts": self.verdict.get("convicts"),
                "accused": self.verdict.get("accused"),
                "kind": self.verdict.get("kind"),
                "finding": self.verdict.get("finding"),
            },
            "altered": {
                "file": ALTERED,
                "convicts": self.altered.get("convicts"),
                "failure": self.altered.pointer("/failure/code"),
            },
        })
    }

    pub(super) fn text(&self) -> String {
        let of = |value: &Value, name: &str| {
            let found = value.pointer(name).and_then(Value::as_str);
            found.unwrap_or("nothing").to_owned()
        };
        let verdict = match self.verdict.get("convicts") {
            Some(Value::Bool(true)) => "CONVICTED",
            _ => "NOT CONVICTED",
        };
        format!(
            "THE DISPUTE. Globex has signed that call {} ({}) succeeded, and denies it now. Its own \
             `channel deny` refuses to, because the record is in its journal; so globex takes its \
             key to another program, which signs the denial. Acme lays that beside the outcome that \
             globex sent it and has a fault proof ({}). Everything has stopped by now. An arbiter \
             has the proof and the trust file, no network, and nobody's word:\n  \
             {verdict}: {}\nIn a copy in which the denial gives another reason, its signature does \
             not hold ({}), and nobody is convicted.\n",
            self.quarrel.call,
            self.quarrel.asks,
            of(&self.verdict, "/kind"),
            of(&self.verdict, "/accused"),
            of(&self.altered, "/failure/code"),
        )
    }
}

//! What must have come out, and what the demo says of it to machines.

use std::path::Path;

use serde_json::{Value, json};

use super::contract::Contract;
use super::dispute::Dispute;
use super::lines::{Line, level, sequence, sorted};
use super::reconciliation::Reconciliation;
use super::redaction::Redaction;
use super::session::Receipts;
use super::witnessed::Witnessed;
use crate::answer::{Answer, Exit};

/// Everything that is known in the end.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) directory: &'a Path,
    pub(super) kept: bool,
    pub(super) seconds: f64,
    pub(super) lines: &'a [Line<'a>],
    pub(super) receipts: &'a Receipts,
    pub(super) contract: &'a Contract,
    pub(super) witnessed: Witnessed,
    pub(super) reconciliation: &'a Reconciliation,
    pub(super) redaction: &'a Redaction,
    pub(super) dispute: &'a Dispute,
    pub(super) journals: &'a [Value],
    /// What `log check` says of the log.
    pub(super) log: &'a Value,
    /// The process that was killed in the middle of the session, if one was.
    pub(super) killed: Option<&'static str>,
    /// What the tool server really did.
    pub(super) did: &'a [String],
    pub(super) tampered: bool,
    pub(super) commands: &'a [String],
}

impl Report<'_> {
    pub(super) fn answer(&self) -> Answer {
        let problems = self.problems();
        Answer {
            json: self.json(&problems),
            text: self.text(&problems),
            exit: if problems.is_empty() {
                Exit::Good
            } else {
                Exit::NotVerified
            },
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for line in self.lines {
            let number = line.number;
            if !line.became_what_it_must() {
                let call = line.call;
                problems.push(format!(
                    "call {number} ({}) became: {}; expected {:?}",
                    call.planned.about, call.result.text, call.planned.expected
                ));
            }
            if level(line.acme.as_ref()) != "witnessed" {
                problems.push(format!("call {number} has no witnessed receipt of acme"));
            }
            if line.crosses() && level(line.globex.as_ref()) != "witnessed" {
                problems.push(format!("call {number} has no witnessed receipt of globex"));
            }
        }
        problems.extend(self.evidence_problems());
        let executed = self.lines.iter().filter(|line| line.is_done_by_globex());
        let executed = executed.count();
        if self.did.len() != executed {
            problems.push(format!(
                "the tool server did {} things, {executed} were allowed",
                self.did.len()
            ));
        }
        if !self.tampered {
            problems.push("nothing was tampered with".to_owned());
        }
        problems.extend(self.contract.problems());
        problems.extend(self.witnessed.problems());
        problems.extend(self.reconciliation.problems());
        problems.extend(self.redaction.problems());
        problems.extend(self.dispute.problems());
        problems
    }

    fn evidence_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.receipts.verified != self.receipts.files || self.receipts.files == 0 {
            problems.push(format!(
                "{} of {} receipts verified",
                self.receipts.verified, self.receipts.files
            ));
        }
        for journal in self.journals {
            if journal.get("verified") != Some(&Value::Bool(true)) {
                problems.push(format!("a journal does not verify: {journal}"));
            }
        }
        for (operator, receipts) in [
            ("acme", &self.receipts.acme),
            ("globex", &self.receipts.globex),
        ] {
            if let Some(sequence) = first_gap(receipts) {
                problems.push(format!("{operator} has no receipt of record {sequence}"));
            }
        }
        if self.log.get("ok") != Some(&Value::Bool(true)) {
            problems.push(format!("the log does not hold together: {}", self.log));
        }
        problems
    }

    fn json(&self, problems: &[String]) -> Value {
        json!({
            "passed": problems.is_empty(),
            "problems": problems,
            "seconds": self.seconds,
            "dir": self.kept.then_some(self.directory),
            "calls": self.lines.iter().map(Line::json).collect::<Vec<_>>(),
            "receipts": { "files": self.receipts.files, "verified": self.receipts.verified },
            "contract": self.contract.json(),
            "witnessed_call": self.witnessed.json(),
            "reconciliation": self.reconciliation.json(),
            "redacted": self.redaction.json(),
            "dispute": self.dispute.json(),
            "tool_did": self.did,
            "journals": self.journals,
            "log": self.log,
            "killed": self.killed,
            "commands": self.commands,
        })
    }
}

/// The first sequence that is not there among the receipts of a whole journal.
fn first_gap(receipts: &[Value]) -> Option<u64> {
    let sequences = sorted(receipts, |_| true);
    (0..)
        .zip(&sequences)
        .find(|(expected, receipt)| sequence(receipt) != Some(*expected))
        .map(|(expected, _)| expected)
}

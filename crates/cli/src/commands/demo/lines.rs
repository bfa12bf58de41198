//! The calls, beside the receipts that both sides hold of them.

use serde_json::{Value, json};

use super::calls::{Expected, WITNESSED_TOOL};
use super::session::{MadeCall, Receipts};

/// One call with its receipts: a line of the table.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// The first is 1.
    pub(super) number: usize,
    pub(super) call: &'a MadeCall,
    /// Acme's request, or its decision where the call did not leave.
    pub(super) acme: Option<Value>,
    /// Globex's decision.
    pub(super) globex: Option<Value>,
    /// Globex's outcome.
    pub(super) outcome: Option<Value>,
}

/// Puts the receipts of both sides beside the calls. Acme has one request or decision for each
/// call, in order; globex's decisions name acme's requests, and its outcomes its decisions.
pub(super) fn lines<'a>(calls: &'a [MadeCall], receipts: &Receipts) -> Vec<Line<'a>> {
    let mut decided = sorted(&receipts.acme, |kind| {
        kind == "request" || kind == "decision"
    })
    .into_iter();
    let decisions = sorted(&receipts.globex_from_globex, |kind| kind == "decision");
    let outcomes = sorted(&receipts.globex_from_globex, |kind| kind == "outcome");
    let naming = |found: &[Value], name: &str, named: &Option<Value>| {
        let id = field(named.as_ref()?, "id")?;
        let mut found = found.iter();
        found.find(|one| field(one, name) == Some(id)).cloned()
    };
    (1..)
        .zip(calls)
        .map(|(number, call)| {
            let acme = decided.next();
            let globex = naming(&decisions, "request", &acme);
            let outcome = naming(&outcomes, "decision", &globex);
            Line {
                number,
                call,
                acme,
                globex,
                outcome,
            }
        })
        .collect()
}

impl Line<'_> {
    /// Whether the call reached the other operator.
    pub(super) fn crosses(&self) -> bool {
        !self.call.local && self.call.planned.expected.leaves()
    }

    /// Whether it was executed by globex, after its request had been witnessed.
    pub(super) fn is_witnessed(&self) -> bool {
        self.is_done_by_globex() && self.call.planned.tool == WITNESSED_TOOL
    }

    /// Whether globex did what it was asked for, as it should.
    pub(super) fn is_done_by_globex(&self) -> bool {
        !self.call.local
            && self.call.planned.expected == Expected::Done
            && self.became_what_it_must()
    }

    pub(super) fn millis(&self) -> u64 {
        u64::try_from(self.call.took.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn became_what_it_must(&self) -> bool {
        let result = &self.call.result;
        let tool_fails = self.call.planned.expected == Expected::ToolFails;
        match self.call.planned.expected.refusal() {
            Some(code) => result.refused.as_deref() == Some(code),
            None => result.refused.is_none() && result.is_error == tool_fails,
        }
    }

    pub(super) fn became(&self) -> String {
        let result = &self.call.result;
        match (&result.refused, self.call.planned.expected) {
            (None, _) if result.is_error => "the tool says no".to_owned(),
            (None, _) => "done".to_owned(),
            (Some(code), Expected::RefusedByGlobex(_)) => format!("refused by globex: {code}"),
            (Some(code), _) => format!("refused by acme: {code}"),
        }
    }

    pub(super) fn cells(&self) -> [String; 6] {
        [
            format!("{:>2}", self.number),
            self.call.planned.about.clone(),
            self.became(),
            format!("{:>4} ms", self.millis()),
            shown(self.acme.as_ref()),
            shown(self.globex.as_ref()),
        ]
    }

    pub(super) fn json(&self) -> Value {
        let planned = &self.call.planned;
        let file = |receipt: &Option<Value>| receipt.as_ref()?.get("file").cloned();
        json!({
            "asks": planned.about,
            "tool": planned.tool,
            "arguments": planned.arguments,
            "transport": if self.call.local { "stdio" } else { "http" },
            "tampered": planned.tampered.is_some(),
            "became": self.became(),
            "refused": self.call.result.refused,
            "text": self.call.result.text,
            "millis": self.millis(),
            "as_expected": self.became_what_it_must(),
            "acme_receipt": file(&self.acme),
            "globex_receipt": file(&self.globex),
        })
    }
}

/// The receipts of records of some kinds, in the order of the stream.
pub(super) fn sorted(receipts: &[Value], wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    let mut found: Vec<Value> = receipts
        .iter()
        .filter(|receipt| {
            receipt
                .pointer("/record/kind")
                .and_then(Value::as_str)
                .is_some_and(&wanted)
        })
        .cloned()
        .collect();
    found.sort_by_key(sequence);
    found
}

/// A text that the record of a receipt states.
pub(super) fn field<'a>(receipt: &'a Value, name: &str) -> Option<&'a str> {
    receipt.get("record")?.get(name)?.as_str()
}

pub(super) fn sequence(receipt: &Value) -> Option<u64> {
    receipt.pointer("/record/sequence").and_then(Value::as_u64)
}

/// The level that a receipt was verified at.
pub(super) fn level(receipt: Option<&Value>) -> &str {
    receipt
        .filter(|receipt| receipt.get("verified") == Some(&Value::Bool(true)))
        .and_then(|receipt| receipt.get("level"))
        .and_then(Value::as_str)
        .unwrap_or("none")
}

fn shown(receipt: Option<&Value>) -> String {
    match receipt {
        None => "-".to_owned(),
        Some(found) => {
            let sequence = sequence(found).unwrap_or_default();
            format!("{} ({sequence})", level(receipt))
        }
    }
}

//! What the demo prints.

use std::path::Path;

use comfy_table::{ContentArrangement, Table};
use serde_json::{Value, json};

use super::calls::Expected;
use super::{MadeCall, Receipts};
use crate::answer::{Answer, Exit};

/// Everything that is known after the session.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) directory: &'a Path,
    pub(super) kept: bool,
    pub(super) seconds: f64,
    pub(super) calls: &'a [MadeCall],
    pub(super) receipts: &'a Receipts,
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

/// One line of the table.
struct Line {
    asks: String,
    became: String,
    acme: Option<Value>,
    globex: Option<Value>,
    as_expected: bool,
}

impl Report<'_> {
    pub(super) fn answer(&self) -> Answer {
        let lines = self.lines();
        let problems = self.problems(&lines);
        Answer {
            json: self.json(&lines, &problems),
            text: self.text(&lines, &problems),
            exit: if problems.is_empty() {
                Exit::Good
            } else {
                Exit::NotVerified
            },
        }
    }

    /// Puts the receipts of both sides beside the calls. Acme has one request or decision for each
    /// call, in order; globex's decisions name acme's requests.
    fn lines(&self) -> Vec<Line> {
        let mut decided = sorted(&self.receipts.acme, |kind| {
            kind == "request" || kind == "decision"
        })
        .into_iter();
        let theirs = sorted(&self.receipts.globex_from_globex, |kind| kind == "decision");
        self.calls
            .iter()
            .map(|call| {
                let acme = decided.next();
                let id = acme.as_ref().and_then(|receipt| field(receipt, "id"));
                let globex = theirs
                    .iter()
                    .find(|receipt| id.is_some() && field(receipt, "request") == id)
                    .cloned();
                Line {
                    asks: call.planned.about.clone(),
                    became: became(call),
                    as_expected: as_expected(call),
                    acme,
                    globex,
                }
            })
            .collect()
    }

    fn problems(&self, lines: &[Line]) -> Vec<String> {
        let mut problems = Vec::new();
        for (number, (line, call)) in (1..).zip(lines.iter().zip(self.calls)) {
            if !line.as_expected {
                problems.push(format!(
                    "call {number} ({}) became: {}; expected {:?}",
                    line.asks, call.result.text, call.planned.expected
                ));
            }
            if level(line.acme.as_ref()) != "witnessed" {
                problems.push(format!("call {number} has no witnessed receipt of acme"));
            }
            let crosses = !call.local && call.planned.expected.leaves();
            if crosses && level(line.globex.as_ref()) != "witnessed" {
                problems.push(format!("call {number} has no witnessed receipt of globex"));
            }
        }
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
        let executed = self.expected_at_globex();
        if self.did.len() != executed {
            problems.push(format!(
                "the tool server did {} things, {executed} were allowed",
                self.did.len()
            ));
        }
        if !self.tampered {
            problems.push("nothing was tampered with".to_owned());
        }
        problems
    }

    fn expected_at_globex(&self) -> usize {
        self.calls
            .iter()
            .filter(|call| !call.local && call.planned.expected == Expected::Done)
            .count()
    }

    fn text(&self, lines: &[Line], problems: &[String]) -> String {
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header([
                "",
                "the agent asks",
                "what became of it",
                "acme's receipt",
                "globex's",
            ]);
        for (number, line) in (1..).zip(lines) {
            table.add_row([
                format!("{number:>2}"),
                line.asks.clone(),
                line.became.clone(),
                shown(line.acme.as_ref()),
                shown(line.globex.as_ref()),
            ]);
        }
        let dir = self.directory.display();
        let commands: String = self
            .commands
            .iter()
            .map(|line| format!("  {}\n", shortened(line)))
            .collect();
        let local = self.calls.iter().filter(|call| call.local).count();
        let killed = self.killed.map_or_else(String::new, |name| {
            format!("In the middle of its session {name} was killed (kill -9) and started again.\n")
        });
        let mut text = format!(
            "An agent of acme.example calls a support desk, {local} times its own over stdio, then \
             that of\nglobex.example over HTTP. Each operator decides with its own policy before \
             anything runs.\n{killed}\n{table}\n\n\
             The tool of globex was reached {} times; what was refused never reached it.\n\
             Acme holds globex's receipts and globex holds acme's: {} of {} files verified, with \
             nothing but\nthe trust file, up to the level `witnessed`: two witnesses cosigned the \
             log.\n\
             A receipt shows who stated what, and when, and that nobody can take it back. It does \
             not show\nthat the statement is true.\n\n\
             The commands, to be copied:\n\n{commands}\n",
            self.did.len(),
            self.receipts.verified,
            self.receipts.files,
        );
        if self.kept {
            text.push_str(&format!(
                "Everything lies in {dir}:\n  \
                 acme, globex   the homes of the operators: keys, policy, journal\n  \
                 log, w1, w2    the log and its witnesses\n  \
                 trust          whom everybody believes\n  \
                 receipts       the receipts\n  \
                 *.txt          what the processes wrote, and what the tools did\n\n\
                 next:\n  cd {dir}\n  counterfoil verify \
                 receipts/globex-from-globex/globex.example-000002.receipt --trust trust\n  \
                 counterfoil journal list --home acme\n\n"
            ));
        } else {
            text.push_str("next:\n  counterfoil demo --dir demo    # and look around in it\n\n");
        }
        for problem in problems {
            text.push_str(&format!("WRONG {problem}\n"));
        }
        text.push_str(&format!(
            "{} {} calls, {} receipts, {:.1} seconds\n",
            if problems.is_empty() {
                "PASSED"
            } else {
                "FAILED"
            },
            self.calls.len(),
            self.receipts.files,
            self.seconds
        ));
        text
    }

    fn json(&self, lines: &[Line], problems: &[String]) -> Value {
        let calls: Vec<Value> = lines
            .iter()
            .zip(self.calls)
            .map(|(line, call)| {
                json!({
                    "asks": line.asks,
                    "tool": call.planned.tool,
                    "arguments": call.planned.arguments,
                    "transport": if call.local { "stdio" } else { "http" },
                    "tampered": call.planned.tampered.is_some(),
                    "became": line.became,
                    "refused": call.result.refused,
                    "text": call.result.text,
                    "as_expected": line.as_expected,
                    "acme_receipt": line.acme.as_ref().and_then(|receipt| receipt.get("file")),
                    "globex_receipt": line.globex.as_ref().and_then(|receipt| receipt.get("file")),
                })
            })
            .collect();
        json!({
            "passed": problems.is_empty(),
            "problems": problems,
            "seconds": self.seconds,
            "dir": self.kept.then_some(self.directory),
            "calls": calls,
            "receipts": { "files": self.receipts.files, "verified": self.receipts.verified },
            "tool_did": self.did,
            "journals": self.journals,
            "log": self.log,
            "killed": self.killed,
            "commands": self.commands,
        })
    }
}

fn as_expected(call: &MadeCall) -> bool {
    let tool_fails = call.planned.expected == Expected::ToolFails;
    match call.planned.expected.refusal() {
        Some(code) => call.result.refused.as_deref() == Some(code),
        None => call.result.refused.is_none() && call.result.is_error == tool_fails,
    }
}

fn became(call: &MadeCall) -> String {
    match (&call.result.refused, call.planned.expected) {
        (None, _) if call.result.is_error => "the tool says no".to_owned(),
        (None, _) => "done".to_owned(),
        (Some(code), Expected::RefusedByGlobex(_)) => format!("refused by globex: {code}"),
        (Some(code), _) => format!("refused by acme: {code}"),
    }
}

/// The first sequence of a stream that has no receipt although a later one has, or that has two.
fn first_gap(receipts: &[Value]) -> Option<u64> {
    let sequences = sorted(receipts, |_| true);
    (0..)
        .zip(&sequences)
        .find(|(expected, receipt)| {
            receipt.pointer("/record/sequence").and_then(Value::as_u64) != Some(*expected)
        })
        .map(|(expected, _)| expected)
}

/// The receipts of records of some kinds, in the order of the stream.
fn sorted(receipts: &[Value], wanted: impl Fn(&str) -> bool) -> Vec<Value> {
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
    found.sort_by_key(|receipt| receipt.pointer("/record/sequence").and_then(Value::as_u64));
    found
}

fn field<'a>(receipt: &'a Value, name: &str) -> Option<&'a str> {
    receipt.get("record")?.get(name)?.as_str()
}

fn level(receipt: Option<&Value>) -> &str {
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
            let sequence = found.pointer("/record/sequence").and_then(Value::as_u64);
            format!("{} ({})", level(receipt), sequence.unwrap_or_default())
        }
    }
}

/// A command line without the long list of files that it was given.
fn shortened(line: &str) -> String {
    let mut shown = String::new();
    let mut files = 0_usize;
    for word in line.split(' ') {
        if word.ends_with(".receipt") {
            files += 1;
            if files == 1
                && let Some((folder, _)) = word.rsplit_once('/')
            {
                shown.push_str(&format!(" {folder}/*.receipt"));
            }
            continue;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(word);
    }
    shown
}

//! What the agent of the demo asks for, and what must become of it.

use serde_json::{Value, json};

/// Who says no, if anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Both operators allow it, and the tool does it.
    Done,
    /// Both allow it, and the tool reports an error of its own.
    ToolFails,
    /// The agent's own operator refuses; it never leaves.
    RefusedByAcme(&'static str),
    /// The other operator refuses; it never reaches the tool.
    RefusedByGlobex(&'static str),
}

impl Expected {
    /// The refusal code that the agent must see; none when the tool must be reached.
    pub(super) const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Done | Self::ToolFails => None,
            Self::RefusedByAcme(code) | Self::RefusedByGlobex(code) => Some(code),
        }
    }

    /// Whether the call travels to the other operator.
    pub(super) const fn leaves(self) -> bool {
        !matches!(self, Self::RefusedByAcme(_))
    }
}

/// One call of the agent.
#[derive(Clone, Debug)]
pub(super) struct PlannedCall {
    pub(super) tool: &'static str,
    pub(super) arguments: Value,
    pub(super) expected: Expected,
    /// What an attacker makes of the message on its way.
    pub(super) tampered: Option<(&'static str, &'static str)>,
    /// The call in a few words.
    pub(super) about: String,
}

/// The tool whose calls the contract wants witnessed before they are executed.
pub(super) const WITNESSED_TOOL: &str = "refund";

/// RISK_POINTS of the agent's budget: enough for everything but the refunds at the end.
pub(super) const BUDGET: u64 = 50;

/// After how many of these calls a process may be missing for some: about half, before a stretch of
/// that many calls that nobody has to witness before they are executed.
pub(super) fn quiet_stretch(calls: &[PlannedCall], without: usize) -> usize {
    let half = calls.len() / 2;
    let quiet = |stretch: &[PlannedCall]| stretch.iter().all(|call| call.tool != WITNESSED_TOOL);
    let later = calls.get(half..).unwrap_or_default();
    half + later
        .windows(without.max(1))
        .position(quiet)
        .unwrap_or_default()
}

/// The calls over HTTP, in order.
pub(super) fn over_http() -> Vec<PlannedCall> {
    let mut calls = Vec::new();
    for ticket in ["T-1001", "T-1002", "T-1003"] {
        calls.push(read(ticket, Expected::Done));
    }
    for word in ["lamp", "Monday", "photos", "piano"] {
        calls.push(search(word));
    }
    calls.push(mail("ann@customer.example", Expected::Done));
    calls.push(refund("T-1001", 2_000, Expected::Done));
    calls.push(refund(
        "X-7001",
        500,
        Expected::RefusedByAcme("contract_target"),
    ));
    calls.push(mail(
        "eve@elsewhere.example",
        Expected::RefusedByAcme("mail_outside"),
    ));
    calls.push(refund(
        "T-1003",
        9_000,
        Expected::RefusedByGlobex("policy_forbids"),
    ));
    calls.push(other(
        "delete_ticket",
        json!({ "id": "T-1001" }),
        Expected::RefusedByAcme("contract_action"),
    ));
    calls.push(read("T-9999", Expected::ToolFails));
    calls.push(PlannedCall {
        tampered: Some(("\"amount_cents\":1000", "\"amount_cents\":4900")),
        about: "refund 10.00, changed to 49.00 on the way".to_owned(),
        ..refund(
            "T-1002",
            1_000,
            Expected::RefusedByGlobex("parameters_mismatch"),
        )
    });
    calls.push(refund("T-1002", 1_500, Expected::Done));
    for word in ["shade", "green", "order", "tracking", "broken"] {
        calls.push(search(word));
    }
    calls.push(mail("ben@customer.example", Expected::Done));
    calls.push(mail("cem@customer.example", Expected::Done));
    calls.push(other(
        "read_ticket",
        json!({ "id": 1001 }),
        Expected::RefusedByAcme("policy_input_invalid"),
    ));
    for ticket in ["T-1001", "T-1002", "T-1003"] {
        calls.push(read(ticket, Expected::Done));
    }
    calls.push(refund("T-1003", 2_500, Expected::Done));
    calls.push(refund(
        "T-1003",
        2_500,
        Expected::RefusedByAcme("budget_exhausted"),
    ));
    calls.push(search("red"));
    calls
}

/// The calls over pipes, to a desk of acme's own.
pub(super) fn over_pipes() -> Vec<PlannedCall> {
    vec![
        read("T-1001", Expected::Done),
        mail(
            "eve@elsewhere.example",
            Expected::RefusedByAcme("mail_outside"),
        ),
        other(
            "delete_ticket",
            json!({ "id": "T-1001" }),
            Expected::RefusedByAcme("unknown_tool"),
        ),
        search("lamp"),
    ]
}

fn read(ticket: &str, expected: Expected) -> PlannedCall {
    PlannedCall {
        about: format!("read ticket {ticket}"),
        ..other("read_ticket", json!({ "id": ticket }), expected)
    }
}

fn search(word: &str) -> PlannedCall {
    PlannedCall {
        about: format!("search for {word}"),
        ..other("search", json!({ "query": word }), Expected::Done)
    }
}

fn mail(to: &str, expected: Expected) -> PlannedCall {
    let arguments = json!({ "to": to, "subject": "Your ticket", "body": "We are on it." });
    PlannedCall {
        about: format!("mail to {to}"),
        ..other("send_mail", arguments, expected)
    }
}

fn refund(ticket: &str, cents: u64, expected: Expected) -> PlannedCall {
    let arguments = json!({ "ticket": ticket, "amount_cents": cents });
    PlannedCall {
        about: format!("refund {}.{:02} for {ticket}", cents / 100, cents % 100),
        ..other("refund", arguments, expected)
    }
}

fn other(tool: &'static str, arguments: Value, expected: Expected) -> PlannedCall {
    PlannedCall {
        about: format!("{tool} {arguments}"),
        tool,
        arguments,
        expected,
        tampered: None,
    }
}

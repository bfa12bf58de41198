//! What contradicts what. Each function says in words how two statements of the accused contradict
//! each other, or refuses with `fault_not_shown`. Spec: faults §3.
//!
//! The statements are genuine when they get here: signed by the accused. Of two that may stand in
//! either order, the one with the lower id comes first, so that each fault has one proof.

use super::kind::FaultKind;
use crate::digest::{KeyThumbprint, RecordId};
use crate::failure::{Failure, FailureCode};
use crate::record::{
    Acknowledgement, Body, ChannelControl, ChannelEvent, ChannelLink, Decision, Event, Outcome,
    OutcomeStatus, Record, Request, Verdict, VerifiedRecord,
};

/// How the fault shows, in words.
pub(super) type Shown = Result<String, Failure>;

pub(super) fn not_shown(detail: impl Into<String>) -> Failure {
    Failure::new(FailureCode::FaultNotShown, detail)
}

/// Two records, for the kinds that are made of two records.
pub(super) fn records(kind: FaultKind, a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    match kind {
        FaultKind::StreamFork => stream_fork(a, b),
        FaultKind::ChannelFork => channel_fork(a, b),
        FaultKind::StreamLink => stream_link(a, b),
        FaultKind::ChannelLink => channel_link(a, b),
        FaultKind::DecidedTwice => decided_twice(a, b),
        FaultKind::SettledTwice => settled_twice(a, b),
        FaultKind::OwnRecordDenied => own_record_denied(a, b),
        FaultKind::AcknowledgementReversed => acknowledgement_reversed(a, b),
        FaultKind::ExecutedUnallowed => executed_unallowed(a, b),
        FaultKind::StreamContinued => stream_continued(a, b),
        other => Err(not_shown(format!("{other} is not made of two records"))),
    }
}

fn stream_fork(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    same_stream(a.kid(), b.kid())?;
    if a.record().sequence != b.record().sequence {
        return Err(not_shown("the records have different sequences"));
    }
    ascending(a.id().as_bytes(), b.id().as_bytes())?;
    Ok(format!(
        "records {} and {} are both number {} of stream {}",
        a.id(),
        b.id(),
        a.record().sequence,
        a.kid()
    ))
}

fn channel_fork(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    let (one, other) = same_channel(a, b)?;
    if one.sequence != other.sequence {
        return Err(not_shown("the records have different channel sequences"));
    }
    ascending(a.id().as_bytes(), b.id().as_bytes())?;
    Ok(format!(
        "records {} and {} are both number {} of stream {} to {}",
        a.id(),
        b.id(),
        one.sequence,
        a.kid(),
        one.counterparty
    ))
}

fn stream_link(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    same_stream(a.kid(), b.kid())?;
    if a.record().sequence.next() != Some(b.record().sequence) {
        return Err(not_shown("the second record is not the next of the first"));
    }
    if b.record().previous == Some(a.id()) {
        return Err(not_shown("the second record names the first"));
    }
    Ok(format!(
        "record {} of stream {} names another predecessor than record {}, {}",
        b.record().sequence,
        a.kid(),
        a.record().sequence,
        a.id()
    ))
}

fn channel_link(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    let (one, other) = same_channel(a, b)?;
    let steps = other.sequence.get().checked_sub(one.sequence.get());
    let steps = match steps {
        Some(steps) if steps > 0 => steps,
        _ => return Err(not_shown("the second record is not later in the channel")),
    };
    if steps == 1 && other.previous != Some(a.id()) {
        return Ok(format!(
            "record {} to {} names another predecessor than record {}, {}",
            other.sequence,
            one.counterparty,
            one.sequence,
            a.id()
        ));
    }
    // Each record of a channel takes a place of the stream.
    let (from, to) = (a.record().sequence.get(), b.record().sequence.get());
    if to.checked_sub(from).is_none_or(|places| places < steps) {
        return Ok(format!(
            "to {} they are numbers {} and {}, in the stream {from} and {to}",
            one.counterparty, one.sequence, other.sequence
        ));
    }
    Err(not_shown("the second record continues the first"))
}

fn decided_twice(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    same_stream(a.kid(), b.kid())?;
    let request = |decision: &Decision| decision.request.map(|request| request.id);
    let (Some(one), Some(other)) = (request(decision(a)?), request(decision(b)?)) else {
        return Err(not_shown("a decision names no request"));
    };
    if one != other {
        return Err(not_shown("the decisions are about different requests"));
    }
    ascending(a.id().as_bytes(), b.id().as_bytes())?;
    Ok(format!(
        "decisions {} and {} are both about request {one}",
        a.id(),
        b.id()
    ))
}

fn settled_twice(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    same_stream(a.kid(), b.kid())?;
    let (one, other) = (outcome(a)?, outcome(b)?);
    if one.decision != other.decision {
        return Err(not_shown("the outcomes are of different decisions"));
    }
    ascending(a.id().as_bytes(), b.id().as_bytes())?;
    Ok(format!(
        "outcomes {} ({}) and {} ({}) are both of {}",
        a.id(),
        one.status,
        b.id(),
        other.status,
        one.decision
    ))
}

fn own_record_denied(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    let Body::Channel(ChannelControl {
        event: ChannelEvent::RecordDenied { record, .. },
        ..
    }) = &b.record().body
    else {
        return Err(not_shown("the second record denies no record"));
    };
    if *record != a.id() {
        return Err(not_shown("the second record denies another record"));
    }
    Ok(format!("record {} denies record {record}", b.id()))
}

fn acknowledgement_reversed(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    let (one, _) = same_channel(a, b)?;
    if a.record().sequence >= b.record().sequence {
        return Err(not_shown("the second record is not later in the stream"));
    }
    for before in acknowledgements(a.record()) {
        for after in acknowledgements(b.record()) {
            if after.stream == before.stream && goes_back(before, after) {
                return Ok(format!(
                    "record {} acknowledges {} of stream {} of {} as {}, the later record {} \
                     acknowledges {} as {}",
                    a.record().sequence,
                    before.sequence,
                    before.stream,
                    one.counterparty,
                    before.id,
                    b.record().sequence,
                    after.sequence,
                    after.id
                ));
            }
        }
    }
    Err(not_shown("no acknowledgement goes back"))
}

/// Whether `after` acknowledges less of a stream than `before`, or another record at one place.
pub(super) fn goes_back(before: &Acknowledgement, after: &Acknowledgement) -> bool {
    after.sequence < before.sequence || (after.sequence == before.sequence && after.id != before.id)
}

/// What a record acknowledges: in its channel, and in its statement if it is one.
pub(super) fn acknowledgements(record: &Record) -> impl Iterator<Item = &Acknowledgement> {
    let of_channel = record.channel().and_then(|link| link.acknowledged.as_ref());
    let received = match &record.body {
        Body::Channel(ChannelControl {
            event: ChannelEvent::Statement(statement),
            ..
        }) => statement.received.as_slice(),
        _ => &[],
    };
    of_channel.into_iter().chain(received)
}

fn executed_unallowed(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    let outcome = outcome(b)?;
    if decision(a)?.evaluation.verdict != Verdict::Deny {
        return Err(not_shown("the first record does not deny"));
    }
    if outcome.decision != a.id() {
        return Err(not_shown("the outcome is of another decision"));
    }
    if !executed(outcome.status) {
        return Err(not_shown("the outcome does not say that it was executed"));
    }
    Ok(format!(
        "decision {} denies ({}), and outcome {} says: {}",
        a.id(),
        decision(a)?.evaluation.reason,
        b.id(),
        outcome.status
    ))
}

/// Whether an action with this outcome was executed, or tried.
pub(super) const fn executed(status: OutcomeStatus) -> bool {
    matches!(status, OutcomeStatus::Succeeded | OutcomeStatus::Failed)
}

fn stream_continued(a: &VerifiedRecord, b: &VerifiedRecord) -> Shown {
    same_stream(a.kid(), b.kid())?;
    if !matches!(a.record().body, Body::Control(Event::StreamClosed { .. })) {
        return Err(not_shown("the first record does not end the stream"));
    }
    if b.record().sequence <= a.record().sequence {
        return Err(not_shown("the second record is not after it"));
    }
    Ok(format!(
        "record {} ends stream {}, and there is a record {}",
        a.record().sequence,
        a.kid(),
        b.record().sequence
    ))
}

/// A request, which nothing but its id vouches for, and the decision that names it.
pub(super) fn allowed_otherwise(id: RecordId, asked: &Record, decided: &VerifiedRecord) -> Shown {
    let Body::Request(request) = &asked.body else {
        return Err(not_shown("the first record is not a request"));
    };
    let decision = decision(decided)?;
    if decision.request.map(|request| request.id) != Some(id) {
        return Err(not_shown("the decision is about another request"));
    }
    if decision.evaluation.verdict != Verdict::Allow {
        return Err(not_shown("the decision does not allow"));
    }
    match difference(request, decision, decided.issuer().as_str()) {
        Some(what) => Ok(format!(
            "decision {} allows request {id} with {what}",
            decided.id()
        )),
        None => Err(not_shown("the decision is about what was asked for")),
    }
}

/// What an allowing decision may not change. The tier is each side's own.
pub(super) fn difference(
    request: &Request,
    decision: &Decision,
    decider: &str,
) -> Option<&'static str> {
    let (asked, allowed) = (&request.action, &decision.action);
    if request.channel.counterparty.as_str() != decider {
        Some("another operator asked for it")
    } else if request.actor != decision.actor {
        Some("another actor")
    } else if (&asked.server, &asked.verb, &asked.tool)
        != (&allowed.server, &allowed.verb, &allowed.tool)
    {
        Some("another action")
    } else if request.parameters != decision.parameters {
        Some("other parameters")
    } else {
        None
    }
}

pub(super) fn same_stream(a: KeyThumbprint, b: KeyThumbprint) -> Result<(), Failure> {
    if a == b {
        Ok(())
    } else {
        Err(not_shown("the statements are signed with different keys"))
    }
}

fn same_channel<'a>(
    a: &'a VerifiedRecord,
    b: &'a VerifiedRecord,
) -> Result<(&'a ChannelLink, &'a ChannelLink), Failure> {
    same_stream(a.kid(), b.kid())?;
    match (a.record().channel(), b.record().channel()) {
        (Some(one), Some(other)) if one.counterparty == other.counterparty => Ok((one, other)),
        _ => Err(not_shown("the records are not of one channel")),
    }
}

/// One order for two statements that may stand in either, and no statement against itself.
pub(super) fn ascending(a: &[u8; 32], b: &[u8; 32]) -> Result<(), Failure> {
    match a.cmp(b) {
        core::cmp::Ordering::Less => Ok(()),
        core::cmp::Ordering::Equal => Err(not_shown("it is the same statement twice")),
        core::cmp::Ordering::Greater => Err(not_shown("the statements are in the wrong order")),
    }
}

fn decision(record: &VerifiedRecord) -> Result<&Decision, Failure> {
    match &record.record().body {
        Body::Decision(decision) => Ok(decision),
        _ => Err(not_shown("a record is not a decision")),
    }
}

fn outcome(record: &VerifiedRecord) -> Result<&Outcome, Failure> {
    match &record.record().body {
        Body::Outcome(outcome) => Ok(outcome),
        _ => Err(not_shown("a record is not an outcome")),
    }
}

//! What breaks the terms of a contract. Spec: faults §4.
//!
//! A breach is judged by what the accused has signed itself: its record says which contract it was
//! made under, and the contract says what such a record may be.

use super::conflict::{acknowledgements, not_shown};
use super::kind::FaultKind;
use crate::commitment::VerifiedCommitment;
use crate::contract::{Call, ContractReport, OutsideContract, Terms};
use crate::digest::{CheckpointDigest, RecordId};
use crate::disclosure::DisclosedField;
use crate::failure::Failure;
use crate::level::Level;
use crate::names::OperatorName;
use crate::numbers::{UnixMillis, UnixSeconds};
use crate::receipt::Receipt;
use crate::record::{Action, Body, Record, Verdict, VerifiedRecord};

/// The terms that a record was made under, if the contract was agreed on.
pub(super) fn terms<'a>(
    record: &Record,
    contract: &'a ContractReport,
) -> Result<&'a Terms, Failure> {
    if record.contract().is_none() || record.contract() != contract.digest {
        return Err(not_shown("the record was not made under this contract"));
    }
    if contract.acceptance.is_none() {
        return Err(not_shown("the contract was not accepted"));
    }
    let terms = contract.terms.as_ref();
    terms.ok_or_else(|| not_shown("the contract has no terms"))
}

/// A record that allows a call under a contract.
pub(super) fn contract(
    kind: FaultKind,
    record: &VerifiedRecord,
    receipt: &Receipt,
    contract: &ContractReport,
) -> Result<String, Failure> {
    let terms = terms(record.record(), contract)?;
    let mut disclosures = receipt.disclosures.iter();
    let parameters = disclosures
        .find(|disclosure| disclosure.field == DisclosedField::Parameters)
        .map(|disclosure| disclosure.content.as_slice());
    let call = call(record.issuer(), record.record(), parameters)?;
    match kind {
        FaultKind::OutsideContract => ended(record, contract, terms)
            .map_or_else(|| outside(&call, parameters.is_some(), terms), Ok),
        FaultKind::EvidenceTooLow => too_low(record.record(), &call, parameters.is_some(), terms),
        other => Err(not_shown(format!("{other} is not made of a call"))),
    }
}

/// Whether the record comes after the end of the contract, which the same enforcer has signed: by
/// its own order and its own clock.
fn ended(record: &VerifiedRecord, contract: &ContractReport, terms: &Terms) -> Option<String> {
    let end = contract.end.as_ref()?.facts.as_ref()?;
    let notice = terms.clauses().notice.get();
    let over = UnixMillis::new(end.record.time.get().checked_add(notice)?);
    let after = end.kid == record.kid()
        && end.issuer == *record.issuer()
        && end.record.sequence < record.record().sequence
        && over <= record.record().time;
    after.then(|| {
        format!(
            "record {} allows a call at {}, and record {} ended the contract at {over}",
            record.record().sequence,
            record.record().time,
            end.record.sequence
        )
    })
}

/// The call that a record allows.
fn call<'a>(
    issuer: &'a OperatorName,
    record: &'a Record,
    parameters: Option<&'a [u8]>,
) -> Result<Call<'a>, Failure> {
    let (asking, asked, action): (_, _, &Action) = match &record.body {
        Body::Request(request) => (issuer, &request.channel.counterparty, &request.action),
        Body::Decision(decision) => {
            if decision.evaluation.verdict != Verdict::Allow {
                return Err(not_shown("the record does not allow"));
            }
            (&decision.actor.operator, issuer, &decision.action)
        }
        _ => return Err(not_shown("the record is neither request nor decision")),
    };
    Ok(Call {
        asking,
        asked,
        action,
        parameters: parameters.unwrap_or_default(),
        time: record.time,
    })
}

fn outside(call: &Call<'_>, disclosed: bool, terms: &Terms) -> Result<String, Failure> {
    match terms.permits(call) {
        Ok(_) if disclosed => Err(not_shown("the contract permits the call")),
        Ok(_) => Err(not_shown("the contract permits such calls")),
        Err(
            OutsideContract::Target
            | OutsideContract::Parameters(_)
            | OutsideContract::Unreadable { .. },
        ) if !disclosed => Err(not_shown(
            "whether the contract permits the call depends on parameters that are not disclosed",
        )),
        Err(outside) => Ok(format!(
            "{} {} of {} is allowed at {}, and {outside} ({})",
            call.action.verb,
            call.action.tool,
            call.action.server,
            call.time,
            outside.reason()
        )),
    }
}

fn too_low(
    record: &Record,
    call: &Call<'_>,
    disclosed: bool,
    terms: &Terms,
) -> Result<String, Failure> {
    let Body::Decision(decision) = &record.body else {
        return Err(not_shown("the record is not a decision"));
    };
    let Some(request) = decision.request else {
        return Err(not_shown("the decision names no request"));
    };
    let needed = match terms.permits(call) {
        Ok(permitted) => Some(permitted.level),
        Err(
            OutsideContract::Target
            | OutsideContract::Parameters(_)
            | OutsideContract::Unreadable { .. },
        ) if !disclosed => least(call.action, terms),
        Err(_) => None,
    };
    let needed = needed.ok_or_else(|| not_shown("the contract does not permit the call"))?;
    if request.evidence >= needed {
        return Err(not_shown("the evidence reaches the level"));
    }
    Ok(format!(
        "{} {} was allowed on evidence at level {}, the contract needs {needed}",
        call.action.verb, call.action.tool, request.evidence
    ))
}

/// The least level that the terms need for an action, whatever its parameters are.
fn least(action: &Action, terms: &Terms) -> Option<Level> {
    let mut least: Option<Level> = None;
    for permission in &terms.clauses().permissions {
        let names = permission.server == action.server
            && permission.verb == action.verb
            && permission.tool.matches(action.tool.as_str());
        if !names {
            continue;
        }
        let level = terms.level(&permission.tier)?;
        least = Some(least.map_or(level, |least| least.min(level)));
        // It applies to whatever comes to it.
        if permission.targets.is_empty() {
            break;
        }
    }
    least
}

/// When a record was seen, and when the batch that holds it had not been closed yet.
pub(super) struct Publication<'a> {
    pub(super) record: &'a VerifiedRecord,
    /// What somebody else signed, and by when witnesses saw it.
    pub(super) seen: (&'a Record, Option<UnixSeconds>),
    pub(super) commitment: &'a VerifiedCommitment,
    /// The digest and the size of a checkpoint, and when its witnesses signed at the earliest.
    pub(super) beacon: (CheckpointDigest, u64, Option<UnixSeconds>),
    pub(super) terms: &'a Terms,
}

/// A record that was published later than the contract allows.
pub(super) fn late(publication: &Publication<'_>) -> Result<String, Failure> {
    let Publication {
        record,
        seen: (seen, by),
        commitment,
        beacon: (digest, size, since),
        terms,
    } = publication;
    let batch = commitment.commitment();
    if commitment.kid() != record.kid() {
        return Err(not_shown("the batch is of another stream"));
    }
    batch
        .index_of(record.record().sequence)
        .map_err(|failure| not_shown(failure.detail()))?;
    if !names(seen, record.id()) {
        return Err(not_shown("the receipt does not name the record"));
    }
    match batch.beacon {
        Some(beacon) if beacon.checkpoint == *digest && beacon.size == *size => {}
        _ => return Err(not_shown("the commitment names another checkpoint")),
    }
    let (Some(by), Some(since)) = (by, since) else {
        return Err(not_shown("witnesses say nothing about the times"));
    };
    let delay = terms.clauses().publish_delay.get();
    let latest = u128::from(by.get()) * 1000 + u128::from(delay);
    if u128::from(since.get()) * 1000 <= latest {
        return Err(not_shown("the batch may have been closed in time"));
    }
    Ok(format!(
        "record {} existed by {by}, its batch {} was closed after {since}, and the contract allows \
         {delay} ms",
        record.id(),
        batch.number
    ))
}

/// Whether a record names another, so that it cannot have been made before it.
fn names(record: &Record, id: RecordId) -> bool {
    let decided = match &record.body {
        Body::Decision(decision) => decision.request.map(|request| request.id),
        Body::Outcome(outcome) => outcome.answer,
        _ => None,
    };
    decided == Some(id) || acknowledgements(record).any(|seen| seen.id == id)
}

//! Reads the payload of a record. Every map is closed; what a kind may not have is refused.

use ciborium::Value;

use super::{
    Acknowledgement, Action, Actor, Beacon, Body, ChannelControl, ChannelEvent, ChannelLink,
    DecidedRequest, Decision, Evaluation, Event, MAX_POLICIES, MAX_RECEIVED, MAX_RESERVATIONS,
    Outcome, OutcomeStatus, Record, Request, Reservation, Settlement, Statement, Verdict,
};
use crate::attestation::{self, Attestation};
use crate::cbor::fields::{array, fixed, nullable, row, text, unsigned};
use crate::cbor::{Fields, Limits, decode};
use crate::cose::MAX_BYTES;
use crate::digest::{CheckpointDigest, ContentDigest, KeyThumbprint, RecordId};
use crate::failure::{Failure, FailureCode};
use crate::level::Level;
use crate::names::{
    AgentName, OperatorName, PolicyId, ReasonCode, Scope, ServerName, Tier, ToolName, Unit, Verb,
};
use crate::numbers::{Amount, ChannelSequence, Sequence, UnixMillis};

pub(super) fn payload(bytes: &[u8]) -> Result<Record, Failure> {
    record(decode(bytes, &Limits::untagged(MAX_BYTES))?).map_err(|failure| failure.at("record"))
}

fn record(value: Value) -> Result<Record, Failure> {
    let mut fields = Fields::of(value, "the record")?;
    let kind = unsigned(&fields.required(1)?, "kind")?;
    if !(1..=4).contains(&kind) {
        return Err(range(format!("kind {kind} does not exist")));
    }
    let sequence = Sequence::new(unsigned(&fields.required(2)?, "sequence")?);
    let previous = nullable(fields.required(3)?)
        .map(|value| id(&value, "previous"))
        .transpose()?;
    let time = UnixMillis::new(unsigned(&fields.required(4)?, "time")?);
    let beacon = fields.optional(5).map(beacon).transpose()?;
    let channel = fields.optional(6).map(channel).transpose()?;
    let body = match kind {
        1 => Body::Request(request(&mut fields, channel)?),
        2 => Body::Decision(decision(&mut fields, channel)?),
        3 => Body::Outcome(outcome(&mut fields, channel)?),
        _ => control(fields.required(18)?, channel)?,
    };
    fields.finish()?;
    if matches!(&body, Body::Request(request) if request.evaluation.verdict == Verdict::Deny) {
        return Err(range("a request with verdict deny".to_owned()));
    }
    Ok(Record {
        sequence,
        previous,
        time,
        beacon,
        body,
    })
}

fn request(fields: &mut Fields, channel: Option<ChannelLink>) -> Result<Request, Failure> {
    let channel = channel.ok_or_else(|| {
        Failure::new(
            FailureCode::StructureMissingField,
            "a request has no field 6",
        )
    })?;
    Ok(Request {
        channel,
        actor: actor(fields.required(7)?)?,
        action: action(fields.required(8)?)?,
        parameters: content(&fields.required(9)?, "parameters")?,
        evaluation: evaluation(fields.required(10)?)?,
        reservations: reservations(fields.required(11)?)?,
        contract: contract(fields)?,
        attestations: attestations(fields)?,
    })
}

fn decision(fields: &mut Fields, channel: Option<ChannelLink>) -> Result<Decision, Failure> {
    Ok(Decision {
        channel,
        actor: actor(fields.required(7)?)?,
        action: action(fields.required(8)?)?,
        parameters: content(&fields.required(9)?, "parameters")?,
        evaluation: evaluation(fields.required(10)?)?,
        reservations: reservations(fields.required(11)?)?,
        request: fields.optional(12).map(decided_request).transpose()?,
        contract: contract(fields)?,
        attestations: attestations(fields)?,
    })
}

fn outcome(fields: &mut Fields, channel: Option<ChannelLink>) -> Result<Outcome, Failure> {
    Ok(Outcome {
        channel,
        decision: id(&fields.required(13)?, "decision")?,
        status: status(unsigned(&fields.required(14)?, "status")?)?,
        result: fields
            .optional(15)
            .map(|value| content(&value, "result"))
            .transpose()?,
        answer: fields
            .optional(16)
            .map(|value| id(&value, "answer"))
            .transpose()?,
        settlements: settlements(fields.required(17)?)?,
        attestations: attestations(fields)?,
    })
}

fn decided_request(value: Value) -> Result<DecidedRequest, Failure> {
    let [request, evidence] = row::<2>(value, "the decided request")?;
    let request = id(&request, "request")?;
    let number = unsigned(&evidence, "evidence level")?;
    Ok(DecidedRequest {
        id: request,
        evidence: Level::from_number(number)
            .ok_or_else(|| range(format!("evidence level {number} does not exist")))?,
    })
}

fn contract(fields: &mut Fields) -> Result<Option<ContentDigest>, Failure> {
    fields
        .optional(19)
        .map(|value| content(&value, "contract"))
        .transpose()
}

fn attestations(fields: &mut Fields) -> Result<Vec<Attestation>, Failure> {
    fields
        .optional(20)
        .map(attestation::decode_all)
        .transpose()
        .map(Option::unwrap_or_default)
}

fn status(number: u64) -> Result<OutcomeStatus, Failure> {
    Ok(match number {
        1 => OutcomeStatus::Succeeded,
        2 => OutcomeStatus::Failed,
        3 => OutcomeStatus::NotExecuted,
        4 => OutcomeStatus::Unknown,
        5 => OutcomeStatus::RefusedByCounterparty,
        6 => OutcomeStatus::EvidenceInvalid,
        _ => return Err(range(format!("outcome status {number} does not exist"))),
    })
}

fn control(value: Value, channel: Option<ChannelLink>) -> Result<Body, Failure> {
    let mut fields = Fields::of(value, "the event")?;
    let number = unsigned(&fields.required(1)?, "event")?;
    let body = match number {
        1..=3 | 9 if channel.is_none() => Body::Control(event(number, &mut fields)?),
        1..=3 | 9 => {
            return Err(Failure::new(
                FailureCode::StructureUnknownField,
                format!("a control record with event {number} has no field 6"),
            ));
        }
        4..=8 => {
            let channel = channel.ok_or_else(|| {
                Failure::new(
                    FailureCode::StructureMissingField,
                    format!("a control record with event {number} has field 6"),
                )
            })?;
            Body::Channel(ChannelControl {
                channel,
                event: channel_event(number, &mut fields)?,
            })
        }
        _ => return Err(range(format!("event {number} does not exist"))),
    };
    fields.finish()?;
    Ok(body)
}

fn event(number: u64, fields: &mut Fields) -> Result<Event, Failure> {
    Ok(match number {
        1 => Event::StreamOpened {
            predecessor: thumbprint(fields, "predecessor")?,
        },
        2 => Event::Started {
            policy_set: content(&fields.required(2)?, "policy set")?,
            unresolved: unsigned(&fields.required(3)?, "unresolved")?,
        },
        3 => Event::MessageRefused {
            reason: reason(fields)?,
        },
        _ => Event::StreamClosed {
            successor: thumbprint(fields, "successor")?,
        },
    })
}

fn channel_event(number: u64, fields: &mut Fields) -> Result<ChannelEvent, Failure> {
    let contract = |fields: &mut Fields| content(&fields.required(5)?, "contract");
    Ok(match number {
        4 => ChannelEvent::ContractProposed {
            contract: contract(fields)?,
        },
        5 => ChannelEvent::ContractAccepted {
            contract: contract(fields)?,
            proposal: id(&fields.required(6)?, "proposal")?,
        },
        6 => ChannelEvent::ContractEnded {
            reason: reason(fields)?,
            contract: contract(fields)?,
        },
        7 => ChannelEvent::Statement(statement(fields)?),
        _ => ChannelEvent::RecordDenied {
            reason: reason(fields)?,
            record: id(&fields.required(6)?, "denied record")?,
        },
    })
}

fn statement(fields: &mut Fields) -> Result<Statement, Failure> {
    let from = ChannelSequence::new(unsigned(&fields.required(8)?, "period start")?);
    let received = array(fields.required(9)?, MAX_RECEIVED, "received")?
        .into_iter()
        .map(acknowledgement)
        .collect::<Result<Vec<_>, _>>()?;
    if !received.is_sorted_by(|a, b| a.stream < b.stream) {
        return Err(range("received streams are not ascending".to_owned()));
    }
    Ok(Statement {
        from,
        received,
        open: unsigned(&fields.required(10)?, "open requests")?,
    })
}

fn reason(fields: &mut Fields) -> Result<ReasonCode, Failure> {
    ReasonCode::new(text(fields.required(4)?, "reason")?)
}

fn thumbprint(fields: &mut Fields, place: &str) -> Result<Option<KeyThumbprint>, Failure> {
    fields
        .optional(7)
        .map(|value| fixed(&value, place).map(KeyThumbprint::from_bytes))
        .transpose()
}

pub(crate) fn beacon(value: Value) -> Result<Beacon, Failure> {
    let mut fields = Fields::of(value, "the beacon")?;
    let beacon = Beacon {
        size: unsigned(&fields.required(1)?, "beacon size")?,
        checkpoint: CheckpointDigest::from_bytes(fixed(&fields.required(2)?, "beacon checkpoint")?),
    };
    fields.finish()?;
    Ok(beacon)
}

fn channel(value: Value) -> Result<ChannelLink, Failure> {
    let mut fields = Fields::of(value, "the channel")?;
    let link = ChannelLink {
        counterparty: OperatorName::new(text(fields.required(1)?, "counterparty")?)?,
        sequence: ChannelSequence::new(unsigned(&fields.required(2)?, "channel sequence")?),
        previous: nullable(fields.required(3)?)
            .map(|value| id(&value, "previous channel record"))
            .transpose()?,
        acknowledged: nullable(fields.required(4)?)
            .map(acknowledgement)
            .transpose()?,
    };
    fields.finish()?;
    if (link.sequence.get() == 0) != link.previous.is_none() {
        return Err(Failure::new(
            FailureCode::RecordChainStart,
            "the first record of a channel names a predecessor, or a later one does not",
        ));
    }
    Ok(link)
}

fn acknowledgement(value: Value) -> Result<Acknowledgement, Failure> {
    let [stream, sequence, acknowledged] = row::<3>(value, "an acknowledgement")?;
    Ok(Acknowledgement {
        stream: KeyThumbprint::from_bytes(fixed(&stream, "acknowledged stream")?),
        sequence: ChannelSequence::new(unsigned(&sequence, "acknowledged sequence")?),
        id: id(&acknowledged, "acknowledged id")?,
    })
}

fn actor(value: Value) -> Result<Actor, Failure> {
    let mut fields = Fields::of(value, "the actor")?;
    let actor = Actor {
        operator: OperatorName::new(text(fields.required(1)?, "operator")?)?,
        agent: AgentName::new(text(fields.required(2)?, "agent")?)?,
        on_behalf_of: fields
            .optional(3)
            .map(|value| content(&value, "on behalf of"))
            .transpose()?,
        session: fields
            .optional(4)
            .map(|value| content(&value, "session"))
            .transpose()?,
    };
    fields.finish()?;
    Ok(actor)
}

fn action(value: Value) -> Result<Action, Failure> {
    let mut fields = Fields::of(value, "the action")?;
    let action = Action {
        server: ServerName::new(text(fields.required(1)?, "server")?)?,
        verb: Verb::new(text(fields.required(2)?, "verb")?)?,
        tool: ToolName::new(text(fields.required(3)?, "tool")?)?,
        tier: fields
            .optional(4)
            .map(|value| Tier::new(text(value, "tier")?))
            .transpose()?,
    };
    fields.finish()?;
    Ok(action)
}

fn evaluation(value: Value) -> Result<Evaluation, Failure> {
    let mut fields = Fields::of(value, "the evaluation")?;
    let verdict = match unsigned(&fields.required(1)?, "verdict")? {
        1 => Verdict::Allow,
        3 => Verdict::Deny,
        number => return Err(range(format!("verdict {number} does not exist"))),
    };
    let evaluation = Evaluation {
        verdict,
        reason: ReasonCode::new(text(fields.required(2)?, "reason")?)?,
        policies: array(fields.required(3)?, MAX_POLICIES, "policies")?
            .into_iter()
            .map(|value| PolicyId::new(text(value, "policy id")?))
            .collect::<Result<_, _>>()?,
        policy_set: content(&fields.required(4)?, "policy set")?,
        input: fields
            .optional(5)
            .map(|value| content(&value, "evaluation input"))
            .transpose()?,
    };
    fields.finish()?;
    Ok(evaluation)
}

fn reservations(value: Value) -> Result<Vec<Reservation>, Failure> {
    ledger_lines(value, "reservations", |scope, unit, amount, remaining| {
        Reservation {
            scope,
            unit,
            amount,
            remaining,
        }
    })
}

fn settlements(value: Value) -> Result<Vec<Settlement>, Failure> {
    ledger_lines(value, "settlements", |scope, unit, committed, remaining| {
        Settlement {
            scope,
            unit,
            committed,
            remaining,
        }
    })
}

fn ledger_lines<T>(
    value: Value,
    place: &'static str,
    line: impl Fn(Scope, Unit, Amount, Amount) -> T,
) -> Result<Vec<T>, Failure> {
    array(value, MAX_RESERVATIONS, place)?
        .into_iter()
        .map(|value| {
            let [scope, unit, amount, remaining] = row::<4>(value, place)?;
            Ok(line(
                Scope::new(text(scope, "scope")?)?,
                Unit::new(text(unit, "unit")?)?,
                Amount::new(unsigned(&amount, "amount")?),
                Amount::new(unsigned(&remaining, "remaining")?),
            ))
        })
        .collect()
}

fn id(value: &Value, place: &str) -> Result<RecordId, Failure> {
    fixed(value, place).map(RecordId::from_bytes)
}

fn content(value: &Value, place: &str) -> Result<ContentDigest, Failure> {
    fixed(value, place).map(ContentDigest::from_bytes)
}

fn range(detail: String) -> Failure {
    Failure::new(FailureCode::StructureOutOfRange, detail)
}

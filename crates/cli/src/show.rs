//! Records, receipts and times as text and JSON.

use std::fmt::Write as _;

use counterfoil_protocol::attestation::Attestation;
use counterfoil_protocol::digest::{KeyThumbprint, RecordId};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::{
    Acknowledgement, Action, Actor, Body, ChannelControl, ChannelEvent, ChannelLink, Evaluation,
    Event, Record, Reservation, Settlement, Statement,
};
use serde_json::{Map, Value, json};

/// Milliseconds since 1970 in ISO 8601, or as a number where no calendar reaches.
pub(crate) fn millis(time: u64) -> String {
    i64::try_from(time)
        .ok()
        .and_then(|time| jiff::Timestamp::from_millisecond(time).ok())
        .map_or_else(
            || format!("{time} ms after 1970"),
            |time| format!("{time:.3}"),
        )
}

/// Seconds since 1970 in ISO 8601, or as a number where no calendar reaches.
pub(crate) fn seconds(time: u64) -> String {
    i64::try_from(time)
        .ok()
        .and_then(|time| jiff::Timestamp::from_second(time).ok())
        .map_or_else(|| format!("{time} s after 1970"), |time| time.to_string())
}

/// A record for machines.
pub(crate) fn record(
    id: RecordId,
    issuer: &OperatorName,
    kid: KeyThumbprint,
    record: &Record,
) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("id", json!(id.to_string()));
    put("operator", json!(issuer.as_str()));
    put("key", json!(kid.to_string()));
    put("kind", json!(record.body.kind()));
    put("sequence", json!(record.sequence.get()));
    put("previous", json!(record.previous.map(|id| id.to_string())));
    put("time", json!(millis(record.time.get())));
    put(
        "beacon",
        json!(record.beacon.map(|beacon| json!({
            "size": beacon.size,
            "checkpoint": beacon.checkpoint.to_string(),
        }))),
    );
    match &record.body {
        Body::Request(request) => {
            put("channel", channel(&request.channel));
            put("contract", text(request.contract));
            put("actor", actor(&request.actor));
            put("action", action(&request.action));
            put("parameters", json!(request.parameters.to_string()));
            put("evaluation", evaluation(&request.evaluation));
            put("reservations", reservations(&request.reservations));
            put("attestations", attestations(&request.attestations));
        }
        Body::Decision(decision) => {
            put("channel", json!(decision.channel.as_ref().map(channel)));
            put("request", text(decision.request.map(|request| request.id)));
            put(
                "evidence",
                json!(decision.request.map(|request| request.evidence.as_str())),
            );
            put("contract", text(decision.contract));
            put("actor", actor(&decision.actor));
            put("action", action(&decision.action));
            put("parameters", json!(decision.parameters.to_string()));
            put("evaluation", evaluation(&decision.evaluation));
            put("reservations", reservations(&decision.reservations));
            put("attestations", attestations(&decision.attestations));
        }
        Body::Outcome(outcome) => {
            put("channel", json!(outcome.channel.as_ref().map(channel)));
            put("decision", json!(outcome.decision.to_string()));
            put("answer", json!(outcome.answer.map(|id| id.to_string())));
            put("status", json!(outcome.status.to_string()));
            put(
                "result",
                json!(outcome.result.map(|digest| digest.to_string())),
            );
            put("settlements", settlements(&outcome.settlements));
            put("attestations", attestations(&outcome.attestations));
        }
        Body::Control(event) => {
            put("event", json!(event.name()));
            match event {
                Event::StreamOpened { predecessor } => {
                    put("predecessor", text(*predecessor));
                }
                Event::StreamClosed { successor } => {
                    put("successor", text(*successor));
                }
                Event::Started {
                    policy_set,
                    unresolved,
                } => {
                    put("policy_set", json!(policy_set.to_string()));
                    put("unresolved", json!(unresolved));
                }
                Event::MessageRefused { reason } => {
                    put("reason", json!(reason.as_str()));
                }
            }
        }
        Body::Channel(ChannelControl {
            channel: link,
            event,
        }) => {
            put("channel", channel(link));
            put("event", json!(event.name()));
            put("contract", text(event.contract()));
            match event {
                ChannelEvent::ContractProposed { .. } => {}
                ChannelEvent::ContractAccepted { proposal, .. } => {
                    put("proposal", json!(proposal.to_string()));
                }
                ChannelEvent::ContractEnded { reason, .. } => {
                    put("reason", json!(reason.as_str()));
                }
                ChannelEvent::Statement(said) => {
                    put("statement", statement(said));
                }
                ChannelEvent::RecordDenied { record, reason } => {
                    put("denied", json!(record.to_string()));
                    put("reason", json!(reason.as_str()));
                }
            }
        }
    }
    Value::Object(object)
}

/// What a record states, in one line.
pub(crate) fn summary(record: &Record) -> String {
    match &record.body {
        Body::Request(request) => format!(
            "asks {} for {}",
            request.channel.counterparty,
            action_text(&request.action)
        ),
        Body::Decision(decision) => {
            let asked = decision.channel.as_ref().map_or_else(String::new, |link| {
                format!(", asked by {}", link.counterparty)
            });
            format!(
                "{} {}{asked} ({})",
                decision.evaluation.verdict,
                action_text(&decision.action),
                decision.evaluation.reason
            )
        }
        Body::Outcome(outcome) => format!(
            "{} (of {})",
            outcome.status,
            short(&outcome.decision.to_string())
        ),
        Body::Control(Event::Started { unresolved, .. }) if *unresolved > 0 => {
            format!("started, {unresolved} calls were left without an outcome")
        }
        Body::Control(event) => event.name().replace('_', " "),
        Body::Channel(ChannelControl { channel, event }) => {
            let said = event.name().replace('_', " ");
            let of = match event {
                ChannelEvent::RecordDenied { record, .. } => {
                    format!(" ({})", short(&record.to_string()))
                }
                _ => event.contract().map_or_else(String::new, |digest| {
                    format!(" ({})", short(&digest.to_string()))
                }),
            };
            format!("to {}: {said}{of}", channel.counterparty)
        }
    }
}

/// The first digits of an id, for tables.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// JSON as indented lines for people, without quotes and braces; what is null is left out.
pub(crate) fn lines(value: &Value, indent: usize) -> String {
    let mut text = String::new();
    write_lines(&mut text, value, indent);
    text
}

fn write_lines(text: &mut String, value: &Value, indent: usize) {
    let Value::Object(object) = value else {
        return;
    };
    let width = object.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in object {
        let label = name.replace('_', " ");
        // Writing to a string does not fail.
        let _ = match value {
            Value::Null => Ok(()),
            Value::Object(_) => {
                let _ = writeln!(text, "{:indent$}{label}", "");
                write_lines(text, value, indent + 2);
                Ok(())
            }
            Value::Array(items) if items.is_empty() => Ok(()),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for item in items {
                    let _ = writeln!(text, "{:indent$}{label}", "");
                    write_lines(text, item, indent + 2);
                }
                Ok(())
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(plain).collect();
                writeln!(text, "{:indent$}{label:width$}  {}", "", items.join(", "))
            }
            plain_value => writeln!(text, "{:indent$}{label:width$}  {}", "", plain(plain_value)),
        };
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn action_text(action: &Action) -> String {
    format!("{} {} on {}", action.verb, action.tool, action.server)
}

fn channel(link: &ChannelLink) -> Value {
    json!({
        "counterparty": link.counterparty.as_str(),
        "sequence": link.sequence.get(),
        "previous": link.previous.map(|id| id.to_string()),
        "acknowledged": link.acknowledged.as_ref().map(acknowledgement),
    })
}

fn acknowledgement(seen: &Acknowledgement) -> Value {
    json!({
        "stream": seen.stream.to_string(),
        "sequence": seen.sequence.get(),
        "id": seen.id.to_string(),
    })
}

fn statement(statement: &Statement) -> Value {
    let received: Vec<Value> = statement.received.iter().map(acknowledgement).collect();
    json!({
        "from": statement.from.get(),
        "received": received,
        "open": statement.open,
    })
}

fn attestations(attestations: &[Attestation]) -> Value {
    attestations
        .iter()
        .map(|attestation| {
            json!({
                "kind": attestation.kind.as_str(),
                "digest": attestation.digest.to_string(),
                "location": attestation.location.as_ref().map(|location| location.as_str()),
            })
        })
        .collect()
}

/// What has a text form, if it is there.
fn text(value: Option<impl ToString>) -> Value {
    json!(value.map(|value| value.to_string()))
}

fn actor(actor: &Actor) -> Value {
    json!({
        "operator": actor.operator.as_str(),
        "agent": actor.agent.as_str(),
        "on_behalf_of": text(actor.on_behalf_of),
        "session": text(actor.session),
    })
}

fn action(action: &Action) -> Value {
    json!({
        "server": action.server.as_str(),
        "verb": action.verb.as_str(),
        "tool": action.tool.as_str(),
        "tier": action.tier.as_ref().map(|tier| tier.as_str()),
    })
}

fn evaluation(evaluation: &Evaluation) -> Value {
    let policies: Vec<&str> = evaluation.policies.iter().map(|id| id.as_str()).collect();
    json!({
        "verdict": evaluation.verdict.to_string(),
        "reason": evaluation.reason.as_str(),
        "policies": policies,
        "policy_set": evaluation.policy_set.to_string(),
        "input": evaluation.input.map(|digest| digest.to_string()),
    })
}

fn reservations(reservations: &[Reservation]) -> Value {
    reservations
        .iter()
        .map(|reservation| {
            json!({
                "scope": reservation.scope.as_str(),
                "unit": reservation.unit.as_str(),
                "amount": reservation.amount.get(),
                "remaining": reservation.remaining.get(),
            })
        })
        .collect()
}

fn settlements(settlements: &[Settlement]) -> Value {
    settlements
        .iter()
        .map(|settlement| {
            json!({
                "scope": settlement.scope.as_str(),
                "unit": settlement.unit.as_str(),
                "committed": settlement.committed.get(),
                "remaining": settlement.remaining.get(),
            })
        })
        .collect()
}

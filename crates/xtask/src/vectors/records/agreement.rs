//! Faults in what records say about contracts, channels and evidence from elsewhere.

use anyhow::Result;
use ciborium::Value;
use counterfoil_protocol::failure::FailureCode::{
    NameInvalid, StructureMissingField, StructureOutOfRange, StructureUnknownField,
    StructureWrongType,
};

use super::super::Case;
use super::super::edit::{Entries, Parts, bytes, remove, set, within};
use super::{
    ACCEPTED, CLOSED, DENIED, OBJECT, OUTCOME, PROPOSED, REFUSED, REQUEST, STATEMENT, key, parts,
};
use crate::world::{Stream, World, record};

/// Faults in the control records of a channel. Every signature is good.
pub(super) fn agreement_faults(world: &World) -> Result<Vec<Case>> {
    let acme = &world.agreement.acme;
    let globex = &world.agreement.globex;
    let mut cases = Vec::new();
    let mut add = |stream: &Stream,
                   sequence,
                   name: &str,
                   code,
                   comment: &str,
                   edit: &dyn Fn(&mut Entries)|
     -> Result<()> {
        let parts = Parts::of(&record(stream, sequence)?.bytes)?.payload(edit)?;
        let object = parts.sign(&stream.key)?;
        cases.push(Case::refused(OBJECT, name, code, comment, object).with("key", key(stream)));
        Ok(())
    };
    let event = |p: &mut Entries, edit: &dyn Fn(&mut Entries)| within(p, 18, edit);
    let stream = |byte: u8| items(&[bytes([byte; 32]), Value::from(0), bytes([5; 32])]);

    add(
        acme,
        PROPOSED,
        "proposal-without-channel",
        StructureMissingField,
        "no field 6",
        &|p| remove(p, 6),
    )?;
    add(
        acme,
        PROPOSED,
        "proposal-without-contract",
        StructureMissingField,
        "an event without field 5",
        &|p| event(p, &|e| remove(e, 5)),
    )?;
    add(
        acme,
        PROPOSED,
        "proposal-contract-short",
        StructureWrongType,
        "31 bytes",
        &|p| event(p, &|e| set(e, 5, bytes([5; 31]))),
    )?;
    add(
        acme,
        PROPOSED,
        "proposal-with-proposal",
        StructureUnknownField,
        "field 6, which an acceptance has",
        &|p| event(p, &|e| set(e, 6, bytes([5; 32]))),
    )?;
    add(
        acme,
        PROPOSED,
        "proposal-with-contract-outside",
        StructureUnknownField,
        "field 19, which requests and decisions have",
        &|p| set(p, 19, bytes([5; 32])),
    )?;
    add(
        globex,
        ACCEPTED,
        "acceptance-without-proposal",
        StructureMissingField,
        "an event without field 6",
        &|p| event(p, &|e| remove(e, 6)),
    )?;
    add(
        acme,
        3,
        "end-without-reason",
        StructureMissingField,
        "an event without field 4",
        &|p| event(p, &|e| remove(e, 4)),
    )?;
    add(
        globex,
        2,
        "denial-reason-upper-case",
        NameInvalid,
        "`Never`",
        &|p| event(p, &|e| set(e, 4, "Never")),
    )?;
    add(
        acme,
        STATEMENT,
        "statement-without-start",
        StructureMissingField,
        "an event without field 8",
        &|p| event(p, &|e| remove(e, 8)),
    )?;
    add(
        acme,
        STATEMENT,
        "statement-streams-not-ascending",
        StructureOutOfRange,
        "the second key is smaller",
        &|p| event(p, &|e| set(e, 9, Value::Array(vec![stream(2), stream(1)]))),
    )?;
    add(
        acme,
        STATEMENT,
        "statement-stream-twice",
        StructureOutOfRange,
        "one key, two heads",
        &|p| event(p, &|e| set(e, 9, Value::Array(vec![stream(2), stream(2)]))),
    )?;
    add(
        acme,
        STATEMENT,
        "statement-streams-too-many",
        StructureOutOfRange,
        "65 streams",
        &|p| {
            event(p, &|e| {
                set(e, 9, Value::Array((1..=65).map(stream).collect()))
            })
        },
    )?;
    add(
        acme,
        CLOSED,
        "closed-successor-short",
        StructureWrongType,
        "31 bytes",
        &|p| event(p, &|e| set(e, 7, bytes([5; 31]))),
    )?;
    add(
        acme,
        CLOSED,
        "event-zero",
        StructureOutOfRange,
        "event 0",
        &|p| event(p, &|e| set(e, 1, 0)),
    )?;
    Ok(cases)
}

/// Faults in the contract, attestations and acknowledgements of calls. Every signature is good.
pub(super) fn call_faults(world: &World) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, parts: Parts| -> Result<()> {
        let key = &world.acme_stream.key;
        cases.push(super::refused(world, name, code, comment, parts.sign(key)?));
        Ok(())
    };
    let of = |sequence, edit: &dyn Fn(&mut Entries)| parts(world, sequence)?.payload(edit);
    let attested = |items: Vec<(i64, Value)>| {
        let entries = items
            .into_iter()
            .map(|(k, v)| (Value::from(k), v))
            .collect();
        Value::Array(vec![Value::Map(entries)])
    };
    let kind = || (1, Value::from("text/plain"));
    let digest =
        |algorithm: i64, size: usize| (2, items(&[Value::from(algorithm), bytes(vec![5; size])]));

    add(
        "contract-short",
        StructureWrongType,
        "31 bytes",
        of(REQUEST, &|p| set(p, 19, bytes([5; 31])))?,
    )?;
    add(
        "outcome-with-contract",
        StructureUnknownField,
        "field 19: the decision says it",
        of(OUTCOME, &|p| set(p, 19, bytes([5; 32])))?,
    )?;
    add(
        "session-text",
        StructureWrongType,
        "a name where its salted digest belongs",
        of(REQUEST, &|p| within(p, 7, |a| set(a, 4, "s-17")))?,
    )?;
    for (name, comment, level) in [
        ("evidence-level-0", "there is no level 0", 0),
        ("evidence-level-5", "there is no level 5", 5),
    ] {
        add(
            name,
            StructureOutOfRange,
            comment,
            of(DENIED, &|p| {
                set(p, 12, items(&[bytes([5; 32]), Value::from(level)]))
            })?,
        )?;
    }
    add(
        "decided-request-bare",
        StructureWrongType,
        "an id without a level",
        of(DENIED, &|p| set(p, 12, bytes([5; 32])))?,
    )?;
    for (name, comment, parts) in [
        (
            "ack-two-items",
            "no stream",
            vec![Value::from(1), bytes([5; 32])],
        ),
        (
            "ack-stream-short",
            "a key's thumbprint of 31 bytes",
            vec![bytes([5; 31]), Value::from(1), bytes([5; 32])],
        ),
    ] {
        add(
            name,
            StructureWrongType,
            comment,
            of(OUTCOME, &|p| within(p, 6, |c| set(c, 4, items(&parts))))?,
        )?;
    }
    add(
        "ack-four-items",
        StructureWrongType,
        "one item more",
        of(OUTCOME, &|p| {
            let parts = [bytes([5; 32]), Value::from(1), bytes([5; 32]), Value::Null];
            within(p, 6, |c| set(c, 4, items(&parts)));
        })?,
    )?;
    for (name, code, comment, value) in [
        (
            "attestations-empty",
            StructureOutOfRange,
            "absent, never empty",
            Value::Array(Vec::new()),
        ),
        (
            "attestation-without-digest",
            StructureMissingField,
            "a kind alone",
            attested(vec![kind()]),
        ),
        (
            "attestation-digest-size",
            StructureWrongType,
            "SHA-256 of 48 bytes",
            attested(vec![kind(), digest(-16, 48)]),
        ),
        (
            "attestation-digest-algorithm",
            StructureOutOfRange,
            "-14, SHA-1",
            attested(vec![kind(), digest(-14, 20)]),
        ),
        (
            "attestation-kind-blank",
            NameInvalid,
            "a kind with a blank",
            attested(vec![(1, Value::from("text plain")), digest(-16, 32)]),
        ),
        (
            "attestation-field-unknown",
            StructureUnknownField,
            "field 4",
            attested(vec![kind(), digest(-16, 32), (4, Value::from(1))]),
        ),
        (
            "attestations-too-many",
            StructureOutOfRange,
            "17 attestations",
            match attested(vec![kind(), digest(-16, 32)]) {
                Value::Array(one) => Value::Array(one.into_iter().cycle().take(17).collect()),
                other => other,
            },
        ),
    ] {
        add(
            name,
            code,
            comment,
            of(REQUEST, &|p| set(p, 20, value.clone()))?,
        )?;
    }
    add(
        "control-with-attestations",
        StructureUnknownField,
        "field 20",
        of(REFUSED, &|p| {
            set(p, 20, attested(vec![kind(), digest(-16, 32)]));
        })?,
    )?;
    Ok(cases)
}

fn items(items: &[Value]) -> Value {
    Value::Array(items.to_vec())
}

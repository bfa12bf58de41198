//! Faults in the payload.

use anyhow::Result;
use ciborium::Value;
use counterfoil_protocol::failure::FailureCode::{
    CborFloat, CborInvalidText, CborNotShortest, CborSimpleValue, CborTag, CborTooDeep,
    CborTruncated, CborUnsortedKeys, NameInvalid, RecordChainStart, StructureMissingField,
    StructureOutOfRange, StructureUnknownField, StructureWrongType,
};

use super::super::Case;
use super::super::edit::{Entries, Parts, bytes, remove, replaced, set, within};
use super::{DECISION, DENIED, OUTCOME, REFUSED, REQUEST, parts, refused};
use crate::world::World;

/// Faults in the payload. Every signature is good.
pub(super) fn payload_faults(world: &World) -> Result<Vec<Case>> {
    let key = &world.acme_stream.key;
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, parts: Parts| -> Result<()> {
        cases.push(refused(world, name, code, comment, parts.sign(key)?));
        Ok(())
    };
    let of = |sequence, edit: &dyn Fn(&mut Entries)| parts(world, sequence)?.payload(edit);
    let id = || bytes([5; 32]);

    add(
        "kind-unknown",
        StructureOutOfRange,
        "kind 5",
        of(REQUEST, &|p| set(p, 1, 5))?,
    )?;
    add(
        "time-missing",
        StructureMissingField,
        "no field 4",
        of(REQUEST, &|p| remove(p, 4))?,
    )?;
    add(
        "time-text",
        StructureWrongType,
        "a time that is text",
        of(REQUEST, &|p| set(p, 4, "now"))?,
    )?;
    add(
        "sequence-negative",
        StructureWrongType,
        "-1",
        of(REQUEST, &|p| set(p, 2, -1))?,
    )?;
    add(
        "previous-short",
        StructureWrongType,
        "31 bytes",
        of(REQUEST, &|p| set(p, 3, bytes([5; 31])))?,
    )?;
    add(
        "previous-missing",
        StructureMissingField,
        "absent instead of null",
        of(0, &|p| remove(p, 3))?,
    )?;
    add(
        "field-unknown",
        StructureUnknownField,
        "field 23",
        of(REQUEST, &|p| set(p, 23, 1))?,
    )?;
    add(
        "field-zero",
        StructureUnknownField,
        "field 0",
        of(REQUEST, &|p| set(p, 0, 1))?,
    )?;
    add(
        "field-of-another-kind",
        StructureUnknownField,
        "an outcome with an actor",
        of(OUTCOME, &|p| set(p, 7, Value::Map(Vec::new())))?,
    )?;
    add(
        "first-with-predecessor",
        RecordChainStart,
        "sequence 0 names one",
        of(0, &|p| set(p, 3, id()))?,
    )?;
    add(
        "later-without-predecessor",
        RecordChainStart,
        "sequence 2 names none",
        of(REQUEST, &|p| set(p, 3, Value::Null))?,
    )?;
    add(
        "first-does-not-open",
        RecordChainStart,
        "the first record says that an enforcer started",
        parts(world, 1)?.payload(|p| {
            set(p, 2, 0);
            set(p, 3, Value::Null);
        })?,
    )?;
    add(
        "stream-opened-again",
        RecordChainStart,
        "a later record says that the stream opened",
        of(0, &|p| {
            set(p, 2, 8);
            set(p, 3, id());
        })?,
    )?;
    add(
        "request-without-channel",
        StructureMissingField,
        "no field 6",
        of(REQUEST, &|p| remove(p, 6))?,
    )?;
    add(
        "request-denied",
        StructureOutOfRange,
        "what is denied is not requested",
        of(REQUEST, &|p| within(p, 10, |e| set(e, 1, 3)))?,
    )?;
    add(
        "control-with-channel",
        StructureUnknownField,
        "field 6",
        of(REFUSED, &|p| {
            set(
                p,
                6,
                Value::Map(vec![
                    (Value::from(1), Value::from("globex.example")),
                    (Value::from(2), Value::from(0)),
                    (Value::from(3), Value::Null),
                    (Value::from(4), Value::Null),
                ]),
            );
        })?,
    )?;
    add(
        "channel-first-with-predecessor",
        RecordChainStart,
        "channel sequence 0 names one",
        of(REQUEST, &|p| within(p, 6, |c| set(c, 3, id())))?,
    )?;
    add(
        "channel-later-without-predecessor",
        RecordChainStart,
        "channel sequence 1 names none",
        of(OUTCOME, &|p| within(p, 6, |c| set(c, 3, Value::Null)))?,
    )?;
    add(
        "channel-ack-missing",
        StructureMissingField,
        "absent instead of null",
        of(REQUEST, &|p| within(p, 6, |c| remove(c, 4)))?,
    )?;
    add(
        "ack-one-item",
        StructureWrongType,
        "a sequence without an id",
        of(OUTCOME, &|p| {
            within(p, 6, |c| set(c, 4, Value::Array(vec![Value::from(1)])))
        })?,
    )?;
    add(
        "verdict-reserved",
        StructureOutOfRange,
        "verdict 2 is reserved",
        of(DECISION, &|p| within(p, 10, |e| set(e, 1, 2)))?,
    )?;
    add(
        "reason-upper-case",
        NameInvalid,
        "`Denied`",
        of(DENIED, &|p| within(p, 10, |e| set(e, 2, "Denied")))?,
    )?;
    add(
        "agent-with-newline",
        NameInvalid,
        "a control character",
        of(REQUEST, &|p| within(p, 7, |a| set(a, 2, "a\nb")))?,
    )?;
    add(
        "agent-empty",
        NameInvalid,
        "a name of no character",
        of(REQUEST, &|p| within(p, 7, |a| set(a, 2, "")))?,
    )?;
    add(
        "agent-too-long",
        NameInvalid,
        "257 bytes",
        of(REQUEST, &|p| within(p, 7, |a| set(a, 2, "a".repeat(257))))?,
    )?;
    add(
        "policies-too-many",
        StructureOutOfRange,
        "65 policies",
        of(DECISION, &|p| {
            within(p, 10, |e| {
                set(e, 3, Value::Array(vec![Value::from("p"); 65]))
            });
        })?,
    )?;
    add(
        "reservations-too-many",
        StructureOutOfRange,
        "17 reservations",
        of(REQUEST, &|p| {
            if let Some((_, Value::Array(lines))) =
                p.iter_mut().find(|(key, _)| *key == Value::from(11))
            {
                let line = lines.first().cloned();
                *lines = line.into_iter().cycle().take(17).collect();
            }
        })?,
    )?;
    add(
        "reservation-three-items",
        StructureWrongType,
        "no remaining amount",
        of(REQUEST, &|p| {
            set(
                p,
                11,
                Value::Array(vec![Value::Array(vec![
                    Value::from("agent:a"),
                    Value::from("CREDITS"),
                    Value::from(1),
                ])]),
            );
        })?,
    )?;
    add(
        "amount-negative",
        StructureWrongType,
        "-1",
        of(REQUEST, &|p| {
            set(
                p,
                11,
                Value::Array(vec![Value::Array(vec![
                    Value::from("agent:a"),
                    Value::from("CREDITS"),
                    Value::from(-1),
                    Value::from(1),
                ])]),
            );
        })?,
    )?;
    add(
        "amount-float",
        CborFloat,
        "0.5",
        of(REQUEST, &|p| {
            set(
                p,
                11,
                Value::Array(vec![Value::Array(vec![
                    Value::from("agent:a"),
                    Value::from("CREDITS"),
                    Value::Float(0.5),
                    Value::from(1),
                ])]),
            );
        })?,
    )?;
    add(
        "unit-lower-case",
        NameInvalid,
        "`credits`",
        of(REQUEST, &|p| {
            set(
                p,
                11,
                Value::Array(vec![Value::Array(vec![
                    Value::from("agent:a"),
                    Value::from("credits"),
                    Value::from(1),
                    Value::from(1),
                ])]),
            );
        })?,
    )?;
    add(
        "status-unknown",
        StructureOutOfRange,
        "status 7",
        of(OUTCOME, &|p| set(p, 14, 7))?,
    )?;
    add(
        "event-unknown",
        StructureOutOfRange,
        "event 10",
        of(REFUSED, &|p| within(p, 18, |e| set(e, 1, 10)))?,
    )?;
    add(
        "event-field-of-another",
        StructureUnknownField,
        "a stream opened for a reason",
        of(0, &|p| within(p, 18, |e| set(e, 4, "why")))?,
    )?;
    add(
        "beacon-without-checkpoint",
        StructureMissingField,
        "a size alone",
        of(REQUEST, &|p| within(p, 5, |b| remove(b, 2)))?,
    )?;
    add(
        "time-tagged",
        CborTag,
        "tag 1 around the time",
        of(REQUEST, &|p| {
            set(p, 4, Value::Tag(1, Box::new(Value::from(1))))
        })?,
    )?;
    add(
        "payload-unsorted",
        CborUnsortedKeys,
        "sequence before kind",
        of(REQUEST, &|p| p.swap(0, 1))?,
    )?;
    add(
        "payload-too-deep",
        CborTooDeep,
        "nine items deep",
        of(REQUEST, &|p| {
            set(
                p,
                23,
                (0..8).fold(Value::from(0), |inner, _| Value::Array(vec![inner])),
            );
        })?,
    )?;

    let request = parts(world, REQUEST)?;
    let raw = |payload: Vec<u8>| Parts {
        payload,
        ..request.clone()
    };
    add(
        "payload-empty",
        CborTruncated,
        "a payload of no bytes",
        raw(Vec::new()),
    )?;
    add(
        "payload-array",
        StructureWrongType,
        "a payload that is no map",
        raw(vec![0x80]),
    )?;
    add(
        "payload-not-shortest",
        CborNotShortest,
        "kind 1 in two bytes",
        raw(replaced(
            &request.payload,
            &[0x01, 0x01, 0x02, 0x02],
            &[0x01, 0x18, 0x01, 0x02, 0x02],
        )?),
    )?;
    add(
        "payload-undefined",
        CborSimpleValue,
        "undefined for kind",
        raw(replaced(
            &request.payload,
            &[0x01, 0x01, 0x02, 0x02],
            &[0x01, 0xf7, 0x02, 0x02],
        )?),
    )?;
    add(
        "payload-not-utf8",
        CborInvalidText,
        "a name with a broken character",
        raw(replaced(&request.payload, "böt".as_bytes(), b"b\xc3\x28t")?),
    )?;
    Ok(cases)
}

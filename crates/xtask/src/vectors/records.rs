//! Records: every kind, and every fault that a record can have by itself.

use anyhow::{Context as _, Result};
use ciborium::Value;
use counterfoil_protocol::failure::FailureCode::{
    self, CborDuplicateKey, CborFloat, CborIndefiniteLength, CborInvalidText, CborNotShortest,
    CborSimpleValue, CborTag, CborTooDeep, CborTooLarge, CborTrailingBytes, CborTruncated,
    CborUnsortedKeys, CoseAlgorithm, CoseHeader, CoseStructure, CoseType, KeyUnknown, NameInvalid,
    RecordChainStart, RecordTimeMismatch, SignatureInvalid, StructureMissingField,
    StructureOutOfRange, StructureUnknownField, StructureWrongType,
};

use super::Case;
use super::edit::{Entries, Parts, bytes, encode, remove, replaced, set, to_hex, within};
use crate::world::{Stream, World, record};

const OBJECT: &str = "record";

/// Acme's records by what they are.
const REQUEST: u64 = 2;
const OUTCOME: u64 = 3;
const DENIED: u64 = 4;
const REFUSED: u64 = 5;
const DECISION: u64 = 6;

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (stream, sequence, name, comment) in [
        (
            &world.acme_stream,
            0,
            "control-stream-opened",
            "the first record of every stream",
        ),
        (
            &world.acme_stream,
            1,
            "control-started",
            "an enforcer starts; two calls were left without an outcome",
        ),
        (
            &world.acme_stream,
            REFUSED,
            "control-message-refused",
            "a message that was no action",
        ),
        (
            &world.acme_stream,
            REQUEST,
            "request",
            "with a reservation, a beacon, on someone's behalf",
        ),
        (
            &world.acme_stream,
            OUTCOME,
            "outcome-asking-side",
            "answers to globex's outcome; settles a reservation",
        ),
        (
            &world.acme_stream,
            DENIED,
            "decision-deny",
            "refused before any policy: no evaluation input",
        ),
        (
            &world.acme_stream,
            DECISION,
            "decision-local",
            "no other operator takes part",
        ),
        (
            &world.acme_stream,
            7,
            "outcome-unknown",
            "nobody knows what became of it",
        ),
        (
            &world.globex_stream,
            1,
            "decision-for-counterparty",
            "names acme's request and acknowledges it",
        ),
        (
            &world.globex_stream,
            2,
            "outcome-executing-side",
            "with the digest of the result",
        ),
    ] {
        let made = record(stream, sequence)?;
        cases.push(
            Case::success(OBJECT, name, comment, made.bytes.clone())
                .with("key", key(stream))
                .with("id", made.id),
        );
    }
    cases.extend(header_faults(world)?);
    cases.extend(structure_faults(world)?);
    cases.extend(payload_faults(world)?);
    Ok(cases)
}

fn key(stream: &Stream) -> String {
    to_hex(stream.key.public().as_bytes())
}

fn parts(world: &World, sequence: u64) -> Result<Parts> {
    Parts::of(&record(&world.acme_stream, sequence)?.bytes)
}

fn refused(world: &World, name: &str, code: FailureCode, comment: &str, object: Vec<u8>) -> Case {
    Case::refused(OBJECT, name, code, comment, object).with("key", key(&world.acme_stream))
}

/// Faults in the protected header. Every signature is good, so that only the header can be it.
fn header_faults(world: &World) -> Result<Vec<Case>> {
    let key = &world.acme_stream.key;
    let request = parts(world, REQUEST)?;
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, parts: Parts| -> Result<()> {
        cases.push(refused(world, name, code, comment, parts.sign(key)?));
        Ok(())
    };
    let header = |edit: &dyn Fn(&mut Entries)| request.clone().header(edit);
    let claims = |edit: &dyn Fn(&mut Entries)| request.clone().header_map(15, edit);

    add(
        "alg-eddsa",
        CoseAlgorithm,
        "-8, the old polymorphic EdDSA",
        header(&|h| set(h, 1, -8))?,
    )?;
    add(
        "alg-es256",
        CoseAlgorithm,
        "-7",
        header(&|h| set(h, 1, -7))?,
    )?;
    add(
        "alg-text",
        CoseHeader,
        "an algorithm name is no algorithm number",
        header(&|h| set(h, 1, "Ed25519"))?,
    )?;
    add(
        "alg-missing",
        CoseHeader,
        "no label 1",
        header(&|h| remove(h, 1))?,
    )?;
    add(
        "kid-missing",
        CoseHeader,
        "no label 4",
        header(&|h| remove(h, 4))?,
    )?;
    add(
        "kid-short",
        CoseHeader,
        "31 bytes",
        header(&|h| set(h, 4, bytes([7; 31])))?,
    )?;
    add(
        "claims-missing",
        CoseHeader,
        "no label 15",
        header(&|h| remove(h, 15))?,
    )?;
    add(
        "typ-missing",
        CoseHeader,
        "no label 16",
        header(&|h| remove(h, 16))?,
    )?;
    add(
        "typ-commitment",
        CoseType,
        "says it is a commitment",
        header(&|h| {
            set(h, 16, "application/counterfoil-commitment+cose");
        })?,
    )?;
    add(
        "crit-present",
        CoseHeader,
        "label 2 is not in the profile",
        header(&|h| {
            set(h, 2, Value::Array(vec![Value::from(1)]));
        })?,
    )?;
    add(
        "content-type-present",
        CoseHeader,
        "label 3 is not in the profile",
        header(&|h| set(h, 3, "application/cbor"))?,
    )?;
    add(
        "vds-present",
        CoseHeader,
        "only commitments have label 395",
        header(&|h| set(h, 395, 1))?,
    )?;
    add(
        "label-text",
        CoseHeader,
        "a label that is text",
        header(&|h| h.push((Value::from("x"), Value::from(1))))?,
    )?;
    add(
        "labels-unsorted",
        CborUnsortedKeys,
        "kid before alg",
        header(&|h| h.swap(0, 1))?,
    )?;
    add(
        "label-twice",
        CborDuplicateKey,
        "alg stands twice, equal",
        header(&|h| h.insert(0, (Value::from(1), Value::from(-19))))?,
    )?;
    add(
        "iss-upper-case",
        NameInvalid,
        "`Acme.example`",
        claims(&|c| set(c, 1, "Acme.example"))?,
    )?;
    add(
        "iss-empty",
        NameInvalid,
        "an empty name",
        claims(&|c| set(c, 1, ""))?,
    )?;
    add(
        "iss-missing",
        CoseHeader,
        "no claim 1",
        claims(&|c| remove(c, 1))?,
    )?;
    add(
        "sub-manifest",
        CoseType,
        "says it is a manifest",
        claims(&|c| set(c, 2, "manifest"))?,
    )?;
    add(
        "iat-missing",
        CoseHeader,
        "no claim 6",
        claims(&|c| remove(c, 6))?,
    )?;
    add(
        "iat-text",
        CoseHeader,
        "a time that is text",
        claims(&|c| set(c, 6, "2026-01-02"))?,
    )?;
    add(
        "iat-float",
        CborFloat,
        "a time with a fraction",
        claims(&|c| set(c, 6, Value::Float(1.5)))?,
    )?;
    add(
        "iat-other-second",
        RecordTimeMismatch,
        "one second after the record's time",
        claims(&|c| {
            set(c, 6, crate::world::START + 1);
        })?,
    )?;
    add(
        "claim-unknown",
        CoseHeader,
        "claim 5 is not in the profile",
        claims(&|c| set(c, 5, 1))?,
    )?;

    let with_header = |protected: Vec<u8>| Parts {
        protected,
        ..request.clone()
    };
    add(
        "header-empty",
        CborTruncated,
        "a header of no bytes",
        with_header(Vec::new()),
    )?;
    add(
        "header-array",
        CoseHeader,
        "a header that is no map",
        with_header(vec![0x80]),
    )?;
    add(
        "header-trailing-byte",
        CborTrailingBytes,
        "a byte after the header's map",
        with_header([request.protected.as_slice(), &[0]].concat()),
    )?;
    let mut open = request.protected.clone();
    if let Some(head) = open.first_mut() {
        *head = 0xbf;
    }
    open.push(0xff);
    add(
        "header-indefinite",
        CborIndefiniteLength,
        "the header's map is open",
        with_header(open),
    )?;
    Ok(cases)
}

/// Faults around the four parts.
fn structure_faults(world: &World) -> Result<Vec<Case>> {
    let key = &world.acme_stream.key;
    let request = parts(world, REQUEST)?;
    let whole = request.object()?;
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, object: Vec<u8>| {
        cases.push(refused(world, name, code, comment, object));
    };
    let array = |items: Vec<Value>| encode(&Value::Tag(18, Box::new(Value::Array(items))));
    let items = || request.items();

    let with_kid = Parts {
        unprotected: Value::Map(vec![(Value::from(4), bytes([7; 32]))]),
        ..request.clone()
    };
    add(
        "unprotected-not-empty",
        CoseHeader,
        "a kid that nobody signed",
        with_kid.object()?,
    );
    add(
        "untagged",
        CoseStructure,
        "no tag 18",
        encode(&Value::Array(items()))?,
    );
    add(
        "tag-cwt",
        CborTag,
        "tag 61 around the tag",
        encode(&Value::Tag(
            61,
            Box::new(Value::Tag(18, Box::new(Value::Array(items())))),
        ))?,
    );
    add(
        "tag-sign",
        CborTag,
        "tag 98, COSE_Sign",
        request.wrapped(98)?,
    );
    add(
        "three-parts",
        CoseStructure,
        "no signature",
        array(items().into_iter().take(3).collect())?,
    );
    add(
        "five-parts",
        CoseStructure,
        "one part more",
        array([items(), vec![Value::Null]].concat())?,
    );
    add(
        "payload-detached",
        CoseStructure,
        "null for a payload",
        array(spoilt(items(), 2, Value::Null))?,
    );
    add(
        "header-not-wrapped",
        CoseStructure,
        "the header's map itself",
        array(spoilt(items(), 0, Value::Map(Vec::new())))?,
    );
    add(
        "unprotected-null",
        CoseHeader,
        "null for the unprotected header",
        array(spoilt(items(), 1, Value::Null))?,
    );
    add(
        "signature-short",
        CoseStructure,
        "63 bytes",
        array(spoilt(items(), 3, bytes([0; 63])))?,
    );
    add("not-cose", CoseStructure, "a number", vec![0x01]);
    add(
        "trailing-byte",
        CborTrailingBytes,
        "a byte after the object",
        [whole.as_slice(), &[0]].concat(),
    );
    add(
        "truncated",
        CborTruncated,
        "the last byte is missing",
        whole.split_last().context("empty")?.1.to_vec(),
    );
    add(
        "tag-not-shortest",
        CborNotShortest,
        "tag 18 in two bytes",
        [&[0xd8, 0x12], whole.get(1..).context("empty")?].concat(),
    );
    let large = Parts {
        payload: vec![0; 65_500],
        ..request.clone()
    };
    add(
        "too-large",
        CborTooLarge,
        "more than 65,535 bytes",
        large.sign(key)?,
    );

    let mut flipped = request.clone();
    if let Some(byte) = flipped.signature.last_mut() {
        *byte ^= 1;
    }
    add(
        "signature-flipped",
        SignatureInvalid,
        "one bit",
        flipped.object()?,
    );
    let malleable = Parts {
        signature: plus_order(&request.signature),
        ..request.clone()
    };
    add(
        "signature-s-not-reduced",
        SignatureInvalid,
        "S plus the group order: the same to a lax verifier",
        malleable.object()?,
    );
    add(
        "signature-other-key",
        SignatureInvalid,
        "names acme's key, signed with globex's",
        request.clone().sign(&world.globex_stream.key)?,
    );
    let renamed = request.clone().header(|h| {
        set(
            h,
            4,
            bytes(*world.globex_stream.key.public().thumbprint().as_bytes()),
        )
    })?;
    add(
        "kid-other-key",
        KeyUnknown,
        "names globex's key, signed with acme's",
        renamed.sign(key)?,
    );
    let moved = request.payload(|p| set(p, 2, 4))?;
    add(
        "payload-changed",
        SignatureInvalid,
        "another sequence under the same signature",
        moved.object()?,
    );
    Ok(cases)
}

/// Faults in the payload. Every signature is good.
fn payload_faults(world: &World) -> Result<Vec<Case>> {
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
        "field 19",
        of(REQUEST, &|p| set(p, 19, 1))?,
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
        "event 4",
        of(REFUSED, &|p| within(p, 18, |e| set(e, 1, 4)))?,
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
                19,
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
        raw(replaced(
            &request.payload,
            "réne".as_bytes(),
            b"r\xc3\x28ne",
        )?),
    )?;
    Ok(cases)
}

fn spoilt(mut items: Vec<Value>, at: usize, value: Value) -> Vec<Value> {
    if let Some(item) = items.get_mut(at) {
        *item = value;
    }
    items
}

/// R and S plus the order of the group, little end first.
fn plus_order(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let (r, s) = signature.split_at(32);
    let mut carry = 0_u16;
    let sum = s.iter().zip(ORDER).map(|(a, b)| {
        let digit = u16::from(*a) + u16::from(b) + carry;
        carry = digit >> 8;
        (digit & 0xff) as u8
    });
    r.iter().copied().chain(sum.collect::<Vec<_>>()).collect()
}

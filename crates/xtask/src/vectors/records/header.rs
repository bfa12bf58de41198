//! Faults in the protected header.

use anyhow::Result;
use ciborium::Value;
use counterfoil_protocol::failure::FailureCode::{
    CborDuplicateKey, CborFloat, CborIndefiniteLength, CborTrailingBytes, CborTruncated,
    CborUnsortedKeys, CoseAlgorithm, CoseHeader, CoseType, NameInvalid, RecordTimeMismatch,
};

use super::super::Case;
use super::super::edit::{Entries, Parts, bytes, remove, set};
use super::{REQUEST, parts, refused};
use crate::world::{START, World};

/// Faults in the protected header. Every signature is good, so that only the header can be it.
pub(super) fn header_faults(world: &World) -> Result<Vec<Case>> {
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
            set(c, 6, START + 1);
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

//! Commitments.

use anyhow::{Context as _, Result};
use ciborium::Value;
use counterfoil_protocol::digest::CommitmentDigest;
use counterfoil_protocol::failure::FailureCode::{
    CommitmentChainStart, CoseHeader, CoseType, RecordTimeMismatch, SignatureInvalid,
    StructureMissingField, StructureOutOfRange, StructureUnknownField, StructureWrongType,
};

use super::Case;
use super::edit::{Entries, Parts, bytes, remove, set, to_hex, within};
use crate::world::World;

const OBJECT: &str = "commitment";
const BATCH: i64 = -65537;

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let stream = &world.acme_stream;
    let public = to_hex(stream.key.public().as_bytes());
    let mut cases = Vec::new();
    for (name, stream, number, comment) in [
        (
            "first",
            stream,
            0,
            "batch 0 of seven records, with a beacon",
        ),
        ("later", stream, 1, "batch 1 names batch 0"),
        (
            "one-record",
            &world.acme_next_stream,
            0,
            "a tree of one leaf; no beacon",
        ),
    ] {
        let batch = stream.batches.get(number).context("no such batch")?;
        cases.push(
            Case::success(OBJECT, name, comment, batch.bytes.clone())
                .with("key", to_hex(stream.key.public().as_bytes()))
                .with("digest", CommitmentDigest::of(&batch.bytes)),
        );
    }

    let batch = |number: usize| -> Result<Parts> {
        Parts::of(&stream.batches.get(number).context("no such batch")?.bytes)
    };
    let (first, later) = (batch(0)?, batch(1)?);
    let header = |parts: &Parts, edit: &dyn Fn(&mut Entries)| {
        parts.clone().header(|h| within(h, BATCH, edit))
    };
    let mut add = |name: &str, code, comment: &str, parts: Parts| -> Result<()> {
        let object = parts.sign(&stream.key)?;
        cases.push(Case::refused(OBJECT, name, code, comment, object).with("key", public.clone()));
        Ok(())
    };
    add(
        "typ-record",
        CoseType,
        "says it is a record",
        first.clone().header(|h| {
            set(h, 16, "application/counterfoil-record+cose");
        })?,
    )?;
    add(
        "vds-missing",
        CoseHeader,
        "no label 395",
        first.clone().header(|h| remove(h, 395))?,
    )?;
    add(
        "vds-ccf",
        CoseHeader,
        "vds 2 is another kind of tree",
        first.clone().header(|h| set(h, 395, 2))?,
    )?;
    add(
        "batch-missing",
        CoseHeader,
        "no label -65537",
        first.clone().header(|h| remove(h, BATCH))?,
    )?;
    add(
        "label-unknown",
        CoseHeader,
        "label -65538",
        first.clone().header(|h| set(h, BATCH - 1, 1))?,
    )?;
    add(
        "batch-array",
        StructureWrongType,
        "a batch header that is no map",
        first
            .clone()
            .header(|h| set(h, BATCH, Value::Array(Vec::new())))?,
    )?;
    add(
        "root-short",
        StructureWrongType,
        "31 bytes",
        Parts {
            payload: vec![7; 31],
            ..first.clone()
        },
    )?;
    add(
        "root-long",
        StructureWrongType,
        "33 bytes",
        Parts {
            payload: vec![7; 33],
            ..first.clone()
        },
    )?;
    add(
        "count-missing",
        StructureMissingField,
        "no field 3",
        header(&first, &|b| remove(b, 3))?,
    )?;
    add(
        "field-unknown",
        StructureUnknownField,
        "field 8",
        header(&first, &|b| set(b, 8, 1))?,
    )?;
    add(
        "count-zero",
        StructureOutOfRange,
        "an empty batch",
        header(&first, &|b| set(b, 3, 0))?,
    )?;
    add(
        "count-too-large",
        StructureOutOfRange,
        "65,537 records",
        header(&first, &|b| set(b, 3, 65_537))?,
    )?;
    add(
        "range-overflow",
        StructureOutOfRange,
        "ends after the last 64-bit number",
        header(&later, &|b| set(b, 2, u64::MAX))?,
    )?;
    add(
        "sealed-before-opened",
        StructureOutOfRange,
        "closes before it opens",
        header(&first, &|b| set(b, 5, (crate::world::START + 100) * 1000))?,
    )?;
    add(
        "first-with-predecessor",
        CommitmentChainStart,
        "batch 0 names one",
        header(&first, &|b| set(b, 4, bytes([5; 32])))?,
    )?;
    add(
        "later-without-predecessor",
        CommitmentChainStart,
        "batch 1 names none",
        header(&later, &|b| set(b, 4, Value::Null))?,
    )?;
    add(
        "first-from-later-record",
        CommitmentChainStart,
        "batch 0 leaves out record 0",
        header(&first, &|b| set(b, 2, 1))?,
    )?;
    add(
        "later-from-first-record",
        CommitmentChainStart,
        "batch 1 begins at record 0 again",
        header(&later, &|b| set(b, 2, 0))?,
    )?;
    add(
        "iat-other-second",
        RecordTimeMismatch,
        "iat is not the sealing time",
        first.clone().header_map(15, |c| set(c, 6, 1))?,
    )?;

    let other_root = Parts {
        payload: vec![7; 32],
        ..first
    };
    cases.push(
        Case::refused(
            OBJECT,
            "root-changed",
            SignatureInvalid,
            "another root under the same signature",
            other_root.object()?,
        )
        .with("key", public),
    );
    Ok(cases)
}

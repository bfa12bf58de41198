//! Faults of the file itself.

use anyhow::{Context as _, Result};
use ciborium::Value;
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::failure::FailureCode::{
    CborIndefiniteLength, CborTag, CborTrailingBytes, CborTruncated, CborUnsortedKeys,
    ReceiptIncomplete, StructureMissingField, StructureOutOfRange, StructureUnknownField,
    StructureWrongType,
};

use super::super::Case;
use super::super::edit::{Entries, bytes, edited, encode, remove, set};
use super::{REQUEST, bad};
use crate::world::{World, record};

/// The file itself.
pub(super) fn form_faults(world: &World) -> Result<Vec<Case>> {
    let whole = world.acme_receipt(REQUEST)?;
    let encoded = whole.encode();
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, receipt: Vec<u8>| {
        cases.push(bad(name, "receipt", code, comment, receipt));
    };
    let edit = |spoil: &dyn Fn(&mut Entries)| edited(&encoded, spoil);
    add("empty", CborTruncated, "no byte", Vec::new());
    add(
        "trailing-byte",
        CborTrailingBytes,
        "a byte after the receipt",
        [encoded.as_slice(), &[0]].concat(),
    );
    add(
        "truncated",
        CborTruncated,
        "the last byte is missing",
        encoded.split_last().context("empty")?.1.to_vec(),
    );
    let mut open = encoded.clone();
    if let Some(head) = open.first_mut() {
        *head = 0xbf;
    }
    open.push(0xff);
    add("indefinite", CborIndefiniteLength, "an open map", open);
    add(
        "unsorted",
        CborUnsortedKeys,
        "the record before the format",
        edit(&|r| r.swap(0, 1))?,
    );
    add(
        "tagged",
        CborTag,
        "a COSE_Sign1 where a receipt should be",
        record(&world.acme_stream, REQUEST)?.bytes.clone(),
    );
    add("not-a-map", StructureWrongType, "an array", vec![0x80]);
    add(
        "format-other",
        StructureOutOfRange,
        "version 2",
        edit(&|r| set(r, 1, "counterfoil/receipt/v2"))?,
    );
    add(
        "format-missing",
        StructureMissingField,
        "no field 1",
        edit(&|r| remove(r, 1))?,
    );
    add(
        "record-missing",
        StructureMissingField,
        "no field 2",
        edit(&|r| remove(r, 2))?,
    );
    add(
        "record-not-wrapped",
        StructureWrongType,
        "text for the record",
        edit(&|r| set(r, 2, "record"))?,
    );
    add(
        "field-unknown",
        StructureUnknownField,
        "field 10",
        edit(&|r| set(r, 10, 1))?,
    );
    add(
        "manifest-without-proof-slot",
        StructureWrongType,
        "one item instead of two",
        edit(&|r| set(r, 3, Value::Array(vec![Value::Array(vec![bytes([])])])))?,
    );
    add(
        "path-without-commitment",
        ReceiptIncomplete,
        "no field 5",
        edit(&|r| {
            remove(r, 5);
            remove(r, 6);
        })?,
    );
    add(
        "commitment-without-path",
        ReceiptIncomplete,
        "no field 4",
        edit(&|r| remove(r, 4))?,
    );
    add(
        "log-proof-without-batch",
        ReceiptIncomplete,
        "neither field 4 nor 5",
        edit(&|r| {
            remove(r, 4);
            remove(r, 5);
        })?,
    );
    add(
        "path-too-long",
        StructureOutOfRange,
        "17 hashes, more than any batch has",
        edit(&|r| set(r, 4, Value::Array(vec![bytes([7; 32]); 17])))?,
    );
    add(
        "path-hash-short",
        StructureWrongType,
        "31 bytes",
        edit(&|r| set(r, 4, Value::Array(vec![bytes([7; 31])])))?,
    );

    let open = |disclosure: &Disclosure| bytes(disclosure.encode());
    let d = &world.disclosures;
    add(
        "disclosures-empty",
        StructureOutOfRange,
        "absent, never empty",
        edit(&|r| set(r, 8, Value::Array(Vec::new())))?,
    );
    add(
        "disclosures-unsorted",
        StructureOutOfRange,
        "evaluation input before parameters",
        edit(&|r| {
            set(
                r,
                8,
                Value::Array(vec![open(&d.input), open(&d.parameters)]),
            )
        })?,
    );
    add(
        "disclosure-twice",
        StructureOutOfRange,
        "one field, disclosed twice",
        edit(&|r| {
            set(
                r,
                8,
                Value::Array(vec![open(&d.parameters), open(&d.parameters)]),
            )
        })?,
    );
    add(
        "disclosure-field-unknown",
        StructureOutOfRange,
        "field 11 cannot be disclosed",
        edit(&|r| {
            set(
                r,
                8,
                Value::Array(vec![disclosure_item(&[
                    bytes([1; 16]),
                    bytes([]),
                    Value::from(11),
                ])]),
            )
        })?,
    );
    add(
        "disclosure-two-items",
        StructureWrongType,
        "no field number",
        edit(&|r| {
            set(
                r,
                8,
                Value::Array(vec![disclosure_item(&[bytes([1; 16]), bytes([])])]),
            )
        })?,
    );
    add(
        "disclosure-salt-short",
        StructureWrongType,
        "15 bytes",
        edit(&|r| {
            set(
                r,
                8,
                Value::Array(vec![disclosure_item(&[
                    bytes([1; 15]),
                    bytes([]),
                    Value::from(9),
                ])]),
            )
        })?,
    );
    Ok(cases)
}

fn disclosure_item(items: &[Value]) -> Value {
    bytes(encode(&Value::Array(items.to_vec())).unwrap_or_default())
}

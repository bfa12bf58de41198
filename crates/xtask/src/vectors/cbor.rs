//! The strict encoding rules on their own: at most 65,535 bytes, 8,192 items, depth 8, tag 18 allowed.

use anyhow::Result;
use counterfoil_protocol::failure::FailureCode::{
    self, CborDuplicateKey, CborFloat, CborIndefiniteLength, CborInvalidText, CborNotShortest,
    CborSimpleValue, CborTag, CborTooDeep, CborTooLarge, CborTrailingBytes, CborTruncated,
    CborUnsortedKeys,
};

use super::Case;
use super::edit::hex;

const OBJECT: &str = "cbor";

const GOOD: &[(&str, &str, &str)] = &[
    (
        "integers",
        "8b 00 17 1818 18ff 190100 19ffff 1a00010000 1affffffff 1b0000000100000000 20 3b7fffffffffffffff",
        "every head width, shortest",
    ),
    (
        "text-not-normalised",
        "82 62c3a9 6365cc81",
        "é in both Unicode forms: two different texts, both fine",
    ),
    (
        "keys-bytewise",
        "a8 0a00 186400 2000 617a00 62616100 811864 00 8120 00 f400",
        "the order of RFC 8949 §4.2.1, which is not the length-first one",
    ),
    ("tag-18", "d28440a04040", "a COSE_Sign1 tag"),
    ("depth-8", "8181818181818100", "eight items deep"),
    ("simple-values", "83f4f5f6", "false, true, null"),
];

const BAD: &[(&str, FailureCode, &str, &str)] = &[
    ("empty", CborTruncated, "", "no item at all"),
    ("head-cut", CborTruncated, "18", "the argument is missing"),
    (
        "string-cut",
        CborTruncated,
        "4401",
        "four bytes announced, one there",
    ),
    (
        "array-cut",
        CborTruncated,
        "8200",
        "two items announced, one there",
    ),
    (
        "map-value-missing",
        CborTruncated,
        "a101",
        "a key without a value",
    ),
    (
        "string-length-huge",
        CborTruncated,
        "5bffffffffffffffff",
        "more than can be addressed",
    ),
    (
        "array-length-huge",
        CborTruncated,
        "9bffffffffffffffff",
        "nothing may be allocated for it",
    ),
    ("trailing-byte", CborTrailingBytes, "0000", "a second item"),
    (
        "integer-in-one-byte",
        CborNotShortest,
        "1817",
        "23 fits the initial byte",
    ),
    (
        "integer-in-two-bytes",
        CborNotShortest,
        "1900ff",
        "255 fits one byte",
    ),
    (
        "integer-in-four-bytes",
        CborNotShortest,
        "1a0000ffff",
        "65535 fits two bytes",
    ),
    (
        "integer-in-eight-bytes",
        CborNotShortest,
        "1b00000000ffffffff",
        "fits four bytes",
    ),
    (
        "negative-not-shortest",
        CborNotShortest,
        "3800",
        "-1 fits the initial byte",
    ),
    (
        "length-not-shortest",
        CborNotShortest,
        "580101",
        "a string's length",
    ),
    (
        "tag-not-shortest",
        CborNotShortest,
        "d81200",
        "tag 18 in two bytes",
    ),
    (
        "indefinite-bytes",
        CborIndefiniteLength,
        "5f42010243030405ff",
        "chunks",
    ),
    (
        "indefinite-text",
        CborIndefiniteLength,
        "7f6161ff",
        "chunks",
    ),
    (
        "indefinite-array",
        CborIndefiniteLength,
        "9fff",
        "open array",
    ),
    ("indefinite-map", CborIndefiniteLength, "bfff", "open map"),
    (
        "break-alone",
        CborIndefiniteLength,
        "ff",
        "a break code that ends nothing",
    ),
    (
        "keys-unsorted",
        CborUnsortedKeys,
        "a202000100",
        "2 before 1",
    ),
    (
        "keys-negative-first",
        CborUnsortedKeys,
        "a220000000",
        "-1 before 0",
    ),
    (
        "keys-length-first",
        CborUnsortedKeys,
        "a30a002000186400",
        "the order of RFC 7049",
    ),
    (
        "key-twice",
        CborDuplicateKey,
        "a201000100",
        "one key, two values",
    ),
    (
        "text-not-utf8",
        CborInvalidText,
        "62c328",
        "broken continuation byte",
    ),
    (
        "text-surrogate",
        CborInvalidText,
        "63eda080",
        "a surrogate is no character",
    ),
    ("float-16", CborFloat, "f93c00", "1.0"),
    ("float-32", CborFloat, "fa47c35000", "100000.0"),
    ("float-64", CborFloat, "fb3ff199999999999a", "1.1"),
    ("undefined", CborSimpleValue, "f7", "undefined is not null"),
    ("simple-16", CborSimpleValue, "f0", "unassigned"),
    (
        "simple-two-bytes",
        CborSimpleValue,
        "f820",
        "simple value 32",
    ),
    (
        "reserved-head",
        CborSimpleValue,
        "1c",
        "additional information 28",
    ),
    ("tag-time", CborTag, "c100", "no tag but 18"),
    (
        "tag-bignum",
        CborTag,
        "c24101",
        "a bignum for a small number",
    ),
    (
        "depth-9",
        CborTooDeep,
        "818181818181818100",
        "nine items deep",
    ),
];

pub(super) fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (name, bytes, comment) in GOOD {
        cases.push(Case::success(OBJECT, name, comment, hex(bytes)?));
    }
    for (name, code, bytes, comment) in BAD {
        cases.push(Case::refused(OBJECT, name, *code, comment, hex(bytes)?));
    }
    let mut many = vec![0x99, 0x20, 0x00];
    many.resize(3 + 8192, 0);
    cases.push(Case::refused(
        OBJECT,
        "too-many-items",
        CborTooLarge,
        "8,193 items, the array itself counted",
        many,
    ));
    let mut large = vec![0x59, 0xff, 0xfd];
    large.resize(65_536, 0);
    cases.push(Case::refused(
        OBJECT,
        "too-large",
        CborTooLarge,
        "65,536 bytes, one more than a log entry may have",
        large,
    ));
    Ok(cases)
}

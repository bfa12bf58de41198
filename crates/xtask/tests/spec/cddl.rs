//! Every object we make fits `spec/counterfoil.cddl`, and what does not fit it is refused.

use std::fs;

use cddl_cat::validate_cbor_bytes;
use ciborium::Value;
use counterfoil_protocol::FailureCode;
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::failure::FailureCode::{
    CommitmentChainStart, CoseType, ManifestChainBroken, NameInvalid, RecordChainStart,
    RecordTimeMismatch, StructureMissingField, StructureOutOfRange, StructureUnknownField,
    StructureWrongType,
};
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use xtask::vectors;
use xtask::world::World;

use super::root;

/// The signed objects, and the file that holds them.
const OBJECTS: [&str; 4] = ["record", "commitment", "manifest", "receipt"];

/// The CDDL without tag 18, which the checking library does not know: [`untagged`] takes the tag
/// off the objects, and parsing has checked that it was there.
fn schema() -> String {
    let text = fs::read_to_string(root().join("spec/counterfoil.cddl")).unwrap();
    let untagged = text.replace("#6.18([", "[").replace("\n])\n", "\n]\n");
    assert_ne!(text, untagged);
    untagged
}

fn fits(schema: &str, rule: &str, object: &Value) -> bool {
    validate_cbor_bytes(rule, schema, &encode(&untagged(rule, object.clone()))).is_ok()
}

fn parses(rule: &str, object: &[u8]) -> Result<(), FailureCode> {
    match rule {
        "record" => UnverifiedRecord::parse(object).map(|_| ()),
        "commitment" => UnverifiedCommitment::parse(object).map(|_| ()),
        "manifest" => UnverifiedManifest::parse(object).map(|_| ()),
        _ => Receipt::parse(object).map(|_| ()),
    }
    .map_err(|failure| failure.code())
}

/// Takes tag 18 off a signed object, or off those inside a receipt.
fn untagged(rule: &str, object: Value) -> Value {
    let strip = |bytes: &mut Value| {
        if let Value::Bytes(inner) = bytes
            && let Some(Value::Tag(18, object)) = decode(inner)
        {
            *inner = encode(&object);
        }
    };
    match object {
        Value::Tag(18, inner) => *inner,
        Value::Map(mut entries) if rule == "receipt" => {
            for (key, value) in &mut entries {
                match (key.as_integer().map(i128::from), value) {
                    (Some(2 | 5), value) => strip(value),
                    (Some(3), Value::Array(manifests)) => {
                        for manifest in manifests {
                            if let Value::Array(pair) = manifest {
                                pair.iter_mut().take(1).for_each(strip);
                            }
                        }
                    }
                    _ => {}
                }
            }
            Value::Map(entries)
        }
        other => other,
    }
}

/// A vector as it is made.
struct Case {
    path: String,
    rule: String,
    good: bool,
    code: Option<String>,
    bytes: Vec<u8>,
}

fn cases() -> Vec<Case> {
    vectors::files()
        .unwrap()
        .into_iter()
        .map(|(path, file)| {
            let end = file.windows(2).position(|pair| pair == b"\n\n").unwrap();
            let header = std::str::from_utf8(&file[..end]).unwrap();
            let line = |name: &str| {
                header
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                    .map(str::to_owned)
            };
            Case {
                path,
                rule: line("object").unwrap(),
                good: line("expect").unwrap() == "success",
                code: line("code"),
                bytes: file[end + 2..].to_vec(),
            }
        })
        .filter(|case| OBJECTS.contains(&case.rule.as_str()))
        .collect()
}

#[test]
fn every_good_object_fits() {
    let schema = schema();
    let mut checked = 0;
    for Case {
        path,
        rule,
        good,
        bytes,
        ..
    } in cases()
    {
        if good {
            let object = decode(&bytes).unwrap();
            let outcome = validate_cbor_bytes(&rule, &schema, &encode(&untagged(&rule, object)));
            assert!(outcome.is_ok(), "{path}: {outcome:?}");
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} objects");
}

#[test]
fn disclosures_fit() {
    let schema = schema();
    let world = World::build().unwrap();
    for disclosure in [
        world.disclosures.parameters,
        world.disclosures.input,
        world.disclosures.result,
    ] {
        validate_cbor_bytes("disclosure", &schema, &disclosure.encode()).unwrap();
    }
}

#[test]
fn what_is_missing_unknown_or_of_another_type_does_not_fit() {
    let schema = schema();
    let mut checked = 0;
    for Case {
        path,
        rule,
        code,
        bytes,
        ..
    } in cases()
    {
        let structural = [
            StructureMissingField,
            StructureUnknownField,
            StructureWrongType,
        ]
        .iter()
        .any(|structural| Some(structural.as_str()) == code.as_deref());
        // A receipt may hold anything where its record should be: only its own form counts.
        if structural && parses(&rule, &bytes).is_err() {
            let object = decode(&bytes).unwrap();
            assert!(!fits(&schema, &rule, &object), "{path} fits");
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} objects");
}

/// Takes each field of each map away, and adds one: the parser and the CDDL must agree. They may
/// differ only in what CDDL cannot say.
#[test]
fn parser_and_cddl_agree_on_every_change_of_a_field() {
    let schema = schema();
    let (mut refused, mut accepted) = (0, 0);
    for Case {
        path,
        rule,
        good,
        bytes,
        ..
    } in cases()
    {
        if !good || (rule == "receipt" && !path.contains("disclosed")) {
            continue;
        }
        let object = decode(&bytes).unwrap();
        for changed in changes(&object) {
            let fits = fits(&schema, &rule, &changed);
            match parses(&rule, &encode(&changed)) {
                Ok(()) if rule == "receipt" => {}
                Ok(()) => {
                    assert!(
                        fits,
                        "{path}: the parser accepts what the CDDL refuses: {changed:?}"
                    );
                    accepted += 1;
                }
                Err(
                    NameInvalid
                    | RecordChainStart
                    | RecordTimeMismatch
                    | CommitmentChainStart
                    | ManifestChainBroken
                    | StructureOutOfRange
                    | CoseType
                    | FailureCode::ReceiptIncomplete,
                ) => {}
                Err(code) => {
                    assert!(
                        !fits,
                        "{path}: {code}, but the CDDL accepts it: {changed:?}"
                    );
                    refused += 1;
                }
            }
        }
    }
    assert!(
        refused > 400 && accepted > 20,
        "{refused} refused, {accepted} accepted"
    );
}

/// The object with one field taken away or added, in every map of it, those inside byte strings
/// too.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Map(entries) => {
            let mut all = Vec::new();
            for at in 0..entries.len() {
                let mut without = entries.clone();
                without.remove(at);
                all.push(Value::Map(without));
                for changed in changes(&entries[at].1) {
                    let mut with = entries.clone();
                    with[at].1 = changed;
                    all.push(Value::Map(with));
                }
            }
            let mut with = entries.clone();
            with.push((Value::from(-70_000), Value::from(1)));
            all.push(Value::Map(with));
            all
        }
        Value::Array(items) => (0..items.len())
            .flat_map(|at| {
                changes(&items[at]).into_iter().map(move |changed| {
                    let mut with = items.clone();
                    with[at] = changed;
                    Value::Array(with)
                })
            })
            .collect(),
        Value::Tag(tag, inner) => changes(inner)
            .into_iter()
            .map(|changed| Value::Tag(*tag, Box::new(changed)))
            .collect(),
        Value::Bytes(bytes) => decode(bytes)
            .filter(|inner| matches!(inner, Value::Map(_) | Value::Tag(18, _)))
            .map(|inner| changes(&inner))
            .unwrap_or_default()
            .iter()
            .map(|changed| Value::Bytes(encode(changed)))
            .collect(),
        _ => Vec::new(),
    }
}

fn decode(bytes: &[u8]) -> Option<Value> {
    let value = ciborium::from_reader(bytes).ok()?;
    // Digests may happen to begin like a map: only what is all of it counts.
    (encode(&value) == bytes).then_some(value)
}

fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).unwrap();
    out
}

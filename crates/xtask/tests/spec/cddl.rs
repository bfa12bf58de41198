//! Every object we make fits `spec/counterfoil.cddl`, and what does not fit it is refused.

use std::fs;

use cddl_cat::validate_cbor_bytes;
use ciborium::Value;
use counterfoil_protocol::FailureCode;
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::contract::{ContractFile, Terms};
use counterfoil_protocol::failure::FailureCode::{
    CommitmentChainStart, CoseType, ManifestChainBroken, NameInvalid, RecordChainStart,
    RecordTimeMismatch, StructureMissingField, StructureOutOfRange, StructureUnknownField,
    StructureWrongType,
};
use counterfoil_protocol::fault::FaultProof;
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::presentation::UnverifiedPresentation;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use xtask::vectors;
use xtask::world::World;

use super::root;

/// The objects of the vectors, and the rules they are in the CDDL.
const OBJECTS: [(&str, &str); 6] = [
    ("record", "record"),
    ("commitment", "commitment"),
    ("manifest", "manifest"),
    ("receipt", "receipt"),
    ("contract", "contract-file"),
    ("fault", "fault-proof"),
];

/// The rules of files, of which a parser reads only the form: it leaves what they hold alone.
const FILES: [&str; 3] = ["receipt", "contract-file", "fault-proof"];

/// The CDDL without tag 18, which the checking library does not know: [`untagged`] takes the tag
/// off the objects, and parsing has checked that it was there.
fn schema() -> String {
    let text = fs::read_to_string(root().join("spec/counterfoil.cddl")).unwrap();
    let untagged = text.replace("#6.18([", "[").replace("\n])\n", "\n]\n");
    assert_ne!(text, untagged);
    untagged
}

fn fits(schema: &str, rule: &str, object: &Value) -> bool {
    validate_cbor_bytes(rule, schema, &encode(&untagged(object.clone()))).is_ok()
}

fn parses(rule: &str, object: &[u8]) -> Result<(), FailureCode> {
    match rule {
        "record" => UnverifiedRecord::parse(object).map(|_| ()),
        "commitment" => UnverifiedCommitment::parse(object).map(|_| ()),
        "manifest" => UnverifiedManifest::parse(object).map(|_| ()),
        "receipt" => Receipt::parse(object).map(|_| ()),
        "presentation" => UnverifiedPresentation::parse(object).map(|_| ()),
        "contract-terms" => Terms::parse(object).map(|_| ()),
        "contract-file" => ContractFile::parse(object).map(|_| ()),
        "fault-proof" => FaultProof::parse(object).map(|_| ()),
        other => panic!("{other}"),
    }
    .map_err(|failure| failure.code())
}

/// Takes tag 18 off a signed object, and off those inside a file, wherever they stand in it.
fn untagged(object: Value) -> Value {
    match object {
        Value::Tag(18, inner) => *inner,
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key, untagged(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(untagged).collect()),
        Value::Bytes(bytes) => match decode(&bytes) {
            Some(inner @ Value::Tag(18, _)) => Value::Bytes(encode(&untagged(inner))),
            Some(inner) if is_file(&inner) => Value::Bytes(encode(&untagged(inner))),
            _ => Value::Bytes(bytes),
        },
        other => other,
    }
}

/// Whether it begins like a file of ours.
fn is_file(value: &Value) -> bool {
    let format = value.as_map().and_then(|entries| entries.first());
    format.is_some_and(|(_, format)| {
        format
            .as_text()
            .is_some_and(|text| text.starts_with("counterfoil/"))
    })
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
        .filter_map(|(path, file)| {
            let end = file.windows(2).position(|pair| pair == b"\n\n").unwrap();
            let header = std::str::from_utf8(&file[..end]).unwrap();
            let line = |name: &str| {
                header
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                    .map(str::to_owned)
            };
            let object = line("object").unwrap();
            let (_, rule) = OBJECTS.iter().find(|(name, _)| *name == object)?;
            Some(Case {
                path,
                rule: (*rule).to_owned(),
                good: line("expect").unwrap() == "success",
                code: line("code"),
                bytes: file[end + 2..].to_vec(),
            })
        })
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
            let outcome = validate_cbor_bytes(&rule, &schema, &encode(&untagged(object)));
            assert!(outcome.is_ok(), "{path}: {outcome:?}");
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} objects");
}

/// A bundle is a sequence: its first item is a header, every other one a part.
#[test]
fn every_item_of_good_bundles_fits() {
    let schema = schema();
    let mut checked = 0;
    for case in vectors::cases().unwrap() {
        if case.object() != "bundle" || !case.is_good() {
            continue;
        }
        let mut rest = case.body();
        let mut rule = "bundle-header";
        while !rest.is_empty() {
            let item: Value = ciborium::from_reader(&mut rest).unwrap();
            let fitting = validate_cbor_bytes(rule, &schema, &encode(&untagged(item.clone())));
            assert!(fitting.is_ok(), "{} {rule}: {fitting:?}", case.name());
            for changed in changes(&item) {
                if changed.as_map().map(Vec::len) > item.as_map().map(Vec::len) {
                    assert!(!fits(&schema, rule, &changed), "{} {rule}", case.name());
                }
            }
            rule = "bundle-part";
            checked += 1;
        }
    }
    assert!(checked > 8, "only {checked} items");
}

#[test]
fn terms_and_presentations_fit() {
    let schema = schema();
    let world = World::build().unwrap();
    let terms = world.agreement.terms.encoded().to_vec();
    let mut objects = vec![("contract-terms", terms)];
    for case in vectors::cases().unwrap() {
        if case.object() == "receipt" && case.is_good() {
            let presentation = Receipt::parse(case.body()).unwrap().presentation;
            objects.extend(presentation.map(|part| ("presentation", part.presentation)));
        }
    }
    assert!(objects.len() > 3);
    let mut refused = 0;
    for (rule, bytes) in objects {
        let object = decode(&bytes).unwrap();
        assert!(fits(&schema, rule, &object), "{rule}");
        refused += agree(&schema, rule, rule, &object).0;
    }
    assert!(refused > 40, "{refused} refused");
}

#[test]
fn stock_receipts_and_transparent_statements_fit() {
    let schema = schema();
    let mut counts = (0, 0);
    for case in vectors::cases().unwrap() {
        let rule = match case.object() {
            "cose-receipt" if case.name().starts_with("log") => "log-receipt",
            "cose-receipt" => "operator-receipt",
            "transparent-statement" => "transparent-statement",
            _ => continue,
        };
        if !case.is_good() {
            continue;
        }
        let object = decode(case.body()).unwrap();
        assert!(fits(&schema, rule, &object), "{}", case.name());
        counts.0 += 1;
        let (mut refused, mut accepted) = (0, 0);
        for changed in changes(&object) {
            // Statement and receipts of a transparent one are byte strings here: what stands in them
            // is looked at by itself.
            if rule == "transparent-statement" && labels(&changed) == labels(&object) {
                continue;
            }
            if fits(&schema, rule, &changed) {
                accepted += 1;
            } else {
                refused += 1;
            }
        }
        // The beacon of a batch header is optional, and nothing else.
        assert!(accepted <= 1, "{}: {accepted} changes fit", case.name());
        counts.1 += refused;
    }
    assert!(counts.0 > 10 && counts.1 > 100, "{counts:?}");
}

#[test]
fn conversations_fit() {
    let schema = schema();
    let mut counts = (0, 0);
    for case in vectors::cases().unwrap() {
        // The longest are many of the same steps.
        if case.object() != "conversation" || case.body().len() > 100_000 {
            continue;
        }
        let object = decode(case.body()).unwrap();
        assert!(fits(&schema, "conversation", &object), "{}", case.name());
        counts.0 += 1;
        if case.name() != "repeat" {
            continue;
        }
        for changed in changes(&object) {
            let reads = vectors::conversation::Transcript::parse(&encode(&changed)).is_ok();
            let fitting = fits(&schema, "conversation", &changed);
            // The CDDL looks into manifests; the parser leaves them to whoever replays it.
            assert!(reads || !fitting, "{changed:?}");
            counts.1 += usize::from(!fitting);
        }
    }
    assert!(counts.0 > 50 && counts.1 > 200, "{counts:?}");
}

/// The labels of the unprotected header.
fn labels(object: &Value) -> Option<Vec<&Value>> {
    let (_, parts) = object.as_tag()?;
    let header = parts.as_array()?.get(1)?.as_map()?;
    Some(header.iter().map(|(label, _)| label).collect())
}

#[test]
fn disclosures_fit() {
    let schema = schema();
    let world = World::build().unwrap();
    for disclosure in [
        world.disclosures.parameters,
        world.disclosures.input,
        world.disclosures.result,
        world.disclosures.on_behalf_of,
        world.disclosures.session,
        world.agreement.disclosure,
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
        // One presented receipt and one with disclosures stand for all.
        let taken = path.contains("disclosed") || path.contains("presented");
        if !good || (rule == "receipt" && !taken) {
            continue;
        }
        let object = decode(&bytes).unwrap();
        let counts = agree(&schema, &path, &rule, &object);
        refused += counts.0;
        accepted += counts.1;
    }
    assert!(
        refused > 400 && accepted > 20,
        "{refused} refused, {accepted} accepted"
    );
}

/// Compares parser and CDDL on every change of an object: how many both refuse, and accept.
fn agree(schema: &str, path: &str, rule: &str, object: &Value) -> (usize, usize) {
    let (mut refused, mut accepted) = (0, 0);
    for changed in changes(object) {
        // The CDDL does not look into the statements of a proof.
        if rule == "fault-proof" && statements(&changed) != statements(object) {
            continue;
        }
        let fits = fits(schema, rule, &changed);
        match parses(rule, &encode(&changed)) {
            Ok(()) if FILES.contains(&rule) => {}
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
    (refused, accepted)
}

fn statements(proof: &Value) -> Option<&Value> {
    let entries = proof.as_map()?;
    let (_, statements) = entries.iter().find(|(key, _)| *key == Value::from(5))?;
    Some(statements)
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

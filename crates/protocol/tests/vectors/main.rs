//! Runs the test vectors of `test-vectors/` against the crate. They are files, so that other
//! implementations run the very same ones; `INDEX.md` beside them says how.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

mod bit_flips;
mod c2sp;
mod file;
mod native;
mod stock;

use std::collections::BTreeSet;

use counterfoil_protocol::FailureCode;
use counterfoil_protocol::fault::FaultKind;

use file::Vector;

/// What running a vector came to: facts to compare with its header, or a code.
type Outcome = Result<Vec<(&'static str, String)>, Refusal>;

struct Refusal {
    code: String,
    step: Option<&'static str>,
    detail: String,
}

#[test]
fn every_vector_is_answered_as_it_says() {
    let vectors = file::all();
    assert!(
        vectors.len() > 300,
        "only {} vectors were found",
        vectors.len()
    );
    let wrong: Vec<String> = vectors.iter().filter_map(complaint).collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn complaint(vector: &Vector) -> Option<String> {
    let outcome = run(vector);
    let name = &vector.name;
    match (vector.get("expect"), outcome) {
        ("success", Err(refusal)) => Some(format!("{name}: refused: {}", refusal.detail)),
        ("failure", Ok(_)) => Some(format!("{name}: accepted")),
        ("failure", Err(refusal)) => {
            if refusal.code != vector.get("code") {
                Some(format!(
                    "{name}: expected {}, got {}: {}",
                    vector.get("code"),
                    refusal.code,
                    refusal.detail
                ))
            } else if refusal.step != vector.optional("step") {
                Some(format!("{name}: failed at step {:?}", refusal.step))
            } else {
                None
            }
        }
        ("success", Ok(facts)) => facts.iter().find_map(|(field, found)| {
            let expected = vector.optional(field).unwrap_or("(nothing)");
            (found != expected).then(|| format!("{name}: {field} is {found}, not {expected}"))
        }),
        (other, _) => Some(format!("{name}: expects `{other}`")),
    }
}

fn run(vector: &Vector) -> Outcome {
    match vector.get("object") {
        "cbor" => native::cbor(vector),
        "record" => native::record(vector),
        "commitment" => native::commitment(vector),
        "manifest" => native::manifest(vector),
        "trust" => native::trust(vector),
        "receipt" => native::receipt(vector),
        "contract" => native::contract(vector),
        "bundle" => native::bundle(vector),
        "fault" => native::fault(vector),
        "cose-receipt" => stock::receipt(vector),
        "transparent-statement" => stock::statement(vector),
        "note" => c2sp::note(vector),
        "checkpoint" => c2sp::checkpoint(vector),
        "tlog-proof" => c2sp::tlog_proof(vector),
        "add-checkpoint" => c2sp::add_checkpoint(vector),
        "tile-path" => c2sp::tile_path(vector),
        other => panic!("{}: object `{other}`", vector.name),
    }
}

#[test]
fn every_failure_code_has_a_vector() {
    let seen: BTreeSet<String> = file::all()
        .iter()
        .filter_map(|vector| vector.optional("code").map(str::to_owned))
        .collect();
    let unseen: Vec<&str> = FailureCode::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !seen.contains(*code))
        .collect();
    assert!(unseen.is_empty(), "no vector for {unseen:?}");
}

#[test]
fn every_kind_of_fault_is_shown() {
    let seen: BTreeSet<String> = file::all()
        .iter()
        .filter(|vector| vector.get("object") == "fault")
        .filter_map(|vector| vector.optional("kind").map(str::to_owned))
        .collect();
    let kinds = FaultKind::ALL.iter().map(|kind| kind.as_str());
    let unseen: Vec<&str> = kinds.filter(|kind| !seen.contains(*kind)).collect();
    assert!(unseen.is_empty(), "no vector of {unseen:?}");
}

#[test]
fn every_object_has_vectors_of_both_kinds() {
    let vectors = file::all();
    let count = |object: &str, expect: &str| {
        vectors
            .iter()
            .filter(|vector| vector.get("object") == object && vector.get("expect") == expect)
            .count()
    };
    let objects: BTreeSet<&str> = vectors.iter().map(|vector| vector.get("object")).collect();
    for object in &objects {
        assert!(count(object, "success") > 0, "no good {object}");
        assert!(count(object, "failure") > 2, "too few bad {object}");
    }
    assert_eq!(objects.len(), 16);
}

//! Disclosures: what is opened, what stays closed, and that it cannot be guessed.

use std::collections::BTreeSet;

use counterfoil_protocol::FailureCode::{DisclosureMismatch, NameInvalid};
use counterfoil_protocol::digest::{ContentDigest, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure, salted_digest};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::verify::{Report, StepName, StepOutcome, verify};
use proptest::prelude::*;

use super::operators::{Two, decision, salt};

use DisclosedField::{OnBehalfOf, Parameters, Session};

fn disclosure(field: DisclosedField, content: &[u8]) -> Disclosure {
    Disclosure {
        field,
        salt: salt(field),
        content: content.to_vec(),
    }
}

fn receipt(two: &Two, person: &[u8], session: &[u8]) -> Receipt {
    let mut receipt = two
        .acme
        .receipt(&decision(&two.acme, b"{}", person, session));
    receipt.disclosures = vec![
        disclosure(Parameters, b"{}"),
        disclosure(OnBehalfOf, person),
        disclosure(Session, session),
    ];
    receipt
}

fn verified(two: &Two, receipt: &Receipt) -> Report {
    let report = verify(&receipt.encode(), &two.trust, Level::Signed);
    assert!(report.is_verified(), "{:?}", report.failure);
    report
}

#[test]
fn what_is_taken_out_is_said_to_be_hidden_and_the_rest_verifies() {
    let two = Two::new();
    let full = receipt(&two, b"jo@acme.example", b"session 7");
    let all = [Parameters, OnBehalfOf, Session];
    for taken in 0..8_u8 {
        let (out, left): (Vec<_>, Vec<_>) = all
            .into_iter()
            .enumerate()
            .partition(|(bit, _)| taken & (1 << bit) != 0);
        let fields = |some: Vec<(usize, DisclosedField)>| -> Vec<DisclosedField> {
            some.into_iter().map(|(_, field)| field).collect()
        };
        let (out, left) = (fields(out), fields(left));
        let redacted = full.clone().redact(&out);
        assert_eq!(redacted.hidden().unwrap(), out);
        let report = verified(&two, &redacted);
        assert_eq!((report.hidden, report.disclosed), (out, left));
        assert_eq!(redacted.record, full.record);
        // What was taken out is not there in any other form.
        let bytes = redacted.encode();
        if redacted.hidden().unwrap().contains(&OnBehalfOf) {
            assert!(!bytes.windows(15).any(|part| part == b"jo@acme.example"));
            assert!(
                !bytes
                    .windows(16)
                    .any(|part| part == salt(OnBehalfOf).as_bytes())
            );
        }
    }
    // The record has no result and no contract, so nothing of the kind is hidden.
    let none = full.clone().redact(&DisclosedField::ALL);
    assert_eq!(none.hidden().unwrap(), all);
    let step = verified(&two, &none);
    let step = step
        .steps
        .iter()
        .find(|step| step.name == StepName::Disclosures)
        .unwrap();
    assert_eq!(step.outcome, StepOutcome::Absent);
    assert!(step.detail.contains("on behalf of"), "{}", step.detail);
    assert_eq!(full.clone().redact(&[]), full);
}

#[test]
fn persons_and_sessions_must_be_names() {
    let two = Two::new();
    for bad in [b"".as_slice(), b"a\nb", b"\xff", &[b'x'; 257]] {
        for (person, session) in [(bad, b"s".as_slice()), (b"p", bad)] {
            let report = verify(
                &receipt(&two, person, session).encode(),
                &two.trust,
                Level::Signed,
            );
            let failure = report.failure.unwrap();
            assert_eq!(failure.code(), NameInvalid, "{failure}");
            assert_eq!(report.steps.last().unwrap().name, StepName::Disclosures);
        }
    }
    // What does not hash to the record's digest is that first.
    let mut other = receipt(&two, b"p", b"s");
    other.disclosures[1].content = b"a\nb".to_vec();
    let report = verify(&other.encode(), &two.trust, Level::Signed);
    assert_eq!(report.failure.unwrap().code(), DisclosureMismatch);
}

/// Somebody who holds the record and knows that the person is one of a thousand learns nothing from
/// trying them all: not with the plain digests of content, nor with salts that are guessed.
#[test]
fn a_value_from_a_small_domain_cannot_be_guessed_from_its_digest() {
    let held = salted_digest(&salt(OnBehalfOf), OnBehalfOf, b"customer-0421");
    let domain = || (0..1000).map(|number| format!("customer-{number:04}").into_bytes());
    let guessed_salts: Vec<Salt> = (0..=255)
        .filter(|byte| *byte != 0x40 + 21)
        .map(|byte| Salt::from_bytes([byte; 16]))
        .collect();
    for candidate in domain() {
        assert_ne!(ContentDigest::of(&candidate), held);
        // An array with an empty salt, or none, is no disclosure either.
        let mut unsalted = vec![0x83, 0x40, 0x4d];
        unsalted.extend_from_slice(&candidate);
        unsalted.push(21);
        assert_ne!(ContentDigest::of(&unsalted), held);
        for guessed in &guessed_salts {
            assert_ne!(salted_digest(guessed, OnBehalfOf, &candidate), held);
        }
    }
    // With the salt the same search finds the one value: it is the salt that protects.
    let found: Vec<Vec<u8>> = domain()
        .filter(|candidate| salted_digest(&salt(OnBehalfOf), OnBehalfOf, candidate) == held)
        .collect();
    assert_eq!(found, [b"customer-0421".to_vec()]);
}

proptest! {
    /// One value in two records cannot be seen to be one: under different salts, and even under the
    /// same salt in different fields, its digests are as different as those of two values.
    #[test]
    fn one_value_under_two_salts_is_unlinkable(value: Vec<u8>, other: Vec<u8>, salts: [[u8; 16]; 2]) {
        prop_assume!(salts[0] != salts[1] && value != other);
        let digest = |salt, field, value: &[u8]| {
            salted_digest(&Salt::from_bytes(salt), field, value)
        };
        let digests = BTreeSet::from([
            digest(salts[0], OnBehalfOf, &value),
            digest(salts[1], OnBehalfOf, &value),
            digest(salts[0], Session, &value),
            digest(salts[0], OnBehalfOf, &other),
        ]);
        prop_assert_eq!(digests.len(), 4);
        // About half of the bits differ, as between unrelated digests: a shared value is no likeness.
        let differing: u32 = digest(salts[0], OnBehalfOf, &value)
            .as_bytes()
            .iter()
            .zip(digest(salts[1], OnBehalfOf, &value).as_bytes())
            .map(|(a, b)| (a ^ b).count_ones())
            .sum();
        prop_assert!((70..=186).contains(&differing), "{differing} of 256 bits");
    }
}

//! Good bundles, whole and in part.

use counterfoil_protocol::FailureCode;
use counterfoil_protocol::bundle::{self, Item, Parser, Verifier};
use counterfoil_protocol::digest::Salt;
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::record::Body;
use counterfoil_protocol::verify::{self as receipts, Level};
use proptest::prelude::*;

use super::support::{self, ACME, GLOBEX, START, Stream, encode};
use super::{World, verify, world};

#[test]
fn every_record_verifies_as_its_own_receipt_does() {
    let world = world();
    let bundle = world.bundle();
    let (entries, summary) = verify(&bundle, &world.trust, Level::Signed, bundle.len());
    assert!(summary.is_good(), "{:?}", summary.failure());
    assert_eq!(summary.records, world.stream.records.len() as u64);
    assert_eq!(summary.bytes, bundle.len() as u64);
    assert_eq!(summary.at(Level::Witnessed), summary.records - 2);
    assert_eq!(summary.at(Level::Signed), 2);
    assert_eq!(summary.parts, 4);
    for ((entry, receipt), made) in entries.iter().zip(&world.stream.records) {
        let record = entry.record.as_ref().unwrap();
        assert_eq!(record.record(), &made.record);
        assert_eq!(entry.id, Some(made.id));
        let receipt = receipt.as_ref().unwrap();
        assert_eq!(receipt.record, made.bytes);
        assert_eq!(receipt.disclosures, made.disclosures);
        assert_eq!(receipt.beacon.is_some(), made.record.beacon.is_some());
        let report = receipts::verify(&receipt.encode(), &world.trust, Level::Signed);
        assert!(report.is_verified(), "{:?}", report.failure);
        assert_eq!(report.level, entry.level);
        assert_eq!(report.not_before, entry.not_before);
        assert_eq!(report.not_after, entry.not_after);
        assert_eq!(report.time_within_bounds, entry.time_within_bounds);
        assert_eq!(report.keys_known_to_size, entry.keys_known_to_size);
        let facts = report.facts.unwrap();
        assert_eq!(facts.record, made.record);
    }
    assert!(entries.iter().any(|(entry, _)| entry.not_before.is_some()));
}

#[test]
fn what_is_written_is_what_is_read() {
    let world = world();
    let (header, parts) = bundle::parse(&world.bundle()).unwrap();
    assert_eq!((&header, &parts), (&world.header, &world.parts));
    assert_eq!(encode(&header, &parts), world.bundle());
}

#[test]
fn how_the_bytes_come_does_not_matter() {
    let world = world();
    let bundle = world.bundle();
    let whole = verify(&bundle, &world.trust, Level::Witnessed, bundle.len());
    assert_eq!(whole.1.failed, 2);
    for step in [1, 2, 3, 64, 1000, 4096] {
        assert_eq!(verify(&bundle, &world.trust, Level::Witnessed, step), whole);
    }
}

#[test]
fn a_level_that_is_asked_for_has_to_be_reached_by_all() {
    let mut world = world();
    let summary = verify(&world.bundle(), &world.trust, Level::Committed, 999).1;
    assert_eq!(summary.failed, 2);
    assert_eq!(
        summary.failure().unwrap().code(),
        FailureCode::LevelNotReached
    );
    world.parts.pop();
    let summary = verify(&world.bundle(), &world.trust, Level::Witnessed, 999).1;
    assert!(summary.is_good());

    // Logged, and not witnessed: one of two witnesses has cosigned.
    let checkpoint = world.log.checkpoint(1, START + 61);
    world.header.manifests[0].log_proof = Some(world.log.proof(0, &checkpoint));
    world.parts = world
        .stream
        .parts(&world.log, &checkpoint, None, |at| at < 10);
    let bundle = world.bundle();
    let summary = verify(&bundle, &world.trust, Level::Logged, 999).1;
    assert!(summary.is_good());
    assert_eq!(summary.at(Level::Logged), 10);
    let summary = verify(&bundle, &world.trust, Level::Witnessed, 999).1;
    assert_eq!(summary.failure().unwrap().code(), FailureCode::QuorumNotMet);

    // Committed, and not logged.
    for part in &mut world.parts {
        part.seal.as_mut().unwrap().log_proof = None;
    }
    let summary = world.summary();
    assert!(summary.is_good());
    assert_eq!(summary.at(Level::Committed), 10);
}

#[test]
fn a_bundle_without_a_record_is_never_good() {
    let world = world();
    for (bundle, code) in [
        (Vec::new(), FailureCode::CborTruncated),
        (world.header.encode(), FailureCode::BundleEmpty),
    ] {
        for level in Level::ALL {
            let summary = verify(&bundle, &world.trust, level, 100).1;
            assert!(!summary.is_good());
            assert_eq!(summary.failure().unwrap().code(), code);
        }
        assert_eq!(bundle::parse(&bundle).unwrap_err().code(), code);
    }
    assert!(
        !Verifier::new(&world.trust, Level::Signed)
            .summary()
            .is_good()
    );
}

#[test]
fn a_bundle_that_was_not_read_to_its_end_is_not_good() {
    let world = world();
    let bundle = world.bundle();
    let mut verifier = Verifier::new(&world.trust, Level::Signed);
    verifier.push(&bundle);
    while let Some(entry) = verifier.next_entry().unwrap() {
        assert!(entry.is_verified());
        assert!(!verifier.summary().is_good());
    }
    verifier.finish().unwrap();
    assert!(verifier.summary().is_good());

    let mut verifier = Verifier::new(&world.trust, Level::Signed);
    verifier.push(&bundle);
    verifier.next_entry().unwrap().unwrap();
    let _ = verifier.finish();
    assert!(!verifier.summary().is_good());
}

/// However a bundle is cut short, it is not good, and what was handed out before is sound.
#[test]
fn a_bundle_that_is_cut_short_is_not_good_or_ends_between_items() {
    let world = world();
    let bundle = world.bundle();
    let mut ends = vec![world.header.encode().len()];
    for part in &world.parts {
        ends.push(ends.last().unwrap() + part.encode().len());
    }
    for length in (0..bundle.len()).step_by(97).chain(ends.clone()) {
        let summary = verify(&bundle[..length], &world.trust, Level::Signed, 512).1;
        assert_eq!(summary.is_good(), ends[1..].contains(&length), "{length}");
        assert_eq!(summary.failed, 0);
    }
}

#[test]
fn a_large_batch_is_spread_over_parts_that_share_its_commitment() {
    let mut world = world();
    let mut stream = Stream::new(ACME, "enforcer");
    for salt in 0..9 {
        let disclosure = Disclosure {
            field: DisclosedField::Parameters,
            salt: Salt::from_bytes([salt; 16]),
            content: vec![b'x'; 1 << 20],
        };
        let mut decision = support::decision(&stream.operator, None, None);
        decision.parameters = disclosure.digest();
        stream.push(Body::Decision(decision));
        stream.records.last_mut().unwrap().disclosures = vec![disclosure];
    }
    stream.seal();
    stream.publish(&mut world.log);
    let checkpoint = world.log.checkpoint(2, START + 60);
    world.parts = stream.parts(&world.log, &checkpoint, None, |_| true);
    assert_eq!(world.parts.len(), 3);
    let summary = world.summary();
    assert!(summary.is_good(), "{:?}", summary.failure());
    assert_eq!(summary.at(Level::Witnessed), 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any selection of records, in batches of any size, however it is cut into pieces.
    #[test]
    fn any_selection_verifies(
        calls in prop::collection::vec((any::<bool>(), 0..4_u8), 1..40),
        picks: u64,
        step in 1..3000_usize,
    ) {
        let World { trust, mut log, header, .. } = world();
        let mut stream = Stream::new(ACME, "enforcer");
        for (remote, seal) in calls {
            if remote {
                stream.remote_call(GLOBEX);
            } else {
                stream.local_call();
            }
            if seal == 0 {
                stream.seal();
            }
        }
        stream.publish(&mut log);
        let checkpoint = log.checkpoint(2, START + 100);
        let take = |at: usize| picks >> (at % 64) & 1 == 1;
        let parts = stream.parts(&log, &checkpoint, None, take);
        let bundle = encode(&header, &parts);
        let (entries, summary) = verify(&bundle, &trust, Level::Signed, step);
        let expected = (0..stream.records.len()).filter(|at| take(*at)).count();
        prop_assert_eq!(entries.len(), expected);
        prop_assert_eq!(summary.is_good(), expected > 0, "{:?}", summary.failure());
        for (entry, receipt) in entries {
            let receipt = receipt.unwrap().encode();
            let report = receipts::verify(&receipt, &trust, Level::Signed);
            prop_assert!(report.is_verified(), "{:?}", report.failure);
            prop_assert_eq!(report.level, entry.level);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes: Vec<u8>, step in 1..50_usize) {
        let _ = bundle::parse(&bytes);
        let world = super::world();
        let mut hostile = world.header.encode();
        hostile.extend(&bytes);
        let mut parser = Parser::default();
        let mut items = Vec::new();
        for piece in hostile.chunks(step) {
            parser.push(piece);
            while let Ok(Some(item)) = parser.next_item() {
                items.push(item);
            }
        }
        prop_assert!(matches!(items.first(), Some(Item::Header(_))));
    }
}

//! Bad bundles, one fault each.

use counterfoil_protocol::FailureCode;
use counterfoil_protocol::bundle::{Part, Seal};
use counterfoil_protocol::digest::{RecordId, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{Body, Record};
use counterfoil_protocol::verify::{self as receipts, Level};
use counterfoil_tlog::tree::Hash;

use super::support::{self, Log, Stream, encode, header, key, manifest};
use super::{ACME, GLOBEX, START, World, verify, world};

/// The code that the bundle of the changed world fails with.
fn code_of(change: impl FnOnce(&mut World)) -> FailureCode {
    let mut world = world();
    change(&mut world);
    let summary = world.summary();
    assert!(!summary.is_good());
    summary.failure().unwrap().code()
}

fn seal_of(part: &mut Part) -> &mut Seal {
    part.seal.as_mut().unwrap()
}

fn flip(bytes: &mut [u8], from_end: usize) {
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
}

#[test]
fn the_header_decides_about_everything() {
    use FailureCode as Code;
    let stopped = |code, change: fn(&mut World)| {
        let mut world = world();
        change(&mut world);
        let (entries, summary) = verify(&world.bundle(), &world.trust, Level::Signed, 4096);
        assert!(entries.is_empty());
        assert_eq!(summary.stopped.unwrap().code(), code);
    };
    stopped(Code::OperatorUnknown, |world| {
        world.header.operator = GLOBEX.parse().unwrap();
    });
    stopped(Code::ManifestChainBroken, |world| {
        world.header.manifests.clear();
    });
    stopped(Code::ManifestChainBroken, |world| {
        let again = world.header.manifests[0].clone();
        world.header.manifests.push(again);
    });
    stopped(Code::SignatureInvalid, |world| {
        flip(&mut world.header.manifests[0].manifest, 1);
    });
    stopped(Code::OperatorUnknown, |world| {
        world.trust = world.log.trust(&[]);
    });
}

#[test]
fn what_records_share_has_to_hold() {
    use FailureCode as Code;
    type Change = fn(&mut World);
    let cases: [(Code, Change); 20] = [
        (Code::SignatureInvalid, |world| {
            flip(&mut seal_of(&mut world.parts[1]).commitment, 1);
        }),
        (Code::CoseType, |world| {
            seal_of(&mut world.parts[1]).commitment = world.parts[1].records[0].clone();
        }),
        (Code::CommitmentRangeMismatch, |world| {
            let other = world.parts[0].seal.clone();
            world.parts[1].seal = other;
        }),
        (Code::BatchPathInvalid, |world| {
            flip(&mut world.parts[0].records[3], 1);
        }),
        (Code::BatchPathInvalid, |world| {
            world.parts[0].records.remove(3);
        }),
        (Code::BatchPathInvalid, |world| {
            seal_of(&mut world.parts[0])
                .hashes
                .push(Hash::from_bytes([0; 32]));
        }),
        (Code::BundleOrder, |world| world.parts[0].records.swap(2, 3)),
        (Code::BundleOrder, |world| {
            let twice = world.parts[0].records[3].clone();
            world.parts[0].records.insert(3, twice);
        }),
        (Code::BundleOrder, |world| {
            let twice = world.parts[0].clone();
            world.parts.insert(1, twice);
        }),
        (Code::BundleOrder, |world| world.parts.swap(0, 1)),
        (Code::BundleOrder, |world| world.parts.swap(2, 3)),
        (Code::CommitmentStreamMismatch, |world| {
            let other = Stream::new(ACME, "another key");
            world.parts[0].records[0] = other.records[0].bytes.clone();
        }),
        (Code::CborTruncated, |world| {
            world.parts[0].records[2].pop();
        }),
        (Code::LogProofMalformed, |world| {
            seal_of(&mut world.parts[2]).log_proof = Some(Vec::new());
        }),
        (Code::LogPathInvalid, |world| {
            let other = seal_of(&mut world.parts[1]).log_proof.clone();
            seal_of(&mut world.parts[2]).log_proof = other;
        }),
        (Code::ManifestNotLogged, |world| {
            world.header.manifests[0].log_proof = None;
        }),
        (Code::LogPathInvalid, |world| {
            let other = seal_of(&mut world.parts[1]).log_proof.clone();
            world.header.manifests[0].log_proof = other;
        }),
        (Code::BeaconMismatch, |world| {
            let unnamed = world.log.checkpoint(2, START + 1).to_string();
            world.parts[2].beacons = vec![unnamed.into_bytes()];
        }),
        (Code::BundleMismatch, |world| {
            world.header.counterparty = Some(GLOBEX.parse().unwrap());
        }),
        (Code::KeyUnknown, |world| {
            let mut stream = Stream::new(ACME, "an unlisted key");
            stream.seal();
            let checkpoint = world.log.checkpoint(2, START);
            world.parts = stream.parts(&world.log, &checkpoint, None, |_| true);
        }),
    ];
    for (number, (code, change)) in cases.into_iter().enumerate() {
        assert_eq!(code_of(change), code, "case {number}");
    }
}

/// A part that does not hold says nothing about the others.
#[test]
fn other_parts_still_verify() {
    let mut world = world();
    flip(&mut seal_of(&mut world.parts[1]).commitment, 1);
    let bad = world.parts[1].records.len() as u64;
    let (entries, summary) = verify(&world.bundle(), &world.trust, Level::Signed, 4096);
    assert_eq!(summary.failed, bad);
    assert_eq!(summary.records, world.stream.records.len() as u64);
    assert!(summary.complete);
    let first = world.parts[0].records.len() as u64;
    assert_eq!(summary.first_failure.as_ref().unwrap().0, first);
    for (entry, receipt) in entries {
        let failed = (first..first + bad).contains(&entry.position);
        assert_eq!(entry.is_verified(), !failed);
        assert_eq!(entry.record.is_none(), failed);
        assert_eq!(receipt.is_none(), failed);
    }
}

#[test]
fn a_foreign_commitment_is_found() {
    let code = code_of(|world| {
        let mut theirs = Stream::new(GLOBEX, "enforcer");
        theirs.seal();
        let checkpoint = world.log.checkpoint(2, START);
        world.parts = theirs.parts(&world.log, &checkpoint, None, |_| true);
    });
    assert_eq!(code, FailureCode::BundleMismatch);
    let code = code_of(|world| {
        let theirs = Stream::new(GLOBEX, "enforcer");
        world.parts = vec![Part {
            records: vec![theirs.records[0].bytes.clone()],
            ..Part::default()
        }];
    });
    assert_eq!(code, FailureCode::BundleMismatch);
    let code = code_of(|world| {
        let other = Stream::new(ACME, "another key");
        world.parts[3].records.push({
            let mut other = other;
            for _ in 0..40 {
                other.local_call();
            }
            other.records.pop().unwrap().bytes
        });
    });
    assert_eq!(code, FailureCode::BundleMismatch);
}

#[test]
fn a_log_that_nobody_trusts_counts_for_nothing() {
    let mut world = world();
    let other = Log::named("log.example/two");
    let root = key("acme.example root");
    world.trust = other.trust(&[(ACME, root.public())]);
    assert_eq!(
        world.summary().failure().unwrap().code(),
        FailureCode::LogUnknown
    );
}

/// Revocation counts by the place in the log, part by part.
#[test]
fn a_revocation_counts_from_its_place_in_the_log() {
    let mut log = Log::default();
    let (old, new) = (key("enforcer"), key("next enforcer"));
    let first = manifest(ACME, &[&old], &[], None);
    let second = manifest(ACME, &[&old, &new], &[&old], Some(&first));
    let mut stream = Stream::new(ACME, "enforcer");
    let mut places = vec![log.append(&first)];
    stream.seal();
    stream.publish(&mut log);
    places.push(log.append(&second));
    stream.local_call();
    stream.seal();
    stream.publish(&mut log);
    stream.local_call();

    let checkpoint = log.checkpoint(2, START + 9);
    let manifests = [first, second]
        .into_iter()
        .zip(places)
        .map(|(manifest, at)| LoggedManifest {
            manifest,
            log_proof: Some(log.proof(at, &checkpoint)),
        })
        .collect();
    let parts = stream.parts(&log, &checkpoint, None, |_| true);
    let bundle = encode(&header(ACME, manifests), &parts);
    let root = key("acme.example root");
    let trust = log.trust(&[(ACME, root.public())]);
    let (entries, _) = verify(&bundle, &trust, Level::Signed, 4096);
    let codes: Vec<Option<FailureCode>> = entries
        .iter()
        .map(|(entry, _)| entry.failure.as_ref().map(|failure| failure.code()))
        .collect();
    let revoked = Some(FailureCode::KeyRevoked);
    assert_eq!(codes, [None, revoked, revoked, revoked, revoked]);
    // As its receipt says.
    let receipt = entries[0].1.as_ref().unwrap().encode();
    let report = receipts::verify(&receipt, &trust, Level::Witnessed);
    assert!(report.is_verified());
    assert_eq!(report.keys_known_to_size, entries[0].0.keys_known_to_size);
}

#[test]
fn each_records_own_parts_have_to_hold() {
    use FailureCode as Code;
    // A signature that the batch holds as it is.
    let mut world = world();
    let mut stream = Stream::new(ACME, "enforcer");
    stream.local_call();
    flip(&mut stream.records[1].bytes, 1);
    stream.seal();
    let checkpoint = world.log.checkpoint(2, START);
    world.parts = stream.parts(&world.log, &checkpoint, None, |_| true);
    let summary = world.summary();
    assert_eq!((summary.failed, summary.records), (1, 3));
    let (position, failure) = summary.first_failure.unwrap();
    assert_eq!((position, failure.code()), (1, Code::SignatureInvalid));

    // A disclosure of another content.
    let mut world = super::world();
    let open = |content: &[u8]| Disclosure {
        field: DisclosedField::Parameters,
        salt: Salt::from_bytes([7; 16]),
        content: content.to_vec(),
    };
    let at = world.parts[0].disclosures[0].0;
    world.parts[0].disclosures = vec![(at, open(b"{}"))];
    let summary = world.summary();
    assert_eq!(summary.failed, 1);
    let (position, failure) = summary.first_failure.unwrap();
    assert_eq!(position, at as u64);
    assert_eq!(failure.code(), Code::DisclosureMismatch);

    // A beacon of another size than the record says.
    let mut world = super::world();
    let note = world.log.checkpoint(2, START - 5);
    let mut named = support::beacon(&note);
    named.size += 1;
    let mut stream = Stream::new(ACME, "enforcer");
    stream.beacon = Some(named);
    stream.local_call();
    let note = note.to_string().into_bytes();
    world.parts = stream.parts(&world.log, &checkpoint, Some(&note), |_| true);
    let summary = world.summary();
    assert_eq!(summary.failed, 2);
    assert_eq!(summary.failure().unwrap().code(), Code::BeaconMismatch);
}

#[test]
fn a_beacon_after_the_cosignatures_is_a_contradiction() {
    let mut world = world();
    let late = world.log.checkpoint(2, START + 500);
    let mut stream = Stream::new(ACME, "enforcer");
    stream.beacon = Some(support::beacon(&late));
    stream.local_call();
    stream.seal();
    stream.publish(&mut world.log);
    let checkpoint = world.log.checkpoint(2, START + 60);
    let late = late.to_string().into_bytes();
    world.parts = stream.parts(&world.log, &checkpoint, Some(&late), |_| true);
    let summary = world.summary();
    assert_eq!(summary.failed, 2);
    assert_eq!(
        summary.failure().unwrap().code(),
        FailureCode::TimeBoundsContradict
    );
}

#[test]
fn a_time_outside_the_bounds_is_counted_and_no_failure() {
    let mut world = world();
    let mut stream = Stream::new(ACME, "enforcer");
    stream.now = (START + 1000) * 1000;
    stream.local_call();
    stream.seal();
    stream.publish(&mut world.log);
    let checkpoint = world.log.checkpoint(2, START + 60);
    world.parts = stream.parts(&world.log, &checkpoint, None, |_| true);
    let summary = world.summary();
    assert!(summary.is_good());
    assert_eq!(summary.outside_bounds, 2);
}

/// Records that an operator signed and that contradict each other: they verify, and the links
/// between them are reported.
#[test]
fn broken_links_are_reported_and_records_still_verify() {
    let broken = |change: fn(&mut Stream), expected: &str| {
        let mut world = world();
        let mut stream = Stream::new(ACME, "enforcer");
        stream.remote_call(GLOBEX);
        change(&mut stream);
        let checkpoint = world.log.checkpoint(2, START);
        world.parts = stream.parts(&world.log, &checkpoint, None, |_| true);
        let (entries, summary) = verify(&world.bundle(), &world.trust, Level::Signed, 999);
        assert_eq!(summary.failed, 0);
        assert_eq!(summary.broken_links, 1, "{expected}");
        assert!(summary.complete && !summary.is_good());
        assert_eq!(summary.failure().unwrap().code(), FailureCode::LinkBroken);
        let (position, link) = summary.first_broken_link.unwrap();
        assert_eq!(link.link.as_str(), expected);
        assert_eq!(entries[position as usize].0.broken_links, [link]);
        assert!(entries.iter().all(|(entry, _)| entry.is_verified()));
    };
    broken(
        |stream| {
            let record = Record {
                sequence: Sequence::new(stream.records.len() as u64),
                previous: Some(RecordId::from_bytes([9; 32])),
                time: UnixMillis::new(stream.now),
                beacon: None,
                body: Body::Decision(support::decision(&stream.operator, None, None)),
            };
            stream.push_record(record);
        },
        "stream",
    );
    broken(
        |stream| {
            let mut link = stream.link(GLOBEX);
            link.previous = Some(RecordId::from_bytes([9; 32]));
            stream.push(Body::Request(support::request(
                &stream.operator.clone(),
                link,
            )));
        },
        "channel",
    );
    broken(
        |stream| {
            let mut link = stream.link(GLOBEX);
            link.sequence = ChannelSequence::new(1);
            stream.push(Body::Request(support::request(
                &stream.operator.clone(),
                link,
            )));
        },
        "channel",
    );
    broken(
        |stream| {
            stream.seal();
            stream.local_call();
            let mut commitment = stream.commitment();
            commitment.previous = Some(counterfoil_protocol::digest::CommitmentDigest::from_bytes(
                [9; 32],
            ));
            stream.seal_as(&commitment);
        },
        "commitment",
    );
}

#[test]
fn what_is_left_out_breaks_no_link() {
    let mut world = world();
    let checkpoint = world.log.checkpoint(2, START + 60);
    world.parts = world
        .stream
        .parts(&world.log, &checkpoint, None, |at| at % 3 == 1);
    for part in &mut world.parts {
        part.beacons.clear();
    }
    assert!(world.summary().is_good());
}

#[test]
fn a_bundle_of_one_channel_holds_its_records_only() {
    let mut world = world();
    world.header.counterparty = Some(GLOBEX.parse::<OperatorName>().unwrap());
    let checkpoint = world.log.checkpoint(2, START + 60);
    let channel = |at: usize| world.stream.records[at].record.channel().is_some();
    world.parts = world.stream.parts(&world.log, &checkpoint, None, channel);
    let summary = world.summary();
    assert!(summary.is_good(), "{:?}", summary.failure());
    assert_eq!(summary.records, 10);
    world.header.counterparty = Some("initech.example".parse().unwrap());
    assert_eq!(
        world.summary().failure().unwrap().code(),
        FailureCode::BundleMismatch
    );
}

/// Whatever bit is changed, the bundle is not good any more. (A changed name or key id of a witness
/// is a signature by a stranger: the quorum is then not met.)
#[test]
fn no_bit_can_be_changed() {
    let mut world = world();
    world.parts.pop();
    let bundle = world.bundle();
    let check = |bundle: &[u8]| verify(bundle, &world.trust, Level::Witnessed, 1 << 20).1;
    assert!(check(&bundle).is_good());
    for bit in (0..bundle.len() * 8).step_by(127) {
        let mut changed = bundle.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let summary = check(&changed);
        assert!(!summary.is_good(), "bit {bit}");
    }
}

#[test]
fn the_form_of_parts_is_strict() {
    use FailureCode as Code;
    let code = |item: &[u8]| {
        let world = world();
        let mut bundle = world.header.encode();
        bundle.extend(item);
        let summary = verify(&bundle, &world.trust, Level::Signed, 7).1;
        summary.stopped.unwrap().code()
    };
    assert_eq!(code(&[0xa0]), Code::StructureMissingField);
    assert_eq!(code(&[0x80]), Code::StructureWrongType);
    assert_eq!(code(&[0xa1, 0x07, 0x80]), Code::StructureOutOfRange);
    assert_eq!(code(&[0xa1, 0x08, 0x80]), Code::StructureMissingField);
    assert_eq!(code(&[0xa1, 0x02, 0xf6]), Code::StructureUnknownField);
    assert_eq!(code(&[0xa1, 0x01, 0x40]), Code::StructureMissingField);
    assert_eq!(
        code(&[0xa2, 0x05, 0x80, 0x07, 0x81, 0x40]),
        Code::StructureOutOfRange
    );
    assert_eq!(
        code(&[0xa2, 0x06, 0x80, 0x07, 0x81, 0x40]),
        Code::StructureOutOfRange
    );
    assert_eq!(code(&[0xa1, 0x07, 0x81, 0xa0]), Code::StructureWrongType);
    assert_eq!(code(&[0xa1, 0x07, 0x9f]), Code::CborIndefiniteLength);
    let part = |disclosures: Vec<(usize, Disclosure)>| {
        let records = vec![b"a".to_vec(), b"b".to_vec()];
        Part {
            records,
            disclosures,
            ..Part::default()
        }
        .encode()
    };
    let open = || Disclosure {
        field: DisclosedField::Parameters,
        salt: Salt::from_bytes([7; 16]),
        content: Vec::new(),
    };
    assert_eq!(code(&part(vec![(2, open())])), Code::StructureOutOfRange);
    let unsorted = vec![(1, open()), (0, open())];
    assert_eq!(code(&part(unsorted)), Code::StructureOutOfRange);
    let twice = vec![(1, open()), (1, open())];
    assert_eq!(code(&part(twice)), Code::StructureOutOfRange);
    // In form, and nothing in it is a record.
    let mut world = world();
    world.parts = vec![Part {
        records: vec![vec![0x00]],
        ..Part::default()
    }];
    assert_eq!(
        world.summary().failure().unwrap().code(),
        Code::CoseStructure
    );
}

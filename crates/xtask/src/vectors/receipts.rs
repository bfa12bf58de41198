//! Receipts: every level and every kind, and every step of the verification failing once.

use anyhow::{Context as _, Result};
use ciborium::Value;
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::failure::FailureCode::{self, *};
use counterfoil_protocol::numbers::{Sequence, UnixMillis};
use counterfoil_protocol::receipt::{BatchPart, LoggedManifest, Receipt};
use counterfoil_protocol::record::{Beacon, Body, Record};
use counterfoil_tlog::note::Note;
use counterfoil_tlog::tree::leaf_hash;

use super::Case;
use super::edit::{Entries, Parts, bytes, edited, remove, set};
use super::scene::Scene;
use super::transparency::{loose, swapped, with_time};
use crate::world::{START, Signing, World, beacon, both, record};

const OBJECT: &str = "receipt";
const BOTH: &str = "trust/both-witnesses";

/// Acme's request, the record most cases are about.
const REQUEST: u64 = 2;

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let mut cases = levels(world)?;
    cases.extend(keys_over_time(world)?);
    cases.extend(times(world)?);
    cases.extend(form_faults(world)?);
    cases.extend(key_faults(world)?);
    cases.extend(batch_faults(world)?);
    cases.extend(forged_paths(world)?);
    cases.extend(log_faults(world)?);
    cases.extend(manifest_log_faults(world)?);
    Ok(cases)
}

/// What a good receipt must be reported as.
struct Expected {
    level: &'static str,
    not_before: Option<u64>,
    not_after: Option<u64>,
    keys_known_to: Option<u64>,
}

const WITNESSED: Expected = Expected {
    level: "witnessed",
    not_before: Some(START - 20),
    not_after: Some(START + 6),
    keys_known_to: Some(6),
};

fn good(name: &str, comment: &str, receipt: &Receipt, trust: &str, expected: &Expected) -> Case {
    let mut case = Case::success(OBJECT, name, comment, receipt.encode())
        .with("trust", trust)
        .with("require", expected.level)
        .with("level", expected.level);
    if let Some(time) = expected.not_before {
        case = case.with("not-before", time);
    }
    if let Some(time) = expected.not_after {
        case = case.with("not-after", time);
    }
    if let Some(size) = expected.keys_known_to {
        case = case.with("keys-known-to", size);
    }
    case
}

fn bad(name: &str, step: &str, code: FailureCode, comment: &str, receipt: Vec<u8>) -> Case {
    Case::refused(OBJECT, name, code, comment, receipt)
        .with("step", step)
        .with("trust", BOTH)
        .with("require", "witnessed")
}

fn levels(world: &World) -> Result<Vec<Case>> {
    let whole = world.acme_receipt(REQUEST)?;
    let mut cases = Vec::new();
    for (sequence, name) in [
        (0, "witnessed-control"),
        (3, "witnessed-outcome"),
        (4, "witnessed-decision-deny"),
        (6, "witnessed-last-of-batch"),
    ] {
        let receipt = world.acme_receipt(sequence)?;
        let expected = Expected {
            not_before: receipt.beacon.as_ref().map(|_| START - 20),
            ..WITNESSED
        };
        cases.push(good(
            name,
            "another kind of record",
            &receipt,
            BOTH,
            &expected,
        ));
    }
    cases.push(good(
        "witnessed-request",
        "everything but disclosures",
        &whole,
        BOTH,
        &WITNESSED,
    ));
    cases.push(good(
        "witnessed-globex-decision",
        "the other operator's half",
        &world.globex_receipt(1)?,
        BOTH,
        &WITNESSED,
    ));

    let disclosures = &world.disclosures;
    let disclosed = Receipt {
        disclosures: vec![disclosures.parameters.clone(), disclosures.input.clone()],
        ..whole.clone()
    };
    cases.push(good(
        "disclosed",
        "parameters and evaluation input are open",
        &disclosed,
        BOTH,
        &WITNESSED,
    ));
    let redacted = Receipt {
        disclosures: vec![disclosures.parameters.clone()],
        ..whole.clone()
    };
    cases.push(good(
        "disclosed-in-part",
        "the evaluation input is redacted; nothing else changes",
        &redacted,
        BOTH,
        &WITNESSED,
    ));
    let result = Receipt {
        disclosures: vec![disclosures.result.clone()],
        ..world.globex_receipt(2)?
    };
    cases.push(good(
        "disclosed-result",
        "the result of an outcome",
        &result,
        BOTH,
        &WITNESSED,
    ));

    let committed = Receipt {
        log_proof: None,
        beacon: None,
        ..whole.clone()
    };
    let signed = Receipt {
        batch: None,
        ..committed.clone()
    };
    let none = Expected {
        level: "signed",
        not_before: None,
        not_after: None,
        keys_known_to: None,
    };
    let manifest_alone = |receipt: &Receipt| Receipt {
        manifests: receipt
            .manifests
            .iter()
            .map(|part| LoggedManifest {
                log_proof: None,
                ..part.clone()
            })
            .collect(),
        ..receipt.clone()
    };
    cases.push(good(
        "signed",
        "a record and a manifest",
        &manifest_alone(&signed),
        BOTH,
        &none,
    ));
    cases.push(good(
        "signed-with-beacon",
        "only the past is bounded",
        &Receipt {
            beacon: whole.beacon.clone(),
            ..signed
        },
        BOTH,
        &Expected {
            not_before: Some(START - 20),
            ..none
        },
    ));
    cases.push(good(
        "committed",
        "with a batch",
        &manifest_alone(&committed),
        BOTH,
        &Expected {
            level: "committed",
            ..none
        },
    ));
    cases.push(good(
        "logged",
        "the trust file asks for no witnesses",
        &whole,
        "trust/no-witnesses",
        &Expected {
            level: "logged",
            not_before: None,
            not_after: None,
            keys_known_to: Some(6),
        },
    ));
    let [one, _] = &world.witnesses;
    let half = cosigned(
        world,
        &whole,
        &[Signing {
            witness: one,
            at: START + 5,
        }],
    )?;
    cases.push(good(
        "logged-quorum-not-met",
        "one of two witnesses: logged is all it is",
        &half,
        BOTH,
        &Expected {
            level: "logged",
            not_after: None,
            ..WITNESSED
        },
    ));
    cases.push(good(
        "witnessed-by-any",
        "the trust file asks for one of two",
        &half,
        "trust/any-witness",
        &Expected {
            not_before: Some(START - 19),
            not_after: Some(START + 5),
            ..WITNESSED
        },
    ));
    cases.push(good(
        "witnessed-two-logs",
        "the trust file names another log too",
        &whole,
        "trust/two-logs",
        &WITNESSED,
    ));

    let unwitnessed_beacon = world.log.checkpoint(2, &[])?;
    let mut record = world.record(REQUEST)?;
    record.beacon = Some(beacon(&unwitnessed_beacon)?);
    let receipt = Receipt {
        beacon: Some(unwitnessed_beacon.to_string().into_bytes()),
        ..Scene::new(world, 2, world.sign(&record))?.receipt(world)?
    };
    cases.push(good(
        "beacon-quorum-not-met",
        "a beacon that nobody cosigned bounds nothing",
        &receipt,
        BOTH,
        &Expected {
            not_before: None,
            keys_known_to: Some(3),
            ..WITNESSED
        },
    ));

    for (name, receipt, required, comment) in [
        (
            "level-signed-only",
            manifest_alone(&Receipt {
                batch: None,
                log_proof: None,
                beacon: None,
                ..whole.clone()
            }),
            "committed",
            "signed, committed was asked for",
        ),
        (
            "level-committed-only",
            manifest_alone(&Receipt {
                log_proof: None,
                beacon: None,
                ..whole.clone()
            }),
            "logged",
            "committed, logged was asked for",
        ),
    ] {
        cases.push(
            Case::refused(OBJECT, name, LevelNotReached, comment, receipt.encode())
                .with("step", "level")
                .with("trust", BOTH)
                .with("require", required),
        );
    }
    cases.push(bad(
        "level-quorum-not-met",
        "level",
        QuorumNotMet,
        "one of two witnesses, witnessed was asked for",
        half.encode(),
    ));
    cases.push(
        bad(
            "level-no-witnesses-trusted",
            "level",
            QuorumNotMet,
            "the trust file asks for no witnesses, witnessed was asked for",
            whole.encode(),
        )
        .replacing("trust", "trust/no-witnesses"),
    );
    Ok(cases)
}

/// Key changes, revocation, trees of one leaf.
fn keys_over_time(world: &World) -> Result<Vec<Case>> {
    let eight = &world.checkpoints.eight;
    let manifests = |upto: usize, note: &Note| -> Result<Vec<LoggedManifest>> {
        world
            .acme_manifests
            .iter()
            .take(upto)
            .map(|m| world.logged(m, note))
            .collect()
    };
    let mut cases = Vec::new();

    let batch = world.acme_next_stream.batches.first().context("no batch")?;
    let second_key = Receipt {
        record: record(&world.acme_next_stream, 0)?.bytes.clone(),
        manifests: manifests(2, &world.checkpoints.six)?,
        batch: Some(batch.part(0)?),
        log_proof: Some(world.proof(world.commitments.acme_next, &world.checkpoints.six)?),
        beacon: None,
        disclosures: Vec::new(),
    };
    cases.push(good(
        "rotation",
        "signed by the key of version 2; a batch of one record",
        &second_key,
        BOTH,
        &Expected {
            not_before: None,
            ..WITNESSED
        },
    ));
    let still = Receipt {
        manifests: manifests(3, eight)?,
        log_proof: Some(world.proof(world.commitments.acme_next, eight)?),
        ..second_key.clone()
    };
    let later = Expected {
        not_after: Some(START + 66),
        keys_known_to: Some(8),
        ..WITNESSED
    };
    cases.push(good(
        "rotation-under-later-checkpoint",
        "the same under a later tree",
        &still,
        BOTH,
        &Expected {
            not_before: None,
            ..later
        },
    ));

    let before = Receipt {
        manifests: manifests(3, eight)?,
        log_proof: Some(world.proof(world.commitments.acme, eight)?),
        ..world.acme_receipt(REQUEST)?
    };
    cases.push(good(
        "revoked-later",
        "the key was revoked after the commitment was logged",
        &before,
        BOTH,
        &later,
    ));
    let mixed = Receipt {
        manifests: manifests(3, eight)?,
        ..world.acme_receipt(REQUEST)?
    };
    cases.push(good(
        "revoked-later-mixed-checkpoints",
        "manifests proven under a later tree than the commitment",
        &mixed,
        BOTH,
        &Expected {
            keys_known_to: Some(8),
            ..WITNESSED
        },
    ));
    let first = world.acme_manifests.first().context("no manifest")?;
    let one = Receipt {
        manifests: vec![world.logged(first, &world.checkpoints.one)?],
        ..world.acme_receipt(REQUEST)?
    };
    cases.push(good(
        "manifest-in-log-of-one",
        "the manifest's path has no hash",
        &one,
        BOTH,
        &Expected {
            keys_known_to: Some(1),
            ..WITNESSED
        },
    ));

    let late_batch = world.acme_stream.batches.get(1).context("no batch")?;
    let late = Receipt {
        record: record(&world.acme_stream, 7)?.bytes.clone(),
        manifests: manifests(3, eight)?,
        batch: Some(late_batch.part(7)?),
        log_proof: Some(world.proof(world.commitments.acme_late, eight)?),
        beacon: None,
        disclosures: Vec::new(),
    };
    cases.push(bad(
        "revoked-before",
        "manifest_log",
        KeyRevoked,
        "the commitment was logged after the revocation, whatever times it claims",
        late.encode(),
    ));
    let unlogged = Receipt {
        log_proof: None,
        ..late.clone()
    };
    cases.push(
        bad(
            "revoked-not-logged",
            "manifest_log",
            KeyRevoked,
            "without a place in the log any revocation counts",
            unlogged.encode(),
        )
        .replacing("require", "committed"),
    );
    let unaware = Receipt {
        manifests: manifests(2, eight)?,
        ..late
    };
    cases.push(good(
        "revocation-withheld",
        "without version 3 nobody can see it: the keys are known up to size 8 by what is shown",
        &unaware,
        BOTH,
        &Expected {
            not_before: None,
            ..later
        },
    ));
    Ok(cases)
}

/// Time bounds.
fn times(world: &World) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let made = |time: u64, note: &Note| -> Result<Receipt> {
        let mut record = world.record(REQUEST)?;
        record.time = UnixMillis::new(time * 1000);
        record.beacon = Some(beacon(note)?);
        Ok(Receipt {
            beacon: Some(note.to_string().into_bytes()),
            ..Scene::new(world, 2, world.sign(&record))?.receipt(world)?
        })
    };
    let two = &world.checkpoints.two;
    let own_log = Expected {
        keys_known_to: Some(3),
        ..WITNESSED
    };
    for (name, time, within) in [
        ("time-at-not-before", START - 20, true),
        ("time-at-not-after", START + 6, true),
        ("time-before-bounds", START - 21, false),
        ("time-after-bounds", START + 7, false),
    ] {
        let comment = if within {
            "the claimed time is on the bound"
        } else {
            "the operator's clock is wrong, and the report says so"
        };
        cases.push(
            good(name, comment, &made(time, two)?, BOTH, &own_log)
                .with("time-within-bounds", within),
        );
    }
    let future = world
        .log
        .checkpoint(2, &both(&world.witnesses, START + 100))?;
    cases.push(bad(
        "time-bounds-contradict",
        "time_bounds",
        TimeBoundsContradict,
        "the beacon was cosigned after the checkpoint that covers the record",
        made(START, &future)?.encode(),
    ));

    let whole = world.acme_receipt(REQUEST)?;
    let with = |note: Vec<u8>| {
        Receipt {
            beacon: Some(note),
            ..whole.clone()
        }
        .encode()
    };
    cases.push(bad(
        "beacon-other-checkpoint",
        "time_bounds",
        BeaconMismatch,
        "another checkpoint than the record names",
        with(world.checkpoints.one.to_string().into_bytes()),
    ));
    let [one, two_witness] = &world.witnesses;
    let again = world.log.checkpoint(
        2,
        &[
            Signing {
                witness: one,
                at: START - 20,
            },
            Signing {
                witness: two_witness,
                at: START - 18,
            },
        ],
    )?;
    cases.push(bad(
        "beacon-other-cosignatures",
        "time_bounds",
        BeaconMismatch,
        "the same tree, cosigned a second later",
        with(again.to_string().into_bytes()),
    ));
    let unasked = Receipt {
        beacon: Some(two.to_string().into_bytes()),
        ..world.acme_receipt(0)?
    };
    cases.push(bad(
        "beacon-not-named",
        "time_bounds",
        BeaconMismatch,
        "the record names no beacon",
        unasked.encode(),
    ));

    let naming = |size: u64, note: Vec<u8>| -> Result<Vec<u8>> {
        use counterfoil_protocol::digest::CheckpointDigest;
        let mut record = world.record(REQUEST)?;
        record.beacon = Some(Beacon {
            size,
            checkpoint: CheckpointDigest::of(&note),
        });
        Ok(Receipt {
            beacon: Some(note),
            ..Scene::new(world, 2, world.sign(&record))?.receipt(world)?
        }
        .encode())
    };
    cases.push(bad(
        "beacon-size-other",
        "time_bounds",
        BeaconMismatch,
        "the record says size 3 of a checkpoint of size 2",
        naming(3, two.to_string().into_bytes())?,
    ));
    cases.push(bad(
        "beacon-not-a-note",
        "time_bounds",
        LogProofMalformed,
        "a text without signatures",
        naming(2, two.text().as_bytes().to_vec())?,
    ));
    let foreign = world.other_log.checkpoint_with_root(
        2,
        world.log.root(2)?,
        &both(&world.witnesses, START - 20),
    )?;
    cases.push(bad(
        "beacon-log-unknown",
        "time_bounds",
        LogUnknown,
        "a log that the trust file does not name",
        naming(2, foreign.to_string().into_bytes())?,
    ));
    let fake = swapped(two, two_witness, one)?;
    cases.push(bad(
        "beacon-witness-key-swapped",
        "time_bounds",
        CosignatureInvalid,
        "the second witness's name, the first one's key",
        naming(2, fake.to_string().into_bytes())?,
    ));
    Ok(cases)
}

/// The file itself.
fn form_faults(world: &World) -> Result<Vec<Case>> {
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
        "field 9",
        edit(&|r| set(r, 9, 1))?,
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
    bytes(super::edit::encode(&Value::Array(items.to_vec())).unwrap_or_default())
}

/// Who signed, and what is disclosed.
fn key_faults(world: &World) -> Result<Vec<Case>> {
    let whole = world.acme_receipt(REQUEST)?;
    let mut cases = Vec::new();
    let mut add = |name: &str, step: &str, code, comment: &str, receipt: Receipt| {
        cases.push(bad(name, step, code, comment, receipt.encode()));
    };
    add(
        "record-not-cose",
        "record",
        CoseStructure,
        "a number for a record",
        Receipt {
            record: vec![1],
            ..whole.clone()
        },
    );
    let minus_eight = Parts::of(&whole.record)?
        .header(|h| set(h, 1, -8))?
        .sign(&world.acme_stream.key)?;
    add(
        "record-alg-eddsa",
        "record",
        CoseAlgorithm,
        "a record signed with -8",
        Scene::new(world, 2, minus_eight)?.receipt(world)?,
    );
    let mut flipped = Parts::of(&whole.record)?;
    if let Some(byte) = flipped.signature.first_mut() {
        *byte ^= 1;
    }
    add(
        "record-signature-flipped",
        "record_signature",
        SignatureInvalid,
        "everything above it is right",
        Scene::new(world, 2, flipped.object()?)?.receipt(world)?,
    );

    add(
        "manifests-empty",
        "manifests",
        ManifestChainBroken,
        "no manifest at all",
        Receipt {
            manifests: Vec::new(),
            ..whole.clone()
        },
    );
    let six = &world.checkpoints.six;
    let logged = |number: usize, note: &Note| {
        world.logged(
            world
                .acme_manifests
                .get(number)
                .context("no such version")?,
            note,
        )
    };
    add(
        "manifests-of-other-operator",
        "manifests",
        ManifestChainBroken,
        "globex's manifest for acme's record",
        Receipt {
            manifests: vec![world.logged(&world.globex_manifest, six)?],
            ..whole.clone()
        },
    );
    add(
        "manifests-begin-late",
        "manifests",
        ManifestChainBroken,
        "version 2 alone",
        Receipt {
            manifests: vec![logged(1, six)?],
            ..whole.clone()
        },
    );
    let eight = &world.checkpoints.eight;
    add(
        "manifests-with-gap",
        "manifests",
        ManifestChainBroken,
        "versions 1 and 3",
        Receipt {
            manifests: vec![logged(0, eight)?, logged(2, eight)?],
            ..whole.clone()
        },
    );
    add(
        "manifests-twice",
        "manifests",
        ManifestChainBroken,
        "version 1 twice",
        Receipt {
            manifests: vec![logged(0, six)?, logged(0, six)?],
            ..whole.clone()
        },
    );
    let next = Receipt {
        record: record(&world.acme_next_stream, 0)?.bytes.clone(),
        manifests: whole.manifests.clone(),
        batch: None,
        log_proof: None,
        beacon: None,
        disclosures: Vec::new(),
    };
    add(
        "key-not-listed",
        "key",
        KeyUnknown,
        "version 1 does not list the second key",
        next,
    );

    let mut cases_with = |name: &str, code, comment: &str, trust: &str| {
        cases.push(bad(name, "manifests", code, comment, whole.encode()).replacing("trust", trust));
    };
    cases_with(
        "operator-unknown",
        OperatorUnknown,
        "the trust file names no root key of acme",
        "trust/only-globex",
    );
    cases_with(
        "operator-root-other",
        ManifestChainBroken,
        "the trust file names another root key of acme",
        "trust/other-root",
    );
    cases_with(
        "operators-none",
        OperatorUnknown,
        "a trust file without operators",
        "trust/no-operators",
    );

    let d = &world.disclosures;
    let mut add = |name: &str, comment: &str, disclosures: Vec<Disclosure>| {
        let receipt = Receipt {
            disclosures,
            ..whole.clone()
        };
        cases.push(bad(
            name,
            "disclosures",
            DisclosureMismatch,
            comment,
            receipt.encode(),
        ));
    };
    let changed = |content: &[u8]| Disclosure {
        content: content.to_vec(),
        ..d.parameters.clone()
    };
    add(
        "disclosure-content-other",
        "another amount",
        vec![changed(br#"{"ticket":"T-1001","amount_cents":1}"#)],
    );
    add(
        "disclosure-salt-other",
        "another salt",
        vec![Disclosure {
            salt: d.input.salt,
            ..d.parameters.clone()
        }],
    );
    add(
        "disclosure-of-absent-field",
        "a request has no result",
        vec![d.result.clone()],
    );
    let crossed = Disclosure {
        field: d.input.field,
        ..d.parameters.clone()
    };
    add(
        "disclosure-of-other-field",
        "the parameters as evaluation input",
        vec![crossed],
    );
    Ok(cases)
}

/// The commitment, and what it covers.
fn batch_faults(world: &World) -> Result<Vec<Case>> {
    let whole = world.acme_receipt(REQUEST)?;
    let mut cases = Vec::new();
    let mut add = |name: &str, step: &str, code, comment: &str, receipt: Receipt| {
        cases.push(bad(name, step, code, comment, receipt.encode()));
    };
    let part = whole.batch.clone().context("no batch")?;
    let with = |commitment: Vec<u8>| Receipt {
        batch: Some(BatchPart {
            commitment,
            ..part.clone()
        }),
        ..whole.clone()
    };
    let globex = world.globex_stream.batches.first().context("no batch")?;
    add(
        "commitment-of-other-operator",
        "commitment",
        CommitmentStreamMismatch,
        "globex's commitment for acme's record",
        with(globex.bytes.clone()),
    );
    let next = world.acme_next_stream.batches.first().context("no batch")?;
    add(
        "commitment-of-other-stream",
        "commitment",
        CommitmentStreamMismatch,
        "the commitment of acme's second key",
        with(next.bytes.clone()),
    );
    let later = world.acme_stream.batches.get(1).context("no batch")?;
    add(
        "commitment-of-later-batch",
        "commitment",
        CommitmentRangeMismatch,
        "batch 1 for a record of batch 0",
        with(later.bytes.clone()),
    );
    let mut flipped = Parts::of(&part.commitment)?;
    if let Some(byte) = flipped.signature.last_mut() {
        *byte ^= 1;
    }
    add(
        "commitment-signature-flipped",
        "commitment",
        SignatureInvalid,
        "one bit",
        with(flipped.object()?),
    );
    add(
        "commitment-is-record",
        "commitment",
        CoseType,
        "a record where the commitment should be",
        with(whole.record.clone()),
    );

    let path = |path: Vec<_>| Receipt {
        batch: Some(BatchPart {
            path,
            ..part.clone()
        }),
        ..whole.clone()
    };
    let mut longer = part.path.clone();
    longer.push(leaf_hash(b"more"));
    add(
        "batch-path-trailing-hash",
        "batch_path",
        BatchPathInvalid,
        "a hash too many, which rs_merkle accepts",
        path(longer),
    );
    let shorter = part.path.split_last().context("no path")?.1.to_vec();
    add(
        "batch-path-short",
        "batch_path",
        BatchPathInvalid,
        "a hash too few",
        path(shorter),
    );
    add(
        "batch-path-empty",
        "batch_path",
        BatchPathInvalid,
        "no hash, as if the record were the root",
        path(Vec::new()),
    );
    let mut reversed = part.path.clone();
    reversed.reverse();
    add(
        "batch-path-reversed",
        "batch_path",
        BatchPathInvalid,
        "root side first",
        path(reversed),
    );
    let neighbour = world
        .acme_stream
        .batches
        .first()
        .context("no batch")?
        .part(3)?;
    add(
        "batch-path-of-neighbour",
        "batch_path",
        BatchPathInvalid,
        "the path of record 3",
        path(neighbour.path),
    );
    let other = record(&world.acme_stream, 3)?.bytes.clone();
    add(
        "record-of-neighbour",
        "batch_path",
        BatchPathInvalid,
        "record 3 with the path of record 2",
        Receipt {
            record: other,
            beacon: None,
            ..whole.clone()
        },
    );
    let mut twin = world.record(REQUEST)?;
    twin.time = twin.time.saturating_add(1);
    add(
        "record-twin",
        "batch_path",
        BatchPathInvalid,
        "a second record 2, signed by the same key, with the place of the first",
        Receipt {
            record: world.sign(&twin),
            ..whole
        },
    );
    Ok(cases)
}

/// What rs_merkle's verifier accepts: the position and the size are not bound to the proof. A
/// receipt claims neither: the index is the sequence minus the first, the count is signed.
fn forged_paths(world: &World) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (sequence, count) in [(11, 4), (19, 5), (35, 7)] {
        let aliased = Record {
            sequence: Sequence::new(sequence),
            ..world.record(3)?
        };
        let mut scene = Scene::new(world, 3, world.sign(&aliased))?;
        scene.commitment.count = count;
        cases.push(bad(
            &format!("forged-index-{sequence}-of-{count}"),
            "commitment",
            CommitmentRangeMismatch,
            "leaf 3 of 7 under an index outside the tree; rs_merkle accepts it",
            scene.receipt(world)?.encode(),
        ));
    }
    for (count, comment) in [
        (
            4,
            "leaf 3 of 4 has a shorter path; rs_merkle ignores what is left over",
        ),
        (9, "leaf 3 of 9 has a longer path"),
    ] {
        let mut scene = Scene::new(world, 3, record(&world.acme_stream, 3)?.bytes.clone())?;
        scene.commitment.count = count;
        cases.push(bad(
            &format!("forged-count-{count}"),
            "batch_path",
            BatchPathInvalid,
            comment,
            scene.receipt(world)?.encode(),
        ));
    }

    // rs_merkle, given a position more than once, accepts a leaf that is not in the tree as long
    // as it is not the last one given. In a receipt there is one leaf, and it must be hashed.
    let mut foreign = world.record(REQUEST)?;
    foreign.body = Body::Control(counterfoil_protocol::record::Event::Started {
        policy_set: counterfoil_protocol::digest::ContentDigest::of(b"another"),
        unresolved: 0,
    });
    let duplicate = Receipt {
        record: world.sign(&foreign),
        ..world.acme_receipt(REQUEST)?
    };
    cases.push(bad(
        "forged-foreign-leaf",
        "batch_path",
        BatchPathInvalid,
        "a record that was never in the batch, with the path of the one that was",
        duplicate.encode(),
    ));
    let mut scene = Scene::new(world, 2, record(&world.acme_stream, REQUEST)?.bytes.clone())?;
    scene.commitment.count = 3;
    let mut repeated = scene.receipt(world)?;
    if let Some(batch) = &mut repeated.batch {
        let leaf = leaf_hash(&repeated.record);
        batch.path = vec![leaf, leaf];
    }
    cases.push(bad(
        "forged-duplicate-leaf",
        "batch_path",
        BatchPathInvalid,
        "the leaf as its own sibling, as duplicating trees have it",
        repeated.encode(),
    ));
    Ok(cases)
}

/// The commitment's place in the log.
fn log_faults(world: &World) -> Result<Vec<Case>> {
    let whole = world.acme_receipt(REQUEST)?;
    let [one, two] = &world.witnesses;
    let six = &world.checkpoints.six;
    let proof = |note: &Note| {
        world
            .log
            .proof(world.commitments.acme, note)
            .map(|proof| proof.to_string())
    };
    let text = proof(six)?;
    let first_hash = world
        .log
        .path(world.commitments.acme, 6)?
        .first()
        .context("no path")?
        .to_string();
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, proof: String| {
        let receipt = Receipt {
            log_proof: Some(proof.into_bytes()),
            ..whole.clone()
        };
        cases.push(bad(name, "log_inclusion", code, comment, receipt.encode()));
    };
    add(
        "log-proof-empty",
        LogProofMalformed,
        "no byte",
        String::new(),
    );
    add(
        "log-proof-not-canonical",
        LogProofMalformed,
        "unused bits of a hash that are not zero",
        text.replacen(&first_hash, &loose(&first_hash)?, 1),
    );
    add(
        "log-proof-not-padded",
        LogProofMalformed,
        "base64 without its padding",
        text.replacen(&first_hash, first_hash.trim_end_matches('='), 1),
    );
    add(
        "log-proof-index-leading-zero",
        LogProofMalformed,
        "`02`",
        text.replacen("index 2", "index 02", 1),
    );
    add(
        "log-proof-extra",
        LogProofMalformed,
        "an extra line, which nothing authenticates",
        text.replacen("index", "extra AAECAw==\nindex", 1),
    );
    add(
        "log-proof-unsigned",
        LogProofMalformed,
        "a checkpoint without signatures",
        format!("{}\n", text.rsplit_once("\n\n").context("no signatures")?.0),
    );
    add(
        "log-path-trailing-hash",
        LogPathInvalid,
        "a hash too many, which rs_merkle accepts",
        text.replacen("\n\n", &format!("\n{first_hash}\n\n"), 1),
    );
    add(
        "log-path-short",
        LogPathInvalid,
        "a hash too few",
        text.replacen(&format!("{first_hash}\n"), "", 1),
    );
    add(
        "log-index-aliased",
        LogPathInvalid,
        "entry 10 of 6",
        text.replacen("index 2", "index 10", 1),
    );
    add(
        "log-index-neighbour",
        LogPathInvalid,
        "entry 3",
        text.replacen("index 2", "index 3", 1),
    );
    add(
        "log-entry-other",
        LogPathInvalid,
        "the proof of globex's commitment",
        world.log.proof(world.commitments.globex, six)?.to_string(),
    );
    let lie = world.log.checkpoint_with_root(
        6,
        leaf_hash(b"other"),
        &both(&world.witnesses, START + 5),
    )?;
    add(
        "log-root-other",
        LogPathInvalid,
        "signed and cosigned, but another tree",
        proof(&lie)?,
    );

    let stray = world.other_log.checkpoint_with_root(
        6,
        world.log.root(6)?,
        &both(&world.witnesses, START + 5),
    )?;
    add(
        "log-unknown",
        LogUnknown,
        "a log that the trust file does not name",
        proof(&stray)?,
    );
    let unsigned = six
        .clone()
        .retain_signatures(|s| s.name() != world.log.key().name())
        .context("no signature left")?;
    add(
        "log-signature-missing",
        CheckpointSignatureInvalid,
        "witnesses alone do not make a checkpoint",
        proof(&unsigned)?,
    );
    let mismatched = Note::new(
        six.text().to_owned(),
        [
            world.log.checkpoint(5, &[])?.signatures().to_vec(),
            six.signatures().iter().skip(1).cloned().collect(),
        ]
        .concat(),
    )?;
    add(
        "log-signature-of-other-size",
        CheckpointSignatureInvalid,
        "the log's signature is over size 5",
        proof(&mismatched)?,
    );
    add(
        "witness-key-swapped",
        CosignatureInvalid,
        "the second witness's name, the first one's key",
        proof(&swapped(six, two, one)?)?,
    );
    add(
        "cosignature-time-changed",
        CosignatureInvalid,
        "an earlier time than was signed",
        proof(&with_time(six, two, START)?)?,
    );
    add(
        "cosignature-time-zero",
        CosignatureInvalid,
        "a cosignature must claim a time",
        proof(&with_time(six, two, 0)?)?,
    );

    for (name, comment, cosigners) in [
        (
            "quorum-one-of-two",
            "the second witness is missing",
            vec![Signing {
                witness: one,
                at: START,
            }],
        ),
        ("quorum-none", "nobody cosigned", vec![]),
        (
            "quorum-one-twice",
            "two cosignatures of one witness",
            vec![
                Signing {
                    witness: one,
                    at: START,
                },
                Signing {
                    witness: one,
                    at: START + 1,
                },
            ],
        ),
        (
            "quorum-stranger",
            "an unknown witness does not count",
            vec![
                Signing {
                    witness: one,
                    at: START,
                },
                Signing {
                    witness: &world.stranger,
                    at: START,
                },
            ],
        ),
    ] {
        let note = world.log.checkpoint(6, &cosigners)?;
        let receipt = Receipt {
            log_proof: Some(proof(&note)?.into_bytes()),
            ..whole.clone()
        };
        cases.push(bad(name, "level", QuorumNotMet, comment, receipt.encode()));
    }
    Ok(cases)
}

/// The manifests' places in the log.
fn manifest_log_faults(world: &World) -> Result<Vec<Case>> {
    let whole = world.acme_receipt(REQUEST)?;
    let manifest = world.acme_manifests.first().context("no manifest")?;
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, receipt: Receipt| {
        cases.push(bad(name, "manifest_log", code, comment, receipt.encode()));
    };
    let with = |log_proof: Option<Vec<u8>>| Receipt {
        manifests: vec![LoggedManifest {
            manifest: manifest.bytes.clone(),
            log_proof,
        }],
        ..whole.clone()
    };
    add(
        "manifest-not-logged",
        ManifestNotLogged,
        "no proof for the manifest",
        with(None),
    );
    add(
        "manifest-proof-of-other",
        LogPathInvalid,
        "the proof of globex's manifest",
        with(Some(world.proof(1, &world.checkpoints.six)?)),
    );
    add(
        "manifest-proof-malformed",
        LogProofMalformed,
        "no byte",
        with(Some(Vec::new())),
    );
    let [one, _] = &world.witnesses;
    let half = world.log.checkpoint(
        6,
        &[Signing {
            witness: one,
            at: START,
        }],
    )?;
    add(
        "manifest-quorum-not-met",
        QuorumNotMet,
        "one of two witnesses, for the manifest only",
        with(Some(world.proof(0, &half)?)),
    );
    let scene = Scene {
        manifest_first: false,
        ..Scene::new(world, 2, whole.record.clone())?
    };
    add(
        "manifest-logged-later",
        ManifestNotLogged,
        "the key was listed only after the commitment was logged",
        scene.receipt(world)?,
    );

    let mut other = crate::world::Log::new(crate::world::keys::log_key("other.example/2026")?)?;
    let index = other.append(&manifest.bytes);
    let note = other.checkpoint(1, &both(&world.witnesses, START - 40))?;
    let elsewhere = with(Some(other.proof(index, &note)?.to_string().into_bytes()));
    cases.push(
        bad(
            "manifest-in-other-log",
            "manifest_log",
            ManifestNotLogged,
            "positions in two logs cannot be compared",
            elsewhere.encode(),
        )
        .replacing("trust", "trust/two-logs"),
    );
    Ok(cases)
}

/// The receipt, every proof of it under one more checkpoint of size 6.
fn cosigned(world: &World, receipt: &Receipt, cosigners: &[Signing<'_>]) -> Result<Receipt> {
    let note = world.log.checkpoint(6, cosigners)?;
    let manifest = world.acme_manifests.first().context("no manifest")?;
    Ok(Receipt {
        manifests: vec![world.logged(manifest, &note)?],
        log_proof: Some(world.proof(world.commitments.acme, &note)?),
        ..receipt.clone()
    })
}

impl World {
    /// The content of one of acme's records, to be changed.
    fn record(&self, sequence: u64) -> Result<Record> {
        Ok(record(&self.acme_stream, sequence)?.record.clone())
    }

    /// A record signed by acme's first key.
    fn sign(&self, record: &Record) -> Vec<u8> {
        let stream = &self.acme_stream;
        record
            .prepare(&stream.operator, stream.key.public().thumbprint())
            .sign(&stream.key)
    }
}

//! Evidence bundles: whole, in part, of one channel, and what spoils them.

use anyhow::{Context as _, Result};
use counterfoil_protocol::bundle::{Batch, Chosen, Header, Part, seal};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::failure::FailureCode::{
    self, BatchPathInvalid, BundleEmpty, BundleMismatch, BundleOrder, CborTruncated,
    DisclosureMismatch, LevelNotReached, LinkBroken, ManifestChainBroken, SignatureInvalid,
    StructureOutOfRange, StructureWrongType,
};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::Record;
use counterfoil_tlog::tree::Hash;

use super::Case;
use super::edit::{edited, set};
use crate::world::{Made, Stream, World, keys, record};

const OBJECT: &str = "bundle";

const TRUST: &str = "trust/both-witnesses";

/// A bundle before it is encoded.
#[derive(Clone)]
struct Draft {
    header: Header,
    parts: Vec<Part>,
}

impl Draft {
    fn encode(&self) -> Vec<u8> {
        let parts = self.parts.iter().flat_map(Part::encode);
        self.header.encode().into_iter().chain(parts).collect()
    }

    fn part(&mut self, index: usize) -> Result<&mut Part> {
        self.parts.get_mut(index).context("no such part")
    }
}

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let globex = globex(world, |_| true)?;
    let acme = acme(world)?;
    let unsealed = unsealed(world)?;
    let retired = Draft {
        header: Header {
            manifests: world.acme_retired()?,
            ..unsealed.header.clone()
        },
        ..unsealed.clone()
    };
    let channel = Draft {
        header: Header {
            counterparty: Some(world.acme.name.clone()),
            ..globex.header.clone()
        },
        ..self::globex(world, |sequence| sequence > 0)?
    };
    let mut cases = Vec::new();
    for (name, require, records, comment, draft) in [
        (
            "globex",
            "witnessed",
            3,
            "one batch, with a disclosure",
            &globex,
        ),
        (
            "globex-in-part",
            "witnessed",
            1,
            "one record of three and a multiproof",
            &self::globex(world, |sequence| sequence == 1)?,
        ),
        (
            "globex-channel",
            "witnessed",
            2,
            "only the channel to acme",
            &channel,
        ),
        (
            "acme",
            "signed",
            9,
            "two batches, the second of them not logged",
            &acme,
        ),
        (
            "acme-unsealed",
            "signed",
            5,
            "records that no batch has sealed",
            &unsealed,
        ),
        (
            "acme-unsealed-retired",
            "signed",
            5,
            "the same after version 2 left the key out and did not revoke it",
            &retired,
        ),
    ] {
        cases.push(
            Case::success(OBJECT, name, comment, draft.encode())
                .with("trust", TRUST)
                .with("require", require)
                .with("records", records),
        );
    }
    cases.extend(form_faults(&globex)?);
    cases.extend(order_faults(world, &acme, &unsealed)?);
    cases.extend(proof_faults(&globex, &acme)?);
    Ok(cases)
}

fn bad(name: &str, code: FailureCode, comment: &str, bundle: Vec<u8>) -> Case {
    Case::refused(OBJECT, name, code, comment, bundle)
        .with("trust", TRUST)
        .with("require", "signed")
}

fn chosen(first: u64, made: &Made) -> Chosen<'_> {
    Chosen {
        index: made.record.sequence.get() - first,
        record: &made.bytes,
        disclosures: Vec::new(),
        beacon: None,
    }
}

/// The records of globex that are asked for, the outcome with its result.
fn globex(world: &World, take: impl Fn(u64) -> bool) -> Result<Draft> {
    let stream = &world.globex_stream;
    let batch = stream.batches.first().context("no batch")?;
    let note = world.checkpoints.two.to_string().into_bytes();
    let proof = world.proof(world.commitments.globex, &world.checkpoints.six)?;
    let records = stream
        .records
        .iter()
        .filter(|made| take(made.record.sequence.get()));
    let records = records.map(|made| Chosen {
        disclosures: if made.record.sequence.get() == 2 {
            vec![world.disclosures.result.clone()]
        } else {
            Vec::new()
        },
        beacon: made.record.beacon.map(|_| note.as_slice()),
        ..chosen(0, made)
    });
    let whole = Batch {
        tree: batch.tree(),
        commitment: &batch.bytes,
        log_proof: Some(&proof),
    };
    Ok(Draft {
        header: Header {
            operator: world.globex.name.clone(),
            counterparty: None,
            manifests: vec![world.logged(&world.globex_manifest, &world.checkpoints.six)?],
        },
        parts: seal(Some(whole), records)?,
    })
}

/// Both batches of acme's stream.
fn acme(world: &World) -> Result<Draft> {
    let stream = &world.acme_stream;
    let manifest = world.acme_manifests.first().context("no manifest")?;
    let proof = world.proof(world.commitments.acme, &world.checkpoints.six)?;
    let mut parts = Vec::new();
    for (batch, proof) in stream.batches.iter().zip([Some(&proof), None]) {
        let commitment = &batch.commitment;
        let first = commitment.first.get();
        let records = stream
            .records
            .iter()
            .filter(|made| (first..first + commitment.count).contains(&made.record.sequence.get()));
        let whole = Batch {
            tree: batch.tree(),
            commitment: &batch.bytes,
            log_proof: proof.map(Vec::as_slice),
        };
        parts.extend(seal(Some(whole), records.map(|made| chosen(first, made)))?);
    }
    Ok(Draft {
        header: Header {
            operator: world.acme.name.clone(),
            counterparty: None,
            manifests: vec![world.logged(manifest, &world.checkpoints.six)?],
        },
        parts,
    })
}

/// The stream of acme in which the contract was made.
fn unsealed(world: &World) -> Result<Draft> {
    let manifest = world.acme_manifests.first().context("no manifest")?;
    let records = world.agreement.acme.records.iter();
    Ok(Draft {
        header: Header {
            operator: world.acme.name.clone(),
            counterparty: None,
            manifests: vec![LoggedManifest {
                manifest: manifest.bytes.clone(),
                log_proof: None,
            }],
        },
        parts: seal(None, records.map(|made| chosen(0, made)))?,
    })
}

fn form_faults(globex: &Draft) -> Result<Vec<Case>> {
    let whole = globex.encode();
    let parts: Vec<u8> = globex.parts.iter().flat_map(Part::encode).collect();
    let header = globex.header.encode();
    Ok(vec![
        bad("empty", CborTruncated, "no byte", Vec::new()),
        bad(
            "truncated",
            CborTruncated,
            "the last byte is missing",
            whole.split_last().context("empty")?.1.to_vec(),
        ),
        bad(
            "map-length-huge",
            CborTruncated,
            "more entries than can be counted, one of them there",
            [&header[..], &[0xbb], &[0xff; 8], &[1, 2]].concat(),
        ),
        bad(
            "header-alone",
            BundleEmpty,
            "a header and no part",
            header.clone(),
        ),
        bad(
            "format-other",
            StructureOutOfRange,
            "version 2",
            [
                edited(&header, |h| set(h, 1, "counterfoil/bundle/v2"))?,
                parts,
            ]
            .concat(),
        ),
        bad(
            "header-twice",
            StructureWrongType,
            "a header where a part belongs",
            [header.as_slice(), &header].concat(),
        ),
    ])
}

fn order_faults(world: &World, acme: &Draft, unsealed: &Draft) -> Result<Vec<Case>> {
    let mut swapped = acme.clone();
    swapped.parts.swap(0, 1);
    let mut twice = acme.clone();
    twice
        .parts
        .push(acme.parts.last().context("no part")?.clone());
    let mut records = unsealed.clone();
    records.part(0)?.records.swap(1, 2);
    let mut late = acme.clone();
    late.parts
        .insert(0, unsealed.parts.first().context("no part")?.clone());
    let mut stream = unsealed.clone();
    let other = record(&world.acme_stream, 5)?.bytes.clone();
    stream.part(0)?.records.push(other);
    let mut operator = unsealed.clone();
    operator.part(0)?.records = vec![record(&world.globex_stream, 0)?.bytes.clone()];
    let channel = Draft {
        header: Header {
            counterparty: Some(world.globex.name.clone()),
            ..unsealed.header.clone()
        },
        ..unsealed.clone()
    };
    let mut link = unsealed.clone();
    link.part(0)?.records = relinked(&world.agreement.acme)?;
    Ok(vec![
        bad(
            "parts-swapped",
            BundleOrder,
            "the second batch first",
            swapped.encode(),
        ),
        bad("part-twice", BundleOrder, "a batch again", twice.encode()),
        bad(
            "records-swapped",
            BundleOrder,
            "record 2 before record 1",
            records.encode(),
        ),
        bad(
            "sealed-after-unsealed",
            BundleOrder,
            "a batch after records that none has sealed",
            late.encode(),
        ),
        bad(
            "part-of-two-streams",
            BundleMismatch,
            "the last record is of another stream of acme",
            stream.encode(),
        ),
        bad(
            "other-operator",
            BundleMismatch,
            "globex's record in a bundle of acme",
            operator.encode(),
        ),
        bad(
            "other-channel",
            BundleMismatch,
            "a record of no channel in the bundle of one",
            channel.encode(),
        ),
        bad(
            "link-broken",
            LinkBroken,
            "record 2 does not name record 1",
            link.encode(),
        ),
    ])
}

/// The first three records of a stream, the third of which names another before it.
fn relinked(stream: &Stream) -> Result<Vec<Vec<u8>>> {
    let third = Record {
        previous: Some(RecordId::from_bytes([7; 32])),
        ..record(stream, 2)?.record.clone()
    };
    let prepared = third.prepare(&stream.operator, stream.key.public().thumbprint());
    Ok(vec![
        record(stream, 0)?.bytes.clone(),
        record(stream, 1)?.bytes.clone(),
        prepared.sign(&stream.key),
    ])
}

fn proof_faults(globex: &Draft, acme: &Draft) -> Result<Vec<Case>> {
    let mut missing = globex.clone();
    missing.part(0)?.records.remove(1);
    missing.part(0)?.disclosures.clear();
    let mut hash = acme.clone();
    let seal = hash.part(0)?.seal.as_mut().context("no seal")?;
    seal.hashes.push(Hash::from_bytes([0; 32]));
    let mut commitment = globex.clone();
    let seal = commitment.part(0)?.seal.as_mut().context("no seal")?;
    if let Some(byte) = seal.commitment.last_mut() {
        *byte ^= 1;
    }
    let mut disclosed = globex.clone();
    for (_, disclosure) in &mut disclosed.part(0)?.disclosures {
        disclosure.salt = keys::salt("another salt");
    }
    let mut manifests = globex.clone();
    manifests.header.manifests.clear();
    Ok(vec![
        bad(
            "record-missing",
            BatchPathInvalid,
            "the multiproof is for three records, two are there",
            missing.encode(),
        ),
        bad(
            "multiproof-too-long",
            BatchPathInvalid,
            "one hash more",
            hash.encode(),
        ),
        bad(
            "commitment-signature-flipped",
            SignatureInvalid,
            "one bit",
            commitment.encode(),
        ),
        bad(
            "disclosure-other-salt",
            DisclosureMismatch,
            "the result with another salt",
            disclosed.encode(),
        ),
        bad(
            "manifests-missing",
            ManifestChainBroken,
            "no manifest",
            manifests.encode(),
        ),
        bad(
            "level-not-reached",
            LevelNotReached,
            "the second batch is not logged, logged was asked for",
            acme.encode(),
        )
        .replacing("require", "logged"),
    ])
}

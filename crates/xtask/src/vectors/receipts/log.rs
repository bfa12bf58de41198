//! The places of commitment and manifests in the log.

use anyhow::{Context as _, Result};
use counterfoil_protocol::failure::FailureCode::{
    CheckpointSignatureInvalid, CosignatureInvalid, LogPathInvalid, LogProofMalformed, LogUnknown,
    ManifestNotLogged, QuorumNotMet,
};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_tlog::note::Note;
use counterfoil_tlog::tree::leaf_hash;

use super::super::Case;
use super::super::scene::Scene;
use super::super::transparency::{loose, swapped, with_time};
use super::{REQUEST, bad};
use crate::world::{Log, START, Signing, World, both, keys};

/// The commitment's place in the log.
pub(super) fn log_faults(world: &World) -> Result<Vec<Case>> {
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
pub(super) fn manifest_log_faults(world: &World) -> Result<Vec<Case>> {
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

    let [first, second, ..] = world.acme_manifests.as_slice() else {
        anyhow::bail!("three manifests are made");
    };
    let part = whole.batch.clone().context("no batch")?;
    let mut disordered = Log::new(keys::log_key("log.example/2026")?)?;
    for entry in [&second.bytes, &first.bytes, &part.commitment] {
        disordered.append(entry);
    }
    let note = disordered.checkpoint(3, &both(&world.witnesses, START + 5))?;
    let proof = |index| -> Result<Option<Vec<u8>>> {
        let proof = disordered.proof(index, &note)?;
        Ok(Some(proof.to_string().into_bytes()))
    };
    let manifests = vec![
        LoggedManifest {
            manifest: first.bytes.clone(),
            log_proof: proof(1)?,
        },
        LoggedManifest {
            manifest: second.bytes.clone(),
            log_proof: proof(0)?,
        },
    ];
    add(
        "manifests-logged-out-of-order",
        ManifestNotLogged,
        "version 2 stands in the log before version 1",
        Receipt {
            manifests,
            log_proof: proof(2)?,
            ..whole.clone()
        },
    );

    let mut other = Log::new(keys::log_key("other.example/2026")?)?;
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

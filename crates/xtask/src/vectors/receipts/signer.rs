//! Who signed, and what is disclosed.

use anyhow::{Context as _, Result};
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::failure::FailureCode::{
    CoseAlgorithm, CoseStructure, DisclosureMismatch, KeyUnknown, ManifestChainBroken,
    OperatorUnknown, SignatureInvalid,
};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_tlog::note::Note;

use super::super::Case;
use super::super::edit::{Parts, set};
use super::super::scene::Scene;
use super::{REQUEST, bad};
use crate::world::{World, record};

/// Who signed, and what is disclosed.
pub(super) fn key_faults(world: &World) -> Result<Vec<Case>> {
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
    let foreign = Parts::of(&whole.manifests.first().context("no manifest")?.manifest)?
        .header_map(15, |c| set(c, 1, "globex.example"))?
        .sign(&world.acme.root)?;
    add(
        "manifest-for-other-operator",
        "manifests",
        ManifestChainBroken,
        "acme's root key signed a manifest in globex's name",
        Receipt {
            manifests: vec![LoggedManifest {
                manifest: foreign,
                log_proof: None,
            }],
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
        presentation: None,
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

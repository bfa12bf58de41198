//! Every level, every kind of record, disclosures.

use anyhow::Result;
use counterfoil_protocol::failure::FailureCode::{LevelNotReached, QuorumNotMet};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};

use super::super::Case;
use super::super::scene::Scene;
use super::{BOTH, Expected, OBJECT, REQUEST, WITNESSED, bad, cosigned, good};
use crate::world::{START, Signing, World, beacon};

pub(super) fn levels(world: &World) -> Result<Vec<Case>> {
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
        &Expected {
            keys_known_to: Some(2),
            ..WITNESSED
        },
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
        &Expected {
            keys_known_to: Some(2),
            ..WITNESSED
        },
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
            keys_known_to: Some(1),
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

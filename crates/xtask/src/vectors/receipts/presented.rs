//! Presentations: receipts that are bound to one audience.

use anyhow::Result;
use ciborium::Value;
use counterfoil_protocol::failure::FailureCode::{
    AudienceMismatch, CoseType, KeyUnknown, ManifestChainBroken, PresentationMismatch,
    RecordTimeMismatch, SignatureInvalid, StructureOutOfRange, StructureWrongType,
};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::presentation::Presentation;
use counterfoil_protocol::receipt::{PresentationPart, Receipt};

use super::super::Case;
use super::super::edit::{Parts, bytes, edited, set};
use super::{BOTH, REQUEST, WITNESSED, bad, good};
use crate::world::{START, World};

const AUDIENCE: &str = "globex.example";

pub(super) fn presentations(world: &World) -> Result<Vec<Case>> {
    let d = &world.disclosures;
    let receipt = Receipt {
        disclosures: vec![
            d.parameters.clone(),
            d.input.clone(),
            world.agreement.disclosure.clone(),
            d.on_behalf_of.clone(),
            d.session.clone(),
        ],
        ..world.acme_receipt(REQUEST)?
    };
    let acme = &world.acme;
    let globex = &world.globex;
    let content = |presenter: &OperatorName, audience: &str, of: &Receipt| -> Result<_> {
        Ok(Presentation {
            presenter: presenter.clone(),
            audience: OperatorName::new(audience)?,
            receipt: of.digest(),
            time: UnixMillis::new((START + 100) * 1000),
            nonce: None,
        })
    };
    let with = |presentation: Vec<u8>| Receipt {
        presentation: Some(PresentationPart {
            presentation,
            manifests: Vec::new(),
        }),
        ..receipt.clone()
    };
    let own = content(&acme.name, AUDIENCE, &receipt)?;
    let whole = with(own.sign(&acme.enforcer));
    let mut cases = vec![
        good(
            "disclosed-everything",
            "every field that can be: parameters, input, terms, person, session",
            &receipt,
            BOTH,
            &WITNESSED,
        ),
        good(
            "presented",
            "by the operator of the record",
            &whole,
            BOTH,
            &WITNESSED,
        )
        .with("audience", AUDIENCE),
        good(
            "presented-with-nonce",
            "repeats what the audience asked for",
            &with(
                Presentation {
                    nonce: Some([7; 16]),
                    ..own.clone()
                }
                .sign(&acme.enforcer),
            ),
            BOTH,
            &WITNESSED,
        )
        .with("audience", AUDIENCE),
        good(
            "presented-by-counterparty",
            "with the manifests of the operator that presents",
            &by_globex(world, &receipt)?,
            BOTH,
            &WITNESSED,
        )
        .with("audience", "initech.example"),
    ];

    let mut add = |name: &str, code, comment: &str, receipt: &Receipt| {
        cases.push(
            bad(name, "presentation", code, comment, receipt.encode()).with("audience", AUDIENCE),
        );
    };
    let redacted = Receipt {
        disclosures: vec![d.parameters.clone()],
        ..whole.clone()
    };
    add(
        "presentation-redacted",
        PresentationMismatch,
        "disclosures were taken out after it was made",
        &redacted,
    );
    add(
        "presentation-other-audience",
        AudienceMismatch,
        "made for initech",
        &with(content(&acme.name, "initech.example", &receipt)?.sign(&acme.enforcer)),
    );
    let forged = |key: &SigningKey| -> Result<Receipt> {
        let parts = Parts::of(&own.sign(&acme.enforcer))?;
        Ok(with(parts.sign(key)?))
    };
    add(
        "presentation-forged",
        SignatureInvalid,
        "names acme's key, signed with globex's",
        &forged(&globex.enforcer)?,
    );
    add(
        "presentation-key-unlisted",
        KeyUnknown,
        "a key that no manifest shown lists",
        &with(own.sign(&acme.next_enforcer)),
    );
    add(
        "presentation-is-a-record",
        CoseType,
        "the record in its place",
        &with(receipt.record.clone()),
    );
    let late = Parts::of(&own.sign(&acme.enforcer))?
        .payload(|p| set(p, 3, (START + 101) * 1000))?
        .sign(&acme.enforcer)?;
    add(
        "presentation-time-mismatch",
        RecordTimeMismatch,
        "iat is a second earlier",
        &with(late),
    );
    let mut twice = whole.clone();
    if let Some(part) = &mut twice.presentation {
        part.manifests.clone_from(&receipt.manifests);
    }
    add(
        "presentation-manifests-twice",
        StructureOutOfRange,
        "manifests that the receipt has already",
        &twice,
    );
    let mut without = by_globex(world, &receipt)?;
    if let Some(part) = &mut without.presentation {
        part.manifests.clear();
    }
    cases.push(
        bad(
            "presentation-without-manifests",
            "presentation",
            ManifestChainBroken,
            "another operator presents, and its manifests are not there",
            without.encode(),
        )
        .with("audience", "initech.example"),
    );
    cases.push(bad(
        "presentation-no-audience",
        "presentation",
        AudienceMismatch,
        "verified for nobody named",
        whole.encode(),
    ));
    cases.push(
        bad(
            "presentation-demanded",
            "presentation",
            AudienceMismatch,
            "presented to nobody, and had to be",
            receipt.encode(),
        )
        .with("audience", AUDIENCE)
        .with("presented", "required"),
    );
    cases.push(bad(
        "presentation-one-item",
        "receipt",
        StructureWrongType,
        "no slot for manifests",
        edited(&receipt.encode(), |r| {
            set(r, 9, Value::Array(vec![bytes([1])]));
        })?,
    ));
    Ok(cases)
}

/// The receipt, which globex hands on to initech.
fn by_globex(world: &World, receipt: &Receipt) -> Result<Receipt> {
    let presentation = Presentation {
        presenter: world.globex.name.clone(),
        audience: OperatorName::new("initech.example")?,
        receipt: receipt.digest(),
        time: UnixMillis::new((START + 100) * 1000),
        nonce: None,
    };
    let manifest = world.logged(&world.globex_manifest, &world.checkpoints.six)?;
    Ok(Receipt {
        presentation: Some(PresentationPart {
            presentation: presentation.sign(&world.globex.enforcer),
            manifests: vec![manifest],
        }),
        ..receipt.clone()
    })
}

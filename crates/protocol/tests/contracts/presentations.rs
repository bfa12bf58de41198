//! Presentations: a receipt bound to an audience verifies for that audience and no other.

use counterfoil_protocol::FailureCode::{
    self, AudienceMismatch, CoseType, KeyRevoked, KeyUnknown, ManifestChainBroken, NameInvalid,
    OperatorUnknown, PresentationMismatch, RecordTimeMismatch, SignatureInvalid,
    StructureOutOfRange, StructureWrongType,
};
use counterfoil_protocol::digest::ReceiptDigest;
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::presentation::{Presentation, UnverifiedPresentation};
use counterfoil_protocol::receipt::{PresentationPart, Receipt};
use counterfoil_protocol::verify::{Audience, Report, Request, StepName, StepOutcome, verify};

use super::operators::{Operator, START, Two, decision, salt};

fn receipt(two: &Two) -> Receipt {
    let field = DisclosedField::OnBehalfOf;
    let mut receipt = two.acme.receipt(&decision(&two.acme, b"{}", b"jo", b"s"));
    receipt.disclosures = vec![Disclosure {
        field,
        salt: salt(field),
        content: b"jo".to_vec(),
    }];
    receipt
}

fn content(receipt: &Receipt, by: &Operator, to: &OperatorName) -> Presentation {
    Presentation {
        presenter: by.name.clone(),
        audience: to.clone(),
        receipt: receipt.digest(),
        time: UnixMillis::new(START + 1500),
        nonce: Some([3; 16]),
    }
}

/// Acme presents its receipt.
fn presented(two: &Two, to: &OperatorName) -> Receipt {
    let mut receipt = receipt(two);
    receipt.presentation = Some(PresentationPart {
        presentation: content(&receipt, &two.acme, to).sign(&two.acme.enforcer),
        manifests: Vec::new(),
    });
    receipt
}

fn court() -> OperatorName {
    OperatorName::literal("court.example")
}

fn verified(two: &Two, receipt: &Receipt, audience: Audience<'_>) -> Report {
    let request = Request {
        level: Level::Signed,
        audience,
    };
    let bytes = receipt.encode();
    assert_eq!(Receipt::parse(&bytes).as_ref(), Ok(receipt));
    verify(&bytes, &two.trust, request)
}

fn refused(two: &Two, receipt: &Receipt, code: FailureCode) {
    let report = verified(two, receipt, Audience::Named(&court()));
    let failure = report.failure.unwrap();
    assert_eq!(failure.code(), code, "{failure}");
    assert_eq!(report.steps.last().unwrap().name, StepName::Presentation);
    assert_eq!(report.presented, None);
}

#[test]
fn a_receipt_is_for_its_audience_and_for_no_other() {
    let two = Two::new();
    let for_court = presented(&two, &court());
    let other = OperatorName::literal("other.example");
    for (audience, verifies) in [
        (Audience::Named(&court()), true),
        (Audience::Presented(&court()), true),
        (Audience::Named(&other), false),
        (Audience::Presented(&other), false),
        (Audience::Unnamed, false),
    ] {
        let report = verified(&two, &for_court, audience);
        assert_eq!(report.is_verified(), verifies, "{audience:?}");
        if verifies {
            let presented = report.presented.unwrap();
            assert_eq!(presented, content(&receipt(&two), &two.acme, &court()));
        } else {
            assert_eq!(report.failure.unwrap().code(), AudienceMismatch);
        }
    }
    // A level alone names no audience.
    let report = verify(&for_court.encode(), &two.trust, Level::Signed);
    assert_eq!(report.failure.unwrap().code(), AudienceMismatch);
}

#[test]
fn a_receipt_for_nobody_is_for_all_who_do_not_ask_for_more() {
    let two = Two::new();
    let plain = receipt(&two);
    for audience in [Audience::Unnamed, Audience::Named(&court())] {
        let report = verified(&two, &plain, audience);
        assert!(report.is_verified());
        let step = report
            .steps
            .iter()
            .find(|step| step.name == StepName::Presentation);
        let step = step.unwrap();
        assert_eq!(
            (step.outcome, step.name.number()),
            (StepOutcome::Absent, 13)
        );
    }
    let report = verified(&two, &plain, Audience::Presented(&court()));
    assert_eq!(report.failure.unwrap().code(), AudienceMismatch);
    assert_eq!(StepName::Level.number(), 14);
}

#[test]
fn another_operator_presents_with_its_own_manifests() {
    let two = Two::new();
    let mut receipt = receipt(&two);
    let signed = content(&receipt, &two.globex, &court()).sign(&two.globex.enforcer);
    let part = |manifests| {
        Some(PresentationPart {
            presentation: signed.clone(),
            manifests,
        })
    };
    receipt.presentation = part(vec![two.globex.manifest(false)]);
    let report = verified(&two, &receipt, Audience::Named(&court()));
    assert!(report.is_verified(), "{:?}", report.failure);
    assert_eq!(report.presented.unwrap().presenter, two.globex.name);

    receipt.presentation = part(Vec::new());
    refused(&two, &receipt, ManifestChainBroken);
    receipt.presentation = part(vec![two.acme.manifest(false)]);
    refused(&two, &receipt, ManifestChainBroken);
    receipt.presentation = part(vec![two.globex.manifest(true)]);
    refused(&two, &receipt, KeyRevoked);
    let mut with_proof = two.globex.manifest(false);
    with_proof.log_proof = Some(b"not a proof".to_vec());
    receipt.presentation = part(vec![with_proof]);
    refused(&two, &receipt, FailureCode::LogProofMalformed);
}

#[test]
fn a_presentation_of_something_else_is_refused() {
    let two = Two::new();
    let good = presented(&two, &court());

    // With a disclosure less it is another receipt; redacting drops the presentation with it.
    let mut less = good.clone();
    less.disclosures.clear();
    refused(&two, &less, PresentationMismatch);
    let redacted = good.clone().redact(&[DisclosedField::OnBehalfOf]);
    assert_eq!(redacted.presentation, None);
    assert!(verified(&two, &redacted, Audience::Unnamed).is_verified());
    assert_eq!(good.clone().redact(&[DisclosedField::Session]), good);

    // Manifests of the record's operator stand in the receipt already.
    let mut twice = good.clone();
    twice.presentation.as_mut().unwrap().manifests = vec![two.acme.manifest(false)];
    refused(&two, &twice, StructureOutOfRange);

    let base = receipt(&two);
    let with = |presentation: Vec<u8>| {
        let mut receipt = base.clone();
        receipt.presentation = Some(PresentationPart {
            presentation,
            manifests: Vec::new(),
        });
        receipt
    };
    let stranger = SigningKey::from_seed(&[9; 32].into()).unwrap();
    let said = content(&base, &two.acme, &court());
    refused(&two, &with(said.sign(&stranger)), KeyUnknown);
    let mut forged = said.sign(&two.acme.enforcer);
    *forged.last_mut().unwrap() ^= 1;
    refused(&two, &with(forged), SignatureInvalid);
    refused(&two, &with(base.record.clone()), CoseType);
    let by_nobody = Presentation {
        presenter: court(),
        ..said
    };
    refused(&two, &with(by_nobody.sign(&stranger)), OperatorUnknown);
}

#[test]
fn the_digest_covers_all_but_the_presentation() {
    let two = Two::new();
    let plain = receipt(&two);
    let digest = plain.digest();
    assert_eq!(digest, ReceiptDigest::of(&plain.encode()));
    assert_eq!(presented(&two, &court()).digest(), digest);
}

#[test]
fn a_malformed_presentation_is_refused() {
    use counterfoil_protocol::cbor::Encoder;

    let two = Two::new();
    let good = content(&receipt(&two), &two.acme, &court()).sign(&two.acme.enforcer);
    assert!(UnverifiedPresentation::parse(&good).is_ok());
    let code = |bytes: &[u8]| UnverifiedPresentation::parse(bytes).unwrap_err().code();
    let replaced = |from: &[u8], to: &[u8]| {
        let at = good
            .windows(from.len())
            .position(|part| part == from)
            .unwrap();
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    assert_eq!(
        code(&replaced(b"court.example", b"Court.example")),
        NameInvalid
    );
    let mut time = Encoder::default();
    time.unsigned(START + 1500);
    let mut later = Encoder::default();
    later.unsigned(START + 2500);
    let late = replaced(&time.into_bytes(), &later.into_bytes());
    assert_eq!(code(&late), RecordTimeMismatch);
    // The head of the nonce says 16 bytes of text instead.
    let text = replaced(&[4, 0x50, 3, 3], &[4, 0x70, 3, 3]);
    assert_eq!(code(&text), StructureWrongType);
    let mut missing = Vec::new();
    for cut in 0..good.len() {
        missing.extend(UnverifiedPresentation::parse(&good[..cut]).ok());
    }
    assert!(missing.is_empty());
}

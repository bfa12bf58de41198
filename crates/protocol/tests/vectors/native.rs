//! The objects that the specification of this project defines.

use counterfoil_protocol::Failure;
use counterfoil_protocol::bundle::{self, Part, Verifier};
use counterfoil_protocol::cbor::{self, Limits};
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::contract::{ContractFile, verify_contract};
use counterfoil_protocol::fault::{FaultProof, verify_fault};
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::manifest::{UnverifiedManifest, VerifiedManifest};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::{Audience, Level, Report, Request, StepOutcome, verify};

use super::file::{self, Vector};
use super::{Outcome, Refusal};

pub(crate) fn refusal(failure: Failure) -> Refusal {
    Refusal {
        code: failure.code().to_string(),
        step: None,
        detail: failure.to_string(),
    }
}

pub(crate) fn key(vector: &Vector) -> PublicKey {
    PublicKey::from_bytes(&file::hex(vector.get("key"))).unwrap()
}

pub(crate) fn cbor(vector: &Vector) -> Outcome {
    let limits = Limits {
        tags: &[18],
        ..Limits::untagged(65_535)
    };
    cbor::check(&vector.body, &limits).map_err(refusal)?;
    Ok(Vec::new())
}

pub(crate) fn record(vector: &Vector) -> Outcome {
    let record = UnverifiedRecord::parse(&vector.body).map_err(refusal)?;
    // The content written again gives the same bytes: nothing was lost in reading.
    let again = record
        .unverified_content()
        .prepare(record.issuer(), record.kid());
    let verified = record.verify(&key(vector)).map_err(refusal)?;
    assert_eq!(again.id(), verified.id(), "{}", vector.name);
    Ok(vec![("id", verified.id().to_string())])
}

pub(crate) fn commitment(vector: &Vector) -> Outcome {
    let commitment = UnverifiedCommitment::parse(&vector.body).map_err(refusal)?;
    let verified = commitment.verify(&key(vector)).map_err(refusal)?;
    Ok(vec![("digest", verified.digest().to_string())])
}

pub(crate) fn manifest(vector: &Vector) -> Outcome {
    let verified = verified_manifest(vector).map_err(refusal)?;
    Ok(vec![("digest", verified.digest().to_string())])
}

fn verified_manifest(vector: &Vector) -> Result<VerifiedManifest, Failure> {
    let manifest = UnverifiedManifest::parse(&vector.body)?;
    match vector.optional("before") {
        Some(before) => manifest.verify_next(&verified_manifest(&file::named(before)).unwrap()),
        None => {
            let trusted = PublicKey::from_bytes(&file::hex(vector.get("trusted"))).unwrap();
            manifest.verify_first(|root| *root == trusted)
        }
    }
}

pub(crate) fn trust(vector: &Vector) -> Outcome {
    Trust::parse(&vector.body).map_err(refusal)?;
    Ok(Vec::new())
}

fn required(vector: &Vector) -> Level {
    Level::ALL
        .into_iter()
        .find(|level| level.as_str() == vector.get("require"))
        .unwrap()
}

fn trusted(vector: &Vector) -> Trust {
    Trust::parse(&file::named(vector.get("trust")).body).unwrap()
}

pub(crate) fn contract(vector: &Vector) -> Outcome {
    let report = verify_contract(&vector.body, &trusted(vector), required(vector));
    if let Some(failure) = report.failure {
        return Err(Refusal {
            step: report.steps.last().map(|step| step.name.as_str()),
            ..refusal(failure)
        });
    }
    let file = ContractFile::parse(&vector.body).unwrap();
    assert_eq!(file.encode(), vector.body, "{}", vector.name);
    let terms = report.terms.unwrap();
    assert_eq!(terms.encoded(), file.terms.content, "{}", vector.name);
    Ok(vec![
        ("digest", report.digest.unwrap().to_string()),
        ("state", report.state.unwrap().as_str().to_owned()),
    ])
}

pub(crate) fn bundle(vector: &Vector) -> Outcome {
    let trust = trusted(vector);
    // The answer does not depend on how the bytes come.
    let run =
        |size| Verifier::new(&trust, required(vector)).run(vector.body.chunks(size), |_, _| {});
    let summary = run(vector.body.len().max(1));
    assert_eq!(
        summary.failure().map(|failure| failure.code()),
        run(61).failure().map(|failure| failure.code()),
        "{}",
        vector.name
    );
    if let Some(failure) = summary.failure() {
        return Err(refusal(failure));
    }
    assert!(summary.is_good(), "{}", vector.name);
    let (header, parts) = bundle::parse(&vector.body).unwrap();
    let parts = parts.iter().flat_map(Part::encode);
    let again: Vec<u8> = header.encode().into_iter().chain(parts).collect();
    assert_eq!(again, vector.body, "{}: written again", vector.name);
    Ok(vec![("records", summary.records.to_string())])
}

pub(crate) fn fault(vector: &Vector) -> Outcome {
    let report = verify_fault(&vector.body, &trusted(vector));
    if let Some(failure) = report.failure {
        return Err(Refusal {
            step: report.steps.last().map(|step| step.name.as_str()),
            ..refusal(failure)
        });
    }
    assert!(report.convicts(), "{}", vector.name);
    let proof = FaultProof::parse(&vector.body).unwrap();
    assert_eq!(proof.encode(), vector.body, "{}", vector.name);
    Ok(vec![
        ("kind", proof.kind.to_string()),
        ("accused", proof.accused.to_string()),
    ])
}

pub(crate) fn receipt(vector: &Vector) -> Outcome {
    let trust = Trust::parse(&file::named(vector.get("trust")).body).unwrap();
    let audience: Option<OperatorName> = vector
        .optional("audience")
        .map(|name| name.parse().unwrap());
    let request = Request {
        level: required(vector),
        audience: match (&audience, vector.optional("presented")) {
            (None, _) => Audience::Unnamed,
            (Some(name), None) => Audience::Named(name),
            (Some(name), Some(_)) => Audience::Presented(name),
        },
    };
    let report = verify(&vector.body, &trust, request);
    check_report(&report, &vector.name);
    if let Some(failure) = report.failure {
        return Err(Refusal {
            step: report.steps.last().map(|step| step.name.as_str()),
            ..refusal(failure)
        });
    }
    assert_eq!(
        Receipt::parse(&vector.body).unwrap().encode(),
        vector.body,
        "{}: written again",
        vector.name
    );
    let mut facts = vec![("level", report.level.unwrap().to_string())];
    let shown = |number: Option<u64>| number.map_or("(nothing)".to_owned(), |n| n.to_string());
    facts.push(("not-before", shown(report.not_before.map(|t| t.get()))));
    facts.push(("not-after", shown(report.not_after.map(|t| t.get()))));
    facts.push(("keys-known-to", shown(report.keys_known_to_size)));
    if vector.optional("time-within-bounds").is_some() {
        let within = report.time_within_bounds.map(|within| within.to_string());
        facts.push(("time-within-bounds", within.unwrap_or_default()));
    }
    Ok(facts)
}

/// What holds for every report, whatever the receipt.
fn check_report(report: &Report, name: &str) {
    let numbers: Vec<u8> = report.steps.iter().map(|step| step.name.number()).collect();
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "{name}: steps out of order"
    );
    let failed = report
        .steps
        .iter()
        .filter(|step| step.outcome == StepOutcome::Failed)
        .count();
    assert_eq!(failed, usize::from(report.failure.is_some()), "{name}");
    assert_eq!(report.is_verified(), report.failure.is_none(), "{name}");
    let committed = report.level >= Some(Level::Committed);
    let path = report
        .steps
        .iter()
        .any(|step| step.name.as_str() == "batch_path" && step.outcome == StepOutcome::Passed);
    assert_eq!(committed, path, "{name}: a level without its step");
}

//! Decoders of the protocol crate.

use std::sync::OnceLock;

use ciborium::Value;
use counterfoil_protocol::bundle::{self, Part, Verifier};
use counterfoil_protocol::cbor::{Limits, check};
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::contract::{ContractFile, Terms, verify_contract};
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::fault::{FaultProof, verify_fault};
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::presentation::UnverifiedPresentation;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::Level;

use crate::world::World;

/// The strict checker: what it accepts is what a deterministic encoder writes.
pub fn cbor(data: &[u8]) {
    let limits = Limits {
        tags: &[18],
        ..Limits::untagged(65_535)
    };
    if check(data, &limits).is_ok() {
        let value: Result<Value, _> = ciborium::from_reader(data);
        let mut again = Vec::new();
        let written = value.map(|value| ciborium::into_writer(&value, &mut again));
        assert!(matches!(written, Ok(Ok(()))) && again == data);
    }
}

/// A record's content, written again, has the same id.
pub fn record(data: &[u8]) {
    if let Ok(record) = UnverifiedRecord::parse(data) {
        let again = record
            .unverified_content()
            .prepare(record.issuer(), record.kid());
        assert!(
            again.id() == record.id(),
            "the content was read differently"
        );
    }
}

/// A commitment.
pub fn commitment(data: &[u8]) {
    let _outcome = UnverifiedCommitment::parse(data);
}

/// A manifest.
pub fn manifest(data: &[u8]) {
    let _outcome = UnverifiedManifest::parse(data);
}

/// A disclosure has one spelling.
pub fn disclosure(data: &[u8]) {
    if let Ok(disclosure) = Disclosure::parse(data) {
        assert!(disclosure.encode() == data, "a second spelling");
    }
}

/// A receipt has one spelling.
pub fn receipt(data: &[u8]) {
    if let Ok(receipt) = Receipt::parse(data) {
        assert!(receipt.encode() == data, "a second spelling");
    }
}

/// A presentation.
pub fn presentation(data: &[u8]) {
    let _outcome = UnverifiedPresentation::parse(data);
}

/// Terms keep the bytes that they were read from, and made again from their clauses are the same.
pub fn contract_terms(data: &[u8]) {
    if let Ok(terms) = Terms::parse(data) {
        let again = Terms::new(terms.clauses().clone());
        assert!(terms.encoded() == data, "other bytes");
        assert!(again.is_ok_and(|again| again.encoded() == data));
    }
}

/// A contract file has one spelling, and is verified or not.
pub fn contract_file(data: &[u8]) {
    if let Ok(file) = ContractFile::parse(data) {
        assert!(file.encode() == data, "a second spelling");
    }
    if let Some(trust) = trusted() {
        let report = verify_contract(data, trust, Level::Signed);
        assert!(report.is_verified() == report.failure.is_none());
    }
}

/// A fault proof has one spelling, and convicts or says why not.
pub fn fault(data: &[u8]) {
    if let Ok(proof) = FaultProof::parse(data) {
        assert!(proof.encode() == data, "a second spelling");
    }
    if let Some(trust) = trusted() {
        let report = verify_fault(data, trust);
        assert!(report.convicts() == report.failure.is_none());
    }
}

/// A bundle has one spelling, and what it says does not depend on how its bytes come.
pub fn bundle(data: &[u8]) {
    if let Ok((header, parts)) = bundle::parse(data) {
        let parts = parts.iter().flat_map(Part::encode);
        let again: Vec<u8> = header.encode().into_iter().chain(parts).collect();
        assert!(again == data, "a second spelling");
    }
    if let Some(trust) = trusted() {
        let run = |size| {
            let summary = Verifier::new(trust, Level::Signed).run(data.chunks(size), |_, _| {});
            (summary.is_good(), summary.records, summary.by_level)
        };
        let whole = run(data.len().max(1));
        assert!(whole == run(61), "the pieces matter");
    }
}

/// A trust file.
pub fn trust(data: &[u8]) {
    if let Ok(trust) = Trust::parse(data) {
        assert!(trust.operators().all(|name| trust.roots(name).is_ok()));
    }
}

/// A whole verification: a level asked for and not reached is never verified.
pub fn verify(data: &[u8]) {
    if let Some(trust) = trusted() {
        let report = counterfoil_protocol::verify::verify(data, trust, Level::Witnessed);
        assert!(!report.is_verified() || report.level == Some(Level::Witnessed));
        assert!(report.is_verified() == report.failure.is_none());
    }
}

/// The trust file of the world.
fn trusted() -> Option<&'static Trust> {
    static TRUST: OnceLock<Option<Trust>> = OnceLock::new();
    let trust = TRUST.get_or_init(|| {
        let file = World::build().and_then(|world| world.trust()).ok()?;
        Trust::parse(file.as_bytes()).ok()
    });
    trust.as_ref()
}

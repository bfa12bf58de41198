//! Decoders of the protocol crate.

use std::sync::OnceLock;

use ciborium::Value;
use counterfoil_protocol::cbor::{Limits, check};
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::manifest::UnverifiedManifest;
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

/// A trust file.
pub fn trust(data: &[u8]) {
    if let Ok(trust) = Trust::parse(data) {
        assert!(trust.operators().all(|name| trust.roots(name).is_ok()));
    }
}

/// A whole verification: a level asked for and not reached is never verified.
pub fn verify(data: &[u8]) {
    static TRUST: OnceLock<Option<Trust>> = OnceLock::new();
    let trust = TRUST.get_or_init(|| {
        let file = World::build().and_then(|world| world.trust()).ok()?;
        Trust::parse(file.as_bytes()).ok()
    });
    if let Some(trust) = trust {
        let report = counterfoil_protocol::verify::verify(data, trust, Level::Witnessed);
        assert!(!report.is_verified() || report.level == Some(Level::Witnessed));
        assert!(report.is_verified() == report.failure.is_none());
    }
}

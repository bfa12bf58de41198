//! Receipts: every level and every kind, and every step of the verification failing once.

mod batch;
mod form;
mod key_changes;
mod levels;
mod log;
mod presented;
mod signer;
mod time;

use anyhow::{Context as _, Result};
use counterfoil_protocol::failure::FailureCode;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::Record;

use super::Case;
use crate::world::{START, Signing, World, record};

const OBJECT: &str = "receipt";

const BOTH: &str = "trust/both-witnesses";

/// Acme's request, the record most cases are about.
const REQUEST: u64 = 2;

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let mut cases = levels::levels(world)?;
    cases.extend(key_changes::keys_over_time(world)?);
    cases.extend(time::times(world)?);
    cases.extend(form::form_faults(world)?);
    cases.extend(signer::key_faults(world)?);
    cases.extend(batch::batch_faults(world)?);
    cases.extend(batch::forged_paths(world)?);
    cases.extend(log::log_faults(world)?);
    cases.extend(log::manifest_log_faults(world)?);
    cases.extend(presented::presentations(world)?);
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
    keys_known_to: Some(1),
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
    pub(super) fn record(&self, sequence: u64) -> Result<Record> {
        Ok(record(&self.acme_stream, sequence)?.record.clone())
    }

    /// A record signed by acme's first key.
    pub(super) fn sign(&self, record: &Record) -> Vec<u8> {
        let stream = &self.acme_stream;
        record
            .prepare(&stream.operator, stream.key.public().thumbprint())
            .sign(&stream.key)
    }
}

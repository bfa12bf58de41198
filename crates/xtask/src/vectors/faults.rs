//! Fault proofs: every kind of fault shown once, and forged proofs that show none.

mod breaches;
mod forged;
mod logs;
mod streams;

use anyhow::{Context as _, Result};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::failure::FailureCode::{
    self, CborTrailingBytes, StructureOutOfRange, StructureUnknownField,
};
use counterfoil_protocol::fault::{Accused, FaultKind, FaultProof, Statement};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::record::Record;

use super::edit::{edited, set};
use super::{Case, contracts};
use crate::world::{Stream, World, record};

const OBJECT: &str = "fault";

const TRUST: &str = "trust/both-witnesses";

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let mut shown = streams::shown(world)?;
    shown.extend(logs::shown(world)?);
    shown.extend(breaches::shown(world)?);
    let mut cases: Vec<Case> = shown
        .into_iter()
        .map(|(name, comment, proof)| {
            Case::success(OBJECT, name, comment, proof.encode())
                .with("trust", TRUST)
                .with("kind", proof.kind)
                .with("accused", &proof.accused)
        })
        .collect();
    let fork = streams::stream_fork(world)?;
    cases.extend(forged::cases(world, &fork)?);
    cases.extend(form_faults(&fork)?);
    Ok(cases)
}

/// A proof that convicts: its name, what it shows, itself.
type Shown = (&'static str, &'static str, FaultProof);

fn bad(name: &str, step: &str, code: FailureCode, comment: &str, proof: Vec<u8>) -> Case {
    Case::refused(OBJECT, name, code, comment, proof)
        .with("step", step)
        .with("trust", TRUST)
}

/// A record of a stream, changed and signed again.
fn changed(
    stream: &Stream,
    sequence: u64,
    change: impl FnOnce(&mut Record),
) -> Result<(RecordId, Vec<u8>)> {
    let mut content = record(stream, sequence)?.record.clone();
    change(&mut content);
    let prepared = content.prepare(&stream.operator, stream.key.public().thumbprint());
    Ok((prepared.id(), prepared.sign(&stream.key)))
}

/// The record as it was made.
fn made(stream: &Stream, sequence: u64) -> Result<(RecordId, Vec<u8>)> {
    changed(stream, sequence, |_| {})
}

fn statement(record: &[u8]) -> Statement {
    Statement::record(Receipt {
        manifests: Vec::new(),
        ..contracts::signed(record, &[])
    })
}

/// Two records as statements, the one with the lower id first.
fn pair(a: &(RecordId, Vec<u8>), b: &(RecordId, Vec<u8>)) -> Vec<Statement> {
    let (one, other) = if a.0.as_bytes() < b.0.as_bytes() {
        (a, b)
    } else {
        (b, a)
    };
    vec![statement(&one.1), statement(&other.1)]
}

fn against(
    world: &World,
    stream: &Stream,
    kind: FaultKind,
    statements: Vec<Statement>,
) -> Result<FaultProof> {
    let manifest = if stream.operator == world.acme.name {
        world.acme_manifests.first().context("no manifest")?
    } else {
        &world.globex_manifest
    };
    Ok(FaultProof {
        kind,
        accused: Accused::Operator(stream.operator.clone()),
        manifests: vec![LoggedManifest {
            manifest: manifest.bytes.clone(),
            log_proof: None,
        }],
        statements,
    })
}

fn later(record: &mut Record) {
    record.time = UnixMillis::new(record.time.get() + 1);
}

fn form_faults(fork: &FaultProof) -> Result<Vec<Case>> {
    let encoded = fork.encode();
    let mut three = fork.clone();
    three.statements.extend(fork.statements.first().cloned());
    Ok(vec![
        bad(
            "trailing-byte",
            "proof",
            CborTrailingBytes,
            "a byte after the proof",
            [encoded.as_slice(), &[0]].concat(),
        ),
        bad(
            "format-other",
            "proof",
            StructureOutOfRange,
            "version 2",
            edited(&encoded, |p| set(p, 1, "counterfoil/fault/v2"))?,
        ),
        bad(
            "kind-unknown",
            "proof",
            StructureOutOfRange,
            "kind 19",
            edited(&encoded, |p| set(p, 2, 19))?,
        ),
        bad(
            "field-unknown",
            "proof",
            StructureUnknownField,
            "field 6",
            edited(&encoded, |p| set(p, 6, 1))?,
        ),
        bad(
            "three-statements",
            "proof",
            StructureOutOfRange,
            "a fork has two",
            three.encode(),
        ),
    ])
}

//! What batches, manifests and logs contradict each other in.

use anyhow::{Context as _, Result};
use counterfoil_protocol::digest::CommitmentDigest;
use counterfoil_protocol::fault::{
    FaultKind, FaultProof, LoggedCommitment, Statement, verify_fault,
};
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::numbers::{BatchNumber, Sequence};
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::tree::{Hash, leaf_hash};

use super::{Shown, against, changed, later, made, statement};
use crate::world::{Log, START, Stream, World, both, keys};

pub(super) fn shown(world: &World) -> Result<Vec<Shown>> {
    Ok(vec![
        (
            "commitment-fork",
            "two commitments with one number",
            commitment_fork(world)?,
        ),
        (
            "commitment-link",
            "commitment 1 names another one before it",
            commitment_link(world)?,
        ),
        (
            "record-replaced",
            "the batch holds another record 1",
            record_replaced(world)?,
        ),
        (
            "manifest-fork",
            "two manifests of version 1",
            manifest_fork(world)?,
        ),
        (
            "log-fork",
            "two trees of one size, both cosigned by both witnesses",
            log_fork(world)?,
        ),
        (
            "log-rewritten",
            "two entries at one index, both cosigned by both witnesses",
            log_rewritten(world)?,
        ),
    ])
}

fn commitment_fork(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let batch = stream.batches.first().context("no batch")?;
    let mut other = batch.commitment.clone();
    other.root = Hash::from_bytes([7; 32]);
    let other = other.sign(&stream.operator, &stream.key);
    let mut statements = [batch.bytes.clone(), other].map(|commitment| {
        Statement::Commitment(LoggedCommitment {
            commitment,
            log_proof: None,
        })
    });
    let trust = Trust::parse(world.trust()?.as_bytes())?;
    let kind = FaultKind::CommitmentFork;
    let proof = against(world, stream, kind, statements.to_vec())?;
    if verify_fault(&proof.encode(), &trust).convicts() {
        return Ok(proof);
    }
    // A proof has one order, and this was the other one.
    statements.reverse();
    against(world, stream, kind, statements.into())
}

fn manifest_fork(world: &World) -> Result<FaultProof> {
    let one = &world.globex_manifest.bytes;
    let mut other = UnverifiedManifest::parse(one)?
        .verify_first(|_| true)?
        .manifest()
        .clone();
    other.exchange = None;
    let other = other.sign(&world.globex.root);
    FaultProof::of_manifests(Vec::new(), one, &other).context("no fork")
}

fn log_fork(world: &World) -> Result<FaultProof> {
    let cosigners = both(&world.witnesses, START + 5);
    let root = Hash::from_bytes([7; 32]);
    let other = world.log.checkpoint_with_root(6, root, &cosigners)?;
    let notes = [&world.checkpoints.six, &other].map(|note| note.to_string().into_bytes());
    let [a, b] = &notes;
    FaultProof::of_checkpoints(a, b).context("no fork")
}

/// A commitment of a stream as a statement.
pub(super) fn commitment(bytes: Vec<u8>) -> Statement {
    Statement::Commitment(LoggedCommitment {
        commitment: bytes,
        log_proof: None,
    })
}

fn commitment_link(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let batch = stream.batches.first().context("no batch")?;
    let mut next = batch.commitment.clone();
    next.number = BatchNumber::new(1);
    next.first = Sequence::new(batch.commitment.first.get() + batch.commitment.count);
    next.previous = Some(CommitmentDigest::from_bytes([7; 32]));
    let next = next.sign(&stream.operator, &stream.key);
    let statements = vec![commitment(batch.bytes.clone()), commitment(next)];
    against(world, stream, FaultKind::CommitmentLink, statements)
}

fn record_replaced(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let other = changed(stream, 1, later)?;
    let statements = vec![
        statement(&other.1),
        commitment(stream.batches.first().context("no batch")?.bytes.clone()),
        leaf(stream, 1)?,
    ];
    against(world, stream, FaultKind::RecordReplaced, statements)
}

/// What the first batch of a stream holds at a record's place.
pub(super) fn leaf(stream: &Stream, sequence: u64) -> Result<Statement> {
    let batch = stream.batches.first().context("no batch")?;
    Ok(Statement::Leaf {
        hash: leaf_hash(&made(stream, sequence)?.1),
        path: batch.part(sequence)?.path,
    })
}

/// The first two entries of a log that has another first entry.
fn other_log(world: &World) -> Result<(Vec<u8>, Vec<u8>)> {
    let entry = world.globex_manifest.bytes.clone();
    let mut log = Log::new(keys::log_key("log.example/2026")?)?;
    log.append(&entry);
    log.append(b"something else");
    let checkpoint = log.checkpoint(2, &both(&world.witnesses, START - 20))?;
    let proof = log.proof(0, &checkpoint)?.to_string().into_bytes();
    Ok((entry, proof))
}

fn log_rewritten(world: &World) -> Result<FaultProof> {
    let first = world.acme_manifests.first().context("no manifest")?;
    let proof = world.proof(first.index, &world.checkpoints.six)?;
    let (other, other_proof) = other_log(world)?;
    FaultProof::of_entries((&first.bytes, &proof), (&other, &other_proof)).context("no fault")
}

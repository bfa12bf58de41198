//! Fault proofs: several kinds of fault that are shown, and forged proofs that show none.

use anyhow::{Context as _, Result};
use counterfoil_protocol::contract::ContractFile;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::failure::FailureCode::{
    self, CborTrailingBytes, FaultAccusedMismatch, FaultNotShown, KeyRevoked, OperatorUnknown,
    SignatureInvalid, StructureOutOfRange, StructureUnknownField,
};
use counterfoil_protocol::fault::{
    Accused, FaultKind, FaultProof, LoggedCommitment, Statement, verify_fault,
};
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::names::{ServerName, Tier, ToolName};
use counterfoil_protocol::numbers::{Sequence, UnixMillis};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::record::{Body, Outcome, Record, Verdict};
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::tree::Hash;

use super::edit::{edited, set};
use super::{Case, contracts, fault_kinds};
use crate::world::{START, Stream, World, both, record};

const OBJECT: &str = "fault";

const TRUST: &str = "trust/both-witnesses";

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let fork = stream_fork(world)?;
    let mut cases = Vec::new();
    let proofs = [
        ("stream-fork", "two records with one number", fork.clone()),
        (
            "channel-fork",
            "two records with one number of the channel",
            channel_fork(world)?,
        ),
        (
            "stream-link",
            "record 2 does not name record 1",
            stream_link(world)?,
        ),
        (
            "commitment-fork",
            "two commitments with one number",
            commitment_fork(world)?,
        ),
        (
            "settled-twice",
            "two outcomes of one decision",
            settled_twice(world)?,
        ),
        (
            "executed-unallowed",
            "a denied call that succeeded",
            executed_unallowed(world)?,
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
            "outside-contract",
            "a tool that the contract does not name",
            outside_contract(world)?,
        ),
        (
            "evidence-too-low",
            "logged, where the contract asks for witnessed",
            evidence_too_low(world)?,
        ),
    ];
    for (name, comment, proof) in proofs.into_iter().chain(fault_kinds::proofs(world)?) {
        cases.push(
            Case::success(OBJECT, name, comment, proof.encode())
                .with("trust", TRUST)
                .with("kind", proof.kind)
                .with("accused", &proof.accused),
        );
    }
    cases.extend(forged(world, &fork)?);
    cases.extend(form_faults(&fork)?);
    Ok(cases)
}

fn bad(name: &str, step: &str, code: FailureCode, comment: &str, proof: Vec<u8>) -> Case {
    Case::refused(OBJECT, name, code, comment, proof)
        .with("step", step)
        .with("trust", TRUST)
}

/// A record of a stream, changed and signed again.
pub(super) fn changed(
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
pub(super) fn made(stream: &Stream, sequence: u64) -> Result<(RecordId, Vec<u8>)> {
    changed(stream, sequence, |_| {})
}

pub(super) fn statement(record: &[u8]) -> Statement {
    Statement::record(Receipt {
        manifests: Vec::new(),
        ..contracts::signed(record, &[])
    })
}

/// Two records as statements, the one with the lower id first.
pub(super) fn pair(a: &(RecordId, Vec<u8>), b: &(RecordId, Vec<u8>)) -> Vec<Statement> {
    let (one, other) = if a.0.as_bytes() < b.0.as_bytes() {
        (a, b)
    } else {
        (b, a)
    };
    vec![statement(&one.1), statement(&other.1)]
}

pub(super) fn against(
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

fn stream_fork(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let other = changed(stream, 1, later)?;
    let statements = pair(&made(stream, 1)?, &other);
    against(world, stream, FaultKind::StreamFork, statements)
}

fn channel_fork(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let other = changed(stream, 1, |record| record.sequence = Sequence::new(3))?;
    let statements = pair(&made(stream, 1)?, &other);
    against(world, stream, FaultKind::ChannelFork, statements)
}

fn stream_link(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let second = changed(stream, 2, |record| {
        record.previous = Some(RecordId::from_bytes([7; 32]));
    })?;
    let statements = vec![statement(&made(stream, 1)?.1), statement(&second.1)];
    against(world, stream, FaultKind::StreamLink, statements)
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

fn settled_twice(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let again = changed(stream, 2, |record| record.sequence = Sequence::new(3))?;
    let statements = pair(&made(stream, 2)?, &again);
    against(world, stream, FaultKind::SettledTwice, statements)
}

fn executed_unallowed(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let denied = changed(stream, 1, |record| {
        if let Body::Decision(decision) = &mut record.body {
            decision.evaluation.verdict = Verdict::Deny;
        }
    })?;
    let outcome = changed(stream, 2, |record| {
        if let Body::Outcome(Outcome { decision, .. }) = &mut record.body {
            *decision = denied.0;
        }
    })?;
    let statements = vec![statement(&denied.1), statement(&outcome.1)];
    against(world, stream, FaultKind::ExecutedUnallowed, statements)
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

/// The contract of the world, in force.
pub(super) fn contract(world: &World) -> Result<Statement> {
    let file = ContractFile {
        end: None,
        ..contracts::file(world)?
    };
    Ok(Statement::Contract(file.encode()))
}

fn outside_contract(world: &World) -> Result<FaultProof> {
    let stream = &world.acme_stream;
    let tool = ToolName::new("delete")?;
    let asked = changed(stream, 2, |record| {
        if let Body::Request(request) = &mut record.body {
            request.action.tool = tool;
        }
    })?;
    let statements = vec![statement(&asked.1), contract(world)?];
    against(world, stream, FaultKind::OutsideContract, statements)
}

fn evidence_too_low(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let (server, tier) = (ServerName::new("mail")?, Tier::new("outside")?);
    let decision = changed(stream, 1, |record| {
        if let Body::Decision(decision) = &mut record.body {
            decision.action.server = server;
            decision.action.tier = Some(tier);
        }
    })?;
    let statements = vec![statement(&decision.1), contract(world)?];
    against(world, stream, FaultKind::EvidenceTooLow, statements)
}

/// Proofs whose statements are not what they would have to be.
fn forged(world: &World, fork: &FaultProof) -> Result<Vec<Case>> {
    let stream = &world.globex_stream;
    let first = made(stream, 1)?;
    let of = |kind, statements| against(world, stream, kind, statements);
    let twice = of(
        FaultKind::StreamFork,
        vec![statement(&first.1), statement(&first.1)],
    )?;
    let mut swapped = fork.clone();
    swapped.statements.reverse();
    let next = of(FaultKind::StreamFork, pair(&first, &made(stream, 2)?))?;
    let honest = of(
        FaultKind::StreamLink,
        vec![statement(&first.1), statement(&made(stream, 2)?.1)],
    )?;
    let permitted = against(
        world,
        &world.acme_stream,
        FaultKind::OutsideContract,
        vec![statement(&made(&world.acme_stream, 2)?.1), contract(world)?],
    )?;
    let enough = of(
        FaultKind::EvidenceTooLow,
        vec![statement(&first.1), contract(world)?],
    )?;
    let mut another = fork.clone();
    another.statements = vec![
        statement(&first.1),
        statement(&made(&world.acme_stream, 1)?.1),
    ];
    let mut other_key = changed(stream, 1, later)?;
    if let Some(byte) = other_key.1.last_mut() {
        *byte ^= 1;
    }
    let flipped = of(FaultKind::StreamFork, pair(&first, &other_key))?;
    Ok(vec![
        bad(
            "same-record-twice",
            "fault",
            FaultNotShown,
            "one record is no fork",
            twice.encode(),
        ),
        bad(
            "statements-swapped",
            "fault",
            FaultNotShown,
            "the higher id first: a proof has one spelling",
            swapped.encode(),
        ),
        bad(
            "fork-of-two-numbers",
            "fault",
            FaultNotShown,
            "two records of the stream with different numbers",
            next.encode(),
        ),
        bad(
            "link-that-holds",
            "fault",
            FaultNotShown,
            "record 2 names record 1",
            honest.encode(),
        ),
        bad(
            "contract-kept",
            "fault",
            FaultNotShown,
            "the contract permits such calls",
            permitted.encode(),
        ),
        bad(
            "evidence-enough",
            "fault",
            FaultNotShown,
            "logged, where the contract asks for signed",
            enough.encode(),
        ),
        bad(
            "statement-of-another",
            "statement",
            FaultAccusedMismatch,
            "the second record is acme's",
            another.encode(),
        ),
        bad(
            "statement-signature-flipped",
            "statement",
            SignatureInvalid,
            "one bit",
            flipped.encode(),
        ),
        bad(
            "key-revoked",
            "keys",
            KeyRevoked,
            "the newest manifest revokes the key, and nothing is shown to be older",
            revoked(world)?.encode(),
        ),
        bad(
            "operator-unknown",
            "manifests",
            OperatorUnknown,
            "the trust file names globex only",
            revoked(world)?.encode(),
        )
        .replacing("trust", "trust/only-globex"),
    ])
}

/// A fork of acme's stream, with the manifest that revokes its key.
fn revoked(world: &World) -> Result<FaultProof> {
    let stream = &world.acme_stream;
    let statements = pair(&made(stream, 1)?, &changed(stream, 1, later)?);
    Ok(FaultProof {
        manifests: world
            .acme_manifests
            .iter()
            .map(|manifest| world.logged(manifest, &world.checkpoints.eight))
            .collect::<Result<_>>()?,
        ..against(world, stream, FaultKind::StreamFork, statements)?
    })
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

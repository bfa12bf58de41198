//! Proofs whose statements are genuine, and are not the fault; and statements that are not genuine.

use anyhow::{Context as _, Result};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::failure::FailureCode::{
    BatchPathInvalid, FaultAccusedMismatch, FaultNotShown, KeyRevoked, OperatorUnknown,
    SignatureInvalid,
};
use counterfoil_protocol::fault::{FaultKind, FaultProof, Statement};
use counterfoil_tlog::tree::{Hash, leaf_hash};

use super::breaches::{contract, published};
use super::logs::{commitment, leaf};
use super::streams::denial;
use super::{Case, against, bad, changed, later, made, pair, statement};
use crate::world::World;

/// Proofs whose statements are not what they would have to be.
pub(super) fn cases(world: &World, fork: &FaultProof) -> Result<Vec<Case>> {
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
    let mut cases = honest_accused(world)?;
    cases.extend([
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
    ]);
    Ok(cases)
}

/// What honest operators and logs have signed, accused of each kind of fault.
fn honest_accused(world: &World) -> Result<Vec<Case>> {
    let (ours, theirs) = (&world.acme_stream, &world.globex_stream);
    let of = |kind, statements| against(world, theirs, kind, statements);
    let (one, two) = (made(theirs, 1)?, made(theirs, 2)?);
    let in_order = || vec![statement(&one.1), statement(&two.1)];
    let batches = ours
        .batches
        .iter()
        .map(|batch| commitment(batch.bytes.clone()));
    let batch = commitment(theirs.batches.first().context("no batch")?.bytes.clone());
    let mut wrong_path = leaf(theirs, 1)?;
    if let Statement::Leaf { path, .. } = &mut wrong_path
        && let Some(first) = path.first_mut()
    {
        *first = Hash::from_bytes([7; 32]);
    }
    let request = Statement::Request(made(ours, 2)?.1);
    let mut other_index = super::logs::shown(world)?
        .into_iter()
        .map(|(_, _, proof)| proof)
        .find(|proof| proof.kind == FaultKind::LogRewritten)
        .context("no such proof")?;
    let second = &world.globex_manifest;
    let second_proof = world.proof(second.index, &world.checkpoints.six)?;
    let first = world.acme_manifests.first().context("no manifest")?;
    let first_proof = world.proof(first.index, &world.checkpoints.six)?;
    let mut two_entries = [
        (second.bytes.clone(), second_proof),
        (first.bytes.clone(), first_proof),
    ];
    two_entries.sort_by_key(|(entry, _)| *leaf_hash(entry).as_bytes());
    other_index.statements = two_entries
        .into_iter()
        .map(|(entry, log_proof)| Statement::Entry { entry, log_proof })
        .collect();
    let proofs = [
        (
            "channel-link-that-holds",
            "the outcome names the decision",
            of(FaultKind::ChannelLink, in_order())?,
        ),
        (
            "commitment-link-that-holds",
            "commitment 1 names commitment 0",
            against(world, ours, FaultKind::CommitmentLink, batches.collect())?,
        ),
        (
            "record-in-its-place",
            "the batch holds the very record",
            of(
                FaultKind::RecordReplaced,
                vec![statement(&one.1), batch.clone(), leaf(theirs, 1)?],
            )?,
        ),
        (
            "decided-once",
            "a decision and an outcome are not two decisions",
            of(FaultKind::DecidedTwice, pair(&one, &two))?,
        ),
        (
            "settled-once",
            "a decision and an outcome are not two outcomes",
            of(FaultKind::SettledTwice, pair(&one, &two))?,
        ),
        (
            "another-record-denied",
            "what is denied is not the record shown",
            of(
                FaultKind::OwnRecordDenied,
                vec![
                    statement(&one.1),
                    statement(&denial(world, RecordId::from_bytes([9; 32]))?),
                ],
            )?,
        ),
        (
            "acknowledgement-kept",
            "decision and outcome acknowledge the same",
            of(FaultKind::AcknowledgementReversed, in_order())?,
        ),
        (
            "executed-and-allowed",
            "the decision allows",
            of(FaultKind::ExecutedUnallowed, in_order())?,
        ),
        (
            "allowed-as-asked",
            "the decision is about what was asked for",
            of(
                FaultKind::AllowedOtherwise,
                vec![request, statement(&one.1)],
            )?,
        ),
        (
            "stream-not-ended",
            "the first record does not end the stream",
            of(FaultKind::StreamContinued, in_order())?,
        ),
        (
            "two-entries-of-a-log",
            "entries at two indexes",
            other_index,
        ),
        (
            "published-in-time",
            "the beacon of the batch is older than the decision",
            published(world, &world.checkpoints.two)?,
        ),
    ];
    let mut cases: Vec<Case> = proofs
        .into_iter()
        .map(|(name, comment, proof)| bad(name, "fault", FaultNotShown, comment, proof.encode()))
        .collect();
    cases.push(bad(
        "leaf-path-wrong",
        "fault",
        BatchPathInvalid,
        "one hash of the path is another",
        of(
            FaultKind::RecordReplaced,
            vec![statement(&changed(theirs, 1, later)?.1), batch, wrong_path],
        )?
        .encode(),
    ));
    Ok(cases)
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

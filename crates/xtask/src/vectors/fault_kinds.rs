//! A fault proof of each kind that `faults` does not have.

use anyhow::{Context as _, Result};
use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::contract::ContractFile;
use counterfoil_protocol::digest::{CommitmentDigest, RecordId};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::fault::{FaultKind, FaultProof, LoggedCommitment, Statement};
use counterfoil_protocol::numbers::{BatchNumber, ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::receipt::{BatchPart, LoggedManifest, Receipt};
use counterfoil_protocol::record::{Acknowledgement, Body, ChannelEvent, ChannelLink, Record};
use counterfoil_tlog::tree::leaf_hash;

use super::contracts;
use super::faults::{against, changed, contract, made, pair, statement};
use crate::world::{Log, START, World, beacon, both, keys, record};

/// Names, comments and proofs.
pub(super) fn proofs(world: &World) -> Result<Vec<(&'static str, &'static str, FaultProof)>> {
    Ok(vec![
        (
            "channel-link",
            "the second record of the channel does not name the first",
            channel_link(world)?,
        ),
        (
            "channel-link-squeezed",
            "two apart in the channel, one apart in the stream",
            channel_link_squeezed(world)?,
        ),
        (
            "commitment-link",
            "batch 1 leaves out two records",
            commitment_link(world, 1, 5)?,
        ),
        (
            "commitment-link-squeezed",
            "batch 2 begins where batch 0 ends: batch 1 would be empty",
            commitment_link(world, 2, 3)?,
        ),
        (
            "record-replaced",
            "a record whose place in the batch another one has",
            record_replaced(world)?,
        ),
        (
            "decided-twice",
            "one request, two decisions",
            decided_twice(world)?,
        ),
        (
            "own-record-denied",
            "a decision, and that it was never made",
            own_record_denied(world)?,
        ),
        (
            "acknowledgement-reversed",
            "a later record acknowledges less",
            acknowledgement_reversed(world)?,
        ),
        (
            "log-rewritten",
            "two entries in one place, both trees cosigned",
            log_rewritten(world)?,
        ),
        (
            "allowed-otherwise",
            "the decision has other parameters than the request",
            allowed_otherwise(world)?,
        ),
        (
            "stream-continued",
            "a record after the last one",
            stream_continued(world)?,
        ),
        (
            "outside-contract-target",
            "disclosed parameters with a ticket of another kind",
            with_parameters(world, r#"{"ticket":"X-1","amount_cents":1}"#)?,
        ),
        (
            "outside-contract-unreadable",
            "a name that some parsers would take for the other one",
            with_parameters(world, r#"{"ticket":"T-1","Tic\u212aet":"X-1"}"#)?,
        ),
        (
            "outside-contract-ended",
            "a request of the enforcer that ended the contract, after the notice",
            after_the_end(world)?,
        ),
        (
            "published-late",
            "acknowledged at 55 s, sealed after 165 s; 60 s were agreed on",
            published_late(world)?,
        ),
    ])
}

/// Changes a record's place in its channel.
fn in_channel(record: &mut Record, change: impl FnOnce(&mut ChannelLink)) {
    let channel = match &mut record.body {
        Body::Request(request) => Some(&mut request.channel),
        Body::Decision(decision) => decision.channel.as_mut(),
        Body::Outcome(outcome) => outcome.channel.as_mut(),
        Body::Channel(control) => Some(&mut control.channel),
        Body::Control(_) => None,
    };
    if let Some(channel) = channel {
        change(channel);
    }
}

fn channel_link(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let second = changed(stream, 2, |record| {
        in_channel(record, |channel| {
            channel.previous = Some(RecordId::from_bytes([7; 32]));
        });
    })?;
    let statements = vec![statement(&made(stream, 1)?.1), statement(&second.1)];
    against(world, stream, FaultKind::ChannelLink, statements)
}

fn channel_link_squeezed(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let second = changed(stream, 2, |record| {
        in_channel(record, |channel| channel.sequence = ChannelSequence::new(2));
    })?;
    let statements = vec![statement(&made(stream, 1)?.1), statement(&second.1)];
    against(world, stream, FaultKind::ChannelLink, statements)
}

fn unlogged(commitment: Vec<u8>) -> Statement {
    Statement::Commitment(LoggedCommitment {
        commitment,
        log_proof: None,
    })
}

fn commitment_link(world: &World, number: u64, first: u64) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let batch = stream.batches.first().context("no batch")?;
    let next = Commitment {
        number: BatchNumber::new(number),
        first: Sequence::new(first),
        previous: Some(CommitmentDigest::of(&batch.bytes)),
        ..batch.commitment.clone()
    };
    let next = next.sign(&stream.operator, &stream.key);
    let statements = vec![unlogged(batch.bytes.clone()), unlogged(next)];
    against(world, stream, FaultKind::CommitmentLink, statements)
}

fn record_replaced(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let batch = stream.batches.first().context("no batch")?;
    let other = changed(stream, 1, |record| {
        record.time = UnixMillis::new(record.time.get() + 1);
    })?;
    let leaf = Statement::Leaf {
        hash: leaf_hash(&record(stream, 1)?.bytes),
        path: batch.part(1)?.path,
    };
    let statements = vec![statement(&other.1), unlogged(batch.bytes.clone()), leaf];
    against(world, stream, FaultKind::RecordReplaced, statements)
}

fn decided_twice(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let again = changed(stream, 1, |record| record.sequence = Sequence::new(3))?;
    let statements = pair(&made(stream, 1)?, &again);
    against(world, stream, FaultKind::DecidedTwice, statements)
}

fn own_record_denied(world: &World) -> Result<FaultProof> {
    let decision = made(&world.globex_stream, 1)?;
    let denial = changed(&world.agreement.globex, 2, |record| {
        if let Body::Channel(control) = &mut record.body
            && let ChannelEvent::RecordDenied { record, .. } = &mut control.event
        {
            *record = decision.0;
        }
    })?;
    let statements = vec![statement(&decision.1), statement(&denial.1)];
    let kind = FaultKind::OwnRecordDenied;
    against(world, &world.globex_stream, kind, statements)
}

fn acknowledgement_reversed(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let more = changed(stream, 1, |record| {
        in_channel(record, |channel| {
            if let Some(acknowledged) = &mut channel.acknowledged {
                acknowledged.sequence = ChannelSequence::new(1);
            }
        });
    })?;
    let statements = vec![statement(&more.1), statement(&made(stream, 2)?.1)];
    against(world, stream, FaultKind::AcknowledgementReversed, statements)
}

fn log_rewritten(world: &World) -> Result<FaultProof> {
    let entry = &world.globex_manifest;
    let mut other = Log::new(keys::log_key("log.example/2026")?)?;
    for number in 0..6_u8 {
        other.append(&[number]);
    }
    let cosigned = other.checkpoint(6, &both(&world.witnesses, START + 5))?;
    let index = u8::try_from(entry.index)?;
    let theirs = other.proof(entry.index, &cosigned)?.to_string();
    let ours = world.proof(entry.index, &world.checkpoints.six)?;
    FaultProof::of_entries((&entry.bytes, &ours), (&[index], theirs.as_bytes()))
        .context("nothing was rewritten")
}

fn allowed_otherwise(world: &World) -> Result<FaultProof> {
    let request = record(&world.acme_stream, 2)?.bytes.clone();
    let decision = made(&world.globex_stream, 1)?;
    let statements = vec![Statement::Request(request), statement(&decision.1)];
    let kind = FaultKind::AllowedOtherwise;
    against(world, &world.globex_stream, kind, statements)
}

fn stream_continued(world: &World) -> Result<FaultProof> {
    let stream = &world.agreement.acme;
    let after = changed(stream, 3, |record| record.sequence = Sequence::new(5))?;
    let statements = vec![statement(&made(stream, 4)?.1), statement(&after.1)];
    against(world, stream, FaultKind::StreamContinued, statements)
}

/// A request with these parameters, disclosed.
fn with_parameters(world: &World, parameters: &str) -> Result<FaultProof> {
    let stream = &world.acme_stream;
    let disclosure = Disclosure {
        field: DisclosedField::Parameters,
        salt: keys::salt("parameters outside the contract"),
        content: parameters.as_bytes().to_vec(),
    };
    let asked = changed(stream, 2, |record| {
        if let Body::Request(request) = &mut record.body {
            request.parameters = disclosure.digest();
        }
    })?;
    let asked = Statement::record(Receipt {
        disclosures: vec![disclosure],
        ..contracts::signed(&asked.1, &[])
    });
    let statements = vec![asked, contract(world)?];
    against(world, stream, FaultKind::OutsideContract, statements)
}

/// A request of acme's that the contract permits, in the stream in which it ended it.
fn after_the_end(world: &World) -> Result<FaultProof> {
    let stream = &world.agreement.acme;
    let ended = record(stream, 3)?.record.time.get();
    let mut asked = record(&world.acme_stream, 2)?.record.clone();
    asked.sequence = Sequence::new(6);
    asked.time = UnixMillis::new(ended + world.agreement.terms.clauses().notice.get());
    let asked = asked
        .prepare(&stream.operator, stream.key.public().thumbprint())
        .sign(&stream.key);
    let file: ContractFile = contracts::file(world)?;
    let statements = vec![statement(&asked), Statement::Contract(file.encode())];
    against(world, stream, FaultKind::OutsideContract, statements)
}

/// A batch of one record.
fn batch_of(record: &Record, bytes: &[u8]) -> Result<Commitment> {
    Ok(Commitment {
        number: BatchNumber::new(4),
        first: record.sequence,
        count: 1,
        previous: Some(CommitmentDigest::from_bytes([1; 32])),
        opened: record.time,
        sealed: record.time,
        beacon: None,
        root: BatchTree::build([bytes])?.root(),
    })
}

fn published_late(world: &World) -> Result<FaultProof> {
    let (stream, decision) = (&world.globex_stream, made(&world.globex_stream, 1)?);
    // Acme's record that acknowledges the decision, witnessed 55 s after the start.
    let mut acknowledging = record(&world.acme_stream, 3)?.record.clone();
    in_channel(&mut acknowledging, |channel| {
        channel.acknowledged = Some(Acknowledgement {
            stream: stream.key.public().thumbprint(),
            sequence: ChannelSequence::new(0),
            id: decision.0,
        });
    });
    let ours = &world.acme_stream;
    let signed = acknowledging
        .prepare(&ours.operator, ours.key.public().thumbprint())
        .sign(&ours.key);
    let commitment =
        batch_of(&acknowledging, &signed)?.sign(&ours.operator, &ours.key);
    let manifest = world.acme_manifests.first().context("no manifest")?;
    let mut log = Log::new(keys::log_key("log.example/2026")?)?;
    let listed = log.append(&manifest.bytes);
    let sealed = log.append(&commitment);
    let seen = log.checkpoint(2, &both(&world.witnesses, START + 54))?;
    let proof = |log: &Log, index| -> Result<Vec<u8>> {
        Ok(log.proof(index, &seen)?.to_string().into_bytes())
    };
    let receipt = Receipt {
        record: signed,
        manifests: vec![LoggedManifest {
            manifest: manifest.bytes.clone(),
            log_proof: Some(proof(&log, listed)?),
        }],
        batch: Some(BatchPart {
            path: Vec::new(),
            commitment,
        }),
        log_proof: Some(proof(&log, sealed)?),
        ..contracts::signed(&[], &[])
    };

    // Globex's batch names a checkpoint that the witnesses saw at 165 s.
    log.append(b"something");
    let later = log.checkpoint(3, &both(&world.witnesses, START + 165))?;
    let late = Commitment {
        beacon: Some(beacon(&later)?),
        ..batch_of(&record(stream, 1)?.record, &decision.1)?
    };
    let statements = vec![
        statement(&decision.1),
        Statement::Receipt(receipt.encode()),
        unlogged(late.sign(&stream.operator, &stream.key)),
        Statement::Checkpoint(later.to_string().into_bytes()),
        contract(world)?,
    ];
    against(world, stream, FaultKind::PublishedLate, statements)
}

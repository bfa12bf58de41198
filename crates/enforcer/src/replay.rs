//! Reads the whole journal at start and derives the state of the enforcer from it.
//!
//! While reading it checks that the journal holds together: numbers without a gap, links that
//! match, batches whose roots are those of the records, channels that continue on both sides. A
//! cut tail that took the batches along is found by asking the log (see [`crate::publish`]) or the
//! counterparty, which have seen what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::digest::{CheckpointDigest, CommitmentDigest, KeyThumbprint};
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{BatchNumber, Sequence};
use counterfoil_protocol::record::{
    Acknowledgement, Beacon, Body, Outcome, OutcomeStatus, UnverifiedRecord,
};
use counterfoil_tlog::tlog_proof::TlogProof;

use crate::channel::Discontinuity;
use crate::contract;
use crate::enforcer::Core;
use crate::error::EnforcerError;
use crate::journal::{BatchRow, Identity, JournalReader, Slot, retired_path};
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::stream::Stream;

/// How many rows are read at a time.
const PAGE: u64 = 4096;

/// How much of a journal's signatures is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signatures {
    /// Those of commitments, and of records that no commitment covers: enough at start, because a
    /// commitment's signature covers its records' bytes.
    Sufficient,
    /// Every one.
    All,
}

/// Derives the state from the journal, and from those that it takes over from.
pub(crate) fn replay(
    path: &Path,
    reader: &JournalReader,
    key: &PublicKey,
    identity: &Identity,
    policy: &dyn Policy,
    ledger: Ledger,
) -> Result<Stream, EnforcerError> {
    let before = replay_before(path, identity, policy, ledger)?;
    replay_with(
        reader,
        key,
        identity,
        policy,
        before,
        Signatures::Sufficient,
        &mut |_| (),
    )
}

/// The state with which the stream of a journal begins: what the streams before it in this home
/// have left. Spec: manifests §5.
pub(crate) fn replay_before(
    path: &Path,
    identity: &Identity,
    policy: &dyn Policy,
    ledger: Ledger,
) -> Result<Stream, EnforcerError> {
    let mut retired = Vec::new();
    let mut seen = BTreeSet::from([identity.kid]);
    let mut follows = identity.follows.clone();
    while let Some(key) = follows {
        let kid = key.thumbprint();
        if !seen.insert(kid) {
            return Err(broken(format!("stream {kid} takes over from itself")));
        }
        let reader = JournalReader::open(&retired_path(path, kid))?;
        let owner = reader.identity()?;
        if owner.kid != kid || owner.operator != identity.operator {
            return Err(EnforcerError::JournalForeign(format!(
                "operator `{}`, key {}; in the place of the retired stream {kid}",
                owner.operator, owner.kid
            )));
        }
        follows = owner.follows.clone();
        retired.push((reader, key, owner));
    }
    let mut stream = Stream::new(ledger);
    for (reader, key, owner) in retired.iter().rev() {
        stream = replay_with(
            reader,
            key,
            owner,
            policy,
            stream,
            Signatures::Sufficient,
            &mut |_| (),
        )?
        .succeeded();
    }
    Ok(stream)
}

/// Derives the state from the journal, starting with what `stream` holds; `progress` is told how
/// many records have been read.
pub(crate) fn replay_with(
    reader: &JournalReader,
    key: &PublicKey,
    identity: &Identity,
    policy: &dyn Policy,
    mut stream: Stream,
    signatures: Signatures,
    progress: &mut dyn FnMut(u64),
) -> Result<Stream, EnforcerError> {
    let mut acknowledged: BTreeMap<(OperatorName, KeyThumbprint), Acknowledgement> =
        BTreeMap::new();
    let seen = acknowledged_by_counterparties(reader, identity.kid)?;
    let gone = Arc::new(Slot::default());
    gone.abandon();
    let mut batches = Batches::open(reader, key)?;
    loop {
        let page = reader.records(stream.next, PAGE)?;
        if page.is_empty() {
            break;
        }
        for (sequence, bytes) in page {
            if stream.ended {
                return Err(broken(format!(
                    "record {sequence} follows the one that ends the stream"
                )));
            }
            let record = own_record(&bytes, sequence, &stream, identity)?;
            let covered = batches.add(sequence, &bytes)?;
            if signatures == Signatures::All || !covered {
                record
                    .clone()
                    .verify(key)
                    .map_err(|failure| broken(format!("record {sequence}: {failure}")))?;
            }
            let content = record.unverified_content();
            if let Some(link) = content.channel()
                && let Some(ack) = link.acknowledged
            {
                acknowledged.insert((link.counterparty.clone(), ack.stream), ack);
            }
            stream.last_time = content.time;
            let settled = content.channel().is_some_and(|link| {
                let seen = seen.get(&link.counterparty);
                seen.is_some_and(|seen| link.sequence.get() <= *seen)
            });
            // What the other side has acknowledged is never sent again: its bytes can go.
            let slot = if settled {
                Arc::clone(&gone)
            } else {
                Slot::filled(bytes)
            };
            stream.note(identity.kid, record.id(), content, &slot);
            stream.previous = Some(record.id());
            stream.next = sequence.next().ok_or(EnforcerError::Exhausted)?;
        }
        progress(stream.next.get());
    }
    if stream.next.get() == 0 {
        return Err(broken(
            "it holds no record, and a journal is made with one".to_owned(),
        ));
    }
    (stream.unsealed, stream.unlogged) = batches.finish(stream.next)?;
    replay_received(reader, identity.kid, &mut stream)?;
    replay_terms(reader, policy, &mut stream)?;
    check_acknowledged(&stream, &acknowledged)?;
    stream.beacon = newest_beacon(reader)?;
    Ok(stream)
}

/// Writes an `unknown` outcome for each allowed call that has none.
pub(crate) fn resolve_open_calls(core: &Core) -> Result<u64, EnforcerError> {
    let mut count = 0;
    loop {
        let mut stream = core.stream();
        let Some((decision, call)) = stream
            .open
            .iter()
            .next()
            .map(|(id, call)| (*id, call.clone()))
        else {
            return Ok(count);
        };
        let channel = call
            .counterparty
            .as_ref()
            .map(|name| stream.channel(name).link(name, call.asked_by));
        // Whatever it was may have been done: what was set aside counts as used.
        let settlements = stream.ledger.settlements(&call.reservations, true);
        let body = Body::Outcome(Outcome {
            channel,
            decision,
            answer: None,
            status: OutcomeStatus::Unknown,
            result: None,
            settlements,
            attestations: Vec::new(),
        });
        let written = core
            .append(&mut stream, body, Vec::new())?
            .sign(&core.identity)?;
        drop(stream);
        written.ticket.wait()?;
        count += 1;
    }
}

fn own_record(
    bytes: &[u8],
    sequence: Sequence,
    stream: &Stream,
    identity: &Identity,
) -> Result<UnverifiedRecord, EnforcerError> {
    let record = UnverifiedRecord::parse(bytes)
        .map_err(|failure| broken(format!("record {sequence}: {failure}")))?;
    let content = record.unverified_content();
    if sequence != stream.next || content.sequence != stream.next {
        return Err(broken(format!(
            "record {} is missing or was moved",
            stream.next
        )));
    }
    if content.previous != stream.previous {
        return Err(broken(format!(
            "record {sequence} does not link to the record before it"
        )));
    }
    if record.issuer() != &identity.operator || record.kid() != identity.kid {
        return Err(broken(format!("record {sequence} is of another stream")));
    }
    if let Some(link) = content.channel() {
        let known = stream.channels.get(&link.counterparty);
        let expected = known.map(|channel| channel.link(&link.counterparty, None));
        let follows = match &expected {
            Some(expected) => {
                expected.sequence == link.sequence && expected.previous == link.previous
            }
            None => link.sequence.get() == 0,
        };
        if !follows {
            return Err(broken(format!(
                "record {sequence} does not continue the channel to {}",
                link.counterparty
            )));
        }
    }
    Ok(record)
}

/// Checks sealed batches against the records as they are read.
struct Batches<'a> {
    reader: &'a JournalReader,
    key: &'a PublicKey,
    rows: std::vec::IntoIter<BatchRow>,
    current: Option<BatchRow>,
    leaves: Vec<Vec<u8>>,
    next_number: BatchNumber,
    next_first: Sequence,
    previous: Option<CommitmentDigest>,
    unlogged: Option<Sequence>,
}

impl<'a> Batches<'a> {
    fn open(reader: &'a JournalReader, key: &'a PublicKey) -> Result<Self, EnforcerError> {
        let mut batches = Self {
            reader,
            key,
            rows: Vec::new().into_iter(),
            current: None,
            leaves: Vec::new(),
            next_number: BatchNumber::new(0),
            next_first: Sequence::new(0),
            previous: None,
            unlogged: None,
        };
        batches.advance()?;
        Ok(batches)
    }

    /// Takes a record in. Says whether a sealed batch covers it.
    fn add(&mut self, sequence: Sequence, bytes: &[u8]) -> Result<bool, EnforcerError> {
        let Some(batch) = &self.current else {
            return Ok(false);
        };
        if sequence < batch.first {
            return Err(broken(format!(
                "record {sequence} is in no batch, later ones are"
            )));
        }
        self.leaves.push(bytes.to_vec());
        if self.leaves.len() as u64 == batch.count {
            self.check_batch()?;
            self.advance()?;
        }
        Ok(true)
    }

    /// The first unsealed and the first unlogged record.
    fn finish(self, next: Sequence) -> Result<(Sequence, Sequence), EnforcerError> {
        if let Some(batch) = &self.current {
            return Err(broken(format!(
                "batch {} covers records up to {}, the journal ends before {next}",
                batch.number,
                batch.first.get().saturating_add(batch.count)
            )));
        }
        Ok((self.next_first, self.unlogged.unwrap_or(self.next_first)))
    }

    fn advance(&mut self) -> Result<(), EnforcerError> {
        self.current = match self.rows.next() {
            Some(row) => Some(row),
            None => {
                self.rows = self.reader.batches(self.next_number, PAGE)?.into_iter();
                self.rows.next()
            }
        };
        Ok(())
    }

    fn check_batch(&mut self) -> Result<(), EnforcerError> {
        let Some(row) = self.current.take() else {
            return Ok(());
        };
        let number = row.number;
        let wrong = |what: String| broken(format!("batch {number}: {what}"));
        let commitment = UnverifiedCommitment::parse(&row.commitment)
            .and_then(|commitment| commitment.verify(self.key))
            .map_err(|failure| wrong(failure.to_string()))?;
        let content = commitment.commitment();
        if content.number != self.next_number
            || row.number != self.next_number
            || content.first != self.next_first
            || row.first != self.next_first
            || content.count != row.count
            || content.previous != self.previous
        {
            return Err(wrong("it does not follow the batch before it".to_owned()));
        }
        let tree = BatchTree::build(self.leaves.iter().map(Vec::as_slice))?;
        if tree.root() != content.root {
            return Err(wrong(
                "its records are not those it was signed for".to_owned(),
            ));
        }
        self.leaves.clear();
        if row.log_proof.is_none() && self.unlogged.is_none() {
            self.unlogged = Some(self.next_first);
        }
        self.previous = Some(commitment.digest());
        self.next_first = Sequence::new(row.first.get().saturating_add(row.count));
        self.next_number = number.next().ok_or(EnforcerError::Exhausted)?;
        Ok(())
    }
}

/// Up to which of our records each counterparty has acknowledged.
fn acknowledged_by_counterparties(
    reader: &JournalReader,
    own: KeyThumbprint,
) -> Result<BTreeMap<OperatorName, u64>, EnforcerError> {
    let mut seen: BTreeMap<OperatorName, u64> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = reader.received(after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(seen);
        };
        after = last.number;
        for row in page {
            let Ok(record) = UnverifiedRecord::parse(&row.bytes) else {
                continue;
            };
            let link = record.unverified_content().channel();
            if let Some(acknowledged) = link.and_then(|link| link.acknowledged)
                && acknowledged.stream == own
            {
                let seen = seen.entry(row.operator).or_default();
                *seen = acknowledged.sequence.get().max(*seen);
            }
        }
    }
}

/// Takes in what other operators sent. Their signatures were verified before it was written, and
/// are verified again by `journal verify`, which has their manifests.
fn replay_received(
    reader: &JournalReader,
    own: KeyThumbprint,
    stream: &mut Stream,
) -> Result<(), EnforcerError> {
    let mut after = 0;
    loop {
        let page = reader.received(after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for row in page {
            let number = row.number;
            let record = UnverifiedRecord::parse(&row.bytes)
                .map_err(|failure| broken(format!("received record {number}: {failure}")))?;
            if record.issuer() != &row.operator {
                return Err(broken(format!(
                    "received record {number} is of another operator"
                )));
            }
            // Only what continued its channel is in this table.
            let taken = stream.channel(&row.operator).receive(
                own,
                record.kid(),
                record.id(),
                record.unverified_content(),
            );
            if matches!(taken, Ok(true)) {
                stream.note_received(
                    &row.operator,
                    record.kid(),
                    record.id(),
                    record.unverified_content(),
                    row.arrived,
                );
            } else {
                return Err(broken(match taken {
                    Err(Discontinuity::AcknowledgedUnsent { .. }) => format!(
                        "`{}` acknowledges a record that the journal does not hold",
                        row.operator
                    ),
                    _ => format!(
                        "received record {number} does not continue the channel of `{}`",
                        row.operator
                    ),
                }));
            }
        }
    }
    Ok(())
}

/// Takes in the terms of contracts, which no record holds.
fn replay_terms(
    reader: &JournalReader,
    policy: &dyn Policy,
    stream: &mut Stream,
) -> Result<(), EnforcerError> {
    for (counterparty, disclosure) in reader.terms()? {
        let text = contract::read(&disclosure, policy)
            .map_err(|failure| broken(format!("the terms of a contract: {failure}")))?;
        // Of proposals that are over no more are kept than while running.
        let now = stream.last_time;
        stream.contracts.make_room(&counterparty, now);
        contract::open(stream, &counterparty, disclosure.digest(), text);
    }
    Ok(())
}

/// Whatever our records acknowledge, we must have received: that very record.
fn check_acknowledged(
    stream: &Stream,
    acknowledged: &BTreeMap<(OperatorName, KeyThumbprint), Acknowledgement>,
) -> Result<(), EnforcerError> {
    for ((operator, _), last) in acknowledged {
        let channel = stream.channels.get(operator);
        if !channel.is_some_and(|channel| channel.has_received(*last)) {
            return Err(broken(format!(
                "a record acknowledges record {} of `{operator}`, which is missing",
                last.sequence
            )));
        }
    }
    Ok(())
}

/// The newest cosigned checkpoint that the journal holds.
fn newest_beacon(reader: &JournalReader) -> Result<Option<Beacon>, EnforcerError> {
    let Some(proof) = reader.newest_log_proof()? else {
        return Ok(None);
    };
    let proof = TlogProof::parse(&proof)
        .map_err(|error| broken(format!("the proof of the last logged batch: {error}")))?;
    let note = proof.note().to_string();
    Ok(Some(Beacon {
        size: proof.checkpoint().size(),
        checkpoint: CheckpointDigest::of(note.as_bytes()),
    }))
}

fn broken(detail: String) -> EnforcerError {
    EnforcerError::JournalBroken(detail)
}

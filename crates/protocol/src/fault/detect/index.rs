//! What the detector remembers of one stream.
//!
//! The ordered tables hold statements that do not contradict each other, so a new one need only be
//! compared with its neighbours. One that contradicts them is reported and left out.

use std::collections::{BTreeMap, HashMap};

use counterfoil_tlog::tree::{Hash, leaf_hash};

use super::numbered::{Numbered, Taken};
use super::{Finding, Found};
use crate::commitment::{Commitment, VerifiedCommitment};
use crate::digest::{CommitmentDigest, KeyThumbprint, RecordId};
use crate::fault::FaultKind;
use crate::fault::conflict::{acknowledgements, goes_back};
use crate::names::OperatorName;
use crate::numbers::Sequence;
use crate::record::{Acknowledgement, Body, Event, Record, VerifiedRecord};

/// A record that has been seen.
#[derive(Clone, Debug)]
struct Seen<T> {
    token: T,
    id: RecordId,
    /// The record before it, in the stream or in the channel.
    previous: Option<RecordId>,
    /// Its sequence in the stream.
    sequence: u64,
}

#[derive(Clone, Debug)]
struct SeenBatch<T> {
    token: T,
    id: [u8; 32],
    digest: CommitmentDigest,
    previous: Option<CommitmentDigest>,
    first: u64,
    count: u64,
}

/// What a batch was shown to hold in one place.
#[derive(Debug)]
struct SeenLeaf<T> {
    token: T,
    hash: Hash,
    path: Vec<Hash>,
}

/// Acknowledgements of one peer stream, by the sequence of the record that makes them.
type Acknowledged<T> = BTreeMap<u64, (Acknowledgement, T)>;

#[derive(Debug)]
pub(super) struct Stream<T> {
    records: Numbered<Seen<T>>,
    /// The record with the highest sequence.
    last: Option<(u64, T)>,
    /// The hashes that the records have as leaves of a batch.
    own_leaves: HashMap<u64, Hash>,
    channels: HashMap<OperatorName, Numbered<Seen<T>>>,
    acknowledged: HashMap<(OperatorName, KeyThumbprint), Acknowledged<T>>,
    /// The first decision of each request.
    decided: HashMap<RecordId, (RecordId, T)>,
    /// The first outcome of each decision.
    settled: HashMap<RecordId, (RecordId, T)>,
    /// The earliest record that ends the stream.
    closed: Option<(u64, T)>,
    batches: Numbered<SeenBatch<T>>,
    leaves: HashMap<u64, SeenLeaf<T>>,
}

impl<T> Default for Stream<T> {
    fn default() -> Self {
        Self {
            records: Numbered::default(),
            last: None,
            own_leaves: HashMap::new(),
            channels: HashMap::new(),
            acknowledged: HashMap::new(),
            decided: HashMap::new(),
            settled: HashMap::new(),
            closed: None,
            batches: Numbered::default(),
            leaves: HashMap::new(),
        }
    }
}

/// Collects findings that are made of two records.
struct Pairs<'a, T>(&'a mut Vec<Finding<T>>);

impl<T: Clone> Pairs<'_, T> {
    fn push(&mut self, kind: FaultKind, a: &T, b: &T) {
        self.0.push(Finding {
            kind,
            statements: vec![Found::Record(a.clone()), Found::Record(b.clone())],
        });
    }

    /// Two statements that may stand in either order: the lower id first.
    fn fork(&mut self, kind: FaultKind, a: (&RecordId, &T), b: (&RecordId, &T)) {
        let (a, b) = if a.0 < b.0 { (a, b) } else { (b, a) };
        self.push(kind, a.1, b.1);
    }

    /// Those before and after a record that contradict it.
    fn links(&mut self, kind: FaultKind, token: &T, taken: &Taken<Seen<T>>) {
        for before in &taken.before {
            self.push(kind, &before.token, token);
        }
        for after in &taken.after {
            self.push(kind, token, &after.token);
        }
    }
}

impl<T: Clone> Stream<T> {
    pub(super) fn record(
        &mut self,
        token: &T,
        record: &VerifiedRecord,
        bytes: &[u8],
        findings: &mut Vec<Finding<T>>,
    ) {
        let content = record.record();
        let leaf = leaf_hash(bytes);
        let mut pairs = Pairs(findings);
        self.ended(token, content, &mut pairs);
        self.linked(token, record, leaf, &mut pairs);
        self.in_channel(token, record, &mut pairs);
        self.acknowledging(token, content, &mut pairs);
        self.once(token, record, &mut pairs);
        self.replaced(token, content.sequence.get(), leaf, findings);
    }

    fn ended(&mut self, token: &T, record: &Record, pairs: &mut Pairs<'_, T>) {
        let sequence = record.sequence.get();
        if let Some((closed, close)) = &self.closed
            && sequence > *closed
        {
            pairs.push(FaultKind::StreamContinued, close, token);
        }
        if !matches!(record.body, Body::Control(Event::StreamClosed { .. })) {
            return;
        }
        if let Some((last, after)) = &self.last
            && *last > sequence
        {
            pairs.push(FaultKind::StreamContinued, token, after);
        }
        if self
            .closed
            .as_ref()
            .is_none_or(|(closed, _)| sequence < *closed)
        {
            self.closed = Some((sequence, token.clone()));
        }
    }

    fn linked(&mut self, token: &T, record: &VerifiedRecord, leaf: Hash, pairs: &mut Pairs<'_, T>) {
        let sequence = record.record().sequence.get();
        if self.last.as_ref().is_none_or(|(last, _)| *last < sequence) {
            self.last = Some((sequence, token.clone()));
        }
        let seen = Seen {
            token: token.clone(),
            id: record.id(),
            previous: record.record().previous,
            sequence,
        };
        let taken = self.records.take(sequence, &seen, names_before);
        match &taken.same {
            Some(same) => {
                let (same, this) = ((&same.id, &same.token), (&seen.id, token));
                pairs.fork(FaultKind::StreamFork, same, this);
            }
            None => {
                self.own_leaves.insert(sequence, leaf);
            }
        }
        pairs.links(FaultKind::StreamLink, token, &taken);
    }

    fn in_channel(&mut self, token: &T, record: &VerifiedRecord, pairs: &mut Pairs<'_, T>) {
        let Some(link) = record.record().channel() else {
            return;
        };
        let seen = Seen {
            token: token.clone(),
            id: record.id(),
            previous: link.previous,
            sequence: record.record().sequence.get(),
        };
        let channel = self.channels.entry(link.counterparty.clone()).or_default();
        let taken = channel.take(link.sequence.get(), &seen, continues);
        if let Some(same) = &taken.same {
            let (same, this) = ((&same.id, &same.token), (&seen.id, token));
            pairs.fork(FaultKind::ChannelFork, same, this);
        }
        pairs.links(FaultKind::ChannelLink, token, &taken);
    }

    fn acknowledging(&mut self, token: &T, record: &Record, pairs: &mut Pairs<'_, T>) {
        let Some(link) = record.channel() else { return };
        let sequence = record.sequence.get();
        for acknowledgement in acknowledgements(record) {
            let stream = (link.counterparty.clone(), acknowledgement.stream);
            let known = self.acknowledged.entry(stream).or_default();
            let before = known.range(..sequence).next_back();
            if let Some((_, (before, earlier))) = before
                && goes_back(before, acknowledgement)
            {
                pairs.push(FaultKind::AcknowledgementReversed, earlier, token);
                continue;
            }
            let later = sequence.saturating_add(1);
            if let Some((_, (after, later))) = known.range(later..).next()
                && goes_back(acknowledgement, after)
            {
                pairs.push(FaultKind::AcknowledgementReversed, token, later);
                continue;
            }
            // A statement may acknowledge twice: what its channel says is kept.
            let entry = known.entry(sequence);
            entry.or_insert_with(|| (*acknowledgement, token.clone()));
        }
    }

    fn once(&mut self, token: &T, record: &VerifiedRecord, pairs: &mut Pairs<'_, T>) {
        let (kind, about, table) = match &record.record().body {
            Body::Decision(decision) => match decision.request {
                Some(request) => (FaultKind::DecidedTwice, request.id, &mut self.decided),
                None => return,
            },
            Body::Outcome(outcome) => {
                (FaultKind::SettledTwice, outcome.decision, &mut self.settled)
            }
            _ => return,
        };
        if let Some((id, first)) = table.get(&about) {
            pairs.fork(kind, (id, first), (&record.id(), token));
        } else {
            table.insert(about, (record.id(), token.clone()));
        }
    }

    fn replaced(&mut self, token: &T, sequence: u64, leaf: Hash, findings: &mut Vec<Finding<T>>) {
        let Some(shown) = self.leaves.remove(&sequence) else {
            return;
        };
        if shown.hash != leaf {
            findings.push(record_replaced(token, shown));
        }
    }

    pub(super) fn leaf(
        &mut self,
        token: &T,
        sequence: u64,
        hash: Hash,
        path: Vec<Hash>,
        findings: &mut Vec<Finding<T>>,
    ) {
        let shown = SeenLeaf {
            token: token.clone(),
            hash,
            path,
        };
        let own = self.own_leaves.get(&sequence);
        match self.records.get(sequence) {
            Some(_) if own == Some(&hash) => {}
            Some(record) => findings.push(record_replaced(&record.token, shown)),
            None => {
                self.leaves.entry(sequence).or_insert(shown);
            }
        }
    }

    pub(super) fn commitment(
        &mut self,
        token: &T,
        commitment: &VerifiedCommitment,
        findings: &mut Vec<Finding<T>>,
    ) {
        let content = commitment.commitment();
        let mut push = |kind, a: &T, b: &T| {
            findings.push(Finding {
                kind,
                statements: vec![Found::Commitment(a.clone()), Found::Commitment(b.clone())],
            });
        };
        let seen = SeenBatch {
            token: token.clone(),
            id: *commitment.id(),
            digest: commitment.digest(),
            previous: content.previous,
            first: content.first.get(),
            count: content.count,
        };
        let taken = self.batches.take(content.number.get(), &seen, follows);
        if let Some(same) = taken.same {
            match same.id.cmp(&seen.id) {
                core::cmp::Ordering::Less => push(FaultKind::CommitmentFork, &same.token, token),
                core::cmp::Ordering::Equal => {}
                core::cmp::Ordering::Greater => push(FaultKind::CommitmentFork, token, &same.token),
            }
        }
        for before in taken.before {
            push(FaultKind::CommitmentLink, &before.token, token);
        }
        for after in taken.after {
            push(FaultKind::CommitmentLink, token, &after.token);
        }
    }
}

/// Whether one record of a stream can come after another, given their sequences.
fn names_before<T>(one: (u64, &Seen<T>), other: (u64, &Seen<T>)) -> bool {
    other.0 - one.0 != 1 || other.1.previous == Some(one.1.id)
}

/// Whether one record of a channel can come after another, given their numbers in it.
fn continues<T>(one: (u64, &Seen<T>), other: (u64, &Seen<T>)) -> bool {
    let steps = other.0 - one.0;
    let linked = steps != 1 || other.1.previous == Some(one.1.id);
    let places = other.1.sequence.checked_sub(one.1.sequence);
    linked && places.is_some_and(|places| places >= steps)
}

/// Whether one commitment can come after another, given their numbers.
fn follows<T>(one: (u64, &SeenBatch<T>), other: (u64, &SeenBatch<T>)) -> bool {
    let steps = other.0 - one.0;
    let end = u128::from(one.1.first) + u128::from(one.1.count);
    let first = u128::from(other.1.first);
    if steps == 1 {
        first == end && other.1.previous == Some(one.1.digest)
    } else {
        first >= end + u128::from(steps - 1)
    }
}

/// The leaf beside the one that a path leads from, with its own path. None where a leaf has none
/// beside it, at the end of a batch with an odd number of records.
pub(super) fn beside(
    batch: &Commitment,
    sequence: Sequence,
    leaf: Hash,
    path: &[Hash],
) -> Option<(u64, Hash, Vec<Hash>)> {
    let beside = batch.index_of(sequence).ok()? ^ 1;
    let (first, rest) = path.split_first()?;
    let path = core::iter::once(leaf).chain(rest.iter().copied());
    (beside < batch.count).then(|| (batch.first.get() + beside, *first, path.collect()))
}

fn record_replaced<T: Clone>(record: &T, shown: SeenLeaf<T>) -> Finding<T> {
    Finding {
        kind: FaultKind::RecordReplaced,
        statements: vec![
            Found::Record(record.clone()),
            Found::Commitment(shown.token),
            Found::Leaf {
                hash: shown.hash,
                path: shown.path,
            },
        ],
    }
}

//! The contradictions of faults §3, written from its table. They look at statements and at nothing
//! else: not at who is honest, nor at what really happened.

use crate::statements::{Body, Commitment, Id, Manifest, Record, Signed, Status, Verdict};

/// A kind of contradiction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(
    missing_docs,
    reason = "the names and their meaning are those of faults §3"
)]
pub enum Kind {
    StreamFork = 1,
    ChannelFork = 2,
    StreamLink = 3,
    ChannelLink = 4,
    CommitmentFork = 5,
    CommitmentLink = 6,
    RecordReplaced = 7,
    DecidedTwice = 8,
    SettledTwice = 9,
    OwnRecordDenied = 10,
    AcknowledgementReversed = 11,
    ExecutedUnallowed = 12,
    ManifestFork = 13,
    LogFork = 14,
    LogRewritten = 15,
    AllowedOtherwise = 16,
    StreamContinued = 17,
}

/// Statements of one operator, and requests of the other: whatever an accuser has.
#[derive(Clone, Debug, Default)]
pub struct Statements<'a> {
    /// Records of the accused.
    pub records: Vec<&'a Signed>,
    /// Commitments of the accused.
    pub commitments: Vec<&'a Commitment>,
    /// Manifests of the accused.
    pub manifests: Vec<&'a Manifest>,
    /// Records of anybody's, whose signatures nobody looks at.
    pub requests: Vec<&'a Signed>,
}

impl Statements<'_> {
    /// A kind of which a proof can be made, if there is one.
    #[must_use]
    pub fn convict(&self) -> Option<Kind> {
        self.all().next()
    }

    /// Every kind of which a proof can be made, some more than once.
    pub fn all(&self) -> impl Iterator<Item = Kind> + '_ {
        let records = pairs(&self.records).filter_map(|(a, b)| of_records(a, b));
        let commitments = pairs(&self.commitments).filter_map(|(a, b)| of_commitments(a, b));
        let replaced = self.records.iter().flat_map(move |record| {
            self.commitments
                .iter()
                .filter_map(|commitment| record_replaced(record, commitment))
        });
        let manifests = pairs(&self.manifests).filter_map(|(a, b)| of_manifests(a, b));
        let otherwise = self.requests.iter().flat_map(move |request| {
            self.records
                .iter()
                .filter_map(|decision| allowed_otherwise(request, &decision.record))
        });
        records
            .chain(commitments)
            .chain(replaced)
            .chain(manifests)
            .chain(otherwise)
    }
}

/// All ordered pairs of different items.
fn pairs<'a, T>(items: &'a [&'a T]) -> impl Iterator<Item = (&'a T, &'a T)> {
    items.iter().enumerate().flat_map(move |(i, a)| {
        items
            .iter()
            .enumerate()
            .filter_map(move |(j, b)| (i != j).then_some((*a, *b)))
    })
}

/// What two records show, in this order.
fn of_records(first: &Signed, second: &Signed) -> Option<Kind> {
    let (a, b) = (&first.record, &second.record);
    if let Body::Denied(id) = b.body
        && id == first.id
    {
        return Some(Kind::OwnRecordDenied);
    }
    if let (Body::Decision(_, _, Verdict::Deny), Body::Outcome(id, Status::Succeeded, _)) =
        (a.body, b.body)
        && id == first.id
    {
        return Some(Kind::ExecutedUnallowed);
    }
    if a.key != b.key || first.id == second.id {
        return None;
    }
    if a.sequence == b.sequence {
        return Some(Kind::StreamFork);
    }
    if b.sequence == a.sequence + 1 && b.previous != Some(first.id) {
        return Some(Kind::StreamLink);
    }
    if a.body == Body::Ended && b.sequence > a.sequence {
        return Some(Kind::StreamContinued);
    }
    if let (Body::Decision(Some(x), ..), Body::Decision(Some(y), ..)) = (a.body, b.body)
        && x == y
    {
        return Some(Kind::DecidedTwice);
    }
    if let (Body::Outcome(x, ..), Body::Outcome(y, ..)) = (a.body, b.body)
        && x == y
    {
        return Some(Kind::SettledTwice);
    }
    in_channel(first.id, a, b)
}

/// What two records of one stream show by their places in a channel. There is one counterparty.
fn in_channel(id: Id, a: &Record, b: &Record) -> Option<Kind> {
    let (x, y) = (a.link?, b.link?);
    if x.sequence == y.sequence {
        return Some(Kind::ChannelFork);
    }
    let apart = y.sequence.checked_sub(x.sequence)?;
    if apart == 1 && y.previous != Some(id) || b.sequence < a.sequence + apart {
        return Some(Kind::ChannelLink);
    }
    let reversed = a.acknowledged().any(|earlier| {
        b.acknowledged().any(|later| {
            earlier.key == later.key
                && (later.sequence < earlier.sequence
                    || later.sequence == earlier.sequence && later.id != earlier.id)
        })
    });
    reversed.then_some(Kind::AcknowledgementReversed)
}

/// What two commitments show, in this order.
fn of_commitments(a: &Commitment, b: &Commitment) -> Option<Kind> {
    if a.key != b.key || a == b {
        return None;
    }
    if a.number == b.number {
        return Some(Kind::CommitmentFork);
    }
    let apart = b.number.checked_sub(a.number)?;
    let linked = if apart == 1 {
        b.first == a.end() && b.previous == Some(a.id())
    } else {
        b.first >= a.end() + (apart - 1)
    };
    (!linked).then_some(Kind::CommitmentLink)
}

/// What a record and a commitment show, with a path to the leaf at the record's place.
fn record_replaced(record: &Signed, commitment: &Commitment) -> Option<Kind> {
    if record.record.key != commitment.key {
        return None;
    }
    let leaf = commitment.at(record.record.sequence)?;
    (leaf != record.leaf()).then_some(Kind::RecordReplaced)
}

/// What two manifests show. That both follow the same one is what a version says.
fn of_manifests(a: &Manifest, b: &Manifest) -> Option<Kind> {
    (a.version == b.version && a != b).then_some(Kind::ManifestFork)
}

/// What a decision shows about the request that it names.
fn allowed_otherwise(request: &Signed, decision: &Record) -> Option<Kind> {
    match (request.record.body, decision.body) {
        (Body::Request(asked), Body::Decision(Some(id), allowed, Verdict::Allow))
            if id == request.id && asked != allowed =>
        {
            Some(Kind::AllowedOtherwise)
        }
        _ => None,
    }
}

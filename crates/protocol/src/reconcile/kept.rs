//! What is kept of a record, so that half a million fit in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::line::{HeldBy, RecordRef, Role, Side};
use crate::digest::{ContentDigest, KeyThumbprint, RecordId};
use crate::level::Level;
use crate::numbers::{ChannelSequence, Sequence, UnixMillis, UnixSeconds};
use crate::record::{Acknowledgement, OutcomeStatus, Verdict};

/// What is kept of a record.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: RecordId,
    pub(super) signer: Side,
    pub(super) held_by: HeldBy,
    pub(super) kid: KeyThumbprint,
    pub(super) sequence: Sequence,
    pub(super) channel: ChannelSequence,
    pub(super) acknowledged: Vec<Acknowledgement>,
    pub(super) time: UnixMillis,
    pub(super) level: Level,
    pub(super) not_after: Option<UnixSeconds>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Request(Box<Asked>),
    Decision {
        request: Option<(RecordId, Level)>,
        verdict: Verdict,
        asked: Box<Asked>,
    },
    Outcome {
        of: RecordId,
        status: OutcomeStatus,
        answer: Option<RecordId>,
    },
    Denial(RecordId),
    Other,
}

/// What was asked for, as a request and the decision about it have to agree on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) action: usize,
    pub(super) agent: usize,
    pub(super) on_behalf_of: Option<ContentDigest>,
    pub(super) session: Option<ContentDigest>,
    pub(super) parameters: ContentDigest,
    pub(super) contract: Option<ContentDigest>,
    pub(super) terms: Judged,
}

/// What the contracts say of a request or decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// There is nothing to judge by.
    Unknown,
    /// It is permitted if its evidence is of this level.
    Permitted(Level),
    /// It is outside, and why.
    Outside(String),
}

impl Kept {
    pub(super) const fn reference(&self, role: Role) -> RecordRef {
        RecordRef {
            role,
            signer: self.signer,
            held_by: self.held_by,
            id: self.id,
            stream: self.kid,
            sequence: self.sequence,
            channel_sequence: self.channel,
            time: self.time,
            level: self.level,
        }
    }
}

/// Values that come again and again, each kept once.
#[derive(Debug)]
pub(super) struct Interned<T> {
    numbers: BTreeMap<T, usize>,
    values: Vec<T>,
}

impl<T: Clone + Ord> Interned<T> {
    pub(super) const fn new() -> Self {
        Self {
            numbers: BTreeMap::new(),
            values: Vec::new(),
        }
    }

    /// The number of a value, the same each time.
    pub(super) fn number(&mut self, value: T) -> usize {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = self.values.len();
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }

    /// The value with a number.
    pub(super) fn value(&self, number: usize) -> Option<&T> {
        self.values.get(number)
    }
}

/// The ids that a set of records acknowledges, without repetition.
pub(super) type Acknowledged = BTreeSet<(KeyThumbprint, ChannelSequence, RecordId)>;

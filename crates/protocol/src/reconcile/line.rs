//! What a reconciliation says: line by line, and in sum.

use core::fmt;

use crate::digest::{KeyThumbprint, RecordId};
use crate::fault::FaultKind;
use crate::level::Level;
use crate::numbers::{ChannelSequence, Sequence, UnixMillis};

/// One of the two sides, seen from whoever reconciles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that reconciles.
    Ours,
    /// The other one.
    Theirs,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Ours => Self::Theirs,
            Self::Theirs => Self::Ours,
        }
    }

    /// The side's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
        }
    }
}

/// What a line amounts to, the gravest first. Spec: reconciliation §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Two statements cannot both be true.
    Contradicting,
    /// It was done without the contract allowing it.
    OutsideContract,
    /// The other side's evidence lacks a record that it has to have.
    MissingThere,
    /// Our evidence lacks a record that it has to have.
    MissingHere,
    /// At least one side does not know what became of it.
    UnknownOutcome,
    /// It was published later than agreed.
    Late,
    /// Both halves say the same.
    Matched,
}

impl Class {
    /// All classes, the gravest first.
    pub const ALL: [Self; 7] = [
        Self::Contradicting,
        Self::OutsideContract,
        Self::MissingThere,
        Self::MissingHere,
        Self::UnknownOutcome,
        Self::Late,
        Self::Matched,
    ];

    /// The class's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contradicting => "contradicting",
            Self::OutsideContract => "outside_contract",
            Self::MissingThere => "missing_there",
            Self::MissingHere => "missing_here",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Late => "late",
            Self::Matched => "matched",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A call: a request, what was decided about it, and what became of it on both sides.
    Call {
        /// The id of the request, or of what an outcome without its request or decision names.
        request: RecordId,
        /// Who asked.
        asking: Side,
    },
    /// Numbers of a channel for which neither side has a record.
    Gap {
        /// Whose channel.
        signer: Side,
        /// In which stream.
        stream: KeyThumbprint,
        /// The first number without a record.
        first: ChannelSequence,
        /// The last one.
        last: ChannelSequence,
    },
    /// A single record that is not part of a call, or that contradicts another one.
    Record {
        /// Its id.
        id: RecordId,
        /// Who signed it.
        signer: Side,
    },
}

/// A line of a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The gravest of what was found.
    pub class: Class,
    /// What it is about.
    pub subject: Subject,
    /// The records it rests on.
    pub records: Vec<RecordRef>,
    /// What was found; nothing if it is matched.
    pub findings: Vec<Finding>,
    /// All of it in a plain sentence.
    pub sentence: String,
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it amounts to.
    pub class: Class,
    /// Whose doing it is, where the records say so.
    pub side: Option<Side>,
    /// The kind of fault that these records may prove: see [`crate::fault`].
    pub fault: Option<FaultKind>,
    /// What does not fit, in plain words.
    pub text: String,
}

/// What a record is in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The asking side's request.
    Request,
    /// The asked side's decision.
    Decision,
    /// The asked side's outcome.
    AskedOutcome,
    /// The asking side's outcome.
    AskingOutcome,
    /// Anything else.
    Other,
}

impl Role {
    /// The role's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Decision => "decision",
            Self::AskedOutcome => "asked_outcome",
            Self::AskingOutcome => "asking_outcome",
            Self::Other => "other",
        }
    }
}

/// Whose evidence a record is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldBy {
    /// Ours.
    pub ours: bool,
    /// The other side's.
    pub theirs: bool,
}

impl HeldBy {
    pub(super) const fn add(&mut self, side: Side) {
        match side {
            Side::Ours => self.ours = true,
            Side::Theirs => self.theirs = true,
        }
    }

    /// Whether it is in this side's evidence.
    pub const fn by(self, side: Side) -> bool {
        match side {
            Side::Ours => self.ours,
            Side::Theirs => self.theirs,
        }
    }
}

/// A record that a line rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRef {
    /// What it is in the line.
    pub role: Role,
    /// Who signed it.
    pub signer: Side,
    /// Whose evidence it is in.
    pub held_by: HeldBy,
    /// Its id.
    pub id: RecordId,
    /// The key that signed it, which names its stream.
    pub stream: KeyThumbprint,
    /// Its place in the stream.
    pub sequence: Sequence,
    /// Its place in the channel.
    pub channel_sequence: ChannelSequence,
    /// When it was made, by its signer's clock.
    pub time: UnixMillis,
    /// How far its evidence goes.
    pub level: Level,
}

/// The sum of a reconciliation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many calls there were.
    pub calls: u64,
    /// How many lines: one for each call, and one for each other thing that does not fit.
    pub lines: u64,
    /// How many lines of each class, in the order of [`Class::ALL`].
    pub by_class: [u64; 7],
    /// How many different records of the pair were taken in.
    pub records: u64,
    /// How many records concern nobody or somebody else, and were passed over.
    pub passed_over: u64,
    /// How many calls lie outside of the period, and were passed over.
    pub outside_period: u64,
}

impl Totals {
    /// How many lines are of a class.
    pub fn of(&self, class: Class) -> u64 {
        let place = Class::ALL.iter().position(|other| *other == class);
        place
            .and_then(|place| self.by_class.get(place))
            .copied()
            .unwrap_or_default()
    }

    /// Whether both halves say the same throughout.
    pub fn is_matched(&self) -> bool {
        self.of(Class::Matched) == self.lines
    }

    pub(super) fn count(&mut self, line: &Line) {
        self.lines += 1;
        self.calls += u64::from(matches!(line.subject, Subject::Call { .. }));
        let place = Class::ALL.iter().position(|other| *other == line.class);
        if let Some(count) = place.and_then(|place| self.by_class.get_mut(place)) {
            *count += 1;
        }
    }
}

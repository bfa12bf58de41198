//! The kinds of fault, and what each is made of. Spec: faults §3, §4.

use core::fmt;

use super::proof::Form;
use crate::failure::{Failure, FailureCode};

/// What a kind of fault says about whoever is convicted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultClass {
    /// Nobody who runs the protocol honestly signs all of the statements.
    Contradiction,
    /// Terms that were agreed on were not kept.
    Breach,
}

impl FaultClass {
    /// The class's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contradiction => "contradiction",
            Self::Breach => "breach",
        }
    }
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! fault_kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal, $class:ident, [$($form:ident),+];)+) => {
        /// A kind of fault. Spec: faults §3 (contradictions), §4 (breaches).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultKind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl FaultKind {
            /// Every kind there is, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The kind's number in fault proofs.
            pub const fn number(self) -> u64 {
                match self {
                    $(Self::$name => $number,)+
                }
            }

            /// The kind's stable name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// What the fault is, in a sentence.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+),)+
                }
            }

            /// Whether it is a contradiction or a breach.
            pub const fn class(self) -> FaultClass {
                match self {
                    $(Self::$name => FaultClass::$class,)+
                }
            }

            /// The forms of its statements, in order.
            pub(super) const fn forms(self) -> &'static [Form] {
                match self {
                    $(Self::$name => &[$(Form::$form),+],)+
                }
            }
        }
    };
}

fault_kinds! {
    /// Two different records were signed for one place of a stream.
    StreamFork = 1, "stream_fork", Contradiction, [Record, Record];
    /// Two different records were signed for one place of a channel.
    ChannelFork = 2, "channel_fork", Contradiction, [Record, Record];
    /// A record does not name the record before it in its stream.
    StreamLink = 3, "stream_link", Contradiction, [Record, Record];
    /// A record does not name the record before it in its channel, or the channel runs in another
    /// order than the stream.
    ChannelLink = 4, "channel_link", Contradiction, [Record, Record];
    /// Two different commitments were signed for one batch of a stream.
    CommitmentFork = 5, "commitment_fork", Contradiction, [Commitment, Commitment];
    /// A commitment does not continue the one before it.
    CommitmentLink = 6, "commitment_link", Contradiction, [Commitment, Commitment];
    /// A signed batch holds something else in the place of a signed record.
    RecordReplaced = 7, "record_replaced", Contradiction, [Record, Commitment, Leaf];
    /// One request was decided twice.
    DecidedTwice = 8, "decided_twice", Contradiction, [Record, Record];
    /// One decision or request was given two outcomes.
    SettledTwice = 9, "settled_twice", Contradiction, [Record, Record];
    /// A record was signed, and it was denied that it was.
    OwnRecordDenied = 10, "own_record_denied", Contradiction, [Record, Record];
    /// A later record acknowledges less of another's stream than an earlier one, or something else.
    AcknowledgementReversed = 11, "acknowledgement_reversed", Contradiction, [Record, Record];
    /// An action was denied and executed all the same.
    ExecutedUnallowed = 12, "executed_unallowed", Contradiction, [Record, Record];
    /// Two different manifests were signed for one version.
    ManifestFork = 13, "manifest_fork", Contradiction, [Manifest, Manifest];
    /// A log signed two trees of one size.
    LogFork = 14, "log_fork", Contradiction, [Checkpoint, Checkpoint];
    /// A log signed trees that hold different entries at one index.
    LogRewritten = 15, "log_rewritten", Contradiction, [Entry, Entry];
    /// A request was allowed as something else than it asks for.
    AllowedOtherwise = 16, "allowed_otherwise", Contradiction, [Request, Record];
    /// A stream goes on after the record that ends it.
    StreamContinued = 17, "stream_continued", Contradiction, [Record, Record];
    /// A call was allowed that the contract does not permit.
    OutsideContract = 20, "outside_contract", Breach, [Record, Contract];
    /// A call was allowed on less evidence than the contract asks for.
    EvidenceTooLow = 21, "evidence_too_low", Breach, [Record, Contract];
    /// A record was published later than the contract allows.
    PublishedLate = 22, "published_late", Breach, [Record, Receipt, Commitment, Checkpoint, Contract];
}

impl FaultKind {
    /// The kind with this number.
    ///
    /// # Errors
    /// [`FailureCode::StructureOutOfRange`] when there is none.
    pub fn from_number(number: u64) -> Result<Self, Failure> {
        let mut kinds = Self::ALL.iter().copied();
        kinds.find(|kind| kind.number() == number).ok_or_else(|| {
            Failure::new(
                FailureCode::StructureOutOfRange,
                format!("fault kind {number} does not exist"),
            )
        })
    }

    /// Whether a log is accused, and not an operator.
    pub const fn accuses_log(self) -> bool {
        matches!(self, Self::LogFork | Self::LogRewritten)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_names_are_spelled_alike() {
        assert!(FaultKind::ALL.is_sorted_by(|a, b| a.number() < b.number()));
        for kind in FaultKind::ALL {
            assert_eq!(FaultKind::from_number(kind.number()).unwrap(), *kind);
            let letters = |b: u8| b.is_ascii_lowercase() || b == b'_';
            assert!(kind.as_str().bytes().all(letters), "{kind}");
            assert!(kind.sentence().ends_with('.'), "{kind}");
        }
        assert!(FaultKind::from_number(0).is_err());
    }
}

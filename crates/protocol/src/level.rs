//! How far the evidence for a record goes.

use core::fmt;

/// How far a record's evidence goes. Spec: receipts §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The operator signed it.
    Signed,
    /// It stands in a batch whose root the operator signed.
    Committed,
    /// The batch's commitment is in a trusted log.
    Logged,
    /// A quorum of trusted witnesses cosigned the log's checkpoint.
    Witnessed,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Self; 4] = [Self::Signed, Self::Committed, Self::Logged, Self::Witnessed];

    /// The level's number in records: 1 to 4.
    pub const fn number(self) -> u64 {
        match self {
            Self::Signed => 1,
            Self::Committed => 2,
            Self::Logged => 3,
            Self::Witnessed => 4,
        }
    }

    /// The level with this number, if there is one.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.number() == number)
    }

    /// The level's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Committed => "committed",
            Self::Logged => "logged",
            Self::Witnessed => "witnessed",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

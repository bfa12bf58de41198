//! Numbers that mean something: sequences, times, amounts. Each is a type of its own.

use core::fmt;

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a plain number.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number after this one, or none at the end of the range.
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_type! {
    /// The place of a record in its stream: 0, 1, 2, … without a gap.
    Sequence
}
number_type! {
    /// The place of a record in the channel to one counterparty: 0, 1, 2, … without a gap.
    ChannelSequence
}
number_type! {
    /// The place of a batch in its stream: 0, 1, 2, … without a gap.
    BatchNumber
}
number_type! {
    /// The version of a manifest; the first is 1.
    ManifestVersion
}
number_type! {
    /// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
    UnixMillis
}
number_type! {
    /// A length of time in milliseconds.
    Millis
}
number_type! {
    /// Whole seconds since 1970-01-01T00:00:00Z, without leap seconds.
    UnixSeconds
}
number_type! {
    /// An amount of a ledger unit. Never negative, never a fraction.
    Amount
}

impl UnixMillis {
    /// The same instant in whole seconds, rounded down.
    pub const fn seconds(self) -> UnixSeconds {
        UnixSeconds(self.0 / 1000)
    }

    /// This instant plus `millis`, or the end of the range.
    pub const fn saturating_add(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this instant, zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

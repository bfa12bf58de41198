//! What can be wrong with a JSON text.

use std::fmt;

/// What is wrong with a text, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    pub(super) fault: Fault,
    pub(super) offset: usize,
}

impl JsonError {
    /// The kind of fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The byte offset where the fault was noticed.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// A stable code for peers and users.
    pub fn code(&self) -> &'static str {
        self.fault.code()
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.fault.description(), self.offset)
    }
}

impl std::error::Error for JsonError {}

/// The kinds of fault a scan tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// U+FEFF before the text.
    ByteOrderMark,
    /// A raw character below U+0020 in a string.
    ControlCharacter,
    /// Two members of one object with the same name.
    DuplicateMember,
    /// Not in the grammar of RFC 8259.
    InvalidJson,
    /// Not UTF-8.
    InvalidUtf8,
    /// An escaped surrogate without its pair.
    LoneSurrogate,
    /// A number too large for a double.
    NumberOutOfRange,
    /// Containers nested deeper than [`super::MAX_DEPTH`].
    TooDeep,
    /// Longer than the limit.
    TooLarge,
    /// Something other than whitespace after the value.
    TrailingData,
}

impl Fault {
    /// A stable code for peers and users.
    pub fn code(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "byte_order_mark",
            Self::ControlCharacter => "control_character",
            Self::DuplicateMember => "duplicate_member",
            Self::InvalidJson => "invalid_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::LoneSurrogate => "lone_surrogate",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::TrailingData => "trailing_data",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "a byte order mark",
            Self::ControlCharacter => "an unescaped control character in a string",
            Self::DuplicateMember => "a member name that occurs twice in one object",
            Self::InvalidJson => "not valid JSON",
            Self::InvalidUtf8 => "not valid UTF-8",
            Self::LoneSurrogate => "an escaped surrogate without its pair",
            Self::NumberOutOfRange => "a number too large for a double",
            Self::TooDeep => "nested too deeply",
            Self::TooLarge => "longer than the limit",
            Self::TrailingData => "something after the JSON value",
        }
    }
}

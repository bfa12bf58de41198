//! A strict one-pass JSON scanner which finds where members lie instead of building values.
//!
//! It accepts RFC 8259 texts in UTF-8 and refuses, anywhere in the text, what two parsers read
//! in two ways: member names that occur twice in one object (compared after unescaping), lone
//! surrogates, a byte order mark, numbers too large for a double, nesting beyond [`MAX_DEPTH`].
//! The caller says below which names members are recorded; all else is checked and skipped.

use std::borrow::Cow;
use std::ops::Range;

pub use self::fault::{Fault, JsonError};
pub use self::scanner::scan;
pub use self::text::unescape;

use self::text::Name;

mod fault;
mod scanner;
mod text;

/// How many containers may be nested in each other.
///
/// One less than where `serde_json` stops, so that what passes here can be decoded there.
pub const MAX_DEPTH: usize = 127;

/// The size limit for one message unless the caller chooses another, in bytes.
pub const DEFAULT_MAX_BYTES: usize = 4 * 1024 * 1024;

/// For each level, counted from the top, the names of the members whose own members are recorded.
///
/// The members of the top-level object are always recorded. `&[&["params"], &["_meta"]]` records
/// also those of `params` and those of `params._meta`.
pub type Descend = &'static [&'static [&'static str]];

/// A range of bytes in the scanned text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The offset of the first byte.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// The offset after the last byte.
    pub fn end(self) -> usize {
        self.end as usize
    }

    /// The span as a range of indices.
    pub fn range(self) -> Range<usize> {
        self.start()..self.end()
    }

    /// The bytes of the span in `text`; empty if `text` is not the scanned one and too short.
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.range()).unwrap_or_default()
    }

    fn new(start: usize, end: usize) -> Self {
        // INVARIANT: `scan` refuses texts whose length does not fit.
        Self {
            start: start as u32,
            end: end as u32,
        }
    }
}

/// What kind of value a span holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[...]`
    Array,
    /// `true` or `false`
    Boolean,
    /// `null`
    Null,
    /// A number in RFC 8259 grammar.
    Number,
    /// `{...}`
    Object,
    /// A string; the span includes the quotes.
    String,
}

/// A value: its kind and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// The kind of value.
    pub kind: Kind,
    /// Where it lies; without surrounding whitespace.
    pub span: Span,
}

impl Value {
    /// The text of a string value, unescaped; `None` for other kinds.
    pub fn as_text<'t>(&self, text: &'t [u8]) -> Option<Cow<'t, str>> {
        if self.kind != Kind::String {
            return None;
        }
        let quoted = self.span.of(text);
        Some(unescape(quoted.get(1..quoted.len().saturating_sub(1))?))
    }
}

/// A recorded member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    name: Name,
    parent: Parent,
    value: Value,
}

impl Member {
    /// Where the name lies, quotes included.
    pub fn name(&self) -> Span {
        Span::new(
            self.name.span.start().saturating_sub(1),
            self.name.span.end().saturating_add(1),
        )
    }

    /// The member's value.
    pub fn value(&self) -> Value {
        self.value
    }

    /// The name without its quotes, unescaped, in UTF-8.
    pub fn unescaped_name<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        self.name.decoded(text)
    }

    /// Whether the name, unescaped, is `wanted`.
    pub fn is_named(&self, text: &[u8], wanted: &str) -> bool {
        self.name.is(text, wanted)
    }
}

/// The object that a recorded member belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent(u32);

impl Parent {
    /// The top-level object.
    pub const TOP: Self = Self(u32::MAX);
}

/// What a scan found: the top-level value and the recorded members, in the order of the text.
#[derive(Clone, Debug)]
pub struct Outline {
    members: Vec<Member>,
    top: Value,
}

impl Outline {
    /// The top-level value.
    pub fn top(&self) -> Value {
        self.top
    }

    /// The recorded members of one object.
    pub fn members_of(&self, parent: Parent) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(move |member| member.parent == parent)
    }

    /// The member of `parent` with this name and, as a parent itself, its place in the outline.
    pub fn find(&self, text: &[u8], parent: Parent, name: &str) -> Option<(Parent, &Member)> {
        self.members
            .iter()
            .enumerate()
            .find(|(_, member)| member.parent == parent && member.is_named(text, name))
            .map(|(index, member)| (Parent(index as u32), member))
    }

    /// The value at a path of member names, from the top.
    pub fn at(&self, text: &[u8], path: &[&str]) -> Option<Value> {
        let mut parent = Parent::TOP;
        let mut found = self.top;
        for name in path {
            let (next, member) = self.find(text, parent, name)?;
            parent = next;
            found = member.value;
        }
        Some(found)
    }
}

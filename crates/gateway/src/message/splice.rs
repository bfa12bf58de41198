//! Adding one member to a message and taking it out again, byte for byte.
//!
//! Gateways carry each other's records in the member [`EVIDENCE_KEY`]: of `params._meta` in
//! requests, of `result._meta` in results and, since errors have no `_meta`, of `error.data`.
//! The member always comes first in its object. Its value is the caller's object with a first
//! member `"meta"` that says what stood there before, so that removal never guesses:
//!
//! | before | `"meta"` | after |
//! |---|---|---|
//! | `{"a":1}` | `added` | `{"_meta":{KEY:VALUE},"a":1}` |
//! | `{"_meta":{"b":2}}` | `extended` | `{"_meta":{KEY:VALUE,"b":2}}` |
//! | `{"_meta":null}` | `was_null` | `{"_meta":{KEY:VALUE}}` |
//! | `{"data":"text"}` in errors only | `wrapped` | `{"data":{KEY:VALUE,"value":"text"}}` |
//! | `"result":null`, in A2A only | `was_nothing` | `"result":{"metadata":{KEY:VALUE}}` |
//!
//! A2A has other places and another key for the same: see [`Dialect`].
//!
//! All other bytes stay as they are. [`take`] puts the member back into what it extracted and
//! refuses unless that gives the bytes it received: only [`insert`]'s own form is accepted.

use bytes::Bytes;

use super::envelope::{Body, Message};
use super::json::{self, Kind, Outline, Parent, Span, Value};

/// The name of the member that carries records between gateways.
pub const EVIDENCE_KEY: &str = "dev.counterfoil/evidence";
/// The URI of the A2A extension, which is also the name of the member in A2A messages.
pub const A2A_EXTENSION: &str = "https://counterfoil.dev/a2a/evidence/v1";

/// Which protocol a message is of: where the member belongs, and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The Model Context Protocol: `_meta`.
    Mcp,
    /// A2A: `metadata` of the parameters, of the task, message or event in a result, or of the
    /// result itself.
    A2a,
}

impl Dialect {
    const fn key(self) -> &'static str {
        match self {
            Self::Mcp => EVIDENCE_KEY,
            Self::A2a => A2A_EXTENSION,
        }
    }

    const fn carrier(self) -> &'static str {
        match self {
            Self::Mcp => "_meta",
            Self::A2a => "metadata",
        }
    }

    /// As [`is_present`].
    pub fn is_present(self, message: &Message) -> bool {
        Place::of(message, self).is_ok_and(|place| place.evidence().is_some())
    }

    /// As [`check_room`].
    ///
    /// # Errors
    /// [`SpliceError::Present`] or [`SpliceError::CannotCarry`].
    pub fn check_room(self, message: &Message) -> Result<(), SpliceError> {
        let place = Place::of(message, self)?;
        if place.evidence().is_some() {
            return Err(SpliceError::Present);
        }
        place.mode().map(|_| ())
    }
}

/// The members of an A2A result one of which holds what it is about.
const A2A_PAYLOADS: [&str; 4] = ["artifactUpdate", "message", "statusUpdate", "task"];

/// A message and what was taken out of it.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The message as it was before the member was added.
    pub message: Message,
    /// The member's value as it was given to [`insert`]; `None` if the message carried none.
    pub evidence: Option<Bytes>,
}

/// Why a member cannot be added or taken out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// The message has no place for it.
    #[error("the message cannot carry evidence: {0}")]
    CannotCarry(&'static str),
    /// The value to add does not fit.
    #[error("the evidence to add does not fit: {0}")]
    InvalidEvidence(&'static str),
    /// The message carries the member in a form that [`insert`] does not produce.
    #[error("the evidence member is not in the form gateways write: {0}")]
    Malformed(&'static str),
    /// The message carries the member before it was added: it may not be forged.
    #[error("the message already carries evidence, which only a gateway may write")]
    Present,
}

impl SpliceError {
    /// A stable code for peers and users.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CannotCarry(_) => "cannot_carry_evidence",
            Self::InvalidEvidence(_) => "evidence_invalid",
            Self::Malformed(_) => "evidence_malformed",
            Self::Present => "evidence_member_present",
        }
    }
}

/// Whether the message carries the member, in whatever form.
pub fn is_present(message: &Message) -> bool {
    Dialect::Mcp.is_present(message)
}

/// Whether [`insert`] can add the member to the message.
///
/// # Errors
/// [`SpliceError::Present`] or [`SpliceError::CannotCarry`].
pub fn check_room(message: &Message) -> Result<(), SpliceError> {
    Dialect::Mcp.check_room(message)
}

/// The message with `evidence`, a JSON object in one line without a member `meta`, added to it.
pub fn insert(message: &Message, evidence: &[u8]) -> Result<Bytes, SpliceError> {
    Dialect::Mcp.insert(message, evidence)
}

/// The message as it was before [`insert`], and what was inserted.
///
/// A message without the member comes back as it is.
pub fn take(message: Message) -> Result<Taken, SpliceError> {
    Dialect::Mcp.take(message)
}

impl Dialect {
    /// As [`insert`].
    ///
    /// # Errors
    /// As [`insert`].
    pub fn insert(self, message: &Message, evidence: &[u8]) -> Result<Bytes, SpliceError> {
        let place = Place::of(message, self)?;
        if place.evidence().is_some() {
            return Err(SpliceError::Present);
        }
        let inside = evidence_members(evidence)?;
        let bytes = message.bytes();
        let (mode, replaced) = place.mode()?;
        let mut out = Vec::with_capacity(bytes.len() + evidence.len() + 96);
        let mut value = Vec::with_capacity(evidence.len() + 24);
        value.extend_from_slice(b"{\"meta\":\"");
        value.extend_from_slice(mode.as_str().as_bytes());
        value.push(b'"');
        if !inside.is_empty() {
            value.push(b',');
        }
        value.extend_from_slice(inside);
        value.push(b'}');

        out.extend_from_slice(bytes.get(..replaced.0).unwrap_or_default());
        if mode == Mode::WasNothing {
            out.push(b'{');
        }
        if matches!(mode, Mode::Added | Mode::WasNothing) {
            push_name(&mut out, place.carrier);
        }
        if mode != Mode::Extended {
            out.push(b'{');
        }
        push_name(&mut out, self.key());
        out.extend_from_slice(&value);
        match mode {
            Mode::Added => out.push(b'}'),
            Mode::Extended => {}
            Mode::WasNull => out.push(b'}'),
            Mode::WasNothing => out.extend_from_slice(b"}}"),
            Mode::Wrapped => {
                out.push(b',');
                push_name(&mut out, WRAPPED_NAME);
                out.extend_from_slice(bytes.get(replaced.0..replaced.1).unwrap_or_default());
                out.push(b'}');
            }
        }
        if place.has_siblings(mode) {
            out.push(b',');
        }
        out.extend_from_slice(bytes.get(replaced.1..).unwrap_or_default());
        Ok(out.into())
    }

    /// As [`take`].
    ///
    /// # Errors
    /// As [`take`].
    pub fn take(self, message: Message) -> Result<Taken, SpliceError> {
        let Ok(place) = Place::of(&message, self) else {
            return Ok(Taken {
                message,
                evidence: None,
            });
        };
        let Some((_, member)) = place.evidence() else {
            return Ok(Taken {
                message,
                evidence: None,
            });
        };
        let (mode, evidence) = open_evidence(member.value(), message.bytes())?;
        let (removed, put_back) = place.removal(mode, member.name(), member.value())?;
        let bytes = message.bytes();
        let mut original = Vec::with_capacity(bytes.len());
        original.extend_from_slice(bytes.get(..removed.0).unwrap_or_default());
        original.extend_from_slice(put_back);
        original.extend_from_slice(bytes.get(removed.1..).unwrap_or_default());

        let restored = Message::from_bytes(original.into(), bytes.len())
            .map_err(|_| SpliceError::Malformed("what remains without it is not a message"))?;
        match self.insert(&restored, &evidence) {
            Ok(again) if again == *bytes => Ok(Taken {
                message: restored,
                evidence: Some(evidence.into()),
            }),
            _ => Err(SpliceError::Malformed(
                "it does not come back the same when added again",
            )),
        }
    }
}

const WRAPPED_NAME: &str = "value";

/// What stood in the member's place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Added,
    Extended,
    WasNull,
    WasNothing,
    Wrapped,
}

impl Mode {
    const ALL: [Self; 5] = [
        Self::Added,
        Self::Extended,
        Self::WasNull,
        Self::WasNothing,
        Self::Wrapped,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Extended => "extended",
            Self::WasNull => "was_null",
            Self::WasNothing => "was_nothing",
            Self::Wrapped => "wrapped",
        }
    }
}

/// Where in a message the member belongs.
struct Place<'m> {
    bytes: &'m [u8],
    outline: &'m Outline,
    /// `params`, `result` or `error`.
    container: (Parent, Value),
    /// The name of the object in the container that holds the member: `_meta`, `metadata` or
    /// `data`.
    carrier: &'static str,
    /// The member's name.
    key: &'static str,
}

impl<'m> Place<'m> {
    fn of(message: &'m Message, dialect: Dialect) -> Result<Self, SpliceError> {
        let carrier = dialect.carrier();
        let (name, carrier, missing) = match message.body() {
            Body::Request { .. } | Body::Notification { .. } => {
                ("params", carrier, "it has no `params`")
            }
            Body::Result { .. } => ("result", carrier, "it has no `result`"),
            Body::Error { .. } => ("error", "data", "it has no `error`"),
        };
        let bytes = message.bytes();
        let outline = message.outline();
        let (parent, member) = outline
            .find(bytes, Parent::TOP, name)
            .ok_or(SpliceError::CannotCarry(missing))?;
        let mut container = (parent, member.value());
        if dialect == Dialect::A2a && name == "result" {
            let payloads = A2A_PAYLOADS.iter().filter_map(|name| {
                let (parent, member) = outline.find(bytes, parent, name)?;
                let value = member.value();
                (value.kind == Kind::Object).then_some((parent, value))
            });
            container = payloads.last().unwrap_or(container);
        }
        let is_nothing = dialect == Dialect::A2a && container.1.kind == Kind::Null;
        if container.1.kind != Kind::Object && !(is_nothing && name == "result") {
            return Err(SpliceError::CannotCarry("its `result` is not an object"));
        }
        Ok(Self {
            bytes,
            outline,
            container,
            carrier,
            key: dialect.key(),
        })
    }

    fn carrier(&self) -> Option<(Parent, Value)> {
        let (parent, member) = self
            .outline
            .find(self.bytes, self.container.0, self.carrier)?;
        Some((parent, member.value()))
    }

    fn evidence(&self) -> Option<(Parent, &'m json::Member)> {
        self.outline.find(self.bytes, self.carrier()?.0, self.key)
    }

    /// What is there now, and the range of bytes that the member replaces.
    fn mode(&self) -> Result<(Mode, (usize, usize)), SpliceError> {
        if self.container.1.kind == Kind::Null {
            let span = self.container.1.span;
            return Ok((Mode::WasNothing, (span.start(), span.end())));
        }
        let Some((_, carrier)) = self.carrier() else {
            let inside = self.container.1.span.start() + 1;
            return Ok((Mode::Added, (inside, inside)));
        };
        let whole = (carrier.span.start(), carrier.span.end());
        match carrier.kind {
            Kind::Object => Ok((Mode::Extended, (whole.0 + 1, whole.0 + 1))),
            Kind::Null => Ok((Mode::WasNull, whole)),
            _ if self.carrier == "data" => Ok((Mode::Wrapped, whole)),
            _ => Err(SpliceError::CannotCarry(
                "its `_meta` or `metadata` is not an object",
            )),
        }
    }

    /// Whether other members follow the added one in its object.
    fn has_siblings(&self, mode: Mode) -> bool {
        match mode {
            Mode::Added => self.outline.members_of(self.container.0).next().is_some(),
            Mode::Extended => self
                .carrier()
                .is_some_and(|(parent, _)| self.outline.members_of(parent).next().is_some()),
            Mode::WasNull | Mode::WasNothing | Mode::Wrapped => false,
        }
    }

    /// The range to cut out when the member at `name` and `value` was added in this mode, and
    /// what stood there.
    fn removal(
        &self,
        mode: Mode,
        name: Span,
        value: Value,
    ) -> Result<((usize, usize), &'m [u8]), SpliceError> {
        let Some((parent, carrier)) = self.carrier() else {
            return Err(SpliceError::Malformed("its carrier is gone"));
        };
        let cut = match mode {
            Mode::Added => (
                self.container.1.span.start() + 1,
                self.after_comma(carrier.span.end()),
            ),
            Mode::Extended => (name.start(), self.after_comma(value.span.end())),
            Mode::WasNull => return Ok(((carrier.span.start(), carrier.span.end()), b"null")),
            Mode::WasNothing => {
                let whole = self.container.1.span;
                return Ok(((whole.start(), whole.end()), b"null"));
            }
            Mode::Wrapped => {
                let wrapped = self.outline.find(self.bytes, parent, WRAPPED_NAME);
                let Some((_, wrapped)) = wrapped else {
                    return Err(SpliceError::Malformed(
                        "it says `wrapped` and wraps nothing",
                    ));
                };
                let wrapped = wrapped.value().span.of(self.bytes);
                return Ok(((carrier.span.start(), carrier.span.end()), wrapped));
            }
        };
        Ok((cut, b""))
    }

    fn after_comma(&self, at: usize) -> usize {
        if self.bytes.get(at) == Some(&b',') {
            at + 1
        } else {
            at
        }
    }
}

/// What stands between the braces of an object that may be added.
fn evidence_members(evidence: &[u8]) -> Result<&[u8], SpliceError> {
    let outline = json::scan(evidence, json::DEFAULT_MAX_BYTES, &[])
        .map_err(|_| SpliceError::InvalidEvidence("it is not valid JSON"))?;
    let top = outline.top();
    if top.kind != Kind::Object || top.span.range() != (0..evidence.len()) {
        return Err(SpliceError::InvalidEvidence(
            "it is not an object without space around it",
        ));
    }
    if evidence.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err(SpliceError::InvalidEvidence("it is longer than one line"));
    }
    if outline.find(evidence, Parent::TOP, "meta").is_some() {
        return Err(SpliceError::InvalidEvidence("it has a member `meta`"));
    }
    let inside = evidence.get(1..evidence.len() - 1).unwrap_or_default();
    let is_empty = outline.members_of(Parent::TOP).next().is_none();
    if is_empty && !inside.is_empty() {
        return Err(SpliceError::InvalidEvidence("it is empty but for space"));
    }
    Ok(inside)
}

/// The mode that an evidence value states, and the value without that statement.
fn open_evidence(value: Value, bytes: &[u8]) -> Result<(Mode, Vec<u8>), SpliceError> {
    let text = value.span.of(bytes);
    Mode::ALL
        .into_iter()
        .find_map(|mode| {
            let rest = text.strip_prefix(b"{\"meta\":\"")?;
            let rest = rest
                .strip_prefix(mode.as_str().as_bytes())?
                .strip_prefix(b"\"")?;
            let rest = if rest == b"}" {
                rest
            } else {
                rest.strip_prefix(b",")?
            };
            Some((mode, [b"{", rest].concat()))
        })
        .ok_or(SpliceError::Malformed(
            "its first member is not `meta` with a known value",
        ))
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

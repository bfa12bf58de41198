//! The scanner itself.

use super::text::{Name, four_hex, is_high_surrogate, is_low_surrogate};
use super::{Descend, Fault, JsonError, Kind, MAX_DEPTH, Member, Outline, Parent, Span, Value};

/// The names of objects with up to this many members are compared pairwise, unless some have
/// escapes; others are unescaped once and sorted.
const PAIRWISE: usize = 12;

/// Scans `text`, at most `max_bytes` long, and records the members that `descend` asks for.
pub fn scan(text: &[u8], max_bytes: usize, descend: Descend) -> Result<Outline, JsonError> {
    let limit = max_bytes.min(u32::MAX as usize - 1);
    if text.len() > limit {
        return Err(JsonError {
            fault: Fault::TooLarge,
            offset: limit,
        });
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError {
            fault: Fault::ByteOrderMark,
            offset: 0,
        });
    }
    if let Err(error) = std::str::from_utf8(text) {
        return Err(JsonError {
            fault: Fault::InvalidUtf8,
            offset: error.valid_up_to(),
        });
    }
    let mut scanner = Scanner {
        text,
        at: 0,
        has_control_characters: text
            .iter()
            .fold(false, |found, byte| found | (*byte < 0x20)),
        names: Vec::with_capacity(16),
        members: Vec::with_capacity(16),
        descend,
    };
    scanner.skip_whitespace();
    let top = scanner.value(0, Some(Parent::TOP), 0)?;
    scanner.skip_whitespace();
    if scanner.at < text.len() {
        return Err(scanner.fault(Fault::TrailingData));
    }
    Ok(Outline {
        members: scanner.members,
        top,
    })
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    /// Whether to look for them in strings. Most messages have none, not even as whitespace.
    has_control_characters: bool,
    /// The names of the objects that are open, outermost first.
    names: Vec<Name>,
    members: Vec<Member>,
    descend: Descend,
}

impl Scanner<'_> {
    /// `depth`: open containers. `record`: the parent to record members under, if any, and
    /// `level`, its place in `descend`.
    fn value(
        &mut self,
        depth: usize,
        record: Option<Parent>,
        level: usize,
    ) -> Result<Value, JsonError> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => {
                self.string()?;
                Kind::String
            }
            Some(b'{') => {
                self.object(depth, record, level)?;
                Kind::Object
            }
            Some(b'[') => {
                self.array(depth)?;
                Kind::Array
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Kind::Number
            }
            Some(b't') => self.literal(b"true", Kind::Boolean)?,
            Some(b'f') => self.literal(b"false", Kind::Boolean)?,
            Some(b'n') => self.literal(b"null", Kind::Null)?,
            _ => return Err(self.fault(Fault::InvalidJson)),
        };
        Ok(Value {
            kind,
            span: Span::new(start, self.at),
        })
    }

    fn object(
        &mut self,
        depth: usize,
        record: Option<Parent>,
        level: usize,
    ) -> Result<(), JsonError> {
        self.enter(depth)?;
        let first_name = self.names.len();
        self.skip_whitespace();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.fault(Fault::InvalidJson));
            }
            let name = self.string()?;
            self.names.push(name);
            self.skip_whitespace();
            if !self.take(b':') {
                return Err(self.fault(Fault::InvalidJson));
            }
            self.skip_whitespace();
            self.member(depth, record, level, name)?;
            self.skip_whitespace();
            if self.take(b',') {
                self.skip_whitespace();
            } else if self.take(b'}') {
                break;
            } else {
                return Err(self.fault(Fault::InvalidJson));
            }
        }
        self.refuse_duplicates(first_name)?;
        self.names.truncate(first_name);
        Ok(())
    }

    fn member(
        &mut self,
        depth: usize,
        record: Option<Parent>,
        level: usize,
        name: Name,
    ) -> Result<(), JsonError> {
        let Some(parent) = record else {
            self.value(depth + 1, None, level)?;
            return Ok(());
        };
        let index = self.members.len();
        let value = Value {
            kind: Kind::Null,
            span: Span::new(self.at, self.at),
        };
        self.members.push(Member {
            name,
            parent,
            value,
        });
        let wanted = self
            .descend
            .get(level)
            .is_some_and(|names| names.iter().any(|wanted| name.is(self.text, wanted)));
        let below = wanted.then_some(Parent(index as u32));
        let value = self.value(depth + 1, below, level + 1)?;
        if let Some(member) = self.members.get_mut(index) {
            member.value = value;
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        self.enter(depth)?;
        self.skip_whitespace();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1, None, 0)?;
            self.skip_whitespace();
            if self.take(b',') {
                self.skip_whitespace();
            } else if self.take(b']') {
                return Ok(());
            } else {
                return Err(self.fault(Fault::InvalidJson));
            }
        }
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= MAX_DEPTH {
            return Err(self.fault(Fault::TooDeep));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<Name, JsonError> {
        self.at += 1;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(plain) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return Err(self.fault(Fault::InvalidJson));
            };
            if self.has_control_characters {
                let control = rest.iter().take(plain).position(|byte| *byte < 0x20);
                if let Some(control) = control {
                    self.at += control;
                    return Err(self.fault(Fault::ControlCharacter));
                }
            }
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    let span = Span::new(start, self.at);
                    self.at += 1;
                    return Ok(Name { span, has_escapes });
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                _ => return Err(self.fault(Fault::InvalidJson)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let unit = self.code_unit()?;
                let lone = JsonError {
                    fault: Fault::LoneSurrogate,
                    offset: start,
                };
                if is_low_surrogate(unit) {
                    return Err(lone);
                }
                if is_high_surrogate(unit) {
                    if !self
                        .text
                        .get(self.at..)
                        .unwrap_or_default()
                        .starts_with(b"\\u")
                    {
                        return Err(lone);
                    }
                    self.at += 1;
                    if !is_low_surrogate(self.code_unit()?) {
                        return Err(lone);
                    }
                }
                Ok(())
            }
            _ => Err(self.fault(Fault::InvalidJson)),
        }
    }

    /// Reads `uXXXX` at the current place.
    fn code_unit(&mut self) -> Result<u32, JsonError> {
        self.at += 1;
        let digits = self.text.get(self.at..).unwrap_or_default();
        let unit = four_hex(digits).ok_or_else(|| self.fault(Fault::InvalidJson))?;
        self.at += 4;
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        let mut may_overflow = self.at - start > 300;
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
            may_overflow = true;
        }
        if may_overflow {
            let digits = self.text.get(start..self.at).unwrap_or_default();
            let value = std::str::from_utf8(digits)
                .ok()
                .and_then(|text| text.parse::<f64>().ok());
            if !value.is_some_and(f64::is_finite) {
                return Err(JsonError {
                    fault: Fault::NumberOutOfRange,
                    offset: start,
                });
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.fault(Fault::InvalidJson));
        }
        self.at += count;
        Ok(())
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Result<Kind, JsonError> {
        if !self
            .text
            .get(self.at..)
            .unwrap_or_default()
            .starts_with(word)
        {
            return Err(self.fault(Fault::InvalidJson));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn refuse_duplicates(&self, first_name: usize) -> Result<(), JsonError> {
        let names = self.names.get(first_name..).unwrap_or_default();
        let is_simple = names.len() <= PAIRWISE && names.iter().all(|name| !name.has_escapes);
        let duplicate = if is_simple {
            names.iter().enumerate().find_map(|(index, name)| {
                let earlier = names.get(..index).unwrap_or_default();
                earlier
                    .iter()
                    .any(|other| other.span.of(self.text) == name.span.of(self.text))
                    .then_some(name.span)
            })
        } else {
            let mut sorted: Vec<_> = names
                .iter()
                .map(|name| (name.decoded(self.text), name.span))
                .collect();
            sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.start.cmp(&b.1.start)));
            sorted.windows(2).find_map(|pair| match pair {
                [a, b] if a.0 == b.0 => Some(b.1),
                _ => None,
            })
        };
        match duplicate {
            Some(span) => Err(JsonError {
                fault: Fault::DuplicateMember,
                offset: span.start(),
            }),
            None => Ok(()),
        }
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += 1;
        }
        found
    }

    #[cold]
    fn fault(&self, fault: Fault) -> JsonError {
        JsonError {
            fault,
            offset: self.at,
        }
    }
}

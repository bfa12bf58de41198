//! Reads texts out of parameters, for the target patterns of a contract.
//!
//! Whoever shapes the parameters must not be able to show the contract one text and the tool
//! another. So whatever two JSON readers could take in two ways is refused: a name that stands
//! twice in an object, a lone surrogate, a byte order mark, and, beside a name that a pointer
//! leads through, another one that differs only in case.
//!
//! Spec: contracts §2.

use std::borrow::Cow;

use super::pattern::Pointer;

/// How deeply objects and arrays may nest: as deeply as the gateways let them.
const MAX_DEPTH: usize = 127;

/// What a pointer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A string.
    Text(String),
    /// Nothing.
    Missing,
    /// Something other than a string.
    NoText,
    /// A value beside whose name, or one that leads to it, another differs only in case.
    Ambiguous,
}

/// Reads the whole text and says what each pointer leads to.
///
/// # Errors
/// What is wrong with the text, when it is not JSON that every parser reads alike.
pub(super) fn read(json: &[u8], pointers: &[&Pointer]) -> Result<Vec<Found>, &'static str> {
    let text = core::str::from_utf8(json).map_err(|_| "not UTF-8")?;
    let mut reader = Reader {
        text,
        at: 0,
        pointers,
        found: vec![Found::Missing; pointers.len()],
    };
    let all: Vec<usize> = (0..pointers.len()).collect();
    reader.blanks();
    reader.value(0, &all)?;
    reader.blanks();
    if reader.at == text.len() {
        Ok(reader.found)
    } else {
        Err("something after the JSON value")
    }
}

struct Reader<'t, 'p> {
    text: &'t str,
    at: usize,
    pointers: &'p [&'p Pointer],
    found: Vec<Found>,
}

const INVALID: &str = "not valid JSON";

impl<'t> Reader<'t, '_> {
    /// Reads a value inside of `depth` others; `wanted` are the pointers that lead here or further.
    fn value(&mut self, depth: usize, wanted: &[usize]) -> Result<(), &'static str> {
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                self.note(depth, wanted, || Found::Text(text.clone().into_owned()));
                return Ok(());
            }
            Some(b'{') => self.object(depth, wanted)?,
            Some(b'[') => self.array(depth, wanted)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal("true")?,
            Some(b'f') => self.literal("false")?,
            Some(b'n') => self.literal("null")?,
            _ => return Err(INVALID),
        }
        self.note(depth, wanted, || Found::NoText);
        Ok(())
    }

    /// Notes what was found for the pointers that end here.
    fn note(&mut self, depth: usize, wanted: &[usize], found: impl Fn() -> Found) {
        for &index in wanted {
            let ends = self
                .pointers
                .get(index)
                .is_some_and(|pointer| pointer.steps().len() == depth);
            if let Some(slot) = self.found.get_mut(index)
                && ends
                && *slot != Found::Ambiguous
            {
                *slot = found();
            }
        }
    }

    fn object(&mut self, depth: usize, wanted: &[usize]) -> Result<(), &'static str> {
        self.enter(depth)?;
        let mut names: Vec<Cow<'t, str>> = Vec::new();
        self.blanks();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(INVALID);
            }
            let name = self.string()?;
            self.blanks();
            if !self.take(b':') {
                return Err(INVALID);
            }
            self.blanks();
            let inside = self.lead_through(depth, wanted, &name);
            self.value(depth + 1, &inside)?;
            names.push(name);
            self.blanks();
            if self.take(b'}') {
                break;
            }
            if !self.take(b',') {
                return Err(INVALID);
            }
            self.blanks();
        }
        names.sort_unstable();
        if names
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a == b))
        {
            return Err("a name that stands twice in one object");
        }
        Ok(())
    }

    /// The pointers that lead through the member `name`. Those that a reader which does not mind
    /// case would take there become ambiguous.
    fn lead_through(&mut self, depth: usize, wanted: &[usize], name: &str) -> Vec<usize> {
        let mut inside = Vec::new();
        for &index in wanted {
            let step = self
                .pointers
                .get(index)
                .and_then(|pointer| pointer.steps().get(depth));
            if step.is_some_and(|step| step == name) {
                inside.push(index);
            } else if step.is_some_and(|step| same_but_for_case(step, name))
                && let Some(slot) = self.found.get_mut(index)
            {
                *slot = Found::Ambiguous;
            }
        }
        inside
    }

    fn array(&mut self, depth: usize, wanted: &[usize]) -> Result<(), &'static str> {
        self.enter(depth)?;
        self.blanks();
        if self.take(b']') {
            return Ok(());
        }
        for position in 0_usize.. {
            let inside: Vec<usize> = if wanted.is_empty() {
                Vec::new()
            } else {
                // RFC 6901 §4: an index is decimal digits without leading zeroes.
                let position = position.to_string();
                let leads = |index: &&usize| {
                    let step = self
                        .pointers
                        .get(**index)
                        .and_then(|pointer| pointer.steps().get(depth));
                    step == Some(&position)
                };
                wanted.iter().filter(leads).copied().collect()
            };
            self.value(depth + 1, &inside)?;
            self.blanks();
            if self.take(b']') {
                break;
            }
            if !self.take(b',') {
                return Err(INVALID);
            }
            self.blanks();
        }
        Ok(())
    }

    fn enter(&mut self, depth: usize) -> Result<(), &'static str> {
        self.at += 1;
        if depth < MAX_DEPTH {
            Ok(())
        } else {
            Err("nested too deeply")
        }
    }

    /// Reads a string, of which the opening quote is next.
    fn string(&mut self) -> Result<Cow<'t, str>, &'static str> {
        self.at += 1;
        let mut start = self.at;
        let mut decoded: Option<String> = None;
        loop {
            match self.peek().ok_or(INVALID)? {
                b'"' => {
                    let rest = self.text.get(start..self.at).ok_or(INVALID)?;
                    self.at += 1;
                    return Ok(match decoded {
                        None => Cow::Borrowed(rest),
                        Some(decoded) => Cow::Owned(decoded + rest),
                    });
                }
                b'\\' => {
                    let before = self.text.get(start..self.at).ok_or(INVALID)?;
                    self.at += 1;
                    let letter = self.escape()?;
                    let decoded = decoded.get_or_insert_default();
                    decoded.push_str(before);
                    decoded.push(letter);
                    start = self.at;
                }
                0..=0x1f => return Err("an unescaped control character in a string"),
                _ => self.at += 1,
            }
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<char, &'static str> {
        let letter = self.peek().ok_or(INVALID)?;
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(INVALID),
        })
    }

    fn unicode(&mut self) -> Result<char, &'static str> {
        const LONE: &str = "an escaped surrogate without its pair";
        let first = self.four_digits()?;
        let second = if (0xd800..0xdc00).contains(&first) {
            if !(self.take(b'\\') && self.take(b'u')) {
                return Err(LONE);
            }
            Some(self.four_digits()?)
        } else {
            None
        };
        let point = match second {
            None => first,
            Some(second) if (0xdc00..0xe000).contains(&second) => {
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            Some(_) => return Err(LONE),
        };
        char::from_u32(point).ok_or(LONE)
    }

    fn four_digits(&mut self) -> Result<u32, &'static str> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(INVALID)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(INVALID);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| INVALID)
    }

    fn number(&mut self) -> Result<(), &'static str> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), &'static str> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err(INVALID)
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), &'static str> {
        let end = self.at + word.len();
        if self.text.get(self.at..end) == Some(word) {
            self.at = end;
            Ok(())
        } else {
            Err(INVALID)
        }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// Whether two names that differ are one to a reader that does not mind case. Beside the letters of
/// ASCII there are two others that such readers take for one of them: the long s and the sign of
/// the kelvin.
fn same_but_for_case(a: &str, b: &str) -> bool {
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    };
    a.chars().map(fold).eq(b.chars().map(fold))
}

#[cfg(test)]
mod tests;

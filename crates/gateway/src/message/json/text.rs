//! Strings as they stand in a scanned text.

use std::borrow::Cow;

use super::Span;

/// Unescapes the inside of a string that a scan has accepted.
pub fn unescape(raw: &[u8]) -> Cow<'_, str> {
    let Some(first) = raw.iter().position(|byte| *byte == b'\\') else {
        return String::from_utf8_lossy(raw);
    };
    let mut out = Vec::with_capacity(raw.len());
    out.extend_from_slice(raw.get(..first).unwrap_or_default());
    let mut rest = raw.get(first..).unwrap_or_default();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let Some((escape, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        match escape {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let mut unit = four_hex(rest).unwrap_or(0xfffd);
                rest = rest.get(4..).unwrap_or_default();
                if is_high_surrogate(unit) {
                    let low = rest.get(2..).and_then(four_hex).unwrap_or(0xdc00);
                    rest = rest.get(6..).unwrap_or_default();
                    unit = 0x1_0000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
                }
                let character = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => out.push(*other),
        }
    }
    Cow::Owned(
        String::from_utf8(out)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// A member name, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) span: Span,
    pub(super) has_escapes: bool,
}

impl Name {
    pub(super) fn decoded<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let raw = self.span.of(text);
        if !self.has_escapes {
            return Cow::Borrowed(raw);
        }
        Cow::Owned(unescape(raw).into_owned().into_bytes())
    }

    pub(super) fn is(&self, text: &[u8], wanted: &str) -> bool {
        if self.has_escapes {
            unescape(self.span.of(text)) == wanted
        } else {
            self.span.of(text) == wanted.as_bytes()
        }
    }
}

pub(super) fn is_high_surrogate(unit: u32) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

pub(super) fn is_low_surrogate(unit: u32) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

pub(super) fn four_hex(digits: &[u8]) -> Option<u32> {
    digits.get(..4)?.iter().try_fold(0, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some((unit << 4) | value)
    })
}

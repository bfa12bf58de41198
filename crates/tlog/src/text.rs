//! The two text encodings every C2SP format shares: strict base64 and strict decimals.
//!
//! Both are strict so that each value has exactly one spelling. A second spelling of the same
//! bytes would let two parties hold different files that verify alike.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;

/// Encodes bytes as standard base64 with padding (RFC 4648 section 4).
#[must_use]
pub fn base64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes standard base64 (RFC 4648 section 4).
///
/// Padding is required, unused trailing bits must be zero, and no other octets (blanks, line
/// breaks) are skipped. Returns `None` for anything else.
#[must_use]
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Parses an ASCII decimal with no sign and no leading zeroes (`0` itself is allowed), as
/// tlog-checkpoint, tlog-proof and tlog-witness write sizes and indexes.
///
/// Returns `None` when the text is anything else or exceeds 64 bits.
#[must_use]
pub fn parse_decimal(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if text.len() > 1 && text.starts_with('0') {
        return None;
    }
    text.parse().ok()
}

/// Lower-case hexadecimal, two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_one_spelling_per_value() {
        assert_eq!(base64_decode("AA=="), Some(vec![0]));
        assert_eq!(base64_decode(""), Some(vec![]));
        for refused in [
            "AA", "AA=", "AB==", "AA==\n", " AA==", "AA==AA==", "A===", "_-==", "AAB=",
        ] {
            assert_eq!(base64_decode(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn decimals_have_one_spelling_per_value() {
        assert_eq!(parse_decimal("0"), Some(0));
        assert_eq!(parse_decimal("18446744073709551615"), Some(u64::MAX));
        for refused in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1_0",
            "18446744073709551616",
            "٣",
        ] {
            assert_eq!(parse_decimal(refused), None, "{refused:?}");
        }
    }
}

//! Finds where the items of a CBOR sequence end, while its bytes are still coming.
//!
//! Only heads are looked at here. An item that is complete goes through the strict checker as
//! every other object does; so does what there is of one that cannot be completed, so that the
//! code does not depend on how the bytes were cut.

use super::{LIMITS, MAX_ITEM_BYTES};
use crate::cbor::check;
use crate::failure::{Failure, FailureCode};

/// Bytes of a sequence, and how far the item at their beginning has been looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Framing {
    bytes: Vec<u8>,
    // Where the current item begins, and the first byte of it that has not been looked at.
    start: usize,
    at: usize,
    // How many items the arrays and maps that are open still need, outermost first.
    open: Vec<u64>,
    // How many items have begun.
    items: usize,
}

enum Head {
    /// One complete item without items in it.
    Leaf { end: usize },
    /// An array or map of so many items.
    Open { end: usize, items: u64 },
    /// The bytes end within it.
    Incomplete,
    /// It cannot stand in a bundle.
    Refused { end: usize },
}

impl Framing {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.at -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes of the next item, once they are all there.
    pub(super) fn next_item(&mut self) -> Result<Option<&[u8]>, Failure> {
        while self.at < self.bytes.len() {
            let (end, opened) = match self.head() {
                Head::Leaf { end } => (end, None),
                Head::Open { end, items } => (end, Some(items)),
                Head::Incomplete => return Ok(None),
                Head::Refused { end } => return Err(self.refused(end)),
            };
            self.items += 1;
            let depth = self.open.len() + 1;
            if self.items > LIMITS.max_items
                || depth > usize::from(LIMITS.max_depth)
                || end - self.start > MAX_ITEM_BYTES
            {
                return Err(self.refused(end));
            }
            self.at = end;
            match opened {
                Some(items) if items > 0 => self.open.push(items),
                _ => self.close(),
            }
            if self.open.is_empty() {
                let item = self.bytes.get(self.start..self.at).unwrap_or_default();
                self.start = self.at;
                self.items = 0;
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// What is wrong with the bytes when no more are to come; nothing between two items.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        match self.bytes.get(self.start..) {
            Some([]) | None => Ok(()),
            Some(rest) => check(rest, &LIMITS),
        }
    }

    /// An item has ended: counts it in what holds it, and ends that too when it was the last.
    fn close(&mut self) {
        while let Some(missing) = self.open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            self.open.pop();
        }
    }

    fn head(&self) -> Head {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((&initial, rest)) = rest.split_first() else {
            return Head::Incomplete;
        };
        let (major, info) = (initial >> 5, initial & 0x1f);
        let digits: usize = match info {
            0..=23 => 0,
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Head::Refused { end: self.at + 1 },
        };
        let Some(digits) = rest.get(..digits) else {
            return Head::Incomplete;
        };
        let end = self.at + 1 + digits.len();
        let argument = match digits {
            [] => u64::from(info),
            digits => digits
                .iter()
                .fold(0, |number, digit| (number << 8) | u64::from(*digit)),
        };
        match major {
            0 | 1 => Head::Leaf { end },
            2 | 3 => {
                let length = usize::try_from(argument).unwrap_or(usize::MAX);
                if end.saturating_add(length) - self.start > MAX_ITEM_BYTES {
                    Head::Refused { end }
                } else if self.bytes.len() - end < length {
                    Head::Incomplete
                } else {
                    Head::Leaf { end: end + length }
                }
            }
            4 => Head::Open {
                end,
                items: argument,
            },
            // More than fit are never there.
            5 => Head::Open {
                end,
                items: argument.saturating_mul(2),
            },
            7 if digits.is_empty() => Head::Leaf { end },
            _ => Head::Refused { end },
        }
    }

    /// The first rule that the item breaks up to `end`; if it breaks none, it would be too large.
    fn refused(&self, end: usize) -> Failure {
        let begun = self.bytes.get(self.start..end).unwrap_or_default();
        match check(begun, &LIMITS) {
            Err(failure) if failure.code() != FailureCode::CborTruncated => failure,
            _ => Failure::new(
                FailureCode::CborTooLarge,
                format!("an item of a bundle has more than {MAX_ITEM_BYTES} bytes"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The items of a sequence, fed `step` bytes at a time, and the code at which it ends.
    fn run(bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<FailureCode>) {
        let mut framing = Framing::default();
        let mut items = Vec::new();
        for chunk in bytes.chunks(step.max(1)) {
            framing.push(chunk);
            loop {
                match framing.next_item() {
                    Ok(Some(item)) => match check(item, &LIMITS) {
                        Ok(()) => items.push(item.to_vec()),
                        Err(failure) => return (items, Some(failure.code())),
                    },
                    Ok(None) => break,
                    Err(failure) => return (items, Some(failure.code())),
                }
            }
        }
        let end = framing.finish().err().map(|failure| failure.code());
        (items, end)
    }

    #[test]
    fn items_end_where_they_end() {
        let sequence = [
            &[0x00][..],
            &[0x83, 0x01, 0x41, 0xff, 0xa1, 0x01, 0x80],
            &[0xa0],
            &[0x80],
            &[0xf6],
            &[0x63, b'a', b'b', b'c'],
        ];
        let bytes = sequence.concat();
        for step in 1..=bytes.len() {
            let (items, end) = run(&bytes, step);
            assert_eq!(items, sequence);
            assert_eq!(end, None);
        }
    }

    #[test]
    fn a_fault_has_the_same_code_however_the_bytes_are_cut() {
        let cases: [(&[u8], FailureCode); 12] = [
            (&[0x82, 0x00], FailureCode::CborTruncated),
            (&[0x19, 0x01], FailureCode::CborTruncated),
            (&[0x82, 0x18, 0x00, 0x9f], FailureCode::CborNotShortest),
            (&[0x9f, 0xff], FailureCode::CborIndefiniteLength),
            (
                &[0xa2, 0x02, 0x00, 0x01, 0x00],
                FailureCode::CborUnsortedKeys,
            ),
            (
                &[0xa2, 0x02, 0x00, 0x01, 0x9f],
                FailureCode::CborUnsortedKeys,
            ),
            (&[0xd2, 0x80], FailureCode::CborTag),
            (
                &[0xbb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xd2],
                FailureCode::CborTag,
            ),
            (
                &[0x81, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0],
                FailureCode::CborFloat,
            ),
            (&[0x1c], FailureCode::CborSimpleValue),
            (&[0x5a, 0x7f, 0xff, 0xff, 0xff], FailureCode::CborTooLarge),
            (&[0x81; 9], FailureCode::CborTooDeep),
        ];
        for (bytes, code) in cases {
            for step in 1..=bytes.len() {
                assert_eq!(run(bytes, step).1, Some(code), "{bytes:02x?} by {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_never_matters(bytes: Vec<u8>, step in 1..64_usize) {
            prop_assert_eq!(run(&bytes, step), run(&bytes, bytes.len()));
        }
    }
}

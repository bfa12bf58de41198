//! Reads bytes that [`super::strict`] has accepted.
//!
//! The checker has seen every head, length and text, so what is left is to put the items
//! together. A general decoder would look for what cannot be there, and takes several times as
//! long, which is what most of the time beside the signatures of a bundle would go to.

use ciborium::Value;

/// The one item that `bytes` are. None if they are not what the checker accepts.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = item(&mut rest)?;
    rest.is_empty().then_some(value)
}

// The checker limits how deep items nest, and with it how deep this goes.
fn item(rest: &mut &[u8]) -> Option<Value> {
    let (&initial, after) = rest.split_first()?;
    *rest = after;
    let (major, info) = (initial >> 5, initial & 0x1f);
    if major == 7 {
        return match info {
            20 => Some(Value::Bool(false)),
            21 => Some(Value::Bool(true)),
            22 => Some(Value::Null),
            _ => None,
        };
    }
    let argument = match info {
        0..=23 => u64::from(info),
        24 => u64::from(*take(rest, 1)?.first()?),
        25 => u16::from_be_bytes(take(rest, 2)?.try_into().ok()?).into(),
        26 => u32::from_be_bytes(take(rest, 4)?.try_into().ok()?).into(),
        27 => u64::from_be_bytes(take(rest, 8)?.try_into().ok()?),
        _ => return None,
    };
    let length = usize::try_from(argument).ok();
    match major {
        0 => Some(Value::Integer(argument.into())),
        1 => (-1 - i128::from(argument))
            .try_into()
            .ok()
            .map(Value::Integer),
        2 => Some(Value::Bytes(take(rest, length?)?.to_vec())),
        3 => {
            let text = core::str::from_utf8(take(rest, length?)?).ok()?;
            Some(Value::Text(text.to_owned()))
        }
        4 => {
            let mut items = Vec::with_capacity(length?.min(rest.len()));
            for _ in 0..length? {
                items.push(item(rest)?);
            }
            Some(Value::Array(items))
        }
        5 => {
            let mut entries = Vec::with_capacity(length?.min(rest.len()));
            for _ in 0..length? {
                entries.push((item(rest)?, item(rest)?));
            }
            Some(Value::Map(entries))
        }
        6 => Some(Value::Tag(argument, Box::new(item(rest)?))),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cbor::strict::{Limits, check};

    const LIMITS: Limits = Limits {
        max_bytes: 4096,
        max_items: 512,
        max_depth: 8,
        tags: &[18],
    };

    fn agrees(bytes: &[u8]) {
        if check(bytes, &LIMITS).is_ok() {
            let model: Value = ciborium::from_reader(bytes).unwrap();
            assert_eq!(read(bytes), Some(model), "{bytes:02x?}");
        }
    }

    /// Bytes that are often CBOR: heads of all kinds, each followed by what it may call for.
    fn likely() -> impl Strategy<Value = Vec<u8>> {
        let head = prop_oneof![
            any::<[u8; 1]>().prop_map(Vec::from),
            (0..8_u8, 0..4_u8).prop_map(|(major, info)| vec![major << 5 | info]),
            (0..8_u8, 24..=255_u8).prop_map(|(major, length)| vec![major << 5 | 24, length]),
            (0..2_u8, any::<u64>()).prop_map(|(major, number)| {
                let mut bytes = vec![major << 5 | 27];
                bytes.extend(number.to_be_bytes());
                bytes
            }),
            Just(vec![0xd2]),
            "[a-c]{0,3}".prop_map(String::into_bytes),
        ];
        prop::collection::vec(head, 0..12).prop_map(|heads| heads.concat())
    }

    proptest! {
        #[test]
        fn reads_what_ciborium_reads(bytes in likely(), any: Vec<u8>) {
            agrees(&bytes);
            agrees(&any);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn every_kind_of_item_is_read() {
        for bytes in [
            &[0x17][..],
            &[0x18, 0x18],
            &[0x19, 0x01, 0x00],
            &[0x1a, 0x00, 0x01, 0x00, 0x00],
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x20],
            &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x42, 0x01, 0x02],
            &[0x63, 0xe2, 0x82, 0xac],
            &[0x82, 0x01, 0x80],
            &[0xa2, 0x01, 0xf4, 0x20, 0xa0],
            &[0xd2, 0x81, 0xf5],
            &[0xf6],
        ] {
            assert!(check(bytes, &LIMITS).is_ok());
            agrees(bytes);
        }
        assert_eq!(read(&[]), None);
        assert_eq!(
            read(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            None
        );
    }
}

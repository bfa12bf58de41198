//! The staged bundle: the entries of one step of the tree, durable before the step is signed.
//!
//! Layout: a line that names the format, old size (8 bytes, big endian), old root, new size, new
//! root, then each entry with its 16-bit length in front.

use counterfoil_tlog::{
    tile::push_entry,
    tree::{Hash, leaf_hash},
    witness::TreeHead,
};

use crate::Error;

const FORMAT: &[u8] = b"counterfoil/staged/v1\n";

/// One step of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staged {
    pub(crate) old: TreeHead,
    pub(crate) new: TreeHead,
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Staged {
    pub(crate) fn leaves(&self) -> Vec<Hash> {
        self.entries.iter().map(|entry| leaf_hash(entry)).collect()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = FORMAT.to_vec();
        for head in [self.old, self.new] {
            bytes.extend_from_slice(&head.size.to_be_bytes());
            bytes.extend_from_slice(head.root.as_bytes());
        }
        for entry in &self.entries {
            push_entry(&mut bytes, entry).map_err(|error| Error::Tree(error.to_string()))?;
        }
        Ok(bytes)
    }

    /// Reads a staged bundle; `None` if it was torn or is of another format.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(FORMAT)?;
        let (old, rest) = parse_head(rest)?;
        let (new, mut rest) = parse_head(rest)?;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (entry, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            entries.push(entry.to_vec());
            rest = tail;
        }
        let complete = old.size.checked_add(entries.len() as u64) == Some(new.size);
        complete.then_some(Self { old, new, entries })
    }
}

fn parse_head(bytes: &[u8]) -> Option<(TreeHead, &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<8>()?;
    let (root, rest) = rest.split_first_chunk::<32>()?;
    let head = TreeHead {
        size: u64::from_be_bytes(*size),
        root: Hash::from_bytes(*root),
    };
    Some((head, rest))
}

#[cfg(test)]
mod tests {
    use counterfoil_tlog::tree::EMPTY_ROOT;

    use super::*;

    #[test]
    fn reads_what_it_wrote_and_nothing_shorter_or_longer() {
        let staged = Staged {
            old: TreeHead {
                size: 7,
                root: EMPTY_ROOT,
            },
            new: TreeHead {
                size: 10,
                root: Hash::from_bytes([3; 32]),
            },
            entries: vec![Vec::new(), vec![1; 65_535], vec![2]],
        };
        let bytes = staged.encode().unwrap();
        assert_eq!(Staged::parse(&bytes).unwrap(), staged);
        for cut in [0, 10, 60, 110, bytes.len() - 1] {
            assert!(Staged::parse(&bytes[..cut]).is_none(), "cut to {cut}");
        }
        assert!(Staged::parse(&[&bytes[..], &[0, 0]].concat()).is_none());
    }
}

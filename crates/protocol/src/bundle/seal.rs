//! Makes the parts of a bundle from the records of a batch.

use std::collections::BTreeMap;

use super::MAX_ITEMS;
use super::item::{Part, Seal};
use crate::batch::BatchTree;
use crate::digest::CheckpointDigest;
use crate::disclosure::Disclosure;
use crate::failure::{Failure, FailureCode};

/// How many bytes of records and disclosures go into one part, unless a single record has more.
const PART_BYTES: usize = 4 << 20;

/// A whole batch, of which records are put into a bundle.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The tree over all of its records.
    pub tree: &'a BatchTree,
    /// Its commitment.
    pub commitment: &'a [u8],
    /// The commitment's tlog-proof, where it is logged.
    pub log_proof: Option<&'a [u8]>,
}

/// A record to be put into a bundle.
#[derive(Clone, Debug)]
pub struct Chosen<'a> {
    /// Its index in its batch; for records that no batch has sealed, anything that ascends.
    pub index: u64,
    /// Its bytes.
    pub record: &'a [u8],
    /// What opens its salted digests, ascending by field.
    pub disclosures: Vec<Disclosure>,
    /// The note of the checkpoint that its beacon names, if it is to be shown.
    pub beacon: Option<&'a [u8]>,
}

/// Puts records into parts: one part, or several where one would be too large to be read at once.
///
/// `batch` is none for records that no batch has sealed. The records ascend by index.
///
/// # Errors
/// [`FailureCode::BatchPathInvalid`] when the indexes do not ascend or lie outside the batch.
pub fn seal<'a>(
    batch: Option<Batch<'_>>,
    records: impl IntoIterator<Item = Chosen<'a>>,
) -> Result<Vec<Part>, Failure> {
    let mut parts = Vec::new();
    let mut draft = Draft::default();
    for record in records {
        if draft.is_full_for(&record) {
            parts.push(core::mem::take(&mut draft).close(batch)?);
        }
        draft.add(record);
    }
    if !draft.indexes.is_empty() {
        parts.push(draft.close(batch)?);
    }
    Ok(parts)
}

#[derive(Default)]
struct Draft {
    part: Part,
    indexes: Vec<u64>,
    beacons: BTreeMap<CheckpointDigest, Vec<u8>>,
    bytes: usize,
    items: usize,
}

impl Draft {
    fn is_full_for(&self, record: &Chosen<'_>) -> bool {
        let (bytes, items) = cost(record);
        !self.indexes.is_empty()
            && (self.bytes + bytes > PART_BYTES || self.items + items > MAX_ITEMS / 2)
    }

    fn add(&mut self, record: Chosen<'_>) {
        let (bytes, items) = cost(&record);
        self.bytes += bytes;
        self.items += items;
        let index = self.part.records.len();
        self.indexes.push(record.index);
        self.part.records.push(record.record.to_vec());
        let disclosures = record.disclosures.into_iter();
        let disclosures = disclosures.map(|disclosure| (index, disclosure));
        self.part.disclosures.extend(disclosures);
        if let Some(note) = record.beacon {
            self.beacons
                .entry(CheckpointDigest::of(note))
                .or_insert_with(|| note.to_vec());
        }
    }

    fn close(self, batch: Option<Batch<'_>>) -> Result<Part, Failure> {
        let mut part = self.part;
        part.beacons = self.beacons.into_values().collect();
        if let Some(batch) = batch {
            let hashes = batch.tree.multiproof(&self.indexes).ok_or_else(|| {
                Failure::new(
                    FailureCode::BatchPathInvalid,
                    "the indexes do not ascend or lie outside the batch",
                )
            })?;
            part.seal = Some(Seal {
                commitment: batch.commitment.to_vec(),
                log_proof: batch.log_proof.map(<[u8]>::to_vec),
                hashes,
            });
        }
        Ok(part)
    }
}

/// About how many bytes and CBOR items a record brings into a part.
fn cost(record: &Chosen<'_>) -> (usize, usize) {
    let disclosed: usize = record
        .disclosures
        .iter()
        .map(|d| d.content.len() + 32)
        .sum();
    let beacon = record.beacon.map_or(0, <[u8]>::len);
    // Its own item, up to 16 hashes of the multiproof, three items for each disclosure.
    let items = 18 + 3 * record.disclosures.len();
    (record.record.len() + disclosed + beacon, items)
}

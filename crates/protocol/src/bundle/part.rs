//! One part of a bundle: what its records share, checked once, and then each record.

use core::ops::Range;

use super::entry::Entry;
use super::item::{Header, Part};
use super::links::Links;
use super::log_cache::LogCache;
use super::shared::{Operator, Shared, share};
use crate::commitment::VerifiedCommitment;
use crate::digest::CheckpointDigest;
use crate::disclosure::Disclosure;
use crate::failure::{Failure, FailureCode};
use crate::level::Level;
use crate::numbers::UnixSeconds;
use crate::receipt::{BatchPart, Receipt};
use crate::record::{UnverifiedRecord, VerifiedRecord};
use crate::verify::checks::check_disclosures;

/// A part whose records are being handed out.
#[derive(Debug)]
pub(super) struct OpenPart {
    part: Part,
    // Empty when what they share does not hold.
    records: std::vec::IntoIter<UnverifiedRecord>,
    shared: Result<Shared, Failure>,
    digests: Vec<CheckpointDigest>,
    next: usize,
}

impl OpenPart {
    pub(super) fn open(
        part: Part,
        operator: &mut Operator,
        links: &mut Links,
        log: &mut LogCache<'_>,
    ) -> Self {
        let digests: Vec<CheckpointDigest> = part
            .beacons
            .iter()
            .map(|note| CheckpointDigest::of(note))
            .collect();
        let mut records = Vec::new();
        let shared = share(&part, &digests, &mut records, operator, links, log);
        if shared.is_err() {
            records.clear();
        }
        Self {
            part,
            records: records.into_iter(),
            shared,
            digests,
            next: 0,
        }
    }

    /// Verifies the next record.
    pub(super) fn next_entry(
        &mut self,
        position: u64,
        required: Level,
        links: &mut Links,
        log: &mut LogCache<'_>,
    ) -> Option<Entry> {
        let index = self.next;
        let bytes = self.part.records.get(index)?;
        self.next += 1;
        let shared = match &mut self.shared {
            Ok(shared) => shared,
            Err(failure) => {
                let id = UnverifiedRecord::parse(bytes)
                    .ok()
                    .map(|record| record.id());
                let mut entry = Entry::new(position, id);
                entry.failure = Some(failure.clone());
                return Some(entry);
            }
        };
        let record = self.records.next()?;
        let mut entry = Entry::new(position, Some(record.id()));
        entry.broken_links.extend(shared.broken.take());
        let verified = record.verify(&shared.key).and_then(|record| {
            let range = disclosures_of(&self.part.disclosures, index);
            for (_, disclosure) in self.part.disclosures.get(range).unwrap_or_default() {
                check_disclosures(core::slice::from_ref(disclosure), &record)?;
            }
            Ok(record)
        });
        let record = match verified {
            Ok(record) => record,
            Err(failure) => {
                entry.failure = Some(failure);
                return Some(entry);
            }
        };
        entry.level = Some(shared.level);
        entry.keys_known_to_size = shared.keys_known_to;
        entry.failure = bound(&mut entry, &record, shared, &self.digests, &self.part, log)
            .and_then(|()| reached(shared.level, required))
            .err();
        entry.broken_links.extend(links.record(&record));
        entry.record = Some(record);
        Some(entry)
    }

    /// Whether all records were handed out.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.part.records.len()
    }

    /// The bytes of the record that was handed out last.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        let records = &self.part.records;
        records.get(self.next.checked_sub(1)?).map(Vec::as_slice)
    }

    /// The commitment to the batch of the records.
    pub(super) const fn commitment(&self) -> Option<&VerifiedCommitment> {
        match &self.shared {
            Ok(shared) => shared.commitment.as_ref(),
            Err(_) => None,
        }
    }

    /// What is disclosed of the record that was handed out last.
    pub(super) fn disclosures(&self) -> impl Iterator<Item = &Disclosure> {
        let range = match self.next.checked_sub(1) {
            Some(index) => disclosures_of(&self.part.disclosures, index),
            None => 0..0,
        };
        let disclosures = self.part.disclosures.get(range).unwrap_or_default();
        disclosures.iter().map(|(_, disclosure)| disclosure)
    }

    /// The receipt of the record that was handed out last.
    pub(super) fn receipt(&self, header: &Header) -> Option<Receipt> {
        let shared = self.shared.as_ref().ok()?;
        let bytes = self.bytes()?;
        let record = UnverifiedRecord::parse(bytes).ok()?;
        let content = record.unverified_content();
        let batch = match (&shared.batch, &self.part.seal) {
            (Some((first, tree)), Some(seal)) => {
                let index = content.sequence.get().checked_sub(first.get())?;
                Some(BatchPart {
                    path: tree.path(index)?,
                    commitment: seal.commitment.clone(),
                })
            }
            _ => None,
        };
        let beacon = content.beacon.and_then(|named| {
            let at = self.digests.binary_search(&named.checkpoint).ok()?;
            self.part.beacons.get(at).cloned()
        });
        Some(Receipt {
            record: bytes.to_vec(),
            manifests: header.manifests.clone(),
            log_proof: self.part.seal.as_ref().and_then(|s| s.log_proof.clone()),
            batch,
            beacon,
            disclosures: self.disclosures().cloned().collect(),
            presentation: None,
        })
    }
}

/// Works out the bounds of a record's time. Spec: verification §4.
fn bound(
    entry: &mut Entry,
    record: &VerifiedRecord,
    shared: &Shared,
    digests: &[CheckpointDigest],
    part: &Part,
    log: &mut LogCache<'_>,
) -> Result<(), Failure> {
    if let Some(named) = record.record().beacon
        && let Ok(at) = digests.binary_search(&named.checkpoint)
        && let Some(note) = part.beacons.get(at)
    {
        let quorum = log.beacon(named.checkpoint, note)?;
        if quorum.checkpoint().size() != named.size {
            return Err(Failure::new(
                FailureCode::BeaconMismatch,
                format!("the record says size {}", named.size),
            ));
        }
        entry.not_before = quorum.not_before().map(UnixSeconds::new);
    }
    entry.not_after = shared.not_after;
    let (from, to) = (entry.not_before, entry.not_after);
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(Failure::new(
            FailureCode::TimeBoundsContradict,
            format!("not before {from} and not after {to}"),
        ));
    }
    if from.is_some() || to.is_some() {
        let claimed = record.record().time.seconds();
        let within = from.is_none_or(|from| claimed >= from) && to.is_none_or(|to| claimed <= to);
        entry.time_within_bounds = Some(within);
    }
    Ok(())
}

fn reached(level: Level, required: Level) -> Result<(), Failure> {
    if level >= required {
        return Ok(());
    }
    Err(Failure::new(
        if level == Level::Logged {
            FailureCode::QuorumNotMet
        } else {
            FailureCode::LevelNotReached
        },
        format!("the record is {level}, and {required} was asked for"),
    ))
}

/// Where the disclosures of the record at `index` stand.
fn disclosures_of(disclosures: &[(usize, Disclosure)], index: usize) -> Range<usize> {
    let start = disclosures.partition_point(|(at, _)| *at < index);
    let end = disclosures.partition_point(|(at, _)| *at <= index);
    start..end
}

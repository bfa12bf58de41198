//! Evidence bundles, written from what the journal holds.
//!
//! A bundle is made part by part, so that its size is not bounded by memory: a batch is read, its
//! tree is built, and those of its records that are wanted go out with one proof for all of them.

use std::collections::BTreeMap;

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::bundle::{self, Batch, Chosen, Header};
use counterfoil_protocol::digest::CheckpointDigest;
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{BatchNumber, Sequence, UnixMillis};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{Record, UnverifiedRecord};

use crate::error::EnforcerError;
use crate::journal::{BatchRow, JournalReader, Opening};

/// How many batches are looked up at once, and how many records that no batch has sealed.
const PAGE: u64 = 1024;

/// Which records go into a bundle, and what is disclosed of them.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only records of the channel to this operator.
    pub counterparty: Option<OperatorName>,
    /// Only records with this sequence or a higher one.
    pub first: Option<Sequence>,
    /// Only records with this sequence or a lower one.
    pub last: Option<Sequence>,
    /// Only records made at this time or later, by the operator's clock.
    pub from: Option<UnixMillis>,
    /// Only records made before this time, by the operator's clock.
    pub until: Option<UnixMillis>,
    /// The fields to disclose of each record, as far as they were kept in clear.
    pub disclose: Vec<DisclosedField>,
}

/// What went into a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// How many records.
    pub records: u64,
    /// How many of them no batch has sealed yet.
    pub unsealed: u64,
    /// How many of them are in a batch that is not logged yet.
    pub unlogged: u64,
    /// How many fields are disclosed.
    pub disclosed: u64,
    /// In how many parts.
    pub parts: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Takes the items of a bundle, one after the other, as they are made.
pub trait Sink {
    /// Takes the next item.
    ///
    /// # Errors
    /// When it cannot be written.
    fn item(&mut self, bytes: &[u8]) -> Result<(), EnforcerError>;

    /// Is told how many records have been looked at.
    fn seen(&mut self, _records: u64) {}
}

/// Writes the records of one or more journals of an operator as a bundle.
#[derive(Debug)]
pub struct Exporter<'s, S: ?Sized> {
    selection: &'s Selection,
    sink: &'s mut S,
    seen: u64,
    exported: Exported,
}

impl<'s, S: Sink + ?Sized> Exporter<'s, S> {
    /// Begins a bundle of the operator with these manifests, oldest first.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn begin(
        operator: OperatorName,
        manifests: Vec<LoggedManifest>,
        selection: &'s Selection,
        sink: &'s mut S,
    ) -> Result<Self, EnforcerError> {
        let header = Header {
            operator,
            counterparty: selection.counterparty.clone(),
            manifests,
        };
        let mut exporter = Self {
            selection,
            sink,
            seen: 0,
            exported: Exported::default(),
        };
        exporter.write(&header.encode())?;
        Ok(exporter)
    }

    /// Writes the records of each journal: those that batches have sealed, and after those of all
    /// journals what no batch has sealed.
    ///
    /// # Errors
    /// Those of the journals and of the sink.
    pub fn journals(&mut self, readers: &[JournalReader]) -> Result<(), EnforcerError> {
        let mut ends = Vec::with_capacity(readers.len());
        for reader in readers {
            ends.push(self.sealed(reader)?);
        }
        for (reader, end) in readers.iter().zip(ends) {
            self.unsealed(reader, end)?;
        }
        Ok(())
    }

    /// Writes the records that batches have sealed, and says which record comes after them.
    fn sealed(&mut self, reader: &JournalReader) -> Result<Sequence, EnforcerError> {
        let mut number = BatchNumber::new(0);
        let mut after = Sequence::new(0);
        loop {
            let page = reader.batches(number, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(after);
            };
            number = last.number.next().ok_or(EnforcerError::Exhausted)?;
            for batch in &page {
                let end = batch.first.get().saturating_add(batch.count);
                after = Sequence::new(end);
                let last = Sequence::new(end.saturating_sub(1));
                if self.overlaps(batch.first, last) {
                    self.batch(reader, batch)?;
                }
            }
        }
    }

    /// Writes the records from `first` on, which no batch has sealed.
    fn unsealed(&mut self, reader: &JournalReader, first: Sequence) -> Result<(), EnforcerError> {
        let mut next = first;
        loop {
            let page = reader.records(next, PAGE)?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            let end = last.next();
            let written = self.part(reader, None, &page)?;
            self.exported.unsealed += written;
            match end {
                Some(end) => next = end,
                None => return Ok(()),
            }
        }
    }

    /// Ends the bundle.
    #[must_use]
    pub const fn finish(self) -> Exported {
        self.exported
    }

    fn overlaps(&self, first: Sequence, last: Sequence) -> bool {
        self.selection.first.is_none_or(|from| last >= from)
            && self.selection.last.is_none_or(|to| first <= to)
    }

    fn wants(&self, record: &Record) -> bool {
        let selection = self.selection;
        let channel = record.channel().map(|link| &link.counterparty);
        self.overlaps(record.sequence, record.sequence)
            && selection.from.is_none_or(|from| record.time >= from)
            && selection.until.is_none_or(|until| record.time < until)
            && (selection.counterparty.is_none() || channel == selection.counterparty.as_ref())
    }

    fn batch(&mut self, reader: &JournalReader, batch: &BatchRow) -> Result<(), EnforcerError> {
        let records = reader.records(batch.first, batch.count)?;
        let tree = BatchTree::build(records.iter().map(|(_, bytes)| bytes.as_slice()))?;
        if tree.count() != batch.count {
            return Err(EnforcerError::JournalBroken(format!(
                "batch {} is short",
                batch.number
            )));
        }
        let sealed = Batch {
            tree: &tree,
            commitment: &batch.commitment,
            log_proof: batch.log_proof.as_deref(),
        };
        let written = self.part(reader, Some(sealed), &records)?;
        if batch.log_proof.is_none() {
            self.exported.unlogged += written;
        }
        Ok(())
    }

    /// Writes those records that are wanted, and says how many they are. All of them are of the
    /// batch, or none of them is in one.
    fn part(
        &mut self,
        reader: &JournalReader,
        batch: Option<Batch<'_>>,
        records: &[(Sequence, Vec<u8>)],
    ) -> Result<u64, EnforcerError> {
        let mut notes: BTreeMap<CheckpointDigest, Option<Vec<u8>>> = BTreeMap::new();
        let mut wanted = Vec::new();
        for (index, (sequence, bytes)) in (0_u64..).zip(records) {
            let record = UnverifiedRecord::parse(bytes)?;
            let content = record.unverified_content();
            if !self.wants(content) {
                continue;
            }
            let beacon = content.beacon.map(|beacon| beacon.checkpoint);
            if let Some(digest) = beacon
                && !notes.contains_key(&digest)
            {
                notes.insert(digest, reader.checkpoint(digest)?);
            }
            let disclosures = self.disclosures(reader, *sequence)?;
            self.exported.disclosed += disclosures.len() as u64;
            wanted.push((index, bytes, disclosures, beacon));
        }
        self.seen += records.len() as u64;
        self.sink.seen(self.seen);
        let count = wanted.len() as u64;
        let chosen = wanted
            .into_iter()
            .map(|(index, record, disclosures, beacon)| Chosen {
                index,
                record,
                disclosures,
                beacon: beacon
                    .and_then(|digest| notes.get(&digest))
                    .and_then(Option::as_deref),
            });
        for part in bundle::seal(batch, chosen)? {
            self.write(&part.encode())?;
            self.exported.parts += 1;
        }
        self.exported.records += count;
        Ok(count)
    }

    fn disclosures(
        &self,
        reader: &JournalReader,
        sequence: Sequence,
    ) -> Result<Vec<Disclosure>, EnforcerError> {
        let fields = &self.selection.disclose;
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        let (_, openings) = reader.record(sequence)?;
        let mut disclosures: Vec<Disclosure> = openings
            .iter()
            .filter(|opening| fields.contains(&opening.field))
            .filter_map(Opening::disclosure)
            .collect();
        disclosures.sort_by_key(|disclosure| disclosure.field);
        Ok(disclosures)
    }

    fn write(&mut self, item: &[u8]) -> Result<(), EnforcerError> {
        self.exported.bytes += item.len() as u64;
        self.sink.item(item)
    }
}

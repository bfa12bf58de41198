//! Receipts, built from what the journal holds.

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::numbers::{BatchNumber, Sequence};
use counterfoil_protocol::receipt::{BatchPart, LoggedManifest, Receipt};
use counterfoil_protocol::record::UnverifiedRecord;

use crate::error::EnforcerError;
use crate::journal::JournalReader;

/// Builds receipts of one journal. Records of one batch one after another share its tree.
#[derive(Debug)]
pub struct ReceiptBuilder {
    reader: JournalReader,
    manifests: Vec<LoggedManifest>,
    tree: Option<(BatchNumber, BatchTree)>,
}

impl ReceiptBuilder {
    /// A builder that puts `manifests`, the operator's own, into every receipt.
    pub const fn new(reader: JournalReader, manifests: Vec<LoggedManifest>) -> Self {
        Self {
            reader,
            manifests,
            tree: None,
        }
    }

    /// The journal it reads.
    pub const fn reader(&self) -> &JournalReader {
        &self.reader
    }

    /// The receipt of the record with this id.
    ///
    /// # Errors
    /// As [`ReceiptBuilder::build`].
    pub fn build_by_id(
        &mut self,
        id: RecordId,
        disclose: &[DisclosedField],
    ) -> Result<Receipt, EnforcerError> {
        let sequence = self.reader.sequence_of(id)?;
        self.build(sequence, disclose)
    }

    /// The receipt of the record with this sequence, as far as its evidence goes today.
    ///
    /// # Errors
    /// [`EnforcerError::NotFound`] when there is no such record, or a field is to be disclosed
    /// that it does not have or whose content was not kept; an error of the journal.
    pub fn build(
        &mut self,
        sequence: Sequence,
        disclose: &[DisclosedField],
    ) -> Result<Receipt, EnforcerError> {
        let (record, openings) = self.reader.record(sequence)?;
        let parsed = UnverifiedRecord::parse(&record)?;
        let mut disclosures: Vec<Disclosure> = disclose
            .iter()
            .map(|field| {
                let kept = openings
                    .iter()
                    .find(|opening| opening.field == *field)
                    .and_then(crate::journal::Opening::disclosure);
                // Terms are kept once, not beside each record that was made under them.
                let kept = match (kept, parsed.unverified_content().contract()) {
                    (None, Some(contract)) if *field == DisclosedField::Contract => {
                        self.reader.terms_of(contract)?
                    }
                    (kept, _) => kept,
                };
                kept.ok_or_else(|| {
                    EnforcerError::NotFound(format!(
                        "record {sequence} has no {} kept in clear",
                        field.name()
                    ))
                })
            })
            .collect::<Result<_, _>>()?;
        disclosures.sort_by_key(|disclosure| disclosure.field);
        disclosures.dedup_by_key(|disclosure| disclosure.field);

        let beacon = parsed.unverified_content().beacon;
        let beacon = match beacon {
            Some(beacon) => self.reader.checkpoint(beacon.checkpoint)?,
            None => None,
        };
        let batch = self.reader.batch_of(sequence)?;
        let (part, log_proof) = match batch {
            Some(batch) => {
                let index = sequence.get().saturating_sub(batch.first.get());
                let path = self.tree(&batch)?.path(index).ok_or_else(|| {
                    EnforcerError::JournalBroken(format!("batch {} is short", batch.number))
                })?;
                (
                    Some(BatchPart {
                        path,
                        commitment: batch.commitment,
                    }),
                    batch.log_proof,
                )
            }
            None => (None, None),
        };
        Ok(Receipt {
            record,
            manifests: self.manifests.clone(),
            batch: part,
            log_proof,
            beacon,
            disclosures,
            presentation: None,
        })
    }

    fn tree(&mut self, batch: &crate::journal::BatchRow) -> Result<&BatchTree, EnforcerError> {
        let cached = self
            .tree
            .as_ref()
            .is_some_and(|(number, _)| *number == batch.number);
        if !cached {
            let records = self.reader.records(batch.first, batch.count)?;
            let tree = BatchTree::build(records.iter().map(|(_, bytes)| bytes.as_slice()))?;
            if tree.count() != batch.count {
                return Err(EnforcerError::JournalBroken(format!(
                    "batch {} is short",
                    batch.number
                )));
            }
            self.tree = Some((batch.number, tree));
        }
        match &self.tree {
            Some((_, tree)) => Ok(tree),
            None => Err(EnforcerError::Busy),
        }
    }
}

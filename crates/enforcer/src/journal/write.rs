//! What the committer thread writes.

use std::error::Error;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use counterfoil_durable::committer::Writer;
use counterfoil_protocol::digest::{CheckpointDigest, ContentDigest, RecordId};
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{BatchNumber, Sequence, UnixMillis};
use rusqlite::Transaction;

use super::read::encode_openings;
use super::{JournalReader, Mark, Opening};
use crate::error::EnforcerError;

/// Something to make durable. Items become durable in the order they were submitted.
#[derive(Debug)]
pub(crate) enum Item {
    /// A record of ours, still being signed.
    Record {
        sequence: Sequence,
        bytes: Arc<Slot>,
        openings: Vec<Opening>,
    },
    /// Authentic records of another operator. They are queued under the same lock under which the
    /// channel takes them in, so that no record of ours acknowledges one that is not durable.
    Received(Vec<Received>),
    /// An authentic record of another operator that does not continue its channel.
    Refused {
        id: RecordId,
        reason: ReasonCode,
        record: Received,
    },
    /// What another operator has disclosed of a record of its own.
    Disclosed {
        record: RecordId,
        openings: Vec<Opening>,
    },
    /// The terms of a contract with an operator.
    Terms {
        operator: OperatorName,
        digest: ContentDigest,
        disclosure: Vec<u8>,
    },
    /// A sealed batch, and the ids of its records.
    Batch {
        number: BatchNumber,
        first: Sequence,
        count: u64,
        commitment: Vec<u8>,
        ids: Vec<(RecordId, Sequence)>,
    },
    /// A cosigned checkpoint to use as beacon.
    Checkpoint(Vec<u8>),
    /// The log's proof for a batch, and the checkpoint to use as beacon from now on.
    Logged {
        number: BatchNumber,
        log_proof: Vec<u8>,
        checkpoint: Vec<u8>,
    },
}

/// An authentic record of another operator.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) operator: OperatorName,
    pub(crate) bytes: Vec<u8>,
    pub(crate) arrived: UnixMillis,
}

/// Where a record's bytes appear once it is signed. The record's place in the queue is taken
/// before, in stream order, so that records are signed in parallel and written in order.
#[derive(Debug, Default)]
pub(crate) struct Slot(OnceLock<Option<Arc<[u8]>>>);

impl Slot {
    /// Fills the slot; whoever signs calls it exactly once.
    pub(crate) fn fill(&self, bytes: Arc<[u8]>) {
        let _ = self.0.set(Some(bytes));
    }

    /// Gives the slot up: the signer went away. The writer fails, and the enforcer with it.
    pub(crate) fn abandon(&self) {
        let _ = self.0.set(None);
    }

    /// A slot that is filled already.
    pub(crate) fn filled(bytes: Vec<u8>) -> Arc<Self> {
        let slot = Self::default();
        slot.fill(bytes.into());
        Arc::new(slot)
    }

    /// Waits until the record is signed; none if it was given up.
    pub(crate) fn wait(&self) -> Option<&Arc<[u8]>> {
        self.0.wait().as_ref()
    }
}

/// Writes items to the journal file, as long as it is the file that was opened.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    path: PathBuf,
    file: (u64, u64),
    mark: Mark,
    /// How many records the journal holds once the present transaction is committed.
    records: u64,
    /// How many it holds according to the mark.
    marked: u64,
}

impl JournalWriter {
    /// A writer for the journal at `path`, which has been opened and holds the records before
    /// `next`.
    pub(crate) fn new(path: &Path, mark: Mark, next: Sequence) -> std::io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: file_identity(path)?,
            mark,
            records: next.get(),
            marked: 0,
        })
    }
}

impl Writer for JournalWriter {
    type Item = Item;

    fn write(
        &mut self,
        transaction: &Transaction<'_>,
        items: &[Item],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        // A deleted or replaced journal can still be written to through the open file, and
        // everything written would be lost.
        if file_identity(&self.path)? != self.file {
            return Err(format!("`{}` is not the file it was", self.path.display()).into());
        }
        for item in items {
            write_item(transaction, item)?;
            if let Item::Record { sequence, .. } = item {
                self.records = sequence.get().saturating_add(1);
            }
        }
        Ok(())
    }

    fn committed(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.marked != self.records {
            self.mark.set(self.records)?;
            self.marked = self.records;
        }
        Ok(())
    }
}

fn file_identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn write_item(
    transaction: &Transaction<'_>,
    item: &Item,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    match item {
        Item::Record {
            sequence,
            bytes,
            openings,
        } => {
            let bytes = bytes
                .wait()
                .ok_or("a record was abandoned before it was signed")?;
            transaction
                .prepare_cached(
                    "INSERT INTO record (sequence, bytes, openings) VALUES (?1, ?2, ?3)",
                )?
                .execute((
                    sqlite_integer(sequence.get())?,
                    bytes.as_ref(),
                    encode_openings(openings),
                ))?;
        }
        Item::Received(received) => write_received(transaction, received)?,
        Item::Refused { id, reason, record } => {
            transaction.execute(
                "INSERT OR IGNORE INTO refused (id, operator, reason, bytes)
                 VALUES (?1, ?2, ?3, ?4)",
                (
                    id.as_bytes(),
                    record.operator.as_str(),
                    reason.as_str(),
                    &record.bytes,
                ),
            )?;
        }
        Item::Disclosed { record, openings } => {
            transaction.execute(
                "INSERT OR REPLACE INTO disclosed (record, openings) VALUES (?1, ?2)",
                (record.as_bytes(), encode_openings(openings)),
            )?;
        }
        Item::Terms {
            operator,
            digest,
            disclosure,
        } => {
            transaction.execute(
                "INSERT OR IGNORE INTO terms (operator, digest, disclosure) VALUES (?1, ?2, ?3)",
                (operator.as_str(), digest.as_bytes(), disclosure),
            )?;
        }
        Item::Batch {
            number,
            first,
            count,
            commitment,
            ids,
        } => {
            transaction.execute(
                "INSERT INTO batch (number, first, count, commitment) VALUES (?1, ?2, ?3, ?4)",
                (
                    sqlite_integer(number.get())?,
                    sqlite_integer(first.get())?,
                    sqlite_integer(*count)?,
                    commitment,
                ),
            )?;
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO record_id (id, sequence) VALUES (?1, ?2)",
            )?;
            for (id, sequence) in ids {
                insert.execute((id.as_bytes(), sqlite_integer(sequence.get())?))?;
            }
        }
        Item::Checkpoint(note) => write_checkpoint(transaction, note)?,
        Item::Logged {
            number,
            log_proof,
            checkpoint,
        } => update_logged(transaction, *number, log_proof, checkpoint)?,
    }
    Ok(())
}

/// Writes down that a batch of a retired stream is logged.
pub(crate) fn write_logged(
    journal: &Path,
    number: BatchNumber,
    log_proof: &[u8],
    checkpoint: &[u8],
) -> Result<(), EnforcerError> {
    let mut connection = JournalReader::open_for_writing(journal)?;
    let transaction = connection.transaction()?;
    update_logged(&transaction, number, log_proof, checkpoint)
        .map_err(|error| EnforcerError::Journal(error.to_string()))?;
    Ok(transaction.commit()?)
}

fn update_logged(
    transaction: &Transaction<'_>,
    number: BatchNumber,
    log_proof: &[u8],
    checkpoint: &[u8],
) -> Result<(), Box<dyn Error + Send + Sync>> {
    transaction.execute(
        "UPDATE batch SET log_proof = ?2 WHERE number = ?1",
        (sqlite_integer(number.get())?, log_proof),
    )?;
    Ok(write_checkpoint(transaction, checkpoint)?)
}

fn write_checkpoint(transaction: &Transaction<'_>, note: &[u8]) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT OR IGNORE INTO checkpoint (digest, note) VALUES (?1, ?2)",
        (CheckpointDigest::of(note).as_bytes(), note),
    )?;
    Ok(())
}

fn write_received(
    transaction: &Transaction<'_>,
    received: &[Received],
) -> Result<(), Box<dyn Error + Send + Sync>> {
    for record in received {
        transaction
            .prepare_cached("INSERT INTO received (operator, bytes, arrived) VALUES (?1, ?2, ?3)")?
            .execute((
                record.operator.as_str(),
                &record.bytes,
                sqlite_integer(record.arrived.get())?,
            ))?;
    }
    Ok(())
}

fn sqlite_integer(value: u64) -> Result<i64, Box<dyn Error + Send + Sync>> {
    i64::try_from(value).map_err(|_| "a number is too large for the journal".into())
}

//! Reading a journal, beside the enforcer that writes it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ciborium::Value;
use counterfoil_durable::sqlite;
use counterfoil_protocol::cbor::Encoder;
use counterfoil_protocol::digest::{
    CheckpointDigest, ContentDigest, KeyThumbprint, RecordId, Salt,
};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{BatchNumber, Sequence, UnixMillis};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{FORMAT, Identity, Opening, Place};
use crate::error::EnforcerError;

/// A batch as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    /// Its number.
    pub number: BatchNumber,
    /// Its first record.
    pub first: Sequence,
    /// How many records it has.
    pub count: u64,
    /// The commitment.
    pub commitment: Vec<u8>,
    /// The log's proof, once there is one.
    pub log_proof: Option<Vec<u8>>,
}

/// A record of another operator as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRow {
    /// In which order it came.
    pub number: u64,
    /// Whose it is.
    pub operator: OperatorName,
    /// The record.
    pub bytes: Vec<u8>,
    /// When it came, by our clock.
    pub arrived: UnixMillis,
}

/// A record of another operator that does not continue its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// In which order it came.
    pub number: u64,
    /// Whose it is.
    pub operator: OperatorName,
    /// The record.
    pub bytes: Vec<u8>,
}

/// A connection that only reads.
#[derive(Debug)]
pub struct JournalReader {
    // Locked so that one reader can be shared between tasks.
    connection: Mutex<Connection>,
}

impl JournalReader {
    /// Opens the journal at `path`.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`] when it is missing or not a journal.
    pub fn open(path: &Path) -> Result<Self, EnforcerError> {
        Ok(Self {
            connection: Mutex::new(sqlite::open_read_only(path, &FORMAT)?),
        })
    }

    /// Opens the journal at `path` for the committer.
    pub(crate) fn open_for_writing(path: &Path) -> Result<Connection, EnforcerError> {
        Ok(sqlite::open(path, &FORMAT)?)
    }

    /// Whose journal it is.
    ///
    /// # Errors
    /// [`EnforcerError::JournalBroken`] when it does not say, or says it twice.
    pub fn identity(&self) -> Result<Identity, EnforcerError> {
        let connection = self.connection();
        let mut statement = connection.prepare("SELECT operator, kid, follows FROM identity")?;
        let rows: Vec<(String, [u8; 32], Option<[u8; 32]>)> = statement
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        match rows.as_slice() {
            [(operator, kid, follows)] => Ok(Identity {
                operator: OperatorName::new(operator.as_str())?,
                kid: KeyThumbprint::from_bytes(*kid),
                follows: follows.map(|key| PublicKey::from_bytes(&key)).transpose()?,
            }),
            _ => Err(EnforcerError::JournalBroken(
                "it does not say whose it is".to_owned(),
            )),
        }
    }

    /// The file that it was made in.
    pub(crate) fn place(&self) -> Result<Place, EnforcerError> {
        let sql = "SELECT inode, born FROM identity";
        Ok(self.connection().query_row(sql, (), |row| {
            Ok(Place {
                inode: row.get(0)?,
                born: row.get(1)?,
            })
        })?)
    }

    /// Up to `limit` records from `first`, in order, with what opens their digests.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn records(
        &self,
        first: Sequence,
        limit: u64,
    ) -> Result<Vec<(Sequence, Vec<u8>)>, EnforcerError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT sequence, bytes FROM record WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2",
        )?;
        let rows = statement.query_map((first.get(), limit), |row| {
            Ok((Sequence::new(row.get(0)?), row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The last record.
    pub(super) fn last_record(&self) -> Result<Option<Vec<u8>>, EnforcerError> {
        let sql = "SELECT bytes FROM record ORDER BY sequence DESC LIMIT 1";
        let connection = self.connection();
        Ok(connection.query_row(sql, (), |row| row.get(0)).optional()?)
    }

    /// One record and what opens its digests.
    ///
    /// # Errors
    /// [`EnforcerError::NotFound`], [`EnforcerError::Journal`].
    pub fn record(&self, sequence: Sequence) -> Result<(Vec<u8>, Vec<Opening>), EnforcerError> {
        let row: Option<(Vec<u8>, Option<Vec<u8>>)> = self
            .connection()
            .query_row(
                "SELECT bytes, openings FROM record WHERE sequence = ?1",
                (sequence.get(),),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let (bytes, openings) =
            row.ok_or_else(|| EnforcerError::NotFound(format!("no record {sequence}")))?;
        Ok((bytes, decode_openings(openings.as_deref())?))
    }

    /// The sequence of the record with this id.
    ///
    /// # Errors
    /// [`EnforcerError::NotFound`], [`EnforcerError::Journal`].
    pub fn sequence_of(&self, id: RecordId) -> Result<Sequence, EnforcerError> {
        self.connection()
            .query_row(
                "SELECT sequence FROM record_id WHERE id = ?1",
                (id.as_bytes(),),
                |row| Ok(Sequence::new(row.get(0)?)),
            )
            .optional()?
            .ok_or_else(|| {
                EnforcerError::NotFound(format!("no record {id} in a sealed batch of the journal"))
            })
    }

    /// The batch that holds the record with this sequence, if it is sealed.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn batch_of(&self, sequence: Sequence) -> Result<Option<BatchRow>, EnforcerError> {
        let row = self
            .connection()
            .prepare_cached(
                "SELECT number, first, count, commitment, log_proof FROM batch
                 WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
            )?
            .query_row((sequence.get(),), batch_row)
            .optional()?;
        Ok(row.filter(|batch| sequence.get() - batch.first.get() < batch.count))
    }

    /// Batches from `first`, in order; at most `limit`.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn batches(&self, first: BatchNumber, limit: u64) -> Result<Vec<BatchRow>, EnforcerError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT number, first, count, commitment, log_proof FROM batch
             WHERE number >= ?1 ORDER BY number LIMIT ?2",
        )?;
        Ok(statement
            .query_map((first.get(), limit), batch_row)?
            .collect::<Result<_, _>>()?)
    }

    /// Batches without a proof of the log, in order; at most `limit`.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn unlogged_batches(&self, limit: u64) -> Result<Vec<BatchRow>, EnforcerError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT number, first, count, commitment, log_proof FROM batch
             WHERE log_proof IS NULL ORDER BY number LIMIT ?1",
        )?;
        Ok(statement
            .query_map((limit,), batch_row)?
            .collect::<Result<_, _>>()?)
    }

    /// The last batch.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn last_batch(&self) -> Result<Option<BatchRow>, EnforcerError> {
        Ok(self
            .connection()
            .query_row(
                "SELECT number, first, count, commitment, log_proof FROM batch
                 ORDER BY number DESC LIMIT 1",
                (),
                batch_row,
            )
            .optional()?)
    }

    /// How many batches have a proof of the log.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn proved_batches(&self) -> Result<u64, EnforcerError> {
        let sql = "SELECT count(*) FROM batch WHERE log_proof IS NOT NULL";
        Ok(self.connection().query_row(sql, (), |row| row.get(0))?)
    }

    /// The log's proof for the newest logged batch.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn newest_log_proof(&self) -> Result<Option<Vec<u8>>, EnforcerError> {
        Ok(self
            .connection()
            .query_row(
                "SELECT log_proof FROM batch WHERE log_proof IS NOT NULL
                 ORDER BY number DESC LIMIT 1",
                (),
                |row| row.get(0),
            )
            .optional()?)
    }

    /// Received records after `number`, in the order they came; at most `limit`.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn received(&self, after: u64, limit: u64) -> Result<Vec<ReceivedRow>, EnforcerError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT number, operator, bytes, arrived FROM received WHERE number > ?1
             ORDER BY number LIMIT ?2",
        )?;
        let rows: Vec<(u64, String, Vec<u8>, u64)> = statement
            .query_map((after, limit), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect::<Result<_, _>>()?;
        rows.into_iter()
            .map(|(number, operator, bytes, arrived)| {
                Ok(ReceivedRow {
                    number,
                    operator: OperatorName::new(operator)?,
                    bytes,
                    arrived: UnixMillis::new(arrived),
                })
            })
            .collect()
    }

    /// Records of other operators that do not continue their channel, after `number`; at most
    /// `limit`. They are evidence against whoever signed them.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn refused(&self, after: u64, limit: u64) -> Result<Vec<RefusedRow>, EnforcerError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT rowid, operator, bytes FROM refused WHERE rowid > ?1
             ORDER BY rowid LIMIT ?2",
        )?;
        let rows: Vec<(u64, String, Vec<u8>)> = statement
            .query_map((after, limit), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        rows.into_iter()
            .map(|(number, operator, bytes)| {
                Ok(RefusedRow {
                    number,
                    operator: OperatorName::new(operator)?,
                    bytes,
                })
            })
            .collect()
    }

    /// What another operator has disclosed of its record with this id, as far as it is kept.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn disclosed(&self, record: RecordId) -> Result<Vec<Opening>, EnforcerError> {
        let openings: Option<Vec<u8>> = self
            .connection()
            .prepare_cached("SELECT openings FROM disclosed WHERE record = ?1")?
            .query_row((record.as_bytes(),), |row| row.get(0))
            .optional()?;
        decode_openings(openings.as_deref())
    }

    /// The disclosures of the terms of all contracts, and with whom they are.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`], [`EnforcerError::JournalBroken`] when one is none.
    pub fn terms(&self) -> Result<Vec<(OperatorName, Disclosure)>, EnforcerError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare("SELECT operator, disclosure FROM terms ORDER BY operator, digest")?;
        let rows: Vec<(String, Vec<u8>)> = statement
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        rows.into_iter()
            .map(|(operator, bytes)| {
                let disclosure = Disclosure::parse(&bytes)
                    .map_err(|failure| EnforcerError::JournalBroken(format!("terms: {failure}")))?;
                Ok((OperatorName::new(operator)?, disclosure))
            })
            .collect()
    }

    /// What opens the digest of the terms of a contract, if they are known here.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`], [`EnforcerError::JournalBroken`] when it is no disclosure.
    pub fn terms_of(&self, contract: ContentDigest) -> Result<Option<Disclosure>, EnforcerError> {
        let bytes: Option<Vec<u8>> = self
            .connection()
            .prepare_cached("SELECT disclosure FROM terms WHERE digest = ?1 LIMIT 1")?
            .query_row((contract.as_bytes(),), |row| row.get(0))
            .optional()?;
        bytes
            .map(|bytes| {
                Disclosure::parse(&bytes)
                    .map_err(|failure| EnforcerError::JournalBroken(format!("terms: {failure}")))
            })
            .transpose()
    }

    /// The cosigned checkpoint with this digest, if it is kept.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`].
    pub fn checkpoint(&self, digest: CheckpointDigest) -> Result<Option<Vec<u8>>, EnforcerError> {
        Ok(self
            .connection()
            .prepare_cached("SELECT note FROM checkpoint WHERE digest = ?1")?
            .query_row((digest.as_bytes(),), |row| row.get(0))
            .optional()?)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A reader has no state that a panic could leave half changed.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets SQLite check the file itself.
    ///
    /// # Errors
    /// [`EnforcerError::JournalBroken`] with what it found.
    pub fn check_file(&self) -> Result<(), EnforcerError> {
        let found: String =
            self.connection()
                .query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))?;
        if found == "ok" {
            Ok(())
        } else {
            Err(EnforcerError::JournalBroken(found))
        }
    }
}

fn batch_row(row: &Row<'_>) -> rusqlite::Result<BatchRow> {
    Ok(BatchRow {
        number: BatchNumber::new(row.get(0)?),
        first: Sequence::new(row.get(1)?),
        count: row.get(2)?,
        commitment: row.get(3)?,
        log_proof: row.get(4)?,
    })
}

/// `[[field, salt, content / null], …]`; none when there is nothing to open.
pub(super) fn encode_openings(openings: &[Opening]) -> Option<Vec<u8>> {
    if openings.is_empty() {
        return None;
    }
    let mut encoder = Encoder::with_capacity(64);
    encoder.array(openings.len());
    for opening in openings {
        encoder
            .array(3)
            .unsigned(opening.field.key())
            .bytes(opening.salt.as_bytes());
        match &opening.content {
            Some(content) => encoder.bytes(content),
            None => encoder.null(),
        };
    }
    Some(encoder.into_bytes())
}

fn decode_openings(encoded: Option<&[u8]>) -> Result<Vec<Opening>, EnforcerError> {
    let broken = || EnforcerError::JournalBroken("the openings of a record".to_owned());
    let Some(encoded) = encoded else {
        return Ok(Vec::new());
    };
    let value: Value = ciborium::from_reader(encoded).map_err(|_| broken())?;
    let Value::Array(items) = value else {
        return Err(broken());
    };
    items
        .into_iter()
        .map(|item| {
            let parts: [Value; 3] = item
                .into_array()
                .ok()
                .and_then(|parts| parts.try_into().ok())
                .ok_or_else(broken)?;
            let [field, salt, content] = parts;
            let key = field
                .into_integer()
                .ok()
                .and_then(|key| u64::try_from(key).ok());
            let salt = salt
                .into_bytes()
                .ok()
                .and_then(|salt| <[u8; 16]>::try_from(salt).ok());
            Ok(Opening {
                field: key
                    .and_then(|key| DisclosedField::from_key(key).ok())
                    .ok_or_else(broken)?,
                salt: Salt::from_bytes(salt.ok_or_else(broken)?),
                content: content.into_bytes().ok(),
            })
        })
        .collect()
}

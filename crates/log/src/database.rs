//! `log.sqlite`: the lock and what admission needs to know, changed in one transaction.

use std::{path::Path, time::Duration};

use counterfoil_durable::sqlite::{self, Format};
use counterfoil_protocol::digest::{CommitmentDigest, KeyThumbprint};
use counterfoil_tlog::{note::Note, tree::Hash, witness::TreeHead};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::{
    Error,
    lock::{CheckpointLock, Effect, SequencedEntry, Swap},
};

/// The file's name in a log directory.
pub(crate) const FILE_NAME: &str = "log.sqlite";

/// `CFlg`: the database of a Counterfoil log.
pub(crate) const FORMAT: Format = Format {
    application_id: 0x4346_6c67,
    version: 1,
    schema: "
        -- The newest signed checkpoint.
        CREATE TABLE lock (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            size INTEGER NOT NULL,
            root BLOB NOT NULL,
            note TEXT NOT NULL
        ) STRICT;
        -- Every checkpoint ever signed, with the time in milliseconds since 1970.
        CREATE TABLE checkpoint (
            size INTEGER PRIMARY KEY,
            time INTEGER NOT NULL,
            note TEXT NOT NULL
        ) STRICT;
        CREATE TABLE entry (
            log_index INTEGER PRIMARY KEY,
            leaf_hash BLOB NOT NULL UNIQUE
        ) STRICT;
        -- The newest commitment of every enforcer key that a manifest has listed.
        CREATE TABLE stream (
            kid BLOB PRIMARY KEY NOT NULL,
            operator TEXT NOT NULL,
            batches INTEGER NOT NULL,
            records INTEGER NOT NULL,
            last_commitment BLOB,
            last_index INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE manifest (
            operator TEXT NOT NULL,
            version INTEGER NOT NULL,
            log_index INTEGER NOT NULL,
            content BLOB NOT NULL,
            PRIMARY KEY (operator, version)
        ) STRICT, WITHOUT ROWID;
    ",
    busy_timeout: Duration::from_secs(5),
};

/// The lock as a row of SQLite.
#[derive(Debug)]
pub(crate) struct SqliteLock {
    connection: Connection,
}

impl SqliteLock {
    /// Creates the database of a new log with its first checkpoint, of the empty tree.
    pub(crate) fn create(directory: &Path, head: TreeHead, note: &Note) -> Result<(), Error> {
        let connection = sqlite::create(&directory.join(FILE_NAME), &FORMAT)?;
        connection.execute(
            "INSERT INTO lock (id, size, root, note) VALUES (1, ?1, ?2, ?3)",
            (number(head.size)?, head.root.as_bytes(), note.to_string()),
        )?;
        Ok(())
    }

    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        Ok(Self {
            connection: sqlite::open(&directory.join(FILE_NAME), &FORMAT)?,
        })
    }
}

impl CheckpointLock for SqliteLock {
    fn load(&self) -> Result<Note, Error> {
        read_lock(&self.connection)
    }

    fn swap(&mut self, expected: TreeHead, next: &Swap) -> Result<(), Error> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (head, note) = (next.signed.head, next.signed.note.to_string());
        let changed = transaction
            .prepare_cached(
                "UPDATE lock SET size = ?1, root = ?2, note = ?3
                 WHERE id = 1 AND size = ?4 AND root = ?5",
            )?
            .execute((
                number(head.size)?,
                head.root.as_bytes(),
                &note,
                number(expected.size)?,
                expected.root.as_bytes(),
            ))?;
        if changed != 1 {
            return Err(Error::LockMoved {
                expected: expected.size,
            });
        }
        transaction
            .prepare_cached("INSERT INTO checkpoint (size, time, note) VALUES (?1, ?2, ?3)")?
            .execute((number(head.size)?, number(next.time.get())?, &note))?;
        for entry in &next.entries {
            insert(&transaction, entry)?;
        }
        Ok(transaction.commit()?)
    }
}

fn insert(transaction: &Transaction<'_>, entry: &SequencedEntry) -> Result<(), Error> {
    let index = number(entry.index)?;
    transaction
        .prepare_cached("INSERT INTO entry (log_index, leaf_hash) VALUES (?1, ?2)")?
        .execute((index, entry.leaf.as_bytes()))?;
    match &entry.effect {
        Effect::Batch {
            stream,
            batch,
            first,
            count,
            digest,
        } => {
            // Admission has checked this against memory; here it is checked against the disk.
            let changed = transaction
                .prepare_cached(
                    "UPDATE stream SET batches = batches + 1, records = records + ?1,
                        last_commitment = ?2, last_index = ?3
                     WHERE kid = ?4 AND batches = ?5 AND records = ?6",
                )?
                .execute((
                    number(*count)?,
                    digest.as_bytes(),
                    index,
                    stream.as_bytes(),
                    number(*batch)?,
                    number(*first)?,
                ))?;
            if changed != 1 {
                return Err(Error::Damaged(format!(
                    "batch `{batch}` of stream `{stream}` has no place"
                )));
            }
        }
        Effect::Manifest {
            operator,
            version,
            content,
            enforcers,
        } => {
            transaction
                .prepare_cached(
                    "INSERT INTO manifest (operator, version, log_index, content)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((operator.as_str(), number(*version)?, index, content))?;
            let mut new_stream = transaction.prepare_cached(
                "INSERT INTO stream (kid, operator, batches, records) VALUES (?1, ?2, 0, 0)
                 ON CONFLICT (kid) DO NOTHING",
            )?;
            for kid in enforcers {
                new_stream.execute((kid.as_bytes(), operator.as_str()))?;
            }
        }
    }
    Ok(())
}

fn read_lock(connection: &Connection) -> Result<Note, Error> {
    let note: Option<String> = connection
        .query_row("SELECT note FROM lock WHERE id = 1", (), |row| row.get(0))
        .optional()?;
    let note = note.ok_or_else(|| Error::Damaged("lock is empty".to_owned()))?;
    Note::parse(note.as_bytes()).map_err(|error| Error::Damaged(format!("lock: {error}")))
}

/// A stream as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamRow {
    pub(crate) kid: KeyThumbprint,
    pub(crate) operator: String,
    pub(crate) batches: u64,
    pub(crate) records: u64,
    pub(crate) last_commitment: Option<CommitmentDigest>,
    pub(crate) last_index: Option<u64>,
}

/// A manifest as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestRow {
    pub(crate) operator: String,
    pub(crate) version: u64,
    pub(crate) index: u64,
    pub(crate) content: Vec<u8>,
}

/// Reads what the lock has committed, beside the sequencer.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
}

impl Reader {
    /// Beside the sequencer of the same process. Not opened read-only, so that whichever of the
    /// connections closes last can fold the write-ahead log into the main file.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let connection = sqlite::open(&directory.join(FILE_NAME), &FORMAT)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Self { connection })
    }

    /// From outside: changes nothing.
    pub(crate) fn open_read_only(directory: &Path) -> Result<Self, Error> {
        Ok(Self {
            connection: sqlite::open_read_only(&directory.join(FILE_NAME), &FORMAT)?,
        })
    }

    /// The newest signed checkpoint.
    pub(crate) fn lock(&self) -> Result<Note, Error> {
        read_lock(&self.connection)
    }

    /// Number of entries, by the index of the last.
    pub(crate) fn entries(&self) -> Result<u64, Error> {
        let count = self.connection.query_row(
            "SELECT coalesce(max(log_index) + 1, 0) FROM entry",
            (),
            |row| row.get(0),
        )?;
        unsigned(count)
    }

    /// The index of an entry, if it is logged.
    pub(crate) fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, Error> {
        let index = self
            .connection
            .prepare_cached("SELECT log_index FROM entry WHERE leaf_hash = ?1")?
            .query_row((leaf.as_bytes(),), |row| row.get(0))
            .optional()?;
        index.map(unsigned).transpose()
    }

    pub(crate) fn stream(&self, kid: &KeyThumbprint) -> Result<Option<StreamRow>, Error> {
        let row = self
            .connection
            .prepare_cached(&format!("{SELECT_STREAM} WHERE kid = ?1"))?
            .query_row((kid.as_bytes(),), stream_row)
            .optional()?;
        Ok(row)
    }

    pub(crate) fn streams(&self) -> Result<Vec<StreamRow>, Error> {
        let mut statement = self.connection.prepare(SELECT_STREAM)?;
        let rows = statement.query_map((), stream_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The manifests of all operators, of each the oldest first.
    pub(crate) fn manifests(&self) -> Result<Vec<ManifestRow>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT operator, version, log_index, content FROM manifest
             ORDER BY operator, version",
        )?;
        let rows = statement.query_map((), manifest_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// An operator's manifests from a version on, oldest first, at most `limit`.
    pub(crate) fn manifests_of(
        &self,
        operator: &str,
        from: u64,
        limit: u64,
    ) -> Result<Vec<ManifestRow>, Error> {
        // Larger than any version that is stored.
        let Ok(from) = i64::try_from(from) else {
            return Ok(Vec::new());
        };
        let mut statement = self.connection.prepare_cached(
            "SELECT operator, version, log_index, content FROM manifest
             WHERE operator = ?1 AND version >= ?2 ORDER BY version LIMIT ?3",
        )?;
        let rows = statement.query_map((operator, from, number(limit)?), manifest_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

const SELECT_STREAM: &str =
    "SELECT kid, operator, batches, records, last_commitment, last_index FROM stream";

fn manifest_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<ManifestRow> {
    Ok(ManifestRow {
        operator: row.get(0)?,
        version: unsigned_column(row, 1)?,
        index: unsigned_column(row, 2)?,
        content: row.get(3)?,
    })
}

fn stream_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<StreamRow> {
    Ok(StreamRow {
        kid: KeyThumbprint::from_bytes(row.get(0)?),
        operator: row.get(1)?,
        batches: unsigned_column(row, 2)?,
        records: unsigned_column(row, 3)?,
        last_commitment: row
            .get::<_, Option<[u8; 32]>>(4)?
            .map(CommitmentDigest::from_bytes),
        last_index: row
            .get::<_, Option<i64>>(5)?
            .map(|_| unsigned_column(row, 5))
            .transpose()?,
    })
}

fn unsigned_column(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn unsigned(value: i64) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Damaged(format!("negative number `{value}`")))
}

fn number(value: u64) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::Tree(format!("number `{value}` is too large")))
}

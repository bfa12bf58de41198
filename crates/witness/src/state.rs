//! What a witness must never forget: for each log the checkpoint it cosigned last.

use std::{path::Path, time::Duration};

use counterfoil_durable::{
    committer::Writer,
    sqlite::{self, Format},
};
use counterfoil_tlog::{checkpoint::Checkpoint, note::Note};
use rusqlite::{Connection, Transaction};

use crate::Error;

/// The file's name in a witness directory.
pub(crate) const FILE_NAME: &str = "witness.sqlite";

/// `CFwt`: the database of a Counterfoil witness.
pub(crate) const FORMAT: Format = Format {
    application_id: 0x4346_7774,
    version: 1,
    schema: "
        CREATE TABLE cosigned (
            origin TEXT PRIMARY KEY NOT NULL,
            -- The checkpoint with the log's signatures and our cosignature.
            checkpoint TEXT NOT NULL,
            -- The timestamp of the cosignature, seconds since 1970.
            timestamp INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
    ",
    busy_timeout: Duration::from_secs(5),
};

/// The checkpoint of one log that was cosigned last.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    pub(crate) checkpoint: Checkpoint,
    /// As served: the log's signatures and our cosignature.
    pub(crate) note: Note,
    pub(crate) timestamp: u64,
}

/// Stores the newest checkpoint of a log over the one before.
#[derive(Debug)]
pub(crate) struct StateWriter;

impl Writer for StateWriter {
    type Item = Latest;

    fn write(
        &mut self,
        transaction: &Transaction<'_>,
        items: &[Latest],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO cosigned (origin, checkpoint, timestamp) VALUES (?1, ?2, ?3)
             ON CONFLICT (origin) DO UPDATE SET
                checkpoint = excluded.checkpoint, timestamp = excluded.timestamp",
        )?;
        for item in items {
            let origin = item.checkpoint.origin().as_str();
            let timestamp = i64::try_from(item.timestamp)?;
            statement.execute((origin, item.note.to_string(), timestamp))?;
        }
        Ok(())
    }
}

/// Opens the state of a witness and reads all of it.
pub(crate) fn open(directory: &Path) -> Result<(Connection, Vec<Latest>), Error> {
    let path = directory.join(FILE_NAME);
    let connection = sqlite::open(&path, &FORMAT)?;
    // Copied into the main file after every commit: whoever copies only that file must not bring
    // back a witness that has forgotten what it signed.
    connection
        .pragma_update(None, "wal_autocheckpoint", 1)
        .map_err(|error| Error::State {
            origin: "any".to_owned(),
            detail: error.to_string(),
        })?;
    let rows = read(&connection).map_err(|error| Error::State {
        origin: "any".to_owned(),
        detail: error.to_string(),
    })?;
    let latest = rows.into_iter().map(parse).collect::<Result<_, _>>()?;
    Ok((connection, latest))
}

fn read(connection: &Connection) -> rusqlite::Result<Vec<(String, String, i64)>> {
    connection
        .prepare("SELECT origin, checkpoint, timestamp FROM cosigned")?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

fn parse((origin, note, timestamp): (String, String, i64)) -> Result<Latest, Error> {
    let damaged = |detail: String| Error::State {
        origin: origin.clone(),
        detail,
    };
    let note = Note::parse(note.as_bytes()).map_err(|error| damaged(error.to_string()))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| damaged(error.to_string()))?;
    if checkpoint.origin().as_str() != origin {
        return Err(damaged(format!(
            "it is a checkpoint of `{}`",
            checkpoint.origin()
        )));
    }
    let timestamp = u64::try_from(timestamp).map_err(|error| damaged(error.to_string()))?;
    Ok(Latest {
        checkpoint,
        note,
        timestamp,
    })
}

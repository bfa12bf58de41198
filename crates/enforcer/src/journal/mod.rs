//! The journal: the only durable state of an enforcer.
//!
//! One SQLite file. Records are keyed by their sequence; what was received is kept beside them in
//! the order it came; batches hold the commitments and what the log answered. Every other table
//! can be rebuilt from these. One committer thread writes, anyone may read.

mod place;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use counterfoil_durable::sqlite::{self, Format};
use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure, salted_digest};
use counterfoil_protocol::keys::{PublicKey, SigningKey};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{Sequence, UnixMillis};
use counterfoil_protocol::record::{Body, Event, Record, UnverifiedRecord};

pub(crate) use place::{Mark, Place};
pub use read::{BatchRow, JournalReader, ReceivedRow, RefusedRow};
pub(crate) use write::{Item, JournalWriter, Received, Slot, write_logged};

use crate::error::EnforcerError;

/// The file name of a journal in an operator's home.
pub const FILE_NAME: &str = "journal.sqlite";
/// The folder of a home that holds the journals of retired streams, each in a folder named by its
/// key.
pub const RETIRED: &str = "journals";

const FORMAT: Format = Format {
    application_id: 0x4346_4a31, // "CFJ1"
    version: 1,
    schema: include_str!("schema.sql"),
    busy_timeout: Duration::from_secs(5),
};

/// Whose journal it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The operator.
    pub operator: OperatorName,
    /// The enforcer key, which names the stream.
    pub kid: KeyThumbprint,
    /// The key of the stream before it in the same home, whose journal it takes over from.
    pub follows: Option<PublicKey>,
}

/// The stream that a new one takes over from: its balances, what it received, and the calls that
/// it left without an outcome.
#[derive(Clone, Debug)]
pub struct Before {
    /// Its key.
    pub key: PublicKey,
    /// Whether it was ended in order, so that the new stream may name it as its predecessor.
    pub ended: bool,
}

/// Where the journal of a retired stream lies, beside the journal at `journal`.
pub fn retired_path(journal: &Path, kid: KeyThumbprint) -> PathBuf {
    let home = journal.parent().unwrap_or(Path::new("."));
    home.join(RETIRED).join(kid.to_string()).join(FILE_NAME)
}

/// Says whether the stream of the journal at `path` has ended in order.
///
/// # Errors
/// An error of the journal.
pub fn has_ended(path: &Path) -> Result<bool, EnforcerError> {
    let reader = JournalReader::open(path)?;
    let Some(bytes) = reader.last_record()? else {
        return Ok(false);
    };
    let record = UnverifiedRecord::parse(&bytes)?;
    Ok(matches!(
        record.unverified_content().body,
        Body::Control(Event::StreamClosed { .. })
    ))
}

/// Brings everything that the journal at `path` holds into its one file, which can then be moved.
/// Nobody else may have it open.
///
/// # Errors
/// [`EnforcerError::Journal`].
pub fn settle(path: &Path) -> Result<(), EnforcerError> {
    let connection = JournalReader::open_for_writing(path)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error.into())
}

/// The files of the journal at `path`: itself and its mark.
pub fn files(path: &Path) -> [PathBuf; 2] {
    [path.to_owned(), Mark::path(path)]
}

/// Creates a journal with the first record of the stream in it. A journal without a record is
/// therefore never a new one: something emptied it.
///
/// # Errors
/// [`EnforcerError::Journal`] when the file exists or cannot be written.
pub fn create(
    path: &Path,
    operator: &OperatorName,
    key: &SigningKey,
    now: UnixMillis,
) -> Result<(), EnforcerError> {
    create_after(path, operator, key, now, None)
}

/// Creates the journal of a stream that takes over from another one. Spec: manifests §5.
///
/// # Errors
/// As [`create`].
pub fn create_after(
    path: &Path,
    operator: &OperatorName,
    key: &SigningKey,
    now: UnixMillis,
    before: Option<&Before>,
) -> Result<(), EnforcerError> {
    let kid = key.public().thumbprint();
    let predecessor = before
        .filter(|before| before.ended)
        .map(|before| before.key.thumbprint());
    let first = Record {
        sequence: Sequence::new(0),
        previous: None,
        time: now,
        beacon: None,
        body: Body::Control(Event::StreamOpened { predecessor }),
    };
    let first = first.prepare(operator, kid).sign(key);
    let mut connection = sqlite::create(path, &FORMAT)?;
    let place = Place::of(path).map_err(|error| EnforcerError::Journal(error.to_string()))?;
    let transaction = connection.transaction()?;
    transaction.execute(
        "INSERT INTO identity (operator, kid, follows, inode, born) VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            operator.as_str(),
            kid.as_bytes(),
            before.map(|before| *before.key.as_bytes()),
            place.inode,
            place.born,
        ),
    )?;
    transaction.execute(
        "INSERT INTO record (sequence, bytes) VALUES (0, ?1)",
        (first,),
    )?;
    transaction.commit()?;
    connection
        .close()
        .map_err(|(_, error)| EnforcerError::from(error))?;
    Mark::create(path, kid, 1)
}

/// What opens one salted digest of a record: kept in the journal, never in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Which field.
    pub field: DisclosedField,
    /// Its salt.
    pub salt: Salt,
    /// Its content, only where the operator's configuration keeps clear text.
    pub content: Option<Vec<u8>>,
}

impl Opening {
    /// Digests `content` and keeps what opens the digest; the content itself only if `keep`.
    pub(crate) fn seal(
        field: DisclosedField,
        salt: Salt,
        content: &[u8],
        keep: bool,
    ) -> (ContentDigest, Self) {
        let digest = salted_digest(&salt, field, content);
        (
            digest,
            Self {
                field,
                salt,
                content: keep.then(|| content.to_vec()),
            },
        )
    }

    /// What a disclosure opens; the content itself only if `keep`.
    pub(crate) fn of(disclosure: &Disclosure, keep: bool) -> Self {
        Self {
            field: disclosure.field,
            salt: disclosure.salt,
            content: keep.then(|| disclosure.content.clone()),
        }
    }

    /// Keeps only the salt.
    pub(crate) fn forget(&mut self) {
        self.content = None;
    }

    /// The disclosure, where the content was kept.
    pub fn disclosure(&self) -> Option<Disclosure> {
        let content = self.content.clone()?;
        Some(Disclosure {
            field: self.field,
            salt: self.salt,
            content,
        })
    }
}

//! SQLite, opened the one way this project uses it.
//!
//! Write-ahead log, `synchronous=FULL` (a commit returns after the disk has it), foreign keys on,
//! file mode 0600, and an application id and a format version in the file, so that a wrong file is
//! refused by name instead of read as something it is not. [`create`] and [`open`] are different
//! operations: opening never creates, because an empty journal in the place of a lost one would
//! look like a good one.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::{Error, file};

/// What a component writes into its database, and requires of one it opens.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Says whose database it is (`PRAGMA application_id`). Not zero.
    pub application_id: i32,
    /// The version of the tables (`PRAGMA user_version`). Not zero.
    pub version: i32,
    /// The SQL that creates the tables of this version.
    pub schema: &'static str,
    /// How long to wait for another connection before [`Error::Locked`].
    pub busy_timeout: Duration,
}

/// Creates a new database with the tables of `format`, durably, and opens it.
///
/// # Errors
///
/// [`Error::Exists`] if the file is there, whatever is in it. After any other error the file does
/// not exist.
pub fn create(path: &Path, format: &Format) -> Result<Connection, Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io("create", path, error))?;
    let created = fill(path, format).and_then(|connection| {
        file::sync_parent(path)?;
        Ok(connection)
    });
    if created.is_err() {
        // The first error is the one to report; what cannot be removed is empty or unversioned,
        // and `open` refuses both.
        let _ = fs::remove_file(path);
    }
    created
}

/// Opens an existing database for reading and writing.
///
/// # Errors
///
/// [`Error::Missing`], [`Error::Empty`], [`Error::NotADatabase`], [`Error::WrongApplication`],
/// [`Error::WrongVersion`], [`Error::Locked`], or what the system said.
pub fn open(path: &Path, format: &Format) -> Result<Connection, Error> {
    refuse_absent_or_empty(path)?;
    let connection = connect(path, format, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    check_identity(&connection, path, format)?;
    configure(&connection, path)?;
    Ok(connection)
}

/// Opens an existing database for reading only, beside whoever writes to it.
///
/// # Errors
///
/// As [`open`].
pub fn open_read_only(path: &Path, format: &Format) -> Result<Connection, Error> {
    refuse_absent_or_empty(path)?;
    let connection = connect(path, format, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check_identity(&connection, path, format)?;
    Ok(connection)
}

fn fill(path: &Path, format: &Format) -> Result<Connection, Error> {
    let failed = |error| Error::sqlite("create the tables of", path, error);
    let mut connection = connect(path, format, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    configure(&connection, path)?;
    // One transaction, so that a database with an identity always has its tables.
    let transaction = connection.transaction().map_err(failed)?;
    transaction.execute_batch(format.schema).map_err(failed)?;
    transaction
        .pragma_update(None, "application_id", format.application_id)
        .and_then(|()| transaction.pragma_update(None, "user_version", format.version))
        .and_then(|()| transaction.commit())
        .map_err(failed)?;
    Ok(connection)
}

fn refuse_absent_or_empty(path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
    if !metadata.is_file() {
        return Err(Error::NotADatabase {
            path: path.to_owned(),
        });
    }
    if metadata.len() == 0 {
        return Err(Error::Empty {
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn connect(path: &Path, format: &Format, access: OpenFlags) -> Result<Connection, Error> {
    let failed = |error| Error::sqlite("open", path, error);
    // Without SQLITE_OPEN_CREATE and SQLITE_OPEN_URI: a name is a name, and it must be there.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection
        .busy_timeout(format.busy_timeout)
        .map_err(failed)?;
    Ok(connection)
}

fn check_identity(connection: &Connection, path: &Path, format: &Format) -> Result<(), Error> {
    let read = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            .map_err(|error| Error::sqlite("open", path, error))
    };
    let found = read("application_id")?;
    if found != format.application_id {
        let expected = format.application_id;
        return Err(Error::WrongApplication {
            path: path.to_owned(),
            found,
            expected,
        });
    }
    let found = read("user_version")?;
    if found != format.version {
        let expected = format.version;
        return Err(Error::WrongVersion {
            path: path.to_owned(),
            found,
            expected,
        });
    }
    Ok(())
}

fn configure(connection: &Connection, path: &Path) -> Result<(), Error> {
    let failed = |error| Error::sqlite("configure", path, error);
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        // A file system without shared memory; the durability promised here needs the WAL.
        return Err(Error::Io {
            action: "use a write-ahead log for",
            path: path.to_owned(),
            source: std::io::Error::from(std::io::ErrorKind::Unsupported),
        });
    }
    connection
        .pragma_update(None, "synchronous", "FULL")
        .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
        .and_then(|()| connection.pragma_update(None, "trusted_schema", false))
        .map_err(failed)
}

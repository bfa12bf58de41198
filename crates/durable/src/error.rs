//! What can go wrong when durable state is created, opened, read or locked.

use std::path::{Path, PathBuf};

/// Why durable state could not be created, opened, read, written or locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file or directory is not there. Opening never creates.
    #[error("`{path}` does not exist")]
    Missing {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The file or directory is there already. Creating never overwrites.
    #[error("`{path}` exists already")]
    Exists {
        /// The path that was to be created.
        path: PathBuf,
    },
    /// The file holds a secret, and others than its owner may read or write it.
    #[error("`{path}` is open to others (mode `{mode:o}`); it must be `600`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file has no content: its creation was cut short, or something emptied it.
    #[error("`{path}` is empty, it holds no database")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is not an SQLite database, or its header is damaged.
    #[error("`{path}` is not an SQLite database")]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The database belongs to another component or another program.
    #[error("`{path}` has application id `{found:#010x}`, expected `{expected:#010x}`")]
    WrongApplication {
        /// The file.
        path: PathBuf,
        /// The id in the file.
        found: i32,
        /// The id of the component that opened it.
        expected: i32,
    },
    /// The database was written by another version of this component.
    #[error("`{path}` has format version `{found}`, this program knows version `{expected}`")]
    WrongVersion {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: i32,
        /// The version this program knows.
        expected: i32,
    },
    /// Another connection holds the database for longer than the busy timeout.
    #[error("`{path}` is locked by another connection")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the directory.
    #[error("`{directory}` is in use by {}", match process {
        Some(id) => format!("process {id}"),
        None => "another process".to_owned(),
    })]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process that holds it, where it could be read.
        process: Option<u32>,
    },
    /// Any other failure of SQLite.
    #[error("cannot {action} `{path}`: {source}")]
    Sqlite {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Any other failure of the file system.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Gives an input/output error its place; a missing or existing file becomes its own variant.
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { path },
            std::io::ErrorKind::AlreadyExists => Self::Exists { path },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// Gives an SQLite error its place; a busy or foreign file becomes its own variant.
    pub(crate) fn sqlite(action: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => Self::NotADatabase { path },
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                Self::Locked { path }
            }
            _ => Self::Sqlite {
                action,
                path,
                source,
            },
        }
    }
}

//! What tells the file that a journal was made in from every copy of it. Spec: faults §6.
//!
//! Two things are compared when a journal is opened to be continued.
//!
//! * **The file.** Its inode number and, where the file system keeps it, the time it was made. A
//!   file that was copied, restored from an archive, or moved to another disk differs in one of
//!   them; neither can be set by a program. The device number is left out: it changes when a
//!   machine starts again.
//! * **The mark**, a small file beside the journal that says how many records were durable. It is
//!   written after each commit and never before, so a journal that holds fewer records has lost
//!   some: somebody wrote an older content into its own file. The mark is not synced. After a
//!   power failure it may be behind, never ahead.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use counterfoil_durable::file::{self, Access};
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::numbers::Sequence;

use crate::error::EnforcerError;

/// What a file system says of one file that no copy of it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) inode: i64,
    /// When the file was made, in nanoseconds since 1970; none where that is not kept.
    pub(crate) born: Option<i64>,
}

impl Place {
    /// The place of the file at `path`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let born = metadata
            .created()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .and_then(|age| i64::try_from(age.as_nanos()).ok());
        Ok(Self {
            inode: metadata.ino().cast_signed(),
            born,
        })
    }
}

/// The file beside a journal that says how many records were durable in it.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    kid: KeyThumbprint,
}

impl Mark {
    /// Where the mark of the journal at `journal` is.
    pub(crate) fn path(journal: &Path) -> PathBuf {
        let mut name = journal.as_os_str().to_owned();
        name.push(".mark");
        name.into()
    }

    /// Makes the mark of a new journal, durably.
    pub(crate) fn create(
        journal: &Path,
        kid: KeyThumbprint,
        records: u64,
    ) -> Result<(), EnforcerError> {
        let path = Self::path(journal);
        Ok(file::create(
            &path,
            line(kid, records).as_bytes(),
            Access::Owner,
        )?)
    }

    /// Opens the mark and compares it with a journal of the stream `kid` that holds the records
    /// before `next`.
    ///
    /// # Errors
    /// [`EnforcerError::JournalCopied`] when it is missing, of another stream, or says that there
    /// were more records.
    pub(crate) fn open(
        journal: &Path,
        kid: KeyThumbprint,
        next: Sequence,
    ) -> Result<Self, EnforcerError> {
        let path = Self::path(journal);
        let copied = |why: String| EnforcerError::JournalCopied(why);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(copied(format!("its mark `{}` is missing", path.display())));
            }
            Err(error) => {
                return Err(EnforcerError::Journal(format!(
                    "`{}`: {error}",
                    path.display()
                )));
            }
        };
        let records = parse(&text, kid)
            .ok_or_else(|| copied(format!("`{}` is not its mark", path.display())))?;
        if records > next.get() {
            return Err(copied(format!(
                "{records} records were durable in it, and it holds {next}"
            )));
        }
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(|error| EnforcerError::Journal(format!("`{}`: {error}", path.display())))?;
        Ok(Self { file, kid })
    }

    /// Says that so many records are durable. Never longer than what is there, so that no space is
    /// needed.
    pub(crate) fn set(&self, records: u64) -> io::Result<()> {
        self.file
            .write_all_at(line(self.kid, records).as_bytes(), 0)
    }
}

fn line(kid: KeyThumbprint, records: u64) -> String {
    format!("{kid} {records:020}\n")
}

fn parse(text: &str, kid: KeyThumbprint) -> Option<u64> {
    let (stream, records) = text.strip_suffix('\n')?.split_once(' ')?;
    (stream == kid.to_string() && records.len() == 20)
        .then(|| records.parse().ok())
        .flatten()
}

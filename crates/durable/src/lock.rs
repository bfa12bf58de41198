//! One process per directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::Error;

/// Holds `<directory>/lock` until dropped, or until the process ends in whatever way.
///
/// The file itself stays: removing it would let two processes lock two different files of the
/// same name.
#[derive(Debug)]
pub struct DirectoryLock {
    directory: PathBuf,
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of an existing directory, at once or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if another process (or another part of this one) holds it,
    /// [`Error::Missing`] if there is no such directory, or what the system said.
    pub fn acquire(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| match Error::io("open", &path, error) {
                Error::Missing { .. } => Error::Missing {
                    path: directory.to_owned(),
                },
                other => other,
            })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // For the message only: a holder that cannot be read is still a holder.
                let _ = file.read_to_string(&mut holder);
                let process = holder.trim().parse().ok();
                return Err(Error::InUse {
                    directory: directory.to_owned(),
                    process,
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path, error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|error| Error::io("write", &path, error))?;
        Ok(Self {
            directory: directory.to_owned(),
            _file: file,
        })
    }

    /// The directory that is held.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

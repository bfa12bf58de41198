//! Whole files, written atomically and durably.
//!
//! A reader sees the old content or the new, never a part; after a function here has returned, the
//! content survives a power cut. Content goes to a temporary name in the same directory, is
//! synced, takes its name in one step, and the directory is synced too.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::Error;

/// Who may read a file that is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Mode 0600: keys, and whatever else is nobody's business.
    Owner,
    /// Mode 0644: what is served to everyone anyway.
    Everyone,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everyone => 0o644,
        }
    }
}

/// Replaces the content of `path`, or creates it.
///
/// # Errors
///
/// What the system said. The old content is in place then, unless the last step (syncing the
/// directory) failed: which of the two a power cut would leave is then unknown, and the caller
/// must stop.
pub fn replace(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    let temporary = write_temporary(path, content, access)?;
    if let Err(error) = fs::rename(&temporary, path) {
        let _ = fs::remove_file(&temporary);
        return Err(Error::io("replace", path, error));
    }
    sync_parent(path)
}

/// Overwrites `path` in place, or creates it: half the cost of [`replace`], but not atomic.
///
/// The name of a file that is there is taken to be durable. A process that finds one from a run
/// that was cut short makes sure of it once, with [`sync_directory`].
///
/// For content that is worth something only after this has returned, such as a staged bundle that a
/// later commit refers to. Whoever reads it must be able to tell a torn file.
///
/// # Errors
///
/// What the system said. The file may then hold anything.
pub fn overwrite(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    let failed = |error| Error::io("overwrite", path, error);
    let existed = path.exists();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(access.mode())
        .open(path)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    if existed { Ok(()) } else { sync_parent(path) }
}

/// Creates `path` with `content`; never overwrites.
///
/// # Errors
///
/// [`Error::Exists`] if there is a file of that name, or what the system said.
pub fn create(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    let temporary = write_temporary(path, content, access)?;
    // A link, unlike a rename, fails where the name is taken.
    let linked = fs::hard_link(&temporary, path).map_err(|error| Error::io("create", path, error));
    let _ = fs::remove_file(&temporary);
    linked?;
    sync_parent(path)
}

/// Creates one directory with mode 0700; its parent must be there.
///
/// # Errors
///
/// [`Error::Exists`] if there is anything of that name, or what the system said.
pub fn create_directory(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::io("create directory", path, error))?;
    sync_parent(path)
}

/// Creates a directory and every missing one above it, with mode 0755, each durably.
///
/// The name of a directory that is there is made durable too: a process that was cut short may have
/// created it and not come any further.
///
/// # Errors
///
/// What the system said.
pub fn ensure_directory(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return sync_parent(path);
    }
    ensure_directory(parent(path))?;
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => sync_parent(path),
        // Someone else was faster; their sync may not have run yet.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {
            sync_parent(path)
        }
        Err(error) => Err(Error::io("create directory", path, error)),
    }
}

/// Reads a whole file.
///
/// # Errors
///
/// [`Error::Missing`] if it is not there, or what the system said.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::io("read", path, error))
}

/// Reads a whole file of UTF-8 text.
///
/// # Errors
///
/// As [`read`], and [`Error::Io`] if the content is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::io("read", path, error))
}

/// Reads a file of UTF-8 text that nobody but its owner may read.
///
/// # Errors
///
/// [`Error::Exposed`] if its mode lets others read or write it: a key that others have read is no
/// longer one. Otherwise as [`read_text`].
pub fn read_secret(path: &Path) -> Result<String, Error> {
    let failed = |error| Error::io("read", path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Removes the temporary files that a process left in a directory when it was cut short. Only for
/// a directory that no other process writes to.
///
/// # Errors
///
/// What the system said. A directory that is not there has nothing to remove.
pub fn remove_temporary(directory: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("clean", directory, error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let is_ours = entry.file_name().to_str().is_some_and(is_temporary);
        if is_ours && entry.file_type().map_err(failed)?.is_file() {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Whether [`write_temporary`] gives such names: `<name>.<process>.<number>.tmp`.
fn is_temporary(name: &str) -> bool {
    let number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut parts = name.rsplit('.');
    parts.next() == Some("tmp")
        && number(parts.next())
        && number(parts.next())
        && parts.next().is_some()
}

/// Makes the names in a directory durable.
///
/// # Errors
///
/// What the system said.
pub fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::io("sync directory", path, error))
}

pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    sync_directory(parent(path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

fn write_temporary(path: &Path, content: &[u8], access: Access) -> Result<PathBuf, Error> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}.{number}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);

    let write = || {
        // Left over from a process of the same id that was killed.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(access.mode())
            .open(&temporary)?;
        // The mode given at opening is cut by the umask; the one promised is not.
        file.set_permissions(Permissions::from_mode(access.mode()))?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        // Named by the file the caller knows, not by the temporary one.
        match Error::io("write", path, error) {
            Error::Missing { .. } => Error::Missing {
                path: parent(path).to_owned(),
            },
            other => other,
        }
    })?;
    Ok(temporary)
}

//! Where tiles and entry bundles lie.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use counterfoil_durable::{
    Error as DurableError,
    file::{self, Access},
};
use counterfoil_tlog::{
    tile::{BundleId, TileId, parse_bundle},
    tree::Hash,
};

use crate::Error;

/// A blob and its name: its path below the log's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
}

/// A durable store of immutable blobs and of one staged bundle.
///
/// Every write must be durable when it returns `Ok`. After an `Err` it may have happened or not, or
/// in part; the caller stops and finds out at the next start. Reads may be cached, never stale.
pub(crate) trait BlobStore {
    /// Writes blobs, in any order. Must succeed where the same content is there already, and must
    /// refuse to change what is there.
    fn put(&self, blobs: &[Blob]) -> Result<(), Error>;

    /// Reads a blob, `None` if there is none.
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Replaces the staged bundle. May leave garbage when it fails or is cut short: a staged
    /// bundle counts only once the lock has been swapped to what it leads to.
    fn stage(&self, content: &[u8]) -> Result<(), Error>;

    /// Reads the staged bundle, `None` before the first.
    fn staged(&self) -> Result<Option<Vec<u8>>, Error>;

    /// Makes the names of blobs durable that are there: whoever wrote them may have been cut short
    /// before it could. Also removes what it has left half written beside them.
    fn settle(&self, paths: &[String]) -> Result<(), Error>;

    /// Removes the partial versions of a full tile or bundle. Need not be durable, may do nothing:
    /// it is called when the full one is in place and checked.
    fn remove_partials(&self, full_path: &str);
}

/// A tile as it is in a tree, cut out of the full one where the partial one is gone.
pub(crate) fn tile(store: &impl BlobStore, id: TileId) -> Result<Option<Vec<u8>>, Error> {
    if let Some(bytes) = store.get(&id.path())? {
        return Ok(Some(bytes));
    }
    if id.width().is_full() {
        return Ok(None);
    }
    let full = store.get(&id.full().path())?;
    Ok(full.and_then(|bytes| bytes.get(..id.byte_len()).map(<[u8]>::to_vec)))
}

/// An entry bundle as it is in a tree, cut out of the full one where the partial one is gone.
pub(crate) fn bundle(store: &impl BlobStore, id: BundleId) -> Result<Option<Vec<u8>>, Error> {
    if let Some(bytes) = store.get(&id.path())? {
        return Ok(Some(bytes));
    }
    if id.width().is_full() {
        return Ok(None);
    }
    let Some(full) = store.get(&id.full().path())? else {
        return Ok(None);
    };
    let entries = parse_bundle(&full, id.full().width())
        .map_err(|error| Error::Damaged(format!("`{}`: {error}", id.full())))?;
    let length = entries
        .iter()
        .take(usize::from(id.width().get()))
        .map(|e| e.len() + 2)
        .sum();
    Ok(full.get(..length).map(<[u8]>::to_vec))
}

/// A tile that must be there.
pub(crate) fn required_tile(store: &impl BlobStore, id: TileId) -> Result<Vec<u8>, Error> {
    tile(store, id)?.ok_or_else(|| Error::Damaged(format!("`{id}` is missing")))
}

/// The hashes of a tile that must be there.
pub(crate) fn tile_hashes(store: &impl BlobStore, id: TileId) -> Result<Vec<Hash>, Error> {
    let bytes = required_tile(store, id)?;
    id.hashes(&bytes)
        .map_err(|error| Error::Damaged(format!("`{id}`: {error}")))
}

/// The entries of a bundle that must be there.
pub(crate) fn bundle_entries(store: &impl BlobStore, id: BundleId) -> Result<Vec<Vec<u8>>, Error> {
    let bytes = bundle(store, id)?.ok_or_else(|| Error::Damaged(format!("`{id}` is missing")))?;
    let entries = parse_bundle(&bytes, id.width())
        .map_err(|error| Error::Damaged(format!("`{id}`: {error}")))?;
    Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
}

/// How many files are written at the same time.
const WRITERS: usize = 8;

/// Blobs as files. `<log>/tiles/` has them at their URL paths, so a plain web server can serve it.
#[derive(Clone, Debug)]
pub(crate) struct FileStore {
    tiles: PathBuf,
    staged: PathBuf,
    /// Directories whose names this process has made durable.
    settled: Arc<Mutex<HashSet<PathBuf>>>,
}

impl FileStore {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            tiles: directory.join("tiles"),
            staged: directory.join("staged"),
            settled: Arc::default(),
        }
    }

    /// The directory a web server may serve.
    pub(crate) fn public_directory(&self) -> &Path {
        &self.tiles
    }
}

impl FileStore {
    /// As [`file::ensure_directory`], once for each directory.
    fn ensure_directory(&self, path: &Path) -> Result<(), Error> {
        if self.settled().contains(path) {
            return Ok(());
        }
        // From the top down: a directory may be there whose parent's name is not durable yet.
        if let Some(parent) = path.parent().filter(|_| path != self.tiles) {
            self.ensure_directory(parent)?;
        }
        file::ensure_directory(path)?;
        self.settled().insert(path.to_owned());
        Ok(())
    }

    fn settled(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_one(&self, blob: &Blob) -> Result<(), Error> {
        let path = self.tiles.join(&blob.path);
        if let Some(parent) = path.parent() {
            self.ensure_directory(parent)?;
        }
        match file::create(&path, &blob.content, Access::Everyone) {
            Err(DurableError::Exists { .. }) => {
                if self.get(&blob.path)?.as_ref() != Some(&blob.content) {
                    return Err(Error::TileContradicts {
                        path: blob.path.clone(),
                    });
                }
                // From a run that was cut short; its name may not have reached the disk.
                Ok(path.parent().map_or(Ok(()), file::sync_directory)?)
            }
            other => Ok(other?),
        }
    }
}

impl BlobStore for FileStore {
    fn put(&self, blobs: &[Blob]) -> Result<(), Error> {
        // Side by side, because each waits for the disk twice and the disk can do many at once.
        let share = blobs.len().div_ceil(WRITERS).max(1);
        thread::scope(|scope| {
            let writers: Vec<_> = blobs
                .chunks(share)
                .map(|blobs| {
                    let write = || blobs.iter().try_for_each(|blob| self.put_one(blob));
                    thread::Builder::new().spawn_scoped(scope, write)
                })
                .collect();
            let mut result = Ok(());
            for writer in writers {
                let written = match writer.map(thread::ScopedJoinHandle::join) {
                    Ok(Ok(written)) => written,
                    Ok(Err(_)) => Err(Error::System("a writer panicked".to_owned())),
                    Err(error) => Err(Error::System(format!("no thread: {error}"))),
                };
                result = result.and(written);
            }
            result
        })
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        read_optional(&self.tiles.join(path))
    }

    fn stage(&self, content: &[u8]) -> Result<(), Error> {
        Ok(file::overwrite(&self.staged, content, Access::Owner)?)
    }

    fn staged(&self) -> Result<Option<Vec<u8>>, Error> {
        read_optional(&self.staged)
    }

    fn settle(&self, paths: &[String]) -> Result<(), Error> {
        let mut directories: Vec<_> = paths
            .iter()
            .filter_map(|path| self.tiles.join(path).parent().map(Path::to_owned))
            .collect();
        // The published checkpoint, and the staged bundle beside `tiles`.
        directories.push(self.tiles.clone());
        directories.extend(self.staged.parent().map(Path::to_owned));
        directories.sort();
        directories.dedup();
        for directory in directories.iter().filter(|directory| directory.is_dir()) {
            file::remove_temporary(directory)?;
            if directory.starts_with(&self.tiles) {
                self.ensure_directory(directory)?;
            }
            file::sync_directory(directory)?;
        }
        Ok(())
    }

    fn remove_partials(&self, full_path: &str) {
        let path = self.tiles.join(format!("{full_path}.p"));
        self.settled().remove(&path);
        let _ = std::fs::remove_dir_all(path);
    }
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match file::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(DurableError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

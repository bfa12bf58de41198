//! Where tiles and entry bundles lie.

use std::path::{Path, PathBuf};

use counterfoil_durable::{
    Error as DurableError,
    file::{self, Access},
};
use counterfoil_tlog::{
    tile::{BundleId, TileId, parse_bundle},
    tree::Hash,
};

use crate::Error;

/// A durable store of immutable blobs, named by their path below the log's URL, and of one staged
/// bundle.
///
/// Every write must be durable when it returns `Ok`. After an `Err` the blob may be there or not;
/// the caller stops and finds out at the next start. Reads may be cached, never stale.
pub(crate) trait BlobStore {
    /// Writes a blob. Must succeed if the same content is there already, and must refuse to change
    /// what is there.
    fn put(&self, path: &str, content: &[u8]) -> Result<(), Error>;

    /// Reads a blob, `None` if there is none.
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Replaces the staged bundle, all of it or nothing.
    fn stage(&self, content: &[u8]) -> Result<(), Error>;

    /// Reads the staged bundle, `None` before the first.
    fn staged(&self) -> Result<Option<Vec<u8>>, Error>;

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

/// Blobs as files. `<log>/tiles/` has them at their URL paths, so a plain web server can serve it.
#[derive(Clone, Debug)]
pub(crate) struct FileStore {
    tiles: PathBuf,
    staged: PathBuf,
}

impl FileStore {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            tiles: directory.join("tiles"),
            staged: directory.join("staged"),
        }
    }

    /// The directory a web server may serve.
    pub(crate) fn public_directory(&self) -> &Path {
        &self.tiles
    }
}

impl BlobStore for FileStore {
    fn put(&self, path: &str, content: &[u8]) -> Result<(), Error> {
        let file_path = self.tiles.join(path);
        if let Some(parent) = file_path.parent() {
            file::ensure_directory(parent)?;
        }
        match file::create(&file_path, content, Access::Everyone) {
            Err(DurableError::Exists { .. }) => {
                if self.get(path)?.as_deref() != Some(content) {
                    return Err(Error::TileContradicts {
                        path: path.to_owned(),
                    });
                }
                // From a run that was cut short; its name may not have reached the disk.
                Ok(file_path.parent().map_or(Ok(()), file::sync_directory)?)
            }
            other => Ok(other?),
        }
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        read_optional(&self.tiles.join(path))
    }

    fn stage(&self, content: &[u8]) -> Result<(), Error> {
        Ok(file::replace(&self.staged, content, Access::Owner)?)
    }

    fn staged(&self) -> Result<Option<Vec<u8>>, Error> {
        read_optional(&self.staged)
    }

    fn remove_partials(&self, full_path: &str) {
        let _ = std::fs::remove_dir_all(self.tiles.join(format!("{full_path}.p")));
    }
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match file::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(DurableError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

//! Folders whose files are generated and committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Files by their paths below a folder.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Writes `wanted` below `folder`, and removes what is in its subfolders besides.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, wanted: &Files) -> Result<()> {
    for path in existing(folder)?.keys() {
        if !wanted.contains_key(path) {
            fs::remove_file(folder.join(path)).with_context(|| path.clone())?;
        }
    }
    for (path, bytes) in wanted {
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&file, bytes).with_context(|| path.clone())?;
    }
    Ok(())
}

/// Checks that the subfolders of `folder` hold exactly `wanted`.
///
/// # Errors
/// Names the first file that is missing, superfluous or different.
pub fn check(folder: &Path, wanted: &Files) -> Result<()> {
    let found = existing(folder)?;
    let shown = |path: &str| folder.join(path).display().to_string();
    for (path, bytes) in wanted {
        match found.get(path) {
            None => bail!(
                "{} is missing; `cargo xtask vectors` writes it",
                shown(path)
            ),
            Some(found) if found != bytes => {
                bail!("{} differs; `cargo xtask vectors` writes it", shown(path))
            }
            Some(_) => {}
        }
    }
    match found.keys().find(|path| !wanted.contains_key(*path)) {
        Some(path) => bail!(
            "{} is not generated; `cargo xtask vectors` removes it",
            shown(path)
        ),
        None => Ok(()),
    }
}

fn existing(root: &Path) -> Result<Files> {
    let mut files = Files::new();
    for folder in entries(root)?.into_iter().filter(|path| path.is_dir()) {
        for file in entries(&folder)? {
            let path = file
                .strip_prefix(root)?
                .to_string_lossy()
                .replace('\\', "/");
            files.insert(path, fs::read(&file)?);
        }
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

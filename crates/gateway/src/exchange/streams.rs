//! Which streams of our operator a gateway serves: its own, the retired ones of its home, and those
//! of further enforcers whose homes it can read.
//!
//! The manifest has one exchange address for all of an operator's streams. The gateway that answers
//! there reads the journals of the others: `journals/` in its home has a folder for each retired
//! stream, and a link to the home of each further enforcer. Spec: mcp §8.

use std::fs;
use std::path::{Path, PathBuf};

use counterfoil_enforcer::journal::{FILE_NAME, JournalReader, RETIRED};
use counterfoil_protocol::digest::KeyThumbprint;

/// The journals served by the gateway with this one, by stream.
pub(super) fn served(journal: &Path) -> Vec<(KeyThumbprint, PathBuf)> {
    let mut journals = vec![journal.to_owned()];
    let home = journal.parent().unwrap_or(Path::new("."));
    for folder in folders(&home.join(RETIRED)) {
        // A further enforcer has retired streams too.
        journals.extend(folders(&folder.join(RETIRED)).map(|retired| retired.join(FILE_NAME)));
        journals.push(folder.join(FILE_NAME));
    }
    let mut served = Vec::new();
    for path in journals {
        match JournalReader::open(&path).and_then(|reader| reader.identity()) {
            Ok(identity) => served.push((identity.kid, path)),
            // One that cannot be read must not keep the others from being served.
            Err(error) => {
                tracing::warn!(journal = %path.display(), %error, "a stream is not served");
            }
        }
    }
    served
}

/// The journals of the retired streams of this home. Further enforcers see to their own.
pub(super) fn retired(journal: &Path) -> impl Iterator<Item = (KeyThumbprint, PathBuf)> {
    let home = journal.parent().unwrap_or(Path::new("."));
    folders(&home.join(RETIRED))
        .filter(|folder| !folder.is_symlink())
        .filter_map(|folder| {
            let path = folder.join(FILE_NAME);
            let identity = JournalReader::open(&path).ok()?.identity().ok()?;
            Some((identity.kid, path))
        })
}

fn folders(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join(FILE_NAME).exists())
}

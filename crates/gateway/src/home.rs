//! The operator home: which file lies where, and reading the secret ones.
//!
//! | path | holds |
//! |---|---|
//! | `operator.toml` | the configuration |
//! | `keys/root.pem`, `keys/enforcer.pem` | the private keys, mode 0600 |
//! | `manifests/<version>.manifest`, `.tlog-proof` | our manifests, and that they are logged |
//! | `peers/<operator>/<version>.manifest`, `.tlog-proof` | those of other operators |
//! | `policy/` | the policy set and its schema |
//! | `journal.sqlite`, `journal.sqlite.mark` | the journal and its mark; made by `init`, never by a gateway |
//! | `journals/<key>/` | the journals of retired streams; links to the homes of further enforcers |
//! | `rotation/` | what a rotation has made that is not finished |
//! | `trust` | the trust file |
//! | `lock` | held by the process that writes the journal |
//! | `control.sock` | where a running gateway does what commands ask, mode 0600 |

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::ManifestVersion;
use counterfoil_protocol::receipt::LoggedManifest;
use zeroize::Zeroizing;

use crate::config;
use crate::error::GatewayError;

/// The most bytes of a key or token file.
const MAX_SECRET_BYTES: u64 = 16 * 1024;

/// An operator home.
#[derive(Clone, Debug)]
pub struct Home {
    directory: PathBuf,
}

impl Home {
    /// The home at `directory`, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.directory.join(config::FILE_NAME)
    }

    /// The directory of the keys.
    pub fn keys(&self) -> PathBuf {
        self.directory.join("keys")
    }

    /// The root key.
    pub fn root_key(&self) -> PathBuf {
        self.keys().join("root.pem")
    }

    /// The enforcer key.
    pub fn enforcer_key(&self) -> PathBuf {
        self.keys().join("enforcer.pem")
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.directory
            .join(counterfoil_enforcer::journal::FILE_NAME)
    }

    /// The directory of the journals of retired streams, each in a directory named by its key, and
    /// of links to the homes of further enforcers.
    pub fn journals(&self) -> PathBuf {
        self.directory.join(counterfoil_enforcer::journal::RETIRED)
    }

    /// The journals of retired streams. Those of further enforcers are not among them.
    ///
    /// # Errors
    /// [`GatewayError::File`] when the directory cannot be read.
    pub fn retired_journals(&self) -> Result<Vec<PathBuf>, GatewayError> {
        let path = self.journals();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let mut journals = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&path, &error))?;
            // Not through links.
            let kind = entry.file_type();
            if kind.is_ok_and(|kind| kind.is_dir()) {
                let journal = entry.path().join(counterfoil_enforcer::journal::FILE_NAME);
                if journal.exists() {
                    journals.push(journal);
                }
            }
        }
        journals.sort();
        Ok(journals)
    }

    /// What a rotation that is not finished has made.
    pub fn rotation(&self) -> PathBuf {
        self.directory.join("rotation")
    }

    /// The root key that is to replace the present one.
    pub fn next_root_key(&self) -> PathBuf {
        self.keys().join("root-next.pem")
    }

    /// The directory of the policy set.
    pub fn policy(&self) -> PathBuf {
        self.directory.join("policy")
    }

    /// The trust file.
    pub fn trust(&self) -> PathBuf {
        self.directory.join("trust")
    }

    /// The socket of a running gateway.
    pub fn control_socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    /// The directory of our manifests.
    pub fn manifests(&self) -> PathBuf {
        self.directory.join("manifests")
    }

    /// The directory of all other operators' manifests.
    pub fn peers(&self) -> PathBuf {
        self.directory.join("peers")
    }

    /// The directory of another operator's manifests.
    pub fn peer(&self, operator: &OperatorName) -> PathBuf {
        self.peers().join(operator.as_str())
    }

    /// The names of the operators whose manifests are kept.
    ///
    /// # Errors
    /// [`GatewayError::File`] when the directory cannot be read or holds anything else.
    pub fn peer_names(&self) -> Result<Vec<OperatorName>, GatewayError> {
        let path = self.peers();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&path, &error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let name = OperatorName::new(name).map_err(|failure| GatewayError::File {
                path: entry.path(),
                detail: failure.detail().to_owned(),
            })?;
            names.push(name);
        }
        names.sort();
        Ok(names)
    }
}

/// The file names of one manifest version in its directory: the manifest and its log proof.
pub fn manifest_files(directory: &Path, version: ManifestVersion) -> (PathBuf, PathBuf) {
    (
        directory.join(format!("{version}.manifest")),
        directory.join(format!("{version}.tlog-proof")),
    )
}

/// Reads the manifests of one directory, oldest first, beginning with version 1.
///
/// # Errors
/// [`GatewayError::File`].
pub fn read_manifests(directory: &Path) -> Result<Vec<LoggedManifest>, GatewayError> {
    let mut manifests = Vec::new();
    for version in 1.. {
        let (manifest, proof) = manifest_files(directory, ManifestVersion::new(version));
        let Some(manifest) = read_if_there(&manifest)? else {
            break;
        };
        manifests.push(LoggedManifest {
            manifest,
            log_proof: read_if_there(&proof)?,
        });
    }
    Ok(manifests)
}

/// Reads a private key, which must be readable by its owner alone.
///
/// # Errors
/// [`GatewayError::KeyExposed`], or [`GatewayError::File`] when it is missing or no key. Nothing
/// of the content is repeated.
pub fn read_key(path: &Path) -> Result<SigningKey, GatewayError> {
    let pem = read_secret(path)?;
    SigningKey::from_pem(&pem).map_err(|failure| GatewayError::File {
        path: path.to_owned(),
        detail: failure.detail().to_owned(),
    })
}

/// Reads a bearer token: one line of at least 16 visible ASCII characters, mode 0600.
///
/// # Errors
/// As [`read_key`].
pub fn read_token(path: &Path) -> Result<Zeroizing<String>, GatewayError> {
    let text = read_secret(path)?;
    let token = text.strip_suffix('\n').unwrap_or(&text);
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(GatewayError::File {
            path: path.to_owned(),
            detail: "not one line of at least 16 visible ASCII characters".to_owned(),
        });
    }
    Ok(Zeroizing::new(token.to_owned()))
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, GatewayError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    // Asked of the open file: its name could lead elsewhere a moment later.
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(GatewayError::File {
            path: path.to_owned(),
            detail: "not a file".to_owned(),
        });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(GatewayError::KeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET_BYTES as usize));
    file.take(MAX_SECRET_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(path, &error))?;
    Ok(text)
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, GatewayError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> GatewayError {
    GatewayError::File {
        path: path.to_owned(),
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("enforcer.pem");
        let key = SigningKey::from_seed(&Zeroizing::new([3; 32])).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o610] {
            write(&path, &key.to_pem().unwrap(), mode);
            assert_eq!(read_key(&path).unwrap_err().code(), "key_exposed");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read_key(&path).unwrap_err().code(), "file_unreadable");
        write(&path, "not a key", 0o600);
        let error = read_key(&path).unwrap_err();
        assert_eq!(error.code(), "file_unreadable");
        assert!(!error.to_string().contains("not a key"));
        write(&path, &key.to_pem().unwrap(), 0o600);
        assert_eq!(read_key(&path).unwrap().public(), key.public());
    }

    #[test]
    fn tokens_are_one_line_and_not_guessable_at_a_glance() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for bad in [
            "",
            "short\n",
            "two words in one token\n",
            "0123456789abcdef\n\n",
        ] {
            write(&path, bad, 0o600);
            assert!(read_token(&path).is_err(), "{bad:?}");
        }
        write(&path, "0123456789abcdef\n", 0o600);
        assert_eq!(read_token(&path).unwrap().as_str(), "0123456789abcdef");
        write(&path, "0123456789abcdef\n", 0o644);
        assert_eq!(read_token(&path).unwrap_err().code(), "key_exposed");
    }

    #[test]
    fn manifests_are_read_in_order_up_to_the_first_gap() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["1.manifest", "1.tlog-proof", "2.manifest", "4.manifest"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let read = read_manifests(directory.path()).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].log_proof.as_deref(), Some(&b"1.tlog-proof"[..]));
        assert_eq!(read[1].log_proof, None);
    }
}

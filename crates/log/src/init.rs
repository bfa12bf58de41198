//! The directory of a new log.

use std::path::Path;

use counterfoil_durable::file::{self, Access};
use counterfoil_tlog::{
    checkpoint::{Checkpoint, Origin},
    note::{Algorithm, KeyName, SignerKey, VerifierKey},
    policy::Policy,
    tree::EMPTY_ROOT,
    witness::TreeHead,
};
use zeroize::Zeroizing;

use crate::{
    Error,
    config::{self, Config, POLICY_FILE_NAME, check_policy},
    database::SqliteLock,
};

/// The private key's file name, mode 0600.
pub(crate) const KEY_FILE_NAME: &str = "log.key";

/// The file name of the token that a new operator shows, mode 0600.
pub(crate) const TOKEN_FILE_NAME: &str = "admission.token";

/// What a new log is called and who watches it.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Its identity, by convention its URL without scheme: `log.example.org/one`.
    pub origin: String,
    /// Address and port for `log.toml`.
    pub listen: String,
    /// The text of a tlog-policy that names the witnesses, each with a URL, and their quorum.
    pub witness_policy: Option<Vec<u8>>,
}

/// What others need to know of a new log.
#[derive(Debug)]
pub struct Identity {
    /// The public key, for the policy of those who trust this log.
    pub verifier_key: VerifierKey,
    /// The token a new operator shows once. Whoever has it can register a name.
    pub admission_token: Zeroizing<String>,
}

/// Creates `directory` with configuration, a new key, an admission token and the empty tree.
///
/// # Errors
///
/// [`counterfoil_durable::Error::Exists`] if there is anything at that path: an existing log is
/// never created again, because that would start a second history under its name.
pub fn init(directory: &Path, options: &InitOptions) -> Result<Identity, Error> {
    let name = KeyName::parse(&options.origin).map_err(|source| Error::Origin {
        origin: options.origin.clone(),
        source,
    })?;
    if let Some(policy) = &options.witness_policy {
        let path = directory.join(POLICY_FILE_NAME);
        let parsed = Policy::parse(policy).map_err(|source| Error::Policy {
            path: path.clone(),
            source,
        })?;
        check_policy(&parsed).map_err(|detail| Error::PolicyUse { path, detail })?;
    }
    let mut seed = random()?;
    let key = SignerKey::from_seed(name, Algorithm::Ed25519, &seed);
    seed = random()?;
    let token = Zeroizing::new(
        seed.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    );

    file::create_directory(directory)?;
    file::ensure_directory(&directory.join("tiles"))?;
    let text = Config::text(&options.listen, options.witness_policy.is_some());
    file::create(
        &directory.join(config::FILE_NAME),
        text.as_bytes(),
        Access::Everyone,
    )?;
    if let Some(policy) = &options.witness_policy {
        file::create(&directory.join(POLICY_FILE_NAME), policy, Access::Everyone)?;
    }
    write_secret(&directory.join(KEY_FILE_NAME), key.to_secret_text())?;
    write_secret(&directory.join(TOKEN_FILE_NAME), token.clone())?;
    let checkpoint = Checkpoint::new(Origin::from(key.name().clone()), 0, EMPTY_ROOT);
    let head = TreeHead {
        size: 0,
        root: EMPTY_ROOT,
    };
    SqliteLock::create(directory, head, &checkpoint.sign(&key)?)?;
    Ok(Identity {
        verifier_key: key.verifier().clone(),
        admission_token: token,
    })
}

/// Reads the private key of a log directory.
pub(crate) fn read_key(directory: &Path) -> Result<SignerKey, Error> {
    let path = directory.join(KEY_FILE_NAME);
    let text = Zeroizing::new(file::read_secret(&path)?);
    let key = SignerKey::parse(text.trim_end()).map_err(|error| Error::Key {
        path: path.clone(),
        detail: error.to_string(),
    })?;
    if key.algorithm() == Algorithm::Ed25519 {
        Ok(key)
    } else {
        Err(Error::Key {
            path,
            detail: "not a log's key (type 0x01)".to_owned(),
        })
    }
}

/// Reads the admission token of a log directory.
pub(crate) fn read_token(directory: &Path) -> Result<Zeroizing<String>, Error> {
    let path = directory.join(TOKEN_FILE_NAME);
    let text = Zeroizing::new(file::read_secret(&path)?);
    let token = Zeroizing::new(text.trim().to_owned());
    // An empty token would let everyone in.
    if token.len() < 32 {
        let detail = "the admission token is shorter than 32 characters".to_owned();
        return Err(Error::Key { path, detail });
    }
    Ok(token)
}

fn write_secret(path: &Path, mut text: Zeroizing<String>) -> Result<(), Error> {
    text.push('\n');
    Ok(file::create(path, text.as_bytes(), Access::Owner)?)
}

fn random() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|error| Error::System(format!("no randomness: {error}")))?;
    Ok(bytes)
}

//! The directory of a new witness.

use std::path::Path;

use counterfoil_durable::{
    file::{self, Access},
    sqlite,
};
use counterfoil_tlog::note::{Algorithm, KeyName, SignerKey, VerifierKey};
use zeroize::Zeroizing;

use crate::{
    Error,
    config::{self, Config},
    state,
};

/// The private key's file name, mode 0600.
pub(crate) const KEY_FILE_NAME: &str = "witness.key";

/// What a new witness is called and whom it serves.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The name it signs under, for example `witness.example.org/w1`.
    pub name: String,
    /// Address and port for `witness.toml`.
    pub listen: String,
    /// The logs for `witness.toml`; more can be added there.
    pub logs: Vec<VerifierKey>,
}

/// What others need to know of a new witness.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The public key, for the policy of those who trust this witness.
    pub verifier_key: VerifierKey,
}

/// Creates `directory` with configuration, a new key and empty state.
///
/// # Errors
///
/// [`counterfoil_durable::Error::Exists`] if there is anything at that path: an existing witness
/// is never overwritten, because one that forgot what it signed could be made to sign a second
/// history.
pub fn init(directory: &Path, options: &InitOptions) -> Result<Identity, Error> {
    let name = KeyName::parse(&options.name).map_err(|source| Error::Name {
        name: options.name.clone(),
        source,
    })?;
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(Error::Randomness)?;
    let key = SignerKey::from_seed(name, Algorithm::CosignatureEd25519, &seed);

    file::create_directory(directory)?;
    let text = Config::text(&options.listen, &options.logs);
    file::create(
        &directory.join(config::FILE_NAME),
        text.as_bytes(),
        Access::Everyone,
    )?;
    let mut secret = key.to_secret_text();
    secret.push('\n');
    file::create(
        &directory.join(KEY_FILE_NAME),
        secret.as_bytes(),
        Access::Owner,
    )?;
    sqlite::create(&directory.join(state::FILE_NAME), &state::FORMAT)?;
    Ok(Identity {
        verifier_key: key.verifier().clone(),
    })
}

/// Reads the private key of a witness directory.
pub(crate) fn read_key(directory: &Path) -> Result<SignerKey, Error> {
    let path = directory.join(KEY_FILE_NAME);
    let text = Zeroizing::new(file::read_secret(&path)?);
    let key = SignerKey::parse(text.trim_end()).map_err(|source| Error::Key {
        path: path.clone(),
        source,
    })?;
    if key.algorithm() == Algorithm::CosignatureEd25519 {
        Ok(key)
    } else {
        Err(Error::KeyType { path })
    }
}

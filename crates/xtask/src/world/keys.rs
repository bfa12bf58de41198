//! Keys from labels, so that every run makes the same ones. They protect nothing.

use anyhow::{Result, anyhow};
use counterfoil_protocol::digest::{ContentDigest, Salt};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::OperatorName;
use counterfoil_tlog::note::{Algorithm, KeyName, SignerKey};
use zeroize::Zeroizing;

/// Everything the vectors sign with is derived from this and a label.
const CONTEXT: &str = "counterfoil test vectors: not a secret: ";

/// 32 bytes that belong to a label.
pub fn seed(label: &str) -> [u8; 32] {
    *ContentDigest::of(format!("{CONTEXT}{label}").as_bytes()).as_bytes()
}

/// A salt that belongs to a label.
pub fn salt(label: &str) -> Salt {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = seed(label);
    Salt::from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
}

/// A root or enforcer key.
///
/// # Errors
/// Never for the labels used here.
pub fn signing_key(label: &str) -> Result<SigningKey> {
    Ok(SigningKey::from_seed(&Zeroizing::new(seed(label)))?)
}

/// A log's key, type 0x01.
///
/// # Errors
/// When `name` is no key name.
pub fn log_key(name: &str) -> Result<SignerKey> {
    note_key(name, Algorithm::Ed25519)
}

/// A witness's key, type 0x04.
///
/// # Errors
/// When `name` is no key name.
pub fn witness_key(name: &str) -> Result<SignerKey> {
    note_key(name, Algorithm::CosignatureEd25519)
}

fn note_key(name: &str, algorithm: Algorithm) -> Result<SignerKey> {
    let key_name = KeyName::parse(name).map_err(|error| anyhow!("{name}: {error}"))?;
    Ok(SignerKey::from_seed(key_name, algorithm, &seed(name)))
}

/// An operator with its keys.
#[derive(Debug)]
pub struct Operator {
    /// Its name.
    pub name: OperatorName,
    /// The root key of its first manifest.
    pub root: SigningKey,
    /// The root key it changes to.
    pub next_root: SigningKey,
    /// The enforcer key that it used before the morning.
    pub previous_enforcer: SigningKey,
    /// The enforcer key of the morning.
    pub enforcer: SigningKey,
    /// The enforcer key of its second manifest.
    pub next_enforcer: SigningKey,
}

impl Operator {
    /// The operator with this name.
    ///
    /// # Errors
    /// When `name` is no operator name.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self {
            name: OperatorName::new(name)?,
            root: signing_key(&format!("{name} root"))?,
            next_root: signing_key(&format!("{name} next root"))?,
            previous_enforcer: signing_key(&format!("{name} previous enforcer"))?,
            enforcer: signing_key(&format!("{name} enforcer"))?,
            next_enforcer: signing_key(&format!("{name} next enforcer"))?,
        })
    }
}

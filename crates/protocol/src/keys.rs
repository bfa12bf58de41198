//! Ed25519 keys: public keys checked once, signing keys that zeroize and never print.
//!
//! Spec: manifests §2 (which public keys are acceptable, and why), §3 (key files).

use core::fmt;

use counterfoil_tlog::ed25519::check_public_key;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use zeroize::Zeroizing;

use crate::cbor::Encoder;
use crate::digest::{KeyThumbprint, sha256};
use crate::failure::{Failure, FailureCode};

/// A canonical Ed25519 public key of prime order. Because every key is checked when it enters,
/// two verifiers can never disagree about a signature later.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    thumbprint: KeyThumbprint,
}

impl PublicKey {
    /// Checks 32 key bytes.
    ///
    /// # Errors
    /// [`FailureCode::KeyInvalid`] when they are not the canonical encoding of a point, or the
    /// point is of small or mixed order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Failure> {
        let key = check_public_key(bytes)
            .map_err(|error| Failure::new(FailureCode::KeyInvalid, error.to_string()))?;
        Ok(Self {
            key,
            thumbprint: thumbprint(bytes),
        })
    }

    /// The 32 key bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Writes the key as a PEM `PUBLIC KEY`, as others' tools read it.
    ///
    /// # Errors
    /// [`FailureCode::KeyInvalid`] when it cannot be encoded, which does not happen.
    pub fn to_pem(&self) -> Result<String, Failure> {
        self.key
            .to_public_key_pem(LineEnding::LF)
            .map_err(|_| Failure::new(FailureCode::KeyInvalid, "the key cannot be encoded"))
    }

    /// The RFC 9679 thumbprint, used as `kid`.
    pub const fn thumbprint(&self) -> KeyThumbprint {
        self.thumbprint
    }

    /// Verifies a signature strictly.
    ///
    /// # Errors
    /// [`FailureCode::SignatureInvalid`].
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), Failure> {
        self.key
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| {
                Failure::new(
                    FailureCode::SignatureInvalid,
                    format!("the signature does not verify with key {}", self.thumbprint),
                )
            })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.thumbprint)
    }
}

/// A signing key. Its secret is wiped when it is dropped and never printed.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// Makes the key that belongs to a 32-byte seed, which the caller has drawn from the
    /// operating system.
    ///
    /// # Errors
    /// [`FailureCode::KeyInvalid`] when its public key is not acceptable; no random seed gives
    /// such a key.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Result<Self, Failure> {
        Self::from_key(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads a PKCS#8 PEM private key.
    ///
    /// # Errors
    /// [`FailureCode::KeyInvalid`] when the text is not one, without repeating any of it.
    pub fn from_pem(pem: &str) -> Result<Self, Failure> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| {
            Failure::new(
                FailureCode::KeyInvalid,
                "not a PKCS#8 PEM Ed25519 private key",
            )
        })?;
        Self::from_key(key)
    }

    /// Writes the key as PKCS#8 version 1 PEM, the form that OpenSSL, Python and Node read too.
    ///
    /// # Errors
    /// [`FailureCode::KeyInvalid`] when it cannot be encoded, which does not happen.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, Failure> {
        KeypairBytes {
            secret_key: self.key.to_bytes(),
            public_key: None,
        }
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| Failure::new(FailureCode::KeyInvalid, "the key cannot be encoded"))
    }

    /// The seed, for key formats of other tools.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    fn from_key(key: ed25519_dalek::SigningKey) -> Result<Self, Failure> {
        let public = PublicKey::from_bytes(key.verifying_key().as_bytes())?;
        Ok(Self { key, public })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.thumbprint)
    }
}

/// RFC 9679 §4: SHA-256 over the deterministic encoding of the required members of the COSE key.
fn thumbprint(key: &[u8; 32]) -> KeyThumbprint {
    let mut encoder = Encoder::with_capacity(48);
    encoder.map(|map| {
        map.key(1).unsigned(1); // kty: OKP
        map.key(-1).unsigned(6); // crv: Ed25519
        map.key(-2).bytes(key);
    });
    KeyThumbprint::from_bytes(sha256(&encoder.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 §7.1, tests 1 and 2.
    #[test]
    fn signs_as_rfc_8032_says() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(text.get(i..i + 2).unwrap(), 16).unwrap())
                .collect()
        };
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ] {
            let seed: [u8; 32] = hex(seed).try_into().unwrap();
            let key = SigningKey::from_seed(&Zeroizing::new(seed)).unwrap();
            assert_eq!(key.public().as_bytes().as_slice(), hex(public));
            assert_eq!(key.sign(&hex(message)).as_slice(), hex(signature));
            key.public()
                .verify(&hex(message), &hex(signature).try_into().unwrap())
                .unwrap();
        }
    }

    #[test]
    fn a_key_survives_its_pem_and_is_not_printed() {
        let key = SigningKey::from_seed(&Zeroizing::new([7; 32])).unwrap();
        let pem = key.to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(SigningKey::from_pem(&pem).unwrap().public(), key.public());
        assert!(!format!("{key:?}").contains("0707"));
    }

    #[test]
    fn small_order_and_non_canonical_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut non_canonical = [0xff; 32];
        non_canonical[0] = 0xee;
        non_canonical[31] = 0x7f;
        for bytes in [identity, [0; 32], non_canonical] {
            assert_eq!(
                PublicKey::from_bytes(&bytes).unwrap_err().code(),
                FailureCode::KeyInvalid
            );
        }
    }
}

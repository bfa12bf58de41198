//! Manifests: an operator's logged, versioned list of keys and endpoints.
//!
//! Version 1 is signed by a root key that it lists itself; version n+1 by a root key of version n.
//! A revocation takes effect by log position, not by claimed time: see spec manifests §4.
//!
//! Spec: manifests §1.

use std::collections::BTreeSet;

use ciborium::Value;

use crate::cbor::fields::{array, fixed, nullable, text, unsigned};
use crate::cbor::{Encoder, Fields, Limits, decode};
use crate::cose::{Header, MAX_BYTES, ObjectType, Unsigned, Unverified};
use crate::digest::{KeyThumbprint, ManifestDigest};
use crate::failure::{Failure, FailureCode};
use crate::keys::{PublicKey, SigningKey};
use crate::names::OperatorName;
use crate::numbers::{ManifestVersion, UnixMillis};

/// The most root keys, enforcer keys or revocations one manifest may list.
pub const MAX_KEYS: usize = 256;
/// The most bytes of an endpoint address.
pub const MAX_ENDPOINT_BYTES: usize = 2048;

/// The content of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Whose it is.
    pub operator: OperatorName,
    /// Its version; the first is 1.
    pub version: ManifestVersion,
    /// The digest of the version before it; none only for version 1.
    pub previous: Option<ManifestDigest>,
    /// When it was made, by the operator's clock.
    pub time: UnixMillis,
    /// The keys that may sign the next version, at least one.
    pub roots: Vec<PublicKey>,
    /// The keys that sign records and commitments.
    pub enforcers: Vec<PublicKey>,
    /// Where the operator's exchange API is, if it has one.
    pub exchange: Option<String>,
    /// Keys that are not valid any more, written in ascending order. A revocation is final: every
    /// later version repeats it.
    pub revoked: Vec<KeyThumbprint>,
}

impl Manifest {
    /// Signs it: the tagged COSE_Sign1 bytes.
    pub fn sign(&self, root: &SigningKey) -> Vec<u8> {
        let header = Header {
            object: ObjectType::Manifest,
            issuer: self.operator.clone(),
            issued_at: self.time.seconds(),
            kid: root.public().thumbprint(),
        };
        Unsigned::new(header.encode(None), self.encode()).sign(root)
    }

    /// The enforcer key with this thumbprint, unless it is revoked.
    ///
    /// # Errors
    /// [`FailureCode::KeyRevoked`] or [`FailureCode::KeyUnknown`].
    pub fn enforcer(&self, kid: KeyThumbprint) -> Result<&PublicKey, Failure> {
        if self.revoked.contains(&kid) {
            return Err(Failure::new(
                FailureCode::KeyRevoked,
                format!("{} has revoked key {kid}", self.operator),
            ));
        }
        self.enforcers
            .iter()
            .find(|key| key.thumbprint() == kid)
            .ok_or_else(|| {
                Failure::new(
                    FailureCode::KeyUnknown,
                    format!(
                        "the manifest of {} does not list enforcer key {kid}",
                        self.operator
                    ),
                )
            })
    }

    fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(256);
        encoder.map(|map| {
            map.key(1).unsigned(self.version.get());
            match self.previous {
                Some(previous) => map.key(2).bytes(previous.as_bytes()),
                None => map.key(2).null(),
            };
            map.key(3).unsigned(self.time.get());
            keys(map.key(4), &self.roots);
            keys(map.key(5), &self.enforcers);
            map.optional(6, self.exchange.as_deref(), |encoder, exchange| {
                encoder.text(exchange);
            });
            let revoked: BTreeSet<_> = self.revoked.iter().collect();
            let encoder = map.key(7).array(revoked.len());
            for kid in revoked {
                encoder.bytes(kid.as_bytes());
            }
        });
        encoder.into_bytes()
    }
}

fn keys(encoder: &mut Encoder, keys: &[PublicKey]) {
    encoder.array(keys.len());
    for key in keys {
        encoder.bytes(key.as_bytes());
    }
}

/// A well-formed manifest whose signature has not been checked yet.
#[derive(Clone, Debug)]
pub struct UnverifiedManifest {
    object: Unverified,
    digest: ManifestDigest,
    manifest: Manifest,
}

impl UnverifiedManifest {
    /// Parses the bytes of a manifest.
    ///
    /// # Errors
    /// A CBOR, structure or COSE code, or [`FailureCode::KeyInvalid`] for a bad key in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let object = Unverified::parse(bytes, ObjectType::Manifest)?;
        let manifest = parse_payload(&object).map_err(|failure| failure.at("manifest"))?;
        Ok(Self {
            object,
            digest: ManifestDigest::of(bytes),
            manifest,
        })
    }

    /// The operator it claims to come from.
    pub const fn operator(&self) -> &OperatorName {
        &self.manifest.operator
    }

    /// The version it claims.
    pub const fn version(&self) -> ManifestVersion {
        self.manifest.version
    }

    /// SHA-256 of what is signed: the same however often it is signed.
    pub(crate) fn id(&self) -> [u8; 32] {
        self.object.id()
    }

    /// The root key it claims to be signed with.
    pub const fn kid(&self) -> KeyThumbprint {
        self.object.header.kid
    }

    /// The enforcer key with this thumbprint that it lists, not to be relied on.
    pub fn lists(&self, kid: KeyThumbprint) -> Option<PublicKey> {
        let mut keys = self.manifest.enforcers.iter();
        keys.find(|key| key.thumbprint() == kid).cloned()
    }

    /// Checks it as the first version: signed by a root key that it lists and that `trusted`
    /// accepts.
    ///
    /// # Errors
    /// [`FailureCode::ManifestChainBroken`] or [`FailureCode::SignatureInvalid`].
    pub fn verify_first(
        self,
        trusted: impl Fn(&PublicKey) -> bool,
    ) -> Result<VerifiedManifest, Failure> {
        let root = self
            .manifest
            .roots
            .iter()
            .find(|root| root.thumbprint() == self.object.header.kid);
        match root {
            Some(root) if self.manifest.version.get() == 1 && trusted(root) => {
                self.object.verify(root)?;
            }
            _ => {
                return Err(Failure::new(
                    FailureCode::ManifestChainBroken,
                    format!(
                        "version {} of {} is not a first version signed by a trusted root key",
                        self.manifest.version, self.manifest.operator
                    ),
                ));
            }
        }
        Ok(VerifiedManifest {
            id: self.object.id(),
            digest: self.digest,
            manifest: self.manifest,
        })
    }

    /// Checks it as the version after `before`.
    ///
    /// # Errors
    /// [`FailureCode::ManifestChainBroken`] or [`FailureCode::SignatureInvalid`].
    pub fn verify_next(self, before: &VerifiedManifest) -> Result<VerifiedManifest, Failure> {
        let earlier = &before.manifest;
        let kid = self.object.header.kid;
        let root = earlier
            .roots
            .iter()
            .find(|root| root.thumbprint() == kid && !earlier.revoked.contains(&kid));
        let follows = self.manifest.operator == earlier.operator
            && Some(self.manifest.version) == earlier.version.next()
            && self.manifest.previous == Some(before.digest)
            && earlier
                .revoked
                .iter()
                .all(|kid| self.manifest.revoked.contains(kid));
        match root {
            Some(root) if follows => self.object.verify(root)?,
            _ => {
                return Err(Failure::new(
                    FailureCode::ManifestChainBroken,
                    format!(
                        "version {} of {} does not follow version {} of {}",
                        self.manifest.version,
                        self.manifest.operator,
                        earlier.version,
                        earlier.operator
                    ),
                ));
            }
        }
        Ok(VerifiedManifest {
            id: self.object.id(),
            digest: self.digest,
            manifest: self.manifest,
        })
    }
}

fn parse_payload(object: &Unverified) -> Result<Manifest, Failure> {
    let value = decode(&object.payload, &Limits::untagged(MAX_BYTES))?;
    let mut fields = Fields::of(value, "the manifest")?;
    let manifest = Manifest {
        operator: object.header.issuer.clone(),
        version: version(&fields.required(1)?)?,
        previous: nullable(fields.required(2)?)
            .map(|value| fixed(&value, "previous manifest").map(ManifestDigest::from_bytes))
            .transpose()?,
        time: UnixMillis::new(unsigned(&fields.required(3)?, "time")?),
        roots: roots(fields.required(4)?)?,
        enforcers: parse_keys(fields.required(5)?, "enforcer keys")?,
        exchange: fields.optional(6).map(endpoint).transpose()?,
        revoked: revocations(fields.required(7)?)?,
    };
    fields.finish()?;
    if (manifest.version.get() == 1) != manifest.previous.is_none() {
        return Err(Failure::new(
            FailureCode::ManifestChainBroken,
            "the first version names a predecessor, or a later one does not",
        ));
    }
    if manifest.time.seconds() != object.header.issued_at {
        return Err(Failure::new(
            FailureCode::RecordTimeMismatch,
            "iat is not the manifest's time in whole seconds",
        ));
    }
    Ok(manifest)
}

fn range(detail: impl Into<String>) -> Failure {
    Failure::new(FailureCode::StructureOutOfRange, detail)
}

fn version(value: &Value) -> Result<ManifestVersion, Failure> {
    match unsigned(value, "version")? {
        0 => Err(range("version 0")),
        version => Ok(ManifestVersion::new(version)),
    }
}

fn roots(value: Value) -> Result<Vec<PublicKey>, Failure> {
    let roots = parse_keys(value, "root keys")?;
    if roots.is_empty() {
        return Err(range("no root key"));
    }
    Ok(roots)
}

/// Ascending, as the keys: one spelling for each set.
fn revocations(value: Value) -> Result<Vec<KeyThumbprint>, Failure> {
    let revoked: Vec<[u8; 32]> = array(value, MAX_KEYS, "revocations")?
        .iter()
        .map(|value| fixed(value, "a revoked key"))
        .collect::<Result<_, _>>()?;
    if !revoked.is_sorted_by(|a, b| a < b) {
        return Err(range("revocations are not in ascending order"));
    }
    Ok(revoked.into_iter().map(KeyThumbprint::from_bytes).collect())
}

fn parse_keys(value: Value, place: &str) -> Result<Vec<PublicKey>, Failure> {
    let keys: Vec<PublicKey> = array(value, MAX_KEYS, place)?
        .iter()
        .map(|value| PublicKey::from_bytes(&fixed(value, place)?))
        .collect::<Result<_, _>>()?;
    // Ascending order leaves one spelling for each set of keys, and no key twice.
    if keys
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a.as_bytes() < b.as_bytes()))
    {
        Ok(keys)
    } else {
        Err(range(format!("{place} are not in ascending order")))
    }
}

fn endpoint(value: Value) -> Result<String, Failure> {
    let address = text(value, "the exchange endpoint")?;
    let known = address.starts_with("https://") || address.starts_with("http://");
    if known && address.len() <= MAX_ENDPOINT_BYTES && address.bytes().all(|b| b.is_ascii_graphic())
    {
        Ok(address)
    } else {
        Err(range(
            "the exchange endpoint is not an http or https address",
        ))
    }
}

/// A manifest whose signature and place in its chain have been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedManifest {
    id: [u8; 32],
    digest: ManifestDigest,
    manifest: Manifest,
}

impl VerifiedManifest {
    /// SHA-256 of what is signed: the same however often it is signed.
    pub(crate) const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// SHA-256 over its bytes.
    pub const fn digest(&self) -> ManifestDigest {
        self.digest
    }

    /// Its content.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

//! What may enter the log: the next commitment of a registered operator's stream, or the next
//! manifest of an operator. Nothing else.

use counterfoil_protocol::{
    FailureCode,
    commitment::{UnverifiedCommitment, VerifiedCommitment},
    keys::PublicKey,
    manifest::{UnverifiedManifest, VerifiedManifest},
};
use counterfoil_tlog::tile::MAX_ENTRY_BYTES;

use crate::{Refusal, lock::Effect, registry::Registry};

/// An entry that is well formed; nothing in it is believed yet.
#[derive(Debug)]
pub(crate) enum Candidate {
    Commitment(Box<UnverifiedCommitment>),
    Manifest(Box<UnverifiedManifest>),
}

impl Candidate {
    pub(crate) fn parse(content: &[u8]) -> Result<Self, Refusal> {
        if content.len() > MAX_ENTRY_BYTES {
            return Err(Refusal::TooLarge);
        }
        match UnverifiedCommitment::parse(content) {
            Ok(commitment) => Ok(Self::Commitment(Box::new(commitment))),
            Err(failure) if failure.code() == FailureCode::CoseType => {
                let manifest = UnverifiedManifest::parse(content).map_err(Refusal::Malformed)?;
                Ok(Self::Manifest(Box::new(manifest)))
            }
            Err(failure) => Err(Refusal::Malformed(failure)),
        }
    }

    /// Finds what the signature must be checked against. Called with the registry held, so it only
    /// looks up; [`Signed::verify`] does the work.
    pub(crate) fn claim(self, registry: &Registry, token: bool) -> Result<Signed, Refusal> {
        match self {
            Self::Commitment(commitment) => {
                let key = registry
                    .enforcer(commitment.issuer(), commitment.kid())?
                    .clone();
                Ok(Signed::Commitment(commitment, Box::new(key)))
            }
            Self::Manifest(manifest) => {
                if !token && !registry.knows(manifest.operator()) {
                    return Err(Refusal::Unauthorized);
                }
                Ok(Signed::Manifest(manifest))
            }
        }
    }
}

/// A candidate with the key it must be signed with. A manifest's key is in the version before, so
/// it is checked together with its place in the chain.
#[derive(Debug)]
pub(crate) enum Signed {
    Commitment(Box<UnverifiedCommitment>, Box<PublicKey>),
    Manifest(Box<UnverifiedManifest>),
}

impl Signed {
    /// Checks the signature of a commitment, without the registry.
    pub(crate) fn verify(self) -> Result<Genuine, Refusal> {
        match self {
            Self::Commitment(commitment, key) => {
                let verified = commitment.verify(&key).map_err(Refusal::Forbidden)?;
                Ok(Genuine::Commitment(Box::new(verified)))
            }
            Self::Manifest(manifest) => Ok(Genuine::Manifest(manifest)),
        }
    }
}

/// A candidate whose signer is known; its place is not checked yet.
#[derive(Debug)]
pub(crate) enum Genuine {
    Commitment(Box<VerifiedCommitment>),
    Manifest(Box<UnverifiedManifest>),
}

/// An entry that may be the next of the log.
#[derive(Debug)]
pub(crate) enum Admissible {
    Commitment(Box<VerifiedCommitment>),
    Manifest(Box<VerifiedManifest>),
}

impl Genuine {
    /// Checks that it is the next of its stream or operator.
    pub(crate) fn check(self, registry: &Registry) -> Result<Admissible, Refusal> {
        match self {
            Self::Commitment(commitment) => {
                registry.check_commitment(&commitment)?;
                Ok(Admissible::Commitment(commitment))
            }
            Self::Manifest(manifest) => {
                let verified = registry.check_manifest(*manifest)?;
                Ok(Admissible::Manifest(Box::new(verified)))
            }
        }
    }
}

impl Admissible {
    /// Takes it into the registry and says what it changes on the disk.
    pub(crate) fn admit(self, registry: &mut Registry, content: &[u8]) -> Effect {
        match self {
            Self::Commitment(verified) => {
                registry.add_commitment(&verified);
                let commitment = verified.commitment();
                Effect::Batch {
                    stream: verified.kid(),
                    batch: commitment.number.get(),
                    first: commitment.first.get(),
                    count: commitment.count,
                    digest: verified.digest(),
                }
            }
            Self::Manifest(verified) => {
                let manifest = verified.manifest();
                let effect = Effect::Manifest {
                    operator: manifest.operator.clone(),
                    version: manifest.version.get(),
                    content: content.to_vec(),
                    enforcers: manifest
                        .enforcers
                        .iter()
                        .map(PublicKey::thumbprint)
                        .collect(),
                };
                registry.add_manifest(*verified);
                effect
            }
        }
    }
}

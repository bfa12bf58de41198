//! The operators this one knows, with their verified manifests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::manifest::{UnverifiedManifest, VerifiedManifest};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::{Failure, FailureCode};
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::leaf_hash;
use tokio::sync::{Notify, watch};

/// Known operators. Shared; operators can be added while others are looked up.
#[derive(Debug, Default)]
pub struct Operators {
    known: RwLock<BTreeMap<OperatorName, Known>>,
    renewal: Renewal,
}

/// Between those who meet a key that is not known, and whoever fetches manifests.
#[derive(Debug, Default)]
struct Renewal {
    wanted: Notify,
    rounds: watch::Sender<u64>,
    /// Whether somebody fetches manifests at all.
    served: AtomicBool,
}

#[derive(Clone, Debug)]
struct Known {
    logged: Vec<LoggedManifest>,
    newest: VerifiedManifest,
}

impl Operators {
    /// Adds an operator, or brings what is known of it up to date. The manifests must be an
    /// unbroken chain from a root key of the trust file; each with a proof that verifies against
    /// it, unless `unlogged` operators are accepted.
    ///
    /// # Errors
    /// The failure that verification found; nothing is changed then.
    pub fn add(
        &self,
        logged: Vec<LoggedManifest>,
        trust: &Trust,
        unlogged: bool,
    ) -> Result<OperatorName, Failure> {
        let newest = verify_chain(&logged, trust, unlogged)?;
        let operator = newest.manifest().operator.clone();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = known.get(&operator) {
            // One chain extends the other, or an operator has two histories.
            let both = held.logged.iter().zip(&logged);
            if both
                .clone()
                .any(|(held, new)| held.manifest != new.manifest)
            {
                return Err(Failure::new(
                    FailureCode::ManifestChainBroken,
                    format!("`{operator}` has signed two different manifests of one version"),
                ));
            }
            if held.logged.len() > logged.len() {
                return Ok(operator);
            }
        }
        known.insert(operator.clone(), Known { logged, newest });
        Ok(operator)
    }

    /// The enforcer key of an operator with this thumbprint.
    ///
    /// # Errors
    /// [`FailureCode::OperatorUnknown`], [`FailureCode::KeyUnknown`],
    /// [`FailureCode::KeyRevoked`].
    pub fn enforcer_key(
        &self,
        operator: &OperatorName,
        kid: KeyThumbprint,
    ) -> Result<PublicKey, Failure> {
        self.newest(operator)?.manifest().enforcer(kid).cloned()
    }

    /// The enforcer key of an operator with this thumbprint that any of its manifests lists and the
    /// newest does not revoke: one whose records count, though it may have been retired.
    ///
    /// # Errors
    /// As [`Operators::enforcer_key`].
    pub fn unrevoked_key(
        &self,
        operator: &OperatorName,
        kid: KeyThumbprint,
    ) -> Result<PublicKey, Failure> {
        match self.enforcer_key(operator, kid) {
            Err(failure) if failure.code() == FailureCode::KeyUnknown => {
                self.listed_key(operator, kid).map_err(|_| failure)
            }
            found => found,
        }
    }

    /// The enforcer keys that the newest manifest of an operator lists and does not revoke.
    pub fn enforcer_keys(&self, operator: &OperatorName) -> Vec<KeyThumbprint> {
        let Ok(newest) = self.newest(operator) else {
            return Vec::new();
        };
        let manifest = newest.manifest();
        let kids = manifest.enforcers.iter().map(PublicKey::thumbprint);
        kids.filter(|kid| !manifest.revoked.contains(kid)).collect()
    }

    /// Asks for newer manifests, because of a key that is not known, and waits until they have
    /// been fetched; at most for `patience`. Whoever calls looks again then.
    pub async fn renewed(&self, patience: Duration) {
        if !self.renewal.served.load(Ordering::Acquire) {
            return;
        }
        let mut rounds = self.renewal.rounds.subscribe();
        self.renewal.wanted.notify_one();
        // Too late or not at all: then the key stays unknown.
        let _ = tokio::time::timeout(patience, rounds.changed()).await;
    }

    /// Says that somebody fetches manifests when they are asked for.
    pub fn serve_renewals(&self) {
        self.renewal.served.store(true, Ordering::Release);
    }

    /// Waits until somebody asks for newer manifests.
    pub async fn renewal_wanted(&self) {
        self.renewal.wanted.notified().await;
    }

    /// Newer manifests have been fetched, as far as there are any.
    pub fn renewal_done(&self) {
        self.renewal
            .rounds
            .send_modify(|round| *round = round.wrapping_add(1));
    }

    /// The enforcer key of an operator with this thumbprint, even if it has been revoked since.
    ///
    /// # Errors
    /// [`FailureCode::OperatorUnknown`], [`FailureCode::KeyUnknown`].
    pub fn listed_key(
        &self,
        operator: &OperatorName,
        kid: KeyThumbprint,
    ) -> Result<PublicKey, Failure> {
        let manifests = self.manifests(operator);
        manifests
            .iter()
            .rev()
            .filter_map(|logged| UnverifiedManifest::parse(&logged.manifest).ok())
            .find_map(|manifest| manifest.lists(kid))
            .ok_or_else(|| {
                Failure::new(
                    FailureCode::KeyUnknown,
                    format!("no manifest of {operator} lists enforcer key {kid}"),
                )
            })
    }

    /// The exchange endpoint of an operator, if it has one.
    pub fn exchange(&self, operator: &OperatorName) -> Option<String> {
        self.newest(operator).ok()?.manifest().exchange.clone()
    }

    /// The manifests of an operator with their proofs, oldest first.
    pub fn manifests(&self, operator: &OperatorName) -> Vec<LoggedManifest> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .get(operator)
            .map(|known| known.logged.clone())
            .unwrap_or_default()
    }

    /// The names of all known operators.
    pub fn names(&self) -> Vec<OperatorName> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    fn newest(&self, operator: &OperatorName) -> Result<VerifiedManifest, Failure> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .get(operator)
            .map(|known| known.newest.clone())
            .ok_or_else(|| {
                Failure::new(
                    FailureCode::OperatorUnknown,
                    format!("no manifest of operator `{operator}` is known"),
                )
            })
    }
}

fn verify_chain(
    logged: &[LoggedManifest],
    trust: &Trust,
    unlogged: bool,
) -> Result<VerifiedManifest, Failure> {
    let mut newest: Option<VerifiedManifest> = None;
    for part in logged {
        let manifest = UnverifiedManifest::parse(&part.manifest)?;
        let version = manifest.version();
        let roots = trust.roots(manifest.operator())?;
        let verified = match &newest {
            None => manifest.verify_first(|root| roots.contains(root))?,
            Some(before) => manifest.verify_next(before)?,
        };
        match &part.log_proof {
            Some(proof) => {
                let not_logged = |detail: String| {
                    Failure::new(FailureCode::ManifestNotLogged, detail)
                        .at(&format!("manifest version {version}"))
                };
                let proof =
                    TlogProof::parse(proof).map_err(|error| not_logged(error.to_string()))?;
                let _quorum = proof
                    .verify(&leaf_hash(&part.manifest), trust.policy())
                    .map_err(|error| not_logged(error.to_string()))?;
            }
            None if unlogged => {}
            None => {
                return Err(Failure::new(
                    FailureCode::ManifestNotLogged,
                    format!("manifest version {version} comes without a log proof"),
                ));
            }
        }
        newest = Some(verified);
    }
    newest.ok_or_else(|| Failure::new(FailureCode::ManifestChainBroken, "no manifest"))
}

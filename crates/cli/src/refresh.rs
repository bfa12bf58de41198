//! Keeps the manifests of operators up to date from the log: revocations of others take effect,
//! and our own manifest is proved up to a larger size of the log.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_durable::file::{self, Access};
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::{Blocked, Enforcer};
use counterfoil_gateway::config::Config;
use counterfoil_gateway::home::{Home, manifest_files, read_manifests};
use counterfoil_protocol::FailureCode;
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::manifest::VerifiedManifest;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::ManifestVersion;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::tlog_proof::TlogProof;

use crate::answer::{OrProblem as _, Problem};
use crate::home::own_manifests;
use crate::log_client::LogClient;
use crate::manifests::chain;

/// How long one operator's manifests may take.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// The least time between two fetches, however many keys are met that are not known.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// What is needed to bring manifests up to date.
#[derive(Clone, Debug)]
pub(crate) struct Refresh {
    home: Home,
    own: OperatorName,
    log: Option<String>,
    trust: Trust,
    operators: Arc<Operators>,
    /// A revocation takes effect within this time.
    interval: Duration,
}

impl Refresh {
    pub(crate) fn new(home: &Home, config: &Config, trust: &Trust) -> Self {
        Self {
            home: home.clone(),
            own: config.operator.clone(),
            log: config.log.as_ref().map(|log| log.url.to_string()),
            trust: trust.clone(),
            operators: Arc::default(),
            interval: config.gateway.manifest_interval,
        }
    }

    /// The operators that are known so far.
    pub(crate) fn operators(&self) -> &Arc<Operators> {
        &self.operators
    }

    /// Fetches the manifests of every operator of the trust file, and uses those that are kept
    /// where the log does not answer.
    pub(crate) async fn at_start(&self) {
        for operator in self.trust.operators() {
            let found = self.fetch(operator).await;
            if *operator == self.own {
                self.add_own();
                continue;
            }
            let manifests = found.or_else(|problem| {
                tracing::warn!(%operator, "the manifests that are kept are used: {problem}");
                self.kept(operator)
            });
            if let Err(problem) = manifests.and_then(|manifests| self.add(manifests)) {
                tracing::warn!(%operator, "calls from and to this operator are denied: {problem}");
            }
        }
    }

    /// Fetches them again from time to time, and when a key is met that is not known, for ever.
    pub(crate) async fn keep_up(self, enforcer: Enforcer) {
        self.operators.serve_renewals();
        loop {
            tokio::time::sleep(LEAST_INTERVAL.min(self.interval)).await;
            // Nobody has to ask: then it is done when it is time.
            let _ = tokio::time::timeout(
                self.interval.saturating_sub(LEAST_INTERVAL),
                self.operators.renewal_wanted(),
            )
            .await;
            for operator in self.trust.operators() {
                let found = self.fetch(operator).await;
                if *operator == self.own {
                    self.add_own();
                    continue;
                }
                if let Err(problem) = found.and_then(|manifests| self.add(manifests)) {
                    tracing::debug!(%operator, "its manifests are not brought up to date: {problem}");
                }
            }
            self.check_own_key(&enforcer);
            self.operators.renewal_done();
        }
    }

    /// Nothing is decided with a key that our own newest manifest revokes or does not list.
    pub(crate) fn check_own_key(&self, enforcer: &Enforcer) {
        let lost = match own_key_lost(&self.home, enforcer.kid()) {
            Ok(lost) => lost,
            Err(problem) => Some(Blocked::Failed(format!("our own manifests: {problem}"))),
        };
        if let Some(lost) = &lost
            && enforcer.ready().is_ok()
        {
            tracing::error!(
                code = lost.code(),
                "nothing is decided any more: {}",
                lost.detail()
            );
        }
        enforcer.set_key_lost(lost);
    }

    /// Our own manifests stand in the receipts that requests carry. One that is being logged is no
    /// use there before it is.
    fn add_own(&self) {
        let own = own_manifests(&self.home).and_then(|mut own| {
            let logged = own.iter().take_while(|part| part.log_proof.is_some());
            own.truncate(logged.count().max(1));
            self.operators.add(own, &self.trust, true)?;
            Ok(())
        });
        if let Err(problem) = own {
            tracing::warn!("requests go without a receipt: our own manifests: {problem}");
        }
    }

    fn add(&self, manifests: Vec<LoggedManifest>) -> Result<(), Problem> {
        self.operators.add(manifests, &self.trust, false)?;
        Ok(())
    }

    /// The manifests of an operator as the log has them, verified and kept.
    async fn fetch(&self, operator: &OperatorName) -> Result<Vec<LoggedManifest>, Problem> {
        let log = self
            .log
            .as_deref()
            .ok_or_else(|| Problem::new("operator.toml names no log"))?;
        let client = LogClient::new(log)?;
        let fetch = fetch_verified(&client, operator, &self.trust);
        let fetched = tokio::time::timeout(FETCH_LIMIT, fetch)
            .await
            .at("the log is too slow")??;
        let kept = if *operator == self.own {
            keep_own(&self.home, &fetched)
        } else {
            keep(&self.home, operator, &fetched)
        };
        if let Err(problem) = kept {
            tracing::warn!(%operator, "its manifests cannot be kept: {problem}");
        }
        Ok(fetched)
    }

    fn kept(&self, operator: &OperatorName) -> Result<Vec<LoggedManifest>, Problem> {
        let kept = read_manifests(&self.home.peer(operator))?;
        if kept.is_empty() {
            return Err(Problem::new(format!("no manifest of {operator} is kept")));
        }
        Ok(kept)
    }
}

/// The manifests of an operator as the log has them, verified against the trust file.
pub(crate) async fn fetch_verified(
    client: &LogClient,
    operator: &OperatorName,
    trust: &Trust,
) -> Result<Vec<LoggedManifest>, Problem> {
    let fetched = client.manifests(operator).await?;
    if fetched.is_empty() {
        return Err(
            Problem::new(format!("the log does not know {operator}")).next(format!(
                "{operator} registers with `counterfoil operator register`"
            )),
        );
    }
    let found = Operators::default()
        .add(fetched.clone(), trust, false)
        .at(format!("the manifests of {operator}"))?;
    if found != *operator {
        return Err(Problem::new(format!(
            "asked for {operator}, the log answers with {found}"
        )));
    }
    Ok(fetched)
}

/// Keeps the verified manifests of another operator.
pub(crate) fn keep(
    home: &Home,
    operator: &OperatorName,
    fetched: &[LoggedManifest],
) -> Result<(), Problem> {
    let folder = home.peer(operator);
    file::ensure_directory(&folder)?;
    for (version, part) in (1_u64..).zip(fetched) {
        let (manifest_path, proof_path) = manifest_files(&folder, ManifestVersion::new(version));
        // The proof first: a manifest without one would not be accepted.
        if let Some(proof) = &part.log_proof {
            file::replace(&proof_path, proof, Access::Everyone)?;
        }
        file::replace(&manifest_path, &part.manifest, Access::Everyone)?;
    }
    Ok(())
}

/// Keeps our own manifests as the log has them: versions that were made elsewhere, and proofs for a
/// larger tree. Those that are not logged yet stay.
pub(crate) fn keep_own(home: &Home, fetched: &[LoggedManifest]) -> Result<(), Problem> {
    let size = |proof: &Option<Vec<u8>>| {
        let proof = TlogProof::parse(proof.as_deref()?).ok()?;
        Some(proof.checkpoint().size())
    };
    let own = read_manifests(&home.manifests())?;
    for (version, theirs) in (1_u64..).zip(fetched) {
        let version = ManifestVersion::new(version);
        let (manifest, path) = manifest_files(&home.manifests(), version);
        let index = usize::try_from(version.get()).unwrap_or(usize::MAX) - 1;
        let ours = own.get(index);
        if ours.is_some_and(|ours| ours.manifest != theirs.manifest) {
            return Err(Problem::new(format!(
                "the log has another version {version} of our manifest: somebody has our root key"
            )));
        }
        let held = ours.and_then(|ours| size(&ours.log_proof));
        if let Some(proof) = &theirs.log_proof
            && size(&theirs.log_proof) > held
        {
            file::replace(&path, proof, Access::Everyone)?;
        }
        if ours.is_none() {
            file::replace(&manifest, &theirs.manifest, Access::Everyone)?;
        }
    }
    Ok(())
}

/// What our newest manifest says of our key, if it is not good any more.
fn own_key_lost(home: &Home, kid: KeyThumbprint) -> Result<Option<Blocked>, Problem> {
    let chain = chain(&own_manifests(home)?)?;
    let Some(newest) = chain.last().map(VerifiedManifest::manifest) else {
        return Ok(None);
    };
    Ok(newest.enforcer(kid).err().map(|failure| Blocked::KeyLost {
        revoked: failure.code() == FailureCode::KeyRevoked,
        version: newest.version.get(),
    }))
}

/// Where one version of our own manifest stands in the log, if it is logged.
pub(crate) fn own_log_index(home: &Home, version: u64) -> Result<Option<u64>, Problem> {
    let own = own_manifests(home)?;
    let part = (1_u64..).zip(&own).find(|(number, _)| *number == version);
    Ok(part.and_then(|(_, part)| {
        let proof = TlogProof::parse(part.log_proof.as_deref()?).ok()?;
        Some(proof.index())
    }))
}

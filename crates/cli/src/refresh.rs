//! Keeps the manifests of operators up to date from the log: revocations of others take effect,
//! and our own manifest is proved up to a larger size of the log.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_durable::file::{self, Access};
use counterfoil_enforcer::operators::Operators;
use counterfoil_gateway::config::Config;
use counterfoil_gateway::home::{Home, manifest_files, read_manifests};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::ManifestVersion;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::tlog_proof::TlogProof;

use crate::answer::{OrProblem as _, Problem};
use crate::log_client::LogClient;

/// How long one operator's manifests may take.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// How often they are fetched again. A revocation takes effect within this time.
const INTERVAL: Duration = Duration::from_secs(60);

/// What is needed to bring manifests up to date.
#[derive(Clone, Debug)]
pub(crate) struct Refresh {
    home: Home,
    own: OperatorName,
    log: Option<String>,
    trust: Trust,
    operators: Arc<Operators>,
}

impl Refresh {
    pub(crate) fn new(home: &Home, config: &Config, trust: &Trust) -> Self {
        Self {
            home: home.clone(),
            own: config.operator.clone(),
            log: config.log.as_ref().map(|log| log.url.to_string()),
            trust: trust.clone(),
            operators: Arc::default(),
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

    /// Fetches them again from time to time, for ever.
    pub(crate) async fn keep_up(self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            for operator in self.trust.operators() {
                let found = self.fetch(operator).await;
                if *operator == self.own {
                    continue;
                }
                if let Err(problem) = found.and_then(|manifests| self.add(manifests)) {
                    tracing::debug!(%operator, "its manifests are not brought up to date: {problem}");
                }
            }
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

/// Replaces the proofs of our own manifests by those for a larger tree.
fn keep_own(home: &Home, fetched: &[LoggedManifest]) -> Result<(), Problem> {
    let size = |proof: &Option<Vec<u8>>| {
        let proof = TlogProof::parse(proof.as_deref()?).ok()?;
        Some(proof.checkpoint().size())
    };
    let own = read_manifests(&home.manifests())?;
    for (version, (ours, theirs)) in (1_u64..).zip(own.iter().zip(fetched)) {
        if ours.manifest != theirs.manifest {
            return Err(Problem::new(format!(
                "the log has another version {version} of our manifest: somebody has our root key"
            )));
        }
        if let Some(proof) = &theirs.log_proof
            && size(&theirs.log_proof) > size(&ours.log_proof)
        {
            let (_, path) = manifest_files(&home.manifests(), ManifestVersion::new(version));
            file::replace(&path, proof, Access::Everyone)?;
        }
    }
    Ok(())
}

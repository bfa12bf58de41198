//! An operator's home: where things lie, and how commands read them beside a running gateway.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_durable::file;
use counterfoil_enforcer::operators::Operators;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::Trust;
use zeroize::Zeroizing;

use crate::answer::{OrProblem as _, Problem};
use crate::commands::verify::read_trust;

/// Which home a command works on.
#[derive(Clone, Debug, Args)]
pub(crate) struct Home {
    /// The operator's home, as `counterfoil init` made it.
    #[arg(long = "home", value_name = "DIR", env = "COUNTERFOIL_HOME")]
    pub(crate) dir: PathBuf,
}

impl Home {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("operator.toml")
    }

    pub(crate) fn root_key_path(&self) -> PathBuf {
        self.path("keys/root.pem")
    }

    pub(crate) fn enforcer_key_path(&self) -> PathBuf {
        self.path("keys/enforcer.pem")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path(counterfoil_enforcer::journal::FILE_NAME)
    }

    pub(crate) fn trust_path(&self) -> PathBuf {
        self.path("trust")
    }

    pub(crate) fn trust(&self) -> Result<Trust, Problem> {
        read_trust(&self.trust_path())
    }

    /// The address of the log in operator.toml, if there is one.
    pub(crate) fn log_url(&self) -> Result<Option<String>, Problem> {
        let path = self.config();
        let text = file::read_text(&path).or_next("`counterfoil init` makes an operator's home")?;
        let value: toml::Table = toml::from_str(&text).at(path.display())?;
        Ok(value
            .get("log")
            .and_then(|log| log.get("url"))
            .and_then(|url| url.as_str())
            .map(str::to_owned))
    }

    /// This operator's manifests, oldest first.
    pub(crate) fn own_manifests(&self) -> Result<Vec<LoggedManifest>, Problem> {
        let manifests = manifests(&self.path("manifests"))?;
        if manifests.is_empty() {
            return Err(Problem::new(format!(
                "{} holds no manifest",
                self.path("manifests").display()
            ))
            .next("`counterfoil init` makes an operator's home"));
        }
        Ok(manifests)
    }

    /// Where the manifests of another operator are kept.
    pub(crate) fn peer(&self, operator: &OperatorName) -> PathBuf {
        self.path("peers").join(operator.as_str())
    }

    /// The operators whose manifests are kept here and verify, this one among them.
    pub(crate) fn operators(&self, trust: &Trust) -> Result<Operators, Problem> {
        let operators = Operators::default();
        let own = self.own_manifests()?;
        // Our own manifest may be newer than its registration.
        operators.add(own, trust, true).at("our own manifests")?;
        for operator in trust.operators() {
            let kept = manifests(&self.peer(operator))?;
            if !kept.is_empty() && operators.names().iter().all(|name| name != operator) {
                operators
                    .add(kept, trust, false)
                    .at(format!("the manifests of {operator} kept here"))
                    .or_next(format!("counterfoil operator fetch {operator}"))?;
            }
        }
        Ok(operators)
    }
}

/// Reads a signing key.
pub(crate) fn signing_key(path: &Path) -> Result<SigningKey, Problem> {
    let pem = Zeroizing::new(file::read_text(path)?);
    SigningKey::from_pem(&pem).at(path.display())
}

/// The manifests in a folder with their proofs, oldest first; none without the folder.
pub(crate) fn manifests(folder: &Path) -> Result<Vec<LoggedManifest>, Problem> {
    let mut found = Vec::new();
    for version in 1_u64.. {
        let manifest = folder.join(format!("{version}.manifest"));
        if !fs::exists(&manifest).at(manifest.display())? {
            break;
        }
        let proof = folder.join(format!("{version}.tlog-proof"));
        let logged = fs::exists(&proof).at(proof.display())?;
        found.push(LoggedManifest {
            manifest: file::read(&manifest)?,
            log_proof: logged.then(|| file::read(&proof)).transpose()?,
        });
    }
    Ok(found)
}

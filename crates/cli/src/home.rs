//! An operator's home as commands see it, beside a gateway that may be running.

use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_durable::file;
use counterfoil_enforcer::journal::{JournalReader, retired_path};
use counterfoil_enforcer::operators::Operators;
use counterfoil_gateway::config::Config;
use counterfoil_gateway::home::{Home, read_manifests};
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::Trust;

use crate::answer::{OrProblem as _, Problem};
use crate::commands::verify::read_trust;

/// Which home a command works on.
#[derive(Clone, Debug, Args)]
pub(crate) struct HomeArgument {
    /// The operator's home, as `counterfoil init` made it.
    #[arg(long = "home", value_name = "DIR", env = "COUNTERFOIL_HOME")]
    pub(crate) dir: PathBuf,
}

impl HomeArgument {
    /// Where things lie in it.
    pub(crate) fn layout(&self) -> Home {
        Home::new(&self.dir)
    }
}

/// Reads the configuration.
pub(crate) fn config(home: &Home) -> Result<Config, Problem> {
    if let Err(error) = file::read_text(&home.config()) {
        return Err(error).or_next("`counterfoil init` makes an operator's home");
    }
    Config::read(home.directory())
        .or_next("`counterfoil init` writes a commented operator.toml to compare with")
}

/// Reads the trust file.
pub(crate) fn trust(home: &Home) -> Result<Trust, Problem> {
    read_trust(&home.trust())
}

/// Which of a home's streams a command reads.
#[derive(Clone, Debug, Args)]
pub(crate) struct StreamArgument {
    /// A retired stream of this home, named by its key, instead of the present one.
    #[arg(long = "stream", value_name = "KEY")]
    key: Option<String>,
}

impl StreamArgument {
    /// Where its journal is.
    pub(crate) fn journal(&self, home: &Home) -> Result<PathBuf, Problem> {
        let Some(key) = &self.key else {
            return Ok(home.journal());
        };
        let next = "`counterfoil operator show` lists the keys";
        let kid = KeyThumbprint::from_hex(key).or_next(next)?;
        let present = JournalReader::open(&home.journal()).and_then(|reader| reader.identity());
        if present.is_ok_and(|present| present.kid == kid) {
            return Ok(home.journal());
        }
        let path = retired_path(&home.journal(), kid);
        if path.exists() {
            Ok(path)
        } else {
            Err(Problem::new(format!("this home has no stream {kid}")).next(next))
        }
    }

    /// Whether it is the present stream of the home.
    pub(crate) const fn is_present(&self) -> bool {
        self.key.is_none()
    }

    /// Opens its journal beside whoever writes to it.
    pub(crate) fn open(&self, home: &Home) -> Result<JournalReader, Problem> {
        open(&self.journal(home)?)
    }
}

fn open(journal: &Path) -> Result<JournalReader, Problem> {
    JournalReader::open(journal).or_next(
        "a journal that is gone is not made again: restore it to read it, and begin a new \
         stream with `counterfoil operator rotate`",
    )
}

/// The journal of the home's present stream.
pub(crate) fn journal(home: &Home) -> Result<JournalReader, Problem> {
    open(&home.journal())
}

/// Every journal of the home, the one that is written to last.
pub(crate) fn journals(home: &Home) -> Result<Vec<JournalReader>, Problem> {
    let mut journals = Vec::new();
    for path in home.retired_journals()? {
        journals.push(open(&path)?);
    }
    journals.push(journal(home)?);
    Ok(journals)
}

/// This operator's manifests, oldest first; at least one.
pub(crate) fn own_manifests(home: &Home) -> Result<Vec<LoggedManifest>, Problem> {
    let manifests = read_manifests(&home.manifests())?;
    if manifests.is_empty() {
        return Err(Problem::new(format!(
            "`{}` holds no manifest",
            home.manifests().display()
        ))
        .next("`counterfoil init` makes an operator's home"));
    }
    Ok(manifests)
}

/// The operators whose manifests are kept here and verify, this one among them.
pub(crate) fn operators(home: &Home, trust: &Trust) -> Result<Operators, Problem> {
    let operators = Operators::default();
    // Our own manifest may not be registered yet.
    let own = operators
        .add(own_manifests(home)?, trust, true)
        .at("our own manifests")
        .or_next("the trust file needs our own `operator` line: counterfoil operator trust-line")?;
    for operator in trust.operators().filter(|operator| **operator != own) {
        let kept = read_manifests(&home.peer(operator))?;
        if !kept.is_empty() {
            operators
                .add(kept, trust, false)
                .at(format!("the manifests of {operator} kept here"))
                .or_next(format!(
                    "counterfoil operator fetch --home {} {operator}",
                    home.directory().display()
                ))?;
        }
    }
    Ok(operators)
}

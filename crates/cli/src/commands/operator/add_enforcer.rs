//! `counterfoil operator add-enforcer`: a further home of the operator, with its own key and stream.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_durable::file::{self, Access};
use counterfoil_durable::lock::DirectoryLock;
use counterfoil_enforcer::environment::{Clock as _, SystemClock};
use counterfoil_enforcer::journal::{self, JournalReader};
use counterfoil_gateway::config::Config;
use counterfoil_gateway::control::Contracts;
use counterfoil_gateway::home::{Home, read_key};
use counterfoil_gateway::proxy::Direction;
use serde_json::json;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::commands::init::new_key;
use crate::home::{HomeArgument, config};
use crate::manifests;
use crate::operate::operate_within;

/// Make a further enforcer of this operator: a home with a key, a journal and a stream of its own.
///
/// Both work at the same time. Policy, trust file and configuration are copied; the root key is not.
/// Other operators ask for the records of both at the one exchange address of the manifest, so its
/// gateway must be able to read the new home. Budgets are kept by each enforcer for itself.
///
/// So are contracts: the new one holds none. If the home has ever agreed on one, the new home's
/// operator.toml says `contract = "required"` for every server between operators: it refuses such
/// calls until it has a contract of its own, made with `contract propose` and `contract accept` and
/// the new home.
///
/// If it is cut short, run it again.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil operator add-enforcer --home acme --out acme-2 --listen 127.0.0.1:7101")]
pub(crate) struct AddEnforcer {
    /// The home that has the root key and answers at the exchange address.
    #[command(flatten)]
    home: HomeArgument,
    /// The home to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Address and port of its gateway.
    #[arg(long, value_name = "ADDR")]
    listen: String,
    /// How others reach its gateway; by default `http://` and the address above.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) async fn add(command: &AddEnforcer) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let operator = config(&home)?.operator;
    let further = Home::new(&command.out);
    if JournalReader::open(&further.journal()).is_ok() {
        return Err(Problem::new(format!(
            "`{}` is the home of an enforcer already",
            command.out.display()
        ))
        .next("a home is never made twice; give a directory that does not exist yet"));
    }
    let url = command
        .url
        .clone()
        .unwrap_or_else(|| format!("http://{}", command.listen));
    let text = moved_config(&file::read_text(&home.config())?, &command.listen, &url);
    let parsed = Config::parse(&text, &further.config())
        .or_next("check the values of --listen and --url")?;
    let agreed = has_agreed(&home).await?;
    let text = if agreed {
        requiring_contracts(&text, &parsed, &further.config())?
    } else {
        text
    };

    if !further.directory().exists() {
        file::create_directory(further.directory())?;
    }
    let _lock = DirectoryLock::acquire(further.directory())?;
    for folder in [further.keys(), further.manifests(), further.peers()] {
        if !folder.exists() {
            file::create_directory(&folder)?;
        }
    }
    // Before anything else, so that one that was cut short goes on with the same key.
    if !further.enforcer_key().exists() {
        let key = new_key()?;
        file::create(
            &further.enforcer_key(),
            key.to_pem()?.as_bytes(),
            Access::Owner,
        )?;
    }
    let key = read_key(&further.enforcer_key())?;
    let kid = key.public().thumbprint();
    copy_files(&home.policy(), &further.policy())?;
    let trust = file::read(&home.trust())?;
    file::replace(&further.trust(), &trust, Access::Everyone)?;
    file::replace(&further.config(), text.as_bytes(), Access::Everyone)?;
    let manifest = manifests::change(&home, |manifest| {
        manifest.enforcers.push(key.public().clone());
        Ok(())
    })
    .await?;
    manifests::copy(&home, &further)?;
    link(&home, &further, &kid.to_string())?;
    // Last, because a home without a journal is one that nothing starts from.
    let [path, mark] = journal::files(&further.journal());
    for half in [path, mark] {
        if half.exists() {
            fs::remove_file(half)?;
        }
    }
    journal::create(&further.journal(), &operator, &key, SystemClock.now())?;
    let version = manifest.manifest().version.get();
    Ok(Answer::good(
        json!({
            "home": command.out,
            "key": kid.to_string(),
            "version": version,
            "contracts_required": agreed,
        }),
        format!(
            "made a further enforcer of {operator} in {out}, key {kid}, by manifest {version}\n\
             agents, servers and budgets are in {out}/operator.toml; tokens are not copied\n\
             each enforcer makes its own contracts, and this one has none: counterfoil contract \
             propose|accept --home {out}\n\
             {required}\
             \n\
             next:\n  counterfoil gateway serve --home {out}\n",
            out = command.out.display(),
            required = if agreed {
                "until then it refuses calls between operators: its operator.toml says \
                 contract = \"required\" for them\n"
            } else {
                ""
            },
        ),
    ))
}

/// Whether this home has ever agreed on a contract with anybody: what a contract limits does not
/// become free when it ends.
async fn has_agreed(home: &Home) -> Result<bool, Problem> {
    let contracts = operate_within(home, Contracts { contract: None })
        .await
        .at("which contracts there are cannot be told")?;
    Ok(contracts.iter().any(|one| one.acceptance.is_some()))
}

/// The configuration with a contract required for every server between operators.
fn requiring_contracts(text: &str, config: &Config, path: &Path) -> Result<String, Problem> {
    let mut servers = config.servers.iter();
    let mut between = false;
    let mut changed = String::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        let begins = trimmed.starts_with("[[servers]]");
        if trimmed.starts_with('[') {
            between = begins
                && servers
                    .next()
                    .is_some_and(|server| server.direction != Direction::Local);
        }
        let key = trimmed.split('=').next().unwrap_or_default().trim();
        if between && key == "contract" {
            continue;
        }
        changed.push_str(line);
        changed.push('\n');
        if between && begins {
            changed.push_str("contract = \"required\"\n");
        }
    }
    let required = Config::parse(&changed, path).is_ok_and(|config| {
        config
            .servers
            .iter()
            .all(|server| server.contract_required || server.direction == Direction::Local)
    });
    if required {
        Ok(changed)
    } else {
        Err(
            Problem::new("contracts cannot be made required in the configuration of the new home")
                .next("write every server of operator.toml as a [[servers]] section of its own"),
        )
    }
}

/// The configuration with other addresses.
fn moved_config(text: &str, listen: &str, url: &str) -> String {
    let mut table = String::new();
    let mut moved = String::new();
    let mut wrote = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with('[') {
            table = trimmed.to_owned();
        }
        let key = trimmed.split('=').next().unwrap_or_default().trim();
        if table.starts_with("[gateway]") && (key == "listen" || key == "url") {
            continue;
        }
        moved.push_str(line);
        moved.push('\n');
        if trimmed.starts_with("[gateway]") {
            moved.push_str(&format!("listen = {listen:?}\nurl = {url:?}\n"));
            wrote = true;
        }
    }
    if !wrote {
        moved.push_str(&format!(
            "\n[gateway]\nlisten = {listen:?}\nurl = {url:?}\n"
        ));
    }
    moved
}

fn copy_files(from: &Path, to: &Path) -> Result<(), Problem> {
    file::ensure_directory(to)?;
    for entry in fs::read_dir(from).at(from.display())? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            file::replace(&to.join(name), &file::read(&path)?, Access::Everyone)?;
        }
    }
    Ok(())
}

/// Lets the gateway at the exchange address serve the new stream.
fn link(home: &Home, further: &Home, kid: &str) -> Result<(), Problem> {
    file::ensure_directory(&home.journals())?;
    let link = home.journals().join(kid);
    if fs::symlink_metadata(&link).is_ok() {
        return Ok(());
    }
    let target = fs::canonicalize(further.directory())?;
    symlink(&target, &link).at(format!("`{}`", link.display()))?;
    Ok(file::sync_directory(&home.journals())?)
}

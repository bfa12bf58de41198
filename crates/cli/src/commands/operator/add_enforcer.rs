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
use counterfoil_gateway::home::{Home, read_key};
use serde_json::json;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::commands::init::new_key;
use crate::home::{HomeArgument, config};
use crate::manifests;

/// Make a further enforcer of this operator: a home with a key, a journal and a stream of its own.
///
/// Both work at the same time. Policy, trust file and configuration are copied; the root key is not.
/// Other operators ask for the records of both at the one exchange address of the manifest, so its
/// gateway must be able to read the new home. Budgets are kept by each enforcer for itself.
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
    Config::parse(&text, &further.config()).or_next("check the values of --listen and --url")?;

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
        json!({ "home": command.out, "key": kid.to_string(), "version": version }),
        format!(
            "made a further enforcer of {operator} in {out}, key {kid}, by manifest {version}\n\
             agents, servers and budgets are in {out}/operator.toml; tokens are not copied\n\
             \n\
             next:\n  counterfoil gateway serve --home {out}\n",
            out = command.out.display(),
        ),
    ))
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

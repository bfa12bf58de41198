//! `counterfoil operator rotate`: a new enforcer key with a new stream, or a new root key.
//!
//! A rotation of the enforcer key goes through the steps below. What it has made so far lies in
//! `rotation/` in the home. Each step looks at what is there, so that a rotation which was cut short
//! anywhere is finished by running it again. A gateway does not decide in between.
//!
//! 1. The new key, in `rotation/`.
//! 2. The old stream ends in order, naming its successor, and what it holds is sealed and published;
//!    not if it may not be continued (spec faults §6).
//! 3. A manifest with the new key and without the old one, in the log.
//! 4. The new journal, in `rotation/`.
//! 5. The old journal moves to `journals/`, the new one to its place, then the new key to its place.
//!    The old private key is gone then.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use counterfoil_durable::file::{self, Access};
use counterfoil_durable::lock::DirectoryLock;
use counterfoil_enforcer::contract::ContractSettings;
use counterfoil_enforcer::environment::{Clock as _, Environment, SystemClock};
use counterfoil_enforcer::journal::{self, Before, JournalReader};
use counterfoil_enforcer::publish::{LogClient as PublishClient, Publisher, publish_retired};
use counterfoil_enforcer::seal::Sealer;
use counterfoil_enforcer::{Blocked, Enforcer, EnforcerError, Settings};
use counterfoil_gateway::config::Config;
use counterfoil_gateway::exchange::ask_counterparties;
use counterfoil_gateway::home::{Home, read_key};
use counterfoil_policy::PolicySet;
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::keys::SigningKey;
use serde_json::json;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::commands::init::new_key;
use crate::home::{HomeArgument, config, trust};
use crate::manifests;
use crate::refresh::Refresh;

/// What an answer that is under way may take longer than the time for asking.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Replace the key of this enforcer, or the root key, by a new one.
///
/// A new enforcer key begins a new stream. The old one ends in order if it can, and stays in
/// `journals/`, from where its receipts are made and served. Balances, and what other operators have
/// sent, are carried over. If the journal was restored from a backup this is the way to go on.
///
/// The gateway must not run. If it is cut short, run it again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil operator rotate --home acme
  counterfoil operator rotate --home acme --root
  counterfoil operator rotate --home acme-2 --root-home acme")]
pub(crate) struct Rotate {
    #[command(flatten)]
    home: HomeArgument,
    /// Replace the enforcer key: the default.
    #[arg(long, conflicts_with = "root")]
    enforcer: bool,
    /// Replace the root key.
    #[arg(long)]
    root: bool,
    /// The home that has the root key, if it is another one.
    #[arg(long, value_name = "DIR")]
    root_home: Option<PathBuf>,
    /// Go on although the journal does not hold together: balances, what was received and the calls
    /// that it left open are lost, and so is every contract. Which there were cannot be known any
    /// more: agree again, and until then set `contract = "required"` for the servers between
    /// operators in operator.toml, or calls without a contract are taken.
    #[arg(long, conflicts_with = "root")]
    without_journal: bool,
}

pub(super) async fn rotate(command: &Rotate) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let root_home = match &command.root_home {
        Some(dir) => Home::new(dir),
        None => home.clone(),
    };
    if command.root && !command.enforcer {
        rotate_root(&root_home).await
    } else {
        rotate_enforcer(&home, &root_home, command.without_journal).await
    }
}

async fn rotate_root(home: &Home) -> Result<Answer, Problem> {
    let old = read_key(&home.root_key())?;
    if !home.next_root_key().exists() {
        write_key(&home.next_root_key(), &new_key()?)?;
    }
    let next = read_key(&home.next_root_key())?;
    let manifest = manifests::change(home, |manifest| {
        let listed = |key: &SigningKey| {
            let mut roots = manifest.roots.iter();
            roots.any(|root| root.as_bytes() == key.public().as_bytes())
        };
        // Not twice: an earlier attempt may have come this far.
        if listed(&old) || !listed(&next) {
            manifests::replace_key(&mut manifest.roots, old.public(), next.public());
        }
        Ok(())
    })
    .await?;
    rename(&home.next_root_key(), &home.root_key())?;
    let (old, new) = (old.public().thumbprint(), next.public().thumbprint());
    let version = manifest.manifest().version.get();
    Ok(Answer::good(
        json!({ "root": new.to_string(), "retired": old.to_string(), "version": version }),
        format!(
            "root key {new} signs the manifests from now on, by manifest {version}\n\
             the old one, {old}, is gone from {home}; trust files that name it stay right\n\
             if it may have been stolen: counterfoil operator revoke --home {home} {old}\n\
             back up {key} elsewhere\n",
            home = home.directory().display(),
            key = home.root_key().display(),
        ),
    ))
}

async fn rotate_enforcer(
    home: &Home,
    root_home: &Home,
    without_journal: bool,
) -> Result<Answer, Problem> {
    let _lock = DirectoryLock::acquire(home.directory())
        .or_next("stop the gateway: one process at a time writes a journal")?;
    let config = config(home)?;
    let Some(rotation) = Rotation::begin(home, root_home).await? else {
        let kid = read_key(&home.enforcer_key())?.public().thumbprint();
        return Ok(Answer::good(
            json!({ "key": kid.to_string() }),
            format!("the rotation that was cut short is finished: key {kid} is in its place\n"),
        ));
    };
    let ended = rotation.end_old_stream(&config, without_journal).await?;
    let manifest = manifests::change(root_home, |manifest| {
        manifests::replace_key(
            &mut manifest.enforcers,
            rotation.old.public(),
            rotation.new.public(),
        );
        Ok(())
    })
    .await?;
    manifests::copy(root_home, home)?;
    let ended = ended == Ended::InOrder;
    rotation.make_journal(&config, ended, without_journal)?;
    rotation.put_in_place()?;
    let (old, new) = (rotation.old_kid(), rotation.new.public().thumbprint());
    let version = manifest.manifest().version.get();
    let how = if ended {
        "its stream ended in order"
    } else {
        "its stream was not continued"
    };
    // Which there were stands in the journal that nothing was taken over from.
    let forgotten = without_journal && !ended;
    let contracts = if forgotten {
        format!("{CONTRACTS_FORGOTTEN}\n")
    } else {
        String::new()
    };
    Ok(Answer::good(
        json!({
            "key": new.to_string(),
            "retired": old.to_string(),
            "ended_in_order": ended,
            "contracts_forgotten": forgotten,
            "note": forgotten.then_some(CONTRACTS_FORGOTTEN),
            "version": version,
            "journal": journal::retired_path(&home.journal(), old),
        }),
        format!(
            "key {new} begins a new stream, by manifest {version}\n\
             the old key, {old}, is retired and gone from {home}; {how}\n\
             its journal stays in {journals}: its receipts are made and served from there\n\
             {contracts}\
             \n\
             next:\n  counterfoil gateway serve --home {home}\n",
            home = home.directory().display(),
            journals = home.journals().display(),
        ),
    ))
}

/// What is lost with a journal that nothing is taken over from.
const CONTRACTS_FORGOTTEN: &str = "contracts are forgotten, and which there were cannot be known: \
     agree again, and set contract = \"required\" for servers between operators until then";

/// Whether the old stream said that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    InOrder,
    /// It may not be continued, so that nothing was signed in it.
    Not,
}

/// A rotation of the enforcer key that has begun.
#[derive(Debug)]
struct Rotation {
    home: Home,
    old: SigningKey,
    new: SigningKey,
}

impl Rotation {
    /// Finds a rotation that was cut short, or begins one; none if the one that was cut short is
    /// finished now.
    async fn begin(home: &Home, root_home: &Home) -> Result<Option<Self>, Problem> {
        let folder = home.rotation();
        if !folder.exists() {
            // What can be found out before anything is changed: the log answers, and the root key
            // may sign.
            manifests::change(root_home, |_| Ok(())).await?;
            read_key(&root_home.root_key()).or_next(
                "manifests are made in the home that has the root key: name it with --root-home",
            )?;
            let made = home.directory().join("rotation.tmp");
            if made.exists() {
                fs::remove_dir_all(&made)?;
            }
            file::create_directory(&made)?;
            write_key(&made.join("enforcer.pem"), &new_key()?)?;
            rename(&made, &folder)?;
        }
        if !folder.join("enforcer.pem").exists() {
            // It is in its place already; only the folder is left.
            fs::remove_dir_all(&folder)?;
            return Ok(None);
        }
        Ok(Some(Self {
            home: home.clone(),
            old: read_key(&home.enforcer_key())?,
            new: read_key(&folder.join("enforcer.pem"))?,
        }))
    }

    fn old_kid(&self) -> KeyThumbprint {
        self.old.public().thumbprint()
    }

    /// Where the old journal is now.
    fn old_journal(&self) -> PathBuf {
        let moved = journal::retired_path(&self.home.journal(), self.old_kid());
        if moved.exists() {
            moved
        } else {
            self.home.journal()
        }
    }

    fn new_journal(&self) -> PathBuf {
        self.home.rotation().join(journal::FILE_NAME)
    }

    /// Ends the old stream in order, if it may be continued.
    async fn end_old_stream(
        &self,
        config: &Config,
        without_journal: bool,
    ) -> Result<Ended, Problem> {
        let path = self.old_journal();
        if path != self.home.journal() {
            return self.how_it_ended(&path);
        }
        let refresh = Refresh::new(&self.home, config, &trust(&self.home)?);
        refresh.at_start().await;
        let policy = PolicySet::load(&self.home.policy())
            .or_next("repair the policy: the old stream ends with a record that names it")?;
        let opened = Enforcer::open_unasked(Settings {
            operator: config.operator.clone(),
            key: read_key(&self.home.enforcer_key())?,
            policy: Arc::new(policy),
            budgets: config.budgets.clone(),
            journal: path.clone(),
            keep_clear_text: config.keep_clear_text,
            freshness_millis: u64::try_from(config.gateway.freshness.as_millis())
                .unwrap_or(u64::MAX),
            backlog_limit: config.log.as_ref().map(|log| log.backlog_records),
            batch_records: config.batch_records,
            operators: Arc::clone(refresh.operators()),
            contracts: ContractSettings::default(),
            environment: Environment::system(),
        });
        let enforcer = match opened {
            Ok((enforcer, _)) => enforcer,
            Err(error @ EnforcerError::JournalCopied(_)) => {
                return self.leave_it(config, &error).await;
            }
            Err(error) if without_journal => return self.leave_it(config, &error).await,
            Err(error) => {
                return Err(Problem::new(error.to_string()).next(
                    "if it cannot be repaired: counterfoil operator rotate --without-journal",
                ));
            }
        };
        refresh.check_own_key(&enforcer);
        let ended = self.end(&enforcer, config).await;
        let has_ended = enforcer.has_ended();
        enforcer.close()?;
        match ended {
            Ok(()) => Ok(Ended::InOrder),
            // An earlier attempt ended it, and came as far as the manifest that takes the key away.
            Err(EnforcerError::Blocked(Blocked::KeyLost { .. })) if has_ended => {
                self.publish_sealed(config).await?;
                Ok(Ended::InOrder)
            }
            Err(EnforcerError::Blocked(
                blocked @ (Blocked::LogDisagrees(_)
                | Blocked::CounterpartyDisagrees(_)
                | Blocked::KeyLost { .. }),
            )) => {
                let error = EnforcerError::Blocked(blocked);
                self.leave_it(config, &error).await
            }
            Err(error) => Err(
                Problem::new(format!("the old stream is not ended: {error}"))
                    .next("nothing is lost: run it again"),
            ),
        }
    }

    async fn end(&self, enforcer: &Enforcer, config: &Config) -> Result<(), EnforcerError> {
        if let Err(lost @ EnforcerError::Blocked(Blocked::KeyLost { .. })) = enforcer.ready() {
            return Err(lost);
        }
        let publisher = match &config.log {
            Some(log) => {
                let client = PublishClient::new(log.url.as_str())?;
                let trust =
                    trust(&self.home).map_err(|problem| EnforcerError::Log(problem.to_string()))?;
                let publisher = Publisher::new(enforcer.clone(), client, trust)?;
                publisher.ask_log().await?;
                Some(publisher)
            }
            None => None,
        };
        // Who is silent here leaves the stream without an end: the new one does not need it.
        let limit = config.gateway.counterparty_limit;
        let silent = config.gateway.silent_counterparties;
        let asking = ask_counterparties(enforcer.clone(), limit, silent);
        tokio::time::timeout(limit + ANSWER_LIMIT, asking)
            .await
            .unwrap_or_else(|_| {
                let detail = "not all have answered".to_owned();
                Err(Blocked::CounterpartiesUnconfirmed(detail))
            })
            .map_err(EnforcerError::Blocked)?;
        let (ending, successor) = (enforcer.clone(), self.new.public().thumbprint());
        let sealed = tokio::task::spawn_blocking(move || {
            ending.begin()?;
            ending.set_blocked(None);
            ending.end(Some(successor))?;
            Sealer::new(ending)?.seal()
        });
        sealed
            .await
            .map_err(|error| EnforcerError::Commit(error.to_string()))??;
        if let Some(publisher) = publisher {
            publisher.publish().await?;
        }
        Ok(())
    }

    /// Leaves the old stream as it is; what is signed in it can still be published.
    async fn leave_it(&self, config: &Config, why: &EnforcerError) -> Result<Ended, Problem> {
        tracing::warn!("the old stream is not continued: {why}");
        self.publish_sealed(config).await?;
        Ok(Ended::Not)
    }

    /// Publishes what the old stream has sealed and not logged.
    async fn publish_sealed(&self, config: &Config) -> Result<(), Problem> {
        if let Some(log) = &config.log {
            let client = PublishClient::new(log.url.as_str())?;
            let trust = trust(&self.home)?;
            if let Err(error) = publish_retired(&self.home.journal(), &client, &trust).await {
                tracing::warn!(%error, "sealed batches of the old stream are not in the log");
            }
        }
        Ok(())
    }

    fn how_it_ended(&self, journal: &Path) -> Result<Ended, Problem> {
        match journal::has_ended(journal) {
            Ok(true) => Ok(Ended::InOrder),
            Ok(false) => Ok(Ended::Not),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the journal of the new stream, unless it is made.
    fn make_journal(
        &self,
        config: &Config,
        ended: bool,
        without_journal: bool,
    ) -> Result<(), Problem> {
        let path = self.new_journal();
        if self.is_new(&self.home.journal()) {
            return Ok(());
        }
        let [_, mark] = journal::files(&path);
        if self.is_new(&path) && mark.exists() {
            return Ok(());
        }
        // One that was cut short while it was made; nobody has seen it.
        for half in journal::files(&path) {
            if half.exists() {
                fs::remove_file(half)?;
            }
        }
        let before = (!without_journal || ended).then(|| Before {
            key: self.old.public().clone(),
            ended,
        });
        let now = SystemClock.now();
        journal::create_after(&path, &config.operator, &self.new, now, before.as_ref())?;
        Ok(())
    }

    /// Whether the journal at `path` is that of the new stream.
    fn is_new(&self, path: &Path) -> bool {
        let owner = JournalReader::open(path).and_then(|reader| reader.identity());
        owner.is_ok_and(|owner| owner.kid == self.new.public().thumbprint())
    }

    /// Moves the old journal away and what is new to its place. The key comes last: with it the
    /// rotation is done.
    fn put_in_place(&self) -> Result<(), Problem> {
        let current = self.home.journal();
        let retired = journal::retired_path(&current, self.old_kid());
        let [_, current_mark] = journal::files(&current);
        let [_, retired_mark] = journal::files(&retired);
        if !self.is_new(&current) {
            if current.exists() {
                if let Err(error) = journal::settle(&current) {
                    tracing::warn!(%error, "the old journal is moved as it is");
                }
                file::ensure_directory(retired.parent().unwrap_or(Path::new(".")))?;
                rename(&current, &retired)?;
            }
            // Until the new journal is in its place, this is still the old one's mark.
            if current_mark.exists() {
                rename(&current_mark, &retired_mark)?;
            }
        }
        let [from, from_mark] = journal::files(&self.new_journal());
        for (from, to) in [(from, &current), (from_mark, &current_mark)] {
            if from.exists() {
                rename(&from, to)?;
            }
        }
        rename(
            &self.home.rotation().join("enforcer.pem"),
            &self.home.enforcer_key(),
        )?;
        fs::remove_dir_all(self.home.rotation())?;
        Ok(file::sync_directory(self.home.directory())?)
    }
}

fn write_key(path: &Path, key: &SigningKey) -> Result<(), Problem> {
    Ok(file::create(path, key.to_pem()?.as_bytes(), Access::Owner)?)
}

/// Renames and makes both names durable.
fn rename(from: &Path, to: &Path) -> Result<(), Problem> {
    fs::rename(from, to).at(format!("`{}`", from.display()))?;
    for path in [to, from] {
        if let Some(folder) = path.parent().filter(|folder| folder.is_dir()) {
            file::sync_directory(folder)?;
        }
    }
    Ok(())
}

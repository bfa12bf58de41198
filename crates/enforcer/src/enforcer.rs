//! The enforcer: decides, and writes down what it decided before anyone hears of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use counterfoil_durable::committer::{Committer, Options};
use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{ChannelSequence, UnixMillis};
use counterfoil_protocol::record::{Acknowledgement, Body, Event};
use tokio::sync::{Notify, watch};

use crate::contract::ContractSettings;
use crate::contract::evidence::Progress;
use crate::environment::Environment;
use crate::error::{Blocked, EnforcerError};
use crate::identity::SigningIdentity;
use crate::journal::{Item, JournalReader, JournalWriter, Opening};
use crate::ledger::{Budget, Ledger};
use crate::operators::Operators;
use crate::policy::Policy;
use crate::refusals::{Allowance, Allowed};
use crate::replay;
use crate::stream::{Appended, Stream, Written};

/// How far the clock may be behind the last record before nothing is decided any more. Within it
/// records keep the last record's time.
const MAX_CLOCK_BEHIND_MILLIS: u64 = 60_000;

/// What an enforcer is made of.
#[derive(Debug)]
pub struct Settings {
    /// The operator.
    pub operator: OperatorName,
    /// The enforcer key.
    pub key: SigningKey,
    /// The policy engine.
    pub policy: Arc<dyn Policy>,
    /// The agents' budgets.
    pub budgets: Vec<Budget>,
    /// Where the journal is. It must exist: an enforcer never starts from nothing by accident.
    pub journal: PathBuf,
    /// Whether parameters, results and evaluation inputs are kept in clear beside the records.
    pub keep_clear_text: bool,
    /// How far a request's time may be from ours, in milliseconds.
    pub freshness_millis: u64,
    /// How many records may wait to be logged before everything is denied; none when there is no
    /// log.
    pub backlog_limit: Option<u64>,
    /// At how many unsealed records a batch is sealed without waiting for its time.
    pub batch_records: u64,
    /// The operators it may deal with.
    pub operators: Arc<Operators>,
    /// What the configuration says about contracts.
    pub contracts: ContractSettings,
    /// Time and randomness.
    pub environment: Environment,
}

/// Both ends of what passes between us and a counterparty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelHeads {
    /// Our last record.
    pub sent: Option<Acknowledgement>,
    /// The last record of each of the counterparty's streams without a gap before it, ascending
    /// by key.
    pub received: Vec<Acknowledgement>,
}

/// What an enforcer found when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartReport {
    /// How many records the journal held.
    pub records: u64,
    /// How many calls an earlier run had left without an outcome. Each gets one: `unknown`.
    pub unresolved: u64,
}

/// The policy decision point. Cheap to clone; safe to call from many threads at once.
#[derive(Clone, Debug)]
pub struct Enforcer {
    pub(crate) core: Arc<Core>,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) identity: SigningIdentity,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) policy_set: ContentDigest,
    pub(crate) operators: Arc<Operators>,
    pub(crate) environment: Environment,
    pub(crate) journal: PathBuf,
    pub(crate) keep_clear_text: bool,
    pub(crate) freshness_millis: u64,
    pub(crate) backlog_limit: Option<u64>,
    pub(crate) batch_records: u64,
    pub(crate) contracts: ContractSettings,
    stream: Mutex<Stream>,
    pub(crate) committer: Committer<JournalWriter>,
    /// Rung when a batch is full.
    pub(crate) batch_full: Notify,
    /// Rung when records of a counterparty have been taken in.
    pub(crate) moved: Notify,
    /// How far our records are sealed and logged.
    pub(crate) progress: watch::Sender<Progress>,
    /// What may still be recorded of refusals that strangers cause.
    refusals: Mutex<Allowance>,
}

impl Enforcer {
    /// Opens the journal, replays it, resolves what a crash left open, and is ready to decide; or,
    /// when a log is configured, to decide as soon as [`crate::publish::Publisher::confirm`] says that the log
    /// knows no more of this stream than the journal does.
    ///
    /// # Errors
    /// [`EnforcerError::Journal`] when it cannot be opened, [`EnforcerError::JournalForeign`] or
    /// [`EnforcerError::JournalBroken`] when it is not what this enforcer wrote.
    pub fn open(settings: Settings) -> Result<(Self, StartReport), EnforcerError> {
        let asks_log = settings.backlog_limit.is_some();
        let (enforcer, report) = Self::open_idle(settings)?;
        if !asks_log {
            // There is nobody to ask whether the journal is the newest there was.
            enforcer.set_blocked(None);
            enforcer.begin()?;
        }
        Ok((enforcer, report))
    }

    /// Opens the journal and replays it, and does no more: nothing is decided or signed. For who
    /// only wants to look.
    ///
    /// # Errors
    /// As [`Enforcer::open`].
    pub fn open_idle(settings: Settings) -> Result<(Self, StartReport), EnforcerError> {
        let connection = JournalReader::open_for_writing(&settings.journal)?;
        let writer = JournalWriter::new(&settings.journal)
            .map_err(|error| EnforcerError::Journal(error.to_string()))?;
        let kid = settings.key.public().thumbprint();
        let reader = JournalReader::open(&settings.journal)?;
        let owner = reader.identity()?;
        if owner.operator != settings.operator || owner.kid != kid {
            return Err(EnforcerError::JournalForeign(format!(
                "operator `{}`, key {}; this is operator `{}`, key {kid}",
                owner.operator, owner.kid, settings.operator
            )));
        }
        let ledger = Ledger::new(settings.budgets)?;
        let mut stream = replay::replay(
            &reader,
            settings.key.public(),
            &owner,
            settings.policy.as_ref(),
            ledger,
        )?;
        let records = stream.next.get();
        let unresolved = stream.open.len() as u64;
        stream.blocked = Some(Blocked::LogUnconfirmed("not asked yet".to_owned()));
        let committer = Committer::spawn(connection, writer, Options::default())?;
        let core = Core {
            identity: SigningIdentity {
                operator: settings.operator,
                kid,
                key: settings.key,
            },
            policy_set: settings.policy.digest(),
            policy: settings.policy,
            operators: settings.operators,
            environment: settings.environment,
            journal: settings.journal,
            keep_clear_text: settings.keep_clear_text,
            freshness_millis: settings.freshness_millis,
            backlog_limit: settings.backlog_limit,
            batch_records: settings.batch_records.max(1),
            contracts: settings.contracts,
            progress: watch::Sender::new(Progress {
                unsealed: stream.unsealed,
                unlogged: stream.unlogged,
            }),
            stream: Mutex::new(stream),
            committer,
            batch_full: Notify::new(),
            moved: Notify::new(),
            refusals: Mutex::new(Allowance::full()),
        };
        let enforcer = Self {
            core: Arc::new(core),
        };
        Ok((
            enforcer,
            StartReport {
                records,
                unresolved,
            },
        ))
    }

    /// Begins to work on the stream: records what a crash left open as unknown, and that this run
    /// began. Nothing is signed before. With a log it is called once the log has confirmed the
    /// journal: see [`crate::publish::Publisher::confirm`].
    ///
    /// # Errors
    /// When the records cannot be written.
    pub(crate) fn begin(&self) -> Result<(), EnforcerError> {
        let core = &self.core;
        if core.stream().begun {
            return Ok(());
        }
        let unresolved = replay::resolve_open_calls(core)?;
        let started = Event::Started {
            policy_set: core.policy_set,
            unresolved,
        };
        core.write(Body::Control(started))?.ticket.wait()?;
        core.stream().begun = true;
        Ok(())
    }

    /// The operator.
    pub fn operator(&self) -> &OperatorName {
        &self.core.identity.operator
    }

    /// The enforcer key, which names the stream.
    pub fn kid(&self) -> KeyThumbprint {
        self.core.identity.kid
    }

    /// Signs a message with the enforcer key, for the exchange API's message signatures.
    pub fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        self.core.identity.key.sign(message)
    }

    /// The operators it may deal with.
    pub fn operators(&self) -> &Arc<Operators> {
        &self.core.operators
    }

    /// Where the journal is.
    pub fn journal_path(&self) -> &Path {
        &self.core.journal
    }

    /// Time and randomness.
    pub fn environment(&self) -> &Environment {
        &self.core.environment
    }

    /// Why it refuses to decide now, if it does.
    ///
    /// # Errors
    /// [`EnforcerError::Blocked`], or [`EnforcerError::Commit`] once the journal has failed.
    pub fn ready(&self) -> Result<(), EnforcerError> {
        if let Some(stopped) = self.core.committer.stopped() {
            return Err(stopped.into());
        }
        self.core.check_open(&self.core.stream())
    }

    /// Blocks or unblocks all decisions.
    pub fn set_blocked(&self, blocked: Option<Blocked>) {
        self.core.stream().blocked = blocked;
    }

    /// The heads of the channels between us and a counterparty. All are durable.
    ///
    /// # Errors
    /// [`EnforcerError::Blocked`] before this run has begun, or an error of the journal.
    pub fn channel_heads(
        &self,
        counterparty: &OperatorName,
    ) -> Result<ChannelHeads, EnforcerError> {
        let heads = {
            let stream = self.core.stream();
            self.core.check_begun(&stream)?;
            match stream.channels.get(counterparty) {
                Some(channel) => ChannelHeads {
                    sent: channel.sent(self.core.identity.kid),
                    received: channel.all_received(),
                },
                None => ChannelHeads::default(),
            }
        };
        self.core.flush()?;
        Ok(heads)
    }

    /// Notes the last record of ours that the counterparty says it holds, as its exchange API
    /// tells: what has been pushed need not travel with calls. It acknowledges nothing.
    pub fn note_held(&self, counterparty: &OperatorName, held: Option<ChannelSequence>) {
        self.core
            .stream()
            .channel(counterparty)
            .note_held(held.map(ChannelSequence::get));
    }

    /// Records that a message was refused before it could be understood as an action.
    ///
    /// # Errors
    /// [`EnforcerError::TooManyRefusals`], or when the record cannot be written. The message stays
    /// refused.
    pub async fn refuse_message(&self, reason: ReasonCode) -> Result<(), EnforcerError> {
        self.core.check_refusal()?;
        let written = self
            .core
            .write(Body::Control(Event::MessageRefused { reason }))?;
        Ok(written.ticket.await?)
    }

    /// Writes out what waits and closes the journal. Nothing is decided after.
    ///
    /// # Errors
    /// [`EnforcerError::Commit`] when the journal had failed before.
    pub fn close(&self) -> Result<(), EnforcerError> {
        Ok(self.core.committer.close()?)
    }
}

impl Core {
    pub(crate) fn stream(&self) -> MutexGuard<'_, Stream> {
        // Nothing that holds the lock panics between two states of the stream.
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this run has begun to work on the stream.
    pub(crate) fn check_begun(&self, stream: &Stream) -> Result<(), EnforcerError> {
        match &stream.blocked {
            Some(blocked) => Err(EnforcerError::Blocked(blocked.clone())),
            None if stream.begun => Ok(()),
            None => Err(EnforcerError::Blocked(Blocked::LogUnconfirmed(
                "not asked yet".to_owned(),
            ))),
        }
    }

    /// Whether decisions may be made at all.
    pub(crate) fn check_open(&self, stream: &Stream) -> Result<(), EnforcerError> {
        self.check_begun(stream)?;
        let behind_millis = stream.last_time.since(self.environment.clock.now());
        if behind_millis > MAX_CLOCK_BEHIND_MILLIS {
            return Err(EnforcerError::Blocked(Blocked::ClockBehind {
                behind_millis,
            }));
        }
        let waiting = stream.waiting();
        match self.backlog_limit {
            Some(limit) if waiting > limit => {
                Err(EnforcerError::Blocked(Blocked::Backlog { waiting, limit }))
            }
            _ => Ok(()),
        }
    }

    /// Whether the refusal of a message that no operator has signed is recorded, and counts it.
    pub(crate) fn check_refusal(&self) -> Result<(), EnforcerError> {
        let waiting = {
            let stream = self.stream();
            self.check_open(&stream)?;
            stream.waiting()
        };
        // The other half of the backlog is for calls.
        if self.backlog_limit.is_some_and(|limit| waiting > limit / 2) {
            return Err(EnforcerError::TooManyRefusals);
        }
        let now = self.environment.clock.now();
        let allowed = {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.take(now)
        };
        match allowed {
            Allowed::Yes => return Ok(()),
            Allowed::NoLonger => {
                tracing::warn!("too many messages are refused; not all refusals are recorded");
            }
            Allowed::No => {}
        }
        Err(EnforcerError::TooManyRefusals)
    }

    /// Tells whoever waits for it how far our records have come.
    pub(crate) fn note_progress(&self, stream: &Stream) {
        self.progress.send_replace(Progress {
            unsealed: stream.unsealed,
            unlogged: stream.unlogged,
        });
    }

    /// Waits until everything queued so far is durable.
    pub(crate) fn flush(&self) -> Result<(), EnforcerError> {
        Ok(self.committer.submit(Item::Received(Vec::new()))?.wait()?)
    }

    /// Appends and signs a record that belongs to no call.
    pub(crate) fn write(&self, body: Body) -> Result<Written, EnforcerError> {
        let mut stream = self.stream();
        self.append(&mut stream, body, Vec::new())?
            .sign(&self.identity)
    }

    /// Appends a record at the present time.
    pub(crate) fn append(
        &self,
        stream: &mut Stream,
        body: Body,
        openings: Vec<Opening>,
    ) -> Result<Appended, EnforcerError> {
        self.append_at(stream, self.environment.clock.now(), body, openings)
    }

    /// Appends a record at the time for which it was decided.
    pub(crate) fn append_at(
        &self,
        stream: &mut Stream,
        now: UnixMillis,
        body: Body,
        openings: Vec<Opening>,
    ) -> Result<Appended, EnforcerError> {
        let appended = stream.append(&self.identity, &self.committer, now, body, openings)?;
        if stream.next.get().saturating_sub(stream.unsealed.get()) >= self.batch_records {
            self.batch_full.notify_one();
        }
        Ok(appended)
    }
}

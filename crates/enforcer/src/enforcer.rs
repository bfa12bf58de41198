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
use crate::journal::{Item, JournalReader, JournalWriter, Mark, Opening, Place};
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
    /// The last record of each that came early and waits for those before it, ascending by key.
    pub waiting: Vec<Acknowledgement>,
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
        let enforcer = Self::open_unasked(settings)?;
        if enforcer.0.core.backlog_limit.is_none() {
            // There is nobody to ask whether the journal is the newest there was.
            enforcer.0.begin()?;
            enforcer.0.set_blocked(None);
        }
        Ok(enforcer)
    }

    /// As [`Enforcer::open`], but it waits until others have been asked, with or without a log:
    /// [`crate::service::Service`] asks them, and [`Enforcer::begin`] then begins.
    ///
    /// # Errors
    /// As [`Enforcer::open`].
    pub fn open_unasked(settings: Settings) -> Result<(Self, StartReport), EnforcerError> {
        let connection = JournalReader::open_for_writing(&settings.journal)?;
        let kid = settings.key.public().thumbprint();
        let reader = JournalReader::open(&settings.journal)?;
        let owner = reader.identity()?;
        if owner.operator != settings.operator || owner.kid != kid {
            return Err(EnforcerError::JournalForeign(format!(
                "operator `{}`, key {}; this is operator `{}`, key {kid}",
                owner.operator, owner.kid, settings.operator
            )));
        }
        check_place(&reader, &settings.journal)?;
        let ledger = Ledger::new(settings.budgets)?;
        let key = settings.key.public();
        let mut stream = replay::replay(
            &settings.journal,
            &reader,
            key,
            &owner,
            settings.policy.as_ref(),
            ledger,
        )?;
        let mark = Mark::open(&settings.journal, kid, stream.next)?;
        let writer = JournalWriter::new(&settings.journal, mark, stream.next)
            .map_err(|error| EnforcerError::Journal(error.to_string()))?;
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
    /// began. Nothing is signed before. It is called once the log and the counterparties have been
    /// asked: see [`crate::publish::Publisher::confirm`]. In a stream that has ended nothing is
    /// recorded; what it has left can be sealed.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn begin(&self) -> Result<(), EnforcerError> {
        let core = &self.core;
        {
            let mut stream = core.stream();
            if stream.begun || stream.ended {
                stream.begun = true;
                return Ok(());
            }
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

    /// Ends the stream: nothing is recorded after. The record is durable when this returns. A
    /// stream that has ended stays as it is.
    ///
    /// # Errors
    /// [`EnforcerError::Blocked`] when the stream may not be continued, or an error of the journal.
    pub fn end(&self, successor: Option<KeyThumbprint>) -> Result<(), EnforcerError> {
        {
            let stream = self.core.stream();
            self.core.check_begun(&stream)?;
            if stream.ended {
                return Ok(());
            }
        }
        let closed = Event::StreamClosed { successor };
        Ok(self.core.write(Body::Control(closed))?.ticket.wait()?)
    }

    /// Whether the stream has ended.
    pub fn has_ended(&self) -> bool {
        self.core.stream().ended
    }

    /// Says what has become of our own key, by the newest manifest: nothing is decided with a key
    /// that is revoked or not listed.
    pub fn set_key_lost(&self, lost: Option<Blocked>) {
        self.core.stream().key_lost = lost;
    }

    /// Our last record in the channel to each counterparty.
    pub fn sent_heads(&self) -> Vec<(OperatorName, Acknowledgement)> {
        let stream = self.core.stream();
        let own = self.core.identity.kid;
        let channels = stream.channels.iter();
        channels
            .filter_map(|(counterparty, channel)| Some((counterparty.clone(), channel.sent(own)?)))
            .collect()
    }

    /// Whether our channel to a counterparty holds this record of our stream.
    pub fn has_sent(&self, counterparty: &OperatorName, record: Acknowledgement) -> bool {
        let stream = self.core.stream();
        let channel = stream.channels.get(counterparty);
        channel.is_some_and(|channel| channel.has_sent(record.sequence, record.id))
    }

    /// Blocks or unblocks all decisions.
    pub fn set_blocked(&self, blocked: Option<Blocked>) {
        self.core.stream().blocked = blocked;
    }

    /// The heads of the channels between us and a counterparty. All are durable. They are told
    /// before this run has begun too: whoever starts at the same time asks for them.
    ///
    /// # Errors
    /// An error of the journal.
    pub fn channel_heads(
        &self,
        counterparty: &OperatorName,
    ) -> Result<ChannelHeads, EnforcerError> {
        let heads = {
            let stream = self.core.stream();
            match stream.channels.get(counterparty) {
                Some(channel) => ChannelHeads {
                    sent: channel.sent(self.core.identity.kid),
                    received: channel.all_received(),
                    waiting: channel.all_waiting(),
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
        match stream.key_lost.as_ref().or(stream.blocked.as_ref()) {
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
        if stream.ended {
            return Err(EnforcerError::Blocked(Blocked::StreamEnded));
        }
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

/// Whether the journal is in the file that it was made in. A copy may be older than what was signed
/// since: it is read and never continued. Spec: faults §6.
fn check_place(reader: &JournalReader, path: &Path) -> Result<(), EnforcerError> {
    let made_in = reader.place()?;
    let found = Place::of(path).map_err(|error| EnforcerError::Journal(error.to_string()))?;
    // The times count only if both are known: a kernel may learn to tell them.
    let born_elsewhere =
        matches!((made_in.born, found.born), (Some(then), Some(now)) if then != now);
    if made_in.inode != found.inode || born_elsewhere {
        return Err(EnforcerError::JournalCopied(
            "it lies in another file than the one it was made in".to_owned(),
        ));
    }
    Ok(())
}

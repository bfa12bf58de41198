//! One side of a conversation: a real enforcer with a real journal, whose time and randomness are
//! those of the vector.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use counterfoil_enforcer::environment::{Clock, Entropy, Environment};
use counterfoil_enforcer::journal::{self, JournalReader};
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::policy::{Allowed, Denied, Evaluation, EvaluationInput, Policy};
use counterfoil_enforcer::{Enforcer, EnforcerError, Permit, Settings};
use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, RecordId};
use counterfoil_protocol::names::{OperatorName, PolicyId, ReasonCode};
use counterfoil_protocol::numbers::{Amount, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Body, Decision, Outcome, OutcomeStatus, UnverifiedRecord, Verdict,
};

use super::transcript::{Expected, State};
use crate::world::keys;

/// Allows everything, but denies other operators the tools whose names begin with `forbidden`.
#[derive(Debug)]
struct ByName;

impl Policy for ByName {
    fn evaluate(&self, input: &EvaluationInput<'_>) -> Evaluation {
        let asked = input.counterparty == Some(input.operator);
        if asked && input.tool.as_str().starts_with("forbidden") {
            return Evaluation::Deny(Denied {
                reason: ReasonCode::literal("policy_forbids"),
                policies: vec![PolicyId::literal("no-forbidden-tools")],
                explanation: "the tool is forbidden".to_owned(),
                instead: None,
            });
        }
        Evaluation::Allow(Allowed {
            policies: vec![PolicyId::literal("tools")],
            tier: None,
            points: Amount::new(0),
        })
    }

    fn digest(&self) -> ContentDigest {
        ContentDigest::of(b"the policy set of the conversations")
    }
}

/// A clock that the steps set.
#[derive(Debug, Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::SeqCst))
    }
}

/// Randomness from a label and a count.
#[derive(Debug)]
struct Salts {
    label: String,
    drawn: AtomicU64,
}

impl Entropy for Salts {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EnforcerError> {
        let count = self.drawn.fetch_add(1, Ordering::SeqCst);
        let drawn = keys::seed(&format!("{} salt {count}", self.label));
        for (byte, drawn) in bytes.iter_mut().zip(drawn.iter().cycle()) {
            *byte = *drawn;
        }
        Ok(())
    }
}

/// A message that waits for records before its own.
pub(super) struct Waiting {
    pub(super) message: u64,
    /// Our request, when it is an answer.
    pub(super) request: Option<RecordId>,
    /// When the window is over.
    pub(super) deadline: u64,
    pub(super) filled: Pin<Box<dyn Future<Output = bool> + Send>>,
}

/// One side.
pub(super) struct Side {
    pub(super) name: OperatorName,
    pub(super) other: OperatorName,
    freshness: u64,
    journal: PathBuf,
    clock: Arc<Hands>,
    entropy: Arc<Salts>,
    operators: Arc<Operators>,
    running: Option<Enforcer>,
    /// The permits of open calls, by the request: our own, or the one that came.
    pub(super) permits: BTreeMap<RecordId, Permit>,
    pub(super) held: Vec<Waiting>,
    pub(super) states: BTreeMap<RecordId, State>,
    /// Our requests.
    asked: BTreeSet<RecordId>,
    /// Which request a decision is about, ours and theirs.
    decisions: BTreeMap<RecordId, RecordId>,
    /// How much of the journal has been looked at.
    seen: Seen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    records: u64,
    received: u64,
    refused: u64,
}

/// What is new in the journal.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) signed: Vec<Vec<u8>>,
    pub(super) kept: Vec<Vec<u8>>,
    pub(super) states: Vec<(RecordId, State)>,
}

impl Side {
    pub(super) fn new(
        folder: &Path,
        name: &str,
        other: &str,
        freshness: u64,
        operators: Arc<Operators>,
    ) -> Result<Self> {
        Ok(Self {
            name: OperatorName::new(name)?,
            other: OperatorName::new(other)?,
            freshness,
            journal: folder.join(format!("{name}.sqlite")),
            clock: Arc::default(),
            entropy: Arc::new(Salts {
                label: name.to_owned(),
                drawn: AtomicU64::new(0),
            }),
            operators,
            running: None,
            permits: BTreeMap::new(),
            held: Vec::new(),
            states: BTreeMap::new(),
            asked: BTreeSet::new(),
            decisions: BTreeMap::new(),
            seen: Seen::default(),
        })
    }

    pub(super) fn set_time(&self, millis: u64) {
        self.clock.0.store(millis, Ordering::SeqCst);
    }

    pub(super) fn enforcer(&self) -> Result<&Enforcer> {
        self.running
            .as_ref()
            .with_context(|| format!("{} has not started", self.name))
    }

    /// Starts, or starts again after a crash: whatever was under way is gone.
    pub(super) fn start(&mut self) -> Result<()> {
        let key = keys::Operator::new(self.name.as_str())?.enforcer;
        match self.running.take() {
            Some(enforcer) => {
                // Nothing more gets into the journal, also not because a permit is dropped.
                enforcer.close()?;
                self.permits.clear();
                self.held.clear();
            }
            None => journal::create(&self.journal, &self.name, &key, self.clock.now())?,
        }
        let (enforcer, _) = Enforcer::open(Settings {
            operator: self.name.clone(),
            key,
            policy: Arc::new(ByName),
            budgets: Vec::new(),
            journal: self.journal.clone(),
            keep_clear_text: false,
            freshness_millis: self.freshness,
            backlog_limit: None,
            batch_records: 65_536,
            operators: Arc::clone(&self.operators),
            contracts: Default::default(),
            environment: Environment {
                clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
                entropy: Arc::clone(&self.entropy) as Arc<dyn Entropy>,
            },
        })?;
        self.running = Some(enforcer);
        Ok(())
    }

    /// The record of a stream of the other side's that must come next.
    pub(super) fn expected(&self, stream: KeyThumbprint) -> Result<Expected> {
        let heads = self.enforcer()?.channel_heads(&self.other)?.received;
        let head = heads.into_iter().find(|head| head.stream == stream);
        Ok(Expected {
            stream,
            sequence: head.map_or(0, |head| head.sequence.get() + 1),
            previous: head.map(|head| head.id),
        })
    }

    /// Whether the policy was asked about what this decision of ours, which is new, is about: what is
    /// refused before that names no input.
    pub(super) fn asked_the_policy(&self, decision: RecordId) -> Result<bool> {
        self.enforcer()?.channel_status()?;
        let reader = JournalReader::open(&self.journal)?;
        for (_, bytes) in reader.records(Sequence::new(self.seen.records), 100_000)? {
            let record = UnverifiedRecord::parse(&bytes)?;
            if record.id() == decision
                && let Body::Decision(decision) = &record.unverified_content().body
            {
                return Ok(decision.evaluation.input.is_some());
            }
        }
        bail!("the decision {decision} is not in the journal")
    }

    /// What has got into the journal, and which requests are somewhere else since `before`.
    pub(super) fn news(&mut self, before: &BTreeMap<RecordId, State>) -> Result<News> {
        // Asking for the status makes durable what waits.
        let status = self.enforcer()?.channel_status()?;
        let reader = JournalReader::open(&self.journal)?;
        let mut news = News::default();
        for (sequence, bytes) in reader.records(Sequence::new(self.seen.records), 100_000)? {
            self.seen.records = sequence.get() + 1;
            self.note_own(&bytes)?;
            news.signed.push(bytes);
        }
        for row in reader.received(self.seen.received, 100_000)? {
            self.seen.received = row.number;
            if row.operator == self.other {
                self.note_theirs(&row.bytes)?;
            }
        }
        for row in reader.refused(self.seen.refused, 100_000)? {
            self.seen.refused = row.number;
            news.kept.push(row.bytes);
        }
        let asks = self.enforcer()?.to_resolve().contains(&self.other);
        for status in status.iter().filter(|one| one.counterparty == self.other) {
            for (request, found) in &status.unresolved {
                let denied = found
                    .decision
                    .is_some_and(|(_, verdict)| verdict == Verdict::Deny);
                if denied || found.outcome.is_some() || !asks {
                    self.states.insert(*request, State::Resolved);
                }
            }
        }
        let moved = self.states.iter();
        news.states = moved
            .filter(|(id, state)| before.get(*id) != Some(*state))
            .map(|(id, state)| (*id, *state))
            .collect();
        Ok(news)
    }

    fn note_own(&mut self, bytes: &[u8]) -> Result<()> {
        let record = UnverifiedRecord::parse(bytes)?;
        let id = record.id();
        match &record.unverified_content().body {
            Body::Request(_) => {
                self.asked.insert(id);
                self.states.insert(id, State::Prepared);
            }
            Body::Decision(decision) => self.note_own_decision(id, decision),
            Body::Outcome(outcome) => self.note_own_outcome(outcome),
            Body::Channel(_) | Body::Control(_) => {}
        }
        Ok(())
    }

    fn note_own_decision(&mut self, id: RecordId, decision: &Decision) {
        let Some(request) = decision.request else {
            return;
        };
        self.decisions.insert(id, request.id);
        let state = match decision.evaluation.verdict {
            Verdict::Allow => State::Executing,
            Verdict::Deny => State::Decided,
        };
        self.states.insert(request.id, state);
    }

    fn note_own_outcome(&mut self, outcome: &Outcome) {
        if let Some(request) = self.decisions.get(&outcome.decision) {
            self.states.insert(*request, State::Settled);
        } else if self.asked.contains(&outcome.decision) {
            let state = match outcome.status {
                OutcomeStatus::Succeeded | OutcomeStatus::Failed => State::Answered,
                OutcomeStatus::NotExecuted => State::NotSent,
                OutcomeStatus::Unknown | OutcomeStatus::EvidenceInvalid => State::Unknown,
                OutcomeStatus::RefusedByCounterparty => State::Refused,
            };
            self.states.insert(outcome.decision, state);
        }
    }

    fn note_theirs(&mut self, bytes: &[u8]) -> Result<()> {
        let record = UnverifiedRecord::parse(bytes)?;
        let id = record.id();
        match &record.unverified_content().body {
            Body::Request(_) => {
                let known = self.states.get(&id);
                if known.is_none_or(|state| *state == State::Held) {
                    self.states.insert(id, State::Received);
                }
            }
            Body::Decision(decision) => {
                if let Some(request) = decision.request
                    && decision.evaluation.verdict == Verdict::Allow
                    && self.states.get(&request.id) == Some(&State::Sent)
                {
                    self.states.insert(request.id, State::Decided);
                }
            }
            Body::Outcome(outcome) => {
                if self.states.get(&outcome.decision) == Some(&State::Received) {
                    self.states.insert(outcome.decision, State::Withdrawn);
                }
            }
            Body::Channel(_) | Body::Control(_) => {}
        }
        Ok(())
    }
}

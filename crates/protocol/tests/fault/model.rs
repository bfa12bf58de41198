//! A naive model of an honest operator with two enforcers, and of the peers that it deals with.
//!
//! Everything is computed from the journals, again each time. What is in a journal has been sent to
//! whoever collects, whatever happens to the journal later.

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::digest::{CommitmentDigest, RecordId};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{
    AgentName, OperatorName, PolicyId, ReasonCode, ServerName, Tier, ToolName, Verb,
};
use counterfoil_protocol::numbers::{BatchNumber, ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Acknowledgement, Action, Actor, Body, ChannelControl, ChannelEvent, ChannelLink,
    DecidedRequest, Decision, Evaluation, Event, Outcome, OutcomeStatus, Record, Request,
    Statement, UnverifiedRecord, Verdict,
};

use super::collected::{Collected, Item};
use super::world::{content, globex, key, peer};

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: RecordId,
    pub(crate) record: Record,
    pub(crate) bytes: Vec<u8>,
}

/// One stream of the operator: the journal of one key, as it was sent out.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) seed: u8,
    pub(crate) journal: Vec<Entry>,
    pub(crate) commitments: Vec<Vec<u8>>,
    pub(crate) sealed: usize,
}

/// What a peer sent, and which of its records came before.
#[derive(Clone)]
struct Received {
    operator: OperatorName,
    acknowledgement: Acknowledgement,
    request: Request,
    /// How long the journals of the enforcer were when it came.
    at: usize,
}

/// One enforcer: the part of the streams that its journal still holds, the last one being its own.
#[derive(Default)]
struct Enforcer {
    streams: Vec<(usize, usize)>,
    received: Vec<Received>,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    PeerAsks {
        peer: usize,
        stream: usize,
    },
    Deliver {
        enforcer: usize,
        peer: usize,
        stream: usize,
    },
    Decide {
        enforcer: usize,
        pick: usize,
        allow: bool,
    },
    Replay {
        enforcer: usize,
        pick: usize,
    },
    Complete {
        enforcer: usize,
        pick: usize,
        how: usize,
    },
    Ask {
        enforcer: usize,
        peer: usize,
    },
    Local {
        enforcer: usize,
        allow: bool,
    },
    Crash {
        enforcer: usize,
    },
    Clock {
        step: i64,
    },
    Rotate {
        enforcer: usize,
    },
    Restore {
        enforcer: usize,
        keep: usize,
    },
    Seal {
        enforcer: usize,
        show: usize,
    },
    Close {
        enforcer: usize,
        peer: usize,
    },
    Refuse {
        enforcer: usize,
    },
    AskedToDeny {
        enforcer: usize,
        peer: usize,
        pick: usize,
        forged: bool,
    },
}

pub(crate) struct Model {
    pub(crate) collected: Collected,
    pub(crate) streams: Vec<Stream>,
    enforcers: Vec<Enforcer>,
    /// The requests of each peer's streams, in channel order.
    asked: Vec<Vec<Vec<u8>>>,
    clock: i64,
    salt: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut model = Self {
            collected: Collected::default(),
            streams: Vec::new(),
            enforcers: vec![Enforcer::default(), Enforcer::default()],
            asked: vec![Vec::new(); 4],
            clock: 1_700_000_000_000,
            salt: 0,
        };
        model.open(0, None);
        model.open(1, None);
        model
    }

    pub(crate) fn act(&mut self, act: &Act) {
        match *act {
            Act::PeerAsks { peer, stream } => self.peer_asks(peer % 2, stream % 2),
            Act::Deliver {
                enforcer,
                peer,
                stream,
            } => self.deliver(enforcer % 2, peer % 2, stream % 2),
            Act::Decide {
                enforcer,
                pick,
                allow,
            } => self.decide(enforcer % 2, pick, allow),
            Act::Replay { enforcer, pick } => self.replay(enforcer % 2, pick),
            Act::Complete {
                enforcer,
                pick,
                how,
            } => self.complete(enforcer % 2, pick, how),
            Act::Ask { enforcer, peer: to } => self.ask(enforcer % 2, to),
            Act::Local { enforcer, allow } => {
                let body = self.decision(None, None, allow);
                self.append(enforcer % 2, body);
            }
            Act::Crash { enforcer } => self.crash(enforcer % 2),
            Act::Clock { step } => self.clock = (self.clock + step).max(1),
            Act::Rotate { enforcer } => self.rotate(enforcer % 2),
            Act::Restore { enforcer, keep } => self.restore(enforcer % 2, keep),
            Act::Seal { enforcer, show } => self.seal(self.own(enforcer % 2), show),
            Act::Close { enforcer, peer: to } => self.statement(enforcer % 2, to),
            Act::Refuse { enforcer } => {
                let reason = ReasonCode::literal("json_malformed");
                self.append(
                    enforcer % 2,
                    Body::Control(Event::MessageRefused { reason }),
                );
            }
            Act::AskedToDeny {
                enforcer,
                peer: by,
                pick,
                forged,
            } => {
                self.asked_to_deny(enforcer % 2, by, pick, forged);
            }
        }
    }

    /// The stream that an enforcer signs.
    pub(crate) fn own(&self, enforcer: usize) -> usize {
        self.enforcers[enforcer].streams.last().unwrap().0
    }

    pub(crate) fn key_of(&self, stream: usize) -> counterfoil_protocol::keys::SigningKey {
        key(self.streams[stream].seed)
    }

    fn salt(&mut self) -> u64 {
        self.salt += 1;
        self.salt
    }

    pub(crate) fn time(&self) -> UnixMillis {
        UnixMillis::new(self.clock.unsigned_abs())
    }

    /// What the journal of an enforcer holds.
    fn holds(&self, enforcer: usize) -> Vec<&Entry> {
        let streams = self.enforcers[enforcer].streams.iter();
        streams
            .flat_map(|(stream, length)| &self.streams[*stream].journal[..*length])
            .collect()
    }

    fn open(&mut self, enforcer: usize, predecessor: Option<usize>) {
        let seed = u8::try_from(self.streams.len() + 1).unwrap();
        let predecessor = predecessor.map(|stream| self.key_of(stream).public().thumbprint());
        self.streams.push(Stream {
            seed,
            ..Stream::default()
        });
        self.collected.keys.push(key(seed));
        self.enforcers[enforcer]
            .streams
            .push((self.streams.len() - 1, 0));
        self.append(enforcer, Body::Control(Event::StreamOpened { predecessor }));
    }

    pub(crate) fn append(&mut self, enforcer: usize, body: Body) -> RecordId {
        let stream = self.own(enforcer);
        let journal = &self.streams[stream].journal;
        let record = Record {
            sequence: Sequence::new(journal.len() as u64),
            previous: journal.last().map(|entry| entry.id),
            time: self.time(),
            beacon: None,
            body,
        };
        let entry = self.sign(stream, record);
        let id = entry.id;
        self.streams[stream].journal.push(entry);
        self.enforcers[enforcer].streams.last_mut().unwrap().1 += 1;
        id
    }

    /// Takes the last record of an enforcer back from everybody.
    pub(crate) fn forget_last(&mut self, enforcer: usize, bytes: &[u8]) {
        self.enforcers[enforcer].streams.last_mut().unwrap().1 -= 1;
        let last = self.collected.items.pop();
        assert!(matches!(last, Some(Item::Record(last)) if last == bytes));
    }

    /// Signs a record and lets everybody have it.
    pub(crate) fn sign(&mut self, stream: usize, record: Record) -> Entry {
        let key = self.key_of(stream);
        let prepared = record.prepare(&globex(), key.public().thumbprint());
        let bytes = prepared.sign(&key);
        self.collected.items.push(Item::Record(bytes.clone()));
        Entry {
            id: prepared.id(),
            record,
            bytes,
        }
    }

    /// The link for the next record of a stream to a peer.
    pub(crate) fn link(&self, enforcer: usize, to: &OperatorName) -> ChannelLink {
        let journal = &self.streams[self.own(enforcer)].journal;
        let mut sent = journal.iter().filter(|entry| {
            let link = entry.record.channel();
            link.is_some_and(|link| link.counterparty == *to)
        });
        let previous = sent.clone().next_back().map(|entry| entry.id);
        let received = self.enforcers[enforcer].received.iter();
        ChannelLink {
            counterparty: to.clone(),
            sequence: ChannelSequence::new(sent.by_ref().count() as u64),
            previous,
            acknowledged: received
                .rev()
                .find(|received| received.operator == *to)
                .map(|received| received.acknowledgement),
        }
    }

    fn peer_asks(&mut self, from: usize, stream: usize) {
        let requests = self.asked[from * 2 + stream].len() as u64;
        let previous = self.asked[from * 2 + stream]
            .last()
            .map(|bytes| UnverifiedRecord::parse(bytes).unwrap().id());
        let signer = key(u8::try_from(240 + from * 2 + stream).unwrap());
        let record = Record {
            sequence: Sequence::new(requests + 1),
            previous: Some(previous.unwrap_or(RecordId::from_bytes([1; 32]))),
            time: UnixMillis::new(1_600_000_000_000 + requests),
            beacon: None,
            body: Body::Request(Request {
                channel: ChannelLink {
                    counterparty: globex(),
                    sequence: ChannelSequence::new(requests),
                    previous,
                    acknowledged: None,
                },
                contract: None,
                actor: actor(&peer(from)),
                action: action("charge"),
                parameters: content(self.salt()),
                evaluation: evaluation(Verdict::Allow),
                reservations: Vec::new(),
                attestations: Vec::new(),
            }),
        };
        let prepared = record.prepare(&peer(from), signer.public().thumbprint());
        let bytes = prepared.sign(&signer);
        self.collected.items.push(Item::Request(bytes.clone()));
        self.asked[from * 2 + stream].push(bytes);
    }

    /// An enforcer takes in the next record of a peer's stream that it does not have.
    fn deliver(&mut self, enforcer: usize, from: usize, stream: usize) {
        let at = self.holds(enforcer).len();
        let kid = key(u8::try_from(240 + from * 2 + stream).unwrap());
        let kid = kid.public().thumbprint();
        let enforcer = &mut self.enforcers[enforcer];
        let mut received = enforcer.received.iter();
        let has = received
            .by_ref()
            .filter(|one| one.acknowledgement.stream == kid);
        let has = has.count();
        let Some(bytes) = self.asked[from * 2 + stream].get(has) else {
            return;
        };
        let record = UnverifiedRecord::parse(bytes).unwrap();
        let Body::Request(request) = &record.unverified_content().body else {
            panic!("peers only ask");
        };
        enforcer.received.push(Received {
            operator: peer(from),
            acknowledgement: Acknowledgement {
                stream: kid,
                sequence: request.channel.sequence,
                id: record.id(),
            },
            request: request.clone(),
            at,
        });
    }

    fn decided(&self, enforcer: usize) -> Vec<RecordId> {
        let holds = self.holds(enforcer);
        let decisions = holds.iter().filter_map(|entry| match &entry.record.body {
            Body::Decision(decision) => Some(decision.request?.id),
            _ => None,
        });
        decisions.collect()
    }

    fn decide(&mut self, enforcer: usize, pick: usize, allow: bool) {
        let decided = self.decided(enforcer);
        let waiting: Vec<&Received> = self.enforcers[enforcer]
            .received
            .iter()
            .filter(|one| !decided.contains(&one.acknowledgement.id))
            .collect();
        if waiting.is_empty() {
            return;
        }
        let chosen = waiting[pick % waiting.len()].clone();
        let mut link = self.link(enforcer, &chosen.operator);
        // A decision acknowledges the stream that it answers.
        let newest = self.enforcers[enforcer].received.iter().rev();
        link.acknowledged = newest
            .map(|one| one.acknowledgement)
            .find(|one| one.stream == chosen.acknowledgement.stream);
        let asked = (chosen.acknowledgement.id, chosen.request);
        let body = self.decision(Some(link), Some(asked), allow);
        self.append(enforcer, body);
    }

    /// A request comes once more. If it is known to be decided, the refusal names no request.
    fn replay(&mut self, enforcer: usize, pick: usize) {
        let decided = self.decided(enforcer);
        let again: Vec<&Received> = self.enforcers[enforcer]
            .received
            .iter()
            .filter(|one| decided.contains(&one.acknowledgement.id))
            .collect();
        if again.is_empty() {
            return;
        }
        let operator = again[pick % again.len()].operator.clone();
        let link = self.link(enforcer, &operator);
        let body = self.decision(Some(link), None, false);
        self.append(enforcer, body);
    }

    fn decision(
        &mut self,
        channel: Option<ChannelLink>,
        asked: Option<(RecordId, Request)>,
        allow: bool,
    ) -> Body {
        let verdict = if allow { Verdict::Allow } else { Verdict::Deny };
        let salt = self.salt();
        let (request, actor, action, parameters) = match asked {
            Some((id, request)) => (
                Some(DecidedRequest {
                    id,
                    evidence: Level::Signed,
                }),
                request.actor,
                Action {
                    // Each side has its own tiers.
                    tier: Some(Tier::literal("high")),
                    ..request.action
                },
                request.parameters,
            ),
            None => (None, actor(&globex()), action("local"), content(salt)),
        };
        Body::Decision(Decision {
            channel,
            request,
            contract: None,
            actor,
            action,
            parameters,
            evaluation: evaluation(verdict),
            reservations: Vec::new(),
            attestations: Vec::new(),
        })
    }

    fn ask(&mut self, enforcer: usize, to: usize) {
        let salt = self.salt();
        let channel = self.link(enforcer, &peer(to));
        let request = Request {
            channel,
            contract: None,
            actor: actor(&globex()),
            action: action("search"),
            parameters: content(salt),
            evaluation: evaluation(Verdict::Allow),
            reservations: Vec::new(),
            attestations: Vec::new(),
        };
        self.append(enforcer, Body::Request(request));
    }

    /// The calls that the journal holds no outcome of, with the peer they concern.
    fn unresolved(&self, enforcer: usize) -> Vec<(RecordId, Option<OperatorName>)> {
        let holds = self.holds(enforcer);
        let settled = |id: RecordId| {
            holds.iter().any(|entry| match &entry.record.body {
                Body::Outcome(outcome) => outcome.decision == id,
                _ => false,
            })
        };
        let calls = holds.iter().filter(|entry| {
            let allows = |evaluation: &Evaluation| evaluation.verdict == Verdict::Allow;
            entry.record.evaluation().is_some_and(allows) && !settled(entry.id)
        });
        calls
            .map(|entry| {
                let link = entry.record.channel();
                (entry.id, link.map(|link| link.counterparty.clone()))
            })
            .collect()
    }

    fn complete(&mut self, enforcer: usize, pick: usize, how: usize) {
        let calls = self.unresolved(enforcer);
        if calls.is_empty() {
            return;
        }
        let (decision, to) = calls[pick % calls.len()].clone();
        let status = [
            OutcomeStatus::Succeeded,
            OutcomeStatus::Failed,
            OutcomeStatus::NotExecuted,
            OutcomeStatus::RefusedByCounterparty,
            OutcomeStatus::EvidenceInvalid,
        ][how % 5];
        self.outcome(enforcer, decision, to, status);
    }

    pub(crate) fn outcome(
        &mut self,
        enforcer: usize,
        decision: RecordId,
        to: Option<OperatorName>,
        status: OutcomeStatus,
    ) -> RecordId {
        let salt = self.salt();
        let channel = to.map(|to| self.link(enforcer, &to));
        self.append(
            enforcer,
            Body::Outcome(Outcome {
                channel,
                decision,
                answer: None,
                status,
                result: Some(content(salt)),
                settlements: Vec::new(),
                attestations: Vec::new(),
            }),
        )
    }

    /// Calls in flight are lost, and what is in the journal is not.
    fn crash(&mut self, enforcer: usize) {
        let calls = self.unresolved(enforcer);
        let unresolved = calls.len() as u64;
        for (decision, to) in calls {
            self.outcome(enforcer, decision, to, OutcomeStatus::Unknown);
        }
        let started = Event::Started {
            policy_set: content(0),
            unresolved,
        };
        self.append(enforcer, Body::Control(started));
    }

    fn rotate(&mut self, enforcer: usize) {
        if self.streams.len() > 20 {
            return;
        }
        let old = self.own(enforcer);
        let successor = key(u8::try_from(self.streams.len() + 1).unwrap());
        let successor = Some(successor.public().thumbprint());
        self.append(enforcer, Body::Control(Event::StreamClosed { successor }));
        self.seal(old, 0);
        self.open(enforcer, Some(old));
    }

    /// The journal is that of an earlier time; what it lost has been sent. The key is given up.
    fn restore(&mut self, enforcer: usize, keep: usize) {
        if self.streams.len() > 20 {
            return;
        }
        let total = self.holds(enforcer).len();
        let mut left = keep % (total + 1);
        let at = left;
        let state = &mut self.enforcers[enforcer];
        state.received.retain(|one| one.at <= at);
        for (_, length) in &mut state.streams {
            *length = left.min(*length);
            left -= *length;
        }
        self.open(enforcer, None);
        self.crash(enforcer);
    }

    pub(crate) fn seal(&mut self, stream: usize, show: usize) {
        let state = &self.streams[stream];
        let first = state.sealed;
        let leaves: Vec<Vec<u8>> = state.journal[first..]
            .iter()
            .map(|entry| entry.bytes.clone())
            .collect();
        if leaves.is_empty() {
            return;
        }
        let shown: Vec<u64> = (0..leaves.len() as u64)
            .filter(|index| show >> (index % 6) & 1 == 1)
            .collect();
        self.seal_as(stream, &leaves, &shown);
    }

    /// Seals these leaves as the next batch of a stream.
    pub(crate) fn seal_as(&mut self, stream: usize, leaves: &[Vec<u8>], shown: &[u64]) {
        let commitment = self.commitment(stream, leaves);
        let bytes = commitment.sign(&globex(), &self.key_of(stream));
        let first = commitment.first.get();
        self.collected.batch(bytes.clone(), first, leaves, shown);
        let state = &mut self.streams[stream];
        state.sealed += leaves.len();
        state.commitments.push(bytes);
    }

    pub(crate) fn commitment(&self, stream: usize, leaves: &[Vec<u8>]) -> Commitment {
        let tree = BatchTree::build(leaves.iter().map(Vec::as_slice)).unwrap();
        let state = &self.streams[stream];
        Commitment {
            number: BatchNumber::new(state.commitments.len() as u64),
            first: Sequence::new(state.sealed as u64),
            count: leaves.len() as u64,
            previous: state
                .commitments
                .last()
                .map(|bytes| CommitmentDigest::of(bytes)),
            opened: self.time(),
            sealed: self.time(),
            beacon: None,
            root: tree.root(),
        }
    }

    fn statement(&mut self, enforcer: usize, to: usize) {
        let mut received: Vec<Acknowledgement> = Vec::new();
        for one in self.enforcers[enforcer].received.iter().rev() {
            let known = |seen: &Acknowledgement| seen.stream == one.acknowledgement.stream;
            if one.operator == peer(to) && !received.iter().any(known) {
                received.push(one.acknowledgement);
            }
        }
        received.sort_by_key(|one| one.stream);
        let channel = self.link(enforcer, &peer(to));
        let event = ChannelEvent::Statement(Statement {
            from: ChannelSequence::new(0),
            received,
            open: 0,
        });
        self.append(enforcer, Body::Channel(ChannelControl { channel, event }));
    }

    /// Somebody shows a record that is said to be ours and asks whether it is. We deny one that
    /// names a key of others, and one of which our journal holds another in its place.
    fn asked_to_deny(&mut self, enforcer: usize, by: usize, pick: usize, forged: bool) {
        let shown: Vec<&Entry> = self
            .streams
            .iter()
            .flat_map(|stream| &stream.journal)
            .collect();
        let entry = shown[pick % shown.len()].clone();
        let mut streams = self.streams.iter();
        let of = |stream: &Stream| stream.journal.iter().any(|one| one.id == entry.id);
        let stream = streams.position(of).unwrap();
        let mut record = entry.record.clone();
        if forged {
            record.time = UnixMillis::new(record.time.get() + 77_000);
        }
        let kid = self.key_of(stream).public().thumbprint();
        let id = record.prepare(&globex(), kid).id();
        let holds = self.enforcers[enforcer].streams.iter();
        let place = usize::try_from(record.sequence.get()).unwrap();
        let another = holds
            .filter(|(held, length)| *held == stream && place < *length)
            .any(|(held, _)| self.streams[*held].journal[place].id != id);
        if another {
            self.deny(enforcer, by, id);
        }
    }

    pub(crate) fn deny(&mut self, enforcer: usize, to: usize, record: RecordId) -> RecordId {
        let channel = self.link(enforcer, &peer(to));
        let event = ChannelEvent::RecordDenied {
            record,
            reason: ReasonCode::literal("not_ours"),
        };
        self.append(enforcer, Body::Channel(ChannelControl { channel, event }))
    }
}

pub(crate) fn actor(operator: &OperatorName) -> Actor {
    Actor {
        operator: operator.clone(),
        agent: AgentName::literal("support-bot"),
        on_behalf_of: Some(content(9)),
        session: None,
    }
}

pub(crate) fn action(tool: &'static str) -> Action {
    Action {
        server: ServerName::literal("desk"),
        verb: Verb::literal("tools/call"),
        tool: ToolName::literal(tool),
        tier: None,
    }
}

pub(crate) fn evaluation(verdict: Verdict) -> Evaluation {
    Evaluation {
        verdict,
        reason: ReasonCode::literal("policy"),
        policies: vec![PolicyId::literal("p1")],
        policy_set: content(0),
        input: None,
    }
}

//! What the enforcers of the model do about calls: those of peers, and their own.

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{
    AgentName, OperatorName, PolicyId, ReasonCode, ServerName, Tier, ToolName, Verb,
};
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Acknowledgement, Action, Actor, Body, ChannelControl, ChannelEvent, ChannelLink,
    DecidedRequest, Decision, Evaluation, Outcome, OutcomeStatus, Record, Request, Statement,
    UnverifiedRecord, Verdict,
};

use super::collected::Item;
use super::model::{Entry, Model, Received, Stream};
use super::world::{content, globex, key, peer};

impl Model {
    pub(crate) fn peer_asks(&mut self, from: usize, stream: usize) {
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
    pub(crate) fn deliver(&mut self, enforcer: usize, from: usize, stream: usize) {
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

    pub(crate) fn decided(&self, enforcer: usize) -> Vec<RecordId> {
        let holds = self.holds(enforcer);
        let decisions = holds.iter().filter_map(|entry| match &entry.record.body {
            Body::Decision(decision) => Some(decision.request?.id),
            _ => None,
        });
        decisions.collect()
    }

    pub(crate) fn decide(&mut self, enforcer: usize, pick: usize, allow: bool) {
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
    pub(crate) fn replay(&mut self, enforcer: usize, pick: usize) {
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

    pub(crate) fn decision(
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

    pub(crate) fn ask(&mut self, enforcer: usize, to: usize) {
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
    pub(crate) fn unresolved(&self, enforcer: usize) -> Vec<(RecordId, Option<OperatorName>)> {
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

    pub(crate) fn complete(&mut self, enforcer: usize, pick: usize, how: usize) {
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

    pub(crate) fn statement(&mut self, enforcer: usize, to: usize) {
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
    pub(crate) fn asked_to_deny(&mut self, enforcer: usize, by: usize, pick: usize, forged: bool) {
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

//! What passes between us and one counterparty: our channel to it, and one of its channels to us
//! for each of its enforcer keys. Each is numbered without a gap and linked, and acknowledges the
//! other side.
//!
//! As TCP does, we send again whatever has not been acknowledged: it travels along with the next
//! call. So a lost call or answer leaves no gap behind, and concurrent calls may overtake each
//! other. Records that overtake those before them wait for them here. Spec: mcp §4.

mod standing;
mod taking;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use counterfoil_protocol::digest::{KeyThumbprint, RecordId};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::ChannelSequence;
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelEvent, ChannelLink, Decision, Outcome, OutcomeStatus, Verdict,
    VerifiedRecord,
};

use crate::journal::Slot;

/// How many of our records may wait to be acknowledged before calls that concern the counterparty
/// are denied. It leaves room in one envelope for what ends the calls that are open then.
pub(crate) const MAX_UNACKNOWLEDGED: usize = 384;

/// How many records of a counterparty wait for those before them, and how far ahead of them they
/// may be.
pub(crate) const MAX_AHEAD: usize = 512;

/// What is known of a channel. Derived from the journal, kept under the stream's lock.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// The ids of all our records, by number.
    sent: Vec<RecordId>,
    /// Those that the counterparty has not acknowledged, oldest first.
    unacknowledged: VecDeque<Sent>,
    /// The number of our last record that the counterparty says it holds, without having signed
    /// for it. Such records need not travel with a call.
    held_there: Option<u64>,
    /// The ids of all the counterparty's records, by number, for each of its streams.
    received: BTreeMap<KeyThumbprint, Vec<RecordId>>,
    /// The stream of the counterparty's that we heard from last.
    heard_last: Option<KeyThumbprint>,
    /// For each of its streams, the last record of ours that it has acknowledged.
    acknowledged: BTreeMap<KeyThumbprint, ChannelSequence>,
    /// Its records that came before those that belong before them, by number, for each stream.
    ahead: BTreeMap<KeyThumbprint, BTreeMap<u64, Ahead>>,
    /// The place of our last statement, and what we had received when we made it.
    stated: Option<(u64, Vec<Acknowledgement>)>,
    /// The counterparty's last statement.
    statement: Option<Acknowledgement>,
    /// How many calls and answers wait for records that are missing.
    pub(crate) held: usize,
    /// Requests received and not decided yet.
    undecided: HashSet<RecordId>,
    /// Requests being decided.
    deciding: HashSet<RecordId>,
    /// Requests that are decided before they could be taken in: they are not decided again.
    decided_early: HashSet<RecordId>,
    /// Our requests that have no outcome yet.
    asked: HashSet<RecordId>,
    /// What the counterparty said to them.
    answers: HashMap<RecordId, Answer>,
    /// Which request of ours a decision of the counterparty's is about.
    decisions: HashMap<RecordId, RecordId>,
    /// Our requests that ended without a word of the counterparty's that we could rely on, and what
    /// it has said to them since.
    unresolved: BTreeMap<RecordId, Unresolved>,
}

/// A record that has come before those that belong before it.
#[derive(Debug)]
struct Ahead {
    record: VerifiedRecord,
    bytes: Vec<u8>,
}

/// A request of ours whose outcome we recorded as unknown, or as one without valid evidence. That
/// stays what we recorded: a call has one outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unresolved {
    /// The counterparty's decision and its verdict, once known.
    pub decision: Option<(RecordId, Verdict)>,
    /// The counterparty's outcome, once known.
    pub outcome: Option<(RecordId, OutcomeStatus)>,
    /// The place in our channel of our own outcome.
    pub(crate) ended: u64,
}

/// A part of a counterparty's channel that is missing while later records are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The counterparty's stream.
    pub stream: KeyThumbprint,
    /// The first record that is missing.
    pub expected: ChannelSequence,
    /// How many later records are there.
    pub ahead: usize,
}

/// A record of ours on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) sequence: u64,
    pub(crate) id: RecordId,
    /// Where its signed bytes are, or will be.
    pub(crate) bytes: Arc<Slot>,
}

/// What the counterparty has said to one request. The first word counts.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) id: RecordId,
    pub(crate) decision: Decision,
    /// The outcome's id and content.
    pub(crate) outcome: Option<(RecordId, Outcome)>,
}

/// Why a record of the counterparty does not continue the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discontinuity {
    /// Records before it are missing; the next one expected is named.
    Gap { expected: ChannelSequence },
    /// Another record stands at its number.
    Fork {
        sequence: ChannelSequence,
        expected: RecordId,
    },
    /// It links to another record than the one before it.
    Link {
        sequence: ChannelSequence,
        expected: Option<RecordId>,
    },
    /// It acknowledges a record that we never made.
    AcknowledgedUnsent { last: Option<ChannelSequence> },
    /// It acknowledges less than what was acknowledged before.
    AcknowledgementReversed { before: ChannelSequence },
}

/// Records that were waiting and now have those before them.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    /// Those that continue the channel, in order.
    pub(crate) received: Vec<(VerifiedRecord, Vec<u8>)>,
    /// One that does not, with its bytes.
    pub(crate) refused: Option<(RecordId, Vec<u8>, Discontinuity)>,
}

impl Channel {
    /// The link for our next record in this channel. It acknowledges the stream that the record
    /// answers, or else the one that we heard from last.
    pub(crate) fn link(
        &self,
        counterparty: &OperatorName,
        answers: Option<KeyThumbprint>,
    ) -> ChannelLink {
        ChannelLink {
            counterparty: counterparty.clone(),
            sequence: ChannelSequence::new(self.sent.len() as u64),
            previous: self.sent.last().copied(),
            acknowledged: answers
                .or(self.heard_last)
                .and_then(|stream| self.received(stream)),
        }
    }

    /// The channel that our next stream has to the counterparty: nothing of it is sent yet, and
    /// what was received and decided stays so.
    pub(crate) fn succeeded(self) -> Self {
        Self {
            received: self.received,
            heard_last: self.heard_last,
            undecided: self.undecided,
            decided_early: self.decided_early,
            ..Self::default()
        }
    }

    /// Notes that our next record has been made.
    pub(crate) fn advance(&mut self, id: RecordId, body: &Body, bytes: Arc<Slot>) {
        let sequence = self.sent.len() as u64;
        self.unacknowledged.push_back(Sent {
            sequence,
            id,
            bytes,
        });
        self.sent.push(id);
        match body {
            Body::Request(_) => {
                self.asked.insert(id);
            }
            Body::Decision(decision) => {
                if let Some(request) = decision.request
                    && !self.decided(request.id)
                {
                    self.decided_early.insert(request.id);
                }
            }
            Body::Outcome(outcome) => self.settle(sequence, outcome),
            Body::Channel(control) => {
                if let ChannelEvent::Statement(statement) = &control.event {
                    self.stated = Some((sequence, statement.received.clone()));
                }
            }
            Body::Control(_) => {}
        }
    }

    /// Notes that a request has been decided. Says whether it is known here.
    pub(crate) fn decided(&mut self, request: RecordId) -> bool {
        self.deciding.remove(&request)
            || self.undecided.remove(&request)
            || self.decided_early.contains(&request)
    }

    /// Notes our outcome of a call.
    fn settle(&mut self, sequence: u64, outcome: &Outcome) {
        let asked = self.asked.remove(&outcome.decision);
        let answer = self.answers.remove(&outcome.decision);
        let relied_on = !matches!(
            outcome.status,
            OutcomeStatus::Unknown | OutcomeStatus::EvidenceInvalid
        );
        if !asked || relied_on {
            if let Some(answer) = answer {
                self.decisions.remove(&answer.id);
            }
            return;
        }
        let known = Unresolved {
            decision: answer.as_ref().map(|answer| (answer.id, answer.verdict())),
            outcome: answer
                .and_then(|answer| answer.outcome)
                .map(|(id, outcome)| (id, outcome.status)),
            ended: sequence,
        };
        self.unresolved.insert(outcome.decision, known);
    }

    /// Notes the last record of ours that the counterparty says it holds.
    pub(crate) const fn note_held(&mut self, held: Option<u64>) {
        self.held_there = held;
    }

    /// Our unacknowledged records up to and with the last of `ids`, without those that the other
    /// side says it holds: what must travel so that it sees no gap. Empty when it has acknowledged
    /// them all. Those of `ids` always travel.
    pub(crate) fn outgoing(&self, ids: &[RecordId]) -> Vec<Sent> {
        let last = self
            .unacknowledged
            .iter()
            .rposition(|sent| ids.contains(&sent.id));
        let Some(last) = last else { return Vec::new() };
        let travels =
            |sent: &&Sent| Some(sent.sequence) > self.held_there || ids.contains(&sent.id);
        self.unacknowledged
            .iter()
            .take(last + 1)
            .filter(travels)
            .cloned()
            .collect()
    }

    /// All our unacknowledged records.
    pub(crate) fn unacknowledged(&self) -> Vec<Sent> {
        self.unacknowledged.iter().cloned().collect()
    }

    /// How many of our unacknowledged records would have to travel with the next call: those that
    /// the other side does not even say it holds.
    pub(crate) fn waiting(&self) -> usize {
        let held = |sent: &&Sent| Some(sent.sequence) <= self.held_there;
        self.unacknowledged.len() - self.unacknowledged.iter().take_while(held).count()
    }

    /// Our last record in this channel, where `own` is our stream.
    pub(crate) fn sent(&self, own: KeyThumbprint) -> Option<Acknowledgement> {
        newest(own, &self.sent)
    }

    /// Whether our record with this number has this id.
    pub(crate) fn has_sent(&self, sequence: ChannelSequence, id: RecordId) -> bool {
        at(&self.sent, sequence) == Some(id)
    }

    /// The last record of one of the counterparty's streams without a gap before it.
    pub(crate) fn received(&self, stream: KeyThumbprint) -> Option<Acknowledgement> {
        newest(stream, self.received.get(&stream)?)
    }

    /// The same for all of the counterparty's streams, ascending by key.
    pub(crate) fn all_received(&self) -> Vec<Acknowledgement> {
        self.received
            .iter()
            .filter_map(|(stream, ids)| newest(*stream, ids))
            .collect()
    }

    /// Whether the counterparty's record with this number has been taken in, and has this id.
    pub(crate) fn has_received(&self, record: Acknowledgement) -> bool {
        let ids = self.received.get(&record.stream);
        ids.is_some_and(|ids| at(ids, record.sequence) == Some(record.id))
    }

    /// Claims the request for a decision. Fails if it has been decided, or is being decided: a
    /// request is decided once, even one that could not be taken in.
    pub(crate) fn claim(&mut self, request: Acknowledgement) -> bool {
        if self.undecided.remove(&request.id) {
            return self.deciding.insert(request.id);
        }
        !self.has_received(request) && self.decided_early.insert(request.id)
    }

    /// What the counterparty said to a request of ours that has no outcome yet.
    pub(crate) fn answer(&self, request: RecordId) -> Option<&Answer> {
        self.answers.get(&request)
    }
}

impl Answer {
    pub(crate) const fn verdict(&self) -> Verdict {
        self.decision.evaluation.verdict
    }
}

fn at(ids: &[RecordId], sequence: ChannelSequence) -> Option<RecordId> {
    ids.get(usize::try_from(sequence.get()).ok()?).copied()
}

fn newest(stream: KeyThumbprint, ids: &[RecordId]) -> Option<Acknowledgement> {
    let id = *ids.last()?;
    Some(Acknowledgement {
        stream,
        sequence: ChannelSequence::new((ids.len() as u64).checked_sub(1)?),
        id,
    })
}

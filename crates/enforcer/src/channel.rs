//! One channel: our records to a counterparty, and its records to us, each numbered without a gap
//! and linked, each acknowledging the other side.
//!
//! As TCP does, we send again whatever has not been acknowledged: it travels along with the next
//! call. So a lost call or answer leaves no gap behind, and concurrent calls may overtake each
//! other. Spec: mcp §4.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::ChannelSequence;
use counterfoil_protocol::record::{Acknowledgement, Body, ChannelLink, Outcome, Record, Verdict};

use crate::journal::Slot;

/// How many of the counterparty's last record ids are remembered, to tell a repeat from a fork.
const REMEMBERED: usize = 1024;

/// What is known of a channel. Derived from the journal, kept under the stream's lock.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// Our next number, and the id of our last record.
    next: u64,
    last: Option<RecordId>,
    /// Our records that the counterparty has not acknowledged, oldest first.
    unacknowledged: VecDeque<Sent>,
    /// Our last record that the counterparty says it holds. Only a signed acknowledgement counts;
    /// this saves sending again what has been pushed, and is not in the journal.
    held: Option<u64>,
    /// The counterparty's last record without a gap before it.
    received: Option<Acknowledgement>,
    /// The ids of the last records received.
    remembered: BTreeMap<u64, RecordId>,
    /// Requests received and not decided yet.
    undecided: HashSet<RecordId>,
    /// What the counterparty said to requests of ours.
    answers: HashMap<RecordId, Answer>,
    /// Which request of ours a decision of the counterparty's is about.
    decisions: HashMap<RecordId, RecordId>,
}

/// A record of ours on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) sequence: u64,
    pub(crate) id: RecordId,
    /// Where its signed bytes are, or will be.
    pub(crate) bytes: Arc<Slot>,
}

/// What the counterparty has said to one request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) decision: RecordId,
    pub(crate) verdict: Verdict,
    /// The outcome, its status and the digest of the result.
    pub(crate) outcome: Option<(RecordId, Outcome)>,
}

/// Why a record of the counterparty does not continue the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discontinuity {
    /// Records before it are missing; the next one expected is named.
    Gap { expected: ChannelSequence },
    /// Another record stands at its number, or it links to another one.
    Fork { sequence: ChannelSequence },
    /// It acknowledges a record that we never made.
    Acknowledgement,
}

impl Channel {
    /// The link for our next record in this channel; none when the numbers are used up.
    pub(crate) fn link(&self, counterparty: &OperatorName) -> Option<ChannelLink> {
        self.next.checked_add(1)?;
        Some(ChannelLink {
            counterparty: counterparty.clone(),
            sequence: ChannelSequence::new(self.next),
            previous: self.last,
            acknowledged: self.received,
        })
    }

    /// Notes that our next record has been made.
    pub(crate) fn advance(&mut self, id: RecordId, bytes: Arc<Slot>) {
        self.unacknowledged.push_back(Sent {
            sequence: self.next,
            id,
            bytes,
        });
        self.next = self.next.saturating_add(1);
        self.last = Some(id);
    }

    /// Notes the last record of ours that the counterparty says it holds.
    pub(crate) const fn note_held(&mut self, held: Option<u64>) {
        self.held = held;
    }

    /// Our unacknowledged records up to and with the last of `ids`, without those that the other
    /// side says it holds: what must travel so that it sees no gap. Empty when it has acknowledged
    /// them all. Those of `ids` always travel.
    pub(crate) fn outgoing(&self, ids: &[RecordId]) -> Vec<Sent> {
        match self
            .unacknowledged
            .iter()
            .rposition(|sent| ids.contains(&sent.id))
        {
            Some(at) => self
                .unacknowledged
                .iter()
                .take(at + 1)
                .filter(|sent| Some(sent.sequence) > self.held || ids.contains(&sent.id))
                .cloned()
                .collect(),
            None => Vec::new(),
        }
    }

    /// All our unacknowledged records.
    pub(crate) fn unacknowledged(&self) -> Vec<Sent> {
        self.unacknowledged.iter().cloned().collect()
    }

    /// How many of our records are unacknowledged.
    pub(crate) fn waiting(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Our last record in this channel.
    pub(crate) fn sent(&self) -> Option<Acknowledgement> {
        let id = self.last?;
        Some(Acknowledgement {
            sequence: ChannelSequence::new(self.next.checked_sub(1)?),
            id,
        })
    }

    /// The counterparty's last record without a gap before it.
    pub(crate) const fn received(&self) -> Option<Acknowledgement> {
        self.received
    }

    /// The number of the counterparty's next record.
    pub(crate) fn expected(&self) -> ChannelSequence {
        ChannelSequence::new(
            self.received
                .map_or(0, |last| last.sequence.get().saturating_add(1)),
        )
    }

    /// Whether the request may still be decided: it was received, and not decided before.
    pub(crate) fn take_undecided(&mut self, request: RecordId) -> bool {
        self.undecided.remove(&request)
    }

    /// What the counterparty said to a request of ours.
    pub(crate) fn answer(&self, request: RecordId) -> Option<&Answer> {
        self.answers.get(&request)
    }

    /// Forgets the answer to a request whose outcome has been recorded.
    pub(crate) fn forget(&mut self, request: RecordId) {
        if let Some(answer) = self.answers.remove(&request) {
            self.decisions.remove(&answer.decision);
        }
    }

    /// Whether a record of the counterparty with this number and id has been taken in before, so
    /// that its signature need not be verified again.
    pub(crate) fn remembers(&self, sequence: ChannelSequence, id: RecordId) -> bool {
        self.remembered.get(&sequence.get()) == Some(&id)
    }

    /// Takes in an authentic record of the counterparty. Says whether it is new.
    pub(crate) fn receive(&mut self, id: RecordId, record: &Record) -> Result<bool, Discontinuity> {
        let Some(link) = record.channel() else {
            return Ok(false);
        };
        let sequence = link.sequence;
        if sequence < self.expected() {
            return match self.remembered.get(&sequence.get()) {
                Some(known) if *known != id => Err(Discontinuity::Fork { sequence }),
                // Too old to remember, or the same again.
                _ => Ok(false),
            };
        }
        if sequence > self.expected() {
            return Err(Discontinuity::Gap {
                expected: self.expected(),
            });
        }
        if link.previous != self.received.map(|last| last.id) {
            return Err(Discontinuity::Fork { sequence });
        }
        self.acknowledge(link.acknowledged)?;
        self.received = Some(Acknowledgement { sequence, id });
        self.remembered.insert(sequence.get(), id);
        if self.remembered.len() > REMEMBERED {
            self.remembered.pop_first();
        }
        self.note(id, record);
        Ok(true)
    }

    fn note(&mut self, id: RecordId, record: &Record) {
        match &record.body {
            Body::Request(_) => {
                self.undecided.insert(id);
            }
            Body::Decision(decision) => {
                if let Some(request) = decision.request {
                    self.decisions.insert(id, request);
                    let verdict = decision.evaluation.verdict;
                    self.answers.insert(
                        request,
                        Answer {
                            decision: id,
                            verdict,
                            outcome: None,
                        },
                    );
                }
            }
            Body::Outcome(outcome) => {
                if let Some(request) = self.decisions.get(&outcome.decision)
                    && let Some(answer) = self.answers.get_mut(request)
                {
                    answer.outcome = Some((id, outcome.clone()));
                }
            }
            Body::Control(_) => {}
        }
    }

    fn acknowledge(&mut self, acknowledged: Option<Acknowledgement>) -> Result<(), Discontinuity> {
        let Some(acknowledged) = acknowledged else {
            return Ok(());
        };
        if acknowledged.sequence.get() >= self.next {
            return Err(Discontinuity::Acknowledgement);
        }
        let known = self
            .unacknowledged
            .iter()
            .find(|sent| sent.sequence == acknowledged.sequence.get())
            .is_none_or(|sent| sent.id == acknowledged.id);
        if !known {
            return Err(Discontinuity::Acknowledgement);
        }
        while let Some(first) = self.unacknowledged.front()
            && first.sequence <= acknowledged.sequence.get()
        {
            self.unacknowledged.pop_front();
        }
        Ok(())
    }
}

//! The stream under its lock: the next number, the channels, the ledger, the open calls.
//!
//! Appending a record fixes its bytes and its place in the committer's queue, in one step under
//! the lock. Signing it happens after the lock is gone, so that one enforcer signs on all cores.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use counterfoil_durable::committer::{Committer, Ticket};
use counterfoil_protocol::digest::{KeyThumbprint, RecordId};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Acknowledgement, Beacon, Body, Event, PreparedRecord, Record, Reservation, Verdict,
};

use crate::channel::Channel;
use crate::contract::{By, Contracts, Said};
use crate::error::{Blocked, EnforcerError};
use crate::identity::SigningIdentity;
use crate::journal::{Item, JournalWriter, Opening, Slot};
use crate::ledger::Ledger;

/// What is known of the stream. Everything but `beacon` and `blocked` is derived from the journal.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) next: Sequence,
    pub(crate) previous: Option<RecordId>,
    /// The time of the last record: records never go back in time, whatever the clock does.
    pub(crate) last_time: UnixMillis,
    pub(crate) channels: BTreeMap<OperatorName, Channel>,
    pub(crate) ledger: Ledger,
    pub(crate) contracts: Contracts,
    /// Requests that a decision outside of any channel is about, and that are in none yet. Such a
    /// decision does not say whose channel that will be.
    decided_apart: HashSet<RecordId>,
    /// Allowed calls without an outcome.
    pub(crate) open: HashMap<RecordId, OpenCall>,
    /// The first record that is in no sealed batch.
    pub(crate) unsealed: Sequence,
    /// The first record that is in no logged batch.
    pub(crate) unlogged: Sequence,
    pub(crate) beacon: Option<Beacon>,
    pub(crate) blocked: Option<Blocked>,
    /// What has become of our own key, once that is not good any more.
    pub(crate) key_lost: Option<Blocked>,
    /// Whether this run has said in the stream that it began. Before that nothing is signed.
    pub(crate) begun: bool,
    /// Whether the last record says that the stream ends. Nothing may follow it.
    pub(crate) ended: bool,
}

/// An allowed call whose outcome is not known yet.
#[derive(Clone, Debug)]
pub(crate) struct OpenCall {
    pub(crate) counterparty: Option<OperatorName>,
    /// The counterparty's stream that asked.
    pub(crate) asked_by: Option<KeyThumbprint>,
    pub(crate) reservations: Vec<Reservation>,
}

/// A record that has its place and lacks its signature. Dropping it unsigned stops the enforcer:
/// a hole in the stream must never become durable.
pub(crate) struct Appended {
    pub(crate) id: RecordId,
    pub(crate) sequence: Sequence,
    prepared: PreparedRecord,
    slot: Arc<Slot>,
    ticket: Option<Ticket>,
}

/// A signed record on its way to the disk.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) id: RecordId,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) ticket: Ticket,
}

impl Stream {
    /// A stream without records.
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            next: Sequence::new(0),
            previous: None,
            last_time: UnixMillis::new(0),
            channels: BTreeMap::new(),
            ledger,
            contracts: Contracts::default(),
            decided_apart: HashSet::new(),
            open: HashMap::new(),
            unsealed: Sequence::new(0),
            unlogged: Sequence::new(0),
            beacon: None,
            blocked: None,
            key_lost: None,
            begun: false,
            ended: false,
        }
    }

    /// An empty stream that takes over from this one: its balances, what was received in its
    /// channels and decided, the contracts, and the calls that have no outcome in it.
    pub(crate) fn succeeded(self) -> Self {
        let channels = self.channels.into_iter();
        Self {
            channels: channels
                .map(|(counterparty, channel)| (counterparty, channel.succeeded()))
                .collect(),
            open: self.open,
            contracts: self.contracts,
            decided_apart: self.decided_apart,
            ..Self::new(self.ledger)
        }
    }

    /// How many records wait to be logged.
    pub(crate) const fn waiting(&self) -> u64 {
        self.next.get().saturating_sub(self.unlogged.get())
    }

    /// The time for a record made at `now`.
    pub(crate) fn time(&self, now: UnixMillis) -> UnixMillis {
        now.max(self.last_time)
    }

    /// The channel to a counterparty.
    pub(crate) fn channel(&mut self, counterparty: &OperatorName) -> &mut Channel {
        // Looked up twice because the name is copied only for a channel that is new.
        if !self.channels.contains_key(counterparty) {
            self.channels
                .insert(counterparty.clone(), Channel::default());
        }
        self.channels.entry(counterparty.clone()).or_default()
    }

    /// Appends a record to the stream and queues it. Either all of the state moves on, or none.
    pub(crate) fn append(
        &mut self,
        identity: &SigningIdentity,
        committer: &Committer<JournalWriter>,
        now: UnixMillis,
        body: Body,
        openings: Vec<Opening>,
    ) -> Result<Appended, EnforcerError> {
        if self.ended {
            return Err(EnforcerError::Blocked(Blocked::StreamEnded));
        }
        let sequence = self.next;
        let after = sequence.next().ok_or(EnforcerError::Exhausted)?;
        let time = self.time(now);
        let record = Record {
            sequence,
            previous: self.previous,
            time,
            beacon: self.beacon,
            body,
        };
        let prepared = record.prepare(&identity.operator, identity.kid);
        let id = prepared.id();
        let slot = Arc::new(Slot::default());
        let item = Item::Record {
            sequence,
            bytes: Arc::clone(&slot),
            openings,
        };
        // Nobody waits for the outcome of a call that stays here.
        let later = matches!(&record.body, Body::Outcome(outcome) if outcome.channel.is_none());
        let ticket = if later {
            committer.submit_soon(item)
        } else {
            committer.submit(item)
        }?;

        self.next = after;
        self.previous = Some(id);
        self.last_time = time;
        self.note(identity.kid, id, &record, &slot);
        Ok(Appended {
            id,
            sequence,
            prepared,
            slot,
            ticket: Some(ticket),
        })
    }

    /// Takes a record of ours into the derived state: while appending, and while replaying.
    pub(crate) fn note(
        &mut self,
        own: KeyThumbprint,
        id: RecordId,
        record: &Record,
        slot: &Arc<Slot>,
    ) {
        if let Body::Channel(control) = &record.body {
            let said = Said::of(id, own, record.sequence, control, record.time, record.time);
            let counterparty = &control.channel.counterparty;
            self.contracts
                .note(By::Us, counterparty, said, &control.event);
        }
        if let Some(link) = record.channel() {
            let counterparty = link.counterparty.clone();
            self.channel(&counterparty)
                .advance(id, &record.body, Arc::clone(slot));
        } else if let Body::Decision(decision) = &record.body
            && let Some(request) = decision.request
        {
            let mut channels = self.channels.values_mut();
            if !channels.any(|channel| channel.decided(request.id)) {
                self.decided_apart.insert(request.id);
            }
        }
        if matches!(&record.body, Body::Control(Event::StreamClosed { .. })) {
            self.ended = true;
        }
        if let Body::Outcome(outcome) = &record.body
            && let Some(call) = self.open.remove(&outcome.decision)
        {
            self.ledger.settle(&call.reservations, &outcome.settlements);
        }
        if record
            .evaluation()
            .is_some_and(|evaluation| evaluation.verdict == Verdict::Allow)
        {
            self.ledger.apply(record.reservations());
            self.open.insert(
                id,
                OpenCall {
                    counterparty: record.channel().map(|link| link.counterparty.clone()),
                    asked_by: asked_by(record),
                    reservations: record.reservations().to_vec(),
                },
            );
        }
    }
}

impl Stream {
    /// Claims a request for a decision: see [`Channel::claim`].
    pub(crate) fn claim(&mut self, counterparty: &OperatorName, request: Acknowledgement) -> bool {
        !self.decided_apart.contains(&request.id) && self.channel(counterparty).claim(request)
    }

    /// Takes in what a record of the counterparty's, which continues its channel, says beside
    /// continuing it. `arrived` is when it came, by our clock.
    pub(crate) fn note_received(
        &mut self,
        counterparty: &OperatorName,
        stream: KeyThumbprint,
        id: RecordId,
        record: &Record,
        arrived: UnixMillis,
    ) {
        if self.decided_apart.remove(&id) {
            self.channel(counterparty).decided(id);
        }
        if let Body::Channel(control) = &record.body {
            let said = Said::of(id, stream, record.sequence, control, record.time, arrived);
            self.contracts
                .note(By::Them, counterparty, said, &control.event);
        }
    }
}

/// The counterparty's stream whose request a decision of ours answers: it acknowledges it.
fn asked_by(record: &Record) -> Option<KeyThumbprint> {
    match &record.body {
        Body::Decision(decision) => {
            let acknowledged = decision.channel.as_ref()?.acknowledged?;
            Some(acknowledged.stream)
        }
        _ => None,
    }
}

impl Appended {
    /// Signs the record; the committer is waiting for it.
    pub(crate) fn sign(mut self, identity: &SigningIdentity) -> Result<Written, EnforcerError> {
        let bytes: Arc<[u8]> = self.prepared.sign(&identity.key).into();
        self.slot.fill(Arc::clone(&bytes));
        let ticket = self.ticket.take().ok_or(EnforcerError::Busy)?;
        Ok(Written {
            id: self.id,
            bytes,
            ticket,
        })
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        // Does nothing to a slot that is filled.
        self.slot.abandon();
    }
}

//! A naive model of an honest operator with two enforcers, and of the peers that it deals with.
//!
//! Everything is computed from the journals, again each time. What is in a journal has been sent to
//! whoever collects, whatever happens to the journal later.

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::digest::{CommitmentDigest, RecordId};
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{BatchNumber, ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelLink, Event, OutcomeStatus, Record, Request,
};

use super::collected::{Collected, Item};
use super::world::{content, globex, key};

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
pub(crate) struct Received {
    pub(crate) operator: OperatorName,
    pub(crate) acknowledgement: Acknowledgement,
    pub(crate) request: Request,
    /// How long the journals of the enforcer were when it came.
    pub(crate) at: usize,
}

/// One enforcer: the part of the streams that its journal still holds, the last one being its own.
#[derive(Default)]
pub(crate) struct Enforcer {
    pub(crate) streams: Vec<(usize, usize)>,
    pub(crate) received: Vec<Received>,
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
    /// Everything that was signed, whatever became of the journals.
    pub(crate) sent: Vec<Entry>,
    pub(crate) enforcers: Vec<Enforcer>,
    /// The requests of each peer's streams, in channel order.
    pub(crate) asked: Vec<Vec<Vec<u8>>>,
    clock: i64,
    salt: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut model = Self {
            collected: Collected::default(),
            streams: Vec::new(),
            sent: Vec::new(),
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

    pub(crate) fn salt(&mut self) -> u64 {
        self.salt += 1;
        self.salt
    }

    pub(crate) fn time(&self) -> UnixMillis {
        UnixMillis::new(self.clock.unsigned_abs())
    }

    /// What the journal of an enforcer holds.
    pub(crate) fn holds(&self, enforcer: usize) -> Vec<&Entry> {
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
        let entry = Entry {
            id: prepared.id(),
            record,
            bytes,
        };
        self.sent.push(entry.clone());
        entry
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
}

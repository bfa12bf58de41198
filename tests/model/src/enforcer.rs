//! An enforcer that keeps the rules, but for the one that it is told to break: its journal and what it
//! signs. Taking in the other side's records is in [`crate::receive`], crashes, backups and new keys are
//! in [`crate::recovery`].

use crate::rules::{Breach, Conduct};
use crate::statements::{
    Acknowledgement, Body, Commitment, Id, KEYS, Key, Link, Manifest, Party, Record, Signed,
    Verdict,
};

/// What is durable of one stream, and of what came from the other side meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Journal {
    /// Whose stream it is.
    pub key: Key,
    /// Our records, in order.
    pub records: Vec<Signed>,
    /// Our batches, in order.
    pub batches: Vec<Commitment>,
    /// The other side's records by stream, each linked to the one before.
    pub received: [Vec<Signed>; KEYS],
    /// Records of the other side that came before those before them.
    pub held: Vec<Signed>,
    /// Records of the other side that do not fit: kept as evidence.
    pub refused: Vec<Signed>,
    /// The stream that we heard from last.
    pub heard_last: Key,
}

impl Journal {
    /// Begins a stream.
    pub(crate) fn begin(party: Party, key: Key, predecessor: Option<Key>) -> Self {
        let opened = Record {
            signer: party,
            key,
            sequence: 0,
            previous: None,
            link: None,
            body: Body::Opened(predecessor),
        };
        Self {
            key,
            records: vec![Signed::new(opened)],
            ..Self::default()
        }
    }

    /// The other side's records of one stream.
    #[must_use]
    pub fn received(&self, key: Key) -> &[Signed] {
        self.received
            .get(usize::from(key))
            .map_or(&[], Vec::as_slice)
    }

    /// Everything of the other side's that is kept.
    pub fn custody(&self) -> impl Iterator<Item = &Signed> {
        let received = self.received.iter().flatten();
        received.chain(&self.held).chain(&self.refused)
    }

    /// The last record of a stream of the other side's, with all before it.
    #[must_use]
    pub fn head(&self, key: Key) -> Option<Acknowledgement> {
        let last = self.received(key).last()?;
        Some(Acknowledgement {
            key,
            sequence: last.place()?,
            id: last.id,
        })
    }
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backup {
    pub(crate) journal: Journal,
    pub(crate) retired: Vec<Journal>,
    pub(crate) manifests: Vec<Manifest>,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Enforcer {
    /// Which side.
    pub party: Party,
    /// Whether it runs.
    pub up: bool,
    /// Whether the journal is in another file than it was made in.
    pub copied: bool,
    /// The stream in use.
    pub journal: Journal,
    /// The streams before.
    pub retired: Vec<Journal>,
    /// The operator's manifests.
    pub manifests: Vec<Manifest>,
    /// Signed, and not durable yet.
    pub pending: Vec<Signed>,
    /// Allowed decisions that are being executed.
    pub running: Vec<Id>,
    /// A copy of the disk.
    pub backup: Option<Box<Backup>>,
    /// Not of the enforcer, but of the world: what left it and is on its disk no more.
    pub lost: Lost,
    /// Of the world: the requests that were executed, in that order, one for each time.
    pub executed: Vec<Id>,
    /// Of the world: whether a gap was ever filled.
    pub filled: bool,
}

/// What left an enforcer and is on its disk no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Lost {
    /// Whether records were lost that nobody ever saw.
    pub unseen: bool,
    /// Records.
    pub records: Vec<Signed>,
    /// Commitments.
    pub commitments: Vec<Commitment>,
    /// Manifests.
    pub manifests: Vec<Manifest>,
}

impl Enforcer {
    /// A new one, with its first key.
    #[must_use]
    pub fn new(party: Party) -> Self {
        Self {
            party,
            up: true,
            copied: false,
            journal: Journal::begin(party, 0, None),
            retired: Vec::new(),
            manifests: vec![Manifest {
                version: 1,
                newest: 0,
            }],
            pending: Vec::new(),
            running: Vec::new(),
            backup: None,
            lost: Lost::default(),
            executed: Vec::new(),
            filled: false,
        }
    }

    /// All journals on its disk.
    pub fn journals(&self) -> impl Iterator<Item = &Journal> {
        self.retired.iter().chain([&self.journal])
    }

    /// All records that left it.
    pub fn left(&self, conduct: Conduct) -> impl Iterator<Item = &Signed> {
        let early = conduct.breaks(Breach::LeavesBeforeDurable);
        let pending = self.pending.iter().filter(move |_| early);
        let durable = self.journals().flat_map(|journal| &journal.records);
        durable.chain(&self.lost.records).chain(pending)
    }

    /// The records of the stream in use, durable or not.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Signed> {
        self.journal.records.iter().chain(&self.pending)
    }

    /// Whether the stream has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.records()
            .any(|record| record.record.body == Body::Ended)
    }

    /// Whether it may sign.
    #[must_use]
    pub fn may_sign(&self, conduct: Conduct) -> bool {
        self.up && (!self.has_ended() || conduct.breaks(Breach::SignsAfterEnd))
    }

    /// Signs a record that is not of the channel.
    pub fn sign(&mut self, body: Body) {
        self.append(body, None);
    }

    /// Signs a record of the channel.
    pub fn sign_to_peer(&mut self, conduct: Conduct, body: Body) {
        let last = self
            .records()
            .rev()
            .find(|record| record.record.link.is_some());
        let acknowledged = self.head(conduct, self.journal.heard_last);
        let link = Link {
            sequence: last.and_then(Signed::place).map_or(0, |place| place + 1),
            previous: last.map(|record| record.id),
            acknowledged,
        };
        self.append(body, Some(link));
    }

    fn append(&mut self, body: Body, link: Option<Link>) {
        let last = self.records().next_back();
        let record = Record {
            signer: self.party,
            key: self.journal.key,
            sequence: last.map_or(0, |last| last.record.sequence + 1),
            previous: last.map(|last| last.id),
            link,
            body,
        };
        self.pending.push(Signed::new(record));
    }

    /// What it acknowledges of a stream.
    #[must_use]
    pub fn head(&self, conduct: Conduct, key: Key) -> Option<Acknowledgement> {
        if conduct.breaks(Breach::AcknowledgesAcrossGap)
            && let Some(held) = self.journal.held.iter().find(|held| held.record.key == key)
        {
            return held.place().map(|sequence| Acknowledgement {
                key,
                sequence,
                id: held.id,
            });
        }
        self.journal.head(key)
    }

    /// The outcome in the stream in use of a request or decision.
    #[must_use]
    pub fn outcome(&self, of: Id) -> Option<&Signed> {
        self.records()
            .find(|record| matches!(record.record.body, Body::Outcome(id, ..) if id == of))
    }

    /// The decision about a request, in any stream on the disk.
    #[must_use]
    pub fn decision(&self, request: Id) -> Option<&Signed> {
        let retired = self.retired.iter().flat_map(|journal| &journal.records);
        let mut records = self.records().chain(retired);
        records.find(
            |record| matches!(record.record.body, Body::Decision(Some(id), ..) if id == request),
        )
    }

    /// The requests and allowing decisions in a journal that have no outcome there.
    pub(crate) fn open(journal: &Journal) -> Vec<Id> {
        let settled = |id: Id| {
            let settles =
                |record: &Signed| matches!(record.record.body, Body::Outcome(of, ..) if of == id);
            journal.records.iter().any(settles)
        };
        let opens = |record: &&Signed| {
            matches!(
                record.record.body,
                Body::Request(_) | Body::Decision(Some(_), _, Verdict::Allow)
            )
        };
        let open = journal.records.iter().filter(opens);
        open.map(|record| record.id)
            .filter(|id| !settled(*id))
            .collect()
    }

    /// What was signed becomes durable, and leaves.
    pub fn flush(&mut self) {
        self.journal.records.append(&mut self.pending);
    }

    /// Seals the durable records that are in no batch yet.
    pub fn seal(&mut self, conduct: Conduct) {
        let last = self.journal.batches.last();
        let left_out = conduct.breaks(Breach::LeavesRecordsOut) && last.is_some();
        let first = last.map_or(0, Commitment::end) + u8::from(left_out);
        let new = self.journal.records.iter().skip(usize::from(first));
        let commitment = Commitment {
            signer: self.party,
            key: self.journal.key,
            number: last.map_or(0, |last| last.number + 1),
            first,
            previous: last.map(Commitment::id),
            leaves: new.map(Signed::leaf).collect(),
        };
        self.journal.batches.push(commitment);
    }

    /// Whether there is something to seal.
    #[must_use]
    pub fn has_unsealed(&self) -> bool {
        let sealed = self.journal.batches.last().map_or(0, Commitment::end);
        self.journal.records.len() > usize::from(sealed)
    }

    /// Whether it denies that a record is its own: faults §1, rule 6.
    #[must_use]
    pub fn denies(&self, conduct: Conduct, claimed: &Signed) -> bool {
        let record = &claimed.record;
        let own = if conduct.breaks(Breach::DeniesOldKeys) {
            record.key == self.journal.key
        } else {
            let listed = |manifest: &Manifest| manifest.newest == record.key;
            self.manifests.iter().any(listed)
        };
        if !own {
            return true;
        }
        let mut journals = self.journals().filter(|journal| journal.key == record.key);
        let at = |journal: &Journal| journal.records.get(usize::from(record.sequence)).copied();
        let there = journals.find_map(at);
        if conduct.breaks(Breach::DeniesUnknown) {
            return there.is_none_or(|there| there.id != claimed.id);
        }
        there.is_some_and(|there| there.id != claimed.id)
    }
}

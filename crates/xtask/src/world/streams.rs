//! The records of each stream, of every kind, and their batches.

use anyhow::{Context as _, Result};
use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::digest::{CommitmentDigest, RecordId};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{BatchNumber, Sequence, UnixMillis};
use counterfoil_protocol::receipt::BatchPart;
use counterfoil_protocol::record::{Beacon, Body, Record};

/// A record as made and as signed.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its content.
    pub record: Record,
    /// Its id.
    pub id: RecordId,
    /// Its signed bytes.
    pub bytes: Vec<u8>,
}

/// A sealed batch.
#[derive(Debug)]
pub struct Batch {
    /// Its commitment.
    pub commitment: Commitment,
    /// The commitment's signed bytes.
    pub bytes: Vec<u8>,
    tree: BatchTree,
}

impl Batch {
    /// The tree over its records.
    pub const fn tree(&self) -> &BatchTree {
        &self.tree
    }

    /// The place of the record with this sequence in the batch.
    ///
    /// # Errors
    /// When it is not among the batch's records.
    pub fn part(&self, sequence: u64) -> Result<BatchPart> {
        let index = self.commitment.index_of(Sequence::new(sequence))?;
        Ok(BatchPart {
            path: self.tree.path(index).context("index outside the batch")?,
            commitment: self.bytes.clone(),
        })
    }
}

/// A stream being made.
#[derive(Debug)]
pub struct Stream {
    /// Whose it is.
    pub operator: OperatorName,
    /// What it is signed with.
    pub key: SigningKey,
    /// Its records so far.
    pub records: Vec<Made>,
    /// Its batches so far.
    pub batches: Vec<Batch>,
    /// The beacon of the next record.
    pub beacon: Option<Beacon>,
    now: u64,
}

impl Stream {
    /// An empty stream whose first record is made at `start`, in milliseconds since 1970.
    pub const fn new(operator: OperatorName, key: SigningKey, start: u64) -> Self {
        Self {
            operator,
            key,
            records: Vec::new(),
            batches: Vec::new(),
            beacon: None,
            now: start,
        }
    }

    /// Makes and signs the next record, 250 ms after the one before.
    pub fn push(&mut self, body: Body) -> RecordId {
        let record = Record {
            sequence: Sequence::new(self.records.len() as u64),
            previous: self.records.last().map(|made| made.id),
            time: UnixMillis::new(self.now),
            beacon: self.beacon,
            body,
        };
        self.now += 250;
        let prepared = record.prepare(&self.operator, self.key.public().thumbprint());
        let id = prepared.id();
        self.records.push(Made {
            record,
            id,
            bytes: prepared.sign(&self.key),
        });
        id
    }

    /// Seals all records since the last batch.
    ///
    /// # Errors
    /// When there are none.
    pub fn seal(&mut self) -> Result<()> {
        let first = self.batches.last().map_or(0, |batch| {
            batch.commitment.first.get() + batch.commitment.count
        });
        let records = self
            .records
            .get(usize::try_from(first)?..)
            .context("no records to seal")?;
        let tree = BatchTree::build(records.iter().map(|made| made.bytes.as_slice()))?;
        let opened = records.first().context("no records to seal")?.record.time;
        let commitment = Commitment {
            number: BatchNumber::new(self.batches.len() as u64),
            first: Sequence::new(first),
            count: tree.count(),
            previous: self
                .batches
                .last()
                .map(|batch| CommitmentDigest::of(&batch.bytes)),
            opened,
            sealed: UnixMillis::new(self.now),
            beacon: self.beacon,
            root: tree.root(),
        };
        let bytes = commitment.sign(&self.operator, &self.key);
        self.batches.push(Batch {
            commitment,
            bytes,
            tree,
        });
        Ok(())
    }
}

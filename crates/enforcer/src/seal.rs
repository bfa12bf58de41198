//! Sealing: durable records become a batch with a signed root.
//!
//! A batch is made of what the disk holds, read back from there, and the commitment is itself
//! durable before anyone else sees it. So a commitment never covers a record that a crash could
//! take away.

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::digest::{CommitmentDigest, RecordId};
use counterfoil_protocol::numbers::{BatchNumber, Sequence, UnixMillis};
use counterfoil_protocol::record::UnverifiedRecord;

use crate::enforcer::Enforcer;
use crate::error::EnforcerError;
use crate::journal::{Item, JournalReader};

/// Seals the batches of one enforcer. There must be only one of it.
#[derive(Debug)]
pub struct Sealer {
    enforcer: Enforcer,
    reader: JournalReader,
    next: BatchNumber,
    previous: Option<CommitmentDigest>,
}

impl Sealer {
    /// A sealer that goes on after the journal's last batch.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(enforcer: Enforcer) -> Result<Self, EnforcerError> {
        let reader = JournalReader::open(enforcer.journal_path())?;
        let last = reader.last_batch()?;
        let (next, previous) = match last {
            Some(batch) => (
                batch.number.next().ok_or(EnforcerError::Exhausted)?,
                Some(CommitmentDigest::of(&batch.commitment)),
            ),
            None => (BatchNumber::new(0), None),
        };
        Ok(Self {
            enforcer,
            reader,
            next,
            previous,
        })
    }

    pub(crate) const fn enforcer(&self) -> &Enforcer {
        &self.enforcer
    }

    /// Waits until a batch is full.
    pub async fn full(&self) {
        self.enforcer.core.batch_full.notified().await;
    }

    /// Seals all durable records that are in no batch yet. Returns how many batches it made.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn seal(&mut self) -> Result<u64, EnforcerError> {
        let mut batches = 0;
        while self.seal_one()? {
            batches += 1;
        }
        Ok(batches)
    }

    fn seal_one(&mut self) -> Result<bool, EnforcerError> {
        let core = &self.enforcer.core;
        let (first, beacon) = {
            let stream = core.stream();
            if !stream.begun {
                // The journal may be older than its past: nothing is signed on top of it.
                return Ok(false);
            }
            (stream.unsealed, stream.beacon)
        };
        let records = self.reader.records(first, core.batch_records)?;
        let Some((last, _)) = records.last() else {
            return Ok(false);
        };
        let after = last.next().ok_or(EnforcerError::Exhausted)?;
        let tree = BatchTree::build(records.iter().map(|(_, bytes)| bytes.as_slice()))?;
        let (ids, opened) = self.index(&records)?;
        let commitment = Commitment {
            number: self.next,
            first,
            count: tree.count(),
            previous: self.previous,
            opened,
            // Never before the batch was opened, whatever the clock does.
            sealed: core.environment.clock.now().max(opened),
            beacon,
            root: tree.root(),
        }
        .sign(&core.identity.operator, &core.identity.key);
        let digest = CommitmentDigest::of(&commitment);
        core.committer
            .submit(Item::Batch {
                number: self.next,
                first,
                count: tree.count(),
                commitment,
                ids,
            })?
            .wait()?;
        self.previous = Some(digest);
        self.next = self.next.next().ok_or(EnforcerError::Exhausted)?;
        let mut stream = core.stream();
        stream.unsealed = after;
        core.note_progress(&stream);
        Ok(true)
    }

    /// The ids of the records, and the time of the first.
    #[allow(clippy::type_complexity, reason = "a pair for one caller")]
    fn index(
        &self,
        records: &[(Sequence, Vec<u8>)],
    ) -> Result<(Vec<(RecordId, Sequence)>, UnixMillis), EnforcerError> {
        let mut opened = None;
        let mut ids = Vec::with_capacity(records.len());
        for (sequence, bytes) in records {
            let record = UnverifiedRecord::parse(bytes).map_err(|failure| {
                EnforcerError::JournalBroken(format!("record {sequence}: {failure}"))
            })?;
            opened.get_or_insert(record.unverified_content().time);
            ids.push((record.id(), *sequence));
        }
        // Sorted, so that the index grows page by page and not all over.
        ids.sort_unstable();
        Ok((ids, opened.unwrap_or(UnixMillis::new(0))))
    }
}

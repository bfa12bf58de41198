//! The lock: the newest checkpoint this log has signed, and nothing older.

use counterfoil_protocol::{
    digest::{CommitmentDigest, KeyThumbprint},
    names::OperatorName,
    numbers::UnixMillis,
};
use counterfoil_tlog::{
    checkpoint::Checkpoint,
    note::{Note, VerifierKey},
    tree::Hash,
    witness::TreeHead,
};

use crate::Error;

/// Compare-and-swap of the newest signed checkpoint. The swap is the commit point of the log: what
/// it covers is logged, everything else is not.
///
/// It must never go back, not even after a crash or a restored backup, and what comes with the
/// swap must become durable in the same atomic step.
pub(crate) trait CheckpointLock {
    /// Reads the newest signed checkpoint.
    fn load(&self) -> Result<Note, Error>;

    /// Replaces the checkpoint if it is still `expected`. After an `Err` the swap may have happened
    /// or not; the caller stops and finds out at the next start.
    fn swap(&mut self, expected: TreeHead, next: &Swap) -> Result<(), Error>;
}

/// The next checkpoint and all that becomes true with it.
#[derive(Clone, Debug)]
pub(crate) struct Swap {
    pub(crate) signed: SignedHead,
    pub(crate) time: UnixMillis,
    pub(crate) entries: Vec<SequencedEntry>,
}

/// An entry with its place in the log.
#[derive(Clone, Debug)]
pub(crate) struct SequencedEntry {
    pub(crate) index: u64,
    pub(crate) leaf: Hash,
    pub(crate) effect: Effect,
}

/// What an entry changes in the state of the log's operators.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// A commitment: the next batch of a stream.
    Batch {
        stream: KeyThumbprint,
        batch: u64,
        first: u64,
        count: u64,
        digest: CommitmentDigest,
    },
    /// A manifest: the next version of an operator's keys.
    Manifest {
        operator: OperatorName,
        version: u64,
        content: Vec<u8>,
        enforcers: Vec<KeyThumbprint>,
    },
}

/// A checkpoint with its tree head taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedHead {
    pub(crate) head: TreeHead,
    pub(crate) note: Note,
}

impl SignedHead {
    /// Reads a note that this log must have signed.
    pub(crate) fn of_log(note: Note, key: &VerifierKey) -> Result<Self, Error> {
        let damaged =
            |error: &dyn std::fmt::Display| Error::Damaged(format!("checkpoint: {error}"));
        note.verify(std::slice::from_ref(key))
            .map_err(|error| damaged(&error))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| damaged(&error))?;
        if checkpoint.origin().key_name() != key.name() {
            return Err(damaged(&"it has another origin"));
        }
        let head = TreeHead {
            size: checkpoint.size(),
            root: *checkpoint.root(),
        };
        Ok(Self { head, note })
    }
}

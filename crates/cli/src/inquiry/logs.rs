//! What logs have signed: two trees of one size, or two entries at one index, are a fault.

use std::collections::BTreeMap;

use counterfoil_protocol::fault::FaultProof;
use counterfoil_tlog::checkpoint::Checkpoint;
use counterfoil_tlog::note::Note;
use counterfoil_tlog::tlog_proof::TlogProof;

/// An entry of a log, and the tlog-proof of it.
type Entry = (Vec<u8>, Vec<u8>);

/// The trees and entries that logs have vouched for.
#[derive(Debug, Default)]
pub(super) struct Logs {
    /// The first checkpoint note of each size.
    trees: BTreeMap<(String, u64), Vec<u8>>,
    /// The first entry at each index.
    entries: BTreeMap<(String, u64), Entry>,
    proofs: Vec<FaultProof>,
}

impl Logs {
    /// Takes in an entry with its proof.
    pub(super) fn entry(&mut self, entry: &[u8], log_proof: &[u8]) {
        let Ok(proof) = TlogProof::parse(log_proof) else {
            return;
        };
        self.note(proof.note().to_string().as_bytes());
        let place = (proof.checkpoint().origin().to_string(), proof.index());
        match self.entries.get(&place) {
            None => {
                self.entries
                    .insert(place, (entry.to_vec(), log_proof.to_vec()));
            }
            Some((known, _)) if known == entry => {}
            Some((known, proof)) => {
                let (one, other) = ((known.as_slice(), proof.as_slice()), (entry, log_proof));
                self.proofs.extend(FaultProof::of_entries(one, other));
            }
        }
    }

    /// Takes in a checkpoint note.
    pub(super) fn note(&mut self, note: &[u8]) {
        let Ok(parsed) = Note::parse(note) else {
            return;
        };
        let Ok(checkpoint) = Checkpoint::parse(parsed.text()) else {
            return;
        };
        let place = (checkpoint.origin().to_string(), checkpoint.size());
        match self.trees.get(&place) {
            None => {
                self.trees.insert(place, note.to_vec());
            }
            Some(known) => self.proofs.extend(FaultProof::of_checkpoints(known, note)),
        }
    }

    /// The proofs that what came in may make.
    pub(super) fn proofs(self) -> Vec<FaultProof> {
        self.proofs
    }
}

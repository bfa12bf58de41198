//! Crashes, lost disks, and how an enforcer goes on after them (faults §6).

use crate::enforcer::{Backup, Enforcer, Journal};
use crate::rules::{Breach, Conduct};
use crate::statements::{Body, Commitment, Id, Manifest, Signed, Status};

impl Enforcer {
    /// Dies. What was not durable is gone.
    pub fn crash(&mut self, conduct: Conduct) {
        if conduct.breaks(Breach::LeavesBeforeDurable) {
            self.lost.records.append(&mut self.pending);
        }
        if conduct.breaks(Breach::CommitmentNotDurable) {
            self.lost.commitments.extend(self.journal.batches.pop());
        }
        if conduct.breaks(Breach::AcknowledgesVolatile) {
            for received in &mut self.journal.received {
                received.pop();
            }
        }
        self.up = false;
        self.pending.clear();
        self.running.clear();
    }

    /// Whether it may go on with its journal, after the counterparty has told which records of the
    /// stream it has: faults §6, rules 1 to 3.
    #[must_use]
    pub fn may_continue(&self, conduct: Conduct, told: &[Id]) -> bool {
        if conduct.breaks(Breach::ContinuesBackup) {
            return true;
        }
        // All that was ever sealed is taken for logged, but for what is still on its way there.
        let under_way = conduct.breaks(Breach::CommitmentNotDurable);
        let logged = |lost: &Commitment| lost.key == self.journal.key && !under_way;
        if self.copied || self.lost.commitments.iter().any(logged) {
            return false;
        }
        let ours = |id: &Id| self.journal.records.iter().any(|record| record.id == *id);
        told.iter().all(ours)
    }

    /// Starts again with its journal: calls without an outcome get `unknown`.
    pub fn restart(&mut self, conduct: Conduct) {
        if conduct.breaks(Breach::SignsAgain) {
            for record in &mut self.journal.records {
                self.lost.records.push(*record);
                record.signature += 1;
            }
        }
        self.up = true;
        if self.has_ended() && !conduct.breaks(Breach::SignsAfterEnd) {
            return;
        }
        self.sign(Body::Started);
        if !conduct.breaks(Breach::LeavesCallsOpen) {
            self.settle_unknown(conduct, &self.journal.clone());
        }
    }

    fn settle_unknown(&mut self, conduct: Conduct, journal: &Journal) {
        for id in Self::open(journal) {
            self.sign_to_peer(conduct, Body::Outcome(id, Status::Unknown, None));
        }
    }

    /// Copies its disk.
    pub fn back_up(&mut self) {
        self.backup = Some(Box::new(Backup {
            journal: self.journal.clone(),
            retired: self.retired.clone(),
            manifests: self.manifests.clone(),
        }));
    }

    /// Signs with a copy of the journal, beside it.
    pub fn sign_in_copy(&mut self) {
        if let Some(backup) = &mut self.backup {
            let mut copy = Self::new(self.party);
            copy.journal = backup.journal.clone();
            copy.sign(Body::Started);
            copy.flush();
            self.lost.records.extend(copy.journal.records.last());
            backup.journal = copy.journal;
        }
    }

    /// Loses its disk and has the copy.
    pub fn restore(&mut self, copied: bool) {
        let Some(backup) = self.backup.take() else {
            return;
        };
        let backup = *backup;
        let kept: Vec<Signed> = [&backup.journal]
            .into_iter()
            .chain(&backup.retired)
            .flat_map(|journal| journal.records.iter().copied())
            .collect();
        let batches: Vec<Commitment> = [&backup.journal]
            .into_iter()
            .chain(&backup.retired)
            .flat_map(|journal| journal.batches.iter().cloned())
            .collect();
        let before = std::mem::replace(&mut self.journal, backup.journal);
        let retired = std::mem::replace(&mut self.retired, backup.retired);
        let manifests = std::mem::replace(&mut self.manifests, backup.manifests);
        for journal in retired.iter().chain([&before]) {
            let gone = journal
                .records
                .iter()
                .filter(|record| !kept.contains(record));
            self.lost.records.extend(gone);
            let gone = journal
                .batches
                .iter()
                .filter(|batch| !batches.contains(batch));
            self.lost.commitments.extend(gone.cloned());
        }
        let gone = manifests
            .iter()
            .filter(|manifest| !self.manifests.contains(manifest));
        self.lost.manifests.extend(gone);
        self.up = false;
        self.pending.clear();
        self.running.clear();
        self.copied = copied;
    }

    /// Of what was lost, nothing is left that neither a batch nor the counterparty has.
    pub(crate) fn forget_unseen(&mut self, has: impl Fn(&Signed) -> bool) {
        let commitments = &self.lost.commitments;
        let sealed = |record: &Signed| {
            let holds = |batch: &Commitment| {
                batch.key == record.record.key && batch.at(record.record.sequence).is_some()
            };
            commitments.iter().any(holds)
        };
        let before = self.lost.records.len();
        self.lost
            .records
            .retain(|record| sealed(record) || has(record));
        self.lost.unseen |= self.lost.records.len() < before;
    }

    /// Goes on with a new key (faults §6.4). The log is asked for manifests that the disk has lost.
    pub fn rotate(&mut self, conduct: Conduct, dies: bool) {
        if !conduct.breaks(Breach::ManifestFromBackup)
            && !conduct.breaks(Breach::ManifestNotDurable)
        {
            self.manifests.append(&mut self.lost.manifests);
        }
        let known = self.manifests.iter().chain(&self.lost.manifests);
        let key = known.map(|manifest| manifest.newest + 1).max().unwrap_or(0);
        let version = self
            .manifests
            .iter()
            .map(|manifest| manifest.version + 1)
            .max();
        let manifest = Manifest {
            version: version.unwrap_or(1),
            newest: key,
        };
        if dies {
            // It has left, and is not on the disk.
            self.lost.manifests.push(manifest);
            self.crash(conduct);
            return;
        }
        self.manifests.push(manifest);
        let predecessor = self.has_ended().then_some(self.journal.key);
        let next = Journal {
            received: self.journal.received.clone(),
            held: self.journal.held.clone(),
            refused: self.journal.refused.clone(),
            heard_last: self.journal.heard_last,
            ..Journal::begin(self.party, key, predecessor)
        };
        self.pending.clear();
        self.running.clear();
        let old = std::mem::replace(&mut self.journal, next);
        self.up = true;
        self.copied = false;
        self.settle_unknown(conduct, &old);
        self.retired.push(Journal {
            received: Default::default(),
            held: Vec::new(),
            refused: Vec::new(),
            ..old
        });
    }
}

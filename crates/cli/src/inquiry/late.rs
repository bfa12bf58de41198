//! What was published later than a contract allows: seen by the other side, and shown by witnesses
//! not to have been in a batch yet so much later.

use std::collections::{BTreeMap, HashMap};

use counterfoil_protocol::bundle::{Entry, Verifier};
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::digest::{CheckpointDigest, RecordId};
use counterfoil_protocol::fault::{Accused, FaultKind, FaultProof, LoggedCommitment, Statement};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::UnixSeconds;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{Body, Record};

use super::{Agreed, Fetched, Token};

/// A record under a contract that is in a batch.
#[derive(Debug)]
struct Published {
    token: Token,
    issuer: OperatorName,
    id: RecordId,
    contract: usize,
    not_after: UnixSeconds,
}

/// What bounds the times of publication.
#[derive(Debug, Default)]
pub(super) struct Late {
    published: Vec<Published>,
    /// Who named a record first, as witnesses bound it.
    named: HashMap<RecordId, (UnixSeconds, Token)>,
    /// The checkpoints that evidence shows.
    notes: HashMap<CheckpointDigest, Vec<u8>>,
}

/// A record that seems to have been published too late, and who had seen it before.
#[derive(Debug)]
pub(super) struct Candidate {
    token: Token,
    seen: Token,
    issuer: OperatorName,
    contract: usize,
}

impl Late {
    pub(super) fn take(
        &mut self,
        token: Token,
        entry: &Entry,
        verifier: &Verifier<'_>,
        contracts: &[Agreed],
    ) {
        let (Some(record), Some(not_after)) = (&entry.record, entry.not_after) else {
            return;
        };
        if entry.level != Some(Level::Witnessed) || !entry.is_verified() {
            return;
        }
        let content = record.record();
        for id in names(content) {
            let first = self.named.entry(id).or_insert((not_after, token));
            if not_after < first.0 {
                *first = (not_after, token);
            }
        }
        if let Some(note) = verifier.receipt().and_then(|receipt| receipt.beacon) {
            self.notes.insert(CheckpointDigest::of(&note), note);
        }
        let digest = content.contract();
        let of = |agreed: &Agreed| digest.is_some() && agreed.report.digest == digest;
        if let Some(contract) = contracts.iter().position(of) {
            self.published.push(Published {
                token,
                issuer: record.issuer().clone(),
                id: record.id(),
                contract,
                not_after,
            });
        }
    }

    /// What may have been late.
    pub(super) fn candidates(&self, contracts: &[Agreed]) -> Vec<Candidate> {
        let late = |one: &&Published| {
            let (seen, _) = self.named.get(&one.id)?;
            let terms = contracts.get(one.contract)?.report.terms.as_ref()?;
            let allowed = terms.clauses().publish_delay.get() / 1000;
            (one.not_after.get() > seen.get().saturating_add(allowed)).then_some(())
        };
        let candidates = self.published.iter().filter(|one| late(one).is_some());
        candidates
            .filter_map(|one| {
                let (_, seen) = self.named.get(&one.id)?;
                Some(Candidate {
                    token: one.token,
                    seen: *seen,
                    issuer: one.issuer.clone(),
                    contract: one.contract,
                })
            })
            .collect()
    }

    /// The checkpoint with this digest, if evidence shows it.
    pub(super) fn note(&self, digest: CheckpointDigest) -> Option<Vec<u8>> {
        self.notes.get(&digest).cloned()
    }
}

impl Candidate {
    pub(super) const fn tokens(&self) -> [Token; 2] {
        [self.token, self.seen]
    }

    /// The proof, if the evidence has all of its parts.
    pub(super) fn prove(
        &self,
        contracts: &[Agreed],
        manifests: &BTreeMap<OperatorName, Vec<LoggedManifest>>,
        fetched: &Fetched,
        note: impl Fn(CheckpointDigest) -> Option<Vec<u8>>,
    ) -> Option<FaultProof> {
        let record = fetched.get(&self.token)?;
        let seen = fetched.get(&self.seen)?;
        let batch = record.batch.as_ref()?;
        let commitment = UnverifiedCommitment::parse(&batch.commitment).ok()?;
        let beacon = commitment.unverified_content().beacon?;
        Some(FaultProof {
            kind: FaultKind::PublishedLate,
            accused: Accused::Operator(self.issuer.clone()),
            manifests: manifests.get(&self.issuer)?.clone(),
            statements: vec![
                Statement::record(record.clone()),
                Statement::Receipt(seen.encode()),
                Statement::Commitment(LoggedCommitment {
                    commitment: batch.commitment.clone(),
                    log_proof: record.log_proof.clone(),
                }),
                Statement::Checkpoint(note(beacon.checkpoint)?),
                Statement::Contract(contracts.get(self.contract)?.bytes.clone()),
            ],
        })
    }
}

/// The records that a record names, so that they were there before it.
fn names(record: &Record) -> impl Iterator<Item = RecordId> {
    let decided = match &record.body {
        Body::Decision(decision) => decision.request.map(|request| request.id),
        Body::Outcome(outcome) => outcome.answer,
        _ => None,
    };
    let seen = record.channel().and_then(|link| link.acknowledged);
    decided.into_iter().chain(seen.map(|seen| seen.id))
}

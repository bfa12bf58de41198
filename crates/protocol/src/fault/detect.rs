//! Finds the contradictions in what somebody has collected of one operator.
//!
//! The detector is given verified records and commitments in any order, each with a token by which
//! the caller finds its bytes again, and keeps a small index of them. Each arrival is compared only
//! with its neighbours in that index, so the work is near linear. Of several statements that all
//! contradict each other, each later one is reported against the first: one proof each is enough.

mod index;
mod numbered;

use std::collections::{BTreeMap, HashMap};

use counterfoil_tlog::tree::Hash;

use self::index::Stream;
use super::conflict;
use super::kind::FaultKind;
use super::proof::{Accused, FaultProof, LoggedCommitment, Statement};
use crate::commitment::VerifiedCommitment;
use crate::digest::{KeyThumbprint, RecordId};
use crate::names::OperatorName;
use crate::numbers::Sequence;
use crate::receipt::{LoggedManifest, Receipt};
use crate::record::{
    Body, ChannelControl, ChannelEvent, Decision, Record, Request, UnverifiedRecord, Verdict,
    VerifiedRecord,
};

/// What contradicts each other, by the caller's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<T> {
    /// The fault.
    pub kind: FaultKind,
    /// The statements, in the order of the kind.
    pub statements: Vec<Found<T>>,
}

/// One statement of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// A record of the operator.
    Record(T),
    /// A request of another operator to it.
    Request(T),
    /// A commitment of the operator.
    Commitment(T),
    /// What a batch holds in one place.
    Leaf {
        /// The hash of the leaf.
        hash: Hash,
        /// The path from it to the batch's root.
        path: Vec<Hash>,
    },
}

/// Where the bytes are that a proof is made of.
pub trait Evidence<T> {
    /// The record, with as much of its receipt as there is. If its key is revoked, that must
    /// include its place in the log.
    fn record(&self, token: &T) -> Receipt;

    /// The commitment, with the proof that it is logged if there is one.
    fn commitment(&self, token: &T) -> LoggedCommitment;
}

impl<T> Finding<T> {
    /// The proof of the fault. The manifests are those of the accused, oldest first, each with its
    /// log proof if there is one.
    pub fn prove(
        &self,
        accused: &OperatorName,
        manifests: Vec<LoggedManifest>,
        evidence: &impl Evidence<T>,
    ) -> FaultProof {
        let statements = self.statements.iter().map(|found| match found {
            Found::Record(token) => Statement::record(evidence.record(token)),
            Found::Request(token) => Statement::Request(evidence.record(token).record),
            Found::Commitment(token) => Statement::Commitment(evidence.commitment(token)),
            Found::Leaf { hash, path } => Statement::Leaf {
                hash: *hash,
                path: path.clone(),
            },
        });
        FaultProof {
            kind: self.kind,
            accused: Accused::Operator(accused.clone()),
            manifests,
            statements: statements.collect(),
        }
    }
}

/// The index of what has been seen of one operator.
#[derive(Debug)]
pub struct Detector<T> {
    operator: OperatorName,
    streams: BTreeMap<KeyThumbprint, Stream<T>>,
    /// Every record, by id.
    records: HashMap<RecordId, T>,
    /// The records that deny a record, by the id denied.
    denials: HashMap<RecordId, T>,
    /// The decisions that deny, by id.
    refused: HashMap<RecordId, T>,
    /// The outcomes that say that something was executed, by the id of the decision.
    executed: HashMap<RecordId, T>,
    /// The requests of others, by id.
    requests: HashMap<RecordId, (T, Box<Request>)>,
    /// The decisions that allow a request, by the request's id.
    allowed: HashMap<RecordId, Vec<(T, Box<Decision>)>>,
}

impl<T: Clone> Detector<T> {
    /// A detector of the faults of one operator.
    pub fn new(operator: OperatorName) -> Self {
        Self {
            operator,
            streams: BTreeMap::new(),
            records: HashMap::new(),
            denials: HashMap::new(),
            refused: HashMap::new(),
            executed: HashMap::new(),
            requests: HashMap::new(),
            allowed: HashMap::new(),
        }
    }

    /// Takes in a record of the operator, given by its content and its bytes, and says which faults
    /// it proves together with what came before. Records of others, and those that came before, are
    /// passed over.
    pub fn record(&mut self, token: &T, record: &VerifiedRecord, bytes: &[u8]) -> Vec<Finding<T>> {
        let mut findings = Vec::new();
        if record.issuer() != &self.operator || self.records.contains_key(&record.id()) {
            return findings;
        }
        self.records.insert(record.id(), token.clone());
        let stream = self.streams.entry(record.kid()).or_default();
        stream.record(token, record, bytes, &mut findings);

        let mut pair = |kind, a: &T, b: &T| {
            findings.push(Finding {
                kind,
                statements: vec![Found::Record(a.clone()), Found::Record(b.clone())],
            });
        };
        if let Some(denial) = self.denials.get(&record.id()) {
            pair(FaultKind::OwnRecordDenied, token, denial);
        }
        match &record.record().body {
            Body::Channel(ChannelControl {
                event: ChannelEvent::RecordDenied { record: denied, .. },
                ..
            }) => {
                if let Some(own) = self.records.get(denied) {
                    pair(FaultKind::OwnRecordDenied, own, token);
                }
                self.denials.entry(*denied).or_insert_with(|| token.clone());
            }
            Body::Outcome(outcome) if conflict::executed(outcome.status) => {
                if let Some(decision) = self.refused.get(&outcome.decision) {
                    pair(FaultKind::ExecutedUnallowed, decision, token);
                }
                let first = self.executed.entry(outcome.decision);
                first.or_insert_with(|| token.clone());
            }
            Body::Decision(decision) if decision.evaluation.verdict == Verdict::Deny => {
                if let Some(outcome) = self.executed.get(&record.id()) {
                    pair(FaultKind::ExecutedUnallowed, token, outcome);
                }
                self.refused.insert(record.id(), token.clone());
            }
            Body::Decision(decision) => self.allowing(token, decision, &mut findings),
            _ => {}
        }
        findings
    }

    fn allowing(&mut self, token: &T, decision: &Decision, findings: &mut Vec<Finding<T>>) {
        let Some(request) = decision.request.map(|request| request.id) else {
            return;
        };
        let decider = self.operator.as_str();
        match self.requests.get(&request) {
            Some((asked, content)) => {
                if conflict::difference(content, decision, decider).is_some() {
                    findings.push(allowed_otherwise(asked, token));
                }
            }
            None => {
                let waiting = self.allowed.entry(request).or_default();
                waiting.push((token.clone(), Box::new(decision.clone())));
            }
        }
    }

    /// Takes in a request that another operator has made. Its signature does not matter: what the
    /// operator decided is what has this id.
    pub fn request(&mut self, token: &T, id: RecordId, record: &Record) -> Vec<Finding<T>> {
        let Body::Request(request) = &record.body else {
            return Vec::new();
        };
        let decider = self.operator.as_str();
        let waiting = self.allowed.remove(&id).unwrap_or_default();
        let otherwise =
            |decision: &Decision| conflict::difference(request, decision, decider).is_some();
        let findings = waiting
            .iter()
            .filter(|(_, decision)| otherwise(decision))
            .map(|(decided, _)| allowed_otherwise(token, decided))
            .collect();
        let known = self.requests.entry(id);
        known.or_insert_with(|| (token.clone(), Box::new(request.clone())));
        findings
    }

    /// Takes in a commitment of the operator.
    pub fn commitment(&mut self, token: &T, commitment: &VerifiedCommitment) -> Vec<Finding<T>> {
        let mut findings = Vec::new();
        if commitment.issuer() == &self.operator {
            let stream = self.streams.entry(commitment.kid()).or_default();
            stream.commitment(token, commitment, &mut findings);
        }
        findings
    }

    /// Takes in what a path shows that a commitment's batch holds: the leaf of the record with this
    /// sequence, and, because its hash stands in the path, the leaf beside it. The path must have
    /// been verified.
    pub fn path(
        &mut self,
        token: &T,
        commitment: &VerifiedCommitment,
        sequence: Sequence,
        leaf: Hash,
        path: &[Hash],
    ) -> Vec<Finding<T>> {
        let mut findings = Vec::new();
        if commitment.issuer() == &self.operator {
            let stream = self.streams.entry(commitment.kid()).or_default();
            let batch = commitment.commitment();
            stream.leaf(token, sequence.get(), leaf, path.to_vec(), &mut findings);
            if let Some((beside, hash, path)) = index::beside(batch, sequence, leaf, path) {
                stream.leaf(token, beside, hash, path, &mut findings);
            }
        }
        findings
    }
}

fn allowed_otherwise<T: Clone>(request: &T, decision: &T) -> Finding<T> {
    Finding {
        kind: FaultKind::AllowedOtherwise,
        statements: vec![
            Found::Request(request.clone()),
            Found::Record(decision.clone()),
        ],
    }
}

/// Every contradiction between two records, which may be of different operators.
pub fn between(a: (&VerifiedRecord, &[u8]), b: (&VerifiedRecord, &[u8])) -> Vec<Finding<usize>> {
    let mut detector = Detector::new(b.0.issuer().clone());
    let mut findings = detector.request(&0, a.0.id(), a.0.record());
    findings.extend(detector.record(&0, a.0, a.1));
    findings.extend(detector.record(&1, b.0, b.1));
    if a.0.issuer() != b.0.issuer() {
        let mut detector = Detector::new(a.0.issuer().clone());
        findings.extend(detector.request(&1, b.0.id(), b.0.record()));
        findings.extend(detector.record(&0, a.0, a.1));
    }
    findings
}

/// Whether these bytes are a request, for [`Detector::request`].
pub fn as_request(bytes: &[u8]) -> Option<(RecordId, Record)> {
    let record = UnverifiedRecord::parse(bytes).ok()?;
    matches!(record.unverified_content().body, Body::Request(_))
        .then(|| (record.id(), record.unverified_content().clone()))
}

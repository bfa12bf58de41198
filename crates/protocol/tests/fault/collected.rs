//! What somebody has collected of an operator, and what the detector makes of it.

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::fault::{
    Detector, Evidence, FaultKind, FaultProof, FaultReport, Finding, LoggedCommitment, as_request,
    verify_fault,
};
use counterfoil_protocol::keys::{PublicKey, SigningKey};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::record::{UnverifiedRecord, VerifiedRecord};
use counterfoil_tlog::tree::{Hash, leaf_hash};

use super::world::{Manifests, globex, trust};

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Record(Vec<u8>),
    Commitment(Vec<u8>),
    /// A request of another operator.
    Request(Vec<u8>),
    /// What a path shows about the commitment with this token.
    Path {
        commitment: usize,
        sequence: u64,
        leaf: Hash,
        path: Vec<Hash>,
    },
}

/// Items by token.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) items: Vec<Item>,
    pub(crate) keys: Vec<SigningKey>,
}

pub(crate) fn bare(record: &[u8]) -> Receipt {
    Receipt {
        record: record.to_vec(),
        manifests: Vec::new(),
        batch: None,
        log_proof: None,
        beacon: None,
        disclosures: Vec::new(),
        presentation: None,
    }
}

impl Evidence<usize> for Collected {
    fn record(&self, token: &usize) -> Receipt {
        match &self.items[*token] {
            Item::Record(bytes) | Item::Request(bytes) => bare(bytes),
            other => panic!("{other:?} is not a record"),
        }
    }

    fn commitment(&self, token: &usize) -> LoggedCommitment {
        match &self.items[*token] {
            Item::Commitment(bytes) => LoggedCommitment {
                commitment: bytes.clone(),
                log_proof: None,
            },
            other => panic!("{other:?} is not a commitment"),
        }
    }
}

impl Collected {
    /// Keeps a commitment, and the path of each of these records where it is to be shown.
    pub(crate) fn batch(
        &mut self,
        commitment: Vec<u8>,
        first: u64,
        leaves: &[Vec<u8>],
        shown: &[u64],
    ) {
        let tree = BatchTree::build(leaves.iter().map(Vec::as_slice)).unwrap();
        let token = self.items.len();
        self.items.push(Item::Commitment(commitment));
        for index in shown {
            self.items.push(Item::Path {
                commitment: token,
                sequence: first + index,
                leaf: leaf_hash(&leaves[usize::try_from(*index).unwrap()]),
                path: tree.path(*index).unwrap(),
            });
        }
    }

    pub(crate) fn key(&self, kid: KeyThumbprint) -> &PublicKey {
        let mut keys = self.keys.iter().map(SigningKey::public);
        keys.find(|key| key.thumbprint() == kid).unwrap()
    }

    pub(crate) fn verified(&self, bytes: &[u8]) -> VerifiedRecord {
        let record = UnverifiedRecord::parse(bytes).unwrap();
        let key = self.key(record.kid()).clone();
        record.verify(&key).unwrap()
    }

    pub(crate) fn manifests(&self) -> Vec<LoggedManifest> {
        let mut manifests = Manifests::new(globex());
        manifests.publish(&self.keys.iter().collect::<Vec<_>>(), &[]);
        manifests.unlogged()
    }

    /// Runs the detector over these items in this order.
    pub(crate) fn detect(&self, order: &[usize]) -> Vec<Finding<usize>> {
        let mut detector = Detector::new(globex());
        let mut findings = Vec::new();
        for token in order {
            findings.extend(match &self.items[*token] {
                Item::Record(bytes) => detector.record(token, &self.verified(bytes), bytes),
                Item::Request(bytes) => {
                    let (id, record) = as_request(bytes).unwrap();
                    detector.request(token, id, &record)
                }
                Item::Commitment(bytes) => {
                    let commitment = UnverifiedCommitment::parse(bytes).unwrap();
                    let key = self.key(commitment.kid()).clone();
                    detector.commitment(token, &commitment.verify(&key).unwrap())
                }
                Item::Path {
                    commitment: token,
                    sequence,
                    leaf,
                    path,
                } => {
                    let Item::Commitment(bytes) = &self.items[*token] else {
                        panic!("a path without its commitment");
                    };
                    let commitment = UnverifiedCommitment::parse(bytes).unwrap();
                    let key = self.key(commitment.kid()).clone();
                    let commitment = commitment.verify(&key).unwrap();
                    let sequence = counterfoil_protocol::numbers::Sequence::new(*sequence);
                    detector.path(token, &commitment, sequence, *leaf, path)
                }
            });
        }
        findings
    }

    pub(crate) fn prove(&self, finding: &Finding<usize>) -> FaultProof {
        finding.prove(&globex(), self.manifests(), self)
    }

    /// Detects in every item, and verifies each proof that comes of it from its bytes.
    pub(crate) fn convicted_of(&self, order: &[usize]) -> Vec<FaultKind> {
        let findings = self.detect(order);
        let mut kinds: Vec<FaultKind> = Vec::new();
        for finding in &findings {
            let proof = self.prove(finding);
            let bytes = proof.encode();
            assert_eq!(FaultProof::parse(&bytes).unwrap(), proof);
            let report = verify_fault(&bytes, &trust());
            assert!(report.convicts(), "{}: {:?}", finding.kind, report.failure);
            kinds.push(finding.kind);
        }
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    pub(crate) fn tokens(&self) -> Vec<usize> {
        (0..self.items.len()).collect()
    }
}

/// All of `tokens` or some of them, in an order that the seed decides.
pub(crate) fn some_of(mut tokens: Vec<usize>, mut seed: u64, all: bool) -> Vec<usize> {
    let mut next = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap()
    };
    for at in (1..tokens.len()).rev() {
        tokens.swap(at, next() % (at + 1));
    }
    if !all {
        tokens.truncate(next() % (tokens.len() + 1));
    }
    tokens
}

pub(crate) fn code(report: &FaultReport) -> &'static str {
    let failure = report.failure.as_ref();
    failure.map_or("convicts", |failure| failure.code().as_str())
}

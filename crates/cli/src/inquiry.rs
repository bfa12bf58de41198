//! Looks for faults in whatever evidence there is, and makes the proofs.
//!
//! The evidence is read twice: once to find what contradicts each other, which keeps an index and
//! no bytes, and once more to fetch the statements that were found. A proof counts only when it
//! convicts, by the same verifier that everybody else has.

mod late;
mod logs;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use counterfoil_protocol::bundle::{Entry, Verifier};
use counterfoil_protocol::contract::{ContractReport, verify_contract};
use counterfoil_protocol::digest::CommitmentDigest;
use counterfoil_protocol::fault::{
    Detector, Evidence, FaultKind, FaultProof, Finding, Found, LoggedCommitment, verify_fault,
};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::ManifestVersion;
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::record::Body;
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::tree::leaf_hash;

use self::late::Late;
use self::logs::Logs;
use crate::answer::Problem;
use crate::evidence::Piece;

/// Where a record stands: in which piece of evidence, and where in it.
pub(crate) type Token = (usize, u64);

/// A contract that the evidence is held against.
#[derive(Debug)]
pub(crate) struct Agreed {
    bytes: Vec<u8>,
    report: ContractReport,
}

/// What has been found in the evidence so far.
#[derive(Debug)]
pub(crate) struct Inquiry<'t> {
    trust: &'t Trust,
    detectors: BTreeMap<OperatorName, Detector<Token>>,
    findings: Vec<(OperatorName, Finding<Token>)>,
    contracts: Vec<Agreed>,
    manifests: BTreeMap<OperatorName, Vec<LoggedManifest>>,
    versions: BTreeMap<(OperatorName, ManifestVersion), BTreeSet<Vec<u8>>>,
    logs: Logs,
    late: Late,
    proofs: Vec<FaultProof>,
    commitment: Option<(usize, CommitmentDigest)>,
}

/// A fault that is proven.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    /// The proof.
    pub(crate) proof: FaultProof,
    /// What it shows, for people.
    pub(crate) finding: String,
}

impl<'t> Inquiry<'t> {
    /// An inquiry into what the operators of the trust file have signed.
    pub(crate) fn new(trust: &'t Trust) -> Self {
        let detector = |name: &OperatorName| (name.clone(), Detector::new(name.clone()));
        Self {
            trust,
            detectors: trust.operators().map(detector).collect(),
            findings: Vec::new(),
            contracts: Vec::new(),
            manifests: BTreeMap::new(),
            versions: BTreeMap::new(),
            logs: Logs::default(),
            late: Late::default(),
            proofs: Vec::new(),
            commitment: None,
        }
    }

    /// Holds everything that comes after this against a contract, if its file verifies.
    pub(crate) fn contract(&mut self, bytes: Vec<u8>) {
        let report = verify_contract(&bytes, self.trust, Level::Signed);
        if report.is_verified() {
            self.contracts.push(Agreed { bytes, report });
        }
    }

    /// Takes in a checkpoint note.
    pub(crate) fn checkpoint(&mut self, note: &[u8]) {
        self.logs.note(note);
    }

    /// Takes in a manifest that stands alone.
    pub(crate) fn manifest(&mut self, bytes: &[u8]) {
        if let Ok(manifest) = UnverifiedManifest::parse(bytes) {
            let place = (manifest.operator().clone(), manifest.version());
            let known = self.versions.entry(place).or_default();
            known.insert(bytes.to_vec());
        }
    }

    /// Takes in the record that a verifier has handed out last.
    pub(crate) fn take(&mut self, piece: usize, entry: &Entry, verifier: &Verifier<'_>) {
        let token = (piece, entry.position);
        if let Some(header) = verifier.header().filter(|_| entry.position == 0) {
            self.chain(&header.operator, &header.manifests);
        }
        let (Some(record), Some(bytes)) = (&entry.record, verifier.record_bytes()) else {
            return;
        };
        let issuer = record.issuer();
        if matches!(record.record().body, Body::Request(_)) {
            for (name, detector) in &mut self.detectors {
                if name != issuer {
                    let found = detector.request(&token, record.id(), record.record());
                    self.findings
                        .extend(found.into_iter().map(|one| (name.clone(), one)));
                }
            }
        }
        let Some(detector) = self.detectors.get_mut(issuer) else {
            return;
        };
        let mut found = detector.record(&token, record, bytes);
        let receipt = verifier.receipt();
        if let (Some(commitment), Some(receipt)) = (verifier.commitment(), &receipt) {
            // Once for each batch.
            let place = (piece, commitment.digest());
            if self.commitment != Some(place) {
                self.commitment = Some(place);
                found.extend(detector.commitment(&token, commitment));
                if let (Some(batch), Some(proof)) = (&receipt.batch, &receipt.log_proof) {
                    self.logs.entry(&batch.commitment, proof);
                }
            }
            if let Some(batch) = &receipt.batch {
                let leaf = leaf_hash(bytes);
                let sequence = record.record().sequence;
                found.extend(detector.path(&token, commitment, sequence, leaf, &batch.path));
            }
        }
        let issuer = issuer.clone();
        self.findings
            .extend(found.into_iter().map(|one| (issuer.clone(), one)));
        if self.contracts.is_empty() {
            return;
        }
        self.late.take(token, entry, verifier, &self.contracts);
        if let (Some(digest), Some(receipt)) = (record.record().contract(), &receipt) {
            let of = |agreed: &&Agreed| agreed.report.digest == Some(digest);
            if let Some(agreed) = self.contracts.iter().find(of) {
                self.proofs.extend(FaultProof::of_contract(
                    &receipt.manifests,
                    record,
                    receipt,
                    &agreed.bytes,
                    &agreed.report,
                ));
            }
        }
    }

    /// The manifests of an operator: those that say most are used, all are compared.
    fn chain(&mut self, operator: &OperatorName, manifests: &[LoggedManifest]) {
        for logged in manifests {
            self.manifest(&logged.manifest);
            if let Some(proof) = &logged.log_proof {
                self.logs.entry(&logged.manifest, proof);
            }
        }
        let says = |chain: &[LoggedManifest]| {
            let logged = chain.iter().filter(|one| one.log_proof.is_some());
            (chain.len(), logged.count())
        };
        let known = self.manifests.entry(operator.clone()).or_default();
        if says(manifests) > says(known) {
            *known = manifests.to_vec();
        }
    }

    /// The faults that the evidence proves: of each kind and accused the first, and how many more
    /// there are.
    pub(crate) fn conclude(mut self, pieces: &[Piece]) -> Result<Vec<(Proven, u64)>, Problem> {
        let late = self.late.candidates(&self.contracts);
        let findings = self
            .findings
            .iter()
            .flat_map(|(_, found)| &found.statements);
        let mut wanted: BTreeSet<Token> = findings.filter_map(token).collect();
        for candidate in &late {
            wanted.extend(candidate.tokens());
        }
        let fetched = Fetched::fetch(pieces, self.trust, &wanted)?;
        let mut proofs = core::mem::take(&mut self.proofs);
        for (accused, finding) in &self.findings {
            let manifests = self.manifests.get(accused).cloned().unwrap_or_default();
            if fetched.has(finding) {
                proofs.push(finding.prove(accused, manifests, &fetched));
            }
        }
        for candidate in &late {
            let manifests = &self.manifests;
            let note = |digest| self.late.note(digest);
            proofs.extend(candidate.prove(&self.contracts, manifests, &fetched, note));
        }
        proofs.extend(self.forked_manifests());
        proofs.extend(self.logs.proofs());

        let mut proven: Vec<(Proven, u64)> = Vec::new();
        for proof in proofs {
            let same = proven.iter_mut().find(|(one, _)| {
                (one.proof.kind, &one.proof.accused) == (proof.kind, &proof.accused)
            });
            if let Some((one, more)) = same {
                *more += u64::from(one.proof != proof);
                continue;
            }
            let report = verify_fault(&proof.encode(), self.trust);
            if let Some(finding) = report.finding.clone().filter(|_| report.convicts()) {
                proven.push((Proven { proof, finding }, 0));
            }
        }
        Ok(proven)
    }

    fn forked_manifests(&self) -> Vec<FaultProof> {
        let mut proofs = Vec::new();
        for ((operator, version), manifests) in &self.versions {
            let mut manifests = manifests.iter();
            let Some(first) = manifests.next() else {
                continue;
            };
            for other in manifests {
                let chain = self.manifests.get(operator).cloned().unwrap_or_default();
                let count = usize::try_from(version.get().saturating_sub(1)).unwrap_or_default();
                let before = chain.into_iter().take(count).collect();
                proofs.extend(FaultProof::of_manifests(before, first, other));
            }
        }
        proofs
    }
}

fn token(found: &Found<Token>) -> Option<Token> {
    match found {
        Found::Record(token) | Found::Request(token) | Found::Commitment(token) => Some(*token),
        Found::Leaf { .. } => None,
    }
}

/// The receipts of records that were found.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    receipts: HashMap<Token, Receipt>,
}

impl Fetched {
    fn fetch(pieces: &[Piece], trust: &Trust, wanted: &BTreeSet<Token>) -> Result<Self, Problem> {
        let mut fetched = Self::default();
        for (number, piece) in pieces.iter().enumerate() {
            let of_piece = (number, 0)..=(number, u64::MAX);
            if wanted.range(of_piece).next().is_none() {
                continue;
            }
            piece.read(trust, Level::Signed, |entry, verifier| {
                let token = (number, entry.position);
                if wanted.contains(&token)
                    && let Some(receipt) = verifier.receipt()
                {
                    fetched.receipts.insert(token, receipt);
                }
            })?;
        }
        Ok(fetched)
    }

    fn get(&self, token: &Token) -> Option<&Receipt> {
        self.receipts.get(token)
    }

    fn has(&self, finding: &Finding<Token>) -> bool {
        let mut tokens = finding.statements.iter().filter_map(token);
        tokens.all(|token| self.receipts.contains_key(&token))
    }
}

impl Evidence<Token> for Fetched {
    fn record(&self, token: &Token) -> Receipt {
        // Asked for only what is there: see `has`.
        self.get(token).cloned().unwrap_or_else(empty)
    }

    fn commitment(&self, token: &Token) -> LoggedCommitment {
        let receipt = self.get(token);
        let batch = receipt.and_then(|receipt| receipt.batch.as_ref());
        LoggedCommitment {
            commitment: batch
                .map(|batch| batch.commitment.clone())
                .unwrap_or_default(),
            log_proof: receipt.and_then(|receipt| receipt.log_proof.clone()),
        }
    }
}

const fn empty() -> Receipt {
    Receipt {
        record: Vec::new(),
        manifests: Vec::new(),
        batch: None,
        log_proof: None,
        beacon: None,
        disclosures: Vec::new(),
        presentation: None,
    }
}

/// The kinds of fault that can be found, as commands name them: a name or a number.
pub(crate) fn kind(text: &str) -> Result<FaultKind, String> {
    let mut kinds = FaultKind::ALL.iter().copied();
    kinds
        .find(|kind| kind.as_str() == text || kind.number().to_string() == text)
        .ok_or_else(|| {
            let names: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("no kind of fault; there are {}", names.join(", "))
        })
}

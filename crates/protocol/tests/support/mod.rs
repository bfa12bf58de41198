//! Two operators, a log and two witnesses in memory, for tests and benchmarks of whole bundles.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "each test uses its share"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

pub mod conversation;

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::bundle::{self, Chosen, Header, Part, seal};
use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::digest::{
    CheckpointDigest, CommitmentDigest, ContentDigest, ManifestDigest, RecordId,
};
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::keys::{PublicKey, SigningKey};
use counterfoil_protocol::manifest::{Manifest, UnverifiedManifest};
use counterfoil_protocol::names::{
    AgentName, OperatorName, PolicyId, ReasonCode, Scope, ServerName, Tier, ToolName, Unit, Verb,
};
use counterfoil_protocol::numbers::{
    Amount, BatchNumber, ChannelSequence, ManifestVersion, Sequence, UnixMillis,
};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{
    Acknowledgement, Action, Actor, Beacon, Body, ChannelLink, DecidedRequest, Decision,
    Evaluation, Event, Outcome, OutcomeStatus, Record, Request, Reservation, Verdict,
};
use counterfoil_protocol::trust::{Trust, operator_vkey};
use counterfoil_protocol::verify::Level;
use counterfoil_tlog::checkpoint::{Checkpoint, Origin};
use counterfoil_tlog::cosignature::cosign;
use counterfoil_tlog::note::{Algorithm, KeyName, Note, SignerKey};
use counterfoil_tlog::proof::{LeafSlice, prove_inclusion, root};
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::{Hash, leaf_hash};
use zeroize::Zeroizing;

pub const START: u64 = 1_760_000_000;
pub const ACME: &str = "acme.example";
pub const GLOBEX: &str = "globex.example";

pub fn seed(label: &str) -> [u8; 32] {
    *ContentDigest::of(label.as_bytes()).as_bytes()
}

pub fn key(label: &str) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new(seed(label))).unwrap()
}

pub fn digest(label: &str) -> ContentDigest {
    ContentDigest::of(label.as_bytes())
}

fn note_key(name: &str, algorithm: Algorithm) -> SignerKey {
    SignerKey::from_seed(KeyName::parse(name).unwrap(), algorithm, &seed(name))
}

pub struct Log {
    key: SignerKey,
    witnesses: Vec<SignerKey>,
    leaves: Vec<Hash>,
}

impl Default for Log {
    fn default() -> Self {
        Self::named("log.example/one")
    }
}

impl Log {
    pub fn named(name: &str) -> Self {
        Self {
            key: note_key(name, Algorithm::Ed25519),
            witnesses: ["w1.example", "w2.example"]
                .map(|name| note_key(name, Algorithm::CosignatureEd25519))
                .into(),
            leaves: Vec::new(),
        }
    }

    pub fn append(&mut self, entry: &[u8]) -> u64 {
        self.leaves.push(leaf_hash(entry));
        self.leaves.len() as u64 - 1
    }

    /// The checkpoint of all entries, cosigned by so many witnesses at that second.
    pub fn checkpoint(&self, witnesses: usize, at: u64) -> Note {
        let origin = Origin::parse(self.key.name().as_str()).unwrap();
        let size = self.leaves.len() as u64;
        let root = root(size, &LeafSlice(&self.leaves)).unwrap();
        let note = Checkpoint::new(origin, size, root).sign(&self.key).unwrap();
        let cosignatures = self.witnesses[..witnesses]
            .iter()
            .map(|witness| cosign(note.text(), witness, at).unwrap())
            .collect();
        note.with_signatures(cosignatures).unwrap()
    }

    pub fn proof(&self, index: u64, checkpoint: &Note) -> Vec<u8> {
        let size = Checkpoint::parse(checkpoint.text()).unwrap().size();
        let path = prove_inclusion(index, size, &LeafSlice(&self.leaves)).unwrap();
        let proof = TlogProof::new(None, index, path, checkpoint.clone()).unwrap();
        proof.to_string().into_bytes()
    }

    /// A tlog-policy that names this log, and a quorum of both witnesses.
    pub fn policy(&self) -> String {
        let mut file = format!("log {}\n", self.key.verifier());
        for (name, witness) in ["w1", "w2"].into_iter().zip(&self.witnesses) {
            file += &format!("witness {name} {}\n", witness.verifier());
        }
        file += "group both all w1 w2\nquorum both\n";
        file
    }

    /// A trust file that names this log, a quorum of both witnesses, and the operators.
    pub fn trust(&self, operators: &[(&str, &PublicKey)]) -> Trust {
        let mut file = self.policy();
        for (name, root) in operators {
            let vkey = operator_vkey(&name.parse().unwrap(), root).unwrap();
            file += &format!("operator {vkey}\n");
        }
        Trust::parse(file.as_bytes()).unwrap()
    }
}

pub fn beacon(note: &Note) -> Beacon {
    Beacon {
        size: Checkpoint::parse(note.text()).unwrap().size(),
        checkpoint: CheckpointDigest::of(note.to_string().as_bytes()),
    }
}

/// A manifest that lists and revokes keys: version 1, or the one after `before`.
pub fn manifest(
    operator: &str,
    enforcers: &[&SigningKey],
    revoked: &[&SigningKey],
    before: Option<&[u8]>,
) -> Vec<u8> {
    let root = key(&format!("{operator} root"));
    let before = before.map(|bytes| {
        let version = UnverifiedManifest::parse(bytes).unwrap().version();
        (version, ManifestDigest::of(bytes))
    });
    let mut enforcers: Vec<PublicKey> = enforcers.iter().map(|k| k.public().clone()).collect();
    enforcers.sort_by_key(|key| *key.as_bytes());
    Manifest {
        operator: operator.parse().unwrap(),
        version: before.map_or(ManifestVersion::new(1), |(version, _)| {
            version.next().unwrap()
        }),
        previous: before.map(|(_, digest)| digest),
        time: UnixMillis::new(START * 1000),
        roots: vec![root.public().clone()],
        enforcers,
        exchange: None,
        revoked: revoked.iter().map(|k| k.public().thumbprint()).collect(),
    }
    .sign(&root)
}

pub struct Made {
    pub id: RecordId,
    pub bytes: Vec<u8>,
    pub record: Record,
    pub disclosures: Vec<Disclosure>,
}

pub struct Batch {
    pub first: usize,
    pub count: usize,
    pub bytes: Vec<u8>,
    pub tree: BatchTree,
    pub log_index: Option<u64>,
}

/// A stream being made. Its records link as they should unless a test changes them.
pub struct Stream {
    pub operator: OperatorName,
    pub key: SigningKey,
    pub records: Vec<Made>,
    pub batches: Vec<Batch>,
    pub beacon: Option<Beacon>,
    pub now: u64,
    channel: Option<(u64, RecordId)>,
    committed: Option<CommitmentDigest>,
}

impl Stream {
    pub fn new(operator: &str, label: &str) -> Self {
        let mut stream = Self {
            operator: operator.parse().unwrap(),
            key: key(label),
            records: Vec::new(),
            batches: Vec::new(),
            beacon: None,
            now: START * 1000,
            channel: None,
            committed: None,
        };
        stream.push(Body::Control(Event::StreamOpened { predecessor: None }));
        stream
    }

    pub fn link(&self, counterparty: &str) -> ChannelLink {
        let (sequence, previous) = match self.channel {
            Some((sequence, id)) => (sequence + 1, Some(id)),
            None => (0, None),
        };
        ChannelLink {
            counterparty: counterparty.parse().unwrap(),
            sequence: ChannelSequence::new(sequence),
            previous,
            acknowledged: self.channel.map(|(sequence, id)| Acknowledgement {
                stream: key(counterparty).public().thumbprint(),
                sequence: ChannelSequence::new(sequence),
                id,
            }),
        }
    }

    pub fn push(&mut self, body: Body) -> RecordId {
        let record = Record {
            sequence: Sequence::new(self.records.len() as u64),
            previous: self.records.last().map(|made| made.id),
            time: UnixMillis::new(self.now),
            beacon: self.beacon,
            body,
        };
        self.now += 10;
        self.push_record(record)
    }

    pub fn push_record(&mut self, record: Record) -> RecordId {
        let prepared = record.prepare(&self.operator, self.key.public().thumbprint());
        let id = prepared.id();
        if let Some(link) = record.channel() {
            self.channel = Some((link.sequence.get(), id));
        }
        self.records.push(Made {
            id,
            bytes: prepared.sign(&self.key),
            record,
            disclosures: Vec::new(),
        });
        id
    }

    /// A call of an agent of ours that stays here: a decision and its outcome.
    pub fn local_call(&mut self) {
        let decision = self.push(Body::Decision(decision(&self.operator.clone(), None, None)));
        self.push(Body::Outcome(outcome(decision, None)));
    }

    /// Our half of a call to another operator.
    pub fn remote_call(&mut self, counterparty: &str) {
        let name = self.operator.clone();
        let request = self.push(Body::Request(request(&name, self.link(counterparty))));
        self.push(Body::Outcome(outcome(
            request,
            Some(self.link(counterparty)),
        )));
    }

    pub fn commitment(&self) -> Commitment {
        let first = self.batches.last().map_or(0, |b| b.first + b.count);
        let records = &self.records[first..];
        let tree = BatchTree::build(records.iter().map(|made| made.bytes.as_slice())).unwrap();
        Commitment {
            number: BatchNumber::new(self.batches.len() as u64),
            first: Sequence::new(first as u64),
            count: records.len() as u64,
            previous: self.committed,
            opened: UnixMillis::new(self.now),
            sealed: UnixMillis::new(self.now),
            beacon: None,
            root: tree.root(),
        }
    }

    /// Seals all records since the last batch.
    pub fn seal(&mut self) {
        self.seal_as(&self.commitment());
    }

    pub fn seal_as(&mut self, commitment: &Commitment) {
        let first = self.batches.last().map_or(0, |b| b.first + b.count);
        let records = &self.records[first..];
        let bytes = commitment.sign(&self.operator, &self.key);
        self.committed = Some(CommitmentDigest::of(&bytes));
        self.batches.push(Batch {
            first,
            count: records.len(),
            bytes,
            tree: BatchTree::build(records.iter().map(|made| made.bytes.as_slice())).unwrap(),
            log_index: None,
        });
    }

    pub fn publish(&mut self, log: &mut Log) {
        for batch in &mut self.batches {
            if batch.log_index.is_none() {
                batch.log_index = Some(log.append(&batch.bytes));
            }
        }
    }

    /// The parts that hold the records `take` says, with log proofs under `checkpoint`.
    pub fn parts(
        &self,
        log: &Log,
        checkpoint: &Note,
        beacon: Option<&[u8]>,
        take: impl Fn(usize) -> bool,
    ) -> Vec<Part> {
        let size = Checkpoint::parse(checkpoint.text()).unwrap().size();
        let chosen = |first: usize, end: usize| {
            (first..end).filter(|at| take(*at)).map(move |at| {
                let made = &self.records[at];
                Chosen {
                    index: (at - first) as u64,
                    record: &made.bytes,
                    disclosures: made.disclosures.clone(),
                    beacon: beacon.filter(|_| made.record.beacon.is_some()),
                }
            })
        };
        let mut parts = Vec::new();
        let mut end = 0;
        for batch in &self.batches {
            end = batch.first + batch.count;
            let proof = batch
                .log_index
                .filter(|index| *index < size)
                .map(|index| log.proof(index, checkpoint));
            let whole = bundle::Batch {
                tree: &batch.tree,
                commitment: &batch.bytes,
                log_proof: proof.as_deref(),
            };
            parts.extend(seal(Some(whole), chosen(batch.first, end)).unwrap());
        }
        parts.extend(seal(None, chosen(end, self.records.len())).unwrap());
        parts
    }
}

pub fn header(operator: &str, manifests: Vec<LoggedManifest>) -> Header {
    Header {
        operator: operator.parse().unwrap(),
        counterparty: None,
        manifests,
    }
}

pub fn encode(header: &Header, parts: &[Part]) -> Vec<u8> {
    let mut bytes = header.encode();
    for part in parts {
        bytes.extend(part.encode());
    }
    bytes
}

pub fn actor(operator: &OperatorName) -> Actor {
    Actor {
        operator: operator.clone(),
        agent: AgentName::literal("support-bot"),
        on_behalf_of: Some(digest("alice")),
        session: Some(digest("session")),
    }
}

pub fn action() -> Action {
    Action {
        server: ServerName::literal("payments"),
        verb: Verb::literal("tools/call"),
        tool: ToolName::literal("refund"),
        tier: Some(Tier::literal("money")),
    }
}

pub fn evaluation(verdict: Verdict) -> Evaluation {
    Evaluation {
        verdict,
        reason: ReasonCode::literal("allowed_by_policy"),
        policies: vec![PolicyId::literal("refunds-under-100")],
        policy_set: digest("policy set"),
        input: Some(digest("input")),
    }
}

/// What a record of an ordinary policy sets aside.
fn reservations() -> Vec<Reservation> {
    ["agent:support-bot", "contract"]
        .map(|scope| Reservation {
            scope: Scope::literal(scope),
            unit: Unit::literal("RISK_POINTS"),
            amount: Amount::new(10),
            remaining: Amount::new(990),
        })
        .into()
}

pub fn request(operator: &OperatorName, channel: ChannelLink) -> Request {
    Request {
        channel,
        contract: Some(digest("contract")),
        actor: actor(operator),
        action: action(),
        parameters: digest("parameters"),
        evaluation: evaluation(Verdict::Allow),
        reservations: reservations(),
        attestations: Vec::new(),
    }
}

pub fn decision(
    asking: &OperatorName,
    channel: Option<ChannelLink>,
    request: Option<RecordId>,
) -> Decision {
    Decision {
        channel,
        request: request.map(|id| DecidedRequest {
            id,
            evidence: Level::Signed,
        }),
        contract: Some(digest("contract")),
        actor: actor(asking),
        action: action(),
        parameters: digest("parameters"),
        evaluation: evaluation(Verdict::Allow),
        reservations: reservations(),
        attestations: Vec::new(),
    }
}

pub fn outcome(decision: RecordId, channel: Option<ChannelLink>) -> Outcome {
    Outcome {
        channel,
        decision,
        answer: None,
        status: OutcomeStatus::Succeeded,
        result: Some(digest("result")),
        settlements: Vec::new(),
        attestations: Vec::new(),
    }
}

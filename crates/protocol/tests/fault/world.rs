//! Keys, a log with a witness, and whom the verifier believes.

use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::manifest::{Manifest, UnverifiedManifest, VerifiedManifest};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{ManifestVersion, UnixMillis};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::{Trust, operator_vkey};
use counterfoil_tlog::checkpoint::{Checkpoint, Origin};
use counterfoil_tlog::cosignature::cosign;
use counterfoil_tlog::note::{Algorithm, Note, SignerKey};
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::{Hash, leaf_hash, node_hash};
use zeroize::Zeroizing;

pub(crate) const ORIGIN: &str = "log.example/2026";

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32])).unwrap()
}

pub(crate) fn root_of(operator: &OperatorName) -> SigningKey {
    key(200 + operator.as_str().as_bytes()[0] % 32)
}

pub(crate) fn globex() -> OperatorName {
    OperatorName::literal("globex.example")
}

pub(crate) fn peer(index: usize) -> OperatorName {
    OperatorName::literal(["acme.example", "initech.example"][index % 2])
}

pub(crate) fn content(seed: u64) -> ContentDigest {
    ContentDigest::of(&seed.to_be_bytes())
}

pub(crate) fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::Ed25519, &[101; 32])
}

pub(crate) fn witness_key() -> SignerKey {
    let name = "witness.example".parse().unwrap();
    SignerKey::from_seed(name, Algorithm::CosignatureEd25519, &[102; 32])
}

pub(crate) fn trust() -> Trust {
    let mut file = format!(
        "log {}\nwitness w {}\nquorum w\n",
        log_key().verifier(),
        witness_key().verifier()
    );
    for operator in [globex(), peer(0), peer(1)] {
        let vkey = operator_vkey(&operator, root_of(&operator).public()).unwrap();
        file.push_str(&format!("operator {vkey}\n"));
    }
    Trust::parse(file.as_bytes()).unwrap()
}

/// Manifests of an operator, each version listing these enforcer keys and revoking those.
pub(crate) struct Manifests {
    operator: OperatorName,
    pub(crate) versions: Vec<Vec<u8>>,
    last: Option<VerifiedManifest>,
}

impl Manifests {
    pub(crate) fn new(operator: OperatorName) -> Self {
        Self {
            operator,
            versions: Vec::new(),
            last: None,
        }
    }

    pub(crate) fn next(&self, keys: &[&SigningKey], revoked: &[&SigningKey], time: u64) -> Vec<u8> {
        let root = root_of(&self.operator);
        let mut enforcers: Vec<_> = keys.iter().map(|key| key.public().clone()).collect();
        enforcers.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let mut revoked: Vec<_> = revoked
            .iter()
            .map(|key| key.public().thumbprint())
            .collect();
        revoked.sort_unstable();
        let last = self.last.as_ref();
        let version = last.map_or(0, |last| last.manifest().version.get()) + 1;
        Manifest {
            operator: self.operator.clone(),
            version: ManifestVersion::new(version),
            previous: last.map(VerifiedManifest::digest),
            time: UnixMillis::new(time),
            roots: vec![root.public().clone()],
            enforcers,
            exchange: None,
            revoked,
        }
        .sign(&root)
    }

    pub(crate) fn publish(&mut self, keys: &[&SigningKey], revoked: &[&SigningKey]) -> Vec<u8> {
        let bytes = self.next(keys, revoked, 1_000);
        let manifest = UnverifiedManifest::parse(&bytes).unwrap();
        self.last = Some(match &self.last {
            Some(last) => manifest.verify_next(last).unwrap(),
            None => manifest.verify_first(|_| true).unwrap(),
        });
        self.versions.push(bytes.clone());
        bytes
    }

    pub(crate) fn unlogged(&self) -> Vec<LoggedManifest> {
        let logged = |manifest: &Vec<u8>| LoggedManifest {
            manifest: manifest.clone(),
            log_proof: None,
        };
        self.versions.iter().map(logged).collect()
    }
}

/// A log that says whatever its entries are.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Log {
    pub(crate) fn add(&mut self, entry: &[u8]) -> u64 {
        self.entries.push(entry.to_vec());
        self.entries.len() as u64 - 1
    }

    pub(crate) fn checkpoint(&self, witnessed: bool) -> Note {
        self.checkpoint_by(&log_key(), witnessed)
    }

    pub(crate) fn checkpoint_by(&self, key: &SignerKey, witnessed: bool) -> Note {
        let origin = Origin::parse(key.name().as_str()).unwrap();
        let leaves: Vec<Hash> = self.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let note = Checkpoint::new(origin, leaves.len() as u64, root(&leaves))
            .sign(key)
            .unwrap();
        if !witnessed {
            return note;
        }
        let line = cosign(note.text(), &witness_key(), 1_700_000_000).unwrap();
        note.with_signatures(vec![line]).unwrap()
    }

    /// The checkpoint, cosigned at that second.
    pub(crate) fn checkpoint_at(&self, seconds: u64) -> Note {
        let note = self.checkpoint(false);
        let line = cosign(note.text(), &witness_key(), seconds).unwrap();
        note.with_signatures(vec![line]).unwrap()
    }

    pub(crate) fn proof(&self, index: u64, witnessed: bool) -> Vec<u8> {
        self.proof_under(index, self.checkpoint(witnessed))
    }

    pub(crate) fn proof_under(&self, index: u64, checkpoint: Note) -> Vec<u8> {
        let leaves: Vec<Hash> = self.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let path = path(usize::try_from(index).unwrap(), &leaves);
        TlogProof::new(None, index, path, checkpoint)
            .unwrap()
            .to_string()
            .into_bytes()
    }
}

/// RFC 9162 §2.1.1, word by word.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => counterfoil_tlog::tree::EMPTY_ROOT,
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// RFC 9162 §2.1.3.1, word by word.
pub(crate) fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    let (mut below, beside) = if index < at {
        (path(index, left), root(right))
    } else {
        (path(index - at, right), root(left))
    };
    below.push(beside);
    below
}

fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

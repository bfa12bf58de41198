//! Operators with entries to log, and logs and witnesses that really listen.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses its part"
)]

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use counterfoil_log::{Error, Identity, InitOptions, Server, init, system_clock};
use counterfoil_protocol::{
    commitment::Commitment,
    digest::{CommitmentDigest, KeyThumbprint, ManifestDigest},
    keys::{PublicKey, SigningKey},
    manifest::Manifest,
    names::OperatorName,
    numbers::{BatchNumber, ManifestVersion, Sequence, UnixMillis},
};
use counterfoil_tlog::{
    note::{Note, VerifierKey},
    policy::Policy,
    tlog_proof::TlogProof,
    tree::{Hash, leaf_hash},
};
use tokio::{sync::oneshot, task::JoinHandle};

pub const START: u64 = 1_800_000_000_000;

/// An operator with one enforcer key and the stream of its commitments.
pub struct Operator {
    pub name: OperatorName,
    pub root: SigningKey,
    pub key: SigningKey,
    pub version: u64,
    pub previous_manifest: Option<ManifestDigest>,
    pub batches: u64,
    pub records: u64,
    pub last: Option<CommitmentDigest>,
}

pub fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&zeroize::Zeroizing::new([seed; 32])).unwrap()
}

impl Operator {
    pub fn new(name: &str, seed: u8) -> Self {
        Self {
            name: OperatorName::new(name).unwrap(),
            root: signing_key(seed),
            key: signing_key(seed + 1),
            version: 1,
            previous_manifest: None,
            batches: 0,
            records: 0,
            last: None,
        }
    }

    pub fn kid(&self) -> KeyThumbprint {
        self.key.public().thumbprint()
    }

    /// The next manifest, listing these enforcer keys and revocations.
    pub fn manifest_with(&mut self, keys: &[&PublicKey], revoked: Vec<KeyThumbprint>) -> Vec<u8> {
        let mut enforcers: Vec<PublicKey> = keys.iter().map(|key| (*key).clone()).collect();
        enforcers.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let manifest = Manifest {
            operator: self.name.clone(),
            version: ManifestVersion::new(self.version),
            previous: self.previous_manifest,
            time: UnixMillis::new(START),
            roots: vec![self.root.public().clone()],
            enforcers,
            exchange: None,
            revoked,
        };
        let bytes = manifest.sign(&self.root);
        self.version += 1;
        self.previous_manifest = Some(ManifestDigest::of(&bytes));
        bytes
    }

    pub fn manifest(&mut self) -> Vec<u8> {
        let key = self.key.public().clone();
        self.manifest_with(&[&key], Vec::new())
    }

    /// The commitment that would be the next, not taken note of.
    pub fn commitment(&self, count: u64, root: u8) -> Vec<u8> {
        let time = UnixMillis::new(START + self.batches);
        let commitment = Commitment {
            number: BatchNumber::new(self.batches),
            first: Sequence::new(self.records),
            count,
            previous: self.last,
            opened: time,
            sealed: time,
            beacon: None,
            root: Hash::from_bytes([root; 32]),
        };
        commitment.sign(&self.name, &self.key)
    }

    /// The next commitment.
    pub fn next(&mut self) -> Vec<u8> {
        let bytes = self.commitment(3, 9);
        self.batches += 1;
        self.records += 3;
        self.last = Some(CommitmentDigest::of(&bytes));
        bytes
    }
}

pub const ORIGIN: &str = "log.example/one";

pub fn new_log(directory: &Path, witness_policy: Option<Vec<u8>>) -> Identity {
    let options = InitOptions {
        origin: ORIGIN.to_owned(),
        listen: "127.0.0.1:0".to_owned(),
        witness_policy,
    };
    init(directory, &options).unwrap()
}

/// Adds a `[limits]` table to the configuration.
pub fn set_limits(directory: &Path, limits: &str) {
    let path = directory.join("log.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.split("[limits]").next().unwrap();
    fs::write(&path, format!("{text}[limits]\n{limits}\n")).unwrap();
}

/// A log in this process, behind a real socket.
pub struct Running {
    pub url: String,
    pub key: VerifierKey,
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub async fn start(directory: &Path) -> Self {
        let server = Server::bind(directory, system_clock).await.unwrap();
        let url = format!("http://{}", server.address());
        let key = server.verifier_key().clone();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self {
            url,
            key,
            client: reqwest::Client::new(),
            stop,
            task,
        }
    }

    pub async fn stop(self) {
        // Its open connections would be waited for.
        drop(self.client);
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    pub async fn post(&self, path: &str, body: Vec<u8>) -> Answer {
        let request = self.client.post(format!("{}{path}", self.url)).body(body);
        Answer::of(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(
            self.client
                .get(format!("{}{path}", self.url))
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub async fn register(&self, manifest: Vec<u8>, token: &str) -> Answer {
        let request = self
            .client
            .post(format!("{}/v1/operators", self.url))
            .header("Authorization", format!("Bearer {token}"))
            .body(manifest);
        Answer::of(request.send().await.unwrap()).await
    }

    pub fn policy(&self) -> Policy {
        Policy::of_logs(vec![self.key.clone()])
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Status and code of an error.
    pub fn error(&self) -> (u16, String) {
        (
            self.status,
            self.json()["code"].as_str().unwrap_or_default().to_owned(),
        )
    }

    /// The proof that this entry is logged under this policy. Returns its index and tree size.
    pub fn verified(&self, entry: &[u8], policy: &Policy) -> (u64, u64) {
        assert_eq!(self.status, 200, "{self:?}");
        let proof = TlogProof::parse(&self.body).unwrap();
        let verified = proof.verify(&leaf_hash(entry), policy).unwrap();
        (proof.index(), verified.checkpoint().size())
    }

    pub fn note(&self) -> Note {
        assert_eq!(self.status, 200, "{self:?}");
        Note::parse(&self.body).unwrap()
    }
}

/// A witness in this process, behind a real socket that stays the same over restarts.
pub struct Witness {
    pub directory: PathBuf,
    pub key: VerifierKey,
    pub address: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<Result<(), counterfoil_witness::Error>>>,
}

impl Witness {
    pub fn new(directory: PathBuf, name: &str, logs: Vec<VerifierKey>) -> Self {
        let options = counterfoil_witness::InitOptions {
            name: name.to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            logs,
        };
        let key = counterfoil_witness::init(&directory, &options)
            .unwrap()
            .verifier_key;
        Self {
            directory,
            key,
            address: None,
            stop: None,
            task: None,
        }
    }

    pub fn set_logs(&self, logs: &[VerifierKey]) {
        let listen = self
            .address
            .map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        let logs: Vec<String> = logs.iter().map(ToString::to_string).collect();
        let text = format!("listen = {listen:?}\nlogs = {logs:?}\n");
        fs::write(self.directory.join("witness.toml"), text).unwrap();
    }

    pub async fn start(&mut self) {
        let clock = counterfoil_witness::system_clock;
        let server = counterfoil_witness::Server::bind(&self.directory, clock)
            .await
            .unwrap();
        self.address = Some(server.address());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        (self.stop, self.task) = (Some(stop), Some(task));
    }

    pub async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        // A log keeps its connections open; do not wait for them.
        let task = self.task.take().unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(50), task).await;
    }
}

/// A policy over these witnesses, all of which must cosign, without a log line.
pub fn policy_of(witnesses: &[&Witness]) -> Vec<u8> {
    let mut text = String::new();
    let mut names = String::new();
    for (number, witness) in witnesses.iter().enumerate() {
        let address = witness.address.unwrap();
        text += &format!("witness w{number} {} http://{address}\n", witness.key);
        names += &format!(" w{number}");
    }
    format!("{text}group all all{names}\nquorum all\n").into_bytes()
}

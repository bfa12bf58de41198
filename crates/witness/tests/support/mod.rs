//! A small log to be witnessed, and a witness that really listens.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::path::Path;

use counterfoil_tlog::{
    checkpoint::{Checkpoint, Origin},
    note::{Algorithm, KeyName, Note, SignerKey, VerifierKey},
    proof::{LeafSlice, prove_consistency},
    tree::{Frontier, Hash, leaf_hash},
    witness::AddCheckpoint,
};
use counterfoil_witness::{Clock, Error, InitOptions, Server, init};
use tokio::{sync::oneshot, task::JoinHandle};

/// A log whose entry `i` is `<salt><i>`.
pub struct TestLog {
    pub key: SignerKey,
    leaves: Vec<Hash>,
}

impl TestLog {
    pub fn new(origin: &str, salt: &str) -> Self {
        let name = KeyName::parse(origin).unwrap();
        let key = SignerKey::from_seed(name, Algorithm::Ed25519, &[7; 32]);
        let leaves = (0..600)
            .map(|i| leaf_hash(format!("{salt}{i}").as_bytes()))
            .collect();
        Self { key, leaves }
    }

    /// Like `self` up to `size`, different from there on.
    pub fn fork(&self, size: usize) -> Self {
        let mut other = Self::new(self.key.name().as_str(), "fork");
        other
            .leaves
            .splice(..size, self.leaves[..size].iter().copied());
        other
    }

    pub fn origin(&self) -> Origin {
        Origin::from(self.key.name().clone())
    }

    pub fn root(&self, size: u64) -> Hash {
        let mut tree = Frontier::new();
        for leaf in &self.leaves[..usize::try_from(size).unwrap()] {
            tree.append(*leaf).unwrap();
        }
        tree.root()
    }

    pub fn checkpoint(&self, size: u64) -> Note {
        Checkpoint::new(self.origin(), size, self.root(size))
            .sign(&self.key)
            .unwrap()
    }

    pub fn proof(&self, old: u64, size: u64) -> Vec<Hash> {
        if old == 0 || old >= size {
            return Vec::new();
        }
        prove_consistency(old, size, &LeafSlice(&self.leaves)).unwrap()
    }

    /// The right request to go from one size to another.
    pub fn request(&self, old: u64, size: u64) -> String {
        AddCheckpoint::new(old, self.proof(old, size), self.checkpoint(size))
            .unwrap()
            .to_string()
    }
}

pub fn new_witness(directory: &Path, logs: Vec<VerifierKey>) -> VerifierKey {
    let options = InitOptions {
        name: "witness.example/w1".to_owned(),
        listen: "127.0.0.1:0".to_owned(),
        logs,
    };
    init(directory, &options).unwrap().verifier_key
}

pub struct Running {
    pub url: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub async fn start(directory: &Path, clock: Clock) -> Self {
        let server = Server::bind(directory, clock).await.unwrap();
        let url = format!("http://{}", server.address());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self { url, stop, task }
    }

    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// Waits until it ends by itself.
    pub async fn end(self) -> Result<(), Error> {
        let result = self.task.await.unwrap();
        drop(self.stop);
        result
    }

    pub async fn submit(&self, body: impl Into<reqwest::Body>) -> Answer {
        let url = format!("{}/add-checkpoint", self.url);
        Answer::of(
            reqwest::Client::new()
                .post(url)
                .body(body)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(reqwest::get(format!("{}/{path}", self.url)).await.unwrap()).await
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        let content_type = response.headers().get("content-type");
        Self {
            status: response.status().as_u16(),
            content_type: content_type
                .map(|v| v.to_str().unwrap().to_owned())
                .unwrap_or_default(),
            body: response.text().await.unwrap(),
        }
    }
}

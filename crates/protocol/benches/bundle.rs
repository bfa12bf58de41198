//! What verifying a bundle costs beside its signatures: `cargo bench -p counterfoil-protocol`.
//!
//! Verifies 10,000 records from bundles with batches of 1,024 and of 64, and the same signatures
//! bare with `verify_strict`, and prints the median of the ratios of rounds that take turns, so that
//! whatever else the machine does falls on both.

#![allow(missing_docs, reason = "a benchmark")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark stops on any error"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::Instant;

use ciborium::Value;
use counterfoil_protocol::bundle::Verifier;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::Level;
use criterion::{Criterion, Throughput};
use ed25519_dalek::{Signature, VerifyingKey};

use support::{ACME, GLOBEX, Log, START, Stream, encode, header, key, manifest};

const RECORDS: usize = 10_000;
const ROUNDS: usize = 15;

struct Bundle {
    trust: Trust,
    bytes: Vec<u8>,
    records: Vec<Vec<u8>>,
}

/// A bundle of calls, half of them to another operator, in batches of so many records.
fn bundle(batch: usize) -> Bundle {
    let mut log = Log::default();
    let manifest = manifest(ACME, &[&key("enforcer")], &[], None);
    let logged_at = log.append(&manifest);
    let mut stream = Stream::new(ACME, "enforcer");
    while stream.records.len() < RECORDS {
        if stream.records.len() % 4 == 1 {
            stream.local_call();
        } else {
            stream.remote_call(GLOBEX);
        }
        let first = stream.batches.last().map_or(0, |b| b.first + b.count);
        if stream.records.len() - first >= batch {
            stream.seal();
        }
    }
    stream.seal();
    stream.publish(&mut log);
    let checkpoint = log.checkpoint(2, START + 600);
    let manifests = vec![LoggedManifest {
        manifest,
        log_proof: Some(log.proof(logged_at, &checkpoint)),
    }];
    let parts = stream.parts(&log, &checkpoint, None, |_| true);
    let root = key("acme.example root");
    Bundle {
        trust: log.trust(&[(ACME, root.public())]),
        bytes: encode(&header(ACME, manifests), &parts),
        records: stream.records.into_iter().map(|made| made.bytes).collect(),
    }
}

impl Bundle {
    fn verify(&self) -> u64 {
        let verifier = Verifier::new(&self.trust, Level::Witnessed);
        let summary = verifier.run(self.bytes.chunks(64 << 10), |entry, _| {
            black_box(entry);
        });
        assert!(summary.is_good(), "{:?}", summary.failure());
        summary.records
    }

    /// What `verify_strict` is given for each record.
    fn signatures(&self) -> Vec<(Vec<u8>, Signature)> {
        self.records.iter().map(|record| signed(record)).collect()
    }
}

fn signed(record: &[u8]) -> (Vec<u8>, Signature) {
    let Value::Tag(18, inner) = ciborium::from_reader(record).unwrap() else {
        panic!("no COSE_Sign1");
    };
    let mut parts = inner.into_array().unwrap();
    let signature = parts.pop().unwrap().into_bytes().unwrap();
    let payload = parts.pop().unwrap();
    let protected = parts.swap_remove(0);
    let structure = Value::Array(vec![
        Value::from("Signature1"),
        protected,
        Value::Bytes(Vec::new()),
        payload,
    ]);
    let mut message = Vec::new();
    ciborium::into_writer(&structure, &mut message).unwrap();
    (message, Signature::from_slice(&signature).unwrap())
}

fn bare(key: &VerifyingKey, signatures: &[(Vec<u8>, Signature)]) {
    for (message, signature) in signatures {
        key.verify_strict(message, signature).unwrap();
    }
}

/// How many seconds it takes.
fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

fn main() {
    let public = VerifyingKey::from_bytes(key("enforcer").public().as_bytes()).unwrap();
    let bundles = [1024, 64].map(|batch| (batch, bundle(batch)));
    let signatures = bundles[0].1.signatures();
    let records = bundles[0].1.records.len();

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("bundle");
    group.sample_size(10);
    group.throughput(Throughput::Elements(records as u64));
    group.bench_function("verify_strict alone", |b| {
        b.iter(|| bare(&public, &signatures));
    });
    for (batch, bundle) in &bundles {
        group.bench_function(format!("batches of {batch}"), |b| {
            b.iter(|| bundle.verify());
        });
    }
    group.finish();

    for (batch, bundle) in &bundles {
        let signatures = bundle.signatures();
        let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
            .map(|_| {
                let alone = timed(|| bare(&public, &signatures));
                let whole = timed(|| {
                    bundle.verify();
                });
                (whole / alone, whole)
            })
            .collect();
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, whole) = rounds[ROUNDS / 2];
        let count = bundle.records.len();
        println!(
            "bundle, batches of {batch}: {:.0} records/s, {ratio:.3} times the time of {:.0} bare \
             signatures/s ({:.3} to {:.3}), {} bytes a record",
            count as f64 / whole,
            count as f64 / whole * ratio,
            rounds[0].0,
            rounds[ROUNDS - 1].0,
            bundle.bytes.len() / count
        );
    }
}

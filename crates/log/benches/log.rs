//! What the log does in a second and how long a receipt takes: `cargo bench -p counterfoil-log`.
//!
//! One process holds the log, two witnesses and the submitters, all over real sockets and real
//! disks. Prints latencies of one submitter to an integrated and to a witnessed proof, and entries
//! a second of 64 submitters.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark stops on any error"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use counterfoil_log::fsck;
use support::{Operator, Running, Witness, new_log, policy_of};

const TIME: Duration = Duration::from_secs(4);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}

async fn run() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let home = directory.path().join("log");
    let mut witnesses = Vec::new();
    for number in 0..2 {
        let home = directory.path().join(format!("w{number}"));
        let mut witness = Witness::new(home, &format!("witness.example/w{number}"), Vec::new());
        witness.start().await;
        witnesses.push(witness);
    }
    let policy = policy_of(&witnesses.iter().collect::<Vec<_>>());
    let identity = new_log(&home, Some(policy));
    for witness in &mut witnesses {
        witness.stop().await;
        witness.set_logs(std::slice::from_ref(&identity.verifier_key));
        witness.start().await;
    }
    let log = Arc::new(Running::start(&home).await);
    let mut operators = Vec::new();
    for number in 0..64_u8 {
        let mut operator = Operator::new(&format!("op{number}.example"), 2 * number);
        let manifest = operator.manifest();
        assert_eq!(
            log.register(manifest, &identity.admission_token)
                .await
                .status,
            200
        );
        operators.push(operator);
    }
    for wait in ["integrated", "witnessed"] {
        let start = Instant::now();
        let times = submit(&log, &mut operators[0], wait, start).await;
        report(&format!("1 submitter, {wait}"), times, start.elapsed());
    }
    for wait in ["integrated", "witnessed"] {
        let start = Instant::now();
        let tasks: Vec<_> = operators
            .drain(..)
            .map(|mut operator| {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let times = submit(&log, &mut operator, wait, start).await;
                    (operator, times)
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            let (operator, times) = task.await.unwrap();
            operators.push(operator);
            all.extend(times);
        }
        report(&format!("64 submitters, {wait}"), all, start.elapsed());
    }
    Arc::into_inner(log).unwrap().stop().await;
    let start = Instant::now();
    let size = fsck(&home).unwrap().size;
    println!(
        "full check of {size} entries: {:.2} s",
        start.elapsed().as_secs_f64()
    );
}

async fn submit(
    log: &Running,
    operator: &mut Operator,
    wait: &str,
    start: Instant,
) -> Vec<Duration> {
    let path = format!("/v1/entries?wait={wait}");
    let mut times = Vec::new();
    while start.elapsed() < TIME {
        let entry = operator.next();
        let begin = Instant::now();
        assert_eq!(log.post(&path, entry).await.status, 200);
        times.push(begin.elapsed());
    }
    times
}

fn report(label: &str, mut times: Vec<Duration>, elapsed: Duration) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    println!(
        "{label}: {rate:.0}/s, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
        at(0.5),
        at(0.95),
        at(0.99)
    );
}

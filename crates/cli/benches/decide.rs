//! How long a decision takes from the call to the durable verdict, and how many the enforcer makes
//! in a second, under the sample policy. A bare Ed25519 signature, measured in the same run, is the
//! yardstick.
//!
//! `cargo bench -p counterfoil --bench decide`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark stops at the first thing that goes wrong"
)]

#[path = "shared/times.rs"]
mod times;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use counterfoil_enforcer::call::{Call, Party};
use counterfoil_enforcer::environment::Environment;
use counterfoil_enforcer::journal;
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::{Completion, Decided, Enforcer, Settings};
use counterfoil_policy::PolicySet;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::record::OutcomeStatus;

use crate::times::Times;

fn main() {
    println!(
        "bare Ed25519 signature of 600 bytes: {:.1} us",
        times::signature_micros()
    );
    println!("callers  decisions/s  p50 ms  p99 ms  journal bytes/row");
    for (callers, decisions) in [(1, 5_000), (16, 60_000), (64, 100_000)] {
        run(callers, decisions);
    }
}

fn policy() -> PolicySet {
    let files = counterfoil_policy::sample();
    let bytes = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
    PolicySet::from_sources(files.iter().map(bytes).collect()).unwrap()
}

fn run(callers: usize, decisions: usize) {
    let directory = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    let path = directory.path().join("journal.sqlite");
    let key = SigningKey::from_seed(&[7; 32].into()).unwrap();
    let operator = "acme.example".parse().unwrap();
    let environment = Environment::system();
    journal::create(&path, &operator, &key, environment.clock.now()).unwrap();
    let (enforcer, _) = Enforcer::open(Settings {
        operator,
        key,
        policy: Arc::new(policy()),
        budgets: Vec::new(),
        journal: path.clone(),
        keep_clear_text: false,
        freshness_millis: 60_000,
        backlog_limit: None,
        batch_records: 1024,
        operators: Arc::new(Operators::default()),
        contracts: Default::default(),
        environment,
    })
    .unwrap();

    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    while next.fetch_add(1, Ordering::Relaxed) < decisions {
                        times.push(decide(&enforcer));
                    }
                    times
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let elapsed = start.elapsed();
    let times = Times::new(times);
    enforcer.close().unwrap();
    let rows = std::fs::metadata(&path).unwrap().len() / decisions as u64;
    println!(
        "{callers:>7}  {:>11.0}  {:>6.3}  {:>6.3}  {rows:>17}",
        decisions as f64 / elapsed.as_secs_f64(),
        times.millis(50),
        times.millis(99),
    );
}

fn decide(enforcer: &Enforcer) -> Duration {
    let parameters = br#"{"name":"read_ticket","arguments":{"id":"T-1001"}}"#;
    let call = Call {
        on_behalf_of: None,
        session: None,
        server: "desk".parse().unwrap(),
        verb: "tools/call".parse().unwrap(),
        tool: "read_ticket".parse().unwrap(),
        arguments: br#"{"id":"T-1001"}"#,
        parameters,
        attestations: &[],
    };
    let party = Party::Local {
        agent: "support-bot".parse().unwrap(),
    };
    let start = Instant::now();
    let decided = enforcer.authorize(&call, &party).unwrap().wait().unwrap();
    let time = start.elapsed();
    if std::env::var_os("WITH_OUTCOMES").is_some()
        && let Decided::Allowed(permit) = decided
    {
        let completion = Completion {
            status: OutcomeStatus::Succeeded,
            result: Some(b"{}"),
        };
        permit.complete(completion).unwrap().wait().unwrap();
    } else {
        // The outcome is another record; only decisions are counted here.
        std::mem::forget(decided);
    }
    time
}

//! Kills a real enforcer process and looks at what is left: every decision that was acknowledged
//! is in the journal, once, and the stream goes on without a fork.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use counterfoil_enforcer::journal::JournalReader;
use counterfoil_enforcer::seal::Sealer;
use counterfoil_enforcer::{Completion, Enforcer};
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::record::{OutcomeStatus, UnverifiedRecord};
use support::{World, allowed, call, local};

const ACME: &str = "acme.example";
const VICTIM: &str = "COUNTERFOIL_TEST_VICTIM_JOURNAL";

/// Runs only in the child process: decides as fast as it can on four threads, seals in between,
/// and prints the id of each record it has been told is durable.
#[test]
fn victim() {
    let Some(journal) = std::env::var_os(VICTIM) else {
        return;
    };
    let world = World::new();
    let mut settings = world.settings(ACME);
    settings.journal = journal.into();
    let enforcer = Enforcer::open(settings).unwrap().0;
    let mut sealer = Sealer::new(enforcer.clone()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let decided = enforcer.authorize(&call("read", b"{}"), &local()).unwrap();
                    let permit = allowed(decided.wait().unwrap());
                    print_line(&permit.record().to_string());
                    let completion = Completion {
                        status: OutcomeStatus::Succeeded,
                        result: Some(b"{}"),
                    };
                    let outcome = permit.complete(completion).unwrap();
                    let id = outcome.record.to_string();
                    outcome.wait().unwrap();
                    print_line(&id);
                }
            });
        }
        loop {
            sealer.seal().unwrap();
        }
    });
}

fn print_line(id: &str) {
    // One write for each line, so that the parent never sees half of one before the next.
    std::io::stdout()
        .write_all(format!("\ndurable {id}\n").as_bytes())
        .unwrap();
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let world = World::new();
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["victim", "--exact", "--nocapture", "--test-threads=1"])
            .env(VICTIM, world.journal(ACME))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seen = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let Ok(line) = line else { break };
            if let Some(id) = line.strip_prefix("durable ") {
                acknowledged.insert(id.to_owned());
                seen += 1;
                if seen == 50 * round {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(seen >= 50 * round, "the victim died by itself after {seen}");
    }

    let (enforcer, report) = world.try_open(ACME).unwrap();
    // Four threads had at most one call open each.
    assert!(report.unresolved <= 4, "{report:?}");
    Sealer::new(enforcer.clone()).unwrap().seal().unwrap();
    enforcer.close().unwrap();
    let reader = JournalReader::open(&world.journal(ACME)).unwrap();
    let mut ids = BTreeSet::new();
    let mut next = Sequence::new(0);
    loop {
        let page = reader.records(next, 1000).unwrap();
        let Some((last, _)) = page.last() else { break };
        next = last.next().unwrap();
        for (_, bytes) in &page {
            assert!(ids.insert(UnverifiedRecord::parse(bytes).unwrap().id().to_string()));
        }
    }
    let missing: Vec<_> = acknowledged.difference(&ids).collect();
    assert!(
        missing.is_empty(),
        "{} acknowledged records are missing",
        missing.len()
    );
}

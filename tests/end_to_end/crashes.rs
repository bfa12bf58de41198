//! `kill -9` of each process in the middle of a session: no acknowledged record is missing, no
//! batch or entry is there twice, every receipt verifies.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::manifest::UnverifiedManifest;
use serde_json::json;

use crate::agent::{Ended, HttpAgent};
use crate::world::{LIMIT, World};

/// How many answers the agent has before the process dies, and how many more after it is back.
const ANSWERS: u64 = 12;

#[test]
fn the_agents_gateway() {
    survives("acme");
}

#[test]
fn the_tools_gateway() {
    survives("globex");
}

#[test]
fn the_log() {
    survives("log");
}

#[test]
fn the_first_witness() {
    survives("w1");
}

#[test]
fn the_second_witness() {
    survives("w2");
}

/// The tool server is a process of globex's gateway, which starts another one for the next session.
#[test]
fn the_tool_server() {
    let mut world = World::start();
    let session = Session::start(world.url(), "tool");
    session.until("answers before", |calls| calls.done >= ANSWERS);
    let killed = world.kill_tool_servers();
    assert!(killed > 0);
    let before = session.calls().done;
    session.until("answers after", |calls| calls.done >= before + ANSWERS);
    check(&mut world, &session.stop());
}

fn survives(victim: &'static str) {
    let mut world = World::start();
    let session = Session::start(world.url(), victim);
    session.until("answers before", |calls| calls.done >= ANSWERS);
    world.kill(victim);
    // Whatever is under way meets the dead process.
    let met = session.goes_down() + 2;
    session.until("calls meanwhile", |calls| {
        calls.tried >= met || calls.waiting
    });
    world.start_process(victim);
    let before = session.is_up();
    session.until("answers after", |calls| calls.done >= before + ANSWERS);
    check(&mut world, &session.stop());
}

/// What must hold after a crash.
fn check(world: &mut World, acknowledged: &[String]) {
    nothing_is_missing(world, acknowledged);
    assert!(world.verify_all_receipts() as u64 > 4 * ANSWERS);
    nothing_is_there_twice(world);
    for home in ["acme", "globex"] {
        let report = world.good(&["journal", "verify", "--home", home]);
        assert_eq!(report["verified"], true, "{report:#}");
    }
    // The log is whole: every entry read, the tree built again, all checkpoints compared.
    world.stop("log");
    world.good(&["log", "check", "--dir", "log"]);
}

/// Everything the agent was told is done was done once, and both sides have records of it.
fn nothing_is_missing(world: &World, acknowledged: &[String]) {
    let did = world.did();
    let distinct: BTreeSet<&String> = did.iter().collect();
    assert_eq!(did.len(), distinct.len(), "the tool did something twice");
    let asked = disclosed(world, "acme", "request");
    let decided = disclosed(world, "globex", "decision");
    for query in acknowledged {
        let line = format!("searched for {query:?}");
        assert!(did.contains(&line), "{query} was answered and never done");
        assert!(asked.contains(query), "acme has no request for {query}");
        assert!(decided.contains(query), "globex has no decision on {query}");
    }
    // And the other way round: nothing was done that nobody has decided.
    for line in &did {
        let query = line.split('"').nth(1).unwrap();
        assert!(
            decided.contains(query),
            "{query} was done without a decision"
        );
        assert!(asked.contains(query), "{query} was done without a request");
    }
}

/// The queries in the parameters of an operator's records of one kind.
fn disclosed(world: &World, home: &str, kind: &str) -> BTreeSet<String> {
    let mut queries = BTreeSet::new();
    for record in world.records(home) {
        if record["kind"] != kind {
            continue;
        }
        let sequence = record["sequence"].to_string();
        let shown = world.good(&["journal", "show", "--home", home, &sequence]);
        for kept in shown["kept"].as_array().unwrap() {
            let content = kept["content"].as_str().unwrap();
            if kept["field"] == "parameters"
                && let Some((_, rest)) = content.split_once("\"query\":\"")
            {
                queries.insert(rest.split('"').next().unwrap().to_owned());
            }
        }
    }
    queries
}

/// Streams have every sequence once, and the log every entry once.
fn nothing_is_there_twice(world: &World) {
    for home in ["acme", "globex"] {
        let sequences: Vec<u64> = world
            .records(home)
            .iter()
            .map(|record| record["sequence"].as_u64().unwrap())
            .collect();
        let expected: Vec<u64> = (0..sequences.len() as u64).collect();
        assert_eq!(sequences, expected);
    }
    let entries = crate::offline::log_entries(&world.path("log"));
    let distinct: BTreeSet<&Vec<u8>> = entries.iter().collect();
    assert_eq!(entries.len(), distinct.len(), "the log has an entry twice");
    let keys: Vec<PublicKey> = entries
        .iter()
        .filter_map(|entry| UnverifiedManifest::parse(entry).ok())
        .flat_map(|manifest| {
            let verified = manifest.verify_first(|_| true).unwrap();
            verified.manifest().enforcers.clone()
        })
        .collect();
    let mut batches = BTreeSet::new();
    for entry in &entries {
        if let Ok(commitment) = UnverifiedCommitment::parse(entry) {
            let kid = commitment.kid();
            let key = keys.iter().find(|key| key.thumbprint() == kid).unwrap();
            let number = commitment.verify(key).unwrap().commitment().number;
            assert!(
                batches.insert((kid, number)),
                "batch {number} is logged twice"
            );
        }
    }
    assert!(batches.len() >= 2);
}

/// An agent that calls without pause, each time with a query that nobody used before. Once a call
/// fails while a process is known to be down, it waits until that process is up again.
#[derive(Debug)]
struct Session {
    progress: Arc<Progress>,
    thread: JoinHandle<Vec<String>>,
}

#[derive(Debug, Default)]
struct Progress {
    calls: Mutex<Calls>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Calls {
    tried: u64,
    done: u64,
    /// A process is down.
    down: bool,
    /// A call has failed because of that, and there is no other before it is up.
    waiting: bool,
    /// There is to be no other call at all.
    enough: bool,
}

impl Progress {
    fn change(&self, change: impl FnOnce(&mut Calls)) {
        change(&mut self.calls.lock().unwrap());
        self.changed.notify_all();
    }

    /// Begins a call, unless there were enough.
    fn begins(&self) -> bool {
        let mut calls = self.calls.lock().unwrap();
        if calls.enough {
            return false;
        }
        calls.tried += 1;
        self.changed.notify_all();
        true
    }

    fn has_failed(&self) {
        let mut calls = self.calls.lock().unwrap();
        calls.waiting = calls.down;
        self.changed.notify_all();
        let still = |calls: &mut Calls| calls.down && !calls.enough;
        drop(self.changed.wait_while(calls, still).unwrap());
    }
}

impl Session {
    fn start(url: String, name: &'static str) -> Self {
        let progress = Arc::new(Progress::default());
        let shared = Arc::clone(&progress);
        let thread = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            let mut agent = None;
            for number in 0_u64.. {
                if !shared.begins() {
                    break;
                }
                let query = format!("{name}-{number}");
                let ended = match agent.take().map_or_else(|| HttpAgent::connect(&url), Ok) {
                    Ok(mut connected) => {
                        let ended = connected.call("search", json!({ "query": query }));
                        agent = Some(connected);
                        ended
                    }
                    Err(error) => Err(error),
                };
                match ended {
                    Ok(Ended::Done(_)) => {
                        acknowledged.push(query);
                        shared.change(|calls| calls.done += 1);
                    }
                    // A new session: the gateway of either side may have forgotten the old one.
                    _ => {
                        agent = None;
                        shared.has_failed();
                    }
                }
            }
            acknowledged
        });
        Self { progress, thread }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.progress.calls.lock().unwrap()
    }

    /// Waits until the calls have come so far.
    fn until(&self, what: &str, come: impl Fn(&Calls) -> bool) {
        let (_calls, waited) = self
            .progress
            .changed
            .wait_timeout_while(self.calls(), LIMIT, |calls| !come(calls))
            .unwrap();
        assert!(!waited.timed_out(), "{what}: not within {LIMIT:?}");
    }

    /// A process has died. Returns how many calls were tried before this was known.
    fn goes_down(&self) -> u64 {
        let mut calls = self.calls();
        calls.down = true;
        calls.tried
    }

    /// The process is back. Returns how many calls were answered before that.
    fn is_up(&self) -> u64 {
        let mut done = 0;
        self.progress.change(|calls| {
            (calls.down, calls.waiting) = (false, false);
            done = calls.done;
        });
        done
    }

    fn stop(self) -> Vec<String> {
        self.progress.change(|calls| calls.enough = true);
        self.thread.join().unwrap()
    }
}

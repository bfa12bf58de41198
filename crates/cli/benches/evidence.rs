//! How large evidence is, and how soon it is there: bytes per record, per receipt and per journal
//! row, and the time from a decision to its witnessed receipt.
//!
//! Everything is real: acme's agent talks to `counterfoil mcp`, which calls a tool behind globex's
//! `counterfoil gateway serve`; a log and two witnesses run beside them, and both must cosign. A
//! decision's time is the one that its record states. Its receipt is there when it can be built
//! from the journal and verifies as witnessed, for which the journal is watched.
//!
//! `cargo bench -p counterfoil --bench evidence`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops at the first thing that goes wrong"
)]

#[path = "shared/echo.rs"]
mod echo;
#[path = "shared/times.rs"]
mod times;
#[path = "shared/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use counterfoil_enforcer::journal::JournalReader;
use counterfoil_enforcer::receipts::ReceiptBuilder;
use counterfoil_gateway::home::{Home, read_manifests};
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::{Level, verify};

use crate::times::Times;
use crate::world::World;

/// Calls whose receipts are timed, and the time between two: no divisor of the batch interval, so
/// that they meet it everywhere.
const TIMED: usize = 60;
const BETWEEN: Duration = Duration::from_millis(213);
/// Calls that fill the journals.
const FILLING: usize = 1_000;
/// Between two looks into a journal.
const LOOK: Duration = Duration::from_millis(2);

fn main() {
    if std::env::var_os(echo::SERVER).is_some() {
        return echo::serve();
    }
    let directory = echo::directory();
    let world = World::set_up(directory.path());
    println!(
        "bare Ed25519 signature of 600 bytes: {:.1} us",
        times::signature_micros()
    );
    println!();
    println!("decision to witnessed receipt, {TIMED} calls");
    println!("batch every  whose decision     p50 ms    p90 ms    max ms");
    let configured = 1_000;
    for interval in [configured, 100] {
        world.set_interval(configured, interval);
        time_receipts(&world, interval);
        world.set_interval(interval, configured);
    }
    fill(&world);
    for home in ["acme", "globex"] {
        print_sizes(&world, home);
    }
}

fn time_receipts(world: &World, interval: u64) {
    let globex = world.serve("gateway serve --home globex");
    let mut agent = world.agent();
    let ended = AtomicBool::new(false);
    let (acme_times, globex_times) = thread::scope(|scope| {
        let watch = |home: &str, kind: &'static str| {
            let watcher = Watcher::new(&Home::new(world.path(home)));
            let ended = &ended;
            scope.spawn(move || watcher.watch(kind, ended))
        };
        let acme = watch("acme", "request");
        let globex = watch("globex", "decision");
        for id in 0..TIMED {
            agent.send(id);
            assert_eq!(agent.answered(), id);
            thread::sleep(BETWEEN);
        }
        ended.store(true, Ordering::SeqCst);
        (acme.join().unwrap(), globex.join().unwrap())
    });
    agent.end();
    globex.end();
    for (whose, times) in [
        ("acme (request)", acme_times),
        ("globex (decision)", globex_times),
    ] {
        assert_eq!(times.len(), TIMED, "{whose}");
        let times = Times::new(times);
        println!(
            "{interval:>8} ms  {whose:<17} {:>7.0}   {:>7.0}   {:>7.0}",
            times.millis(50),
            times.millis(90),
            times.millis(100),
        );
    }
}

/// Waits for receipts beside the process that writes the journal.
struct Watcher {
    builder: ReceiptBuilder,
    trust: Trust,
    next: Sequence,
}

impl Watcher {
    /// Of the records that come from now on.
    fn new(home: &Home) -> Self {
        let reader = JournalReader::open(&home.journal()).unwrap();
        Self {
            next: last(&reader).next().unwrap(),
            builder: ReceiptBuilder::new(reader, read_manifests(&home.manifests()).unwrap()),
            trust: Trust::parse(&std::fs::read(home.trust()).unwrap()).unwrap(),
        }
    }

    /// Waits for the witnessed receipt of every record, in order, until the session has ended and
    /// all have theirs. Returns the times of those of one kind.
    fn watch(mut self, kind: &str, ended: &AtomicBool) -> Vec<Duration> {
        let mut times = Vec::new();
        loop {
            let all = ended.load(Ordering::SeqCst);
            let page = self.builder.reader().records(self.next, 64).unwrap();
            if page.is_empty() && all {
                return times;
            }
            for (sequence, bytes) in page {
                let record = UnverifiedRecord::parse(&bytes).unwrap();
                let content = record.unverified_content();
                let at = self.witnessed(sequence);
                if content.body.kind() == kind {
                    let decided = Duration::from_millis(content.time.get());
                    times.push(at.saturating_sub(decided));
                }
                self.next = sequence.next().unwrap();
            }
            thread::sleep(LOOK);
        }
    }

    /// When the receipt of a record was there, since the epoch.
    fn witnessed(&mut self, sequence: Sequence) -> Duration {
        loop {
            let batch = self.builder.reader().batch_of(sequence).unwrap();
            if batch.is_some_and(|batch| batch.log_proof.is_some()) {
                let receipt = self.builder.build(sequence, &[]).unwrap().encode();
                if verify(&receipt, &self.trust, Level::Witnessed).is_verified() {
                    return SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                }
            }
            thread::sleep(LOOK);
        }
    }
}

/// The newest record.
fn last(reader: &JournalReader) -> Sequence {
    let mut first = Sequence::new(0);
    loop {
        let page = reader.records(first, 4_096).unwrap();
        match page.last().and_then(|(last, _)| last.next()) {
            Some(next) => first = next,
            None => return Sequence::new(first.get() - 1),
        }
    }
}

/// Fills both journals and gets the receipts of everything in them.
fn fill(world: &World) {
    let globex = world.serve("gateway serve --home globex");
    let mut agent = world.agent();
    for id in 0..FILLING {
        agent.send(id);
        assert_eq!(agent.answered(), id);
    }
    for home in ["acme", "globex"] {
        world.run(&format!(
            "receipt get --home {home} --all --wait witnessed --out {home}-receipts"
        ));
    }
    agent.end();
    globex.end();
}

/// Sizes of one kind of thing, in bytes.
#[derive(Debug, Default)]
struct Sizes(Vec<usize>);

impl Sizes {
    fn show(&self) -> String {
        let average = self.0.iter().sum::<usize>() / self.0.len();
        format!(
            "{average:>6} {:>6} {:>6}",
            self.0.iter().min().unwrap(),
            self.0.iter().max().unwrap()
        )
    }
}

fn print_sizes(world: &World, home: &str) {
    let mut kinds: BTreeMap<&'static str, (Sizes, Sizes)> = BTreeMap::new();
    for file in std::fs::read_dir(world.path(&format!("{home}-receipts"))).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let receipt = Receipt::parse(&bytes).unwrap();
        let record = UnverifiedRecord::parse(&receipt.record).unwrap();
        for kind in [record.unverified_content().body.kind(), "all"] {
            let (records, receipts) = kinds.entry(kind).or_default();
            records.0.push(receipt.record.len());
            receipts.0.push(bytes.len());
        }
    }
    println!();
    println!("{home}: bytes           record               witnessed receipt");
    println!("kind         count    avg    min    max      avg    min    max");
    for (kind, (records, receipts)) in kinds {
        println!(
            "{kind:<10} {:>7} {}   {}",
            records.0.len(),
            records.show(),
            receipts.show()
        );
    }
    print_rows(&Home::new(world.path(home)));
}

/// The journal after it was closed: one file.
fn print_rows(home: &Home) {
    let reader = JournalReader::open(&home.journal()).unwrap();
    let own = last(&reader).get() + 1;
    let (mut received, mut after) = (0, 0);
    loop {
        let page = reader.received(after, 4_096).unwrap();
        let Some(row) = page.last() else { break };
        after = row.number;
        received += page.len() as u64;
    }
    let bytes = size(&home.journal());
    println!(
        "journal {bytes} bytes, {own} own records, {received} received: {} bytes per row",
        bytes / (own + received)
    );
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

//! What a durable write costs: `cargo bench -p counterfoil-durable`.
//!
//! Prints writes per second and latency percentiles for 1 and 64 writers of 1 KiB rows, beside a
//! bare write and sync of the same size on the same disk in the same run.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark stops on any error"
)]

use std::{
    io::Write,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use counterfoil_durable::{
    committer::{Committer, Options, Writer},
    sqlite::{self, Format},
};
use rusqlite::Transaction;

const FORMAT: Format = Format {
    application_id: 1,
    version: 1,
    schema: "CREATE TABLE item (id INTEGER PRIMARY KEY, content BLOB)",
    busy_timeout: Duration::from_secs(1),
};

struct Rows;

impl Writer for Rows {
    type Item = Vec<u8>;

    fn write(
        &mut self,
        transaction: &Transaction<'_>,
        items: &[Vec<u8>],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut insert = transaction.prepare_cached("INSERT INTO item (content) VALUES (?1)")?;
        for item in items {
            insert.execute((item,))?;
        }
        Ok(())
    }
}

fn main() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let seconds = Duration::from_secs(3);

    let mut file = std::fs::File::create(directory.path().join("raw")).unwrap();
    let mut raw = Vec::new();
    let start = Instant::now();
    while start.elapsed() < seconds {
        let begin = Instant::now();
        file.write_all(&[7; 1024]).unwrap();
        file.sync_data().unwrap();
        raw.push(begin.elapsed());
    }
    report("bare write + fdatasync", raw, seconds);

    for writers in [1, 64] {
        let path = directory.path().join(format!("{writers}.sqlite"));
        let connection = sqlite::create(&path, &FORMAT).unwrap();
        let committer = Committer::spawn(connection, Rows, Options::default()).unwrap();
        let all = Mutex::new(Vec::new());
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    while start.elapsed() < seconds {
                        let begin = Instant::now();
                        committer.submit(vec![7; 1024]).unwrap().wait().unwrap();
                        times.push(begin.elapsed());
                    }
                    all.lock().unwrap().extend(times);
                });
            }
        });
        let label = format!("committer, {writers} writers");
        report(&label, all.into_inner().unwrap(), start.elapsed());
    }
}

fn report(label: &str, mut times: Vec<Duration>, elapsed: Duration) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    println!(
        "{label}: {rate:.0}/s, p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

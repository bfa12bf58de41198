//! What the gateway adds to a stdio `tools/call`, with a signed and synced record for each.
//!
//! The same client drives the same tiny server twice in one run: directly, and through
//! `counterfoil mcp`. Both are run free and pinned to one CPU, which takes wake-ups across CPUs out
//! of the picture. A bare Ed25519 signature and a synced 1 kB write are measured beside them.
//!
//! `cargo bench -p counterfoil --bench stdio`

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

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::echo::{Client, SERVER};
use crate::times::Times;

const CLIENT: &str = "BENCH_STDIO_CLIENT";
const CALLS: usize = 4_000;

fn main() {
    if std::env::var_os(SERVER).is_some() {
        return echo::serve();
    }
    if let Some(what) = std::env::var_os(CLIENT) {
        return client(what.to_str().unwrap());
    }
    let directory = echo::directory();
    println!(
        "bare Ed25519 signature of 600 bytes: {:.1} us",
        times::signature_micros()
    );
    println!(
        "1 kB write and fdatasync: {:.3} ms",
        sync(directory.path()).millis(50)
    );
    println!();
    println!("                     in flight   p50 ms   p95 ms   p99 ms   calls/s");
    for pinned in [false, true] {
        for in_flight in [1, 16] {
            let mut direct = None;
            for what in ["direct", "gateway"] {
                let home = directory
                    .path()
                    .join(format!("{what}-{pinned}-{in_flight}"));
                let line = run_client(what, &home, pinned, in_flight);
                let place = if pinned { "pinned" } else { "free" };
                println!("{place:>6} {what:>13} {in_flight:>9} {}", show(&line));
                let base = *direct.get_or_insert(line);
                if what == "gateway" {
                    let added = [line[0] - base[0], line[1] - base[1], line[2] - base[2], 0.0];
                    println!("{place:>6} {:>13} {in_flight:>9} {}", "added", show(&added));
                }
            }
        }
    }
}

fn show(line: &[f64; 4]) -> String {
    let rate = if line[3] > 0.0 {
        format!("{:.0}", line[3])
    } else {
        String::new()
    };
    format!(
        "{:>8.3} {:>8.3} {:>8.3} {rate:>9}",
        line[0], line[1], line[2]
    )
}

fn run_client(what: &str, home: &Path, pinned: bool, in_flight: usize) -> [f64; 4] {
    if what == "gateway" {
        make_home(home);
    }
    let own = std::env::current_exe().unwrap();
    let mut command = if pinned {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(own);
        command
    } else {
        Command::new(own)
    };
    let output = command
        .env(CLIENT, format!("{what} {in_flight} {}", home.display()))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the client failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    numbers.try_into().unwrap()
}

fn client(what: &str) {
    let mut words = what.splitn(3, ' ');
    let (what, in_flight, home) = (
        words.next().unwrap(),
        words.next().unwrap().parse().unwrap(),
        words.next().unwrap(),
    );
    let mut client = start(what, Path::new(home));

    let warm = CALLS / 10;
    let mut times = Vec::new();
    let mut sent: HashMap<usize, Instant> = HashMap::new();
    let mut next = 0;
    let mut start = Instant::now();
    while times.len() < CALLS + warm {
        if times.len() == warm && sent.len() <= in_flight {
            start = Instant::now();
        }
        while sent.len() < in_flight && next < CALLS + warm {
            sent.insert(next, Instant::now());
            client.send(next);
            next += 1;
        }
        let id = client.answered();
        times.push(sent.remove(&id).unwrap().elapsed());
    }
    let elapsed = start.elapsed();
    let times = Times::new(times.split_off(warm));
    println!(
        "{} {} {} {}",
        times.millis(50),
        times.millis(95),
        times.millis(99),
        CALLS as f64 / elapsed.as_secs_f64()
    );
    client.end();
}

fn start(what: &str, home: &Path) -> Client {
    let own = std::env::current_exe().unwrap();
    let mut command = if what == "direct" {
        Command::new(own)
    } else {
        let mut command = echo::counterfoil();
        command
            .args(["mcp", "--home"])
            .arg(home)
            .args(["--agent", "bot", "--"])
            .arg(own);
        command
    };
    // The client's own setting must not make the server a client.
    Client::start(command.env_remove(CLIENT).env(SERVER, "1"))
}

fn make_home(home: &Path) {
    let status = echo::counterfoil()
        .args(["init", "--operator", "acme.example", "--home"])
        .arg(home)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "init failed");
    echo::allow_echo(home);
}

fn sync(directory: &Path) -> Times {
    let mut file = File::create(directory.join("sync")).unwrap();
    let times: Vec<Duration> = (0..500)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[0; 1024]).unwrap();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    Times::new(times)
}

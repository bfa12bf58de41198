//! What the handshake between two operators adds to a call: time, and bytes on the wire.
//!
//! The same client calls the same tiny tool, directly over pipes, and through acme's
//! `counterfoil mcp` and globex's `counterfoil gateway serve`, with a request, a decision and two
//! outcomes signed and synced for each call. For the bytes, a relay between the two gateways reads
//! along and measures the evidence members of requests and answers.
//!
//! `cargo bench -p counterfoil --bench handshake`

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

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use crate::echo::{Client, SERVER};
use crate::times::Times;
use crate::world::World;

const CALLS: usize = 2_000;
const MEASURED: usize = 100;
const MEMBER: &str = "\"dev.counterfoil/evidence\":";

fn main() {
    if std::env::var_os(SERVER).is_some() {
        return echo::serve();
    }
    let directory = echo::directory();
    let world = World::set_up(directory.path());
    println!(
        "bare Ed25519 signature of 600 bytes: {:.1} us",
        times::signature_micros()
    );
    println!();
    println!("            in flight   p50 ms   p95 ms   p99 ms   calls/s");
    // Batches come often enough to be a part of what is measured.
    world.set_interval(1_000, 250);
    let globex = world.serve("gateway serve --home globex");
    for in_flight in [1, 16] {
        let own = std::env::current_exe().unwrap();
        let direct = time(Client::start(Command::new(own).env(SERVER, "1")), in_flight);
        let crossing = time(world.agent(), in_flight);
        show("direct", in_flight, &direct);
        show("handshake", in_flight, &crossing);
        let added = [50, 95, 99].map(|share| crossing.0.millis(share) - direct.0.millis(share));
        println!(
            "{:>11} {in_flight:>9} {:>8.3} {:>8.3} {:>8.3}",
            "added", added[0], added[1], added[2]
        );
    }
    measure_bytes(&world);
    globex.end();
}

fn show(what: &str, in_flight: usize, (times, rate): &(Times, f64)) {
    println!(
        "{what:>11} {in_flight:>9} {:>8.3} {:>8.3} {:>8.3} {:>9.0}",
        times.millis(50),
        times.millis(95),
        times.millis(99),
        rate
    );
}

/// Times of calls, and how many a second there were.
fn time(mut client: Client, in_flight: usize) -> (Times, f64) {
    let warm = CALLS / 10;
    let mut times = Vec::new();
    let mut sent: HashMap<usize, Instant> = HashMap::new();
    let mut next = 0;
    let mut start = Instant::now();
    while times.len() < CALLS + warm {
        if times.len() == warm {
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
    let rate = CALLS as f64 / start.elapsed().as_secs_f64();
    client.end();
    (Times::new(times.split_off(warm)), rate)
}

/// Calls through a relay that keeps what passes, and the sizes of the evidence in it.
fn measure_bytes(world: &World) {
    let home = world.path("acme").join("operator.toml");
    let before = std::fs::read_to_string(&home).unwrap();
    let line = before
        .lines()
        .find(|line| line.starts_with("url = ") && line.contains("/mcp/echo"))
        .unwrap();
    let address: SocketAddr = line
        .split_once("http://")
        .unwrap()
        .1
        .split_once('/')
        .unwrap()
        .0
        .parse()
        .unwrap();
    let passed = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let relay = relay(address, Arc::clone(&passed));
    let through = before.replace(
        line,
        &line.replace(&address.to_string(), &relay.to_string()),
    );
    std::fs::write(&home, through).unwrap();
    let mut agent = world.agent();
    for id in 0..MEASURED {
        agent.send(id);
        assert_eq!(agent.answered(), id);
    }
    agent.end();
    std::fs::write(&home, before).unwrap();
    let passed = passed.lock().unwrap();
    println!();
    println!("evidence member, bytes      avg    min    max");
    for (what, bytes) in [("in the call", &passed.0), ("in the answer", &passed.1)] {
        let sizes = members(bytes);
        assert!(sizes.len() >= MEASURED, "{what}: {} members", sizes.len());
        println!(
            "{what:<22} {:>8} {:>6} {:>6}",
            sizes.iter().sum::<usize>() / sizes.len(),
            sizes.iter().min().unwrap(),
            sizes.iter().max().unwrap()
        );
    }
}

/// The lengths of all evidence members, names and values.
fn members(bytes: &[u8]) -> Vec<usize> {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices(MEMBER)
        .filter_map(|(at, _)| {
            // The value is an object without objects in it.
            let end = text.get(at..)?.find('}')?;
            Some(end + 1)
        })
        .collect()
}

type Passed = Arc<Mutex<(Vec<u8>, Vec<u8>)>>;

fn relay(target: SocketAddr, passed: Passed) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(target).unwrap();
            for (from, to, there) in [
                (
                    client.try_clone().unwrap(),
                    server.try_clone().unwrap(),
                    true,
                ),
                (server, client, false),
            ] {
                let passed = Arc::clone(&passed);
                let hosts = [address.to_string(), target.to_string()];
                thread::spawn(move || copy(from, to, there, &passed, &hosts));
            }
        }
    });
    address
}

/// Copies bytes. A gateway answers only under its own name: the one in the requests is exchanged.
fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    there: bool,
    passed: &Passed,
    [relay, target]: &[String; 2],
) {
    assert_eq!(relay.len(), target.len(), "ports of five digits");
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        {
            let mut passed = passed.lock().unwrap();
            let kept = if there { &mut passed.0 } else { &mut passed.1 };
            kept.extend_from_slice(&buffer[..read]);
        }
        if there {
            let host = buffer[..read]
                .windows(relay.len())
                .position(|window| window == relay.as_bytes());
            if let Some(at) = host {
                buffer[at..at + relay.len()].copy_from_slice(target.as_bytes());
            }
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

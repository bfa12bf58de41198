//! The price of the strongest guarantee: a call whose request is witnessed before it is executed,
//! against the same call without a contract.
//!
//! Everything is real: acme's agent talks to `counterfoil mcp`, which calls a tool behind globex's
//! `counterfoil gateway serve`; a log and two witnesses run beside them, and both must cosign. The
//! agent makes one call after another and waits for each answer. For a witnessed call acme seals its
//! request, has it logged and cosigned, and sends the receipt along; globex verifies it first.
//!
//! `cargo bench -p counterfoil --bench witnessed`

#![allow(
    dead_code,
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

use std::time::{Duration, Instant};

use crate::times::Times;
use crate::world::World;

/// Calls that are timed.
const TIMED: usize = 200;
/// Calls before that.
const WARM_UP: usize = 10;

const TERMS: &str = r#"
asking = "acme.example"
asked = "globex.example"
expires = 2100-01-01T00:00:00Z
publish_delay_seconds = 60

[levels]
all = "witnessed"

[[permissions]]
server = "echo"
tool = "*"
tier = "all"
"#;

fn main() {
    if std::env::var_os(echo::SERVER).is_some() {
        return echo::serve();
    }
    let directory = echo::directory();
    let world = World::set_up(directory.path());
    println!("{TIMED} calls, one after another");
    println!("batch every  evidence before the call    p50 ms    p90 ms    p99 ms    max ms");
    let configured = 1_000;
    for (evidence, interval) in [
        ("signed", configured),
        ("signed", 100),
        ("witnessed", configured),
        ("witnessed", 100),
    ] {
        if evidence == "witnessed" && interval == configured {
            agree(&world);
        }
        world.set_interval(configured, interval);
        let times = Times::new(time_calls(&world));
        world.set_interval(interval, configured);
        println!(
            "{interval:>8} ms  {evidence:<24} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
            times.millis(50),
            times.millis(90),
            times.millis(99),
            times.millis(100),
        );
    }
}

/// Both gateways run while the operators agree.
fn agree(world: &World) {
    let globex = world.serve("gateway serve --home globex");
    let acme = world.serve("gateway serve --home acme");
    std::fs::write(world.path("terms.toml"), TERMS).unwrap();
    let proposed = world.run("contract propose --home acme terms.toml");
    let contract = proposed["contract"].as_str().unwrap();
    let accepted = world.run(&format!("contract accept --home globex {contract}"));
    assert!(accepted["undelivered"].is_null(), "{accepted}");
    acme.end();
    globex.end();
}

fn time_calls(world: &World) -> Vec<Duration> {
    let globex = world.serve("gateway serve --home globex");
    let mut agent = world.agent();
    let mut times = Vec::with_capacity(TIMED);
    for id in 0..WARM_UP + TIMED {
        let begin = Instant::now();
        agent.send(id);
        assert_eq!(agent.answered(), id);
        if id >= WARM_UP {
            times.push(begin.elapsed());
        }
    }
    agent.end();
    globex.end();
    times
}

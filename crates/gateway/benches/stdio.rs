//! What the gateway adds to a `tools/call` over stdio, with a signed record that is synced before
//! the call goes on. Three processes, as in real use: this one is the agent.
//!
//! `cargo bench -p counterfoil-gateway --bench stdio` prints the round trip of a call without and
//! with a gateway, one and sixteen in flight. Pin it to one CPU with `taskset -c 0`.

#![allow(missing_docs, reason = "a benchmark")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_debug_implementations,
    reason = "a benchmark stops at the first thing that goes wrong"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use counterfoil_enforcer::environment::Environment;
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::policy::{Allowed, Evaluation, EvaluationInput, Policy};
use counterfoil_enforcer::{Enforcer, Settings, journal};
use counterfoil_gateway::proxy::{Caller, Direction, Gate, Proxy};
use counterfoil_gateway::stdio::{self, Limits};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::{AgentName, OperatorName, PolicyId, ServerName};
use counterfoil_protocol::numbers::{Amount, UnixMillis};
use zeroize::Zeroizing;

const ROLE: &str = "BENCH_ROLE";
const HOME: &str = "BENCH_HOME";

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("server") => serve(),
        Ok("gateway") => gateway(),
        _ => measure(),
    }
}

/// Answers every call at once.
fn serve() {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let id = line.split("\"id\":").nth(1).unwrap();
        let id = id.split(',').next().unwrap();
        let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[]}}}}\n");
        out.write_all(answer.as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

#[derive(Debug)]
struct AllowAll;

impl Policy for AllowAll {
    fn evaluate(&self, _: &EvaluationInput<'_>) -> Evaluation {
        Evaluation::Allow(Allowed {
            policies: vec![PolicyId::literal("all")],
            tier: None,
            points: Amount::new(0),
        })
    }

    fn digest(&self) -> ContentDigest {
        ContentDigest::of(b"all")
    }
}

fn gateway() {
    let home = std::path::PathBuf::from(std::env::var_os(HOME).unwrap());
    let path = home.join(journal::FILE_NAME);
    let operator = OperatorName::new("acme.example").unwrap();
    let key = SigningKey::from_seed(&Zeroizing::new([1; 32])).unwrap();
    journal::create(&path, &operator, &key, UnixMillis::new(1_000)).unwrap();
    let settings = Settings {
        operator,
        key,
        policy: Arc::new(AllowAll),
        budgets: vec![],
        journal: path,
        keep_clear_text: false,
        freshness_millis: 60_000,
        backlog_limit: None,
        batch_records: 1_024,
        operators: Arc::new(Operators::default()),
        environment: Environment::system(),
    };
    let (enforcer, _) = Enforcer::open(settings).unwrap();
    let caller = Caller {
        agent: AgentName::new("bench").unwrap(),
        session: None,
    };
    let server = ServerName::new("echo").unwrap();
    let gate = Gate::Open(enforcer.clone());
    let proxy = Proxy::new(gate, server, Direction::Local, caller, 1 << 20);
    let binary = std::env::current_exe().unwrap();
    let role = format!("{ROLE}=server");
    let words = ["env", &role, binary.to_str().unwrap()];
    let command = stdio::Command::new(words).unwrap();
    let limits = Limits {
        call: Duration::from_secs(60),
        exit: Duration::from_secs(5),
    };
    stdio::wrap(
        Arc::new(proxy),
        &command,
        std::io::stdin(),
        std::io::stdout(),
        limits,
    )
    .unwrap();
    enforcer.close().unwrap();
}

fn measure() {
    let calls: u64 = std::env::var("BENCH_CALLS").map_or(3_000, |calls| calls.parse().unwrap());
    println!("round trip of a tools/call in ms: p50 / p95 / p99, calls a second");
    for in_flight in [1, 16] {
        for role in ["server", "gateway"] {
            let (times, rate) = drive(role, in_flight, calls);
            let at = |percent: usize| {
                let index = (times.len() * percent / 100).min(times.len() - 1);
                times[index].as_secs_f64() * 1_000.0
            };
            let name = if role == "server" {
                "direct"
            } else {
                "gateway"
            };
            println!(
                "{in_flight:>2} in flight, {name:>7}: {:.3} / {:.3} / {:.3}, {rate:.0}",
                at(50),
                at(95),
                at(99)
            );
        }
    }
}

fn start(role: &str, home: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(ROLE, role)
        .env(HOME, home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Keeps `in_flight` calls on their way until `calls` have been answered.
fn drive(role: &str, in_flight: u64, calls: u64) -> (Vec<Duration>, f64) {
    let place = std::env::var_os("BENCH_DIR").unwrap_or_else(|| std::env::temp_dir().into());
    let home = tempfile::tempdir_in(place).unwrap();
    let mut child = start(role, home.path());
    let mut to = child.stdin.take().unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    let warm_up = 200;
    let mut sent = vec![Instant::now(); usize::try_from(calls + warm_up).unwrap()];
    let mut times = Vec::new();
    let mut send = |id: u64, sent: &mut Vec<Instant>| {
        let line = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\
             \"echo\",\"arguments\":{{\"text\":\"0123456789abcdef0123456789abcdef\"}}}}}}\n"
        );
        sent[usize::try_from(id).unwrap()] = Instant::now();
        to.write_all(line.as_bytes()).unwrap();
    };
    let mut next = 0;
    while next < in_flight {
        send(next, &mut sent);
        next += 1;
    }
    let mut begun = Instant::now();
    let mut line = String::new();
    for answered in 0..calls + warm_up {
        if answered == warm_up {
            begun = Instant::now();
        }
        line.clear();
        from.read_line(&mut line).unwrap();
        let id = line.split("\"id\":").nth(1).unwrap();
        let id: usize = id.split(',').next().unwrap().parse().unwrap();
        if answered >= warm_up {
            times.push(sent[id].elapsed());
        }
        if next < calls + warm_up {
            send(next, &mut sent);
            next += 1;
        }
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    drop(to);
    child.wait().unwrap();
    times.sort_unstable();
    (times, rate)
}

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

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use counterfoil_protocol::keys::SigningKey;

const SERVER: &str = "BENCH_STDIO_SERVER";
const CLIENT: &str = "BENCH_STDIO_CLIENT";
const CALLS: usize = 4_000;

fn main() {
    if std::env::var_os(SERVER).is_some() {
        return serve();
    }
    if let Some(what) = std::env::var_os(CLIENT) {
        return client(what.to_str().unwrap());
    }
    let directory = tempfile::tempdir_in(target_directory()).unwrap();
    println!(
        "bare Ed25519 signature of 600 bytes: {:.1} us",
        signature().as_secs_f64() * 1e6
    );
    println!(
        "1 kB write and fdatasync: {:.3} ms",
        sync(directory.path()).as_secs_f64() * 1e3
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
    let mut child = start(what, Path::new(home));
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    input.write_all(handshake().as_bytes()).unwrap();
    output.read_line(&mut line).unwrap();

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
            input.write_all(call(next).as_bytes()).unwrap();
            next += 1;
        }
        line.clear();
        assert_ne!(
            output.read_line(&mut line).unwrap(),
            0,
            "the server went away"
        );
        let id = id_of(&line);
        assert!(
            !line.contains("isError\":true"),
            "a call was denied: {line}"
        );
        times.push(sent.remove(&id).unwrap().elapsed());
    }
    let elapsed = start.elapsed();
    let mut times = times.split_off(warm);
    times.sort_unstable();
    let at =
        |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{} {} {} {}",
        at(50),
        at(95),
        at(99),
        CALLS as f64 / elapsed.as_secs_f64()
    );
    drop(input);
    child.wait().unwrap();
}

fn start(what: &str, home: &Path) -> Child {
    let own = std::env::current_exe().unwrap();
    let mut command = if what == "direct" {
        Command::new(own)
    } else {
        let mut command = Command::new(binary());
        command
            .args(["mcp", "--home"])
            .arg(home)
            .args(["--agent", "bot", "--"])
            .arg(own);
        command
    };
    // The client's own setting must not make the server a client.
    command.env_remove(CLIENT).env(SERVER, "1");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn make_home(home: &Path) {
    let status = Command::new(binary())
        .args(["init", "--operator", "acme.example", "--home"])
        .arg(home)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "init failed");
    let policy = home.join("policy");
    for entry in std::fs::read_dir(&policy).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    std::fs::write(
        policy.join("schema.cedarschema"),
        "action echo appliesTo { principal: Agent, resource: Server, \
         context: { arguments: { text: String }, call: Call } };\n",
    )
    .unwrap();
    std::fs::write(
        policy.join("echo.cedar"),
        "@id(\"echo\")\npermit (principal, action == Action::\"echo\", resource);\n",
    )
    .unwrap();
}

/// A server that answers every request at once.
fn serve() {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        if !line.contains("\"id\"") {
            continue;
        }
        let id = id_of(&line);
        let result = if line.contains("\"initialize\"") {
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}"#
        } else {
            r#"{"content":[{"type":"text","text":"12345678901234567890123456789012"}]}"#
        };
        writeln!(output, r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).unwrap();
        output.flush().unwrap();
    }
}

fn handshake() -> String {
    let initialize = r#"{"jsonrpc":"2.0","id":999999999,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
    format!("{initialize}\n{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}}\n")
}

fn call(id: usize) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\"arguments\":{{\"text\":\"12345678901234567890123456789012\"}}}}}}\n"
    )
}

fn id_of(line: &str) -> usize {
    let rest = line.split_once("\"id\":").unwrap().1;
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

fn signature() -> Duration {
    let key = SigningKey::from_seed(&[7; 32].into()).unwrap();
    let start = Instant::now();
    for _ in 0..2_000 {
        std::hint::black_box(key.sign(std::hint::black_box(&[1; 600])));
    }
    start.elapsed() / 2_000
}

fn sync(directory: &Path) -> Duration {
    let mut file = File::create(directory.join("sync")).unwrap();
    let mut times: Vec<Duration> = (0..500)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[0; 1024]).unwrap();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_counterfoil")
}

/// The bench runs from `target/<profile>/deps`.
fn target_directory() -> PathBuf {
    std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(3)
        .unwrap()
        .to_owned()
}

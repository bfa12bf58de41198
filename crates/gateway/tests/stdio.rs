//! A local server over stdio, with a real process on the other side.

#![allow(missing_docs, reason = "tests")]
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_debug_implementations,
    reason = "helpers of tests"
)]

mod world;

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use counterfoil_enforcer::journal;
use counterfoil_gateway::proxy::{Caller, Direction, Gate, Proxy};
use counterfoil_gateway::stdio::{Command, Ended, Limits, wrap};
use counterfoil_protocol::names::{AgentName, OperatorName, ReasonCode, ServerName};
use counterfoil_protocol::numbers::UnixMillis;
use serde_json::{Value, json};
use world::{Operator, ToolServer, call};

#[test]
fn play_tool_server() {
    world::play_tool_server();
}

/// A gateway in a process of its own, whose resources can be limited.
#[test]
fn play_gateway() {
    let (Some(home), Ok(server)) = (
        std::env::var_os("GATEWAY_HOME"),
        std::env::var("GATEWAY_SERVER"),
    ) else {
        return;
    };
    let name = OperatorName::new("acme.example").unwrap();
    let journal = std::path::PathBuf::from(home).join(journal::FILE_NAME);
    let enforcer = world::open(&name, 1, &journal, &Arc::default());
    let caller = Caller {
        agent: AgentName::new("support-bot").unwrap(),
        session: None,
    };
    let desk = ServerName::new("desk").unwrap();
    let gate = Gate::Open(enforcer);
    let proxy = Proxy::new(gate, desk, Direction::Local, caller, 65_536);
    let words: Vec<String> = serde_json::from_str(&server).unwrap();
    let limits = Limits {
        call: Duration::from_secs(60),
        exit: Duration::from_secs(5),
    };
    wrap(
        Arc::new(proxy),
        &Command::new(words).unwrap(),
        std::io::stdin(),
        std::io::stdout(),
        limits,
    )
    .unwrap();
    std::process::exit(0);
}

/// Another process that is a gateway, started by a shell.
struct GatewayProcess {
    home: tempfile::TempDir,
    server: ToolServer,
    process: std::process::Child,
    to: std::process::ChildStdin,
    from: BufReader<std::process::ChildStdout>,
}

impl GatewayProcess {
    fn start(before: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(journal::FILE_NAME);
        let name = OperatorName::new("acme.example").unwrap();
        journal::create(&path, &name, &world::key(1), UnixMillis::new(1_000)).unwrap();
        let server = ToolServer::new();
        let mut process = std::process::Command::new("sh")
            .arg("-c")
            .arg(format!(
                "{before} exec \"$0\" --exact play_gateway --nocapture"
            ))
            .arg(std::env::current_exe().unwrap())
            .env("GATEWAY_HOME", home.path())
            .env("GATEWAY_SERVER", server.toml())
            .env("COUNTERFOIL_SECRET", "do not tell")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            home,
            server,
            to: process.stdin.take().unwrap(),
            from: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    fn ask(&mut self, line: &str) -> Value {
        self.to.write_all(format!("{line}\n").as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            let read = self.from.read_line(&mut line).unwrap();
            assert!(read > 0, "the gateway ended");
            // The test harness says something before it becomes a gateway.
            if line.starts_with('{') {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }

    /// Closes its input and waits for it; what its server saw, and its home.
    fn end(self) -> (ToolServer, tempfile::TempDir) {
        let Self {
            home,
            server,
            mut process,
            to,
            ..
        } = self;
        drop(to);
        process.wait().unwrap();
        (server, home)
    }
}

#[test]
fn the_server_does_not_get_what_belongs_to_the_gateway() {
    let mut gateway = GatewayProcess::start("");
    let answer = gateway.ask(&call(1, "environment", ""));
    let mut names: Vec<&str> = answer["result"]["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["GATEWAY_HOME", "GATEWAY_SERVER"]);
    gateway.end();
}

#[test]
fn a_full_disk_denies_everything_that_cannot_be_recorded() {
    // No file of the gateway may grow beyond half a megabyte or so.
    let mut gateway = GatewayProcess::start("trap '' XFSZ; ulimit -f 1000;");
    let mut ask = |id: u64| gateway.ask(&call(id, "echo", "x"));
    let executed = (0..).find(|id| ask(*id)["result"].get("x-odd").is_none());
    let executed = executed.unwrap();
    assert!(executed > 10);
    for id in executed + 1..executed + 20 {
        assert_eq!(refusal(&ask(id)), "journal_write_failed");
    }
    let (server, home) = gateway.end();
    assert_eq!(server.saw().len() as u64, executed);
    let decided = world::records(&home.path().join(journal::FILE_NAME))
        .iter()
        .filter(|record| record.evaluation().is_some())
        .count() as u64;
    assert!(
        decided >= executed,
        "{decided} decisions, {executed} executed"
    );
}

struct Agent {
    to: Option<PipeWriter>,
    from: BufReader<PipeReader>,
    wrapped: Option<JoinHandle<Ended>>,
}

impl Agent {
    fn connect(gate: Gate, server: &ToolServer) -> Self {
        Self::with_limits(gate, server, Duration::from_secs(60))
    }

    fn with_limits(gate: Gate, server: &ToolServer, call: Duration) -> Self {
        let (agent_in, to) = std::io::pipe().unwrap();
        let (from, agent_out) = std::io::pipe().unwrap();
        let caller = Caller {
            agent: AgentName::new("support-bot").unwrap(),
            session: None,
        };
        let name = ServerName::new("desk").unwrap();
        let proxy = Proxy::new(gate, name, Direction::Local, caller, 65_536);
        let command = Command::new(server.command()).unwrap();
        let limits = Limits {
            call,
            exit: Duration::from_secs(5),
        };
        let wrapped = std::thread::spawn(move || {
            wrap(Arc::new(proxy), &command, agent_in, agent_out, limits).unwrap()
        });
        Self {
            to: Some(to),
            from: BufReader::new(from),
            wrapped: Some(wrapped),
        }
    }

    fn send(&mut self, line: impl AsRef<[u8]>) {
        let mut bytes = line.as_ref().to_vec();
        bytes.push(b'\n');
        self.to.as_mut().unwrap().write_all(&bytes).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the gateway ended: {line:?}");
        line.pop();
        line
    }

    fn read(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn ask(&mut self, line: impl AsRef<[u8]>) -> Value {
        self.send(line);
        self.read()
    }

    /// Closes the agent's side and waits for everything to end.
    fn leave(mut self) -> Ended {
        drop(self.to.take());
        self.wrapped.take().unwrap().join().unwrap()
    }
}

fn refusal(answer: &Value) -> &str {
    let meta = if answer.get("error").is_some() {
        &answer["error"]["data"]
    } else {
        &answer["result"]["_meta"]
    };
    meta["dev.counterfoil/refusal"]["code"].as_str().unwrap()
}

#[test]
fn a_call_is_decided_executed_and_recorded_and_no_byte_changes() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    let odd = "{\"jsonrpc\":\"2.0\", \"params\": {\"arguments\":{\"text\":\"\\u0062\"} ,\"name\":\"echo\", \"x\":1.0},\"id\":\"a\",\"method\":\"tools\\/call\"}";
    agent.send(odd);
    assert_eq!(
        agent.line(),
        "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{ \"x-odd\":1.0,\"content\":[{\"type\":\"text\",\"text\":\"\\u0041 b\"}] }}"
    );
    assert_eq!(server.saw(), [odd]);
    assert!(matches!(agent.leave(), Ended::Server(status) if status.success()));
    assert_eq!(
        acme.story(),
        ["decision echo policy_allows", "outcome succeeded"]
    );
}

#[test]
fn a_denied_call_never_reaches_the_tool_and_the_model_reads_why() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    let answer = agent.ask(call(1, "forbidden", "x"));
    assert_eq!(refusal(&answer), "policy_forbids");
    assert_eq!(answer["result"]["isError"], json!(true));
    assert_eq!(
        answer["result"]["content"][0]["text"],
        json!(
            "Refused (policy_forbids): `forbidden` is forbidden. Rule: no-forbidden-tools. use another tool."
        )
    );
    agent.ask(call(2, "echo", "x"));
    assert_eq!(server.saw().len(), 1);
    agent.leave();
    assert_eq!(
        acme.story(),
        [
            "decision forbidden policy_forbids",
            "decision echo policy_allows",
            "outcome succeeded"
        ]
    );
}

#[test]
fn nothing_that_cannot_be_understood_reaches_the_tool() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","x":"{}"}}}}"#,
        "y".repeat(70_000)
    );
    let denied = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forbidden"}}"#;
    let batch = format!("[{denied}]");
    let marked = format!("\u{feff}{denied}");
    let cases: Vec<(&str, &str)> = vec![
        (&batch, "batch_not_supported"),
        (
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"forbidden"}}"#,
            "call_without_id",
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"forbidden"}}"#,
            "invalid_id",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"forbidden"}}"#,
            "",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"forbidden"}}"#,
            "",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","n\u0061me":"forbidden"}}"#,
            "",
        ),
        (&marked, ""),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"},}"#,
            "",
        ),
        ("not json", ""),
        (&long, "line_too_long"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"forbidden"}}"#,
            "unknown_method",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/run","params":{"name":"forbidden"}}"#,
            "unknown_method",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#,
            "invalid_params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a\nb"}}"#,
            "invalid_params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"dev.counterfoil/evidence":{}}}}"#,
            "evidence_member_present",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2031-01-01"},"name":"echo"}}"#,
            "unsupported_protocol_version",
        ),
    ];
    for (line, code) in &cases {
        let answer = agent.ask(line);
        let got = refusal(&answer);
        assert!(code.is_empty() || got == *code, "{line}: {got}");
        assert!(!got.is_empty());
    }
    // An escaped method name is the method it spells: decided, and denied.
    let escaped =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools\u002fcall","params":{"name":"forbidden"}}"#;
    assert_eq!(refusal(&agent.ask(escaped)), "policy_forbids");
    assert!(server.saw().is_empty());
    agent.leave();
    let refused = acme
        .story()
        .iter()
        .filter(|line| line.starts_with("refused "))
        .count();
    assert_eq!(refused, cases.len());
}

#[test]
fn lifecycle_and_notifications_pass_in_order() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    let lines = [
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned(),
        call(2, "echo", "a"),
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#.to_owned(),
        call(3, "echo", "b"),
        r#"{"jsonrpc":"2.0","method":"notifications/vendor/thing"}"#.to_owned(),
        call(4, "echo", "c"),
    ];
    agent
        .to
        .as_mut()
        .unwrap()
        .write_all(format!("{}\n", lines.join("\n")).as_bytes())
        .unwrap();
    let ids: Vec<Value> = (0..5).map(|_| agent.read()["id"].clone()).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    assert_eq!(server.saw(), lines);
    agent.leave();
}

#[test]
fn many_calls_are_in_flight_at_once_and_answers_find_their_way() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    for id in 0..64 {
        agent.send(call(id, "hold", ""));
    }
    // An id that waits cannot be used again.
    assert_eq!(refusal(&agent.ask(call(7, "echo", ""))), "id_in_flight");
    agent.send(call(64, "release", ""));
    let mut ids: Vec<u64> = (0..65)
        .map(|_| agent.read()["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids[0], 63, "the server answers the last one first");
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..65));
    agent.leave();
    let succeeded = acme
        .story()
        .iter()
        .filter(|line| *line == "outcome succeeded")
        .count();
    assert_eq!(succeeded, 65);
}

#[test]
fn what_a_tool_reports_is_the_outcome() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    assert_eq!(
        agent.ask(call(1, "fail", ""))["result"]["isError"],
        json!(true)
    );
    assert_eq!(
        agent.ask(call(2, "error", ""))["error"]["message"],
        json!("broken")
    );
    assert_eq!(
        refusal(&agent.ask(call(3, "forge", ""))),
        "evidence_member_present"
    );
    agent.leave();
    let story = acme.story();
    let outcomes: Vec<&String> = story
        .iter()
        .filter(|line| line.starts_with("outcome"))
        .collect();
    assert_eq!(
        outcomes,
        ["outcome failed", "outcome failed", "outcome failed"]
    );
}

#[test]
fn a_server_that_babbles_is_not_forwarded() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    agent.send(call(1, "noise", ""));
    assert_eq!(agent.read()["method"], json!("notifications/message"));
    assert_eq!(agent.read()["id"], json!(1));
    // A second answer to the same request would be one that nobody signed for.
    agent.send(call(2, "twice", ""));
    assert_eq!(agent.read()["result"]["n"], json!(1));
    assert_eq!(agent.ask(call(3, "echo", ""))["id"], json!(3));
    agent.leave();
}

#[test]
fn a_server_that_dies_leaves_unknown_outcomes_and_errors() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    agent.send(call(1, "silent", ""));
    agent.send(call(2, "die", ""));
    let mut codes = [agent.read(), agent.read()];
    codes.sort_by_key(|answer| answer["id"].as_u64());
    for (answer, id) in codes.iter().zip(1..) {
        assert_eq!(answer["id"], json!(id));
        assert_eq!(refusal(answer), "server_ended");
    }
    let ended = agent.leave();
    assert!(matches!(ended, Ended::Server(status) if status.code() == Some(7)));
    let story = acme.story();
    assert_eq!(
        story
            .iter()
            .filter(|line| *line == "outcome unknown")
            .count(),
        2
    );
}

#[test]
fn a_call_that_is_cancelled_or_never_answered_has_an_outcome() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    agent.send(call(1, "hold", ""));
    agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    // Its id stays taken until the server has answered it after all.
    assert_eq!(refusal(&agent.ask(call(1, "echo", ""))), "id_in_flight");
    assert_eq!(agent.ask(call(2, "release", ""))["id"], json!(2));
    assert_eq!(agent.ask(call(1, "echo", ""))["id"], json!(1));
    agent.leave();
    // The second message may have been read before the first was cancelled.
    let mut story = acme.story();
    story.retain(|line| line != "refused id_in_flight");
    assert_eq!(
        story,
        [
            "decision hold policy_allows",
            "outcome unknown",
            "decision release policy_allows",
            "outcome succeeded",
            "decision echo policy_allows",
            "outcome succeeded",
        ]
    );

    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::with_limits(acme.gate(), &server, Duration::from_millis(50));
    assert_eq!(refusal(&agent.ask(call(1, "silent", ""))), "call_timed_out");
    agent.leave();
    assert_eq!(
        acme.story(),
        ["decision silent policy_allows", "outcome unknown"]
    );
}

#[test]
fn a_gate_that_refuses_starts_nothing() {
    let gate = Gate::Refusing {
        code: ReasonCode::new("journal_unavailable").unwrap(),
        detail: "journal: gone".to_owned(),
    };
    let server = ToolServer::new();
    let mut agent = Agent::connect(gate, &server);
    let answer = agent.ask(call(1, "echo", ""));
    assert_eq!(refusal(&answer), "journal_unavailable");
    assert_eq!(answer["result"]["isError"], json!(true));
    let answer = agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}"#);
    assert_eq!(refusal(&answer), "journal_unavailable");
    assert!(matches!(agent.leave(), Ended::Refused));
    assert!(!server.was_started());
}

#[test]
fn a_journal_that_disappears_denies_everything() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let mut agent = Agent::connect(acme.gate(), &server);
    assert_eq!(agent.ask(call(1, "echo", ""))["id"], json!(1));
    std::fs::remove_file(acme.journal()).unwrap();
    for id in 2..5 {
        let answer = agent.ask(call(id, "echo", ""));
        assert_eq!(refusal(&answer), "journal_write_failed");
    }
    assert_eq!(server.saw().len(), 1);
    agent.leave();
}

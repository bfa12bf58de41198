//! An agent on stdio, whose gateway calls a server over HTTP behind another operator's gateway.

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

use counterfoil_gateway::proxy::{Caller, Direction, Gate, Proxy};
use counterfoil_gateway::stdio::{Ended, Limits, bridge};
use counterfoil_protocol::names::{AgentName, OperatorName, ReasonCode, ServerName};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use world::http::code;
use world::{Operator, Running, ToolServer, call};

#[test]
fn play_tool_server() {
    world::play_tool_server();
}

struct Agent {
    to: Option<PipeWriter>,
    from: BufReader<PipeReader>,
    bridged: Option<JoinHandle<Ended>>,
}

impl Agent {
    fn connect(gate: Gate, url: &str, runtime: &Runtime) -> Self {
        Self::with_patience(gate, url, runtime, Duration::from_secs(60))
    }

    fn with_patience(gate: Gate, url: &str, runtime: &Runtime, call: Duration) -> Self {
        let (agent_in, to) = std::io::pipe().unwrap();
        let (from, agent_out) = std::io::pipe().unwrap();
        let caller = Caller {
            agent: AgentName::new("support-bot").unwrap(),
            session: None,
        };
        let globex = OperatorName::new("globex.example").unwrap();
        let name = ServerName::new("desk").unwrap();
        let proxy = Arc::new(Proxy::new(
            gate,
            name,
            Direction::Outgoing(globex),
            caller,
            65_536,
        ));
        let url = url.parse().unwrap();
        let handle = runtime.handle().clone();
        let limits = Limits {
            call,
            exit: Duration::from_secs(5),
        };
        let bridged = std::thread::spawn(move || {
            bridge(proxy, &url, &handle, agent_in, agent_out, limits).unwrap()
        });
        Self {
            to: Some(to),
            from: BufReader::new(from),
            bridged: Some(bridged),
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

    fn initialize(&mut self) {
        let answer = self.ask(r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#);
        assert_eq!(answer["result"]["protocolVersion"], json!("2025-11-25"));
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    }

    fn leave(mut self) -> Ended {
        drop(self.to.take());
        self.bridged.take().unwrap().join().unwrap()
    }
}

fn globex_with(server: &ToolServer, runtime: &Runtime) -> (Operator, Operator, Running) {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let servers = format!(
        "[[servers]]\nname = \"desk\"\ncallers = \"operators\"\ncommand = {}\n",
        server.toml()
    );
    let far = runtime.block_on(Running::start(&globex.config(&servers), globex.gate()));
    (acme, globex, far)
}

#[test]
fn a_stdio_agent_uses_a_tool_of_another_operator() {
    let runtime = Runtime::new().unwrap();
    let server = ToolServer::new();
    let (acme, globex, far) = globex_with(&server, &runtime);
    let mut agent = Agent::connect(acme.gate(), &far.url("desk"), &runtime);
    agent.initialize();
    let odd = "{\"jsonrpc\":\"2.0\", \"params\": {\"arguments\":{\"text\":\"\\u0062\"} ,\"name\":\"echo\", \"x\":1.0},\"id\":\"a\",\"method\":\"tools\\/call\"}";
    agent.send(odd);
    assert_eq!(
        agent.line(),
        "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{ \"x-odd\":1.0,\"content\":[{\"type\":\"text\",\"text\":\"\\u0041 b\"}] }}"
    );
    assert_eq!(server.saw().last().unwrap(), odd);
    assert_eq!(code(&agent.ask(call(2, "forbidden", ""))), "policy_forbids");
    for id in 10..42 {
        agent.send(call(id, "echo", &id.to_string()));
    }
    let mut seen: Vec<u64> = Vec::new();
    for _ in 10..42 {
        let answer = agent.read();
        let id = answer["id"].as_u64().unwrap();
        let text = &answer["result"]["content"][0]["text"];
        assert_eq!(*text, json!(format!("A {id}")));
        seen.push(id);
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(10..42));
    // What the server says by itself comes too.
    agent.send(call(50, "noise", ""));
    let mut both = [agent.read(), agent.read()];
    both.sort_by_key(|message| message.get("id").is_some());
    assert_eq!(both[0]["method"], json!("notifications/message"));
    assert_eq!(both[1]["id"], json!(50));
    assert_eq!(code(&agent.ask(call(51, "die", ""))), "outcome_unknown");
    assert!(matches!(agent.leave(), Ended::Agent));
    runtime.block_on(far.stop());
    let count = |operator: &Operator, wanted: &str| {
        let story = operator.story();
        story.iter().filter(|line| *line == wanted).count()
    };
    assert_eq!(count(&acme, "outcome succeeded"), 34);
    assert_eq!(count(&globex, "outcome succeeded"), 34);
    assert_eq!(count(&acme, "outcome evidence_invalid"), 1);
    assert_eq!(count(&globex, "outcome unknown"), 1);
}

#[test]
fn a_call_in_flight_when_the_agent_leaves_is_finished() {
    let runtime = Runtime::new().unwrap();
    let server = ToolServer::new();
    let (acme, _globex, far) = globex_with(&server, &runtime);
    let mut agent = Agent::connect(acme.gate(), &far.url("desk"), &runtime);
    agent.initialize();
    agent.send(call(1, "echo", "last"));
    drop(agent.to.take());
    assert_eq!(agent.read()["id"], json!(1));
    agent.leave();
    runtime.block_on(far.stop());
    assert_eq!(
        acme.story(),
        ["request echo policy_allows", "outcome succeeded"]
    );
}

#[test]
fn a_gate_that_refuses_connects_to_nothing() {
    let runtime = Runtime::new().unwrap();
    let gate = Gate::Refusing {
        code: ReasonCode::new("key_exposed").unwrap(),
        detail: "`keys/enforcer.pem` may be read by others".to_owned(),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/mcp/desk", listener.local_addr().unwrap());
    let mut agent = Agent::connect(gate, &url, &runtime);
    assert_eq!(code(&agent.ask(call(1, "echo", ""))), "key_exposed");
    let hello = r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}"#;
    assert_eq!(code(&agent.ask(hello)), "key_exposed");
    assert!(matches!(agent.leave(), Ended::Refused));
    assert!(listener.accept().is_err(), "nobody connected");
}

#[test]
fn an_id_may_be_used_again_as_soon_as_its_answer_is_there() {
    let runtime = Runtime::new().unwrap();
    let server = ToolServer::new();
    let (acme, _globex, far) = globex_with(&server, &runtime);
    let mut agent = Agent::connect(acme.gate(), &far.url("desk"), &runtime);
    agent.initialize();
    for _ in 0..200 {
        let answer = agent.ask(call(1, "echo", "again"));
        assert_eq!(answer["result"]["content"][0]["text"], json!("A again"));
        let answer = agent.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        assert_eq!(answer["result"], json!({"tools": []}));
    }
    agent.leave();
    runtime.block_on(far.stop());
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let runtime = Runtime::new().unwrap();
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    // Connections are made, and that is all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp/desk", silent.local_addr().unwrap());
    let patience = Duration::from_millis(50);
    let mut agent = Agent::with_patience(acme.gate(), &url, &runtime, patience);
    for _ in 0..2 {
        // The same ids again: none stays taken.
        assert_eq!(code(&agent.ask(call(1, "echo", ""))), "call_timed_out");
        let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
        assert_eq!(code(&agent.ask(list)), "call_timed_out");
        let hello = r#"{"jsonrpc":"2.0","id":3,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#;
        assert_eq!(code(&agent.ask(hello)), "call_timed_out");
        agent.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#);
    }
    agent.leave();
    let once = ["request echo policy_allows", "outcome unknown"];
    assert_eq!(acme.story(), [once, once].concat());
}

//! The gateway over streamable HTTP, alone and two of them in a row, with real sockets and real
//! processes.

#![allow(missing_docs, reason = "tests")]
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_debug_implementations,
    reason = "helpers of tests"
)]

mod world;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_gateway::proxy::Gate;
use counterfoil_protocol::names::ReasonCode;
use futures_join::join_all;
use serde_json::{Value, json};
use world::http::{BOTH, code, initialize, post, post_in, send, tamper, tool_server, unchanged};
use world::{Operator, Running, ToolServer, call};

#[test]
fn play_tool_server() {
    world::play_tool_server();
}

/// Waits for many futures at once.
mod futures_join {
    pub async fn join_all<F>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
        let mut outputs = Vec::new();
        for task in tasks {
            outputs.push(task.await.unwrap());
        }
        outputs
    }
}

const AGENT: &str = "[[agents]]\nname = \"support-bot\"\n";

fn local(url: &str) -> String {
    format!("{AGENT}[[servers]]\nname = \"desk\"\ncallers = \"agents\"\nurl = \"{url}\"\n")
}

fn local_command(server: &ToolServer) -> String {
    format!(
        "{AGENT}[[servers]]\nname = \"desk\"\ncallers = \"agents\"\ncommand = {}\n",
        server.toml()
    )
}

fn incoming(upstream: &str) -> String {
    format!("[[servers]]\nname = \"desk\"\ncallers = \"operators\"\n{upstream}\n")
}

fn outgoing(url: &str) -> String {
    format!("{}operator = \"globex.example\"\n", local(url))
}

/// Bodies that no tool may ever see, with a part of the code that says why.
fn bad_bodies() -> Vec<(Vec<u8>, &'static str)> {
    let denied = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forbidden"}}"#;
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (format!("[{denied}]").into_bytes(), "batch_not_supported"),
        (text(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"forbidden"}}"#), "call_without_id"),
        (text(r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"forbidden"}}"#), "invalid_id"),
        (text(r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"forbidden"}}"#), ""),
        (text(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","n\u0061me":"forbidden"}}"#), ""),
        (format!("\u{feff}{denied}").into_bytes(), ""),
        (text(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"},}"#), ""),
        (format!("{denied}{denied}").into_bytes(), ""),
        (text("not json"), ""),
        (vec![0xff, 0xfe], ""),
        (vec![], ""),
        (text(r#"{"jsonrpc":"2.0","id":1,"method":"tools/run","params":{"name":"forbidden"}}"#), "unknown_method"),
        (text(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#), "invalid_params"),
        (text(r#"{"jsonrpc":"2.0","id":1,"method":"tools\u002fcall","params":{"name":"forbidden"}}"#), "policy_forbids"),
        (format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","x":"{}"}}}}"#, "y".repeat(5_000_000)).into_bytes(), "message_too_long"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_cannot_be_understood_reaches_a_tool_by_http() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = tool_server().await;
    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    let url = gateway.url("desk");
    for (body, code) in bad_bodies() {
        let got = post(&url, body.clone()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
        assert!(got.code().contains(code), "{shown}: {got:?}");
    }
    assert!(seen.all().is_empty());
    gateway.stop().await;

    let child = ToolServer::new();
    let gateway = Running::start(&acme.config(&local_command(&child)), acme.gate()).await;
    let url = gateway.url("desk");
    let session = initialize(&url).await;
    for (body, code) in bad_bodies() {
        let got = post_in(&url, Some(&session), body).await;
        assert!(got.code().contains(code), "{got:?}");
    }
    assert_eq!(
        child.saw().len(),
        2,
        "the two messages that opened the session"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_disagree_or_come_from_elsewhere_are_refused() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = tool_server().await;
    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    let url = gateway.url("desk");
    let client = reqwest::Client::new();
    let stateless = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let good = [
        ("content-type", "application/json"),
        ("accept", BOTH),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
    ];
    let ask = |changed: (&'static str, &'static str)| {
        let mut request = client.post(&url).body(stateless);
        for (name, value) in good {
            if name != changed.0 {
                request = request.header(name, value);
            }
        }
        if !changed.1.is_empty() {
            request = request.header(changed.0, changed.1);
        }
        send(request)
    };
    for (header, value, status, code) in [
        ("mcp-name", "forbidden", 400, "header_mismatch"),
        ("mcp-name", "", 400, "header_mismatch"),
        ("mcp-method", "tools/list", 400, "header_mismatch"),
        ("mcp-method", "", 400, "header_mismatch"),
        ("mcp-protocol-version", "2025-11-25", 400, "header_mismatch"),
        (
            "mcp-protocol-version",
            "2031-01-01",
            400,
            "unsupported_protocol_version",
        ),
        (
            "content-type",
            "text/plain",
            415,
            "content_type_not_supported",
        ),
        (
            "content-encoding",
            "gzip",
            415,
            "content_type_not_supported",
        ),
        ("accept", "application/json", 406, "not_acceptable"),
        ("host", "evil.example", 403, "host_not_allowed"),
        ("origin", "http://evil.example", 403, "origin_not_allowed"),
    ] {
        let got = ask((header, value)).await;
        assert_eq!(got.status, status, "{header}: {value}");
        assert_eq!(got.code(), code, "{header}: {value}");
    }
    assert!(seen.all().is_empty());
    let got = ask(("x-nothing", "changed")).await;
    assert_eq!(got.last()["result"]["x-odd"], json!(1.0));
    assert_eq!(seen.all(), [stateless]);
    assert_eq!(post(&gateway.url("other"), "{}").await.status, 404);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_known_by_their_tokens() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = tool_server().await;
    let token = acme.home.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&token, mode).unwrap();
    let more = local(&upstream).replace(
        "name = \"support-bot\"\n",
        "name = \"support-bot\"\ntoken_file = \"token\"\n",
    );
    let gateway = Running::start(&acme.config(&more), acme.gate()).await;
    let url = gateway.url("desk");
    let got = post(&url, call(1, "echo", "a")).await;
    assert_eq!((got.status, got.code().as_str()), (401, "agent_unknown"));
    let ask = |token: &'static str| {
        send(
            reqwest::Client::new()
                .post(&url)
                .header("content-type", "application/json")
                .header("accept", BOTH)
                .bearer_auth(token)
                .body(call(1, "echo", "a")),
        )
    };
    assert_eq!(ask("0123456789abcdef0124").await.status, 401);
    assert!(seen.all().is_empty());
    assert_eq!(ask("0123456789abcdef0123").await.status, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_server_over_http_keeps_its_sessions_and_its_bytes() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = tool_server().await;
    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    let url = gateway.url("desk");
    assert_eq!(initialize(&url).await, "s-1");
    let odd = "{\"jsonrpc\":\"2.0\", \"params\": {\"arguments\":{\"text\":\"\\u0062\"} ,\"name\":\"echo\", \"x\":1.0},\"id\":\"a\",\"method\":\"tools\\/call\"}";
    let got = post(&url, odd).await;
    assert_eq!(
        got.text,
        "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{ \"x-odd\":1.0,\"content\":[{\"type\":\"text\",\"text\":\"\\u0041 b\"}] }}"
    );
    assert_eq!(seen.all().last().unwrap(), odd);
    let got = post(&url, call(2, "stream", "")).await;
    assert!(got.is_stream);
    assert_eq!(
        got.text,
        ": hello\r\n\r\nid: 1\r\ndata:\r\n\r\nevent: message\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata: \"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"x-odd\":1.0 ,\"content\":[]}}\r\n\r\n",
        "every event but the answer to nobody's request, byte for byte"
    );
    for (tool, code) in [
        ("broken-stream", "upstream_failed"),
        ("status", "upstream_failed"),
        ("redirect", "upstream_failed"),
        ("wrong-id", "upstream_failed"),
        ("forbidden", "policy_forbids"),
    ] {
        assert_eq!(post(&url, call(3, tool, "")).await.code(), code, "{tool}");
    }
    gateway.stop().await;
    assert_eq!(
        acme.story(),
        [
            "decision echo policy_allows",
            "outcome succeeded",
            "decision stream policy_allows",
            "outcome succeeded",
            "decision broken-stream policy_allows",
            "outcome unknown",
            "decision status policy_allows",
            "outcome unknown",
            "decision redirect policy_allows",
            "outcome unknown",
            "decision wrong-id policy_allows",
            "outcome unknown",
            "decision forbidden policy_forbids",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_was_not_executed() {
    let acme = Operator::new("acme.example", 1);
    let gateway = Running::start(&acme.config(&local("http://127.0.0.1:1/mcp")), acme.gate()).await;
    let got = post(&gateway.url("desk"), call(1, "echo", "")).await;
    assert_eq!(got.code(), "upstream_unreachable");
    gateway.stop().await;
    assert_eq!(
        acme.story(),
        ["decision echo policy_allows", "outcome not_executed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stdio_server_behind_http_has_a_process_for_each_session() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let gateway = Running::start(&acme.config(&local_command(&server)), acme.gate()).await;
    let url = gateway.url("desk");
    assert_eq!(
        post(&url, call(1, "echo", "")).await.status,
        400,
        "no session"
    );
    assert_eq!(
        post_in(&url, Some("nonsense"), call(1, "echo", ""))
            .await
            .status,
        404
    );
    assert!(!server.was_started());
    let one = initialize(&url).await;
    let two = initialize(&url).await;
    assert_ne!(one, two);
    // The same id in two sessions is two requests.
    let (first, second) = tokio::join!(
        post_in(&url, Some(&one), call(1, "echo", "one")),
        post_in(&url, Some(&two), call(1, "echo", "two")),
    );
    assert_eq!(first.last()["result"]["content"][0]["text"], json!("A one"));
    assert_eq!(
        second.last()["result"]["content"][0]["text"],
        json!("A two")
    );
    // What the server says before it answers makes the answer a stream.
    let noisy = post_in(&url, Some(&one), call(2, "noise", "")).await;
    assert!(noisy.is_stream);
    assert!(noisy.text.contains("notifications/message"));
    assert!(!noisy.text.contains("99999"));
    assert_eq!(noisy.last()["id"], json!(2));
    let died = post_in(&url, Some(&one), call(3, "die", "")).await;
    assert_eq!(died.code(), "server_ended");
    assert_eq!(
        post_in(&url, Some(&one), call(4, "echo", "")).await.status,
        404
    );
    assert_eq!(
        post_in(&url, Some(&two), call(4, "echo", "")).await.status,
        200
    );
    let ended = reqwest::Client::new()
        .delete(&url)
        .header("mcp-session-id", &two);
    assert_eq!(send(ended).await.status, 204);
    assert_eq!(
        post_in(&url, Some(&two), call(5, "echo", "")).await.status,
        404
    );
    gateway.stop().await;
    let unknown = acme
        .story()
        .iter()
        .filter(|line| *line == "outcome unknown")
        .count();
    assert_eq!(unknown, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stdio_server_answers_requests_without_sessions() {
    let acme = Operator::new("acme.example", 1);
    let server = ToolServer::new();
    let gateway = Running::start(&acme.config(&local_command(&server)), acme.gate()).await;
    let url = gateway.url("desk");
    let ask = |text: String| {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {
                "name": "echo", "arguments": {"text": text},
                "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}},
            },
        });
        send(
            reqwest::Client::new()
                .post(&url)
                .header("content-type", "application/json")
                .header("accept", BOTH)
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", "tools/call")
                .header("mcp-name", "echo")
                .body(body.to_string()),
        )
    };
    // The same id from many clients at once: each gets its own answer.
    let asked = join_all((0..24).map(|n| ask(n.to_string()))).await;
    for (n, got) in asked.iter().enumerate() {
        let text = got.last()["result"]["content"][0]["text"].clone();
        assert_eq!(text, json!(format!("A {n}")));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_refuses_answers_and_connects_to_nothing() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = tool_server().await;
    let server = ToolServer::new();
    let gate = || Gate::Refusing {
        code: ReasonCode::new("journal_unavailable").unwrap(),
        detail: "journal: gone".to_owned(),
    };
    for more in [local(&upstream), local_command(&server)] {
        let gateway = Running::start(&acme.config(&more), gate()).await;
        let url = gateway.url("desk");
        let got = post(&url, call(1, "echo", "")).await;
        assert_eq!(
            (got.status, got.code().as_str()),
            (200, "journal_unavailable")
        );
        let hello = r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}"#;
        assert_eq!(post(&url, hello).await.code(), "journal_unavailable");
        let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(post(&url, note).await.status, 503);
        gateway.stop().await;
    }
    assert!(seen.all().is_empty());
    assert!(!server.was_started());
}

/// acme's gateway, something on the line, globex's gateway.
struct Two {
    acme: Operator,
    globex: Operator,
    near: Running,
    far: Running,
    /// What acme's gateway sent.
    line: world::http::Seen,
}

impl Two {
    async fn start(
        upstream: &str,
        request: world::http::Change,
        answer: world::http::Change,
    ) -> Self {
        let acme = Operator::new("acme.example", 1);
        let globex = Operator::new("globex.example", 2);
        acme.knows(&globex);
        globex.knows(&acme);
        let far = Running::start(&globex.config(&incoming(upstream)), globex.gate()).await;
        let (between, line) = tamper(far.url("desk"), request, answer).await;
        let near = Running::start(&acme.config(&outgoing(&between)), acme.gate()).await;
        Self {
            acme,
            globex,
            near,
            far,
            line,
        }
    }

    async fn plain(upstream: &str) -> Self {
        Self::start(upstream, unchanged(), unchanged()).await
    }

    fn url(&self) -> String {
        self.near.url("desk")
    }

    async fn stop(self) -> (Operator, Operator) {
        self.near.stop().await;
        self.far.stop().await;
        (self.acme, self.globex)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_between_operators_is_attested_on_both_sides() {
    let (server, seen) = tool_server().await;
    let two = Two::plain(&format!("url = \"{server}\"")).await;
    let odd = "{\"jsonrpc\":\"2.0\", \"params\": {\"arguments\":{\"text\":\"\\u0062\"} ,\"name\":\"echo\", \"x\":1.0},\"id\":\"a\",\"method\":\"tools\\/call\"}";
    let got = post(&two.url(), odd).await;
    assert_eq!(
        got.text,
        "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{ \"x-odd\":1.0,\"content\":[{\"type\":\"text\",\"text\":\"\\u0041 b\"}] }}"
    );
    assert_eq!(seen.all(), [odd], "the tool sees what the agent sent");
    assert!(two.line.all()[0].contains("dev.counterfoil/evidence"));
    let denied = post(&two.url(), call(2, "forbidden", "")).await;
    assert_eq!(denied.code(), "policy_forbids");
    let failed = post(&two.url(), call(3, "fail", "")).await;
    assert_eq!(failed.last()["result"]["isError"], json!(true));
    let streamed = post(&two.url(), call(4, "list-result", "")).await;
    assert_eq!(streamed.code(), "cannot_carry_evidence", "{streamed:?}");
    let (acme, globex) = two.stop().await;
    assert_eq!(
        acme.story(),
        [
            "request echo policy_allows",
            "outcome succeeded",
            "decision forbidden policy_forbids",
            "request fail policy_allows",
            "outcome failed",
            "request list-result policy_allows",
            "outcome failed",
        ]
    );
    assert_eq!(
        globex.story(),
        [
            "decision echo policy_allows",
            "outcome succeeded",
            "decision fail policy_allows",
            "outcome failed",
            "decision list-result policy_allows",
            "outcome failed",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_between_operators_carries_its_evidence_in_the_one_event() {
    let (server, _) = tool_server().await;
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let upstream = format!("url = \"{server}\"");
    let far = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
    let near = Running::start(&acme.config(&outgoing(&far.url("desk"))), acme.gate()).await;
    let got = post(&near.url("desk"), call(2, "stream", "")).await;
    assert!(got.is_stream);
    assert!(got.text.contains(": hello\r\n\r\nid: 1\r\ndata:\r\n\r\n"));
    assert!(!got.text.contains("evidence"));
    assert!(got.text.ends_with(
        "data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"x-odd\":1.0 ,\"content\":[]}}\r\n\r\n"
    ));
    near.stop().await;
    far.stop().await;
    assert_eq!(
        acme.story(),
        ["request stream policy_allows", "outcome succeeded"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_on_the_way_is_refused_and_recorded() {
    let (server, seen) = tool_server().await;
    let upstream = format!("url = \"{server}\"");
    let changes: [(&str, &str, &str); 4] = [
        ("\"text\":\"a\"", "\"text\":\"b\"", "parameters_mismatch"),
        ("\"name\":\"echo\"", "\"name\":\"ech0\"", "action_mismatch"),
        ("\"text\":\"a\"", "\"text\": \"a\"", "parameters_mismatch"),
        ("\"salt\":\"", "\"salt\":\"AA", "evidence_malformed"),
    ];
    for (from, to, reason) in changes {
        let change = move |body: String| body.replacen(from, to, 1);
        let two = Two::start(&upstream, Arc::new(change), unchanged()).await;
        let got = post(&two.url(), call(1, "echo", "a")).await;
        assert_eq!(got.last()["result"]["isError"], json!(true), "{got:?}");
        let (acme, globex) = two.stop().await;
        let denied: Vec<String> = globex.story();
        assert_eq!(denied.len(), 1, "{denied:?}");
        assert!(denied[0].ends_with(reason), "{denied:?}");
        let outcome = acme.story().pop().unwrap();
        let expected = if reason == "evidence_malformed" {
            // Nobody could be named in that denial, so it carries no record for acme.
            "outcome evidence_invalid"
        } else {
            assert_eq!(got.code(), reason);
            "outcome refused_by_counterparty"
        };
        assert_eq!(outcome, expected, "{reason}");
    }
    assert!(seen.all().is_empty(), "the tool ran: {:?}", seen.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_changed_on_the_way_is_withheld() {
    let (server, seen) = tool_server().await;
    let upstream = format!("url = \"{server}\"");
    let evidence = |body: &str| {
        let from = body.find("\"dev.counterfoil/evidence\":").unwrap();
        let to = from + body[from..].find('}').unwrap() + 1;
        (from, to)
    };
    let without = move |body: String| {
        let (from, to) = evidence(&body);
        format!("{}{}", &body[..from], &body[to..])
    };
    let changes: [(world::http::Change, &str); 3] = [
        (
            Arc::new(|body| body.replacen("\\u0041", "\\u0042", 1)),
            "result_mismatch",
        ),
        (
            Arc::new(|body| body.replacen("\"added\"", "\"odd\"", 1)),
            "evidence_malformed",
        ),
        (Arc::new(without), "evidence_missing"),
    ];
    for (change, reason) in changes {
        let two = Two::start(&upstream, unchanged(), change).await;
        let got = post(&two.url(), call(1, "echo", "a")).await;
        assert_eq!(got.code(), reason, "{got:?}");
        assert!(!got.text.contains("A a"), "the result was not withheld");
        let (acme, globex) = two.stop().await;
        assert_eq!(acme.story().pop().unwrap(), "outcome evidence_invalid");
        assert_eq!(globex.story().pop().unwrap(), "outcome succeeded");
    }
    assert_eq!(seen.all().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_good_evidence_are_signed_denials() {
    let (server, seen) = tool_server().await;
    let two = Two::plain(&format!("url = \"{server}\"")).await;
    let far = two.far.url("desk");
    // A plain call of somebody who has no enforcer.
    let got = post(&far, call(1, "echo", "a")).await;
    assert_eq!(got.code(), "evidence_missing");
    assert_eq!(got.last()["result"]["isError"], json!(true));
    // The same good call a second time.
    assert_eq!(post(&two.url(), call(1, "echo", "a")).await.status, 200);
    let sent = two.line.all().pop().unwrap();
    assert_eq!(post(&far, sent.clone()).await.code(), "request_replayed");
    // Evidence that is none.
    let start = sent.find("\"records\":[\"").unwrap() + 12;
    let end = start + sent[start..].find('"').unwrap();
    for (records, code) in [
        ("!!!!".to_owned(), "evidence_malformed"),
        (STANDARD.encode(b"no record"), ""),
        (flip(&sent[start..end]), "signature_invalid"),
    ] {
        let garbled = format!("{}{records}{}", &sent[..start], &sent[end..]);
        let got = post(&far, garbled).await;
        assert!(got.code().contains(code), "{got:?}");
        assert_eq!(got.last()["result"]["isError"], json!(true));
    }
    // A record of an operator that globex does not know, and one meant for somebody else.
    let stranger = Operator::new("stranger.example", 3);
    stranger.knows(&two.globex);
    let (line, noted) = tamper(far.clone(), unchanged(), unchanged()).await;
    let gateway = Running::start(&stranger.config(&outgoing(&line)), stranger.gate()).await;
    let got = post(&gateway.url("desk"), call(1, "echo", "a")).await;
    assert_eq!(
        got.code(),
        "evidence_missing",
        "globex signs nothing for a stranger"
    );
    assert!(got.text.contains("operator_unknown"), "{got:?}");
    assert!(noted.all()[0].contains("dev.counterfoil/evidence"));
    gateway.stop().await;
    let elsewhere = local(&far) + "operator = \"initech.example\"\n";
    let gateway = Running::start(&two.acme.config(&elsewhere), two.acme.gate()).await;
    let got = post(&gateway.url("desk"), call(1, "echo", "a")).await;
    assert!(got.text.contains("channel_mismatch"), "{got:?}");
    gateway.stop().await;
    // Evidence where there may be none.
    let forged = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"dev.counterfoil/evidence":{"records":[]}},"name":"echo"}}"#;
    assert_eq!(
        post(&two.url(), forged).await.code(),
        "evidence_member_present"
    );

    assert_eq!(seen.all().len(), 1, "only the good call ran");
    let (_, globex) = two.stop().await;
    let reasons: Vec<String> = globex
        .story()
        .into_iter()
        .filter_map(|line| Some(line.strip_prefix("decision echo ")?.to_owned()))
        .collect();
    assert_eq!(reasons.len(), 8, "{reasons:?}");
    assert_eq!(reasons[0], "evidence_missing");
    assert_eq!(reasons[1], "policy_allows");
    assert_eq!(reasons[2], "request_replayed");
}

/// The same record with its last bit flipped, which is in the signature.
fn flip(record: &str) -> String {
    let mut bytes = STANDARD.decode(record).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    STANDARD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_calls_at_once_through_two_gateways_all_arrive() {
    let server = ToolServer::new();
    let two = Two::plain(&format!("command = {}", server.toml())).await;
    let url = two.url();
    let session = initialize(&url).await;
    for round in 0..2 {
        let asked = join_all((0..64).map(|n| {
            let (url, session) = (url.clone(), session.clone());
            let id = round * 64 + n;
            async move { post_in(&url, Some(&session), call(id, "echo", &n.to_string())).await }
        }))
        .await;
        for (n, got) in asked.iter().enumerate() {
            let text = got.last()["result"]["content"][0]["text"].clone();
            assert_eq!(text, json!(format!("A {n}")), "{got:?}");
        }
    }
    // One more call acknowledges what was still on its way.
    post_in(&url, Some(&session), call(1_000, "echo", "")).await;
    let (acme, globex) = two.stop().await;
    let waiting = acme.enforcer.unacknowledged(&globex.name).unwrap();
    // Our last outcome has had no answer that could acknowledge it.
    assert_eq!(waiting.records.len(), 1);
    let received = acme.enforcer.channel_heads(&globex.name).unwrap().received;
    let sent = globex.enforcer.channel_heads(&acme.name).unwrap().sent;
    assert_eq!(received.first(), sent.as_ref());
    assert_eq!(sent.unwrap().sequence.get(), 129 * 2 - 1);
    let succeeded = |operator: &Operator| {
        let story = operator.story();
        story
            .iter()
            .filter(|line| *line == "outcome succeeded")
            .count()
    };
    assert_eq!((succeeded(&acme), succeeded(&globex)), (129, 129));
    assert!(server.saw().iter().all(|line| !line.contains("evidence")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_dies_between_operators_is_attested_too() {
    let server = ToolServer::new();
    let two = Two::plain(&format!("command = {}", server.toml())).await;
    let url = two.url();
    let session = initialize(&url).await;
    let got = post_in(&url, Some(&session), call(1, "die", "")).await;
    assert_eq!(code(&got.last()), "outcome_unknown");
    assert!(got.text.contains("`server_ended`"), "{got:?}");
    let (acme, globex) = two.stop().await;
    assert_eq!(
        globex.story(),
        ["decision die policy_allows", "outcome unknown"]
    );
    // globex signed that nobody knows.
    assert_eq!(
        acme.story(),
        ["request die policy_allows", "outcome evidence_invalid"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_an_outcome() {
    let acme = Operator::new("acme.example", 1);
    // A server that takes the request and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}/mcp", listener.local_addr().unwrap());
    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    let url = gateway.url("desk");
    let asking = tokio::spawn(async move { post(&url, call(1, "echo", "")).await });
    let (connection, _) = listener.accept().await.unwrap();
    let mut first = [0; 1];
    connection.readable().await.unwrap();
    assert_eq!(connection.peek(&mut first).await.unwrap(), 1);
    asking.abort();
    let _ = asking.await;
    // The gateway notices in its own time.
    let told = ["decision echo policy_allows", "outcome unknown"];
    let noticed = async {
        while acme.story().len() < told.len() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(30), noticed).await;
    assert_eq!(acme.story(), told);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_disappears_denies_everything_on_both_sides() {
    let (server, seen) = tool_server().await;
    let two = Two::plain(&format!("url = \"{server}\"")).await;
    assert_eq!(post(&two.url(), call(1, "echo", "")).await.status, 200);
    std::fs::remove_file(two.globex.journal()).unwrap();
    let got = post(&two.url(), call(2, "echo", "")).await;
    assert!(got.text.contains("journal_write_failed"), "{got:?}");
    std::fs::remove_file(two.acme.journal()).unwrap();
    let before = two.line.all().len();
    let got = post(&two.url(), call(3, "echo", "")).await;
    assert_eq!(got.code(), "journal_write_failed");
    assert_eq!(two.line.all().len(), before, "nothing left acme");
    assert_eq!(seen.all().len(), 1);
    two.near.stop().await;
    two.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_after_a_stream_was_resumed_is_the_calls_answer() {
    let (server, _) = tool_server().await;
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let upstream = format!("url = \"{server}\"");
    let far = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
    let near = Running::start(&acme.config(&outgoing(&far.url("desk"))), acme.gate()).await;
    let url = near.url("desk");
    let resume = |event: &'static str| {
        let request = reqwest::Client::new()
            .get(&url)
            .header("accept", "text/event-stream")
            .header("mcp-session-id", "s-1")
            .header("last-event-id", event);
        send(request)
    };
    let started = post_in(&url, Some("s-1"), call(7, "resumable", "")).await;
    assert!(!started.text.contains("result"), "{started:?}");
    // Nobody asked this.
    assert!(!resume("8").await.text.contains("result"));
    let resumed = resume("7").await;
    assert_eq!(resumed.last()["result"]["late"], json!(true));
    assert!(!resumed.text.contains("evidence"));
    // Once only.
    assert!(!resume("7").await.text.contains("result"));
    near.stop().await;
    far.stop().await;
    assert_eq!(
        acme.story(),
        ["request resumable policy_allows", "outcome succeeded"]
    );
    assert_eq!(
        globex.story(),
        ["decision resumable policy_allows", "outcome succeeded"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_flight_finish_when_the_gateway_stops() {
    let acme = Operator::new("acme.example", 1);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}/mcp", listener.local_addr().unwrap());
    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    let url = gateway.url("desk");
    let asking = {
        let url = url.clone();
        tokio::spawn(async move { post(&url, call(1, "echo", "")).await })
    };
    let (mut connection, _) = listener.accept().await.unwrap();
    connection.readable().await.unwrap();
    assert_eq!(connection.peek(&mut [0; 1]).await.unwrap(), 1);
    let stopping = tokio::spawn(gateway.stop());
    // The gateway takes nothing new any more once connecting to it fails.
    while reqwest::Client::new().get(&url).send().await.is_ok() {}
    assert!(!stopping.is_finished());
    let body = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut connection, answer.as_bytes())
        .await
        .unwrap();
    assert_eq!(asking.await.unwrap().text, body);
    stopping.await.unwrap();
    assert_eq!(
        acme.story(),
        ["decision echo policy_allows", "outcome succeeded"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_pass_with_their_unknown_members() {
    let (server, _) = tool_server().await;
    let two = Two::plain(&format!("url = \"{server}\"")).await;
    let body = r#"{"jsonrpc":"2.0","id":9,"method":"tools/list","params":{"cursor":"x"}}"#;
    let got = post(&two.url(), body).await;
    assert_eq!(got.last()["id"], json!(9));
    let (acme, globex) = two.stop().await;
    assert!(acme.story().is_empty() && globex.story().is_empty());
    let _: Value = got.last();
}

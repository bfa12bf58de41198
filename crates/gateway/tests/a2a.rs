//! A2A agents behind the gateway, alone and behind two of them in a row, with real sockets.

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

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{any, get};
use serde_json::{Value, json};
use world::{Operator, Running, stripped};

const AGENT: &str = "[[agents]]\nname = \"support-bot\"\n";
const URI: &str = "https://counterfoil.dev/a2a/evidence/v1";

#[test]
fn play_tool_server() {
    world::play_tool_server();
}

/// A body and the header of extensions.
type Came = (String, Option<String>);

/// What came, as it came.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Came>>>);

impl Seen {
    fn note(&self, headers: &HeaderMap, body: &[u8]) {
        let extensions = headers.get("a2a-extensions");
        let extensions = extensions.map(|value| value.to_str().unwrap().to_owned());
        let body = String::from_utf8(body.to_vec()).unwrap();
        self.0.lock().unwrap().push((body, extensions));
    }

    fn all(&self) -> Vec<Came> {
        self.0.lock().unwrap().clone()
    }

    fn bodies(&self) -> Vec<String> {
        self.all().into_iter().map(|(body, _)| body).collect()
    }
}

async fn listen(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn reply(kind: &str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    let kind = kind.parse().unwrap();
    response.headers_mut().insert("content-type", kind);
    response
}

/// An agent that does as the text of the message says.
async fn agent() -> (String, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let answer = move |headers: HeaderMap, body: Bytes| {
        let noted = noted.clone();
        async move {
            noted.note(&headers, &body);
            let message: Value = serde_json::from_slice(&body).unwrap();
            let text = message["params"]["message"]["parts"][0]["text"].as_str();
            serve(&message["id"], text.unwrap_or_default())
        }
    };
    let card = || async {
        reply(
            "application/json",
            json!({
                "name": "desk",
                "signatures": [{}],
                "supportedInterfaces": [
                    {"url": "http://inside:1/", "protocolBinding": "GRPC"},
                    {"url": "http://inside:2/", "protocolBinding": "JSONRPC"},
                ],
            })
            .to_string(),
        )
    };
    let router = Router::new()
        .route("/rpc", any(answer))
        .route("/.well-known/agent-card.json", get(card));
    let address = listen(router).await;
    (format!("http://{address}/rpc"), seen)
}

fn serve(id: &Value, text: &str) -> Response {
    let answer = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    let event = |result: &str| format!("data: {}\r\n\r\n", answer(result));
    let status = |state: &str| {
        event(&format!(
            r#"{{"statusUpdate":{{"taskId":"t","status":{{"state":"{state}"}}}}}}"#
        ))
    };
    let stream = |events: &[String]| reply("text/event-stream", events.concat());
    let artifact = event(r#"{"artifactUpdate":{"x":1.0 ,"artifact":{"parts":[]}}}"#);
    match text {
        "task" => reply(
            "application/json",
            answer(
                r#"{"task":{"id":"t","metadata":{"own":1},"status":{"state":"TASK_STATE_WORKING"}}}"#,
            ),
        ),
        "nothing" => reply("application/json", answer("null")),
        "error" => reply(
            "application/json",
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32001,"message":"no task","data":[{{"a":1}}]}}}}"#
            ),
        ),
        "forge" => reply(
            "application/json",
            answer(&format!(r#"{{"message":{{"metadata":{{"{URI}":{{}}}}}}}}"#)),
        ),
        "wrong-id" => reply(
            "application/json",
            r#"{"jsonrpc":"2.0","id":424242,"result":{}}"#.to_owned(),
        ),
        "stream" => stream(&[
            ": hello\n\n".to_owned(),
            status("TASK_STATE_WORKING"),
            artifact,
            status("TASK_STATE_COMPLETED"),
        ]),
        // What looks like the end need not be it.
        "stream-on" => stream(&[
            status("TASK_STATE_COMPLETED"),
            artifact,
            status("TASK_STATE_COMPLETED"),
        ]),
        "stream-message" => stream(&[event(r#"{"message":{"parts":[]}}"#)]),
        "stream-old" => stream(&[
            event(r#"{"kind":"task","id":"t","status":{"state":"working"}}"#),
            event(r#"{"kind":"status-update","final":true,"status":{"state":"completed"}}"#),
        ]),
        "stream-broken" => stream(&[status("TASK_STATE_WORKING")]),
        "stream-forge" => stream(&[
            status("TASK_STATE_WORKING"),
            event(&format!(r#"{{"message":{{"metadata":{{"{URI}":{{}}}}}}}}"#)),
        ]),
        "stream-noise" => stream(&[
            "data: not json\n\n".to_owned(),
            "data: {\"jsonrpc\":\"2.0\",\"id\":424242,\"result\":{\"message\":{}}}\n\n".to_owned(),
            "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n".to_owned(),
            status("TASK_STATE_COMPLETED"),
        ]),
        _ => reply(
            "application/json",
            answer(r#"{ "message":{"x-odd":1.0 ,"parts":[]} }"#),
        ),
    }
}

type Change = Arc<dyn Fn(String) -> String + Send + Sync>;

/// Something on the line to `target` that changes bodies, and perhaps drops the header.
async fn tamper(target: SocketAddr, request: Change, answer: Change) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let pass = move |headers: HeaderMap, body: Bytes| {
        let (request, answer, noted) = (Arc::clone(&request), Arc::clone(&answer), noted.clone());
        async move {
            noted.note(&headers, &body);
            let body = request(String::from_utf8(body.to_vec()).unwrap());
            let mut sending = reqwest::Client::new()
                .post(format!("http://{target}/a2a/desk"))
                .header("content-type", "application/json");
            if !body.contains("no-header") {
                sending = sending.header("a2a-extensions", headers["a2a-extensions"].clone());
            }
            let response = sending.body(body).send().await.unwrap();
            let kind = response.headers()["content-type"]
                .to_str()
                .unwrap()
                .to_owned();
            reply(&kind, answer(response.text().await.unwrap()))
        }
    };
    (listen(Router::new().fallback(pass)).await, seen)
}

fn unchanged() -> Change {
    Arc::new(|body| body)
}

fn local(url: &str) -> String {
    format!(
        "{AGENT}[[servers]]\nname = \"desk\"\ncallers = \"agents\"\nprotocol = \"a2a\"\nurl = \"{url}\"\n"
    )
}

fn incoming(url: &str) -> String {
    format!(
        "[[servers]]\nname = \"desk\"\ncallers = \"operators\"\nprotocol = \"a2a\"\nurl = \"{url}\"\n"
    )
}

fn outgoing(address: SocketAddr) -> String {
    let url = format!("http://{address}/a2a/desk");
    format!("{}operator = \"globex.example\"\n", local(&url))
}

fn ask(method: &str, text: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{"message":{{"parts":[{{"text":"{text}"}}]}} }}}}"#
    )
}

/// What came back: status, whether it is a stream, the text.
async fn post(gateway: &Running, body: impl Into<reqwest::Body>) -> (u16, bool, String) {
    let response = reqwest::Client::new()
        .post(format!("http://{}/a2a/desk", gateway.address))
        .header("content-type", "application/json")
        .header("a2a-extensions", "urn:other")
        .header("authorization", "Bearer mine")
        .body(body)
        .send()
        .await
        .unwrap();
    let is_stream = response.headers()["content-type"] == "text/event-stream";
    (
        response.status().as_u16(),
        is_stream,
        response.text().await.unwrap(),
    )
}

fn messages((_, is_stream, text): &(u16, bool, String)) -> Vec<Value> {
    if !is_stream {
        return vec![serde_json::from_str(text).unwrap()];
    }
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn code(answer: &(u16, bool, String)) -> String {
    let last = messages(answer).pop().unwrap();
    last["error"]["data"]["dev.counterfoil/refusal"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no refusal: {last}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_cannot_be_understood_reaches_an_agent() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = agent().await;
    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    let good = ask("SendMessage", "hi");
    for (body, expected) in [
        (format!("[{good}]"), "batch_not_supported"),
        (good.replace("\"id\":7", "\"id\":null"), "invalid_id"),
        (good.replace("\"id\":7", "\"id\":1.5"), "invalid_id"),
        (
            good.replace("SendMessage", "SendMessages"),
            "unknown_method",
        ),
        (good.replace("SendMessage", "tools/call"), "unknown_method"),
        (good.replace("SendMessage", "sendMessage"), "unknown_method"),
        (
            good.replace("\"method\":", "\"method\":\"GetTask\",\"m\\u0065thod\":"),
            "",
        ),
        (
            good.replace("\"params\":", "\"params\":[],\"x\":"),
            "invalid_params",
        ),
        (format!("{good}{good}"), ""),
        (format!("\u{feff}{good}"), ""),
        ("not json".to_owned(), ""),
        (
            good.replace(
                "\"message\":",
                &format!("\"metadata\":{{\"{URI}\":{{}}}},\"message\":"),
            ),
            "evidence_member_present",
        ),
        (
            good.replace("hi", &"x".repeat(5_000_000)),
            "message_too_long",
        ),
    ] {
        let got = post(&gateway, body.clone()).await;
        let shown = &body[..body.len().min(120)];
        assert!(code(&got).contains(expected), "{shown}: {got:?}");
    }
    let client = reqwest::Client::new();
    let url = format!("http://{}/a2a/desk", gateway.address);
    let without_id = client
        .post(&url)
        .header("content-type", "application/json")
        .body(good.replace("\"id\":7,", ""));
    assert_eq!(without_id.send().await.unwrap().status().as_u16(), 400);
    let plain = client
        .post(&url)
        .header("content-type", "text/plain")
        .body(good.clone());
    assert_eq!(plain.send().await.unwrap().status().as_u16(), 415);
    assert_eq!(
        client.get(&url).send().await.unwrap().status().as_u16(),
        405
    );
    let host = client
        .post(&url)
        .header("content-type", "application/json")
        .header("host", "evil.example")
        .body(good);
    assert_eq!(host.send().await.unwrap().status().as_u16(), 403);
    assert_eq!(seen.bodies(), Vec::<String>::new());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_unchanged_and_both_names_of_a_method_are_one_verb() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = agent().await;
    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    for method in ["SendMessage", "message/send"] {
        let body = ask(method, "hi");
        let got = post(&gateway, body.clone()).await;
        assert_eq!(
            got.2,
            r#"{"jsonrpc":"2.0","id":7,"result":{ "message":{"x-odd":1.0 ,"parts":[]} }}"#
        );
        assert_eq!(
            seen.all().last().unwrap(),
            &(body, Some("urn:other".to_owned()))
        );
    }
    let stream = post(&gateway, ask("SendStreamingMessage", "stream")).await;
    assert_eq!(stream.2, serve_text("stream"));
    assert_eq!(
        code(&post(&gateway, ask("SendMessage", "wrong-id")).await),
        "upstream_failed"
    );
    gateway.stop().await;
    let verbs: Vec<String> = acme
        .records()
        .iter()
        .filter_map(|record| match &record.body {
            counterfoil_protocol::record::Body::Decision(decision) => {
                Some(format!("{} {}", decision.action.verb, decision.action.tool))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        verbs,
        [
            "message/send desk",
            "message/send desk",
            "message/stream desk",
            "message/send desk"
        ]
    );
}

/// The stream that the agent sends for this text, as text.
fn serve_text(text: &str) -> String {
    let response = serve(&json!(7), text);
    let body = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current()
            .block_on(axum::body::to_bytes(response.into_body(), usize::MAX))
    });
    String::from_utf8(body.unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn between_operators_answers_and_streams_are_attested_and_nobody_else_sees_it() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let (upstream, seen) = agent().await;
    let there = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
    let (line, wire) = tamper(there.address, unchanged(), unchanged()).await;
    let here = Running::start(&acme.config(&outgoing(line)), acme.gate()).await;
    let all = [
        ("SendMessage", "hi"),
        ("SendMessage", "task"),
        ("SendMessage", "error"),
        ("DeleteTaskPushNotificationConfig", "nothing"),
        ("SendStreamingMessage", "stream"),
        ("SendStreamingMessage", "stream-on"),
        ("SendStreamingMessage", "stream-message"),
        ("message/stream", "stream-old"),
        ("SendStreamingMessage", "stream-noise"),
    ];
    for (method, text) in all {
        let got = post(&here, ask(method, text)).await;
        assert_eq!(got.0, 200);
        let expected = serve_text(text);
        if text == "stream-noise" {
            assert_eq!(messages(&got).len(), 1, "{}", got.2);
        } else {
            assert_eq!(got.2, expected, "{text}");
        }
    }
    for ((body, extensions), (method, text)) in seen.all().iter().zip(all) {
        assert_eq!(*body, ask(method, text));
        assert_eq!(extensions.as_deref(), Some("urn:other"));
    }
    for (body, extensions) in wire.all() {
        let start = format!(r#""params":{{"metadata":{{"{URI}":{{"meta":"added","records":["#);
        assert!(body.contains(&start), "{body}");
        assert_eq!(extensions.unwrap(), format!("{URI},urn:other"));
    }
    here.stop().await;
    there.stop().await;
    for operator in [&acme, &globex] {
        let outcomes: Vec<String> = operator
            .story()
            .into_iter()
            .filter(|line| line.starts_with("outcome"))
            .collect();
        assert_eq!(outcomes.len(), all.len());
        for (outcome, (_, text)) in outcomes.iter().zip(all) {
            let expected = if text == "error" {
                "failed"
            } else {
                "succeeded"
            };
            assert_eq!(*outcome, format!("outcome {expected}"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_on_the_way_is_refused_or_withheld() {
    let same = unchanged;
    let swap = |from: &'static str, to: &'static str| -> Change {
        Arc::new(move |body| body.replacen(from, to, 1))
    };
    let cases: Vec<(&str, Change, Change, &str, &str)> = vec![
        (
            "hi",
            swap("\"hi\"", "\"ho\""),
            same(),
            "parameters_mismatch",
            "refused_by_counterparty",
        ),
        (
            "hi",
            swap("SendMessage", "GetTask"),
            same(),
            "action_mismatch",
            "refused_by_counterparty",
        ),
        (
            "no-header",
            same(),
            same(),
            "evidence_missing",
            "evidence_invalid",
        ),
        (
            "hi",
            same(),
            swap("1.0 ", "1.1 "),
            "result_mismatch",
            "evidence_invalid",
        ),
        (
            "hi",
            same(),
            swap(URI, "urn:else"),
            "evidence_missing",
            "evidence_invalid",
        ),
        (
            "stream",
            same(),
            swap("1.0 ", "1.1 "),
            "result_mismatch",
            "evidence_invalid",
        ),
        // An event that is taken out, or the last one.
        (
            "stream",
            same(),
            swap("artifactUpdate", "ignored"),
            "result_mismatch",
            "evidence_invalid",
        ),
        (
            "stream",
            same(),
            swap(URI, "urn:else"),
            "upstream_failed",
            "unknown",
        ),
    ];
    for (text, request, answer, expected, outcome) in cases {
        let acme = Operator::new("acme.example", 1);
        let globex = Operator::new("globex.example", 2);
        acme.knows(&globex);
        globex.knows(&acme);
        let (upstream, seen) = agent().await;
        let there = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
        let (line, _) = tamper(there.address, request, answer).await;
        let here = Running::start(&acme.config(&outgoing(line)), acme.gate()).await;
        let method = if text == "stream" {
            "SendStreamingMessage"
        } else {
            "SendMessage"
        };
        let got = post(&here, ask(method, text)).await;
        assert_eq!(code(&got), expected, "{text}: {got:?}");
        // What does not pass the checks on arrival reaches nobody.
        let executed = outcome != "refused_by_counterparty" && text != "no-header";
        assert_eq!(seen.bodies().len(), usize::from(executed), "{expected}");
        here.stop().await;
        there.stop().await;
        assert_eq!(
            acme.story().last().unwrap(),
            &format!("outcome {outcome}"),
            "{expected}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_a_stream_has_an_outcome() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let (upstream, _) = agent().await;
    let there = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
    let here = Running::start(&acme.config(&outgoing(there.address)), acme.gate()).await;
    for text in ["stream-broken", "stream-forge"] {
        let got = post(&here, ask("SendStreamingMessage", text)).await;
        // The event before the end has been delivered; the end says that nobody knows.
        assert_eq!(messages(&got).len(), 2, "{got:?}");
        assert_eq!(code(&got), "outcome_unknown", "{text}");
    }
    let got = post(&here, ask("SendMessage", "forge")).await;
    assert_eq!(code(&got), "evidence_member_present");
    here.stop().await;
    there.stop().await;
    let nobody = outgoing("127.0.0.1:1".parse().unwrap());
    let here = Running::start(&acme.config(&nobody), acme.gate()).await;
    let got = post(&here, ask("SendMessage", "hi")).await;
    assert_eq!(code(&got), "upstream_unreachable");
    here.stop().await;
    let outcomes = |operator: &Operator| -> Vec<String> {
        let story = operator.story().into_iter();
        story.filter(|line| line.starts_with("outcome")).collect()
    };
    assert_eq!(
        outcomes(&globex),
        ["outcome unknown", "outcome unknown", "outcome failed"]
    );
    assert_eq!(
        outcomes(&acme),
        [
            "outcome evidence_invalid",
            "outcome evidence_invalid",
            "outcome failed",
            "outcome not_executed"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_card_names_the_gateway_and_asks_others_for_the_extension() {
    let globex = Operator::new("globex.example", 2);
    let (upstream, _) = agent().await;
    for (more, extensions) in [
        (local(&upstream), json!([])),
        (
            incoming(&upstream),
            json!([{
                "uri": URI,
                "description": "Requests and answers carry signed records of both operators.",
                "required": true,
            }]),
        ),
    ] {
        let gateway = Running::start(&globex.config(&more), globex.gate()).await;
        let url = format!(
            "http://{}/a2a/desk/.well-known/agent-card.json",
            gateway.address
        );
        let card: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        assert_eq!(card["capabilities"]["extensions"], extensions);
        assert_eq!(card["name"], "desk");
        assert!(card.get("signatures").is_none());
        let interfaces = card["supportedInterfaces"].as_array().unwrap();
        assert_eq!(interfaces.len(), 1);
        let address = interfaces[0]["url"].as_str().unwrap();
        assert!(address.ends_with("/a2a/desk"), "{address}");
        gateway.stop().await;
    }
}

/// Two operators who know where the other answers, with something on the line between them.
async fn met(request: Change, answer: Change) -> (Operator, Operator, Running, Running) {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    let (upstream, _) = agent().await;
    let there = Running::with_exchange(&globex, &incoming(&upstream)).await;
    let (line, _) = tamper(there.address, request, answer).await;
    let here = Running::with_exchange(&acme, &outgoing(line)).await;
    acme.knows_endpoint(&globex, there.address);
    globex.knows_endpoint(&acme, here.address);
    (acme, globex, here, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_call_that_ended_without_the_other_sides_word_is_fetched() {
    for (method, text) in [("SendMessage", "hi"), ("SendStreamingMessage", "stream")] {
        let (acme, _globex, here, there) = met(unchanged(), Arc::new(|_| String::new())).await;
        let got = post(&here, ask(method, text)).await;
        assert_eq!(code(&got), "upstream_failed");
        assert_eq!(acme.story().last().unwrap(), "outcome unknown");
        world::resolved(&acme).await;
        here.stop().await;
        there.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_whose_predecessors_were_lost_wait_until_they_are_fetched() {
    for (request, answer) in [
        (Arc::new(stripped) as Change, unchanged()),
        (unchanged(), Arc::new(stripped) as Change),
    ] {
        let (acme, globex, here, there) = met(request, answer).await;
        for (method, text) in [
            ("SendMessage", "hi"),
            ("SendMessage", "hi"),
            ("SendStreamingMessage", "stream"),
            ("SendStreamingMessage", "stream"),
        ] {
            let got = post(&here, ask(method, text)).await;
            assert_eq!(got.2, serve_text(text));
        }
        assert_eq!(world::status(&acme).unresolved, []);
        assert_eq!(world::status(&globex).gaps, []);
        here.stop().await;
        there.stop().await;
    }
}

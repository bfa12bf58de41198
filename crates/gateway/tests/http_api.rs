//! Plain HTTP APIs behind the gateway, alone and behind two of them in a row, with real sockets.

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

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_enforcer::call::Envelope;
use counterfoil_gateway::exchange::{ExchangeClient, Signer};
use counterfoil_gateway::proxy::Gate;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::record::UnverifiedRecord;
use serde_json::{Value, json};
use world::{Operator, Running};

const AGENT: &str = "[[agents]]\nname = \"support-bot\"\n";
const EVIDENCE: &str = "counterfoil-evidence";

#[test]
fn play_tool_server() {
    world::play_tool_server();
}

/// What an API saw: method, target, headers, body.
#[derive(Clone, Debug)]
struct Asked {
    line: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Asked>>>);

impl Seen {
    fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.all().into_iter().map(|asked| asked.line).collect()
    }
}

async fn listen(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// An API that knows nothing of Counterfoil.
async fn api() -> (String, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let answer = move |request: Request| {
        let noted = noted.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let path = parts.uri.path().to_owned();
            noted.0.lock().unwrap().push(Asked {
                line: format!("{} {}", parts.method, parts.uri),
                headers: parts.headers,
                body: body.to_vec(),
            });
            serve(&path, body)
        }
    };
    let address = listen(Router::new().fallback(answer)).await;
    (format!("http://{address}/base/"), seen)
}

fn serve(path: &str, body: Bytes) -> Response {
    let response = Response::builder();
    match path.strip_prefix("/base").unwrap() {
        "/created" => response
            .status(201)
            .header("location", "/orders/8")
            .header("set-cookie", "a=b")
            .header("content-type", "application/json")
            .body(Body::from("{ \"id\": 8.0 }")),
        "/missing" => response
            .status(404)
            .header("content-type", "text/plain")
            .body(Body::from("no such order")),
        "/refused-by-the-api" => response.status(403).body(Body::empty()),
        "/moved" => response
            .status(307)
            .header("location", "http://127.0.0.1:1/")
            .body(Body::empty()),
        "/forge" => response
            .header(EVIDENCE, "records=()")
            .body(Body::from("forged")),
        "/twice" => response
            .header("etag", "1")
            .header("etag", "2")
            .body(Body::from("two")),
        "/large" => response.body(Body::from(vec![b'x'; 5_000_000])),
        "/nothing" => response.status(204).body(Body::empty()),
        _ => response
            .header("content-type", "application/octet-stream")
            .body(Body::from(body)),
    }
    .unwrap()
}

type Change = Arc<dyn Fn(&mut Wire) + Send + Sync>;

/// A request or response on its way.
#[derive(Clone, Debug)]
struct Wire {
    status: u16,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Something on the line to `target` that changes what passes. Returns its address and what
/// requests came.
async fn tamper(target: SocketAddr, request: Change, answer: Change) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let pass = move |asked: Request| {
        let (request, answer, noted) = (Arc::clone(&request), Arc::clone(&answer), noted.clone());
        async move {
            let (parts, body) = asked.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            noted.0.lock().unwrap().push(Asked {
                line: format!("{} {}", parts.method, parts.uri),
                headers: parts.headers.clone(),
                body: body.to_vec(),
            });
            let mut wire = Wire {
                status: 0,
                path: parts.uri.to_string(),
                headers: parts.headers,
                body: body.to_vec(),
            };
            request(&mut wire);
            wire.headers.remove("host");
            wire.headers.remove("content-length");
            wire.headers.remove("transfer-encoding");
            let got = client()
                .request(parts.method, format!("http://{target}{}", wire.path))
                .headers(wire.headers)
                .body(wire.body)
                .send()
                .await
                .unwrap();
            let mut wire = Wire {
                status: got.status().as_u16(),
                path: String::new(),
                headers: got.headers().clone(),
                body: got.bytes().await.unwrap().to_vec(),
            };
            answer(&mut wire);
            wire.headers.remove("content-length");
            wire.headers.remove("transfer-encoding");
            let mut response = Response::new(Body::from(wire.body));
            *response.status_mut() = wire.status.try_into().unwrap();
            *response.headers_mut() = wire.headers;
            response
        }
    };
    (listen(Router::new().fallback(pass)).await, seen)
}

fn unchanged() -> Change {
    Arc::new(|_| {})
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

fn local(url: &str) -> String {
    format!(
        "{AGENT}[[servers]]\nname = \"orders\"\ncallers = \"agents\"\nprotocol = \"http\"\nurl = \"{url}\"\n"
    )
}

fn incoming(url: &str) -> String {
    format!(
        "[[servers]]\nname = \"orders\"\ncallers = \"operators\"\nprotocol = \"http\"\nurl = \"{url}\"\n"
    )
}

fn outgoing(address: SocketAddr) -> String {
    let url = format!("http://{address}/http/orders");
    format!("{}operator = \"globex.example\"\n", local(&url))
}

/// What came back.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn problem(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        problem
    }

    fn code(&self) -> String {
        self.problem()["code"].as_str().unwrap().to_owned()
    }
}

async fn send(request: reqwest::RequestBuilder) -> Got {
    let response = request.send().await.unwrap();
    Got {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

fn url(gateway: &Running, path: &str) -> String {
    format!("http://{}/http/orders{path}", gateway.address)
}

async fn get(gateway: &Running, path: &str) -> Got {
    send(client().get(url(gateway, path))).await
}

/// Sends bytes as they are, and reads all that comes until the gateway hangs up.
fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_pass_unchanged_but_for_headers_that_are_not_listed() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = api().await;
    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    let body = b"\x00\xff any bytes".to_vec();
    let got = send(
        client()
            .put(url(&gateway, "/orders/7%20a?x=1&y[]=%2F"))
            .header("content-type", "application/octet-stream")
            .header("authorization", "Bearer mine")
            .header("cookie", "a=b")
            .header("x-http-method-override", "DELETE")
            .header("if-match", "\"v1\"")
            .body(body.clone()),
    )
    .await;
    assert_eq!((got.status, &got.body), (200, &body));
    let asked = &seen.all()[0];
    assert_eq!(asked.line, "PUT /base/orders/7%20a?x=1&y[]=%2F");
    assert_eq!(asked.body, body);
    assert_eq!(asked.headers["if-match"], "\"v1\"");
    for name in [
        "authorization",
        "cookie",
        "x-http-method-override",
        EVIDENCE,
    ] {
        assert!(!asked.headers.contains_key(name), "{name}");
    }

    let got = send(client().post(url(&gateway, "/created"))).await;
    assert_eq!((got.status, &got.body[..]), (201, &b"{ \"id\": 8.0 }"[..]));
    assert_eq!(got.headers["location"], "/orders/8");
    assert!(!got.headers.contains_key("set-cookie"));
    assert_eq!(get(&gateway, "/missing").await.status, 404);
    assert_eq!(get(&gateway, "/refused-by-the-api").await.status, 403);
    let moved = get(&gateway, "/moved").await;
    assert_eq!(
        (moved.status, &moved.headers["location"]),
        (307, &"http://127.0.0.1:1/".parse().unwrap())
    );
    assert_eq!(get(&gateway, "/nothing").await.status, 204);
    let head = send(client().head(url(&gateway, "/missing"))).await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    assert_eq!(get(&gateway, "").await.status, 200);
    assert_eq!(seen.lines().last().unwrap(), "GET /base/");
    gateway.stop().await;
    assert_eq!(
        acme.story()[..6],
        [
            "decision /orders/7%20a policy_allows",
            "outcome succeeded",
            "decision /created policy_allows",
            "outcome succeeded",
            "decision /missing policy_allows",
            "outcome failed",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_never_reaches_the_api() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = api().await;
    let gateway = Running::start(
        &acme.config(&local(&upstream)),
        Gate::Refusing {
            code: ReasonCode::literal("journal_unavailable"),
            detail: "the disk is gone".to_owned(),
        },
    )
    .await;
    let got = get(&gateway, "/orders").await;
    assert_eq!(
        (got.status, got.code().as_str()),
        (503, "journal_unavailable")
    );
    gateway.stop().await;

    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    let got = get(&gateway, "/forbidden/orders").await;
    let problem = got.problem();
    assert_eq!(got.status, 403);
    assert_eq!(problem["code"], "policy_forbids");
    assert_eq!(problem["rules"], json!(["no-forbidden-tools"]));
    assert_eq!(problem["instead"], "use another tool.");
    assert_eq!(problem["detail"], "`/forbidden/orders` is forbidden.");
    assert_eq!(
        send(client().get(format!("http://{}/http/other/x", gateway.address)))
            .await
            .code(),
        "unknown_server"
    );
    gateway.stop().await;
    assert!(seen.all().is_empty());
    assert_eq!(acme.story(), ["decision /forbidden/orders policy_forbids"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_in_two_ways_is_refused_and_nothing_is_forwarded() {
    let acme = Operator::new("acme.example", 1);
    let (upstream, seen) = api().await;
    let gateway = Running::start(&acme.config(&local(&upstream)), acme.gate()).await;
    let address = gateway.address;
    let host = format!("Host: {address}\r\n");
    let smuggled = format!("GET /http/orders/smuggled HTTP/1.1\r\n{host}\r\n");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    let post = |headers: &str, body: &str| {
        format!("POST /http/orders/x HTTP/1.1\r\n{host}{headers}\r\n{body}")
    };
    let chunked_nothing = format!("0\r\n\r\n{smuggled}");
    let requests = [
        (get("/http/orders/a/../admin"), "path_not_canonical"),
        (get("/http/orders/%61dmin"), "path_not_canonical"),
        (get("/http/orders//admin"), "path_not_canonical"),
        (get("/http/orders/a%2fb"), "path_not_canonical"),
        (get("/http/orders/a?q='"), "query_not_canonical"),
        (
            get(&format!("http://{address}/http/orders/a")),
            "target_form_not_supported",
        ),
        (
            format!("CONNECT /http/orders/a HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
            "",
        ),
        (
            format!("CONNECT evil.example:443 HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
            "",
        ),
        (
            format!("TRACE /http/orders/a HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
            "method_not_supported",
        ),
        (
            format!("GET /http/orders/a HTTP/1.0\r\n{host}\r\n"),
            "http_version_not_supported",
        ),
        (
            format!(
                "GET /http/orders/a HTTP/1.1\r\n{host}Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
            ),
            "upgrade_not_supported",
        ),
        (
            post("Content-Length: 0\r\nContent-Length: 5\r\n", &smuggled),
            "",
        ),
        (
            post("Transfer-Encoding: gzip, chunked\r\n", &chunked_nothing),
            "framing_ambiguous",
        ),
        (post("Transfer-Encoding: identity\r\n", &smuggled), ""),
        (post("Content-Length: +5\r\n", "hello"), ""),
        (
            post(
                "Content-Length: 0\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nConnection: close\r\n",
                "",
            ),
            "header_repeated",
        ),
        (
            post(
                "Content-Length: 0\r\nConnection: close, content-type\r\n",
                "",
            ),
            "connection_header_invalid",
        ),
        (
            post(
                "Content-Length: 0\r\nCounterfoil-Evidence: records=()\r\nConnection: close\r\n",
                "",
            ),
            "evidence_header_present",
        ),
        (post("Content-Length: 9000000\r\n", ""), "message_too_long"),
        (
            "GET /http/orders/a HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
                .to_owned(),
            "host_not_allowed",
        ),
    ];
    for (request, code) in requests {
        let answer = tokio::task::spawn_blocking({
            let request = request.clone();
            move || raw(address, request.as_bytes())
        })
        .await
        .unwrap();
        let shown = &request[..request.len().min(200)];
        assert!(
            answer.starts_with("HTTP/1.1 4")
                || answer.starts_with("HTTP/1.1 5")
                || answer.starts_with("HTTP/1.0 5"),
            "{shown}\n{answer}"
        );
        assert!(answer.contains(code), "{shown}\n{answer}");
    }
    assert_eq!(seen.lines(), Vec::<String>::new());

    // A chunked body passes, but what follows it on the connection is not taken for a request:
    // where a length stood beside the encoding, somebody else may have gone by it.
    for headers in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let request = post(headers, &format!("2\r\nhi\r\n{chunked_nothing}"));
        let answer = tokio::task::spawn_blocking(move || raw(address, request.as_bytes()))
            .await
            .unwrap();
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let lines = seen.lines();
    assert!(lines.iter().all(|line| line == "POST /base/x"), "{lines:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_operators_both_hold_matching_halves_and_the_api_sees_nothing_of_it() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let (upstream, seen) = api().await;
    let there = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
    let (line, wire) = tamper(there.address, unchanged(), unchanged()).await;
    let here = Running::start(&acme.config(&outgoing(line)), acme.gate()).await;

    let body = "{ \"amount\": 5.0 }";
    let got = send(
        client()
            .post(url(&here, "/refunds?dry=1"))
            .header("content-type", "application/json")
            .body(body),
    )
    .await;
    assert_eq!(
        (got.status, &got.body[..]),
        (200, body.as_bytes()),
        "{got:?}"
    );
    assert!(!got.headers.contains_key(EVIDENCE));
    let asked = &seen.all()[0];
    assert_eq!(asked.line, "POST /base/refunds?dry=1");
    assert_eq!(asked.body, body.as_bytes());
    assert!(!asked.headers.contains_key(EVIDENCE));
    let between = &wire.all()[0];
    assert_eq!(between.line, "POST /http/orders/refunds?dry=1");
    assert_eq!(between.body, body.as_bytes());
    let evidence = between.headers[EVIDENCE].to_str().unwrap();
    assert!(evidence.starts_with("records=(:"), "{evidence}");
    assert!(evidence.len() < 8_192);

    assert_eq!(get(&here, "/missing").await.status, 404);
    // Attested like any other answer, though it says 403.
    assert_eq!(get(&here, "/refused-by-the-api").await.status, 403);
    let denied = get(&here, "/forbidden").await;
    assert_eq!(denied.code(), "policy_forbids");
    let created = send(client().post(url(&here, "/created"))).await;
    assert_eq!(created.headers["location"], "/orders/8");
    let head = send(client().head(url(&here, "/created"))).await;
    assert_eq!((head.status, head.body.len()), (201, 0));
    assert_eq!(get(&here, "/nothing").await.status, 204);
    here.stop().await;
    there.stop().await;

    let paths = ["/refunds", "/missing", "/refused-by-the-api"];
    let outcomes = ["succeeded", "failed", "failed"];
    for (operator, word) in [(&acme, "request"), (&globex, "decision")] {
        let story = operator.story();
        for (index, (path, outcome)) in paths.iter().zip(outcomes).enumerate() {
            assert_eq!(story[2 * index], format!("{word} {path} policy_allows"));
            assert_eq!(story[2 * index + 1], format!("outcome {outcome}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_of_the_other_operator_is_signed_and_says_what_instead() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let (upstream, seen) = api().await;
    let there = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
    let here = Running::start(&acme.config(&outgoing(there.address)), acme.gate()).await;
    let got = get(&here, "/unwelcome").await;
    assert_eq!(got.status, 403);
    let problem = got.problem();
    assert_eq!(problem["code"], "policy_forbids");
    assert_eq!(problem["rules"], json!(["no-unwelcome-tools"]));
    assert!(seen.all().is_empty());
    here.stop().await;
    there.stop().await;
    assert_eq!(
        acme.story(),
        [
            "request /unwelcome policy_allows",
            "outcome refused_by_counterparty"
        ]
    );
    assert_eq!(globex.story(), ["decision /unwelcome policy_forbids"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_changed_on_the_way_is_refused() {
    let changes: [(Change, &str); 8] = [
        (Arc::new(|wire| wire.body.push(b'!')), "parameters_mismatch"),
        (
            Arc::new(|wire| wire.path.push_str("&more=1")),
            "parameters_mismatch",
        ),
        (
            Arc::new(|wire| wire.path = wire.path.replace("/refunds", "/payouts")),
            "action_mismatch",
        ),
        (
            Arc::new(|wire| {
                wire.headers
                    .insert("content-type", "application/json".parse().unwrap());
            }),
            "parameters_mismatch",
        ),
        (
            Arc::new(|wire| {
                wire.headers.insert("if-match", "\"x\"".parse().unwrap());
            }),
            "parameters_mismatch",
        ),
        (
            Arc::new(|wire| {
                wire.headers.remove(EVIDENCE);
            }),
            "evidence_missing",
        ),
        (
            Arc::new(|wire| {
                let value = wire.headers[EVIDENCE].clone();
                wire.headers.append(EVIDENCE, value);
            }),
            "evidence_malformed",
        ),
        (
            Arc::new(|wire| {
                wire.headers
                    .insert(EVIDENCE, "records=(:AAAA:)".parse().unwrap());
            }),
            "cbor",
        ),
    ];
    for (change, code) in changes {
        let acme = Operator::new("acme.example", 1);
        let globex = Operator::new("globex.example", 2);
        acme.knows(&globex);
        globex.knows(&acme);
        let (upstream, seen) = api().await;
        let there = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
        let answers = Seen::default();
        let noted = answers.clone();
        let note: Change = Arc::new(move |wire| {
            noted.0.lock().unwrap().push(Asked {
                line: wire.status.to_string(),
                headers: wire.headers.clone(),
                body: wire.body.clone(),
            });
        });
        let (line, _) = tamper(there.address, change, note).await;
        let here = Running::start(&acme.config(&outgoing(line)), acme.gate()).await;
        let got = send(
            client()
                .post(url(&here, "/refunds?a=1"))
                .header("content-type", "text/plain")
                .body("hello"),
        )
        .await;
        // The refusal is of the other side; what acme makes of it depends on whether it is signed.
        assert!(got.status == 403 || got.status == 502, "{code}: {got:?}");
        let answer = &answers.all()[0];
        assert_eq!(answer.line, "403", "{code}");
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(
            problem["code"].as_str().unwrap().starts_with(code),
            "{code}: {problem}"
        );
        assert!(seen.all().is_empty(), "{code}");
        here.stop().await;
        there.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_changed_on_the_way_is_withheld() {
    let changes: [(Change, &str); 7] = [
        (Arc::new(|wire| wire.body.push(b'!')), "result_mismatch"),
        (Arc::new(|wire| wire.status = 202), "result_mismatch"),
        (
            Arc::new(|wire| {
                wire.headers
                    .insert("location", "http://evil.example/".parse().unwrap());
            }),
            "result_mismatch",
        ),
        (
            Arc::new(|wire| {
                wire.headers.remove("content-type");
            }),
            "result_mismatch",
        ),
        (
            Arc::new(|wire| {
                wire.headers.remove(EVIDENCE);
            }),
            "evidence_missing",
        ),
        (
            Arc::new(|wire| {
                wire.headers.insert(EVIDENCE, "nothing".parse().unwrap());
            }),
            "evidence_malformed",
        ),
        (
            Arc::new(|wire| {
                let value = wire.headers["content-type"].clone();
                wire.headers.append("content-type", value);
            }),
            "header_repeated",
        ),
    ];
    for (change, code) in changes {
        let acme = Operator::new("acme.example", 1);
        let globex = Operator::new("globex.example", 2);
        acme.knows(&globex);
        globex.knows(&acme);
        let (upstream, seen) = api().await;
        let there = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
        let (line, _) = tamper(there.address, unchanged(), change).await;
        let here = Running::start(&acme.config(&outgoing(line)), acme.gate()).await;
        let got = send(client().post(url(&here, "/created"))).await;
        assert_eq!((got.status, got.code().as_str()), (502, code));
        assert!(
            got.problem()["instead"]
                .as_str()
                .unwrap()
                .contains("may have been executed")
        );
        assert_eq!(seen.all().len(), 1);
        here.stop().await;
        there.stop().await;
        assert_eq!(
            acme.story().last().unwrap(),
            "outcome evidence_invalid",
            "{code}"
        );
        assert_eq!(
            globex.story().last().unwrap(),
            "outcome succeeded",
            "{code}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_executed_once() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let (upstream, seen) = api().await;
    let there = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
    let (line, wire) = tamper(there.address, unchanged(), unchanged()).await;
    let here = Running::start(&acme.config(&outgoing(line)), acme.gate()).await;
    assert_eq!(get(&here, "/orders").await.status, 200);
    let first = &wire.all()[0];
    let again = send(
        client()
            .get(format!("http://{}/http/orders/orders", there.address))
            .header(EVIDENCE, first.headers[EVIDENCE].clone())
            .header("accept", "*/*"),
    )
    .await;
    assert_eq!(
        (again.status, again.code().as_str()),
        (403, "request_replayed")
    );
    assert_eq!(seen.all().len(), 1);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_a_call_has_an_outcome() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let (upstream, seen) = api().await;
    let there = Running::start(&globex.config(&incoming(&upstream)), globex.gate()).await;
    let here = Running::start(&acme.config(&outgoing(there.address)), acme.gate()).await;
    for (path, code) in [
        ("/forge", "evidence_header_present"),
        ("/twice", "header_repeated"),
        ("/large", "upstream_answer_too_large"),
    ] {
        let got = get(&here, path).await;
        assert_eq!(got.status, 502, "{path}");
        let code_there = got.code();
        assert!(
            code_there == code || code_there == "outcome_unknown",
            "{path}: {code_there}"
        );
    }
    assert_eq!(seen.all().len(), 3);
    here.stop().await;
    there.stop().await;
    let nobody = outgoing("127.0.0.1:1".parse().unwrap());
    let here = Running::start(&acme.config(&nobody), acme.gate()).await;
    let got = get(&here, "/orders").await;
    assert_eq!(
        (got.status, got.code().as_str()),
        (502, "upstream_unreachable")
    );
    here.stop().await;
    assert_eq!(
        globex
            .story()
            .into_iter()
            .filter(|line| line.starts_with("outcome"))
            .collect::<Vec<_>>(),
        ["outcome failed", "outcome failed", "outcome unknown"]
    );
    assert_eq!(acme.story().last().unwrap(), "outcome not_executed");

    // Nobody listens behind the asked gateway.
    let there = Running::start(
        &globex.config(&incoming("http://127.0.0.1:1")),
        globex.gate(),
    )
    .await;
    let here = Running::start(&acme.config(&outgoing(there.address)), acme.gate()).await;
    let got = get(&here, "/orders").await;
    assert_eq!(
        (got.status, got.code().as_str()),
        (502, "upstream_unreachable")
    );
    here.stop().await;
    there.stop().await;
    assert_eq!(globex.story().last().unwrap(), "outcome not_executed");
    assert_eq!(
        acme.story().last().unwrap(),
        "outcome refused_by_counterparty"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_fits_into_no_header_goes_by_the_exchange_api() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    let (upstream, seen) = api().await;
    let there = Running::with_exchange(&globex, &incoming(&upstream)).await;
    // Calls whose answers are lost leave records that must travel with the next one.
    let lost: Change = Arc::new(|wire| {
        wire.headers.remove(EVIDENCE);
    });
    let (broken, wire) = tamper(there.address, unchanged(), lost).await;
    let here = Running::with_exchange(&acme, &outgoing(broken)).await;
    globex.knows_endpoint(&acme, here.address);
    // They cannot be pushed as long as it is not known where globex answers.
    acme.knows(&globex);
    let mut codes = Vec::new();
    while codes.len() < 20 && !codes.contains(&"evidence_not_sent".to_owned()) {
        codes.push(get(&here, "/orders").await.code());
    }
    assert_eq!(codes.pop().unwrap(), "evidence_not_sent");
    assert!(codes.iter().all(|code| code == "evidence_missing"));
    acme.knows_endpoint(&globex, there.address);
    assert_eq!(get(&here, "/orders").await.code(), "evidence_missing");
    let carried: Vec<usize> = wire
        .all()
        .iter()
        .map(|asked| {
            let evidence = asked.headers[EVIDENCE].to_str().unwrap();
            assert!(evidence.len() <= 8_192);
            evidence.matches(": :").count() + 1
        })
        .collect();
    // They add up until they fit no more; then they are pushed, and do not travel again.
    let (last, before) = carried.split_last().unwrap();
    assert!(before.is_sorted() && before.contains(&3), "{carried:?}");
    assert_eq!((*last, before.len()), (1, codes.len()));
    assert_eq!(seen.all().len(), carried.len());
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_name_the_record_that_was_pushed_before() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    let (upstream, seen) = api().await;
    let there = Running::with_exchange(&globex, &incoming(&upstream)).await;
    // acme's gateway does not know where globex answers, and so pushes nothing by itself.
    acme.knows(&globex);
    globex.knows(&acme);
    // A line on which requests are lost.
    let wire = Seen::default();
    let noted = wire.clone();
    let lose = move |request: Request| {
        noted.0.lock().unwrap().push(Asked {
            line: request.uri().to_string(),
            headers: request.headers().clone(),
            body: Vec::new(),
        });
        async { Response::builder().status(500).body(Body::empty()).unwrap() }
    };
    let line = listen(Router::new().fallback(lose)).await;
    let here = Running::start(&acme.config(&outgoing(line)), acme.gate()).await;
    assert_eq!(get(&here, "/orders").await.code(), "evidence_missing");
    let evidence = wire.all()[0].headers[EVIDENCE].to_str().unwrap().to_owned();
    let (record, salt) = evidence
        .strip_prefix("records=(:")
        .and_then(|rest| rest.split_once(":), "))
        .unwrap();
    let record = STANDARD.decode(record).unwrap();
    let id = UnverifiedRecord::parse(&record).unwrap().id();
    let reference = format!("ref=:{}:, {salt}", STANDARD.encode(id.as_bytes()));
    let ask = || {
        let url = format!("http://{}/http/orders/orders", there.address);
        send(client().get(url).header(EVIDENCE, &reference))
    };
    let unknown = ask().await;
    assert_eq!(
        (unknown.status, unknown.code().as_str()),
        (403, "evidence_reference_unknown")
    );
    let exchange = ExchangeClient::new(
        globex.name.clone(),
        &format!("http://{}/exchange/v1", there.address),
        Signer::Enforcer(acme.enforcer.clone()),
        acme.enforcer.environment().clone(),
    )
    .unwrap();
    let envelope = Envelope {
        records: vec![record.into()],
        ..Envelope::default()
    };
    exchange.push(&envelope).await.unwrap();
    let got = ask().await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(got.headers.contains_key(EVIDENCE));
    assert_eq!(ask().await.code(), "request_replayed");
    assert_eq!(seen.lines(), ["GET /base/orders"]);
    here.stop().await;
    there.stop().await;
}

/// Takes all records out of the header but the last.
fn stripped(wire: &mut Wire) {
    let evidence = wire.headers[EVIDENCE].to_str().unwrap();
    let (records, rest) = evidence
        .strip_prefix("records=(")
        .and_then(|list| list.split_once(')'))
        .unwrap();
    let last = records.rsplit(' ').next().unwrap();
    let evidence = format!("records=({last}){rest}");
    wire.headers.insert(EVIDENCE, evidence.parse().unwrap());
}

/// Two operators who know where the other answers, with something on the line between them.
async fn met(request: Change, answer: Change) -> (Operator, Operator, Running, Running) {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    let (upstream, _) = api().await;
    let there = Running::with_exchange(&globex, &incoming(&upstream)).await;
    let (line, _) = tamper(there.address, request, answer).await;
    let here = Running::with_exchange(&acme, &outgoing(line)).await;
    acme.knows_endpoint(&globex, there.address);
    globex.knows_endpoint(&acme, here.address);
    (acme, globex, here, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_call_that_ended_without_the_other_sides_word_is_fetched() {
    let lost: Change = Arc::new(|wire| {
        wire.headers.remove(EVIDENCE);
    });
    let endless: Change = Arc::new(|wire| wire.body = vec![b'x'; 5_000_000]);
    let changes = [
        (lost, "evidence_missing", "evidence_invalid"),
        (endless, "upstream_answer_too_large", "unknown"),
    ];
    for (change, code, outcome) in changes {
        let (acme, _globex, here, there) = met(unchanged(), change).await;
        assert_eq!(get(&here, "/orders").await.code(), code);
        assert_eq!(acme.story().last().unwrap(), &format!("outcome {outcome}"));
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
        for _ in 0..3 {
            let got = get(&here, "/orders").await;
            assert_eq!(got.status, 200, "{got:?}");
        }
        assert_eq!(world::status(&acme).unresolved, []);
        assert_eq!(world::status(&globex).gaps, []);
        here.stop().await;
        there.stop().await;
    }
}

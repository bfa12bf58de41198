//! What one client of a gateway cannot take from the others, over real sockets.

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

use std::path::PathBuf;

use counterfoil_gateway::exchange::signature::{BodyDigest, Covered, Parameters, sign};
use counterfoil_protocol::keys::SigningKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use world::http::{BOTH, Got, initialize, post, post_in, send};
use world::{Operator, Running, call, key};

/// A tool server of few words: it opens sessions, notes the calls it gets, and answers only the
/// one with id 1000. When its input ends it notes that too.
const SERVER: &str = r#"
    while read -r line; do
        case "$line" in
        *'"method":"initialize"'*)
            echo '{"jsonrpc":"2.0","id":"init","result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"t","version":"1"}}}';;
        *'"id":1000'*)
            echo '{"jsonrpc":"2.0","id":1000,"result":{"content":[]}}';;
        *'tools/call'*)
            echo call >> "$0";;
        esac
    done
    echo ended >> "$0""#;

/// One that takes no session.
const UNWILLING: &str = r#"
    while read -r line; do
        echo '{"jsonrpc":"2.0","id":"init","error":{"code":-32602,"message":"no"}}'
    done
    echo ended >> "$0""#;

/// One that says something, waits for a message, and then takes no session.
const UNDECIDED: &str = r#"
    read -r line
    echo '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}'
    read -r line
    echo '{"jsonrpc":"2.0","id":"init","error":{"code":-32602,"message":"no"}}'
    while read -r line; do :; done
    echo ended >> "$0""#;

/// A gateway in front of such a server.
struct Desk {
    acme: Operator,
    notes: PathBuf,
    gateway: Running,
    url: String,
}

impl Desk {
    async fn start(script: &str) -> Self {
        let acme = Operator::new("acme.example", 1);
        let notes = acme.home.path().join("notes");
        std::fs::write(&notes, "").unwrap();
        let command = json!(["sh", "-c", script, notes.to_str().unwrap()]);
        let gateway = Running::start(
            &acme.config(&local(&format!("command = {command}"))),
            acme.gate(),
        )
        .await;
        let url = gateway.url("desk");
        Self {
            acme,
            notes,
            gateway,
            url,
        }
    }

    /// Waits until the server's processes have noted `what` so many times.
    async fn has_noted(&self, what: &str, times: usize) {
        let limit = std::time::Duration::from_secs(60);
        let noted = async {
            loop {
                let notes = std::fs::read_to_string(&self.notes).unwrap();
                if notes.lines().filter(|line| *line == what).count() >= times {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(limit, noted).await.unwrap();
    }

    fn initialize(&self) -> reqwest::RequestBuilder {
        let body = json!({
            "jsonrpc": "2.0",
            "id": "init",
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        });
        reqwest::Client::new()
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", BOTH)
            .body(body.to_string())
    }

    fn hold(&self, session: &str) -> tokio::task::JoinHandle<Got> {
        let (url, session) = (self.url.clone(), session.to_owned());
        tokio::spawn(async move { post_in(&url, Some(&session), call(7, "hold", "")).await })
    }

    async fn status_in(&self, session: &str) -> u16 {
        post_in(&self.url, Some(session), call(1_000, "echo", ""))
            .await
            .status
    }

    async fn delete(&self, session: &str) {
        let request = reqwest::Client::new()
            .delete(&self.url)
            .header("mcp-session-id", session);
        assert_eq!(send(request).await.status, 204);
    }
}

fn local(upstream: &str) -> String {
    format!(
        "[[agents]]\nname = \"support-bot\"\n[[servers]]\nname = \"desk\"\ncallers = \"agents\"\n\
         {upstream}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_not_opened_is_gone() {
    let desk = Desk::start(UNWILLING).await;
    for _ in 0..3 {
        let got = send(desk.initialize()).await;
        assert_eq!(got.last()["error"]["message"], json!("no"), "{got:?}");
        assert_eq!(got.session, None);
    }
    desk.has_noted("ended", 3).await;
    // No request: nothing is started for it.
    let notification = r#"{"jsonrpc":"2.0","method":"initialize"}"#;
    assert_eq!(post(&desk.url, notification).await.status, 400);
    desk.gateway.stop().await;

    // The answer to this one has an id already when it turns out.
    let desk = Desk::start(UNDECIDED).await;
    let response = desk.initialize().send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let session = response.headers()["mcp-session-id"].to_str().unwrap();
    let session = session.to_owned();
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
    let sent = post_in(&desk.url, Some(&session), notification).await;
    assert_eq!(sent.status, 202);
    assert!(response.text().await.unwrap().contains(r#""message":"no""#));
    assert_eq!(desk.status_in(&session).await, 404);
    desk.has_noted("ended", 1).await;
    desk.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_takes_the_place_of_the_one_that_was_idle_longest() {
    let desk = Desk::start(SERVER).await;
    let mut sessions = Vec::new();
    for _ in 0..64 {
        sessions.push(initialize(&desk.url).await);
    }
    // The oldest has a call in flight, the next one has just been used.
    let mut held = vec![desk.hold(&sessions[0])];
    desk.has_noted("call", 1).await;
    assert_eq!(desk.status_in(&sessions[1]).await, 200);
    sessions.push(initialize(&desk.url).await);
    assert_eq!(desk.status_in(&sessions[2]).await, 404);
    for kept in [0, 1, 3, 64] {
        assert_eq!(desk.status_in(&sessions[kept]).await, 200, "{kept}");
    }
    desk.has_noted("ended", 1).await;
    sessions.remove(2);

    // With a call in flight in each there is no room, until one of them ends.
    held.extend(sessions[1..].iter().map(|session| desk.hold(session)));
    desk.has_noted("call", 64).await;
    let response = desk.initialize().send().await.unwrap();
    assert_eq!(response.status().as_u16(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    let refusal: Value = response.json().await.unwrap();
    assert_eq!(world::http::code(&refusal), "too_many_sessions");
    desk.delete(&sessions[5]).await;
    initialize(&desk.url).await;
    assert_eq!(desk.status_in(&sessions[0]).await, 200);
    for call in held {
        call.abort();
    }
    desk.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_requests_wait_for_a_process() {
    let desk = Desk::start(SERVER).await;
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {
            "name": "hold", "arguments": {},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    })
    .to_string();
    let client = reqwest::Client::new();
    let mut asked = JoinSet::new();
    for _ in 0..100 {
        let request = client
            .post(&desk.url)
            .header("content-type", "application/json")
            .header("accept", BOTH)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "hold")
            .body(body.clone());
        asked.spawn(request.send());
    }
    // 8 have a process that does not answer, 64 wait for one.
    for _ in 0..28 {
        let response = asked.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(response.status().as_u16(), 503);
        assert_eq!(response.headers()["retry-after"], "5");
        let refusal: Value = response.json().await.unwrap();
        assert_eq!(world::http::code(&refusal), "server_busy");
    }
    desk.has_noted("call", 8).await;
    assert!(asked.try_join_next().is_none());
    // Who has waited gets the place of who gives up.
    asked.shutdown().await;
    desk.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_begins_no_stream_is_not_waited_for() {
    let acme = Operator::new("acme.example", 1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("url = \"http://{}/mcp\"", listener.local_addr().unwrap());
    let config = acme.config(&format!("call_seconds = 1\n{}", local(&upstream)));
    let gateway = Running::start(&config, acme.gate()).await;
    let url = gateway.url("desk");
    let client = reqwest::Client::new();
    for request in [client.get(&url), client.delete(&url)] {
        let request = request
            .header("accept", "text/event-stream")
            .header("mcp-session-id", "s-1");
        assert_eq!(send(request).await.status, 504);
    }
    drop(listener);
    gateway.stop().await;
}

/// A push to globex, signed by acme.
struct Push<'a> {
    authority: &'a str,
    key: &'a SigningKey,
    nonce: &'a str,
    body: &'a [u8],
}

impl Push<'_> {
    fn head(&self, length: usize) -> String {
        let covered = Covered {
            method: "POST",
            authority: self.authority,
            path: "/exchange/v1/records",
            query: "",
            body: Some(BodyDigest::of(self.body)),
        };
        let parameters = Parameters {
            created: world::signing_time(),
            kid: key(1).public().thumbprint(),
            nonce: self.nonce.to_owned(),
        };
        let signed = sign(&covered, &parameters, |base| self.key.sign(base));
        format!(
            "POST /exchange/v1/records HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\
             Content-Digest: {}\r\nSignature-Input: {}\r\nSignature: {}\r\n\
             Connection: close\r\n\r\n",
            self.authority,
            signed.content_digest.unwrap(),
            signed.input,
            signed.signature
        )
    }
}

/// Sends these bytes and nothing more; what comes back.
async fn raw(authority: &str, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer[9..12].parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    (status, body["code"].as_str().unwrap_or("ok").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_push_is_read_when_its_signature_has_been_verified() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    globex.knows(&acme);
    let running = Running::with_exchange(&globex, "").await;
    let authority = running.address.to_string();
    let body = b"{\"records\":[]}";
    let (right, wrong) = (key(1), key(9));
    let push = |key, nonce| Push {
        authority: &authority,
        key,
        nonce,
        body,
    };
    // None of these bodies ever comes; the answers do.
    let unsigned = format!(
        "POST /exchange/v1/records HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 8000000\r\n\
         Connection: close\r\n\r\n"
    );
    let refused = |code: &str| (401, code.to_owned());
    assert_eq!(
        raw(&authority, unsigned.as_bytes()).await,
        refused("signature_missing")
    );
    let forged = push(&wrong, "one").head(8_000_000);
    assert_eq!(
        raw(&authority, forged.as_bytes()).await,
        refused("signature_invalid")
    );
    let undigested = push(&right, "one")
        .head(8_000_000)
        .replace("Content-Digest", "X-Digest");
    assert_eq!(
        raw(&authority, undigested.as_bytes()).await,
        refused("signature_malformed")
    );
    // What was not signed with the key has not used up its nonce.
    let mut good = push(&right, "one").head(body.len()).into_bytes();
    good.extend_from_slice(body);
    assert_eq!(
        raw(&authority, &good).await,
        (409, "evidence_malformed".to_owned())
    );
    assert_eq!(
        raw(&authority, &good[..good.len() - body.len()]).await,
        refused("request_replayed")
    );
    // A body that was put in the place of the signed one is not taken, and uses up the nonce.
    let mut other = push(&right, "two").head(body.len()).into_bytes();
    other.extend_from_slice(b"{\"records\":{}}");
    assert_eq!(raw(&authority, &other).await, refused("digest_mismatch"));
    assert_eq!(raw(&authority, &other).await, refused("request_replayed"));
    // One that says it is too long is not waited for.
    let long = push(&right, "three").head(9_000_000);
    assert_eq!(
        raw(&authority, long.as_bytes()).await,
        (413, "body_too_large".to_owned())
    );
    running.stop().await;
}

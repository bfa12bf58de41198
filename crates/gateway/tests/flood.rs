//! Strangers who are refused again and again: nothing of theirs gets through, the journal stays
//! small, and who signs is served all the same.

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

use bytes::Bytes;
use counterfoil_gateway::proxy::{Caller, ClientMessage, Direction, Proxy, Refused, Verdict};
use counterfoil_protocol::names::ServerName;
use serde_json::{Value, json};
use world::http::{BOTH, code, post, tool_server};
use world::{Operator, Running, call};

const UNKNOWN: &str = r#"{"jsonrpc":"2.0","id":"u","method":"tools/run"}"#;

fn proxy(operator: &Operator) -> Proxy {
    let name = ServerName::new("desk").unwrap();
    let caller = Caller::by_evidence();
    Proxy::new(operator.gate(), name, Direction::Incoming, caller, 65_536)
}

/// What both transports do with a message.
fn refuse(proxy: &Proxy, message: &str) -> Refused {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    match proxy.read(Ok(Bytes::copy_from_slice(message.as_bytes()))) {
        ClientMessage::Refused(refused) => runtime.unwrap().block_on(proxy.record(refused)),
        other => panic!("{other:?}"),
    }
}

fn decide(proxy: &Proxy, message: &str) -> Verdict {
    match proxy.read(Ok(Bytes::copy_from_slice(message.as_bytes()))) {
        ClientMessage::Request(request) => proxy.decide(request).wait(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_nobody_signed_is_recorded_so_often_and_no_more() {
    let globex = Operator::out_of_time("globex.example", 2);
    let proxy = proxy(&globex);
    for round in 0..128 {
        let refused = refuse(&proxy, UNKNOWN);
        assert_eq!(refused.code, "unknown_method", "{round}");
        let verdict = decide(&proxy, &call(round, "echo", ""));
        let Verdict::Answer(answer) = verdict else {
            panic!("{verdict:?}")
        };
        let answer = serde_json::from_slice(&answer).unwrap();
        assert_eq!(code(&answer), "evidence_missing");
    }
    let recorded = globex.story();
    assert_eq!(recorded.len(), 256);

    let refused = refuse(&proxy, UNKNOWN);
    assert_eq!((refused.code, refused.status), ("too_many_refusals", 503));
    let answer: Value = serde_json::from_slice(&refused.answer.unwrap()).unwrap();
    assert_eq!(code(&answer), "too_many_refusals");
    assert_eq!(answer["id"], json!("u"), "it answers the request");
    let refused = refuse(&proxy, "not json");
    assert_eq!(refused.code, "too_many_refusals");
    // JSON-RPC wants silence where a notification is refused.
    let forged = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"_meta":{"dev.counterfoil/evidence":{"meta":"extended","records":[]}}}}"#;
    let refused = refuse(&proxy, forged);
    assert_eq!(refused.code, "too_many_refusals");
    assert_eq!(refused.answer, None);

    let verdict = decide(&proxy, &call(7, "echo", ""));
    let Verdict::Unrecorded(answer) = verdict else {
        panic!("{verdict:?}")
    };
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(code(&answer), "too_many_refusals");
    assert_eq!(answer["id"], json!(7));
    assert_eq!(globex.story(), recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_is_turned_away_and_operators_are_served() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::out_of_time("globex.example", 2);
    acme.knows(&globex);
    globex.knows(&acme);
    let (server, seen) = tool_server().await;
    let incoming =
        format!("[[servers]]\nname = \"desk\"\ncallers = \"operators\"\nurl = \"{server}\"\n");
    let far = Running::start(&globex.config(&incoming), globex.gate()).await;
    let url = far.url("desk");
    for id in 0..256 {
        let got = post(&url, call(id, "echo", "")).await;
        assert_eq!((got.status, got.code().as_str()), (200, "evidence_missing"));
    }
    let recorded = globex.story();
    assert_eq!(recorded.len(), 256);

    let client = reqwest::Client::new();
    let json = |body: String| {
        client
            .post(&url)
            .header("content-type", "application/json")
            .header("accept", BOTH)
            .body(body)
    };
    let turned_away = [
        json(call(1, "echo", "")),
        json("not json".to_owned()),
        json(UNKNOWN.to_owned()),
        json(call(1, "echo", "")).header("origin", "http://evil.example"),
        json(call(1, "echo", "")).header("mcp-protocol-version", "1"),
        json(call(1, "echo", "")).header("mcp-method", "ping"),
        client.post(&url).body(call(1, "echo", "")),
    ];
    for (index, request) in turned_away.into_iter().enumerate() {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 503, "{index}");
        assert_eq!(response.headers()["retry-after"], "1", "{index}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(code(&answer), "too_many_refusals", "{index}");
    }
    assert_eq!(globex.story(), recorded);
    assert!(seen.all().is_empty());

    let outgoing = format!(
        "[[agents]]\nname = \"support-bot\"\n[[servers]]\nname = \"desk\"\ncallers = \
         \"agents\"\nurl = \"{url}\"\noperator = \"globex.example\"\n"
    );
    let near = Running::start(&acme.config(&outgoing), acme.gate()).await;
    let got = post(&near.url("desk"), call(1, "echo", "b")).await;
    assert!(got.text.contains("x-odd"), "{got:?}");
    let got = post(&near.url("desk"), call(2, "forbidden", "")).await;
    assert_eq!(got.code(), "policy_forbids");
    near.stop().await;
    far.stop().await;
    assert_eq!(
        globex.story()[256..],
        ["decision echo policy_allows", "outcome succeeded"]
    );
}

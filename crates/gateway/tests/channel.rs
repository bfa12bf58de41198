//! Channels between two gateways over a line that loses, reorders and cuts; and who learns what.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use counterfoil_enforcer::environment::Environment;
use counterfoil_gateway::exchange::signature::{BodyDigest, Covered, Parameters, sign};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelControl, ChannelEvent, ChannelLink, OutcomeStatus, Record,
    UnverifiedRecord, Verdict,
};
use serde_json::json;
use world::http::{Change, post, tamper, tool_server, unchanged};
use world::{Operator, Running, call, key, status, stripped};

#[test]
fn play_tool_server() {
    world::play_tool_server();
}

/// How long something may take that happens by itself.
const LIMIT: Duration = Duration::from_secs(30);

/// acme calls globex over a line that does something to what passes.
struct Two {
    acme: Operator,
    globex: Operator,
    near: Running,
    far: Running,
}

impl Two {
    async fn start(request: Change, answer: Change) -> Self {
        let acme = Operator::new("acme.example", 1);
        let globex = Operator::new("globex.example", 2);
        acme.knows(&globex);
        globex.knows(&acme);
        let (server, _) = tool_server().await;
        let incoming =
            format!("[[servers]]\nname = \"desk\"\ncallers = \"operators\"\nurl = \"{server}\"\n");
        let far = Running::with_exchange(&globex, &incoming).await;
        let (line, _) = tamper(far.url("desk"), request, answer).await;
        let outgoing = format!(
            "[[agents]]\nname = \"support-bot\"\n[[servers]]\nname = \"desk\"\ncallers = \
             \"agents\"\nurl = \"{line}\"\noperator = \"globex.example\"\n",
        );
        let near = Running::with_exchange(&acme, &outgoing).await;
        Self {
            acme,
            globex,
            near,
            far,
        }
    }

    /// Each knows where the other answers.
    fn meet(&self) {
        self.acme.knows_endpoint(&self.globex, self.far.address);
        self.globex.knows_endpoint(&self.acme, self.near.address);
    }

    async fn call(&self, id: u64) -> world::http::Got {
        post(&self.near.url("desk"), call(id, "echo", "a")).await
    }

    async fn stop(self) {
        self.near.stop().await;
        self.far.stop().await;
    }
}

/// The reasons with which an operator keeps refused records.
fn refused(operator: &Operator) -> Vec<String> {
    operator.records();
    let connection = rusqlite::Connection::open(operator.journal()).unwrap();
    let mut statement = connection.prepare("SELECT reason FROM refused").unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_predecessors_were_lost_is_executed_once_they_are_fetched() {
    let two = Two::start(Arc::new(stripped), unchanged()).await;
    two.meet();
    for id in 0..3 {
        let got = two.call(id).await;
        assert!(got.text.contains("x-odd"), "{got:?}");
    }
    assert_eq!(refused(&two.globex), [""; 0]);
    assert_eq!(status(&two.globex).gaps, []);
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_predecessors_were_lost_is_delivered_once_they_are_fetched() {
    let two = Two::start(unchanged(), Arc::new(stripped)).await;
    two.meet();
    for id in 0..3 {
        let got = two.call(id).await;
        assert!(got.text.contains("x-odd"), "{got:?}");
    }
    assert_eq!(status(&two.acme).unresolved, []);
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_nobody_fills_is_refused_when_the_window_is_over() {
    let two = Two::start(Arc::new(stripped), unchanged()).await;
    assert!(two.call(1).await.text.contains("x-odd"));
    let begin = Instant::now();
    let got = two.call(2).await;
    assert_eq!(got.code(), "channel_gap", "{got:?}");
    assert!(begin.elapsed() >= Duration::from_millis(1_900));
    assert!(got.text.contains("expected is 1"), "{got:?}");
    assert_eq!(refused(&two.globex), ["channel_gap"]);
    let story = two.globex.story();
    assert_eq!(story.last().unwrap(), "decision echo channel_gap");
    // The denial is signed, so acme knows what became of its request.
    assert_eq!(
        two.acme.story().last().unwrap(),
        "outcome refused_by_counterparty"
    );
    // Once they can reach each other, the channel heals.
    two.meet();
    let got = two.call(3).await;
    assert!(got.text.contains("x-odd"), "{got:?}");
    assert_eq!(status(&two.globex).gaps, []);
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_call_whose_answer_was_lost_is_fetched() {
    let lose = Arc::new(AtomicBool::new(true));
    let losing = Arc::clone(&lose);
    let answer: Change = Arc::new(move |body| {
        if losing.load(Ordering::SeqCst) {
            String::new()
        } else {
            body
        }
    });
    let two = Two::start(unchanged(), answer).await;
    two.meet();
    let got = two.call(1).await;
    assert_eq!(got.code(), "upstream_failed", "{got:?}");
    assert_eq!(two.acme.story().last().unwrap(), "outcome unknown");
    until("the other side's word", || {
        let found = status(&two.acme).unresolved;
        found.len() == 1
            && found[0]
                .1
                .decision
                .is_some_and(|(_, verdict)| verdict == Verdict::Allow)
            && found[0]
                .1
                .outcome
                .is_some_and(|(_, status)| status == OutcomeStatus::Succeeded)
    })
    .await;
    // Our own outcome is still the one we recorded, and the next call works as if nothing were.
    assert_eq!(two.acme.story().len(), 2);
    lose.store(false, Ordering::SeqCst);
    assert!(two.call(2).await.text.contains("x-odd"));
    two.stop().await;
}

/// One signed request to the exchange API: status, headers but the date, body.
type Answer = (u16, Vec<(String, String)>, String);

async fn ask(
    at: &Running,
    key: &SigningKey,
    (method, path, query): (&str, &str, &str),
    body: Option<&str>,
) -> Answer {
    let authority = at.address.to_string();
    let path = format!("/exchange/v1/{path}");
    let environment = Environment::system();
    let mut nonce = [0; 8];
    environment.entropy.fill(&mut nonce).unwrap();
    let covered = Covered {
        method,
        authority: &authority,
        path: &path,
        query,
        body: body.map(|body| BodyDigest::of(body.as_bytes())),
    };
    let parameters = Parameters {
        created: world::signing_time(),
        kid: key.public().thumbprint(),
        nonce: nonce.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let signed = sign(&covered, &parameters, |base| key.sign(base));
    let mark = if query.is_empty() { "" } else { "?" };
    let url = format!("http://{authority}{path}{mark}{query}");
    let mut request = reqwest::Client::new()
        .request(method.parse().unwrap(), url)
        .header("signature-input", signed.input)
        .header("signature", signed.signature);
    if let Some(digest) = signed.content_digest {
        request = request.header("content-digest", digest);
    }
    if let Some(body) = body {
        request = request.body(body.to_owned());
    }
    let response = request.send().await.unwrap();
    let headers = response
        .headers()
        .iter()
        .filter(|(name, _)| name.as_str() != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    (
        response.status().as_u16(),
        headers,
        response.text().await.unwrap(),
    )
}

/// A record of initech's to globex which says that it has this record of globex's.
fn acknowledging(acknowledged: Acknowledgement) -> String {
    use base64::Engine as _;
    let key = key(3);
    let record = Record {
        sequence: Sequence::new(1),
        previous: Some(RecordId::from_bytes([1; 32])),
        time: UnixMillis::new(1_000),
        beacon: None,
        body: Body::Channel(ChannelControl {
            channel: ChannelLink {
                counterparty: "globex.example".parse().unwrap(),
                sequence: ChannelSequence::new(0),
                previous: None,
                acknowledged: Some(acknowledged),
            },
            event: ChannelEvent::RecordDenied {
                record: RecordId::from_bytes([2; 32]),
                reason: ReasonCode::literal("forged"),
            },
        }),
    };
    let kid = key.public().thumbprint();
    let bytes = record
        .prepare(&"initech.example".parse().unwrap(), kid)
        .sign(&key);
    let record = base64::engine::general_purpose::STANDARD.encode(bytes);
    json!({ "records": [record] }).to_string()
}

/// Whatever initech asks globex, the answer is the same, to the byte, whether or not there is
/// anything between globex and acme.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_whether_there_is_anything_between_others() {
    let two = Two::start(unchanged(), unchanged()).await;
    let initech = Operator::new("initech.example", 3);
    two.globex.knows(&initech);
    let stranger = key(3);
    let unknown = "11".repeat(32);
    let receipt = format!("receipts/{unknown}");
    let routes = [
        ("GET", "channel", ""),
        ("GET", "records", ""),
        ("GET", "records", "from=1&limit=3"),
        ("GET", "receipts", ""),
        ("GET", "receipts", "from=1"),
        ("GET", receipt.as_str(), ""),
        ("GET", "receipts/00", ""),
    ];
    let mut before = Vec::new();
    for route in routes {
        before.push(ask(&two.far, &stranger, route, None).await);
    }
    let made_up = acknowledging(Acknowledgement {
        stream: two.globex.enforcer.kid(),
        sequence: ChannelSequence::new(1),
        id: RecordId::from_bytes([9; 32]),
    });
    let push = ("POST", "records", "");
    before.push(ask(&two.far, &stranger, push, Some(&made_up)).await);
    assert_eq!(before.last().unwrap().0, 409, "{before:?}");

    for id in 0..3 {
        assert!(two.call(id).await.text.contains("x-odd"));
    }
    let sealing = two.globex.enforcer.clone();
    tokio::task::spawn_blocking(move || {
        let mut sealer = counterfoil_enforcer::seal::Sealer::new(sealing).unwrap();
        sealer.seal().unwrap()
    })
    .await
    .unwrap();
    let mut after = Vec::new();
    for route in routes {
        after.push(ask(&two.far, &stranger, route, None).await);
    }
    after.push(ask(&two.far, &stranger, push, Some(&made_up)).await);
    assert_eq!(before, after);

    // Of each of globex's records to acme: its receipt, and saying that one has it.
    let sent = ask(&two.far, &key(1), ("GET", "records", ""), None).await;
    let sent: serde_json::Value = serde_json::from_str(&sent.2).unwrap();
    let sent = sent["records"].as_array().unwrap();
    assert_eq!(sent.len(), 6);
    for (sequence, text) in (0..).zip(sent) {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text.as_str().unwrap())
            .unwrap();
        let id = UnverifiedRecord::parse(&bytes).unwrap().id();
        let route = format!("receipts/{id}");
        let own = ask(&two.far, &key(1), ("GET", &route, ""), None).await;
        assert_eq!(own.0, 200, "{own:?}");
        let foreign = ask(&two.far, &stranger, ("GET", &route, ""), None).await;
        assert_eq!(foreign, before[5]);
        let claim = acknowledging(Acknowledgement {
            stream: two.globex.enforcer.kid(),
            sequence: ChannelSequence::new(sequence),
            id,
        });
        let claimed = ask(&two.far, &stranger, push, Some(&claim)).await;
        assert_eq!(claimed, before[7]);
    }
    two.stop().await;
}

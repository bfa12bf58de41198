//! Contracts between two gateways: delivered and fetched through the exchange API, held against
//! calls on both sides.

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

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_enforcer::Decided;
use counterfoil_enforcer::call::{Call, Envelope, Party};
use counterfoil_enforcer::contract::Standing;
use counterfoil_enforcer::environment::Environment;
use counterfoil_enforcer::service::{Service, ServiceSettings};
use counterfoil_gateway::exchange::{ExchangeClient, Signer, deliver, fetch_terms};
use counterfoil_protocol::contract::{Clauses, Pattern, Permission, Terms};
use counterfoil_protocol::digest::{ContentDigest, RecordId, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::numbers::{Amount, ChannelSequence, Millis, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Body as RecordBody, ChannelControl, ChannelEvent, ChannelLink, Record,
};
use world::http::{Seen, post, tool_server};
use world::{Operator, Running, call, key};

#[test]
fn play_tool_server() {
    world::play_tool_server();
}

struct Two {
    acme: Operator,
    globex: Operator,
    near: Running,
    far: Running,
    seen: Seen,
}

impl Two {
    async fn start() -> Self {
        let acme = Operator::new("acme.example", 1);
        let globex = Operator::new("globex.example", 2);
        let initech = Operator::new("initech.example", 3);
        acme.knows(&initech);
        globex.knows(&initech);
        let (server, seen) = tool_server().await;
        let incoming =
            format!("[[servers]]\nname = \"desk\"\ncallers = \"operators\"\nurl = \"{server}\"\n");
        let far = Running::with_exchange(&globex, &incoming).await;
        let outgoing = format!(
            "evidence_seconds = 1\n[[agents]]\nname = \"support-bot\"\n[[servers]]\nname = \
             \"desk\"\ncallers = \"agents\"\nurl = \"{}\"\noperator = \"globex.example\"\n",
            far.url("desk")
        );
        let near = Running::with_exchange(&acme, &outgoing).await;
        acme.knows_endpoint(&globex, far.address);
        globex.knows_endpoint(&acme, near.address);
        Self {
            acme,
            globex,
            near,
            far,
            seen,
        }
    }

    async fn propose(&self) -> ContentDigest {
        let enforcer = self.acme.enforcer.clone();
        let proposed = tokio::task::spawn_blocking(move || enforcer.propose_contract(terms()));
        proposed.await.unwrap().unwrap().digest
    }

    async fn agree(&self) -> ContentDigest {
        let digest = self.propose().await;
        deliver(&self.acme.enforcer, &self.globex.name)
            .await
            .unwrap();
        let enforcer = self.globex.enforcer.clone();
        let accepted = tokio::task::spawn_blocking(move || enforcer.accept_contract(digest));
        assert_eq!(accepted.await.unwrap().unwrap().standing, Standing::InForce);
        deliver(&self.globex.enforcer, &self.acme.name)
            .await
            .unwrap();
        let known = self.acme.enforcer.contract(digest).unwrap();
        assert_eq!(known.standing, Standing::InForce);
        digest
    }

    fn client(&self, seed: u8) -> ExchangeClient {
        let endpoint = format!("http://{}/exchange/v1", self.near.address);
        let signer = Signer::Key(Arc::new(key(seed)));
        let environment = Environment::system();
        ExchangeClient::new(self.acme.name.clone(), &endpoint, signer, environment).unwrap()
    }

    async fn code(&self, id: u64, tool: &str) -> String {
        let got = post(&self.near.url("desk"), call(id, tool, "a")).await;
        let last = got.last();
        let refusal = &last["result"]["_meta"]["dev.counterfoil/refusal"];
        refusal["code"].as_str().unwrap_or("none").to_owned()
    }

    async fn stop(self) {
        self.near.stop().await;
        self.far.stop().await;
    }
}

fn terms() -> Terms {
    let action = |server: &str, verb: &str, tool: &str, tier: &'static str| Permission {
        server: server.parse().unwrap(),
        verb: verb.parse().unwrap(),
        tool: Pattern::new(tool).unwrap(),
        targets: vec![],
        tier: tier.parse().unwrap(),
        points: Amount::new(0),
    };
    let permission = |tool, tier| action("desk", "tools/call", tool, tier);
    let now = Environment::system().clock.now();
    Terms::new(Clauses {
        asking: "acme.example".parse().unwrap(),
        asked: "globex.example".parse().unwrap(),
        begins: UnixMillis::new(1),
        expires: now.saturating_add(3_600_000),
        permissions: vec![
            permission("echo", "low"),
            permission("echo-*", "high"),
            action("orders", "POST", "/refunds*", "high"),
            action("helper", "message/send", "helper", "high"),
        ],
        levels: BTreeMap::from([
            ("low".parse().unwrap(), Level::Signed),
            ("high".parse().unwrap(), Level::Committed),
        ]),
        publish_delay: Millis::new(60_000),
        policy: "quorum none\n".to_owned(),
        disclosures: BTreeSet::new(),
        admission: None,
        budgets: BTreeMap::new(),
        escalation: BTreeSet::new(),
        notice: Millis::new(0),
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_held_against_a_contract_that_was_delivered() {
    let two = Two::start().await;
    assert_eq!(two.code(1, "anything").await, "none");
    two.agree().await;
    assert_eq!(two.code(2, "echo").await, "none");
    let seen = two.seen.all().len();
    assert_eq!(two.code(3, "anything").await, "contract_action");
    // Nobody seals at acme: what needs more than a signature is not sent, and the agent is told.
    assert_eq!(two.code(4, "echo-loud").await, "evidence_late");
    assert_eq!(two.seen.all().len(), seen);
    let story = two.acme.story();
    assert_eq!(
        story[story.len() - 3..],
        [
            "decision anything contract_action",
            "request echo-loud policy_allows",
            "outcome not_executed"
        ]
    );
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_are_for_the_other_party_alone() {
    let two = Two::start().await;
    let digest = two.propose().await;
    // The record alone, as it comes with a call.
    let waiting = two.acme.enforcer.unacknowledged(&two.globex.name).unwrap();
    two.globex.enforcer.ingest(&waiting).unwrap();
    assert_eq!(two.globex.enforcer.contract(digest).unwrap().terms, None);

    let globex = two.client(2);
    let sent = Disclosure::parse(&globex.terms(digest).await.unwrap()).unwrap();
    assert_eq!(sent.digest(), digest);
    let unknown = ContentDigest::of(b"unknown");
    let initech = two.client(3);
    let foreign = initech.terms(digest).await.unwrap_err().to_string();
    assert_eq!(
        foreign,
        initech.terms(unknown).await.unwrap_err().to_string()
    );
    assert_eq!(
        foreign,
        globex.terms(unknown).await.unwrap_err().to_string()
    );
    assert!(foreign.contains("not_found"), "{foreign}");
    assert!(!foreign.contains("receipt"), "{foreign}");

    fetch_terms(&two.globex.enforcer, &two.acme.name, digest)
        .await
        .unwrap();
    let known = two.globex.enforcer.contract(digest).unwrap();
    assert_eq!(known.terms.unwrap().encoded(), sent.content);
    assert_eq!(known.standing, Standing::Proposed);
    two.stop().await;
}

/// A record of initech's to globex, its first, that proposes a contract.
fn proposal(contract: ContentDigest) -> Arc<[u8]> {
    let key = key(3);
    let record = Record {
        sequence: Sequence::new(1),
        previous: Some(RecordId::from_bytes([1; 32])),
        time: UnixMillis::new(1_000),
        beacon: None,
        body: RecordBody::Channel(ChannelControl {
            channel: ChannelLink {
                counterparty: "globex.example".parse().unwrap(),
                sequence: ChannelSequence::new(0),
                previous: None,
                acknowledged: None,
            },
            event: ChannelEvent::ContractProposed { contract },
        }),
    };
    let kid = key.public().thumbprint();
    let issuer = "initech.example".parse().unwrap();
    record.prepare(&issuer, kid).sign(&key).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_are_none_are_refused_with_their_code() {
    let globex = Operator::new("globex.example", 2);
    let initech = Operator::new("initech.example", 3);
    globex.knows(&initech);
    let far = Running::with_exchange(&globex, "").await;
    let endpoint = format!("http://{}/exchange/v1", far.address);
    let signer = Signer::Key(Arc::new(key(3)));
    let name = globex.name.clone();
    let client = ExchangeClient::new(name, &endpoint, signer, Environment::system()).unwrap();
    let terms = Disclosure {
        field: DisclosedField::Contract,
        salt: Salt::from_bytes([7; 16]),
        content: b"\xff".to_vec(),
    };
    let envelope = Envelope {
        records: vec![proposal(terms.digest())],
        disclosures: vec![terms],
        ..Envelope::default()
    };
    let error = client.push(&envelope).await.unwrap_err().to_string();
    assert!(error.contains("status 409"), "{error}");
    assert!(error.contains("(cbor_"), "{error}");
    far.stop().await;
}

/// What somebody on the line makes of the headers of a request.
type Change = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// What passed: path and headers.
#[derive(Clone, Default)]
struct Passed(Arc<Mutex<Vec<(String, HeaderMap)>>>);

impl Passed {
    fn all(&self) -> Vec<(String, HeaderMap)> {
        self.0.lock().unwrap().clone()
    }

    /// The evidence of the last request over HTTP.
    fn evidence(&self) -> String {
        let (_, headers) = self.all().pop().unwrap();
        headers[EVIDENCE].to_str().unwrap().to_owned()
    }
}

const EVIDENCE: &str = "counterfoil-evidence";

async fn listen(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// An API, and an agent that speaks A2A: it says the same to everything.
async fn anything() -> (SocketAddr, Passed) {
    let seen = Passed::default();
    let noted = seen.clone();
    let answer = move |request: Request| {
        let path = request.uri().path().to_owned();
        let asked = (path, request.headers().clone());
        noted.0.lock().unwrap().push(asked);
        async {
            Response::builder()
                .header("content-type", "application/json")
                .body(Body::from(
                    r#"{"jsonrpc":"2.0","id":7,"result":{"message":{"parts":[]}}}"#,
                ))
                .unwrap()
        }
    };
    (listen(Router::new().fallback(answer)).await, seen)
}

/// Something on the line to `target` that changes headers.
async fn line(target: SocketAddr, change: Change) -> (SocketAddr, Passed) {
    let passed = Passed::default();
    let noted = passed.clone();
    let pass = move |request: Request| {
        let (noted, change) = (noted.clone(), Arc::clone(&change));
        async move {
            let (mut parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let asked = (parts.uri.path().to_owned(), parts.headers.clone());
            noted.0.lock().unwrap().push(asked);
            change(&mut parts.headers);
            for name in ["host", "content-length", "transfer-encoding"] {
                parts.headers.remove(name);
            }
            let got = reqwest::Client::new()
                .request(parts.method, format!("http://{target}{}", parts.uri))
                .headers(parts.headers)
                .body(body)
                .send()
                .await
                .unwrap();
            let mut response = Response::builder().status(got.status());
            let mut headers = got.headers().clone();
            for name in ["content-length", "transfer-encoding"] {
                headers.remove(name);
            }
            response.headers_mut().unwrap().extend(headers);
            response
                .body(Body::from(got.bytes().await.unwrap()))
                .unwrap()
        }
    };
    (listen(Router::new().fallback(pass)).await, passed)
}

/// acme asks an API and an agent of globex, under a contract that wants to see the evidence first.
struct Others {
    acme: Operator,
    globex: Operator,
    near: Running,
    far: Running,
    seen: Passed,
    passed: Passed,
}

impl Others {
    async fn start(acme: Operator, change: Change) -> Self {
        let globex = Operator::new("globex.example", 2);
        acme.knows(&acme);
        let (upstream, seen) = anything().await;
        let server = |name: &str, protocol: &str, callers: &str, url: String| {
            format!(
                "[[servers]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\ncallers = \
                 \"{callers}\"\nurl = \"{url}\"\n"
            )
        };
        let incoming = ["orders", "helper"].map(|name| {
            let protocol = if name == "orders" { "http" } else { "a2a" };
            server(name, protocol, "operators", format!("http://{upstream}"))
        });
        let far = Running::with_exchange(&globex, &incoming.concat()).await;
        let (line, passed) = line(far.address, change).await;
        let outgoing = [("orders", "http"), ("helper", "a2a")].map(|(name, protocol)| {
            let url = format!("http://{line}/{protocol}/{name}");
            let server = server(name, protocol, "agents", url);
            format!("{server}operator = \"globex.example\"\n")
        });
        let outgoing = format!(
            "evidence_seconds = 1\n[[agents]]\nname = \"support-bot\"\n{}",
            outgoing.concat()
        );
        let near = Running::with_exchange(&acme, &outgoing).await;
        acme.knows_endpoint(&globex, far.address);
        globex.knows_endpoint(&acme, near.address);
        let enforcer = acme.enforcer.clone();
        let proposed = tokio::task::spawn_blocking(move || enforcer.propose_contract(terms()));
        let digest = proposed.await.unwrap().unwrap().digest;
        deliver(&acme.enforcer, &globex.name).await.unwrap();
        let enforcer = globex.enforcer.clone();
        let accepted = tokio::task::spawn_blocking(move || enforcer.accept_contract(digest));
        assert_eq!(accepted.await.unwrap().unwrap().standing, Standing::InForce);
        deliver(&globex.enforcer, &acme.name).await.unwrap();
        Self {
            acme,
            globex,
            near,
            far,
            seen,
            passed,
        }
    }

    fn start_sealing(&self) -> Service {
        let settings = ServiceSettings {
            batch_interval: Duration::from_secs(86_400),
            log: None,
        };
        Service::start(&self.acme.enforcer, settings).unwrap()
    }

    /// A refund over HTTP: the status, and the code of a problem.
    async fn refund(&self) -> (u16, String) {
        let url = format!("http://{}/http/orders/refunds/7", self.near.address);
        let got = reqwest::Client::new().post(url).body("five").send();
        told(got.await.unwrap()).await
    }

    /// A message over A2A: the status, and the code of a refusal.
    async fn message(&self) -> (u16, String) {
        let url = format!("http://{}/a2a/helper", self.near.address);
        let got = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json")
            .body(r#"{"jsonrpc":"2.0","id":7,"method":"SendMessage","params":{"message":{}}}"#)
            .send();
        told(got.await.unwrap()).await
    }

    /// The levels at which globex verified the requests that it allowed.
    fn levels(&self) -> Vec<Level> {
        let records = self.globex.records().into_iter();
        let levels = records.filter_map(|record| match record.body {
            RecordBody::Decision(decision) => decision.request.map(|request| request.evidence),
            _ => None,
        });
        levels.collect()
    }

    async fn stop(self) {
        self.near.stop().await;
        self.far.stop().await;
    }
}

async fn told(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: serde_json::Value = response.json().await.unwrap();
    let refusal = &body["error"]["data"]["dev.counterfoil/refusal"];
    let code = body["code"].as_str().or_else(|| refusal["code"].as_str());
    (status, code.unwrap_or("none").to_owned())
}

fn answer(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn unchanged() -> Change {
    Arc::new(|_| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_a_tier_needs_first_travels_over_http_and_a2a() {
    let acme = Operator::new("acme.example", 1);
    let two = Others::start(acme, unchanged()).await;
    // Nobody seals yet: nothing is sent.
    assert_eq!(two.refund().await, answer(503, "evidence_late"));
    assert_eq!(two.message().await, answer(200, "evidence_late"));
    assert_eq!(two.passed.all().len(), 0);
    let sealing = two.start_sealing();
    assert_eq!(two.refund().await, answer(200, "none"));
    let evidence = two.passed.evidence();
    assert!(evidence.contains(", receipt=:"), "{evidence}");
    assert_eq!(two.message().await, answer(200, "none"));
    assert_eq!(two.seen.all().len(), 2);
    assert_eq!(two.levels(), [Level::Committed; 2]);
    sealing.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_fits_into_no_header_is_pushed_before_the_call() {
    let acme = Operator::with_many_keys("acme.example", 1);
    let two = Others::start(acme, unchanged()).await;
    let sealing = two.start_sealing();
    for _ in 0..2 {
        assert_eq!(two.refund().await, answer(200, "none"));
        let evidence = two.passed.evidence();
        assert!(evidence.starts_with("ref=:"), "{evidence}");
        assert!(!evidence.contains("receipt"), "{evidence}");
    }
    assert_eq!(two.seen.all().len(), 2);
    assert_eq!(two.levels(), [Level::Committed; 2]);
    sealing.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_receipt_that_verifies_nothing_is_executed_over_http() {
    let without: Change = Arc::new(|headers| {
        let evidence = headers[EVIDENCE].to_str().unwrap();
        let (rest, _) = evidence.split_once(", receipt=").unwrap();
        let rest = rest.parse().unwrap();
        headers.insert(EVIDENCE, rest);
    });
    let two = Others::start(Operator::new("acme.example", 1), without).await;
    let sealing = two.start_sealing();
    assert_eq!(two.refund().await, answer(403, "evidence_too_low"));
    sealing.stop().await;
    two.stop().await;

    // Nor with something else that was pushed in its place.
    let two = Others::start(Operator::new("acme.example", 1), unchanged()).await;
    let parameters = br#"{"method":"POST","path":"/refunds/7","headers":{}}"#;
    let call = Call {
        on_behalf_of: None,
        session: None,
        server: "orders".parse().unwrap(),
        verb: "POST".parse().unwrap(),
        tool: "/refunds/7".parse().unwrap(),
        arguments: parameters,
        parameters,
        attestations: &[],
    };
    let party = Party::Outgoing {
        agent: "support-bot".parse().unwrap(),
        counterparty: &two.globex.name,
    };
    let pending = two.acme.enforcer.authorize(&call, &party).unwrap();
    let Decided::Allowed(permit) = pending.durable().await.unwrap() else {
        panic!("denied");
    };
    let whole = permit.request_envelope().unwrap();
    let pushed = Envelope {
        records: whole.records,
        receipt: Some(b"a receipt".to_vec()),
        ..Envelope::default()
    };
    let endpoint = format!("http://{}/exchange/v1", two.far.address);
    let signer = Signer::Enforcer(two.acme.enforcer.clone());
    let name = two.globex.name.clone();
    let exchange = ExchangeClient::new(name, &endpoint, signer, Environment::system()).unwrap();
    exchange.push(&pushed).await.unwrap();
    let url = format!("http://{}/http/orders/refunds/7", two.far.address);
    let reference = format!(
        "ref=:{}:, salt=:{}:",
        STANDARD.encode(permit.record().as_bytes()),
        STANDARD.encode(whole.salt.unwrap().as_bytes())
    );
    let got = reqwest::Client::new().post(url).header(EVIDENCE, reference);
    let got = told(got.send().await.unwrap()).await;
    assert_eq!(got, answer(403, "evidence_too_low"));
    assert_eq!(two.seen.all().len(), 0);
    two.stop().await;
}

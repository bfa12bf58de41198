//! The exchange API between two operators, over real sockets.

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

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use counterfoil_enforcer::call::Envelope;
use counterfoil_enforcer::environment::{Clock, Environment};
use counterfoil_gateway::exchange::signature::{Covered, Parameters, SignatureHeaders, sign};
use counterfoil_gateway::exchange::{ExchangeClient, Signer};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::{Body, UnverifiedRecord};
use serde_json::{Value, json};
use world::http::{post, tool_server};
use world::{Operator, Running, SetClock, call, key};

#[test]
fn play_tool_server() {
    world::play_tool_server();
}

/// acme calls globex through both gateways; both serve the exchange API. initech is known to
/// globex and has had no call.
struct Three {
    acme: Operator,
    globex: Operator,
    initech: Operator,
    near: Running,
    far: Running,
}

impl Three {
    async fn start() -> Self {
        let acme = Operator::new("acme.example", 1);
        let globex = Operator::new("globex.example", 2);
        let initech = Operator::new("initech.example", 3);
        acme.knows(&globex);
        globex.knows(&acme);
        globex.knows(&initech);
        let (server, _) = tool_server().await;
        let incoming =
            format!("[[servers]]\nname = \"desk\"\ncallers = \"operators\"\nurl = \"{server}\"\n");
        let far = Running::with_exchange(&globex, &incoming).await;
        let outgoing = format!(
            "[[agents]]\nname = \"support-bot\"\n[[servers]]\nname = \"desk\"\ncallers = \
             \"agents\"\nurl = \"{}\"\noperator = \"globex.example\"\n",
            far.url("desk")
        );
        let near = Running::with_exchange(&acme, &outgoing).await;
        Self {
            acme,
            globex,
            initech,
            near,
            far,
        }
    }

    async fn call(&self, id: u64) {
        let got = post(&self.near.url("desk"), call(id, "echo", "a")).await;
        assert_eq!(got.last()["id"], json!(id), "{got:?}");
        assert!(got.text.contains("x-odd"), "{got:?}");
    }

    fn client(&self, signer: Signer) -> ExchangeClient {
        client(&self.globex, &self.far, signer)
    }
}

fn client(of: &Operator, at: &Running, signer: Signer) -> ExchangeClient {
    let endpoint = format!("http://{}/exchange/v1", at.address);
    ExchangeClient::new(of.name.clone(), &endpoint, signer, Environment::system()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gets_the_other_sides_records_and_receipts() {
    let three = Three::start().await;
    three.call(1).await;
    three.call(2).await;
    let acme = three.client(Signer::Enforcer(three.acme.enforcer.clone()));
    let manifests = acme.manifests().await.unwrap();
    assert_eq!(manifests, std::slice::from_ref(&three.globex.manifest));
    let heads = acme.channel().await.unwrap();
    assert_eq!(heads.sent.unwrap().sequence, 3);
    // acme's second request acknowledged everything before it.
    assert_eq!(heads.received[0].sequence, 2);

    let all = acme.records(0, 100).await.unwrap();
    assert_eq!(all.records.len(), 4);
    let later = acme.records(3, 100).await.unwrap();
    assert_eq!(later.records, all.records[3..]);
    assert!(acme.records(4, 100).await.unwrap().records.is_empty());
    assert_eq!(acme.records(1, 2).await.unwrap().records, all.records[1..3]);

    let receipts = acme.receipts(0, 100).await.unwrap();
    assert_eq!(receipts.len(), 4);
    let mut ids = Vec::new();
    for (receipt, record) in receipts.iter().zip(&all.records) {
        let receipt = Receipt::parse(receipt).unwrap();
        assert_eq!(receipt.record, record.to_vec());
        let record = UnverifiedRecord::parse(record).unwrap();
        assert_eq!(*record.issuer(), three.globex.name);
        assert!(!matches!(
            record.unverified_content().body,
            Body::Control(_)
        ));
        ids.push(record.id());
    }
    // A record has a receipt once its batch is sealed. Until then whoever it was sent to is told so,
    // and nobody else.
    let waiting = acme.receipt(ids[1]).await.unwrap_err();
    assert_eq!(waiting.code(), "not_sealed", "{waiting}");
    let stranger = three.client(Signer::Key(Arc::new(key(3))));
    let foreign = stranger.receipt(ids[1]).await.unwrap_err().to_string();
    assert!(foreign.contains("not_found"), "{foreign}");
    let mut sealer =
        counterfoil_enforcer::seal::Sealer::new(three.globex.enforcer.clone()).unwrap();
    tokio::task::spawn_blocking(move || sealer.seal().unwrap())
        .await
        .unwrap();
    let one = Receipt::parse(&acme.receipt(ids[1]).await.unwrap()).unwrap();
    assert_eq!(one.record, all.records[1].to_vec());
    assert!(one.batch.is_some());

    // Somebody else gets nothing of it, and cannot even tell that it is there.
    let initech = three.client(Signer::Key(Arc::new(key(3))));
    assert!(initech.records(0, 100).await.unwrap().records.is_empty());
    assert!(initech.receipts(0, 100).await.unwrap().is_empty());
    assert_eq!(initech.channel().await.unwrap().sent, None);
    let foreign = initech.receipt(ids[1]).await.unwrap_err().to_string();
    let mut unknown = *ids[1].as_bytes();
    unknown[0] ^= 1;
    let unknown = counterfoil_protocol::digest::RecordId::from_bytes(unknown);
    let unknown = initech.receipt(unknown).await.unwrap_err().to_string();
    assert_eq!(foreign, unknown);
    assert!(foreign.contains("not_found"));
    three.near.stop().await;
    three.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_not_acknowledged_can_be_pushed() {
    let three = Three::start().await;
    three.call(1).await;
    let acme = three.client(Signer::Enforcer(three.acme.enforcer.clone()));
    assert_eq!(acme.channel().await.unwrap().received[0].sequence, 0);
    let waiting = three
        .acme
        .enforcer
        .unacknowledged(&three.globex.name)
        .unwrap();
    assert_eq!(waiting.records.len(), 1, "the outcome");
    let heads = acme.push(&waiting).await.unwrap();
    assert_eq!(heads.received[0].sequence, 1);
    // Again is no harm.
    assert_eq!(acme.push(&waiting).await.unwrap().received[0].sequence, 1);

    // Records of one operator pushed by another are not taken, nor is what leaves a gap.
    let initech = three.client(Signer::Key(Arc::new(key(3))));
    let error = initech.push(&waiting).await.unwrap_err().to_string();
    assert!(error.contains("records_of_another"), "{error}");
    let empty = acme
        .push(&Envelope::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(empty.contains("evidence_malformed"), "{empty}");
    three.near.stop().await;
    three.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_requests_signed_by_a_known_key_for_this_place_and_time_are_answered() {
    let three = Three::start().await;
    three.call(1).await;
    let authority = three.far.address.to_string();
    let now = world::signing_time();
    let acme_key = key(1);
    let good = Request {
        authority: authority.clone(),
        key: &acme_key,
        created: now,
        nonce: "nonce-0",
        path: "/exchange/v1/channel",
        query: "",
    };
    assert_eq!(good.send(&authority, |_| ()).await.0, 200);

    // Used again, it is a replay.
    assert_eq!(
        good.send(&authority, |_| ()).await,
        (401, "request_replayed".to_owned())
    );
    let fresh = |nonce| Request {
        nonce,
        ..good.clone()
    };
    let root = key(101);
    let nobody = key(77);
    let cases: Vec<(Request<'_>, &str)> = vec![
        (
            Request {
                created: now - 100_000,
                ..fresh("a")
            },
            "signature_stale",
        ),
        (
            Request {
                created: now + 100_000,
                ..fresh("b")
            },
            "signature_stale",
        ),
        (
            Request {
                key: &nobody,
                ..fresh("c")
            },
            "key_unknown",
        ),
        (
            Request {
                key: &root,
                ..fresh("d")
            },
            "key_unknown",
        ),
        (
            Request {
                authority: "globex.example".to_owned(),
                ..fresh("e")
            },
            "signature_invalid",
        ),
        (
            Request {
                nonce: "",
                ..good.clone()
            },
            "signature_malformed",
        ),
    ];
    for (request, code) in cases {
        assert_eq!(
            request.send(&authority, |_| ()).await,
            (401, code.to_owned())
        );
    }
    // Signed for another address and sent here under that name.
    let elsewhere = Request {
        authority: "globex.example".to_owned(),
        ..fresh("f")
    };
    let (status, code) = elsewhere
        .send_as(&authority, "globex.example", |_| ())
        .await;
    assert_eq!((status, code.as_str()), (421, "authority_mismatch"));

    type Edit = fn(&mut SignatureHeaders);
    let edits: [(Edit, &str); 6] = [
        (
            |headers| headers.signature = headers.signature.replace("sig1=:", "sig1=:AA"),
            "signature_malformed",
        ),
        (
            |headers| headers.input = headers.input.replace("\"@path\" ", ""),
            "signature_malformed",
        ),
        (
            |headers| headers.input = headers.input.replace("counterfoil-exchange", "x"),
            "signature_malformed",
        ),
        (
            |headers| headers.input = headers.input.replace("nonce=\"", "nonce=\"x"),
            "signature_invalid",
        ),
        (
            |headers| headers.content_digest = Some("sha-256=:AA==:".to_owned()),
            "signature_malformed",
        ),
        (|headers| headers.input.clear(), "signature_malformed"),
    ];
    for (index, (edit, code)) in edits.into_iter().enumerate() {
        let nonce = format!("edit-{index}");
        let request = Request {
            nonce: &nonce,
            ..good.clone()
        };
        assert_eq!(
            request.send(&authority, edit).await,
            (401, code.to_owned()),
            "{index}"
        );
    }
    // A signature for one request does not fit another.
    let (status, code) = {
        let headers = fresh("g").headers();
        let url = format!("http://{authority}/exchange/v1/records");
        answer(with(reqwest::Client::new().get(url), &headers)).await
    };
    assert_eq!((status, code.as_str()), (401, "signature_invalid"));
    for path in ["channel", "records", "receipts", "receipts/00"] {
        let url = format!("http://{authority}/exchange/v1/{path}");
        let (status, code) = answer(reqwest::Client::new().get(url)).await;
        assert_eq!(
            (status, code.as_str()),
            (401, "signature_missing"),
            "{path}"
        );
    }
    three.near.stop().await;
    three.far.stop().await;
}

/// Nonces are in memory: what was signed before a start may have been answered then.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_answered_is_not_answered_again_after_a_restart() {
    const START: u64 = 1_800_000_000;
    let acme = Operator::new("acme.example", 1);
    let clock = Arc::new(SetClock(AtomicU64::new(START)));
    let globex = Operator::with_clock("globex.example", 2, Arc::clone(&clock));
    globex.knows(&acme);
    let acme_key = key(1);
    let signed = |created, nonce| Request {
        authority: "globex.example".to_owned(),
        key: &acme_key,
        created,
        nonce,
        path: "/exchange/v1/channel",
        query: "",
    };
    let start = || Running::with_exchange(&globex, "url = \"http://globex.example\"\n");
    let ask = async |at: &Running, request: Request<'_>| {
        let to = at.address.to_string();
        request.send_as(&to, "globex.example", |_| ()).await
    };
    let answered = (200, String::new());
    let stale = (401, "request_stale".to_owned());

    let first = start().await;
    clock.0.store(START + 1, Ordering::SeqCst);
    let replayed = signed(START + 1, "a");
    assert_eq!(ask(&first, replayed.clone()).await, answered);
    assert_eq!(
        ask(&first, replayed.clone()).await,
        (401, "request_replayed".to_owned())
    );
    first.stop().await;

    // It starts again, even in the same second.
    let second = start().await;
    assert_eq!(ask(&second, replayed.clone()).await, stale);
    assert_eq!(ask(&second, signed(START + 1, "b")).await, stale);
    clock.0.store(START + 2, Ordering::SeqCst);
    assert_eq!(ask(&second, replayed).await, stale);
    assert_eq!(ask(&second, signed(START + 2, "c")).await, answered);
    // A clock that is three seconds behind costs its operator three seconds, and no more.
    clock.0.store(START + 4, Ordering::SeqCst);
    assert_eq!(ask(&second, signed(START + 1, "d")).await, stale);
    clock.0.store(START + 5, Ordering::SeqCst);
    assert_eq!(ask(&second, signed(START + 2, "e")).await, answered);
    second.stop().await;
}

/// Our own client asks again: here in the second of the start, by clocks that agree.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_signs_again_what_was_signed_before_the_start() {
    let acme = Operator::new("acme.example", 1);
    let now = world::signing_time() - 1;
    let clock = Arc::new(SetClock(AtomicU64::new(now)));
    let globex = Operator::with_clock("globex.example", 2, clock);
    globex.knows(&acme);
    let running = Running::with_exchange(&globex, "").await;
    let signer = Signer::Enforcer(acme.enforcer.clone());
    let endpoint = format!("http://{}/exchange/v1", running.address);
    let mut environment = Environment::system();
    environment.clock = Arc::new(SecondsPass(AtomicU64::new(now)));
    let client = ExchangeClient::new(globex.name.clone(), &endpoint, signer, environment);
    assert_eq!(client.unwrap().channel().await.unwrap().received, []);

    // Once: whose clock stands still is told why.
    let mut environment = Environment::system();
    environment.clock = Arc::new(SetClock(AtomicU64::new(now)));
    let signer = Signer::Enforcer(acme.enforcer.clone());
    let client = ExchangeClient::new(globex.name.clone(), &endpoint, signer, environment);
    let error = client.unwrap().channel().await.unwrap_err().to_string();
    assert!(error.contains("request_stale"), "{error}");
    running.stop().await;
}

/// A clock that is a second later each time it is asked.
struct SecondsPass(AtomicU64);

impl Clock for SecondsPass {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.fetch_add(1, Ordering::SeqCst) * 1000)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_numbers_and_nothing_else() {
    let three = Three::start().await;
    let authority = three.far.address.to_string();
    let acme_key = key(1);
    for (index, query) in ["from=x", "limit=-1", "form=1", "from"]
        .into_iter()
        .enumerate()
    {
        let request = Request {
            authority: authority.clone(),
            key: &acme_key,
            created: world::signing_time(),
            nonce: &format!("page-{index}"),
            path: "/exchange/v1/records",
            query,
        };
        let (status, code) = request.send(&authority, |_| ()).await;
        assert_eq!((status, code.as_str()), (400, "query_invalid"), "{query}");
    }
    three.near.stop().await;
    three.far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_here_is_fetched() {
    let three = Three::start().await;
    three.call(1).await;
    // Records of globex that acme has never seen: made while acme was away.
    let acme = three.client(Signer::Enforcer(three.acme.enforcer.clone()));
    let before = three
        .acme
        .enforcer
        .channel_heads(&three.globex.name)
        .unwrap();
    assert_eq!(before.received[0].sequence.get(), 1);
    let far = three.far.url("desk");
    // A replayed request: globex denies it in the channel, and acme does not hear of it.
    let (line, seen) = world::http::tamper(
        far.clone(),
        world::http::unchanged(),
        world::http::unchanged(),
    )
    .await;
    let outgoing = format!(
        "[[agents]]\nname = \"support-bot\"\n[[servers]]\nname = \"desk\"\ncallers = \
         \"agents\"\nurl = \"{line}\"\noperator = \"globex.example\"\n"
    );
    let other = Running::with_exchange(&three.acme, &outgoing).await;
    post(&other.url("desk"), call(2, "echo", "a")).await;
    post(&far, seen.all().pop().unwrap()).await;
    let theirs = acme.records(0, 100).await.unwrap();
    let missing = Envelope {
        records: theirs.records[4..].to_vec(),
        ..Envelope::default()
    };
    assert_eq!(missing.records.len(), 1);
    three.acme.enforcer.ingest(&missing).unwrap();
    let after = three
        .acme
        .enforcer
        .channel_heads(&three.globex.name)
        .unwrap();
    assert_eq!(after.received[0].sequence.get(), 4);
    other.stop().await;
    three.near.stop().await;
    three.far.stop().await;
}

#[derive(Clone)]
struct Request<'a> {
    authority: String,
    key: &'a SigningKey,
    created: u64,
    nonce: &'a str,
    path: &'a str,
    query: &'a str,
}

impl Request<'_> {
    fn headers(&self) -> SignatureHeaders {
        let covered = Covered {
            method: "GET",
            authority: &self.authority,
            path: self.path,
            query: self.query,
            body: None,
        };
        let parameters = Parameters {
            created: self.created,
            kid: self.key.public().thumbprint(),
            nonce: self.nonce.to_owned(),
        };
        sign(&covered, &parameters, |base| self.key.sign(base))
    }

    async fn send(&self, to: &str, edit: impl Fn(&mut SignatureHeaders)) -> (u16, String) {
        self.send_as(to, to, edit).await
    }

    async fn send_as(
        &self,
        to: &str,
        host: &str,
        edit: impl Fn(&mut SignatureHeaders),
    ) -> (u16, String) {
        let mut headers = self.headers();
        edit(&mut headers);
        let mut url = format!("http://{to}{}", self.path);
        if !self.query.is_empty() {
            url.push('?');
            url.push_str(self.query);
        }
        let request = reqwest::Client::new().get(url).header("host", host);
        answer(with(request, &headers)).await
    }
}

fn with(request: reqwest::RequestBuilder, headers: &SignatureHeaders) -> reqwest::RequestBuilder {
    let request = request
        .header("signature-input", &headers.input)
        .header("signature", &headers.signature);
    match &headers.content_digest {
        Some(digest) => request.header("content-digest", digest),
        None => request,
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    (status, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_pushes_what_piled_up_while_the_other_was_away() {
    let three = Three::start().await;
    three.acme.knows_endpoint(&three.globex, three.far.address);
    // 300 calls that reach nobody: a request and an outcome each, more than one message may carry.
    let outgoing = "[[agents]]\nname = \"support-bot\"\n[[servers]]\nname = \"desk\"\ncallers = \
                    \"agents\"\nurl = \"http://127.0.0.1:1/mcp\"\noperator = \"globex.example\"\n";
    let away = Running::start(&three.acme.config(outgoing), three.acme.gate()).await;
    let (mut id, mut unreachable) = (0, 0);
    while unreachable < 300 {
        let got = post(&away.url("desk"), call(id, "echo", "")).await;
        match got.code().as_str() {
            "upstream_unreachable" => unreachable += 1,
            // Until some have been pushed.
            code => assert_eq!(code, "channel_unacknowledged"),
        }
        id += 1;
    }
    away.stop().await;
    let waiting = three
        .acme
        .enforcer
        .unacknowledged(&three.globex.name)
        .unwrap();
    assert_eq!(waiting.records.len(), 600);
    // The next call cannot carry them, or finds them pushed already; what it set off makes room.
    let url = three.near.url("desk");
    let mut id = 1_000;
    let answered = async {
        loop {
            let got = post(&url, call(id, "echo", "")).await;
            if got.text.contains("x-odd") {
                return;
            }
            id += 1;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, answered).await.unwrap();
    let waiting = three
        .acme
        .enforcer
        .unacknowledged(&three.globex.name)
        .unwrap();
    assert!(waiting.records.len() < 64, "{}", waiting.records.len());
    three.near.stop().await;
    three.far.stop().await;
}

/// What a peer's exchange API is asked, in order.
#[derive(Clone, Default)]
struct Asked(Arc<std::sync::Mutex<Vec<&'static str>>>);

impl Asked {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    /// How often records were fetched after each push, once `pushes` of them have been followed by
    /// another one.
    fn fetches(&self, pushes: usize) -> Option<Vec<usize>> {
        let asked = self.0.lock().unwrap();
        let mut counts = Vec::new();
        for pair in asked.chunk_by(|a, b| a == b) {
            if pair[0] == "fetch" {
                counts.push(pair.len());
            }
        }
        let over = asked.last() == Some(&"push");
        let done = if over {
            counts.len()
        } else {
            counts.len().saturating_sub(1)
        };
        (done >= pushes).then(|| counts[..pushes].to_vec())
    }
}

/// An exchange API that gives out one record at a time, and the first one again instead of none.
async fn endless(records: Vec<Arc<[u8]>>) -> (std::net::SocketAddr, Asked) {
    use axum::extract::RawQuery;
    use axum::routing::get;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let asked = Asked::default();
    let (fetched, pushed) = (asked.clone(), asked.clone());
    let first = Arc::clone(&records[0]);
    let fetch = move |RawQuery(query): RawQuery| {
        fetched.note("fetch");
        let query = query.unwrap();
        let from = query.split('&').find_map(|pair| pair.strip_prefix("from="));
        let from: usize = from.unwrap().parse().unwrap();
        let record = STANDARD.encode(records.get(from).unwrap_or(&records[0]));
        async move { axum::Json(json!({"records": [record]})) }
    };
    let push = move || {
        pushed.note("push");
        async move { axum::Json(json!({"sent": null, "received": []})) }
    };
    let first = UnverifiedRecord::parse(&first).unwrap();
    let head = json!({
        "stream": first.kid().to_string(),
        "sequence": 0,
        "id": first.id().to_string(),
    });
    let channel = move || {
        let heads = json!({"sent": head.clone(), "received": []});
        async move { axum::Json(heads) }
    };
    let router = axum::Router::new()
        .route("/exchange/v1/channel", get(channel))
        .route("/exchange/v1/records", get(fetch).post(push));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_records_never_end_holds_up_nobody_for_ever() {
    let three = Three::start().await;
    let far = three.far.url("desk");
    let (line, seen) = world::http::tamper(
        far.clone(),
        world::http::unchanged(),
        world::http::unchanged(),
    )
    .await;
    let outgoing = |url: &str| {
        format!(
            "[[agents]]\nname = \"support-bot\"\n[[servers]]\nname = \"desk\"\ncallers = \
             \"agents\"\nurl = \"{url}\"\noperator = \"globex.example\"\n"
        )
    };
    let other = Running::start(&three.acme.config(&outgoing(&line)), three.acme.gate()).await;
    post(&other.url("desk"), call(0, "echo", "a")).await;
    other.stop().await;
    // The same request again and again: globex denies each in the channel, and acme hears nothing.
    let request = seen.all().pop().unwrap();
    for _ in 0..70 {
        post(&far, request.clone()).await;
    }
    let acme = three.client(Signer::Enforcer(three.acme.enforcer.clone()));
    let records = acme.records(0, 256).await.unwrap().records;
    assert_eq!(records.len(), 72);

    let (address, asked) = endless(records).await;
    three.acme.knows_endpoint(&three.globex, address);
    // Calls that reach nobody pile up records, which sets off pushes; each ends with fetching.
    let away = Running::start(
        &three.acme.config(&outgoing("http://127.0.0.1:1/mcp")),
        three.acme.gate(),
    )
    .await;
    let errands = async {
        let mut id = 0;
        loop {
            id += 1;
            post(&away.url("desk"), call(id, "echo", "")).await;
            if let Some(fetches) = asked.fetches(3) {
                break fetches;
            }
        }
    };
    let limit = std::time::Duration::from_secs(600);
    let fetches = tokio::time::timeout(limit, errands).await.unwrap();
    // 64 pages at once, then the other six and one that was there already, then only such a one.
    assert_eq!(fetches, [64, 7, 1]);
    let received = three
        .acme
        .enforcer
        .channel_heads(&three.globex.name)
        .unwrap();
    assert_eq!(received.received[0].sequence.get(), 71);
    away.stop().await;
    three.near.stop().await;
    three.far.stop().await;
}

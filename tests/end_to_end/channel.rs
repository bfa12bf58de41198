//! `counterfoil channel`: what stands between two operators.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::numbers::{ChannelSequence, Sequence};
use counterfoil_protocol::record::{
    Body as RecordBody, ChannelControl, ChannelEvent, ChannelLink, Record, UnverifiedRecord,
};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::agent::{Ended, StdioAgent};
use crate::binaries::command;
use crate::world::{World, retry};

/// What the line between the two gateways does to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It passes.
    Pass,
    /// All records but the last are lost on the way.
    Strip,
    /// The same; and the first call passes after the second one.
    Swap,
    /// The answer is lost.
    Lose,
}

/// A line between acme's gateway and globex's, which does what a network may do.
#[derive(Debug)]
struct Line {
    state: Arc<LineState>,
    _runtime: Runtime,
}

#[derive(Debug)]
struct LineState {
    target: String,
    http: reqwest::Client,
    mode: Mutex<Mode>,
    /// How many calls have come, and how many have been sent on, since the mode was set.
    came: Mutex<usize>,
    sent: watch::Sender<usize>,
    /// The last call's body as it came.
    last: Mutex<String>,
}

impl Line {
    /// Puts itself between the gateways of a world in which acme's does not run yet.
    fn between(world: &World) -> Self {
        let path = world.path("acme/operator.toml");
        let config = fs::read_to_string(&path).unwrap();
        let url = config
            .lines()
            .find_map(|line| {
                line.strip_prefix("url = \"http")?
                    .strip_suffix("/mcp/desk\"")
            })
            .unwrap();
        let target = format!("http{url}");
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let state = Arc::new(LineState {
            target: target.clone(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            mode: Mutex::new(Mode::Pass),
            came: Mutex::new(0),
            sent: watch::Sender::new(0),
            last: Mutex::default(),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&state));
        let address = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
            address
        });
        let config = config.replace(&target, &format!("http://{address}"));
        fs::write(&path, config).unwrap();
        Self {
            state,
            _runtime: runtime,
        }
    }

    fn set(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
        *self.state.came.lock().unwrap() = 0;
        self.state.sent.send_replace(0);
    }
}

async fn pass(State(line): State<Arc<LineState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let is_call = text.contains("tools/call");
    let mode = *line.mode.lock().unwrap();
    let mut text = text;
    if is_call {
        line.last.lock().unwrap().clone_from(&text);
        let number = {
            let mut came = line.came.lock().unwrap();
            *came += 1;
            *came
        };
        if matches!(mode, Mode::Strip | Mode::Swap) {
            text = stripped(&text);
        }
        if mode == Mode::Swap && number == 1 {
            let mut sent = line.sent.subscribe();
            sent.wait_for(|sent| *sent > 0).await.unwrap();
        }
        line.sent.send_modify(|sent| *sent += 1);
    }
    let url = format!("{}{}", line.target, parts.uri.path());
    let mut sending = line.http.request(parts.method, url).body(text);
    for (name, value) in &parts.headers {
        if !matches!(name.as_str(), "host" | "content-length" | "connection") {
            sending = sending.header(name, value);
        }
    }
    let answer = sending.send().await;
    let mut response = Response::new(Body::empty());
    let Ok(answer) = answer else {
        *response.status_mut() = axum::http::StatusCode::BAD_GATEWAY;
        return response;
    };
    *response.status_mut() = answer.status();
    for (name, value) in answer.headers() {
        if matches!(name.as_str(), "content-type" | "mcp-session-id") {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    let body: Bytes = answer.bytes().await.unwrap_or_default();
    if is_call && mode == Mode::Lose {
        *response.status_mut() = axum::http::StatusCode::GATEWAY_TIMEOUT;
        return response;
    }
    *response.body_mut() = Body::from(body);
    response
}

/// Takes all records out of an envelope but the last.
fn stripped(body: &str) -> String {
    let Some(begin) = body.find("\"records\":[") else {
        return body.to_owned();
    };
    let begin = begin + "\"records\":[".len();
    let end = begin + body[begin..].find(']').unwrap();
    let last = body[begin..end].rsplit(',').next().unwrap();
    format!("{}{last}{}", &body[..begin], &body[end..])
}

fn search(agent: &mut crate::agent::HttpAgent, word: &str) -> Ended {
    agent.call("search", json!({ "query": word })).unwrap()
}

fn is_done(ended: &Ended) -> bool {
    matches!(ended, Ended::Done(_))
}

/// What an operator keeps as evidence: reason and id.
fn refused(world: &World, home: &str) -> Vec<(String, String)> {
    let path = world.path(home).join("journal.sqlite");
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection
        .prepare("SELECT reason, lower(hex(id)) FROM refused")
        .unwrap();
    let rows = statement
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// The one channel of an operator of this world.
fn status(world: &World, home: &str) -> Value {
    let channels = world.good(&["channel", "status", "--home", home]);
    assert_eq!(channels.as_array().unwrap().len(), 1, "{channels:#}");
    channels[0].clone()
}

/// The same words come from a running gateway, over its socket, and from the journal of one that
/// was stopped or killed. Asking leaves no trace.
#[test]
fn status_is_the_same_from_a_running_gateway_and_without_one() {
    let mut world = World::start();
    let mut agent = world.agent();
    let done = agent.call("search", json!({ "query": "refund" }));
    assert!(matches!(done, Ok(Ended::Done(_))), "{done:?}");
    let socket = world.path("acme/control.sock");
    assert!(socket.exists());

    let running = status(&world, "acme");
    assert_eq!(running["counterparty"], "globex.example");
    // A request and an outcome of acme's, a decision and an outcome of globex's.
    assert_eq!(running["sent"]["sequence"], 1);
    assert_eq!(running["received"][0]["sequence"], 1);
    assert_eq!(running["unacknowledged"], 1);
    assert_eq!(running["asked"], 0);
    let theirs = status(&world, "globex");
    assert_eq!(theirs["sent"], running["received"][0]);
    assert_eq!(theirs["received"][0]["sequence"], 0);
    assert_eq!(theirs["executing"], 0);
    let records = world.records("acme").len();

    drop(agent);
    world.stop("acme");
    assert!(!socket.exists(), "a gateway takes its socket along");
    assert_eq!(status(&world, "acme"), running);
    world.start_process("acme");
    world.kill("acme");
    assert!(socket.exists(), "a killed process leaves its socket");
    let before = world.records("acme").len();
    assert_eq!(status(&world, "acme"), running);
    assert_eq!(world.records("acme").len(), before);
    assert!(before > records, "a start is recorded");
    world.start_process("acme");
    assert_eq!(status(&world, "acme"), running);
}

/// Who holds the home and does not answer is named, and nothing is done behind its back.
#[test]
fn a_home_that_somebody_else_holds_is_left_alone() {
    let world = World::start();
    let socket = world.path("acme/control.sock");
    fs::remove_file(&socket).unwrap();
    let said = world.run(&["channel", "status", "--home", "acme"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("in use by process"), "{}", said.stderr);
    assert!(said.stderr.contains("control.sock"), "{}", said.stderr);
}

/// Two calls at once change places on the way, and each has lost the records before its own: both
/// run, and nothing is held against anybody.
#[test]
fn calls_that_change_places_on_the_way_both_run() {
    let mut world = World::set_up();
    let line = Line::between(&world);
    world.start_process("globex");
    world.start_process("acme");
    let mut agents = [world.agent(), world.agent()];
    line.set(Mode::Swap);
    let [first, second] = &mut agents;
    std::thread::scope(|scope| {
        let one = scope.spawn(|| search(first, "one"));
        // The other one is recorded after it.
        retry("the first call on the line", || {
            (*line.state.came.lock().unwrap() > 0).then_some(())
        });
        let two = search(second, "two");
        assert!(is_done(&two), "{two:?}");
        let one = one.join().unwrap();
        assert!(is_done(&one), "{one:?}");
    });
    line.set(Mode::Strip);
    for word in ["three", "four"] {
        let ended = search(&mut agents[0], word);
        assert!(is_done(&ended), "{ended:?}");
    }
    assert_eq!(refused(&world, "globex"), []);
    assert_eq!(status(&world, "globex")["gaps"], json!([]));
    assert_eq!(world.did().len(), 4);
}

/// Behind `mcp` nobody answers for acme: what is missing cannot be fetched. The gap is refused when
/// the window is over, in a signed decision, kept, and heals with the next call that passes whole.
#[test]
fn a_gap_that_outlives_the_window_is_refused_and_heals() {
    let mut world = World::set_up();
    let line = Line::between(&world);
    world.start_process("globex");
    let arguments = ["mcp", "--home", "acme", "--server", "desk"];
    let mut agent = StdioAgent::start(&mut command(world.directory(), &arguments));
    let mut search = |word: &str| agent.call("search", json!({ "query": word }));
    assert!(is_done(&search("one")));
    line.set(Mode::Strip);
    let begin = Instant::now();
    let ended = search("two");
    assert_eq!(ended.code(), "channel_gap", "{ended:?}");
    assert!(begin.elapsed() >= Duration::from_secs(2) - Duration::from_millis(100));
    let [(reason, kept)] = &refused(&world, "globex")[..] else {
        panic!("one record is kept");
    };
    assert_eq!(reason, "channel_gap");
    let waiting = status(&world, "globex");
    assert_eq!(waiting["gaps"][0]["expected"], 1, "{waiting:#}");
    // The signed decision is about the request that is kept.
    let decisions: Vec<Value> = world
        .records("globex")
        .into_iter()
        .filter(|record| record["kind"] == "decision")
        .collect();
    let last = decisions.last().unwrap()["sequence"].to_string();
    let shown = world.good(&["journal", "show", "--home", "globex", &last]);
    assert_eq!(shown["record"]["request"], json!(kept), "{shown:#}");
    line.set(Mode::Pass);
    assert!(is_done(&search("three")));
    assert_eq!(status(&world, "globex")["gaps"], json!([]));
    assert_eq!(world.did().len(), 2);
}

/// The tool ran, and the answer was lost. Acme says that it does not know, asks, and learns what
/// globex has signed; its own outcome stays.
#[test]
fn a_lost_answer_is_learned_of_by_exchange() {
    let mut world = World::set_up();
    let line = Line::between(&world);
    world.start_process("globex");
    world.start_process("acme");
    let mut agent = world.agent();
    line.set(Mode::Lose);
    let ended = search(&mut agent, "one");
    assert_eq!(ended.code(), "upstream_failed", "{ended:?}");
    let learned = retry("globex's word", || {
        let status = status(&world, "acme");
        let request = status["unresolved"].as_array()?.first()?.clone();
        (!request["status"].is_null()).then_some(request)
    });
    assert_eq!(learned["verdict"], "allow");
    assert_eq!(learned["status"], "succeeded");
    let outcomes: Vec<Value> = world
        .records("acme")
        .into_iter()
        .filter(|record| record["kind"] == "outcome")
        .collect();
    assert_eq!(outcomes.len(), 1, "{outcomes:#?}");
    assert_eq!(world.did().len(), 1);
    line.set(Mode::Pass);
    assert!(is_done(&search(&mut agent, "two")));
    world.good(&["journal", "verify", "--home", "acme"]);
}

/// Somebody with acme's key signs a second history of the channel. Globex refuses it with a signed
/// decision that names what it has, and keeps the record.
#[test]
fn a_fork_is_refused_and_kept() {
    let mut world = World::set_up();
    let line = Line::between(&world);
    world.start_process("globex");
    world.start_process("acme");
    let mut agent = world.agent();
    assert!(is_done(&search(&mut agent, "one")));
    let call = line.state.last.lock().unwrap().clone();
    drop(agent);
    world.stop("acme");

    let key = fs::read_to_string(world.path("acme/keys/enforcer.pem")).unwrap();
    let key = SigningKey::from_pem(&key).unwrap();
    let begin = call.find("\"records\":[\"").unwrap() + "\"records\":[\"".len();
    let end = begin + call[begin..].find('"').unwrap();
    let honest = STANDARD.decode(&call[begin..end]).unwrap();
    let honest = UnverifiedRecord::parse(&honest).unwrap();
    let honest = honest.unverified_content();
    let link = honest.channel().unwrap();
    assert_eq!(link.sequence.get(), 0);
    let fork = Record {
        sequence: Sequence::new(99),
        previous: Some(RecordId::from_bytes([7; 32])),
        time: honest.time,
        beacon: None,
        body: RecordBody::Channel(ChannelControl {
            channel: ChannelLink {
                counterparty: link.counterparty.clone(),
                sequence: ChannelSequence::new(0),
                previous: None,
                acknowledged: None,
            },
            event: ChannelEvent::RecordDenied {
                record: RecordId::from_bytes([8; 32]),
                reason: ReasonCode::literal("forged"),
            },
        }),
    };
    let fork = fork
        .prepare(&"acme.example".parse().unwrap(), key.public().thumbprint())
        .sign(&key);
    let id = UnverifiedRecord::parse(&fork).unwrap().id().to_string();
    let forged = format!(
        "{}{}{}",
        &call[..begin],
        STANDARD.encode(&fork),
        &call[end..]
    );

    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("{}/mcp/desk", line.state.target);
    let post = |body: String, session: Option<String>| {
        let mut request = line
            .state
            .http
            .post(&url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .body(body);
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let session = answer.headers().get("mcp-session-id").cloned();
            let session = session.map(|session| session.to_str().unwrap().to_owned());
            (session, answer.text().await.unwrap())
        })
    };
    let opening = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "forger", "version": "1" },
        },
    });
    let (session, _) = post(opening.to_string(), None);
    let (_, answer) = post(forged, session);
    assert!(answer.contains("channel_fork"), "{answer}");
    assert_eq!(refused(&world, "globex"), [("channel_fork".to_owned(), id)]);
    assert_eq!(world.did().len(), 1);
    // The true acme goes on where it was.
    world.start_process("acme");
    let mut agent = world.agent();
    assert!(is_done(&search(&mut agent, "two")));
}

/// Both sides close a period. The other side takes the statement in; without a running gateway the
/// command does it all itself.
#[test]
fn statements_close_a_period_and_cross() {
    let mut world = World::start();
    let nothing = world.run(&[
        "channel",
        "statement",
        "--home",
        "acme",
        "--with",
        "globex.example",
    ]);
    assert_eq!(nothing.code, Some(2));
    assert!(
        nothing.stderr.contains("nothing_to_state"),
        "{}",
        nothing.stderr
    );
    let mut agent = world.agent();
    assert!(is_done(&search(&mut agent, "one")));
    let state = |home: &str, with: &str| {
        world.good(&["channel", "statement", "--home", home, "--with", with])
    };
    let ours = state("acme", "globex.example");
    assert_eq!(ours["from"], 0, "{ours:#}");
    assert_eq!(ours["sequence"], 2);
    assert_eq!(ours["open"], 0);
    assert_eq!(ours["delivery"]["delivered"], true, "{ours:#}");
    assert_eq!(status(&world, "globex")["statement"]["id"], ours["record"]);
    let theirs = state("globex", "acme.example");
    assert_eq!(theirs["received"][0]["id"], ours["record"]);
    assert_eq!(status(&world, "acme")["statement"]["id"], theirs["record"]);

    drop(agent);
    world.stop("acme");
    let offline = world.good(&[
        "channel",
        "statement",
        "--home",
        "acme",
        "--with",
        "globex.example",
    ]);
    assert_eq!(offline["from"], 2);
    assert_eq!(offline["delivery"]["delivered"], true, "{offline:#}");
    assert_eq!(
        status(&world, "globex")["statement"]["id"],
        offline["record"]
    );
    world.good(&["journal", "verify", "--home", "acme"]);
    assert_eq!(status(&world, "acme")["period"], 3);
}

/// An honest operator cannot be talked into denying what may be its own.
#[test]
fn a_record_of_our_own_cannot_be_denied() {
    let world = World::start();
    let mut agent = world.agent();
    assert!(is_done(&search(&mut agent, "one")));
    let last = (world.records("globex").len() - 1).to_string();
    world.good(&[
        "receipt",
        "get",
        "--home",
        "globex",
        "--sequence",
        &last,
        "--wait",
        "committed",
        "--out",
        "own.receipt",
    ]);
    let said = world.run(&[
        "channel",
        "deny",
        "--home",
        "globex",
        "--with",
        "acme.example",
        "own.receipt",
        "--reason",
        "forged",
    ]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("record_is_ours"), "{}", said.stderr);
    // Acme's record is not said to be globex's.
    let said = world.run(&[
        "channel",
        "deny",
        "--home",
        "acme",
        "--with",
        "globex.example",
        "own.receipt",
        "--reason",
        "forged",
    ]);
    assert!(
        said.stderr.contains("not_said_to_be_ours"),
        "{}",
        said.stderr
    );
}

//! What the tests stand on: operators with homes and keys, a policy of a few names, and a real
//! MCP server in a process of its own, which is this test binary run again.

pub mod http;

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use counterfoil_enforcer::contract::ContractSettings;
use counterfoil_enforcer::environment::{Clock, Environment};
use counterfoil_enforcer::journal::{self, JournalReader};
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::policy::{Allowed, Denied, Evaluation, EvaluationInput, Policy};
use counterfoil_enforcer::status::ChannelStatus;
use counterfoil_enforcer::{Enforcer, Settings};
use counterfoil_gateway::config::Config;
use counterfoil_gateway::proxy::Gate;
use counterfoil_gateway::serve::Gateway;
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::manifest::Manifest;
use counterfoil_protocol::names::{OperatorName, PolicyId, ReasonCode};
use counterfoil_protocol::numbers::{Amount, ManifestVersion, Sequence, UnixMillis};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{Body, OutcomeStatus, Record, UnverifiedRecord};
use counterfoil_protocol::trust::{Trust, operator_vkey};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Set in the environment of the process that plays the tool server: where it notes what it saw.
const SERVER: &str = "TOOL_SERVER_NOTES";

/// Allows everything but tools whose name, or path, begins with `forbidden`, and for agents of
/// others with `unwelcome`.
#[derive(Debug)]
pub struct Names;

impl Policy for Names {
    fn evaluate(&self, input: &EvaluationInput<'_>) -> Evaluation {
        let name = input.tool.as_str().trim_start_matches('/');
        if input.counterparty == Some(input.operator) && name.starts_with("unwelcome") {
            return Evaluation::Deny(Denied {
                reason: ReasonCode::literal("policy_forbids"),
                policies: vec![PolicyId::literal("no-unwelcome-tools")],
                explanation: format!("`{}` is not for others", input.tool),
                instead: None,
            });
        }
        if name.starts_with("forbidden") {
            return Evaluation::Deny(Denied {
                reason: ReasonCode::literal("policy_forbids"),
                policies: vec![PolicyId::literal("no-forbidden-tools")],
                explanation: format!("`{}` is forbidden", input.tool),
                instead: Some("use another tool".to_owned()),
            });
        }
        Evaluation::Allow(Allowed {
            policies: vec![PolicyId::literal("anything-else")],
            tier: None,
            points: Amount::new(0),
        })
    }

    fn digest(&self) -> ContentDigest {
        ContentDigest::of(b"names")
    }
}

/// One operator: a home, keys, an open enforcer.
pub struct Operator {
    pub name: OperatorName,
    pub home: tempfile::TempDir,
    pub root: SigningKey,
    pub manifest: LoggedManifest,
    pub operators: Arc<Operators>,
    pub enforcer: Enforcer,
}

impl Operator {
    pub fn new(name: &str, seed: u8) -> Self {
        Self::in_environment(name, seed, 0, Environment::system())
    }

    /// With so many further keys in its manifest that its receipts are long.
    pub fn with_many_keys(name: &str, seed: u8) -> Self {
        Self::in_environment(name, seed, 250, Environment::system())
    }

    /// With a clock that stands still.
    pub fn out_of_time(name: &str, seed: u8) -> Self {
        let mut environment = Environment::system();
        environment.clock = Arc::new(Stopped(environment.clock.now()));
        Self::in_environment(name, seed, 0, environment)
    }

    /// With a clock that the test sets.
    pub fn with_clock(name: &str, seed: u8, clock: Arc<SetClock>) -> Self {
        let mut environment = Environment::system();
        environment.clock = clock;
        Self::in_environment(name, seed, 0, environment)
    }

    fn in_environment(name: &str, seed: u8, further: u8, environment: Environment) -> Self {
        let name = OperatorName::new(name).unwrap();
        let home = tempfile::tempdir().unwrap();
        let key = key(seed);
        let root = root(seed);
        let mut enforcers = vec![key.public().clone()];
        enforcers.extend((0..further).map(|number| further_key(number).public().clone()));
        enforcers.sort_by_key(|key| *key.as_bytes());
        let manifest = Manifest {
            operator: name.clone(),
            version: ManifestVersion::new(1),
            previous: None,
            time: UnixMillis::new(1_000),
            roots: vec![root.public().clone()],
            enforcers,
            exchange: None,
            revoked: vec![],
        };
        let manifest = LoggedManifest {
            manifest: manifest.sign(&root),
            log_proof: None,
        };
        let operators = Arc::new(Operators::default());
        let path = home.path().join(journal::FILE_NAME);
        journal::create(&path, &name, &key, UnixMillis::new(1_000)).unwrap();
        let enforcer = open_in(&name, seed, &path, &operators, environment);
        Self {
            name,
            home,
            root,
            manifest,
            operators,
            enforcer,
        }
    }

    pub fn knows(&self, other: &Self) {
        let vkey = operator_vkey(&other.name, other.root.public()).unwrap();
        let trust = Trust::parse(format!("quorum none\noperator {vkey}\n").as_bytes()).unwrap();
        self.operators
            .add(vec![other.manifest.clone()], &trust, true)
            .unwrap();
    }

    /// Knows that `other` answers at this address, from version 2 of its manifest.
    pub fn knows_endpoint(&self, other: &Self, address: std::net::SocketAddr) {
        let first =
            counterfoil_protocol::manifest::UnverifiedManifest::parse(&other.manifest.manifest)
                .unwrap()
                .verify_first(|_| true)
                .unwrap();
        let mut second = first.manifest().clone();
        second.version = ManifestVersion::new(2);
        second.previous = Some(first.digest());
        second.exchange = Some(format!("http://{address}/exchange/v1"));
        let second = LoggedManifest {
            manifest: second.sign(&other.root),
            log_proof: None,
        };
        let vkey = operator_vkey(&other.name, other.root.public()).unwrap();
        let trust = Trust::parse(format!("quorum none\noperator {vkey}\n").as_bytes()).unwrap();
        self.operators
            .add(vec![other.manifest.clone(), second], &trust, true)
            .unwrap();
    }

    pub fn journal(&self) -> PathBuf {
        self.home.path().join(journal::FILE_NAME)
    }

    pub fn gate(&self) -> Gate {
        Gate::Open(self.enforcer.clone())
    }

    /// Every record in the journal, once all that was queued is there.
    pub fn records(&self) -> Vec<Record> {
        let other = OperatorName::new("flush.example").unwrap();
        self.enforcer.unacknowledged(&other).unwrap();
        records(&self.journal())
    }

    /// The records of calls, as short texts.
    pub fn story(&self) -> Vec<String> {
        self.records().iter().filter_map(tell).collect()
    }

    /// The configuration of this operator with `more` lines.
    pub fn config(&self, more: &str) -> Config {
        let text = format!(
            "operator = \"{}\"\n[gateway]\nlisten = \"127.0.0.1:0\"\n{more}",
            self.name
        );
        Config::parse(&text, &self.home.path().join("operator.toml")).unwrap()
    }
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32])).unwrap()
}

fn root(seed: u8) -> SigningKey {
    key(seed + 100)
}

fn further_key(number: u8) -> SigningKey {
    let mut seed = Zeroizing::new([number; 32]);
    seed[0] = !number;
    SigningKey::from_seed(&seed).unwrap()
}

/// Whose receipts are believed where a contract asks for them.
fn trust() -> Trust {
    let mut text = String::from("quorum none\n");
    for (name, seed) in [("acme.example", 1), ("globex.example", 2)] {
        let vkey = operator_vkey(&name.parse().unwrap(), root(seed).public()).unwrap();
        text.push_str(&format!("operator {vkey}\n"));
    }
    Trust::parse(text.as_bytes()).unwrap()
}

/// A time for a request to the exchange API that is after the start of any gateway here: the second
/// of a start does not count.
pub fn signing_time() -> u64 {
    Environment::system().clock.now().seconds().get() + 1
}

/// A clock that the test sets, in seconds.
pub struct SetClock(pub AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::SeqCst) * 1000)
    }
}

struct Stopped(UnixMillis);

impl Clock for Stopped {
    fn now(&self) -> UnixMillis {
        self.0
    }
}

pub fn open(name: &OperatorName, seed: u8, journal: &Path, operators: &Arc<Operators>) -> Enforcer {
    open_in(name, seed, journal, operators, Environment::system())
}

fn open_in(
    name: &OperatorName,
    seed: u8,
    journal: &Path,
    operators: &Arc<Operators>,
    environment: Environment,
) -> Enforcer {
    let settings = Settings {
        operator: name.clone(),
        key: key(seed),
        policy: Arc::new(Names),
        budgets: vec![],
        journal: journal.to_owned(),
        keep_clear_text: false,
        freshness_millis: 60_000,
        backlog_limit: None,
        batch_records: 1_024,
        operators: Arc::clone(operators),
        contracts: ContractSettings {
            required: Default::default(),
            trust: Some(trust()),
        },
        environment,
    };
    Enforcer::open(settings).unwrap().0
}

pub fn records(journal: &Path) -> Vec<Record> {
    JournalReader::open(journal)
        .unwrap()
        .records(Sequence::new(0), 1_000_000)
        .unwrap()
        .iter()
        .map(|(_, bytes)| {
            UnverifiedRecord::parse(bytes)
                .unwrap()
                .unverified_content()
                .clone()
        })
        .collect()
}

fn tell(record: &Record) -> Option<String> {
    match &record.body {
        Body::Request(request) => Some(format!(
            "request {} {}",
            request.action.tool, request.evaluation.reason
        )),
        Body::Decision(decision) => Some(format!(
            "decision {} {}",
            decision.action.tool, decision.evaluation.reason
        )),
        Body::Outcome(outcome) => Some(format!("outcome {}", outcome.status)),
        Body::Control(counterfoil_protocol::record::Event::MessageRefused { reason }) => {
            Some(format!("refused {reason}"))
        }
        Body::Control(_) | Body::Channel(_) => None,
    }
}

/// A gateway that serves until it is dropped or stopped.
pub struct Running {
    pub address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub async fn start(config: &Config, gate: Gate) -> Self {
        Self::bind(config, gate, None).await
    }

    /// With the exchange API, which shows the operator's manifest.
    pub async fn with_exchange(operator: &Operator, more: &str) -> Self {
        let manifests = operator.home.path().join("manifests");
        let _ = std::fs::create_dir(&manifests);
        std::fs::write(manifests.join("1.manifest"), &operator.manifest.manifest).unwrap();
        Self::bind(&operator.config(more), operator.gate(), Some(&manifests)).await
    }

    async fn bind(config: &Config, gate: Gate, manifests: Option<&Path>) -> Self {
        let gateway = Gateway::bind(config, gate, manifests).await.unwrap();
        let address = gateway.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            let _ = stopped.await;
        };
        let limit = std::time::Duration::from_secs(5);
        let task = tokio::spawn(async move { gateway.serve(stopped, limit).await.unwrap() });
        Self {
            address,
            stop: Some(stop),
            task,
        }
    }

    pub fn url(&self, server: &str) -> String {
        format!("http://{}/mcp/{server}", self.address)
    }

    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }
}

/// The tool server of a test: its command line and what it has seen.
pub struct ToolServer {
    notes: PathBuf,
    _directory: tempfile::TempDir,
}

impl ToolServer {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            notes: directory.path().join("notes"),
            _directory: directory,
        }
    }

    pub fn command(&self) -> Vec<String> {
        let binary = std::env::current_exe().unwrap();
        [
            "env",
            &format!("{SERVER}={}", self.notes.display()),
            binary.to_str().unwrap(),
            "--exact",
            "play_tool_server",
            "--nocapture",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// The command as a TOML array.
    pub fn toml(&self) -> String {
        serde_json::to_string(&self.command()).unwrap()
    }

    /// Every line it got, byte for byte.
    pub fn saw(&self) -> Vec<String> {
        let notes = std::fs::read(&self.notes).unwrap_or_default();
        String::from_utf8(notes)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    pub fn was_started(&self) -> bool {
        self.notes.exists()
    }
}

/// To be called from a `#[test] fn play_tool_server()` of every test binary that needs one.
pub fn play_tool_server() {
    let Some(notes) = std::env::var_os(SERVER) else {
        return;
    };
    let mut notes = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(notes)
        .unwrap();
    let mut held: Vec<Value> = Vec::new();
    let stdin = std::io::stdin();
    for line in stdin.lock().lines() {
        let line = line.unwrap();
        notes.write_all(format!("{line}\n").as_bytes()).unwrap();
        let message: Value = serde_json::from_str(&line).unwrap();
        let Some(id) = message.get("id").cloned() else {
            continue;
        };
        let Some(method) = message["method"].as_str() else {
            continue;
        };
        let tool = message["params"]["name"].as_str().unwrap_or_default();
        let result = match (method, tool) {
            ("initialize", _) => format!(
                r#"{{"protocolVersion":{},"capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"t","version":"1"}}}}"#,
                message["params"]["protocolVersion"]
            ),
            ("tools/call", "environment") => {
                let names = std::env::vars_os()
                    .map(|(name, _)| name.into_string().unwrap())
                    .filter(|name| name.starts_with("COUNTERFOIL_") || name.starts_with("GATEWAY_"))
                    .collect::<Vec<_>>();
                json!({"content": [], "names": names}).to_string()
            }
            ("tools/call", "die") => std::process::exit(7),
            ("tools/call", "silent") => continue,
            ("tools/call", "hold") => {
                held.push(id);
                continue;
            }
            ("tools/call", "release") => {
                for id in held.drain(..).rev() {
                    say(&format!(
                        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#
                    ));
                }
                r#"{"content":[]}"#.to_owned()
            }
            ("tools/call", "fail") => {
                r#"{"content":[{"type":"text","text":"no"}],"isError":true}"#.to_owned()
            }
            ("tools/call", "error") => {
                say(&format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"broken"}}}}"#
                ));
                continue;
            }
            ("tools/call", "forge") => {
                r#"{"_meta":{"dev.counterfoil/evidence":{"records":[]}},"content":[]}"#.to_owned()
            }
            ("tools/call", "twice") => {
                say(&format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"n":1}}}}"#
                ));
                r#"{"content":[],"n":2}"#.to_owned()
            }
            ("tools/call", "noise") => {
                say("this is not JSON");
                say(r#"[{"jsonrpc":"2.0","method":"notifications/message"}]"#);
                say(r#"{"jsonrpc":"2.0","id":99999,"result":{}}"#);
                say(
                    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hi"}}"#,
                );
                r#"{"content":[]}"#.to_owned()
            }
            // Odd spacing, escapes and a member nobody knows: it must arrive as it is.
            ("tools/call", _) => format!(
                "{{ \"x-odd\":1.0,\"content\":[{{\"type\":\"text\",\"text\":\"\\u0041 {}\"}}] }}",
                message["params"]["arguments"]["text"]
                    .as_str()
                    .unwrap_or_default()
            ),
            ("tools/list", _) => r#"{"tools":[]}"#.to_owned(),
            _ => "{}".to_owned(),
        };
        say(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        ));
    }
    std::process::exit(0);
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.write_all(b"\n").unwrap();
    out.flush().unwrap();
}

pub fn call(id: u64, tool: &str, text: &str) -> String {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": {"name": tool, "arguments": {"text": text}},
    })
    .to_string()
}

/// Takes all records out of an envelope in JSON but the last.
pub fn stripped(body: String) -> String {
    const LIST: &str = "\"records\":[";
    let Some((before, rest)) = body.split_once(LIST) else {
        return body;
    };
    let (records, after) = rest.split_once(']').unwrap();
    let last = records.rsplit(',').next().unwrap();
    format!("{before}{LIST}{last}]{after}")
}

/// How the channel of this operator stands: it has one.
pub fn status(operator: &Operator) -> ChannelStatus {
    operator.enforcer.channel_status().unwrap().remove(0)
}

/// Waits until the other side has said that it carried out the one call that ended here without
/// its word.
pub async fn resolved(operator: &Operator) {
    let begin = std::time::Instant::now();
    loop {
        let found = status(operator).unresolved;
        assert_eq!(found.len(), 1);
        let outcome = found[0].1.outcome;
        if outcome.is_some_and(|(_, status)| status == OutcomeStatus::Succeeded) {
            return;
        }
        let limit = std::time::Duration::from_secs(30);
        assert!(begin.elapsed() < limit, "nobody asked for the outcome");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

//! Two operators in one process, each with a real journal on disk.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "shared by several test programs; a test stops at the first surprise"
)]

pub mod home;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use counterfoil_enforcer::call::{Call, Denial, Envelope, Party};
use counterfoil_enforcer::environment::{Clock, Environment, SystemEntropy};
use counterfoil_enforcer::journal;
use counterfoil_enforcer::ledger::Budget;
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::policy::{Allowed, Denied, Evaluation, EvaluationInput, Policy};
use counterfoil_enforcer::{Decided, Enforcer, EnforcerError, Permit, Settings, StartReport};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::manifest::Manifest;
use counterfoil_protocol::names::{OperatorName, PolicyId, ReasonCode};
use counterfoil_protocol::numbers::{Amount, ManifestVersion, UnixMillis};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::{Trust, operator_vkey};

/// Allows every tool but those whose name begins with `forbidden`; each action costs 10 points.
#[derive(Debug)]
pub struct ByName;

impl Policy for ByName {
    fn evaluate(&self, input: &EvaluationInput<'_>) -> Evaluation {
        if input.tool.as_str().starts_with("forbidden") {
            return Evaluation::Deny(Denied {
                reason: ReasonCode::literal("policy_forbids"),
                policies: vec![PolicyId::literal("no-forbidden-tools")],
                explanation: "the tool is forbidden".to_owned(),
                instead: Some("use another one".to_owned()),
            });
        }
        Evaluation::Allow(Allowed {
            policies: vec![PolicyId::literal("tools")],
            tier: None,
            points: Amount::new(10),
        })
    }

    fn digest(&self) -> ContentDigest {
        ContentDigest::of(b"by name")
    }
}

/// A clock that tests set.
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::SeqCst))
    }
}

pub const NOW: u64 = 1_790_000_000_000;

pub struct World {
    pub directory: tempfile::TempDir,
    pub operators: Arc<Operators>,
    pub clock: Arc<TestClock>,
    pub trust: Trust,
}

pub fn name(operator: &str) -> OperatorName {
    operator.parse().unwrap()
}

pub fn key(operator: &str, role: u8) -> SigningKey {
    let mut seed = [role; 32];
    for (byte, letter) in seed.iter_mut().zip(operator.bytes()) {
        *byte ^= letter;
    }
    SigningKey::from_seed(&seed.into()).unwrap()
}

pub fn enforcer_key(operator: &str) -> SigningKey {
    key(operator, 2)
}

impl World {
    pub fn new() -> Self {
        let mut file = String::from("quorum none\n");
        let mut manifests = Vec::new();
        for operator in ["acme.example", "globex.example"] {
            let root = key(operator, 1);
            let vkey = operator_vkey(&name(operator), root.public()).unwrap();
            file.push_str(&format!("operator {vkey}\n"));
            let manifest = Manifest {
                operator: name(operator),
                version: ManifestVersion::new(1),
                previous: None,
                time: UnixMillis::new(NOW),
                roots: vec![root.public().clone()],
                enforcers: vec![enforcer_key(operator).public().clone()],
                exchange: None,
                revoked: Vec::new(),
            };
            manifests.push(manifest.sign(&root));
        }
        let trust = Trust::parse(file.as_bytes()).unwrap();
        let operators = Arc::new(Operators::default());
        for manifest in manifests {
            let logged = vec![LoggedManifest {
                manifest,
                log_proof: None,
            }];
            operators.add(logged, &trust, true).unwrap();
        }
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            operators,
            clock: Arc::new(TestClock(AtomicU64::new(NOW))),
            trust,
        };
        for operator in ["acme.example", "globex.example"] {
            let (path, key) = (world.journal(operator), enforcer_key(operator));
            journal::create(&path, &name(operator), &key, UnixMillis::new(NOW)).unwrap();
        }
        world
    }

    pub fn journal(&self, operator: &str) -> PathBuf {
        self.directory.path().join(format!("{operator}.sqlite"))
    }

    pub fn settings(&self, operator: &str) -> Settings {
        Settings {
            operator: name(operator),
            key: enforcer_key(operator),
            policy: Arc::new(ByName),
            budgets: Vec::new(),
            journal: self.journal(operator),
            keep_clear_text: false,
            freshness_millis: 60_000,
            backlog_limit: None,
            batch_records: 1024,
            operators: Arc::clone(&self.operators),
            contracts: Default::default(),
            environment: Environment {
                clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
                entropy: Arc::new(SystemEntropy),
            },
        }
    }

    pub fn open(&self, operator: &str) -> Enforcer {
        self.try_open(operator).unwrap().0
    }

    pub fn try_open(&self, operator: &str) -> Result<(Enforcer, StartReport), EnforcerError> {
        Enforcer::open(self.settings(operator))
    }

    pub fn open_with_budget(&self, operator: &str, points: u64) -> Enforcer {
        let mut settings = self.settings(operator);
        settings.budgets = vec![Budget {
            operator: None,
            agent: None,
            points: Amount::new(points),
            period_seconds: 3600,
        }];
        Enforcer::open(settings).unwrap().0
    }
}

pub fn call<'a>(tool: &str, parameters: &'a [u8]) -> Call<'a> {
    Call {
        on_behalf_of: None,
        session: None,
        server: "desk".parse().unwrap(),
        verb: "tools/call".parse().unwrap(),
        tool: tool.parse().unwrap(),
        arguments: b"{}",
        parameters,
        attestations: &[],
    }
}

pub fn local() -> Party<'static> {
    Party::Local {
        agent: "bot".parse().unwrap(),
    }
}

pub fn allowed(decided: Decided) -> Permit {
    match decided {
        Decided::Allowed(permit) => permit,
        Decided::Denied(denial) => panic!("denied: {denial:?}"),
    }
}

pub fn denied(decided: Decided) -> Denial {
    match decided {
        Decided::Denied(denial) => denial,
        Decided::Allowed(permit) => panic!("allowed: {permit:?}"),
    }
}

pub fn ask(acme: &Enforcer, tool: &str, parameters: &[u8]) -> Permit {
    ask_operator(acme, "globex.example", tool, parameters)
}

pub fn ask_operator(from: &Enforcer, to: &str, tool: &str, parameters: &[u8]) -> Permit {
    let counterparty = name(to);
    let party = Party::Outgoing {
        agent: "bot".parse().unwrap(),
        counterparty: &counterparty,
    };
    allowed(
        from.authorize(&call(tool, parameters), &party)
            .unwrap()
            .wait()
            .unwrap(),
    )
}

pub fn hear(globex: &Enforcer, tool: &str, parameters: &[u8], envelope: &Envelope) -> Decided {
    let party = Party::Incoming {
        envelope: Some(envelope),
    };
    globex
        .authorize(&call(tool, parameters), &party)
        .unwrap()
        .wait()
        .unwrap()
}

/// Runs SQL on a journal that nobody has open.
pub fn tamper(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection.close().unwrap();
}

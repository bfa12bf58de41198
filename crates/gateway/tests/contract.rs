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
use std::sync::Arc;

use counterfoil_enforcer::contract::Standing;
use counterfoil_enforcer::environment::Environment;
use counterfoil_gateway::exchange::{ExchangeClient, Signer, deliver, fetch_terms};
use counterfoil_protocol::contract::{Clauses, Pattern, Permission, Terms};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::numbers::{Amount, Millis, UnixMillis};
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
    let permission = |tool: &str, tier: &'static str| Permission {
        server: "desk".parse().unwrap(),
        verb: "tools/call".parse().unwrap(),
        tool: Pattern::new(tool).unwrap(),
        targets: vec![],
        tier: tier.parse().unwrap(),
        points: Amount::new(0),
    };
    let now = Environment::system().clock.now();
    Terms::new(Clauses {
        asking: "acme.example".parse().unwrap(),
        asked: "globex.example".parse().unwrap(),
        begins: UnixMillis::new(1),
        expires: now.saturating_add(3_600_000),
        permissions: vec![permission("echo", "low"), permission("echo-*", "high")],
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

    fetch_terms(&two.globex.enforcer, &two.acme.name, digest)
        .await
        .unwrap();
    let known = two.globex.enforcer.contract(digest).unwrap();
    assert_eq!(known.terms.unwrap().encoded(), sent.content);
    assert_eq!(known.standing, Standing::Proposed);
    two.stop().await;
}

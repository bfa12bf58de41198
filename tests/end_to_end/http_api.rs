//! A plain HTTP API behind two gateways, with clients and a server that others wrote.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::python::{Server, ask, noted};
use crate::world::World;

const SCHEMA: &str = r#"
action GET appliesTo { principal: Agent, resource: Server,
  context: { arguments: { name: String }, call: Call } };
action "POST /refunds" appliesTo { principal: Agent, resource: Server,
  context: { arguments: { path: String, body: { amount: Long } }, call: Call } };
action "PUT /echo" appliesTo { principal: Agent, resource: Server,
  context: { arguments: { path: String, body_sha256?: String, body_bytes?: Long }, call: Call } };
"#;

const GLOBEX: &str = r#"
@id("orders") permit (principal, action == Action::"GET", resource == Server::"orders")
  when { context.arguments.name like "/orders/*" };
@id("refunds") @tier("high") permit (principal, action == Action::"POST /refunds", resource);
@id("refund-ceiling") @instead("ask a person")
forbid (principal, action == Action::"POST /refunds", resource)
  when { context.arguments.body.amount > 5000 };
@id("echo") permit (principal, action == Action::"PUT /echo", resource);
"#;

/// A world in which globex has an API that acme's agent calls.
struct Apis {
    world: World,
    did: PathBuf,
    _api: Server,
}

impl Apis {
    fn start() -> Self {
        let mut world = World::set_up();
        let did = world.path("api-did.txt");
        let api = Server::start("http_api.py", &did);
        for home in ["acme", "globex"] {
            let schema = world.path(home).join("policy/schema.cedarschema");
            let text = fs::read_to_string(&schema).unwrap();
            fs::write(&schema, format!("{text}{SCHEMA}")).unwrap();
        }
        fs::write(world.path("globex/policy/orders.cedar"), GLOBEX).unwrap();
        world.configure(
            "globex",
            &format!(
                "[[servers]]\nname = \"orders\"\ncallers = \"operators\"\nprotocol = \"http\"\n\
                 url = \"http://127.0.0.1:{}/v1\"\n",
                api.port
            ),
        );
        world.configure(
            "acme",
            &format!(
                "[[servers]]\nname = \"orders\"\ncallers = \"agents\"\nprotocol = \"http\"\n\
                 url = \"http://{}/http/orders\"\noperator = \"globex.example\"\n",
                world.gateway("globex")
            ),
        );
        for name in ["globex", "acme"] {
            world.start_process(name);
        }
        Self {
            world,
            did,
            _api: api,
        }
    }

    fn ask(&self, plan: &Value) -> Vec<Value> {
        let url = format!("http://{}/http/orders", self.world.gateway("acme"));
        ask("http_client.py", plan, &url)
    }
}

#[test]
fn clients_of_others_use_an_api_of_another_operator() {
    let apis = Apis::start();
    let json = json!({ "content-type": "application/json" });
    let refund = |amount: u64| {
        json!([
            "POST",
            "/refunds",
            json,
            format!("{{ \"amount\": {amount} }}")
        ])
    };
    let answers = apis.ask(&json!([
        ["GET", "/orders/7?x=1", {}, null],
        ["GET", "/orders/caf%C3%A9", { "accept": "application/json" }, null],
        refund(1_000),
        refund(2_000),
        refund(9_000),
        refund(9_000),
        ["PUT", "/echo", { "content-type": "text/plain" }, "plain \u{e9}"],
        ["GET", "/admin", {}, null],
        ["DELETE", "/orders/7", {}, null],
        ["GET", "/orders/%2e%2e/admin", {}, null],
    ]));
    let status: Vec<u64> = answers
        .iter()
        .map(|answer| answer["status"].as_u64().unwrap())
        .collect();
    assert_eq!(
        status,
        [200, 200, 201, 201, 403, 403, 200, 403, 403, 400],
        "{answers:#?}"
    );
    assert_eq!(answers[0]["body"], r#"{"order": "7", "query": "?x=1"}"#);
    assert_eq!(answers[0]["headers"]["etag"], "\"1\"");
    assert_eq!(answers[2]["headers"]["location"], "/v1/refunds/8");
    assert_eq!(answers[6]["body"], "plain \u{e9}");
    for answer in &answers {
        assert!(answer["headers"].get("counterfoil-evidence").is_none());
    }
    let denied: Value = serde_json::from_str(answers[4]["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        answers[4]["headers"]["content-type"],
        "application/problem+json"
    );
    assert_eq!(denied["rules"], json!(["refund-ceiling"]));
    assert_eq!(denied["instead"], "ask a person.");

    // The API saw what was allowed, and nothing of the evidence.
    let did = noted(&apis.did);
    let lines: Vec<&str> = did
        .iter()
        .map(|one| one["line"].as_str().unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "GET /v1/orders/7?x=1",
            "GET /v1/orders/caf%C3%A9",
            "POST /v1/refunds",
            "POST /v1/refunds",
            "PUT /v1/echo",
        ]
    );
    assert_eq!(did[2]["body"], "{ \"amount\": 1000 }");
    for one in &did {
        let headers = one["headers"].as_array().unwrap();
        assert!(!headers.contains(&json!("counterfoil-evidence")), "{one}");
        assert!(!headers.contains(&json!("user-agent")), "{one}");
    }
    assert!(apis.world.verify_all_receipts() > 20);
}

#[test]
fn an_api_that_is_gone_leaves_an_outcome_and_the_halves_match() {
    let Apis {
        mut world,
        did,
        _api,
    } = Apis::start();
    drop(_api);
    let url = format!("http://{}/http/orders", world.gateway("acme"));
    let plan = json!([["GET", "/orders/7", {}, null]]);
    let answers = ask("http_client.py", &plan, &url);
    assert_eq!(answers[0]["status"], 502);
    let problem: Value = serde_json::from_str(answers[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(problem["code"], "upstream_unreachable");
    assert!(noted(&did).is_empty());
    world.kill("globex");
    let answers = ask("http_client.py", &plan, &url);
    assert_eq!(answers[0]["status"], 502);
    world.start_process("globex");
    let answers = ask("http_client.py", &plan, &url);
    let problem: Value = serde_json::from_str(answers[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(problem["code"], "upstream_unreachable");
    world.verify_all_receipts();
}

//! Agents made with the official SDK of A2A on both ends, and two gateways between them.

use std::fs;

use serde_json::{Value, json};

use crate::python::{Server, ask, noted};
use crate::world::World;

const URI: &str = "https://counterfoil.dev/a2a/evidence/v1";

const VERBS: [&str; 6] = [
    "message/send",
    "message/stream",
    "tasks/get",
    "tasks/list",
    "tasks/cancel",
    "tasks/resubscribe",
];

fn plan() -> Value {
    json!([
        ["send", "hello"],
        ["send", "work"],
        ["get"],
        ["stream", "work hard"],
        ["stream", "hi \u{1f600}"],
        ["stream", "work and wait"],
        ["cancel"],
    ])
}

#[test]
fn the_python_sdk_asks_an_agent_of_another_operator() {
    let mut world = World::set_up();
    let did = world.path("a2a-did.txt");
    let agent = Server::start("a2a_agent.py", &did);
    for home in ["acme", "globex"] {
        let schema = world.path(home).join("policy/schema.cedarschema");
        let mut text = fs::read_to_string(&schema).unwrap();
        for verb in VERBS {
            if !text.contains(&format!("\"{verb}\"")) {
                text.push_str(&format!(
                    "action \"{verb}\" appliesTo {{ principal: Agent, resource: Server,
                       context: {{ arguments: {{ name: String }}, call: Call }} }};\n"
                ));
            }
        }
        fs::write(&schema, text).unwrap();
    }
    fs::write(
        world.path("globex/policy/agent.cedar"),
        r#"
        @id("talk") permit (principal, action in [Action::"message/send", Action::"message/stream",
          Action::"tasks/get", Action::"tasks/cancel"], resource == Server::"helper");
        "#,
    )
    .unwrap();
    world.configure(
        "globex",
        &format!(
            "[[servers]]\nname = \"helper\"\ncallers = \"operators\"\nprotocol = \"a2a\"\n\
             url = \"http://127.0.0.1:{}/\"\n",
            agent.port
        ),
    );
    world.configure(
        "acme",
        &format!(
            "[[servers]]\nname = \"helper\"\ncallers = \"agents\"\nprotocol = \"a2a\"\n\
             url = \"http://{}/a2a/helper\"\noperator = \"globex.example\"\n",
            world.gateway("globex")
        ),
    );
    for name in ["globex", "acme"] {
        world.start_process(name);
    }

    let direct = ask(
        "a2a_client.py",
        &plan(),
        &format!("http://127.0.0.1:{}", agent.port),
    );
    let told = noted(&did).len();
    let url = format!("http://{}/a2a/helper", world.gateway("acme"));
    let through = ask("a2a_client.py", &plan(), &url);
    assert_eq!(through.len(), direct.len());
    for (index, (through, direct)) in through.iter().zip(&direct).enumerate().skip(1) {
        assert_eq!(through, direct, "step {index}");
        assert!(through.get("error").is_none(), "step {index}: {through}");
    }
    // Its card says where it is reached, and asks nothing of acme's agents.
    let card = &through[0]["card"];
    assert_eq!(card["supportedInterfaces"][0]["url"], url);
    assert!(!card.to_string().contains(URI));
    // The agent sees nothing of the evidence.
    let seen = noted(&did);
    assert_eq!(seen.len(), 2 * told);
    for (through, direct) in seen[told..].iter().zip(&seen[..told]) {
        assert_eq!(through, direct);
        assert_eq!(through["extensions"], json!([]));
    }

    // Denied by globex, in words that the SDK hands to its user.
    let denied = ask("a2a_client.py", &json!([["list"]]), &url);
    let error = denied[1]["error"].as_str().unwrap();
    assert!(
        error.contains("-31403") && error.contains("no_policy_allows"),
        "{error}"
    );

    // Who comes without a gateway is told what is asked for, and gets nowhere.
    let there = format!("http://{}/a2a/helper", world.gateway("globex"));
    let alone = ask("a2a_client.py", &json!([["send", "let me in"]]), &there);
    let extension = &alone[0]["card"]["capabilities"]["extensions"][0];
    assert_eq!(
        (&extension["uri"], &extension["required"]),
        (&json!(URI), &json!(true))
    );
    assert!(alone[1].get("error").is_some(), "{alone:?}");
    assert_eq!(noted(&did).len(), 2 * told);

    let calls = |home: &str, kind: &str| {
        world
            .records(home)
            .iter()
            .filter(|record| record["kind"] == kind)
            .count()
    };
    assert_eq!(calls("acme", "request"), 8);
    assert_eq!(calls("acme", "outcome"), 8);
    assert_eq!(calls("globex", "outcome"), 7);
    assert!(world.verify_all_receipts() > 20);
}

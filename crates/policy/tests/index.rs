//! The index by action changes no verdict: each evaluation is compared with what Cedar alone says
//! about the whole set, asked in the plainest way.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod call;

use std::collections::{BTreeSet, HashMap, HashSet};

use call::{Call, load};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet,
    Request, RestrictedExpression, Schema,
};
use counterfoil_enforcer::policy::Evaluation;
use counterfoil_policy::BUILT_IN_SCHEMA;
use proptest::prelude::*;

const SCHEMA: &str = r#"
action outer, empty;
action inner in [outer];
action "a", "b" in [inner] appliesTo {
  principal: Agent, resource: Server,
  context: { arguments: { n: Long, s?: String }, call: Call },
};
action "c" in [outer] appliesTo {
  principal: Agent, resource: Server,
  context: { arguments: { n: Long, s?: String }, call: Call },
};
action "d", "e" appliesTo {
  principal: Agent, resource: Server,
  context: { arguments: { n: Long, s?: String }, call: Call },
};
"#;

const ACTION_SCOPES: [&str; 10] = [
    "action",
    "action == Action::\"a\"",
    "action == Action::\"d\"",
    "action in Action::\"a\"",
    "action in Action::\"inner\"",
    "action in Action::\"outer\"",
    "action in [Action::\"c\", Action::\"d\"]",
    "action in [Action::\"inner\", Action::\"e\"]",
    "action in [Action::\"outer\", Action::\"inner\", Action::\"a\"]",
    "action in [Action::\"empty\", Action::\"b\"]",
];

const PRINCIPAL_SCOPES: [&str; 3] = [
    "principal",
    "principal is Agent",
    "principal == Agent::\"acme.example/x\"",
];

const CONDITIONS: [&str; 8] = [
    "",
    "when { context.arguments.n > 5 }",
    "when { context.arguments has s && context.arguments.s like \"x*\" }",
    "unless { principal has session }",
    "when { principal.name == \"x\" }",
    "when { context.call.now > 1000 }",
    "when { action in Action::\"outer\" || context.arguments.n == 7 }",
    // Overflows for every positive n.
    "when { context.arguments.n + 9223372036854775807 > 0 }",
];

#[derive(Clone, Debug)]
struct Case {
    policies: Vec<String>,
    tool: String,
    agent: String,
    n: i64,
    s: Option<String>,
    session: bool,
    millis: u64,
}

fn case() -> impl Strategy<Value = Case> {
    use proptest::sample::select;
    let policy = (
        prop_oneof![3 => Just("permit"), 1 => Just("forbid")],
        select(&PRINCIPAL_SCOPES[..]),
        select(&ACTION_SCOPES[..]),
        select(&CONDITIONS[..]),
    )
        .prop_map(|(effect, principal, action, condition)| {
            format!("{effect} ({principal}, {action}, resource) {condition};")
        });
    (
        prop::collection::vec(policy, 1..12),
        select(vec!["a", "b", "c", "d", "e"]),
        select(vec!["x", "y"]),
        -3_i64..10,
        prop::option::of(select(vec!["x1", "y1"])),
        any::<bool>(),
        0_u64..2000,
    )
        .prop_map(|(policies, tool, agent, n, s, session, millis)| Case {
            policies,
            tool: tool.to_owned(),
            agent: agent.to_owned(),
            n,
            s: s.map(str::to_owned),
            session,
            millis,
        })
}

/// What Cedar alone says: the decision, the determining policies, and those that failed.
fn cedar_alone(case: &Case) -> (Decision, BTreeSet<String>, BTreeSet<String>) {
    let schema: Schema = format!("{BUILT_IN_SCHEMA}{SCHEMA}").parse().unwrap();
    let policies = case.policies.iter().enumerate().map(|(index, text)| {
        Policy::parse(Some(PolicyId::new(format!("p{index}"))), text).unwrap()
    });
    let uid = |text: String| text.parse::<EntityUid>().unwrap();
    let agent = uid(format!("Agent::\"acme.example/{}\"", case.agent));
    let server = uid("Server::\"desk\"".to_owned());
    let action = uid(format!("Action::\"{}\"", case.tool));
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let mut attributes = HashMap::from([
        ("operator".to_owned(), text("acme.example")),
        ("name".to_owned(), text(&case.agent)),
    ]);
    if case.session {
        attributes.insert("session".to_owned(), text("s1"));
    }
    let entities = [
        Entity::new(agent.clone(), attributes, HashSet::new()).unwrap(),
        Entity::with_uid(server.clone()),
    ];
    let entities = Entities::from_entities(entities, Some(&schema)).unwrap();
    let mut arguments = serde_json::json!({ "n": case.n });
    if let Some(s) = &case.s {
        arguments["s"] = s.clone().into();
    }
    let context = serde_json::json!({ "arguments": arguments, "call": { "now": case.millis } });
    let context = Context::from_json_value(context, Some((&schema, &action))).unwrap();
    let request = Request::new(agent, action, server, context, Some(&schema)).unwrap();
    let set = PolicySet::from_policies(policies).unwrap();
    let response = Authorizer::new().is_authorized(&request, &set, &entities);
    let diagnostics = response.diagnostics();
    let failed = diagnostics.errors().map(
        |cedar_policy::AuthorizationError::PolicyEvaluationError(error)| {
            error.policy_id().to_string()
        },
    );
    (
        response.decision(),
        diagnostics.reason().map(ToString::to_string).collect(),
        failed.collect(),
    )
}

fn ids(policies: &[counterfoil_protocol::names::PolicyId]) -> BTreeSet<String> {
    policies.iter().map(ToString::to_string).collect()
}

proptest! {
    #[test]
    fn the_index_changes_no_verdict(case in case()) {
        let text: String = case
            .policies
            .iter()
            .enumerate()
            .map(|(index, policy)| format!("@id(\"p{index}\") {policy}\n"))
            .collect();
        let policies = load(&[("schema.cedarschema", SCHEMA), ("a.cedar", &text)]).unwrap();
        let s = case.s.as_ref().map_or_else(String::new, |s| format!(",\"s\":\"{s}\""));
        let call = Call {
            agent: case.agent.clone(),
            session: case.session.then(|| "s1".to_owned()),
            millis: case.millis,
            ..Call::of(&case.tool, &format!("{{\"n\":{}{s}}}", case.n))
        };
        let (decision, determining, failed) = cedar_alone(&case);
        match call.evaluate(&policies) {
            Evaluation::Allow(allowed) => {
                prop_assert!(failed.is_empty());
                prop_assert_eq!(decision, Decision::Allow);
                prop_assert_eq!(ids(&allowed.policies), determining);
            }
            Evaluation::Deny(denied) if denied.reason.as_str() == "policy_error" => {
                prop_assert!(!failed.is_empty());
                prop_assert_eq!(ids(&denied.policies), failed);
            }
            Evaluation::Deny(denied) => {
                prop_assert!(failed.is_empty());
                prop_assert_eq!(decision, Decision::Deny);
                prop_assert_eq!(ids(&denied.policies), determining.clone());
                let expected =
                    if determining.is_empty() { "no_policy_allows" } else { "policy_forbids" };
                prop_assert_eq!(denied.reason.as_str(), expected);
            }
        }
    }
}

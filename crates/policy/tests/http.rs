//! Requests to HTTP APIs: by method, and by method and path with what they consist of.

#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod call;

use call::{Call, load};
use counterfoil_policy::PolicySet;

const SCHEMA: &str = r#"
action GET appliesTo { principal: Agent, resource: Server,
  context: { arguments: { name: String }, call: Call } };
action "POST /refunds/*" appliesTo { principal: Agent, resource: Server,
  context: { arguments: { path: String, query?: String, body: { amount: Long } }, call: Call } };
action "POST /refunds/*/cancel" appliesTo { principal: Agent, resource: Server,
  context: { arguments: { path: String }, call: Call } };
action "PUT /files/*" appliesTo { principal: Agent, resource: Server,
  context: { arguments: { path: String, body_sha256: String, body_bytes: Long }, call: Call } };
"#;

const POLICIES: &str = r#"
@id("read") permit (principal, action == Action::"GET", resource)
  when { context.arguments.name like "/orders/*" };
@id("refund") permit (principal, action == Action::"POST /refunds/*", resource)
  when { context.arguments.body.amount <= 50 };
@id("cancel") permit (principal, action == Action::"POST /refunds/*/cancel", resource);
@id("upload") permit (principal, action == Action::"PUT /files/*", resource)
  when { context.arguments.body_bytes < 1000 };
"#;

fn policies() -> PolicySet {
    load(&[("schema.cedarschema", SCHEMA), ("a.cedar", POLICIES)]).unwrap()
}

fn ask(method: &str, path: &str, more: &str) -> Call {
    let parameters = format!(r#"{{"method":"{method}","path":"{path}","headers":{{}}{more}}}"#);
    Call {
        verb: method.to_owned(),
        ..Call::of(path, &parameters)
    }
}

#[test]
fn a_method_alone_shows_the_path() {
    let policies = policies();
    ask("GET", "/orders/7", "").allowed(&policies);
    assert_eq!(
        ask("GET", "/admin", "").reason(&policies),
        "no_policy_allows"
    );
    assert_eq!(
        ask("DELETE", "/orders/7", "").reason(&policies),
        "unknown_tool"
    );
    assert_eq!(ask("POST", "/orders", "").reason(&policies), "unknown_tool");
}

#[test]
fn a_method_with_a_path_shows_query_and_body() {
    let policies = policies();
    ask("POST", "/refunds/7", r#","body":{"amount":50}"#).allowed(&policies);
    ask(
        "POST",
        "/refunds/7",
        r#","query":"a=1","body":{"amount":50}"#,
    )
    .allowed(&policies);
    for (more, reason) in [
        (r#","body":{"amount":51}"#, "no_policy_allows"),
        (r#","body":{"amount":"5"}"#, "policy_input_invalid"),
        (r#","body":{"amount":5,"to":"me"}"#, "policy_input_invalid"),
        (
            r#","body_sha256":"00","body_bytes":1"#,
            "policy_input_invalid",
        ),
        ("", "policy_input_invalid"),
    ] {
        let denied = ask("POST", "/refunds/7", more).reason(&policies);
        assert_eq!(denied, reason, "{more}");
    }
    ask("PUT", "/files/a", r#","body_sha256":"00","body_bytes":999"#).allowed(&policies);
    let large = ask(
        "PUT",
        "/files/a",
        r#","body_sha256":"00","body_bytes":1000"#,
    );
    assert_eq!(large.reason(&policies), "no_policy_allows");
}

#[test]
fn the_most_particular_path_counts() {
    let policies = policies();
    ask("POST", "/refunds/7/cancel", "").allowed(&policies);
    // It declares no body, though the other one that matches does.
    let with_body = ask("POST", "/refunds/7/cancel", r#","body":{"amount":5}"#);
    assert_eq!(with_body.reason(&policies), "policy_input_invalid");
}

#[test]
fn a_tool_cannot_pass_for_a_method() {
    let policies = policies();
    for name in ["GET", "POST /refunds/*"] {
        let tool = Call::of(name, r#"{"name":"/orders/7"}"#);
        assert_eq!(tool.reason(&policies), "unknown_tool", "{name}");
    }
}

//! How a loaded policy set decides, above all when something is wrong with the call.

#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod call;

use call::{Call, load};
use counterfoil_policy::PolicySet;
use counterfoil_protocol::numbers::Amount;

const SCHEMA: &str = r#"
type Money = { cents: Long, currency?: String };
action everything;
action "pay", "charge" in [everything] appliesTo {
  principal: Agent,
  resource: Server,
  context: { arguments: { amount: Money, tags?: Set<String>, urgent?: Bool }, call: Call },
};
action "resources/read", "prompts/get" in [everything] appliesTo {
  principal: Agent,
  resource: Server,
  context: { arguments: { name: String }, call: Call },
};
"#;

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);";

fn policies(text: &str) -> PolicySet {
    load(&[("schema.cedarschema", SCHEMA), ("a.cedar", text)]).unwrap()
}

fn pay(cents: i64) -> Call {
    Call::of("pay", &format!("{{\"amount\":{{\"cents\":{cents}}}}}"))
}

#[test]
fn nothing_is_allowed_by_default() {
    let policies = policies(
        "@id(\"one\") permit (principal == Agent::\"acme.example/boss\", action, resource);",
    );
    let denied = pay(1).denied(&policies);
    assert_eq!(denied.reason.as_str(), "no_policy_allows");
    assert_eq!(denied.policies, []);
    assert_eq!(
        denied.explanation,
        "no policy allows agent `acme.example/support-bot` to do `tools/call` with `pay`"
    );
    assert_eq!(denied.instead, None);
}

#[test]
fn agents_of_one_name_are_told_apart_by_operator() {
    let policies = policies(
        "@id(\"one\") permit (principal == Agent::\"acme.example/support-bot\", action, resource);",
    );
    pay(1).allowed(&policies);
    let other = Call {
        operator: "evil.example".to_owned(),
        ..pay(1)
    };
    assert_eq!(other.reason(&policies), "no_policy_allows");
    // The agent's name can hold a `/`; the operator's cannot, so no two pairs look alike.
    let other = Call {
        operator: "evil.example".to_owned(),
        agent: "acme.example/support-bot".to_owned(),
        ..pay(1)
    };
    assert_eq!(other.reason(&policies), "no_policy_allows");
}

#[test]
fn everything_known_of_a_call_can_be_asked() {
    let policies = policies(
        "@id(\"one\") permit (principal, action == Action::\"pay\", resource == Server::\"desk\")
         when {
           principal.operator == \"acme.example\" && principal.name == \"support-bot\" &&
           principal has on_behalf_of && principal.on_behalf_of == \"ann\" &&
           principal has session && principal.session == \"s1\" &&
           context.call has counterparty && context.call.counterparty == \"desk.example\" &&
           context.call.now == 1780000000000 &&
           context.arguments.amount.cents == 5 &&
           context.arguments has tags && context.arguments.tags.contains(\"a\")
         };",
    );
    let full = Call {
        on_behalf_of: Some("ann".to_owned()),
        session: Some("s1".to_owned()),
        counterparty: Some("desk.example".to_owned()),
        ..Call::of(
            "pay",
            "{\"amount\":{\"cents\":5},\"tags\":[\"b\",\"a\",\"a\"]}",
        )
    };
    full.allowed(&policies);
    for other in [
        Call {
            operator: "b.example".to_owned(),
            ..full.clone()
        },
        Call {
            agent: "b".to_owned(),
            ..full.clone()
        },
        Call {
            on_behalf_of: None,
            ..full.clone()
        },
        Call {
            session: Some("s2".to_owned()),
            ..full.clone()
        },
        Call {
            counterparty: None,
            ..full.clone()
        },
        Call {
            server: "b".to_owned(),
            ..full.clone()
        },
        Call {
            millis: 1,
            ..full.clone()
        },
        Call {
            tool: "charge".to_owned(),
            ..full.clone()
        },
        Call {
            arguments: b"{\"amount\":{\"cents\":5},\"tags\":[]}".to_vec(),
            ..full
        },
    ] {
        assert_eq!(other.reason(&policies), "no_policy_allows", "{other:?}");
    }
}

#[test]
fn unknown_tools_and_verbs_are_denied_with_what_there_is() {
    let policies = policies(PERMIT);
    let denied = Call::of("pya", "{}").denied(&policies);
    assert_eq!(denied.reason.as_str(), "unknown_tool");
    assert_eq!(
        denied.explanation,
        "the policy knows no tool `pya`; it knows `charge`, `pay`"
    );
    // A group is not a tool.
    assert_eq!(
        Call::of("everything", "{}").reason(&policies),
        "unknown_tool"
    );
    assert_eq!(Call::of("Pay", "{}").reason(&policies), "unknown_tool");
    assert_eq!(Call::of("pay ", "{}").reason(&policies), "unknown_tool");

    let verb = Call {
        verb: "resources/raed".to_owned(),
        ..Call::of("file:///x", "{}")
    };
    assert_eq!(
        verb.denied(&policies).explanation,
        "the policy knows no verb `resources/raed`; it knows `prompts/get`, `resources/read`"
    );
    let long = Call::of(&"x".repeat(1000), "{}").denied(&policies);
    assert!(long.explanation.len() < 200, "{}", long.explanation);
}

#[test]
fn a_tool_cannot_pass_for_a_verb_nor_a_verb_for_a_tool() {
    let policies = policies(PERMIT);
    let name = "{\"name\":\"file:///x\"}";
    Call {
        verb: "resources/read".to_owned(),
        ..Call::of("file:///x", "{}")
    }
    .allowed(&policies);
    assert_eq!(
        Call::of("resources/read", name).reason(&policies),
        "unknown_tool"
    );
    let verb = Call {
        verb: "pay".to_owned(),
        ..pay(1)
    };
    assert_eq!(verb.reason(&policies), "unknown_tool");
}

#[test]
fn verbs_show_the_policy_their_target_and_nothing_else() {
    let policies = policies(
        "@id(\"docs\") permit (principal, action == Action::\"resources/read\", resource)
         when { context.arguments.name like \"file:///docs/*\" };",
    );
    let read = |uri: &str, arguments: &str| Call {
        verb: "resources/read".to_owned(),
        ..Call::of(uri, arguments)
    };
    read("file:///docs/a", "{}").allowed(&policies);
    read("file:///docs/a", "null").allowed(&policies);
    assert_eq!(
        read("file:///etc", "{}").reason(&policies),
        "no_policy_allows"
    );
    // Arguments cannot replace the target that the gateway saw.
    let claimed = read("file:///etc", "{\"name\":\"file:///docs/a\"}");
    assert_eq!(claimed.reason(&policies), "no_policy_allows");
    assert_eq!(
        read("file:///docs/a", "").reason(&policies),
        "policy_input_invalid"
    );
}

#[test]
fn arguments_must_be_exactly_the_declared_ones() {
    let policies = policies(PERMIT);
    for good in [
        r#"{"amount":{"cents":1}}"#,
        r#" {"amount":{"cents":-9223372036854775808,"currency":"EUR"},"tags":[],"urgent":false} "#,
    ] {
        Call::of("pay", good).allowed(&policies);
    }
    for (bad, explanation) in [
        (r#"{}"#, "argument `amount` is missing"),
        (r#"{"amount":{}}"#, "argument `amount.cents` is missing"),
        (
            r#"{"amount":5}"#,
            "argument `amount` must be an object, not an integer",
        ),
        (
            r#"{"amount":{"cents":"5"}}"#,
            "argument `amount.cents` must be an integer, not a string",
        ),
        (
            r#"{"amount":{"cents":null}}"#,
            "argument `amount.cents` must be an integer, not null",
        ),
        (
            r#"{"amount":{"cents":5.0}}"#,
            "argument `amount.cents` must be an integer, not a fraction or an integer outside 64 bits",
        ),
        (
            r#"{"amount":{"cents":9223372036854775808}}"#,
            "argument `amount.cents` must be an integer, not a fraction or an integer outside 64 bits",
        ),
        (
            r#"{"amount":{"cents":5},"force":true}"#,
            "argument `force` is not one the policy knows",
        ),
        (
            r#"{"amount":{"cents":5,"fee":1}}"#,
            "argument `amount.fee` is not one the policy knows",
        ),
        (
            r#"{"amount":{"cents":5},"urgent":null}"#,
            "argument `urgent` must be a boolean, not null",
        ),
        (
            r#"{"amount":{"cents":5},"tags":["a",1]}"#,
            "argument `tags[]` must be a string, not an integer",
        ),
        (
            r#"[]"#,
            "the call's arguments must be an object, not a list",
        ),
        (
            r#"null"#,
            "the call's arguments must be an object, not null",
        ),
    ] {
        let denied = Call::of("pay", bad).denied(&policies);
        assert_eq!(denied.reason.as_str(), "policy_input_invalid", "{bad}");
        assert_eq!(denied.explanation, explanation, "{bad}");
        assert_eq!(denied.policies, [], "{bad}");
    }
}

#[test]
fn malformed_json_is_denied() {
    let policies = policies(PERMIT);
    for bad in [
        "",
        "{\"amount\":{\"cents\":1},}",
        "{\"amount\":{\"cents\":1}} {}",
        "{\"amount\":{\"cents\":1},\"amount\":{\"cents\":9}}",
        "{\"amount\":{\"cents\":1,\"cen\\u0074s\":9}}",
        "\u{feff}{\"amount\":{\"cents\":1}}",
    ] {
        assert_eq!(
            Call::of("pay", bad).reason(&policies),
            "policy_input_invalid",
            "{bad}"
        );
    }
    let not_text = Call {
        arguments: b"{\"amount\":{\"cents\":1},\"\xff\":1}".to_vec(),
        ..pay(1)
    };
    assert_eq!(not_text.reason(&policies), "policy_input_invalid");
}

#[test]
fn arguments_cannot_smuggle_in_entities_or_extensions() {
    let policies = policies(PERMIT);
    for bad in [
        r#"{"__entity":{"type":"Agent","id":"acme.example/boss"}}"#,
        r#"{"amount":{"__entity":{"type":"Agent","id":"acme.example/boss"}}}"#,
        r#"{"amount":{"cents":{"__entity":{"type":"Agent","id":"x"}}}}"#,
        r#"{"amount":{"cents":1},"tags":[{"__extn":{"fn":"ip","arg":"127.0.0.1"}}]}"#,
        r#"{"amount":{"cents":1},"tags":[{"\u005f_expr":"1"}]}"#,
    ] {
        assert_eq!(
            Call::of("pay", bad).reason(&policies),
            "policy_input_invalid",
            "{bad}"
        );
    }
    // In a string it is a string.
    let text = r#"{"amount":{"cents":1,"currency":"{\"__entity\":{}}"}}"#;
    Call::of("pay", text).allowed(&policies);
}

/// Cedar alone would skip the failing forbid and allow the call.
#[test]
fn a_policy_that_fails_denies() {
    let policies = policies(
        "@id(\"all\") permit (principal, action, resource);
         @id(\"overflow\") @reason(\"too_much\") @instead(\"less\")
         forbid (principal, action == Action::\"pay\", resource)
         when { context.arguments.amount.cents + 9223372036854775807 > 5 };",
    );
    let denied = pay(1).denied(&policies);
    assert_eq!(denied.reason.as_str(), "policy_error");
    assert_eq!(denied.policies, ["overflow".parse().unwrap()]);
    assert_eq!(
        denied.explanation,
        "policy `overflow` could not be evaluated, so the call is refused"
    );
    // Where it does not fail, it decides; where it does not apply, it does not matter.
    assert_eq!(pay(0).reason(&policies), "too_much");
    pay(-9_223_372_036_854_775_807).allowed(&policies);
    Call {
        tool: "charge".to_owned(),
        ..pay(1)
    }
    .allowed(&policies);
}

#[test]
fn a_permit_that_fails_denies_even_when_another_allows() {
    let policies = policies(
        "@id(\"all\") permit (principal, action, resource);
         @id(\"overflow\") permit (principal, action == Action::\"pay\", resource)
         when { context.arguments.amount.cents * 2 > 5 };",
    );
    pay(1).allowed(&policies);
    assert_eq!(pay(i64::MAX).reason(&policies), "policy_error");
}

#[test]
fn forbids_beat_permits_and_name_themselves() {
    let policies = policies(
        "@id(\"all\") permit (principal, action, resource);
         @id(\"b\") @instead(\"b instead\") @reason(\"b_reason\")
         forbid (principal, action == Action::\"pay\", resource)
         when { context.arguments.amount.cents > 10 };
         @id(\"c\") @instead(\"c instead\")
         forbid (principal, action in Action::\"everything\", resource)
         when { context.call.now > 2000 };
         @id(\"a\") forbid (principal, action == Action::\"pay\", resource)
         when { context.arguments.amount.cents > 20 };",
    );
    let early = Call {
        millis: 1,
        ..pay(5)
    };
    early.allowed(&policies);

    let one = Call {
        millis: 1,
        ..pay(11)
    }
    .denied(&policies);
    assert_eq!(one.reason.as_str(), "b_reason");
    assert_eq!(one.explanation, "refused by policy `b`");
    assert_eq!(one.instead.as_deref(), Some("b instead"));

    let plain = pay(5).denied(&policies);
    assert_eq!(plain.reason.as_str(), "policy_forbids");
    assert_eq!(plain.instead.as_deref(), Some("c instead"));

    let all = pay(21).denied(&policies);
    assert_eq!(all.reason.as_str(), "b_reason");
    assert_eq!(all.policies, ["a", "b", "c"].map(|id| id.parse().unwrap()));
    assert_eq!(all.explanation, "refused by policies `a`, `b`, `c`");
    assert_eq!(all.instead.as_deref(), Some("b instead"));
}

#[test]
fn the_highest_tier_and_the_most_points_count() {
    let policies = policies(
        "@id(\"z\") @tier(\"medium\") permit (principal, action, resource);
         @id(\"y\") @tier(\"critical\") @points(\"7\")
         permit (principal, action == Action::\"pay\", resource);
         @id(\"x\") @tier(\"high\") @points(\"18446744073709551615\")
         permit (principal, action == Action::\"pay\", resource)
         when { context.arguments.amount.cents > 10 };",
    );
    let one = Call {
        tool: "charge".to_owned(),
        ..pay(5)
    }
    .allowed(&policies);
    assert_eq!(
        (one.tier.unwrap().as_str(), one.points),
        ("medium", Amount::new(0))
    );
    let two = pay(5).allowed(&policies);
    assert_eq!(
        (two.tier.unwrap().as_str(), two.points),
        ("critical", Amount::new(7))
    );
    assert_eq!(two.policies, ["y", "z"].map(|id| id.parse().unwrap()));
    let three = pay(50).allowed(&policies);
    assert_eq!(
        (three.tier.unwrap().as_str(), three.points),
        ("critical", Amount::new(u64::MAX))
    );

    let none = load(&[("schema.cedarschema", SCHEMA), ("a.cedar", PERMIT)]).unwrap();
    assert_eq!(pay(5).allowed(&none).tier, None);
}

#[test]
fn a_time_that_cedar_cannot_hold_is_denied() {
    let policies = policies(PERMIT);
    Call {
        millis: i64::MAX.unsigned_abs(),
        ..pay(1)
    }
    .allowed(&policies);
    let late = Call {
        millis: u64::MAX,
        ..pay(1)
    };
    assert_eq!(late.reason(&policies), "policy_input_invalid");
}

#[test]
fn explanations_never_repeat_values() {
    let policies = policies(PERMIT);
    for arguments in [
        r#"{"amount":{"cents":"s3cret"}}"#,
        r#"{"amount":{"cents":1},"tags":["s3cret",1]}"#,
        r#"{"amount":{"cents":1},"tags":"s3cret"}"#,
        r#"{"amount":"s3cret"#,
        r#""s3cret""#,
    ] {
        let denied = Call::of("pay", arguments).denied(&policies);
        assert!(
            !denied.explanation.contains("s3cret"),
            "{}",
            denied.explanation
        );
    }
}

#[test]
fn the_same_input_always_gives_the_same_evaluation() {
    let text = "@id(\"a\") permit (principal, action, resource);
                @id(\"b\") permit (principal, action, resource);
                @id(\"c\") permit (principal, action, resource);
                @id(\"d\") forbid (principal, action, resource) when { context.call.now > 5 };
                @id(\"e\") @instead(\"e\") forbid (principal, action, resource)
                when { context.call.now > 5 };";
    let expected = pay(1).evaluate(&policies(text));
    for _ in 0..50 {
        let again = policies(text);
        assert_eq!(pay(1).evaluate(&again), expected);
        assert_eq!(pay(1).evaluate(&again), expected);
    }
}

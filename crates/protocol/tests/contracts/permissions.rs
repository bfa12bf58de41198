//! What a contract permits, against a model that says the same in the plainest way.

use counterfoil_protocol::contract::{Call, OutsideContract, Permitted, Terms};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{OperatorName, Tier};
use counterfoil_protocol::numbers::{Amount, UnixMillis};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::operators::{DAY, START, action, clauses, permission, terms};

fn asks(terms: &Terms, tool: &str, parameters: &str) -> Result<Permitted, OutsideContract> {
    let action = action("desk", "tools/call", tool);
    terms.permits(&Call {
        asking: &terms.clauses().asking,
        asked: &terms.clauses().asked,
        action: &action,
        parameters: parameters.as_bytes(),
        time: UnixMillis::new(START + 1),
    })
}

fn reason(result: Result<Permitted, OutsideContract>) -> String {
    let outside = result.unwrap_err();
    assert!(!outside.to_string().is_empty());
    outside.reason().as_str().to_owned()
}

#[test]
fn the_first_permission_that_applies_decides() {
    let terms = terms();
    let low = asks(&terms, "tickets.read", "").unwrap();
    assert_eq!(
        low,
        Permitted {
            permission: 0,
            tier: Tier::literal("low"),
            points: Amount::new(5),
            level: Level::Signed,
        }
    );
    let public = asks(&terms, "files.get", r#"{"arguments":{"path":"/public/a"}}"#).unwrap();
    assert_eq!((public.permission, public.level), (1, Level::Signed));
    let other = asks(&terms, "files.get", r#"{"arguments":{"path":"/secret"}}"#).unwrap();
    assert_eq!((other.permission, other.level), (2, Level::Witnessed));
    // Without targets nothing is read.
    assert_eq!(asks(&terms, "refund", "not json").unwrap().permission, 3);
}

#[test]
fn what_no_permission_names_is_outside() {
    let terms = terms();
    assert_eq!(
        reason(asks(&terms, "tickets.write", "{}")),
        "contract_action"
    );
    let elsewhere = r#"{"arguments":{"path":"secret"}}"#;
    assert_eq!(
        reason(asks(&terms, "files.get", elsewhere)),
        "contract_target"
    );

    let clauses = clauses();
    let permits = |asking, asked, action, time| {
        terms.permits(&Call {
            asking,
            asked,
            action: &action,
            parameters: b"{}",
            time: UnixMillis::new(time),
        })
    };
    let read = || action("desk", "tools/call", "tickets.read");
    let (acme, globex) = (&clauses.asking, &clauses.asked);
    let other = OperatorName::literal("other.example");
    for (asking, asked, action, time, expected) in [
        (globex, acme, read(), START, "contract_parties"),
        (acme, &other, read(), START, "contract_parties"),
        (&other, globex, read(), START, "contract_parties"),
        (acme, globex, read(), START - 1, "contract_not_begun"),
        (acme, globex, read(), START + 30 * DAY, "contract_expired"),
        (
            acme,
            globex,
            action("crm", "tools/call", "tickets.read"),
            START,
            "contract_action",
        ),
        (
            acme,
            globex,
            action("desk", "prompts/get", "tickets.read"),
            START,
            "contract_action",
        ),
    ] {
        assert_eq!(reason(permits(asking, asked, action, time)), expected);
    }
    assert!(permits(acme, globex, read(), START).is_ok());
    assert!(permits(acme, globex, read(), START + 30 * DAY - 1).is_ok());
    assert!(terms.names(&action("desk", "tools/call", "files.put")));
    assert!(!terms.names(&action("desk", "tools/call", "tickets.write")));
}

/// Whoever shapes the parameters could otherwise escape the permission with the stricter tier.
#[test]
fn parameters_that_can_be_read_in_two_ways_are_refused() {
    let mut clauses = clauses();
    clauses.permissions = vec![
        permission("pay", &[("/arguments/to", "external:*")], "high"),
        permission("pay", &[], "low"),
    ];
    let terms = Terms::new(clauses).unwrap();
    let asked = |parameters: &str| asks(&terms, "pay", parameters);
    let outside = asked(r#"{"arguments":{"to":"external:x"}}"#).unwrap();
    assert_eq!(outside.level, Level::Witnessed);
    let escaped = asked(r#"{"arguments":{"\u0074o":"\u0065xternal:x"}}"#).unwrap();
    assert_eq!(escaped.level, Level::Witnessed);
    let inside = asked(r#"{"arguments":{"to":"internal:x"}}"#).unwrap();
    assert_eq!(inside.level, Level::Signed);
    for hostile in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"arguments":null}"#,
        r#"{"arguments":{"to":null}}"#,
        r#"{"arguments":{"to":7}}"#,
        r#"{"arguments":{"to":["external:x"]}}"#,
        r#"{"arguments":{"to":{"account":"external:x"}}}"#,
        r#"{"arguments":{"to":"internal:x","to":"external:x"}}"#,
        r#"{"arguments":{"to":"internal:x","t\u006f":"external:x"}}"#,
        r#"{"arguments":{"to":"internal:x","To":"external:x"}}"#,
        r#"{"arguments":{"to":"internal:x"},"arguments":{"to":"external:x"}}"#,
        r#"{"arguments":{"to":"internal:x"},"Arguments":{"to":"external:x"}}"#,
        r#"{"arguments":{"to":"internal:x"}} {"arguments":{"to":"external:x"}}"#,
        r#"{"arguments":{"to":"internal:x"},}"#,
        r#"{"arguments":{"to":"internal:\ud800"}}"#,
        "{\"arguments\":{\"to\":\"internal:\0\"}}",
        "\u{feff}{\"arguments\":{\"to\":\"internal:x\"}}",
    ] {
        assert_eq!(
            reason(asked(hostile)),
            "contract_target_unreadable",
            "{hostile}"
        );
    }
}

/// One permission of the model: a tool pattern, a target pattern for `/a` and `/b`, both optional.
type Rule = (String, Option<String>, Option<String>, bool);

fn rule() -> impl Strategy<Value = Rule> {
    let pattern = || prop::option::of("[xy*]{1,3}");
    ("[rw*]{1,2}", pattern(), pattern(), any::<bool>())
}

fn matches(pattern: &str, text: &str) -> bool {
    fn letters(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|taken| letters(rest, &text[taken..])),
            Some((letter, rest)) => text.first() == Some(letter) && letters(rest, &text[1..]),
        }
    }
    letters(pattern.as_bytes(), text.as_bytes())
}

/// Which rule decides; none if no rule does or the parameters cannot be read.
fn model(rules: &[Rule], tool: &str, parameters: &Value) -> Option<usize> {
    for (index, (pattern, a, b, _)) in rules.iter().enumerate() {
        if !matches(pattern, tool) {
            continue;
        }
        let mut fits = true;
        for (name, pattern) in [("a", a), ("b", b)] {
            if let Some(pattern) = pattern {
                fits &= matches(pattern, parameters.get(name)?.as_str()?);
            }
        }
        if fits {
            return Some(index);
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]
    #[test]
    fn permits_what_the_model_permits(
        rules in prop::collection::vec(rule(), 1..5),
        tool in "[rw]{1,2}",
        a in prop_oneof![4 => "[xy]{0,3}".prop_map(Value::from), 1 => Just(Value::Null)],
        b in prop::option::of("[xy]{0,3}"),
    ) {
        let mut clauses = clauses();
        clauses.permissions = rules
            .iter()
            .map(|(pattern, a, b, high)| {
                let targets: Vec<(&str, &str)> = [("/a", a), ("/b", b)]
                    .into_iter()
                    .filter_map(|(pointer, pattern)| Some((pointer, pattern.as_deref()?)))
                    .collect();
                permission(pattern, &targets, if *high { "high" } else { "low" })
            })
            .collect();
        let terms = Terms::new(clauses).unwrap();
        let mut parameters = json!({ "a": a });
        if let Some(b) = b {
            parameters["b"] = b.into();
        }
        let permitted = asks(&terms, &tool, &parameters.to_string());
        let expected = model(&rules, &tool, &parameters);
        prop_assert_eq!(permitted.as_ref().ok().map(|permitted| permitted.permission), expected);
        if let Ok(permitted) = permitted {
            let high = rules[permitted.permission].3;
            prop_assert_eq!(permitted.level, if high { Level::Witnessed } else { Level::Signed });
        }
    }
}

use proptest::prelude::*;

use super::values;
use crate::message::Message;
use crate::message::splice::{EVIDENCE_KEY, insert, is_present, take};

const EVIDENCE: &[u8] = br#"{"record":"AAECAw=="}"#;

fn parse(text: &str) -> Message {
    Message::parse(text.as_bytes()).unwrap()
}

fn inserted(text: &str) -> String {
    String::from_utf8(insert(&parse(text), EVIDENCE).unwrap().to_vec()).unwrap()
}

fn take_code(text: &str) -> &'static str {
    take(parse(text)).unwrap_err().code()
}

#[test]
fn writes_the_documented_forms() {
    for (before, after) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"dev.counterfoil/evidence":{"meta":"added","record":"AAECAw=="}},"name":"x"}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{ }}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"dev.counterfoil/evidence":{"meta":"added","record":"AAECAw=="}} }}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"_meta": {"b":2}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"_meta": {"dev.counterfoil/evidence":{"meta":"extended","record":"AAECAw=="},"b":2}}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"dev.counterfoil/evidence":{"meta":"extended","record":"AAECAw=="}}}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":null}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"dev.counterfoil/evidence":{"meta":"was_null","record":"AAECAw=="}}}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"data":{"dev.counterfoil/evidence":{"meta":"added","record":"AAECAw=="}},"code":1,"message":"m"}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":"why"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":{"dev.counterfoil/evidence":{"meta":"wrapped","record":"AAECAw=="},"value":"why"}}}"#,
        ),
    ] {
        assert_eq!(inserted(before), after);
        let taken = take(parse(after)).unwrap();
        assert_eq!(taken.message.bytes(), before.as_bytes());
        assert_eq!(taken.evidence.unwrap(), EVIDENCE);
    }
}

#[test]
fn messages_without_evidence_come_back_as_they_are() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"other":1}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":7}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"data":[]}}"#,
    ] {
        let taken = take(parse(text)).unwrap();
        assert_eq!(taken.message.bytes(), text.as_bytes());
        assert!(taken.evidence.is_none());
    }
}

#[test]
fn an_agent_cannot_bring_its_own_evidence() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"dev.counterfoil/evidence":{}}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"a":1,"dev.counterfoil\/evid\u0065nce":null}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_m\u0065ta":{"dev.counterfoil/evidence":1}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"data":{"dev.counterfoil/evidence":{}}}}"#,
    ] {
        let message = parse(text);
        assert!(is_present(&message), "{text}");
        assert_eq!(
            insert(&message, EVIDENCE).unwrap_err().code(),
            "evidence_member_present"
        );
    }
}

#[test]
fn refuses_messages_with_no_place_for_it() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":[]}"#,
    ] {
        let code = insert(&parse(text), EVIDENCE).unwrap_err().code();
        assert_eq!(code, "cannot_carry_evidence", "{text}");
    }
}

#[test]
fn refuses_evidence_that_could_not_be_taken_out_again() {
    let message = parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#);
    for evidence in [
        &b""[..],
        b"[]",
        b"1",
        b" {}",
        b"{} ",
        b"{ }",
        b"{\"a\":\n1}",
        b"{\"meta\":1}",
        br#"{"m\u0065ta":1}"#,
        b"{\"a\":1,\"a\":2}",
        b"{}{}",
        b"{\"a\":1,}",
    ] {
        let code = insert(&message, evidence).unwrap_err().code();
        assert_eq!(
            code,
            "evidence_invalid",
            "{}",
            String::from_utf8_lossy(evidence)
        );
    }
}

#[test]
fn refuses_to_guess_when_the_form_is_not_its_own() {
    let request = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
    };
    for params in [
        // Our member is not the first.
        r#"{"_meta":{"b":2,"dev.counterfoil/evidence":{"meta":"extended"}}}"#,
        r#"{"name":"x","_meta":{"dev.counterfoil/evidence":{"meta":"added"}}}"#,
        // It says added and others stand beside it.
        r#"{"_meta":{"dev.counterfoil/evidence":{"meta":"added"},"b":2},"name":"x"}"#,
        // It says was_null and others stand beside it.
        r#"{"_meta":{"dev.counterfoil/evidence":{"meta":"was_null"},"b":2}}"#,
        // No, or an unknown, or a misplaced statement.
        r#"{"_meta":{"dev.counterfoil/evidence":{}}}"#,
        r#"{"_meta":{"dev.counterfoil/evidence":null}}"#,
        r#"{"_meta":{"dev.counterfoil/evidence":{"meta":"moved"}}}"#,
        r#"{"_meta":{"dev.counterfoil/evidence":{"a":1,"meta":"added"}}}"#,
        r#"{"_meta":{"dev.counterfoil/evidence":{"meta":1}}}"#,
        // Whitespace or escapes that are not ours.
        r#"{ "_meta":{"dev.counterfoil/evidence":{"meta":"added"}}}"#,
        r#"{"_meta" :{"dev.counterfoil/evidence":{"meta":"added"}}}"#,
        r#"{"_meta":{ "dev.counterfoil/evidence":{"meta":"added"}}}"#,
        r#"{"_meta":{ "dev.counterfoil/evidence":{"meta":"extended"}}}"#,
        r#"{"_meta":{"dev.counterfoil/evidence": {"meta":"added"}}}"#,
        r#"{"_meta":{"dev.counterfoil/evidence":{"meta": "added"}}}"#,
        r#"{"_meta":{"dev.counterfoil/evidence":{"meta":"added"}} ,"name":"x"}"#,
        r#"{"_meta":{"dev.counterfoil/evidence":{"meta":"extended"} ,"b":2}}"#,
        r#"{"_meta":{"dev.counterfoil\/evidence":{"meta":"added"}}}"#,
        r#"{"_m\u0065ta":{"dev.counterfoil/evidence":{"meta":"added"}}}"#,
        r#"{"_meta":{"dev.counterfoil/evidence":{"m\u0065ta":"added"}}}"#,
        // Requests have no data to wrap.
        r#"{"_meta":{"dev.counterfoil/evidence":{"meta":"wrapped"},"value":1}}"#,
    ] {
        assert_eq!(
            take_code(&request(params)),
            "evidence_malformed",
            "{params}"
        );
    }
    for error in [
        r#"{"data":{"dev.counterfoil/evidence":{"meta":"wrapped"},"value":{}}}"#,
        r#"{"data":{"dev.counterfoil/evidence":{"meta":"wrapped"},"value":null}}"#,
        r#"{"data":{"dev.counterfoil/evidence":{"meta":"wrapped"},"value":1,"b":2}}"#,
        r#"{"data":{"dev.counterfoil/evidence":{"meta":"wrapped"}}}"#,
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#);
        assert_eq!(take_code(&text), "evidence_malformed", "{error}");
    }
}

#[test]
fn evidence_in_other_places_is_left_alone() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"_meta":{"dev.counterfoil/evidence":{"meta":"added"}}}}}"#;
    let message = parse(text);
    assert!(!is_present(&message));
    let with = Message::from_bytes(insert(&message, b"{}").unwrap(), 4096).unwrap();
    assert_eq!(take(with).unwrap().message.bytes(), text.as_bytes());
}

/// The value of `params`, `result` or `error`, with or without its carrier.
fn container(carrier: &'static str) -> impl Strategy<Value = String> {
    let object = || values::members(values::value()).prop_flat_map(values::object);
    let value = prop_oneof![
        3 => object().prop_map(Some),
        1 => Just(Some("{}".to_owned())),
        1 => Just(Some("{ }".to_owned())),
        1 => Just(Some("null".to_owned())),
        1 => values::value().prop_map(Some),
        3 => Just(None),
    ];
    let name = prop::sample::select(match carrier {
        "data" => vec!["\"data\"", r#""d\u0061ta""#],
        _ => vec!["\"_meta\"", r#""\u005fmeta""#],
    });
    (values::members(values::value()), value, name).prop_flat_map(|(mut members, value, name)| {
        if let Some(value) = value {
            members.push((name.to_owned(), value));
        }
        values::object(members)
    })
}

fn message() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        container("_meta").prop_map(|value| ("params", value)),
        container("_meta").prop_map(|value| ("result", value)),
        container("data").prop_map(|value| ("error", value)),
    ];
    (
        kind,
        values::members(values::value()),
        values::whitespace(),
        values::whitespace(),
    )
        .prop_flat_map(|((name, value), others, before, after)| {
            let mut members = others;
            members.push((format!("\"{name}\""), value));
            members.push(("\"jsonrpc\"".to_owned(), "\"2.0\"".to_owned()));
            members.push(("\"id\"".to_owned(), "\"\\u0041\"".to_owned()));
            if name == "params" {
                members.push(("\"method\"".to_owned(), "\"tools\\/call\"".to_owned()));
            }
            values::object(members).prop_map(move |text| format!("{before}{text}{after}"))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn take_undoes_insert(text in message(), evidence in values::members(values::value())) {
        let members: Vec<_> =
            evidence.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let evidence = format!("{{{}}}", members.join(",")).replace(['\r', '\n'], " ");
        let original = parse(&text);
        match insert(&original, evidence.as_bytes()) {
            Ok(with) => {
                let with = Message::from_bytes(with, 1 << 20).unwrap();
                prop_assert!(is_present(&with));
                prop_assert_eq!(insert(&with, b"{}").unwrap_err().code(), "evidence_member_present");
                let taken = take(with).unwrap();
                prop_assert_eq!(taken.message.bytes(), text.as_bytes());
                prop_assert_eq!(taken.evidence.unwrap(), evidence.as_bytes());
            }
            Err(error) => prop_assert_eq!(error.code(), "cannot_carry_evidence"),
        }
    }

    #[test]
    fn what_is_taken_is_what_was_inserted_or_nothing(
        text in message(), at in any::<prop::sample::Index>(), new in any::<u8>()
    ) {
        let Ok(with) = insert(&parse(&text), EVIDENCE) else { return Ok(()) };
        let mut changed = with.to_vec();
        let at = at.index(changed.len());
        changed[at] = new;
        let Ok(changed) = Message::parse(&changed) else { return Ok(()) };
        let bytes = changed.bytes().clone();
        if let Ok(taken) = take(changed) {
            match taken.evidence {
                Some(evidence) => prop_assert_eq!(insert(&taken.message, &evidence).unwrap(), bytes),
                None => prop_assert_eq!(taken.message.bytes(), &bytes),
            }
        }
    }
}

#[test]
fn the_key_follows_the_rules_for_meta_names() {
    let (prefix, name) = EVIDENCE_KEY.split_once('/').unwrap();
    let labels: Vec<_> = prefix.split('.').collect();
    assert!(
        labels
            .iter()
            .all(|label| label.chars().all(|c| c.is_ascii_lowercase()))
    );
    assert!(!["mcp", "modelcontextprotocol"].contains(&labels[1]));
    assert!(name.chars().all(|c| c.is_ascii_lowercase()));
}

use serde_json::{Value, json};

use crate::message::refusal::{
    DENIED, Refusal, answer_to_bad_call, answer_to_bad_message, answer_to_unknown_method,
};
use crate::message::{Message, Revision, Sender, classify, splice};

const REFUSAL: Refusal<'static> = Refusal {
    code: "denied_by_policy",
    reason: "`refund` over 100 \"EUR\" is not allowed.",
    rules: &["refund-limit"],
    instead: Some("Ask a person to approve it."),
};

fn read(bytes: &[u8]) -> Value {
    let message = Message::parse(bytes).unwrap();
    assert!(
        splice::insert(&message, b"{}").is_ok(),
        "an answer must be able to carry evidence"
    );
    serde_json::from_slice(bytes).unwrap()
}

fn id() -> crate::message::Id {
    let message = Message::parse(br#"{"jsonrpc":"2.0","id":"a\"b","method":"ping"}"#).unwrap();
    message.id().unwrap().clone()
}

#[test]
fn a_denied_tool_call_gets_a_result_the_model_can_read() {
    let expected = json!({
        "jsonrpc": "2.0",
        "id": "a\"b",
        "result": {
            "_meta": {"dev.counterfoil/refusal": {"code": "denied_by_policy", "rules": ["refund-limit"]}},
            "content": [{"type": "text", "text": "Refused (denied_by_policy): `refund` over 100 \"EUR\" is not allowed. Rule: refund-limit. Ask a person to approve it."}],
            "isError": true,
        },
    });
    assert_eq!(
        read(&REFUSAL.tool_result(&id(), Revision::V2025_06_18)),
        expected
    );
    assert_eq!(
        read(&REFUSAL.tool_result(&id(), Revision::V2025_11_25)),
        expected
    );
    let mut expected = expected;
    expected["result"]["resultType"] = json!("complete");
    assert_eq!(
        read(&REFUSAL.tool_result(&id(), Revision::V2026_07_28)),
        expected
    );
}

#[test]
fn other_denials_are_errors_with_a_code_of_our_own() {
    let error = read(&REFUSAL.error(Some(&id()), DENIED, Revision::V2026_07_28));
    assert_eq!(error["error"]["code"], json!(DENIED));
    assert!(!(-32_768..=-32_000).contains(&DENIED));
    assert_eq!(
        error["error"]["data"]["dev.counterfoil/refusal"]["code"],
        json!("denied_by_policy")
    );
}

#[test]
fn bad_messages_get_the_error_of_json_rpc() {
    for (text, code, ours) in [
        ("{", -32_700, "invalid_json"),
        ("[]", -32_600, "batch_not_supported"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":1}"#,
            -32_602,
            "invalid_params",
        ),
    ] {
        let error = Message::parse(text.as_bytes()).unwrap_err();
        let answer = read(&answer_to_bad_message(&error, Revision::V2025_06_18));
        assert_eq!(answer["error"]["code"], json!(code));
        assert_eq!(
            answer["error"]["data"]["dev.counterfoil/refusal"],
            json!({"code": ours})
        );
    }
}

#[test]
fn answers_without_an_id_follow_the_revision() {
    let error = Message::parse(b"{").unwrap_err();
    let answer = read(&answer_to_bad_message(&error, Revision::V2025_06_18));
    assert_eq!(answer.get("id"), Some(&Value::Null));
    for revision in [Revision::V2025_11_25, Revision::V2026_07_28] {
        assert_eq!(
            read(&answer_to_bad_message(&error, revision)).get("id"),
            None
        );
    }
}

#[test]
fn bad_calls_and_unknown_methods_are_answered_to_their_id() {
    let message = Message::parse(br#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{}}"#);
    let error = classify(&message.unwrap(), Sender::Client).unwrap_err();
    let answer = read(&answer_to_bad_call(&error, Revision::V2025_11_25));
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(9), &json!(-32_602))
    );

    let answer = read(&answer_to_unknown_method(
        &id(),
        "a/\u{0}\"b",
        Revision::V2025_11_25,
    ));
    assert_eq!(answer["error"]["code"], json!(-32_601));
}

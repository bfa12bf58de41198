use proptest::prelude::*;

use super::values;
use crate::message::{Body, Id, Message};

fn parse(text: &str) -> Message {
    Message::parse(text.as_bytes()).unwrap()
}

fn code(text: impl AsRef<[u8]>) -> &'static str {
    Message::parse(text.as_ref()).unwrap_err().code()
}

#[test]
fn reads_each_kind_of_message() {
    let request =
        parse(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#);
    assert!(matches!(request.body(), Body::Request { method, .. } if method == "tools/list"));
    assert_eq!(request.params_bytes(), Some(&br#"{"cursor":"x"}"#[..]));
    assert_eq!(request.result_bytes(), None);

    let notification = parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert!(matches!(
        notification.body(),
        Body::Notification { params: None, .. }
    ));
    assert_eq!(notification.id(), None);

    let result = parse(r#"{"jsonrpc":"2.0","id":"a","result":{ "ok" : true }}"#);
    assert!(matches!(result.body(), Body::Result { .. }));
    assert_eq!(result.result_bytes(), Some(&br#"{ "ok" : true }"#[..]));

    let error = parse(r#"{"jsonrpc":"2.0","id":2,"error":{"code":-1,"message":"no"}}"#);
    assert!(matches!(error.body(), Body::Error { id: Some(_), .. }));
    assert_eq!(
        error.result_bytes(),
        Some(&br#"{"code":-1,"message":"no"}"#[..])
    );
}

#[test]
fn keeps_bytes_and_unknown_members() {
    let text = " {\"x-vendor\" : [1.0, null],\"params\":{ \"arguments\" :{\"b\":1 , \"a\":2},\"new\":[] },\n\"id\":\"\\u0031\",\"method\":\"tools/call\",\"jsonrpc\":\"2.0\"}\r";
    let message = parse(text);
    assert_eq!(message.bytes(), text.as_bytes());
    assert_eq!(
        message.params_bytes().unwrap(),
        br#"{ "arguments" :{"b":1 , "a":2},"new":[] }"#
    );
    assert_eq!(message.id().unwrap().as_json(), r#""\u0031""#);
}

#[test]
fn reads_escaped_spellings_as_what_they_mean() {
    let message =
        parse(r#"{"jsonrpc":"2\u002e0","\u0069d":1,"meth\u006fd":"tools\/c\u0061ll","params":{}}"#);
    assert_eq!(message.method(), Some("tools/call"));
}

#[test]
fn refuses_every_fault_that_let_calls_slip_through_elsewhere() {
    for (text, expected) in [
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}]"#,
            "batch_not_supported",
        ),
        ("[]", "batch_not_supported"),
        (
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"x"}}"#,
            "call_without_id",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"tools\/c\u0061ll","params":{"name":"x"}}"#,
            "call_without_id",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"resources/read","params":{"uri":"x"}}"#,
            "call_without_id",
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"x"}}"#,
            "invalid_id",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
            "duplicate_member",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#,
            "duplicate_member",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            "duplicate_member",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","na\u006de":"b"}}"#,
            "duplicate_member",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"to":1,"to":2}}}"#,
            "duplicate_member",
        ),
        (
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
            "byte_order_mark",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call",}"#,
            "invalid_json",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}"#,
            "trailing_data",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#,
            "trailing_data",
        ),
        ("", "invalid_json"),
        ("\r", "invalid_json"),
        ("3", "not_an_object"),
        ("\"tools/call\"", "not_an_object"),
        ("null", "not_an_object"),
    ] {
        assert_eq!(code(text), expected, "{text}");
    }
    assert_eq!(
        code(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}"),
        "invalid_utf8"
    );
}

#[test]
fn refuses_envelopes_that_are_not_mcp() {
    for (text, expected) in [
        (r#"{"id":1,"method":"ping"}"#, "unsupported_jsonrpc_version"),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            "unsupported_jsonrpc_version",
        ),
        (
            r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
            "unsupported_jsonrpc_version",
        ),
        (r#"{"jsonrpc":"2.0"}"#, "invalid_message"),
        (r#"{"jsonrpc":"2.0","id":1}"#, "invalid_message"),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "invalid_message"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
            "invalid_message",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#,
            "invalid_message",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            "invalid_message",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}"#,
            "invalid_message",
        ),
        (r#"{"jsonrpc":"2.0","result":{}}"#, "invalid_message"),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#,
            "invalid_message",
        ),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, "invalid_id"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            "invalid_params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
            "invalid_params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#,
            "invalid_params",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#,
            "notification_with_id",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"notifications/vendor"}"#,
            "notification_with_id",
        ),
    ] {
        assert_eq!(code(text), expected, "{text}");
    }
}

#[test]
fn refuses_ids_that_are_neither_strings_nor_canonical_integers() {
    for id in [
        "null",
        "true",
        "1.0",
        "1.5",
        "1e2",
        "-0",
        "{}",
        "[]",
        "9223372036854775808",
        "1e0",
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{}}}}"#);
        assert_eq!(code(text), "invalid_id", "{id}");
    }
    for id in [
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        r#""""#,
        r#""null""#,
    ] {
        let message = parse(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
        assert_eq!(message.id().unwrap().as_json(), id);
    }
}

#[test]
fn errors_may_lack_an_id() {
    for text in [
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"x"}}"#,
    ] {
        assert!(
            matches!(parse(text).body(), Body::Error { id: None, .. }),
            "{text}"
        );
    }
}

#[test]
fn ids_are_equal_when_peers_take_them_for_the_same() {
    let id = |text: &str| -> Id {
        parse(&format!(
            r#"{{"jsonrpc":"2.0","id":{text},"method":"ping"}}"#
        ))
        .id()
        .unwrap()
        .clone()
    };
    assert_eq!(id(r#""a""#), id(r#""\u0061""#));
    assert_ne!(id("1"), id(r#""1""#));
    assert_ne!(id("1"), id("2"));
    assert_eq!(id("7"), id("7"));
}

#[test]
fn bad_messages_keep_an_id_that_could_be_read() {
    let error =
        Message::parse(br#"{"jsonrpc":"2.0","id":"a","method":"ping","params":[]}"#).unwrap_err();
    assert_eq!(error.id().unwrap().as_json(), r#""a""#);
    assert!(Message::parse(b"[]").unwrap_err().id().is_none());
}

#[test]
fn too_long_a_message_is_refused() {
    let text = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert!(Message::from_bytes(text.as_slice().into(), text.len()).is_ok());
    let error = Message::from_bytes(text.as_slice().into(), text.len() - 1).unwrap_err();
    assert_eq!(error.code(), "too_large");
}

proptest! {
    #[test]
    fn arbitrary_objects_do_not_panic(text in values::value()) {
        let _ = Message::parse(text.as_bytes());
    }

    #[test]
    fn what_is_a_request_here_is_one_to_serde_json(params in values::members(values::value()).prop_flat_map(values::object)) {
        let text = format!(r#"{{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{params}}}"#);
        let message = parse(&text);
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        let ours: serde_json::Value = serde_json::from_slice(message.params_bytes().unwrap()).unwrap();
        prop_assert_eq!(&theirs["params"], &ours);
        prop_assert_eq!(message.params_bytes().unwrap(), params.as_bytes());
    }
}

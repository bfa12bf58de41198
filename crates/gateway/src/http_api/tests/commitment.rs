use axum::http::Method;

use crate::http_api::commitment::{parameters, result};
use crate::http_api::headers::Committed;
use crate::http_api::target::Target;

fn headers(pairs: &[(&'static str, &str)]) -> Committed {
    pairs
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn parameters_are_one_json_text_with_the_body_as_it_was_sent() {
    let target = Target::read(&Method::POST, "/refunds/7", Some("a=1&b")).unwrap();
    let json = headers(&[
        ("if-match", "\"v\\1\""),
        ("content-type", "application/json; charset=utf-8"),
    ]);
    assert_eq!(
        text(parameters(&target, &json, b" {\"amount\": 1.0}\n")),
        "{\"method\":\"POST\",\"path\":\"/refunds/7\",\"query\":\"a=1&b\",\"headers\":\
         {\"content-type\":\"application/json; charset=utf-8\",\"if-match\":\"\\\"v\\\\1\\\"\"},\
         \"body\": {\"amount\": 1.0}\n}"
    );
    let target = Target::read(&Method::GET, "/", None).unwrap();
    assert_eq!(
        text(parameters(&target, &Committed::new(), b"")),
        r#"{"method":"GET","path":"/","headers":{}}"#
    );
    let empty = Target::read(&Method::GET, "/", Some("")).unwrap();
    assert_eq!(
        text(parameters(&empty, &Committed::new(), b"")),
        r#"{"method":"GET","path":"/","query":"","headers":{}}"#
    );
}

#[test]
fn what_is_not_json_for_everybody_stands_by_its_digest() {
    // `printf abc | sha256sum`
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let plain = headers(&[("content-type", "text/plain")]);
    assert_eq!(
        text(result(201, &plain, b"abc")),
        format!(
            r#"{{"status":201,"headers":{{"content-type":"text/plain"}},"body_sha256":"{digest}","body_bytes":3}}"#
        )
    );
    let json = headers(&[("content-type", "application/problem+json")]);
    assert!(text(result(200, &json, b"[1,{\"a\":2}]")).ends_with(r#","body":[1,{"a":2}]}"#));
    let zipped = headers(&[
        ("content-encoding", "gzip"),
        ("content-type", "application/json"),
    ]);
    assert!(text(result(200, &zipped, b"1")).contains("body_sha256"));
    for twisted in [
        &br#"{"a":1,"a":2}"#[..],
        br#"{"a":1,"\u0061":2}"#,
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"{",
        br#"{"a":"\ud800"}"#,
        b"\xff",
        b"}",
        br#"1},{"status":200"#,
    ] {
        let committed = result(200, &json, twisted);
        let shown = String::from_utf8_lossy(twisted);
        assert!(text(committed).contains("body_sha256"), "{shown}");
    }
}

#[test]
fn two_messages_never_commit_to_the_same_bytes() {
    let target = |path, query| Target::read(&Method::GET, path, query).unwrap();
    let none = Committed::new();
    let json = headers(&[("content-type", "application/json")]);
    let all = [
        parameters(&target("/a", None), &none, b""),
        parameters(&target("/a", Some("")), &none, b""),
        parameters(&target("/a", Some("b")), &none, b""),
        parameters(&target("/a", None), &json, b""),
        parameters(&target("/a", None), &json, b"1"),
        parameters(&target("/a", None), &json, b"1 "),
        parameters(&target("/a", None), &none, b"1"),
        parameters(&target("/a", None), &none, b"1 "),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all[index + 1..].iter().all(|other| other != one), "{index}");
        // A reader of contracts and policies can read each.
        serde_json::from_slice::<serde_json::Value>(one).unwrap();
    }
}

use axum::http::{HeaderMap, HeaderValue, Version};

use crate::http_api::headers::{
    back, check_framing, ends_connection, is_json, of_request, of_response, onward,
};

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn only_listed_headers_go_on() {
    let sent = headers(&[
        ("accept", "text/html"),
        ("authorization", "Bearer gateway-token"),
        ("connection", "keep-alive, x-private"),
        ("content-type", "application/json"),
        ("cookie", "a=b"),
        ("counterfoil-evidence", "records=()"),
        ("forwarded", "for=1"),
        ("idempotency-key", " k-1 "),
        ("keep-alive", "1"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("traceparent", "00-1-2-00"),
        ("x-http-method-override", "DELETE"),
        ("x-private", "1"),
    ]);
    let committed = of_request(&sent).unwrap();
    let names: Vec<_> = committed.keys().copied().collect();
    assert_eq!(names, ["content-type", "idempotency-key"]);
    assert_eq!(committed["idempotency-key"], "k-1");
    let mut onward: Vec<_> = onward(&committed, &sent)
        .keys()
        .map(ToString::to_string)
        .collect();
    onward.sort();
    assert_eq!(
        onward,
        ["accept", "content-type", "idempotency-key", "traceparent"]
    );
}

#[test]
fn what_comes_back_is_listed_too() {
    let mut received = headers(&[
        ("cache-control", "no-store"),
        ("content-type", "text/plain"),
        ("counterfoil-evidence", "records=()"),
        ("link", "</a>; rel=\"next\""),
        ("link", "</b>; rel=\"prev\""),
        ("location", "/orders/8"),
        ("server", "x"),
        ("set-cookie", "session=1"),
        ("transfer-encoding", "chunked"),
    ]);
    let latin1 = HeaderValue::from_bytes(b"attachment; filename=\xe9").unwrap();
    received.insert("content-disposition", latin1);
    let committed = of_response(&received).unwrap();
    assert_eq!(committed["link"], "</a>; rel=\"next\", </b>; rel=\"prev\"");
    let mut names: Vec<_> = back(&committed, &received)
        .keys()
        .map(ToString::to_string)
        .collect();
    names.sort();
    assert_eq!(names, ["cache-control", "content-type", "link", "location"]);
    let twice = headers(&[("location", "/a"), ("location", "/b")]);
    assert_eq!(of_response(&twice).unwrap_err().code(), "header_repeated");
}

#[test]
fn a_committed_header_that_can_be_read_in_two_ways_is_refused() {
    let twice = headers(&[
        ("content-type", "a/b"),
        ("content-type", "application/json"),
    ]);
    assert_eq!(of_request(&twice).unwrap_err().code(), "header_repeated");
    let mut odd = HeaderMap::new();
    odd.insert("range", HeaderValue::from_bytes(b"bytes=\xe9").unwrap());
    assert_eq!(of_request(&odd).unwrap_err().code(), "header_unreadable");
    let long = HeaderValue::from_str(&"x".repeat(4097)).unwrap();
    odd.insert("range", long);
    assert_eq!(of_request(&odd).unwrap_err().code(), "header_unreadable");
}

#[test]
fn framing_that_two_readers_could_take_for_different_requests_is_refused() {
    let check = |pairs: &[(&'static str, &'static str)]| {
        check_framing(Version::HTTP_11, &headers(pairs)).map_err(|error| error.code())
    };
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(
        check(&[("content-length", "3"), ("connection", "close")]),
        Ok(())
    );
    assert_eq!(check(&[("transfer-encoding", "chunked")]), Ok(()));
    for (pairs, code) in [
        (
            &[("content-length", "3"), ("transfer-encoding", "chunked")][..],
            "framing_ambiguous",
        ),
        (
            &[("content-length", "3"), ("content-length", "4")],
            "framing_ambiguous",
        ),
        (
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            "framing_ambiguous",
        ),
        (
            &[("transfer-encoding", "gzip, chunked")],
            "framing_ambiguous",
        ),
        (&[("transfer-encoding", "identity")], "framing_ambiguous"),
        (&[("host", "a"), ("host", "b")], "header_repeated"),
        (
            &[("upgrade", "websocket"), ("connection", "upgrade")],
            "upgrade_not_supported",
        ),
        (&[("connection", "close, Upgrade")], "upgrade_not_supported"),
        (
            &[("connection", "content-type")],
            "connection_header_invalid",
        ),
        (
            &[("connection", "counterfoil-evidence")],
            "connection_header_invalid",
        ),
    ] {
        assert_eq!(check(pairs), Err(code), "{pairs:?}");
    }
    let old = check_framing(Version::HTTP_10, &headers(&[])).unwrap_err();
    assert_eq!(
        (old.code(), old.status()),
        ("http_version_not_supported", 505)
    );
    assert!(ends_connection(&headers(&[(
        "transfer-encoding",
        "chunked"
    )])));
    assert!(!ends_connection(&headers(&[("content-length", "1")])));
}

#[test]
fn json_is_told_by_its_type() {
    for (kind, expected) in [
        ("application/json", true),
        ("Application/JSON;charset=utf-8", true),
        ("application/vnd.api+json", true),
        ("application/jsonl", false),
        ("text/plain", false),
    ] {
        let committed = of_request(&headers(&[("content-type", kind)])).unwrap();
        assert_eq!(is_json(&committed), expected, "{kind}");
    }
    assert!(!is_json(&of_request(&headers(&[])).unwrap()));
}

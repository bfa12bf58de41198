use axum::http::Method;

use crate::http_api::target::Target;

fn read(path: &str) -> Result<Target, &'static str> {
    Target::read(&Method::GET, path, None).map_err(|error| error.code())
}

#[test]
fn a_path_in_its_one_spelling_is_taken_as_it_is() {
    for good in [
        "/",
        "/orders",
        "/orders/",
        "/orders/7:refund",
        "/a/...b/.c",
        "/caf%C3%A9/a%20b",
        "/files/(1),x'*!$&+=@",
        "/~me/a-b_c.d",
    ] {
        let target = read(good).unwrap();
        assert_eq!(target.tool.as_str(), good);
        assert_eq!(target.verb.as_str(), "GET");
    }
}

#[test]
fn a_path_that_could_become_another_is_refused() {
    let long = format!("/{}", "a".repeat(1024));
    for bad in [
        "",
        "orders",
        "//orders",
        "/a//b",
        "/public/../admin",
        "/public/.",
        "/./public",
        "/..",
        "/public/%2e%2e/admin",
        "/public/%2E%2E/admin",
        "/%61dmin",
        "/a%2Fb",
        "/a%5Cb",
        "/a\\b",
        "/a;b",
        "/a%3bb",
        "/a%c3%A9",
        "/a%252e",
        "/a%00",
        "/a%0D%0AHost:x",
        "/a%",
        "/a%2",
        "/a%GG",
        "/a%C0%AE",
        "/a b",
        "/a\"b",
        "/caf\u{e9}",
        &long,
    ] {
        assert_eq!(read(bad), Err("path_not_canonical"), "{bad}");
    }
}

#[test]
fn queries_may_escape_anything_but_must_be_written_in_ascii() {
    let read = |query| Target::read(&Method::GET, "/", Some(query)).map_err(|error| error.code());
    for good in ["", "a=1&b=%2f..%2F", "q=%00%ff", "a[]=1&x=/?:@"] {
        assert_eq!(read(good).unwrap().query.as_deref(), Some(good));
    }
    let long = "a".repeat(4097);
    for bad in [
        "a b", "a=%", "a=%4", "a='", "a=\"", "a=#", "a=\u{e9}", &long,
    ] {
        assert_eq!(read(bad), Err("query_not_canonical"), "{bad}");
    }
}

#[test]
fn only_methods_that_ask_for_something_are_passed_on() {
    for method in ["CONNECT", "TRACE", "PROPFIND", "get"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let error = Target::read(&method, "/", None).unwrap_err();
        assert_eq!(
            (error.code(), error.status()),
            ("method_not_supported", 501)
        );
    }
}

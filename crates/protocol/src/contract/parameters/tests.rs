//! The reader against another reader, and against what is hostile.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn at(json: &str, pointer: &str) -> Result<Found, &'static str> {
    let pointer = Pointer::new(pointer).unwrap();
    read(json.as_bytes(), &[&pointer]).map(|mut found| found.remove(0))
}

fn text(text: &str) -> Found {
    Found::Text(text.to_owned())
}

#[test]
fn a_pointer_leads_to_a_string() {
    for (json, pointer, expected) in [
        (r#"{"a":{"b":["x","y"]}}"#, "/a/b/1", text("y")),
        (r#" { "a" : "x" } "#, "/a", text("x")),
        (r#"{"a/b":{"~":"x"}}"#, "/a~1b/~0", text("x")),
        (r#"{"":"x"}"#, "/", text("x")),
        (
            r#"{"\u0061":"\u002f\n\ud83d\ude00"}"#,
            "/a",
            text("/\n\u{1f600}"),
        ),
        (r#"{"a":{"0":"x"}}"#, "/a/0", text("x")),
        (r#"{"a":["x"]}"#, "/a/00", Found::Missing),
        (r#"{"a":["x"]}"#, "/a/-", Found::Missing),
        (r#"{"a":"x"}"#, "/b", Found::Missing),
        (r#"{"a":"x"}"#, "/a/b", Found::Missing),
        (r#"{"b":{"a":"x"}}"#, "/a", Found::Missing),
        (r#"{"a":1}"#, "/a", Found::NoText),
        (r#"{"a":null}"#, "/a", Found::NoText),
        (r#"{"a":["x"]}"#, "/a", Found::NoText),
        (r#"{"a":"x","A":"y"}"#, "/a", Found::Ambiguous),
        (r#"{"A":"y","a":"x"}"#, "/a", Found::Ambiguous),
        (r#"{"A":"y"}"#, "/a", Found::Ambiguous),
        (
            "{\"\u{212a}ey\":\"y\",\"key\":\"x\"}",
            "/key",
            Found::Ambiguous,
        ),
        (r#"{"a":{"b":"x"},"A":{}}"#, "/a/b", Found::Ambiguous),
        (r#"{"a":"x","b":{"A":"y"}}"#, "/a", text("x")),
    ] {
        assert_eq!(at(json, pointer), Ok(expected), "{json} {pointer}");
    }
}

#[test]
fn what_parsers_read_differently_is_refused() {
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    for json in [
        "",
        "\u{feff}{}",
        r#"{"a":"x","a":"y"}"#,
        r#"{"a":"x","\u0061":"y"}"#,
        r#"{"b":{"c":1,"c":1},"a":"x"}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00"}"#,
        r#"{"a":"\ud800\u0041"}"#,
        r#"{"a":"x"} {}"#,
        r#"{"a":"x",}"#,
        r#"{"a":"x"/**/}"#,
        r#"{'a':'x'}"#,
        r#"{"a":"x"#,
        r#"{"a":NaN}"#,
        r#"{"a":01}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":"\x41"}"#,
        r#"{"a":"\u+041"}"#,
        "{\"a\":\"\n\"}",
        "{\"a\":\"x\"}\0",
        "\u{c}{}",
        &deep,
    ] {
        assert!(at(json, "/a").is_err(), "{json}");
    }
    assert!(read(b"{\"a\":\"\xff\"}", &[]).is_err());
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert_eq!(at(&deep, "/a"), Ok(Found::Missing));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,4}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-e/~é\"\\\\]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every pointer into a value.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    let mut inside = |step: &str, value| {
        let step = step.replace('~', "~0").replace('/', "~1");
        let at = format!("{at}/{step}");
        all.push(at.clone());
        pointers(value, &at, all);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| inside(name, value)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| inside(&index.to_string(), value)),
        _ => {}
    }
}

proptest! {
    /// An independent reader finds the same texts at the same places.
    #[test]
    fn finds_what_serde_json_finds(value in json(), pretty: bool) {
        let encoded = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let mut all = vec!["/none".to_owned()];
        pointers(&value, "", &mut all);
        let parsed: Vec<Pointer> = all.iter().map(|p| Pointer::new(p.as_str()).unwrap()).collect();
        let found = read(encoded.as_bytes(), &parsed.iter().collect::<Vec<_>>()).unwrap();
        for (pointer, found) in all.iter().zip(found) {
            prop_assert_eq!(found, match value.pointer(pointer) {
                None => Found::Missing,
                Some(Value::String(text)) => Found::Text(text.clone()),
                Some(_) => Found::NoText,
            });
        }
    }

    /// What it accepts, others accept.
    #[test]
    fn accepts_nothing_that_serde_json_refuses(text in "[\\[\\]{}\",:a0-1.e+u\\\\ dtrue-]{0,24}") {
        if read(text.as_bytes(), &[]).is_ok() {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok() || text.contains('e'), "{}", text);
        }
    }
}

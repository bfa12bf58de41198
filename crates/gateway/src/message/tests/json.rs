use proptest::prelude::*;

use super::values;
use crate::message::json::{DEFAULT_MAX_BYTES, Fault, Kind, MAX_DEPTH, scan, unescape};

fn fault(text: impl AsRef<[u8]>) -> Option<Fault> {
    scan(text.as_ref(), DEFAULT_MAX_BYTES, &[])
        .err()
        .map(|error| error.fault())
}

#[test]
fn accepts_what_rfc_8259_allows() {
    for text in [
        "0",
        "-0",
        "1.5e+10",
        "1E-2",
        "123456789012345678901234567890",
        "1e-999",
        "0e999",
        r#""""#,
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u0000\u001F""#,
        r#""\ud83d\ude00""#,
        "\"\u{7f}\"",
        "\"\u{2028}\"",
        "\"\u{feff}\"",
        "\"\u{10ffff}\"",
        " \t\r\n[ ] ",
        "{}",
        "{ \n}",
        "[[],{}]",
        r#"{"":0," ":1}"#,
        r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#,
        "true",
        "null",
        "[1 , 2]",
    ] {
        assert_eq!(fault(text), None, "{text}");
        assert!(
            serde_json::from_str::<serde_json::Value>(text).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn refuses_what_is_outside_the_grammar() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "\"",
        "\"\\",
        "\"\\u12",
        "[1",
        "[1,",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "[1,]",
        "{\"a\":1,}",
        "[,1]",
        "{,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "01",
        "-",
        "-01",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "0x10",
        "1_000",
        "--1",
        "- 1",
        "1.e5",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "True",
        "nul",
        "nullx",
        "falsey",
        r#""\x""#,
        r#""\u12g4""#,
        r#""\U0041""#,
        "// a",
        "/* a */1",
        "[1]/",
        "\u{c}1",
        "\u{a0}1",
        "\u{2028}1",
        "]",
        "}",
        "[}",
        "{]",
        ":",
        "{\"a\":}",
        "'a'",
        "undefined",
        "{\"a\":1;}",
        "[1,,2]",
        "{\"a\":1,,\"b\":2}",
    ] {
        let fault = fault(text);
        assert!(
            matches!(fault, Some(Fault::InvalidJson | Fault::TrailingData)),
            "{text:?}: {fault:?}"
        );
        assert!(
            serde_json::from_str::<serde_json::Value>(text).is_err(),
            "{text}"
        );
    }
}

#[test]
fn names_each_stricter_fault() {
    for (text, expected) in [
        (&b"\xef\xbb\xbf{}"[..], Fault::ByteOrderMark),
        (b"\xfe\xff\x00{", Fault::InvalidUtf8),
        (b"\"\xff\"", Fault::InvalidUtf8),
        (b"\"\xc0\xaf\"", Fault::InvalidUtf8),
        (b"\"\xed\xa0\x80\"", Fault::InvalidUtf8),
        (b"\"\xf4\x90\x80\x80\"", Fault::InvalidUtf8),
        (b"\"a\nb\"", Fault::ControlCharacter),
        (b"\"\x00\"", Fault::ControlCharacter),
        (b"{\"a\tb\":1}", Fault::ControlCharacter),
        (br#""\ud800""#, Fault::LoneSurrogate),
        (br#""\udc00""#, Fault::LoneSurrogate),
        (br#""\ud800\n""#, Fault::LoneSurrogate),
        (br#""\ud800\ud800""#, Fault::LoneSurrogate),
        (br#"{"\udead":1}"#, Fault::LoneSurrogate),
        (b"1e999", Fault::NumberOutOfRange),
        (b"-1E+400", Fault::NumberOutOfRange),
        (b"{} {}", Fault::TrailingData),
        (b"{}\0", Fault::TrailingData),
        (b"1 2", Fault::TrailingData),
        (b"{\"a\":1}}", Fault::TrailingData),
    ] {
        assert_eq!(
            fault(text),
            Some(expected),
            "{}",
            String::from_utf8_lossy(text)
        );
    }
}

#[test]
fn refuses_duplicate_names_anywhere_and_in_any_spelling() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"":1,"":2}"#,
        r#"{"name":1,"na\u006de":2}"#,
        r#"{"na\u006de":1,"\u006eame":2}"#,
        r#"{"a/b":1,"a\/b":2}"#,
        r#"{"\ud834\udd1e":1,"𝄞":2}"#,
        r#"{"x":[[{"y":{"a":1,"b":2,"a":3}}]]}"#,
        r#"{"a":{"a":1},"b":[{"a":1}],"a":2}"#,
    ] {
        assert_eq!(fault(text), Some(Fault::DuplicateMember), "{text}");
    }
    assert_eq!(fault(r#"{"a":1,"A":2,"a ":3,"é":4,"e\u0301":5}"#), None);
}

#[test]
fn finds_a_duplicate_among_many_members() {
    for count in [2, 11, 12, 13, 14, 1000] {
        let names: Vec<_> = (0..count)
            .map(|index| format!("\"n{index}\":{index}"))
            .collect();
        assert_eq!(fault(format!("{{{}}}", names.join(","))), None);
        let text = format!("{{{},\"\\u006e0\":1}}", names.join(","));
        let error = scan(text.as_bytes(), DEFAULT_MAX_BYTES, &[]).unwrap_err();
        assert_eq!(error.code(), "duplicate_member");
        assert_eq!(error.offset(), text.len() - r#"\u006e0":1}"#.len());
    }
}

#[test]
fn limits_depth_and_size() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(fault(nested(MAX_DEPTH)), None);
    assert!(serde_json::from_str::<serde_json::Value>(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(fault(nested(MAX_DEPTH + 1)), Some(Fault::TooDeep));
    assert_eq!(fault("[".repeat(500_000)), Some(Fault::TooDeep));
    assert_eq!(fault("{\"a\":".repeat(500_000)), Some(Fault::TooDeep));
    assert!(scan(b"[1]", 3, &[]).is_ok());
    assert_eq!(scan(b"[1] ", 3, &[]).unwrap_err().code(), "too_large");
}

#[test]
fn reports_where_the_fault_is() {
    let error = scan(b"{\"a\": tru}", DEFAULT_MAX_BYTES, &[]).unwrap_err();
    assert_eq!((error.code(), error.offset()), ("invalid_json", 6));
    assert_eq!(error.to_string(), "not valid JSON at byte 6");
}

#[test]
fn records_spans_at_the_chosen_depths_only() {
    let text = br#" { "p\u0061rams" : { "x" : [ {"y":1} ] , "deep":{"z":2} } , "other":{"x":3} } "#;
    let outline = scan(text, DEFAULT_MAX_BYTES, &[&["params"]]).unwrap();
    let at = |path: &[&str]| outline.at(text, path).map(|value| value.span.of(text));
    assert_eq!(outline.top().span.range(), 1..text.len() - 1);
    assert_eq!(at(&["params", "x"]), Some(&br#"[ {"y":1} ]"#[..]));
    assert_eq!(at(&["other"]), Some(&br#"{"x":3}"#[..]));
    assert_eq!(at(&["other", "x"]), None);
    assert_eq!(at(&["params", "deep", "z"]), None);
    assert_eq!(outline.at(text, &["params"]).unwrap().kind, Kind::Object);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn valid_texts_pass_here_and_there(text in values::value(), a in values::whitespace(), b in values::whitespace()) {
        let text = format!("{a}{text}{b}");
        prop_assert_eq!(fault(&text), None, "{}", text);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn one_changed_byte_is_judged_as_serde_json_judges_it(
        text in values::value(), at in any::<prop::sample::Index>(),
        new in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\u0e-. \n"[..])],
        delete in any::<bool>(),
    ) {
        let mut text = text.into_bytes();
        let at = at.index(text.len());
        if delete { text.remove(at); } else { text[at] = new; }
        agrees_with_serde_json(&text)?;
    }

    #[test]
    fn soup_of_tokens_is_judged_as_serde_json_judges_it(
        tokens in prop::collection::vec(prop::sample::select(
            &["{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "1", "-", ".5", "e3", "null", " ", "\\u0041", "\""][..]), 0..12)
    ) {
        agrees_with_serde_json(tokens.concat().as_bytes())?;
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        agrees_with_serde_json(&bytes)?;
    }

    #[test]
    fn unescapes_as_serde_json_does(text in values::string()) {
        let expected: String = serde_json::from_str(&text).unwrap();
        let inside = &text.as_bytes()[1..text.len() - 1];
        prop_assert_eq!(unescape(inside), expected);
    }

    #[test]
    fn unescape_does_not_panic(bytes in prop::collection::vec(prop::sample::select(&b"\\u0dDc8a\"\xff"[..]), 0..20)) {
        let _ = unescape(&bytes);
    }
}

/// Accepted here means accepted there; refused here means refused there, but for duplicates.
fn agrees_with_serde_json(text: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<serde_json::Value>(text);
    match fault(text) {
        None => prop_assert!(
            theirs.is_ok(),
            "{:?}: {:?}",
            String::from_utf8_lossy(text),
            theirs
        ),
        Some(Fault::DuplicateMember) => prop_assert!(theirs.is_ok()),
        Some(fault) => {
            prop_assert!(
                theirs.is_err(),
                "{:?}: {fault:?}",
                String::from_utf8_lossy(text)
            )
        }
    }
    Ok(())
}

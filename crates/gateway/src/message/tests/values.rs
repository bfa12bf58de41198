//! Arbitrary JSON texts with odd whitespace and escapes, for the property tests.

use proptest::prelude::*;

pub(super) fn whitespace() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("\t"), 1 => Just("\r\n "), 1 => Just("  ")]
}

pub(super) fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[a-zA-Z0-9 _/.:é€𝄞-]{0,6}".prop_map(String::from),
        1 => Just(r#"\""#.to_owned()),
        1 => Just(r"\\".to_owned()),
        1 => Just(r"\/".to_owned()),
        1 => Just(r"\n".to_owned()),
        1 => Just(r"\u0041".to_owned()),
        1 => Just(r"\ud834\udd1e".to_owned()),
        1 => Just("\u{2028}".to_owned()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

pub(super) fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
        string(),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            (
                whitespace(),
                prop::collection::vec((whitespace(), inner.clone(), whitespace()), 0..5)
            )
                .prop_map(|(space, items)| {
                    let items: Vec<_> = items
                        .iter()
                        .map(|(a, item, b)| format!("{a}{item}{b}"))
                        .collect();
                    if items.is_empty() {
                        format!("[{space}]")
                    } else {
                        format!("[{}]", items.join(","))
                    }
                }),
            members(inner).prop_flat_map(object),
        ]
    })
}

/// Members with names that differ, without their whitespace.
pub(super) fn members(
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((string(), value), 0..4).prop_map(|members| {
        members
            .into_iter()
            .enumerate()
            .map(|(index, (name, value))| (name.replacen('"', &format!("\"{index}"), 1), value))
            .collect()
    })
}

/// An object of these members, in any order and with any whitespace.
pub(super) fn object(members: Vec<(String, String)>) -> impl Strategy<Value = String> {
    let count = members.len();
    let spaces = prop::collection::vec(whitespace(), 4 * count + 1);
    (Just(members).prop_shuffle(), spaces).prop_map(|(members, spaces)| {
        let mut spaces = spaces.into_iter();
        let mut space = || spaces.next().unwrap();
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| {
                format!("{}{name}{}:{}{value}{}", space(), space(), space(), space())
            })
            .collect();
        if members.is_empty() {
            format!("{{{}}}", space())
        } else {
            format!("{{{}}}", members.join(","))
        }
    })
}

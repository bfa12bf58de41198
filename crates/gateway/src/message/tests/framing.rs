use std::borrow::Cow;
use std::io::BufReader;

use proptest::prelude::*;

use super::values;
use crate::message::framing::{AsyncLines, LineSplitter, Lines, to_line};

/// The lines that come out when the stream is fed in chunks of this size; `None` for too long.
fn split(stream: &[u8], max_bytes: usize, chunk: usize) -> Vec<Option<Vec<u8>>> {
    let mut splitter = LineSplitter::new(max_bytes);
    let mut lines = Vec::new();
    for chunk in stream.chunks(chunk) {
        splitter.feed(chunk);
        while let Some(line) = splitter.next_line() {
            lines.push(line.ok().map(|line| line.to_vec()));
        }
    }
    lines.extend(splitter.finish().map(|line| Some(line.to_vec())));
    lines
}

fn naive(stream: &[u8], max_bytes: usize) -> Vec<Option<Vec<u8>>> {
    let mut lines: Vec<_> = stream
        .split(|byte| *byte == b'\n')
        .map(|line| (line.len() <= max_bytes).then(|| line.to_vec()))
        .collect();
    if lines
        .last()
        .is_some_and(|line| line.as_deref() == Some(b""))
    {
        lines.pop();
    }
    lines
}

#[test]
fn strips_one_line_end_and_nothing_else() {
    assert_eq!(
        split(b"a\r\n\n b \n\r\n", 10, 100),
        [&b"a\r"[..], b"", b" b ", b"\r"].map(|line| Some(line.to_vec()))
    );
}

#[test]
fn a_line_that_is_too_long_gives_one_error_and_the_next_is_read() {
    for chunk in 1..20 {
        let lines = split(b"12345\n123456\n1234567890\n12\n", 5, chunk);
        assert_eq!(
            lines,
            [Some(b"12345".to_vec()), None, None, Some(b"12".to_vec())]
        );
    }
}

#[test]
fn an_endless_line_is_not_buffered() {
    let mut splitter = LineSplitter::new(1000);
    let mut errors = 0;
    for _ in 0..10_000 {
        splitter.feed(&[b'x'; 512]);
        while let Some(line) = splitter.next_line() {
            errors += usize::from(line.is_err());
        }
        assert!(format!("{splitter:?}").len() < 4000);
    }
    assert_eq!(errors, 1);
    splitter.feed(b"x\nok\n");
    assert_eq!(splitter.next_line().unwrap().unwrap(), "ok");
    assert_eq!(splitter.next_line(), None);
}

#[test]
fn a_last_line_without_end_is_given_unless_it_was_too_long() {
    assert_eq!(
        split(b"a\nb", 5, 1),
        [Some(b"a".to_vec()), Some(b"b".to_vec())]
    );
    assert_eq!(split(b"a\nbbbbbbb", 5, 1), [Some(b"a".to_vec()), None]);
}

#[test]
fn readers_give_the_same_lines() {
    let stream = b"one\n\ntoo long for this\ntwo\r\nlast";
    let expected = naive(stream, 8);
    let blocking: Vec<_> = Lines::new(BufReader::with_capacity(3, &stream[..]), 8)
        .map(|line| line.unwrap().ok().map(|line| line.to_vec()))
        .collect();
    assert_eq!(blocking, expected);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let asynchronous = runtime.block_on(async {
        let mut reader = AsyncLines::new(&stream[..], 8);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            lines.push(line.ok().map(|line| line.to_vec()));
        }
        lines
    });
    assert_eq!(asynchronous, expected);
}

#[test]
fn a_message_cannot_hide_another_behind_a_line_break() {
    let hidden = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x"}}"#;
    for line_break in ["\n", "\r", "\r\n"] {
        let message = format!("{{\"a\":{line_break}{hidden}{line_break}}}");
        let line = to_line(message.as_bytes());
        assert_eq!(line.len(), message.len());
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    }
    for line_break in ['\u{85}', '\u{2028}', '\u{2029}'] {
        let message = format!("{{\"a\":\"é{line_break}x€\"}}");
        let line = to_line(message.as_bytes()).into_owned();
        let expected = format!("{{\"a\":\"é\\u{:04x}x€\"}}", u32::from(line_break));
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
    assert!(matches!(
        to_line("{\"a\":\"é €\"}".as_bytes()),
        Cow::Borrowed(_)
    ));
}

proptest! {
    #[test]
    fn splits_like_the_naive_model(
        stream in prop::collection::vec(prop::sample::select(&b"ab\r\n"[..]), 0..60),
        max_bytes in 0_usize..12, chunk in 1_usize..70,
    ) {
        let mut expected = naive(&stream, max_bytes);
        let lines = split(&stream, max_bytes, chunk);
        if max_bytes == 0 {
            expected.retain(Option::is_none);
            prop_assert_eq!(lines.iter().filter(|line| line.is_none()).count(), expected.len());
        } else {
            prop_assert_eq!(lines, expected);
        }
    }

    #[test]
    fn a_line_is_the_same_json_without_breaks(text in values::value()) {
        let line = to_line(text.as_bytes()).into_owned();
        let line = String::from_utf8(line).unwrap();
        let breaks = line.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
        prop_assert!(!breaks);
        let before: serde_json::Value = serde_json::from_str(&text).unwrap();
        let after: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(before, after);
    }
}

use proptest::prelude::*;

use crate::message::sse::{EventSplitter, Piece};

fn pieces(stream: &[u8], chunk: usize) -> (Vec<Piece>, Vec<u8>) {
    let mut splitter = EventSplitter::new(1 << 16);
    let mut pieces = Vec::new();
    for chunk in stream.chunks(chunk) {
        splitter.feed(chunk);
        while let Some(piece) = splitter.next_piece() {
            pieces.push(piece.unwrap());
        }
    }
    (pieces, splitter.finish().to_vec())
}

fn events(stream: &[u8], chunk: usize) -> Vec<String> {
    let (pieces, _) = pieces(stream, chunk);
    let data = pieces.iter().filter_map(Piece::data);
    data.map(|data| String::from_utf8(data).unwrap()).collect()
}

#[test]
fn reads_events_as_the_standard_says() {
    for (stream, expected) in [
        ("data: a\n\n", vec!["a"]),
        ("data:a\n\ndata:  b\n\n", vec!["a", " b"]),
        ("data: a\ndata: b\n\n", vec!["a\nb"]),
        ("data\n\n", vec![""]),
        ("data\ndata\n\n", vec!["\n"]),
        ("data:\n\n", vec![""]),
        ("\u{feff}data: a\n\n\u{feff}data: b\n\n", vec!["a"]),
        (": note\n\ndata: a\n\n", vec!["a"]),
        (":one\n:two\ndata: a\n:three\n\n", vec!["a"]),
        ("event: message\nid: 7\nretry: 100\ndata: a\n\n", vec!["a"]),
        ("event: x\n\n", vec![]),
        ("Data: a\n\n", vec![]),
        (" data: a\n\n", vec![]),
        ("data : a\n\n", vec![]),
        ("data: a\n", vec![]),
        ("data: a", vec![]),
        ("\n\n\ndata: a\n\n\n", vec!["a"]),
    ] {
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', line_end);
            for chunk in 1..=stream.len() {
                assert_eq!(
                    events(stream.as_bytes(), chunk),
                    expected,
                    "{stream:?} by {chunk}"
                );
            }
        }
    }
}

#[test]
fn reads_the_other_fields() {
    let (pieces, rest) = pieces(
        b"event: e\r\nid: 1\r\nid: 2\r\nretry: 5\r\nother: x\r\ndata: a\r\n\r\n",
        7,
    );
    let [piece] = &pieces[..] else {
        panic!("{pieces:?}")
    };
    assert_eq!(piece.event_type(), Some(&b"e"[..]));
    assert_eq!(piece.id(), Some(&b"2"[..]));
    assert_eq!(piece.retry(), Some(&b"5"[..]));
    assert!(rest.is_empty());
}

#[test]
fn replaces_the_data_and_nothing_else() {
    for (before, after) in [
        ("data: a\n\n", "data: X\n\n"),
        (
            ":c\r\nid: 1\r\ndata:a\r\nevent: message\r\ndata:b\r\nfoo\r\n\r\n",
            "id: 1\r\ndata: X\r\nevent: message\r\nfoo\r\n\r\n",
        ),
        ("data\rdata: b\r\r", "data: X\r\r"),
        ("data: a\rdata: b\n\n", "data: X\r\n\n"),
        ("\u{feff}data: a\n\n", "\u{feff}data: X\n\n"),
        ("id: 1\n\n", "id: 1\n\n"),
    ] {
        let (pieces, _) = pieces(before.as_bytes(), before.len());
        assert_eq!(
            pieces.last().unwrap().with_data(b"X"),
            after.as_bytes(),
            "{before:?}"
        );
    }
}

#[test]
fn replaced_data_cannot_end_the_event() {
    let (pieces, _) = pieces(b"data: a\n\n", 100);
    let out = pieces[0].with_data(b"{\n\n\"a\":\r\n1}");
    assert_eq!(events(&out, 3), ["{  \"a\":  1}"]);
}

#[test]
fn comments_do_not_wait_for_an_event() {
    let mut splitter = EventSplitter::new(100);
    splitter.feed(b": still here\n");
    assert_eq!(
        splitter.next_piece().unwrap().unwrap().raw(),
        ": still here\n"
    );
}

#[test]
fn a_line_feed_does_not_wait_for_the_next_event() {
    let mut splitter = EventSplitter::new(100);
    splitter.feed(b"data: a\r\n\r");
    assert_eq!(
        splitter.next_piece().unwrap().unwrap().raw(),
        "data: a\r\n\r"
    );
    splitter.feed(b"\n");
    assert_eq!(splitter.next_piece().unwrap().unwrap().raw(), "\n");
    splitter.feed(b"data: b\r\n\r\n");
    assert_eq!(
        splitter.next_piece().unwrap().unwrap().raw(),
        "data: b\r\n\r\n"
    );
    assert_eq!(splitter.next_piece(), None);
}

#[test]
fn an_event_that_is_too_long_ends_the_stream() {
    for stream in [&b"data: 0123456789"[..], b"data: 0\ndata: 1\ndata: 2\n"] {
        let mut splitter = EventSplitter::new(15);
        splitter.feed(stream);
        assert_eq!(
            splitter.next_piece().unwrap().unwrap_err().code(),
            "event_too_long"
        );
        splitter.feed(b"\n\ndata: next\n\n");
        assert_eq!(splitter.next_piece(), None);
        assert!(splitter.finish().is_empty());
    }
}

/// The events of a whole stream, by the letter of the standard.
fn naive(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut data) = (Vec::new(), None::<String>);
    let Some((complete, _)) = text.rsplit_once('\n') else {
        return events;
    };
    for line in complete.split('\n') {
        if line.is_empty() {
            events.extend(data.take());
        } else if let Some(value) = line
            .strip_prefix("data:")
            .or((line == "data").then_some(""))
        {
            let value = value.strip_prefix(' ').unwrap_or(value);
            data = Some(data.map_or(value.to_owned(), |data| data + "\n" + value));
        }
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn agrees_with_the_standard_and_loses_no_byte(
        tokens in prop::collection::vec(prop::sample::select(
            &["data", "data:", "data: ", ":", " ", "x", "\n", "\n", "\r", "\r\n", "id: 1", "\u{feff}"][..]), 0..30),
        chunk in 1_usize..40,
    ) {
        let stream = tokens.concat().into_bytes();
        let (pieces, rest) = pieces(&stream, chunk);
        let mut joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.raw().to_vec()).collect();
        joined.extend_from_slice(&rest);
        prop_assert_eq!(&joined, &stream);
        prop_assert_eq!(events(&stream, chunk), naive(&stream));
        for (index, piece) in pieces.iter().enumerate() {
            let mut replaced = piece.with_data(b"NEW").to_vec();
            if index > 0 {
                // A byte order mark is one only at the start of the stream.
                replaced.insert(0, b'\n');
            }
            let expected = if piece.data().is_some() { vec!["NEW".to_owned()] } else { vec![] };
            prop_assert_eq!(naive(&replaced), expected);
        }
    }
}

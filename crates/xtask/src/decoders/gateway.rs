//! Decoders of the gateway: messages, framing, the evidence member.

use counterfoil_gateway::message::framing::LineSplitter;
use counterfoil_gateway::message::splice::{insert, is_present, take};
use counterfoil_gateway::message::sse::EventSplitter;
use counterfoil_gateway::message::{Message, Sender, classify};

type Target = (&'static str, fn(&[u8]));

/// The gateway's decoders.
pub const TARGETS: &[Target] = &[
    ("event_stream", event_stream),
    ("evidence", evidence),
    ("lines", lines),
    ("message", message),
    ("splice", splice),
];

const MAX_BYTES: usize = 1 << 16;
const EVIDENCE: &[u8] = br#"{"records":["AA=="]}"#;

/// A message keeps the bytes that it was read from.
pub fn message(data: &[u8]) {
    if let Ok(message) = Message::parse(data) {
        assert!(message.bytes() == data);
        for sender in [Sender::Client, Sender::Server] {
            let _class = classify(&message, sender);
        }
    }
}

/// What is added can be taken out again, and what is taken out could have been added.
pub fn splice(data: &[u8]) {
    let Ok(message) = Message::parse(data) else {
        return;
    };
    if let Ok(added) = insert(&message, EVIDENCE) {
        let taken = Message::parse(&added).map(take);
        let back = matches!(&taken, Ok(Ok(taken))
            if taken.message.bytes() == data && taken.evidence.as_deref() == Some(EVIDENCE));
        assert!(back, "what was added does not come out again");
    }
    if let Ok(taken) = take(message) {
        assert!(!is_present(&taken.message) || taken.evidence.is_some());
    }
}

/// The value of the evidence member has one meaning.
pub fn evidence(data: &[u8]) {
    if let Ok(envelope) = counterfoil_gateway::evidence::decode(data) {
        let again = counterfoil_gateway::evidence::encode(&envelope);
        let same = counterfoil_gateway::evidence::decode(&again).is_ok_and(|e| e == envelope);
        assert!(same, "an envelope does not survive being written");
    }
}

/// Lines do not depend on how the bytes arrive.
pub fn lines(data: &[u8]) {
    let split = |chunk: usize| {
        let mut splitter = LineSplitter::new(MAX_BYTES);
        let mut lines = Vec::new();
        for chunk in data.chunks(chunk) {
            splitter.feed(chunk);
            while let Some(line) = splitter.next_line() {
                lines.push(line.map_err(|error| error.code()));
            }
        }
        (lines, splitter.finish())
    };
    assert!(split(data.len().max(1)) == split(3));
}

/// Every byte of an event stream comes out again, however it arrives.
pub fn event_stream(data: &[u8]) {
    for chunk in [data.len().max(1), 1, 7] {
        let mut splitter = EventSplitter::new(MAX_BYTES);
        let mut raw = Vec::new();
        for chunk in data.chunks(chunk) {
            splitter.feed(chunk);
            while let Some(piece) = splitter.next_piece() {
                match piece {
                    Ok(piece) => raw.extend_from_slice(piece.raw()),
                    Err(_) => return,
                }
            }
        }
        raw.extend_from_slice(&splitter.finish());
        assert!(raw == data, "bytes were lost");
    }
}

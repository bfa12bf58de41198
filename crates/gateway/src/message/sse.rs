//! Server-sent events, passed through as they are but for the data of chosen events.
//!
//! The parser follows the event stream format of the HTML standard: lines end at CR, LF or CRLF,
//! an empty line ends an event, a byte order mark is ignored at the start of the stream only. It
//! cuts the stream into pieces whose concatenation is the stream.

use bytes::{Bytes, BytesMut};

use super::framing::to_line;

/// An event longer than the limit. The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is longer than {max_bytes} bytes")]
pub struct EventTooLong {
    max_bytes: usize,
}

impl EventTooLong {
    /// A stable code for peers and users.
    pub fn code(&self) -> &'static str {
        "event_too_long"
    }
}

/// A piece of the stream: one event with what stood before it, or something without data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    raw: Bytes,
    fields: Vec<Field>,
}

impl Piece {
    /// The bytes of the piece as received.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The data of the event, its lines joined by `\n`; `None` if the piece has no data, in which
    /// case clients see no event.
    pub fn data(&self) -> Option<Vec<u8>> {
        let mut lines = self.named(FieldName::Data);
        let mut data = self.value(lines.next()?).to_vec();
        for line in lines {
            data.push(b'\n');
            data.extend_from_slice(self.value(line));
        }
        Some(data)
    }

    /// The type of the event; `None` is the same as `message`.
    pub fn event_type(&self) -> Option<&[u8]> {
        self.last(FieldName::Event)
    }

    /// The last event id that the piece sets.
    pub fn id(&self) -> Option<&[u8]> {
        self.last(FieldName::Id)
    }

    /// The reconnection time that the piece sets, as written.
    pub fn retry(&self) -> Option<&[u8]> {
        self.last(FieldName::Retry)
    }

    /// The piece with its data replaced by `message`, which goes on one line; all other lines
    /// stay as they are. A piece without data comes back unchanged.
    pub fn with_data(&self, message: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(self.raw.len() + message.len());
        let mut copied = 0;
        for (index, line) in self.named(FieldName::Data).enumerate() {
            self.copy(&mut out, copied, line.start);
            copied = line.end;
            if index == 0 {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(&to_line(message));
                out.extend_from_slice(self.raw.get(line.value_end..line.end).unwrap_or_default());
            }
        }
        self.copy(&mut out, copied, self.raw.len());
        out.into()
    }

    fn copy(&self, out: &mut Vec<u8>, from: usize, to: usize) {
        let lines = self.raw.get(from..to).unwrap_or_default();
        if out.ends_with(b"\r") && lines.starts_with(b"\n") {
            // Two lines that were apart have met: their ends must not become one.
            out.push(b'\n');
        }
        out.extend_from_slice(lines);
    }

    fn named(&self, name: FieldName) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |field| field.name == name)
    }

    fn last(&self, name: FieldName) -> Option<&[u8]> {
        self.named(name).last().map(|field| self.value(field))
    }

    fn value(&self, field: &Field) -> &[u8] {
        self.raw
            .get(field.value_start..field.value_end)
            .unwrap_or_default()
    }
}

/// Cuts a stream into pieces.
///
/// Feed it what was read and take out pieces until there is none. It holds at most the limit
/// plus what was fed last.
#[derive(Debug)]
pub struct EventSplitter {
    buffer: BytesMut,
    max_bytes: usize,
    fields: Vec<Field>,
    /// Where the current line starts in the buffer.
    line_start: usize,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    at_stream_start: bool,
    /// Whether the line before ended in CR, so that an LF here belongs to it.
    after_cr: bool,
    broken: bool,
}

impl EventSplitter {
    /// A splitter for pieces of at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_bytes,
            fields: Vec::new(),
            line_start: 0,
            searched: 0,
            at_stream_start: true,
            after_cr: false,
            broken: false,
        }
    }

    /// Adds what was read.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next complete piece. After an error there are no more.
    pub fn next_piece(&mut self) -> Option<Result<Piece, EventTooLong>> {
        if self.broken {
            self.buffer.clear();
            return None;
        }
        loop {
            if self.after_cr && self.line_start < self.buffer.len() {
                self.after_cr = false;
                if self.buffer.get(self.line_start) == Some(&b'\n') {
                    if self.line_start == 0 {
                        // The piece before was cut at its CR. Clients that wait for the LF
                        // must get it now, not with the next event.
                        return Some(Ok(self.cut(1)));
                    }
                    self.line_start += 1;
                    self.searched = self.line_start;
                    if let Some(last) = self.fields.last_mut()
                        && last.end + 1 == self.line_start
                    {
                        last.end = self.line_start;
                    }
                }
            }
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let end = end.map(|at| at + self.searched);
            if end.unwrap_or(self.buffer.len()) > self.max_bytes {
                self.broken = true;
                return Some(Err(EventTooLong {
                    max_bytes: self.max_bytes,
                }));
            }
            let Some(end) = end else {
                self.searched = self.buffer.len();
                return None;
            };
            self.after_cr = self.buffer.get(end) == Some(&b'\r');
            if self.end_line(end) {
                let mut end = end + 1;
                if self.after_cr && self.buffer.get(end) == Some(&b'\n') {
                    self.after_cr = false;
                    end += 1;
                }
                return Some(Ok(self.cut(end)));
            }
            self.line_start = end + 1;
            self.searched = end + 1;
        }
    }

    /// What is left when the stream ends: an event that was cut short. Clients discard it.
    pub fn finish(self) -> Bytes {
        if self.broken {
            Bytes::new()
        } else {
            self.buffer.freeze()
        }
    }

    /// Reads the line from `line_start` to `end`; true if a piece ends with it.
    fn end_line(&mut self, end: usize) -> bool {
        let line = self.buffer.get(self.line_start..end).unwrap_or_default();
        let mark = if self.at_stream_start && line.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        self.at_stream_start = false;
        let line = line.get(mark..).unwrap_or_default();
        if line.is_empty() {
            return true;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let name = match line.get(..colon.unwrap_or(line.len())).unwrap_or_default() {
            b"data" => FieldName::Data,
            b"event" => FieldName::Event,
            b"id" => FieldName::Id,
            b"retry" => FieldName::Retry,
            // A comment needs no event to end it, and must not wait for one.
            b"" => return self.fields.is_empty(),
            _ => FieldName::Other,
        };
        let start = self.line_start + mark;
        let value_start = match colon {
            Some(colon) if line.get(colon + 1) == Some(&b' ') => start + colon + 2,
            Some(colon) => start + colon + 1,
            None => end,
        };
        self.fields.push(Field {
            name,
            start,
            value_start,
            value_end: end,
            end: end + 1,
        });
        false
    }

    fn cut(&mut self, end: usize) -> Piece {
        self.line_start = 0;
        self.searched = 0;
        let raw = self.buffer.split_to(end).freeze();
        Piece {
            raw,
            fields: std::mem::take(&mut self.fields),
        }
    }
}

/// A field of an event, with offsets into its piece.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: FieldName,
    /// Where the line starts.
    start: usize,
    value_start: usize,
    value_end: usize,
    /// After the line's end, which is one byte or two.
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldName {
    Data,
    Event,
    Id,
    Other,
    Retry,
}

//! Messages on stdio: one a line (MCP, transports, stdio).
//!
//! Reading is strict about length and about nothing else; the parser judges the line. Writing is
//! where a hidden message could slip through: a peer may end lines not only at `\n` but at a lone
//! `\r` (Python's text streams) or at U+2028 and U+2029 (Node's readline), all of which a valid
//! message may contain. [`to_line`] removes those from what is written.

use std::borrow::Cow;
use std::io::{self, BufRead};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

pub use super::json::DEFAULT_MAX_BYTES;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// A line longer than the limit. It was dropped up to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {max_bytes} bytes")]
pub struct LineTooLong {
    max_bytes: usize,
}

impl LineTooLong {
    /// A stable code for peers and users.
    pub fn code(&self) -> &'static str {
        "line_too_long"
    }
}

/// Splits a stream of bytes into lines of bounded length.
///
/// Feed it what was read and take out lines until there is none. It holds at most the limit plus
/// what was fed last. A line that is too long gives one error, as soon as that is known, and is
/// skipped to its end.
#[derive(Debug)]
pub struct LineSplitter {
    buffer: BytesMut,
    max_bytes: usize,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    skipping: bool,
}

impl LineSplitter {
    /// A splitter for lines of at most `max_bytes`, line end not counted.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_bytes,
            searched: 0,
            skipping: false,
        }
    }

    /// Adds what was read.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next complete line without its `\n`; all other bytes are unchanged.
    pub fn next_line(&mut self) -> Option<Result<Bytes, LineTooLong>> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest).map(|at| at + self.searched);
            let length = end.unwrap_or(self.buffer.len());
            if self.skipping {
                self.searched = 0;
                let Some(end) = end else {
                    self.buffer.clear();
                    return None;
                };
                self.buffer.advance(end + 1);
                self.skipping = false;
                continue;
            }
            if length > self.max_bytes {
                self.skipping = true;
                return Some(Err(LineTooLong {
                    max_bytes: self.max_bytes,
                }));
            }
            let Some(end) = end else {
                self.searched = self.buffer.len();
                return None;
            };
            self.searched = 0;
            let line = self.buffer.split_to(end).freeze();
            self.buffer.advance(1);
            return Some(Ok(line));
        }
    }

    /// What is left when the stream ends: a last line without line end, if there is one.
    ///
    /// Call it after [`LineSplitter::next_line`] has returned `None`.
    pub fn finish(&mut self) -> Option<Bytes> {
        self.searched = 0;
        let rest = self.buffer.split().freeze();
        (!self.skipping && !rest.is_empty()).then_some(rest)
    }
}

impl Default for LineSplitter {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BYTES)
    }
}

/// The lines of a blocking reader.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    splitter: LineSplitter,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`, each of at most `max_bytes`.
    pub fn new(reader: R, max_bytes: usize) -> Self {
        Self {
            reader,
            splitter: LineSplitter::new(max_bytes),
            ended: false,
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Result<Bytes, LineTooLong>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.splitter.next_line() {
                return Some(Ok(line));
            }
            if self.ended {
                return self.splitter.finish().map(|line| Ok(Ok(line)));
            }
            let read = match self.reader.fill_buf() {
                Ok(chunk) => {
                    self.splitter.feed(chunk);
                    chunk.len()
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Some(Err(error)),
            };
            self.reader.consume(read);
            self.ended = read == 0;
        }
    }
}

/// The lines of an asynchronous reader.
#[derive(Debug)]
pub struct AsyncLines<R> {
    reader: R,
    splitter: LineSplitter,
    ended: bool,
}

impl<R: AsyncRead + Unpin> AsyncLines<R> {
    /// The lines of `reader`, each of at most `max_bytes`.
    pub fn new(reader: R, max_bytes: usize) -> Self {
        Self {
            reader,
            splitter: LineSplitter::new(max_bytes),
            ended: false,
        }
    }

    /// The next line; `None` at the end of the stream. Loses nothing when cancelled.
    pub async fn next(&mut self) -> io::Result<Option<Result<Bytes, LineTooLong>>> {
        loop {
            if let Some(line) = self.splitter.next_line() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(self.splitter.finish().map(Ok));
            }
            self.splitter.buffer.reserve(READ_BYTES);
            let read = self.reader.read_buf(&mut self.splitter.buffer).await?;
            self.ended = read == 0;
        }
    }
}

/// A scanned message in a form that every reader takes for one line, without the line end.
///
/// Nearly always these are the same bytes. Otherwise the result is the same JSON: line breaks
/// between tokens become spaces, and U+0085, U+2028 and U+2029, which can only stand in strings,
/// are escaped. The result never contains a line break of any kind.
pub fn to_line(message: &[u8]) -> Cow<'_, [u8]> {
    let mut found = next_unicode_break(message);
    if found.is_none() && memchr::memchr2(b'\n', b'\r', message).is_none() {
        return Cow::Borrowed(message);
    }
    let mut out = Vec::with_capacity(message.len() + 16);
    let mut rest = message;
    while let Some((before, escape, after)) = found {
        out.extend_from_slice(before);
        out.extend_from_slice(escape);
        rest = after;
        found = next_unicode_break(rest);
    }
    out.extend_from_slice(rest);
    for byte in &mut out {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    Cow::Owned(out)
}

/// What stands before the first line break beyond ASCII, its escape, and what stands after.
fn next_unicode_break(text: &[u8]) -> Option<(&[u8], &'static [u8], &[u8])> {
    memchr::memchr2_iter(0xc2, 0xe2, text).find_map(|at| {
        let (before, from) = text.split_at_checked(at)?;
        let (escape, after): (&[u8], _) = match from {
            [0xc2, 0x85, after @ ..] => (b"\\u0085", after),
            [0xe2, 0x80, 0xa8, after @ ..] => (b"\\u2028", after),
            [0xe2, 0x80, 0xa9, after @ ..] => (b"\\u2029", after),
            _ => return None,
        };
        Some((before, escape, after))
    })
}

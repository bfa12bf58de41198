//! What a request asks for: method, path and query, in the one spelling that everybody reads alike.
//!
//! A policy looks at the text of a path, the API at what it makes of it. So a path that could be
//! made into another one is refused: dot segments, empty segments, parameters of segments, escapes
//! of what needs none. Spec: http §3.

use axum::http::Method;
use counterfoil_protocol::names::{ToolName, Verb};

/// The methods that are passed on.
pub(crate) const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The most bytes of a path.
const MAX_PATH: usize = ToolName::MAX_BYTES;
/// The most bytes of a query.
const MAX_QUERY: usize = 4 * 1024;

/// The target of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) method: Method,
    /// Begins with a slash.
    pub(crate) path: String,
    /// Without the question mark; none where there is no question mark.
    pub(crate) query: Option<String>,
    pub(crate) verb: Verb,
    pub(crate) tool: ToolName,
}

/// Why a target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("the method is none of DELETE, GET, HEAD, OPTIONS, PATCH, POST and PUT")]
    Method,
    #[error("the path can be read in more than one way: {0}")]
    Path(&'static str),
    #[error("the query can be read in more than one way: {0}")]
    Query(&'static str),
}

impl TargetError {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Method => "method_not_supported",
            Self::Path(_) => "path_not_canonical",
            Self::Query(_) => "query_not_canonical",
        }
    }

    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Method => 501,
            Self::Path(_) | Self::Query(_) => 400,
        }
    }
}

impl Target {
    /// Reads a target. `path` begins with a slash.
    pub(crate) fn read(
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> Result<Self, TargetError> {
        if !METHODS.contains(&method.as_str()) {
            return Err(TargetError::Method);
        }
        check_path(path).map_err(TargetError::Path)?;
        if let Some(query) = query {
            check_query(query).map_err(TargetError::Query)?;
        }
        Ok(Self {
            method: method.clone(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            verb: Verb::new(method.as_str()).map_err(|_| TargetError::Method)?,
            tool: ToolName::new(path).map_err(|_| TargetError::Path("it is too long"))?,
        })
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.len() > MAX_PATH {
        return Err("it is longer than 1024 bytes");
    }
    let inside = path.strip_prefix('/').ok_or("it begins with no slash")?;
    let mut segments = inside.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment.is_empty() && !is_last {
            return Err("it has two slashes in a row");
        }
        if matches!(segment, "." | "..") {
            return Err("it has a segment `.` or `..`");
        }
    }
    check_escapes(path)
}

fn check_query(query: &str) -> Result<(), &'static str> {
    if query.len() > MAX_QUERY {
        return Err("it is longer than 4096 bytes");
    }
    // What a query means is the API's business alone, so its escapes may be any.
    let mut bytes = query.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let escaped = [bytes.next(), bytes.next()];
            let digits = escaped.iter().flatten();
            if digits.filter(|byte| byte.is_ascii_hexdigit()).count() != 2 {
                return Err("it has a `%` without two hexadecimal digits");
            }
        } else if !is_unreserved(byte) && !b"!$&()*+,;=:@/?[]".contains(&byte) {
            return Err("it has a character that must be escaped");
        }
    }
    Ok(())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Checks the characters of a path, and its escapes: each in one spelling, and none of what is
/// taken for a separator when it is unescaped too often.
fn check_escapes(text: &str) -> Result<(), &'static str> {
    const ESCAPE: &str = "it has a `%` without two hexadecimal digits in capitals";
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !is_unreserved(byte) && !b"!$&'()*+,=:@/".contains(&byte) {
                return Err("it has a character that must be escaped");
            }
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next().and_then(digit), bytes.next().and_then(digit))
        else {
            return Err(ESCAPE);
        };
        let escaped = high << 4 | low;
        if is_unreserved(escaped) {
            return Err("it escapes a character that needs no escape");
        }
        if matches!(escaped, b'/' | b'\\' | b'%') || escaped < 0x20 || escaped == 0x7f {
            return Err("it escapes a slash, a backslash, `%` or a control character");
        }
        decoded.push(escaped);
    }
    match std::str::from_utf8(&decoded) {
        Ok(_) => Ok(()),
        Err(_) => Err("what it escapes is not UTF-8"),
    }
}

/// The value of a hexadecimal digit in capitals.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

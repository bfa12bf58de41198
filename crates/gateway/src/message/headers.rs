//! HTTP headers that repeat what the body says (MCP 2026-07-28, transports, request metadata).
//!
//! Something between the two gateways may route or limit by these headers, so a request whose
//! headers and body disagree is refused. `Mcp-Param-*` headers can only be checked by who knows
//! the tool's schema; they are passed on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::call::stated_version;
use super::envelope::{Body, Message};
use super::methods::Revision;

/// The header that names the protocol revision.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The header that repeats the method.
pub const METHOD: &str = "mcp-method";
/// The header that repeats the name of the tool or prompt, or the URI of the resource.
pub const NAME: &str = "mcp-name";

/// A header that does not agree with the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header `{header}` {detail}")]
pub struct HeaderMismatch {
    header: &'static str,
    detail: &'static str,
}

impl HeaderMismatch {
    /// A stable code for peers and users.
    pub fn code(&self) -> &'static str {
        "header_mismatch"
    }
}

/// Checks the headers of a POST, as pairs of name and value, against the message in its body.
///
/// A request that states a revision without sessions must have them all. With older revisions
/// they may be missing, but what is there must agree.
pub fn check<'h>(
    message: &Message,
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
) -> Result<(), HeaderMismatch> {
    let found = Found::of(headers)?;
    let (Body::Request { method, .. } | Body::Notification { method, .. }) = message.body() else {
        return Ok(());
    };
    let version = stated_version(message);
    let is_stateless = |text: &str| Revision::parse(text).is_some_and(Revision::is_stateless);
    let required = version.as_deref().is_some_and(is_stateless);
    match (&version, found.version) {
        (Some(stated), Some(header)) => agree(PROTOCOL_VERSION, stated, header)?,
        (None, Some(header)) if std::str::from_utf8(header).is_ok_and(is_stateless) => {
            // Notifications of that revision state none, and it defines none over HTTP.
            if matches!(message.body(), Body::Request { .. }) {
                return Err(mismatch(
                    PROTOCOL_VERSION,
                    "names a revision that the body does not",
                ));
            }
        }
        (Some(_), None) if required => return Err(missing(PROTOCOL_VERSION)),
        _ => {}
    }
    match found.method {
        Some(header) => agree(METHOD, method, header)?,
        None if required => return Err(missing(METHOD)),
        None => {}
    }
    let Some(source) = name_member(method) else {
        return Ok(());
    };
    match found.name {
        Some(header) => {
            let header = decode(header)?;
            let name = message.text_at(&["params", source]).unwrap_or_default();
            agree(NAME, &name, &header)
        }
        None if required => Err(missing(NAME)),
        None => Ok(()),
    }
}

/// The value of [`NAME`] for a message; none where there is nothing to repeat.
pub fn name_of(message: &Message) -> Option<String> {
    let source = name_member(message.method()?)?;
    let name = message.text_at(&["params", source])?;
    let plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let framed = name.starts_with("=?") || name.trim() != name;
    if plain && !framed {
        return Some(name);
    }
    Some(format!("=?base64?{}?=", STANDARD.encode(name)))
}

/// The member of `params` that [`NAME`] repeats.
fn name_member(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        _ => None,
    }
}

#[derive(Default)]
struct Found<'h> {
    version: Option<&'h [u8]>,
    method: Option<&'h [u8]>,
    name: Option<&'h [u8]>,
}

impl<'h> Found<'h> {
    fn of(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Result<Self, HeaderMismatch> {
        let mut found = Self::default();
        for (name, value) in headers {
            let (header, place) = if name.eq_ignore_ascii_case(PROTOCOL_VERSION) {
                (PROTOCOL_VERSION, &mut found.version)
            } else if name.eq_ignore_ascii_case(METHOD) {
                (METHOD, &mut found.method)
            } else if name.eq_ignore_ascii_case(NAME) {
                (NAME, &mut found.name)
            } else {
                continue;
            };
            if place.replace(value.trim_ascii()).is_some() {
                return Err(mismatch(header, "occurs more than once"));
            }
        }
        Ok(found)
    }
}

/// The value of a header in which text beyond ASCII stands as `=?base64?...?=`.
fn decode(header: &[u8]) -> Result<Vec<u8>, HeaderMismatch> {
    let encoded = header
        .strip_prefix(b"=?base64?")
        .and_then(|rest| rest.strip_suffix(b"?="));
    match encoded {
        Some(encoded) => STANDARD
            .decode(encoded)
            .map_err(|_| mismatch(NAME, "is not valid base64")),
        None => Ok(header.to_vec()),
    }
}

fn agree(header: &'static str, body: &str, value: &[u8]) -> Result<(), HeaderMismatch> {
    if body.as_bytes() == value {
        return Ok(());
    }
    Err(mismatch(header, "does not agree with the body"))
}

fn missing(header: &'static str) -> HeaderMismatch {
    mismatch(header, "is missing")
}

fn mismatch(header: &'static str, detail: &'static str) -> HeaderMismatch {
    HeaderMismatch { header, detail }
}

//! Which headers go on, which of them records commit to, and which requests are refused for what
//! their headers say.
//!
//! A header that changes what a request does and that no record covers could be added or changed
//! on the way: `X-HTTP-Method-Override` turns a GET into a DELETE. So only listed headers go on,
//! and records cover each of them that an API may act on. Spec: http §4.

use std::collections::BTreeMap;

use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Version};

use super::evidence_header::EVIDENCE;

/// Headers of a request that go on and are committed to, in the order of their names.
const REQUEST_COMMITTED: [&str; 10] = [
    "content-encoding",
    "content-language",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "prefer",
    "range",
];
/// Headers of a request that go on and are not committed to: what comes back is, whatever they say.
const REQUEST_PASSED: [&str; 5] = [
    "accept",
    "accept-language",
    "baggage",
    "traceparent",
    "tracestate",
];
/// Headers of a response that go back and are committed to, in the order of their names.
const RESPONSE_COMMITTED: [&str; 12] = [
    "allow",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "link",
    "location",
    "retry-after",
];
/// Headers of a response that go back and are not committed to: for caches only.
const RESPONSE_PASSED: [&str; 3] = ["cache-control", "expires", "vary"];
/// Those of which a response may have several lines, which become one.
const LISTS: [&str; 4] = ["allow", "content-encoding", "content-language", "link"];

/// The most bytes of one header's value.
const MAX_VALUE: usize = 4 * 1024;

/// Committed headers: names in small letters, in order, each with one value.
pub(crate) type Committed = BTreeMap<&'static str, String>;

/// Why a message is refused for its headers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("`{0}` stands more than once")]
    Repeated(&'static str),
    #[error("`{0}` has characters other than visible ASCII and blanks, or more than 4096 bytes")]
    Unreadable(&'static str),
    #[error("`Content-Length` and `Transfer-Encoding` contradict each other")]
    Framing,
    #[error("`{0}` asks for another protocol on this connection")]
    Upgrade(&'static str),
    #[error("the request is not HTTP/1.1")]
    Version,
    #[error("only a gateway may write `Counterfoil-Evidence`")]
    EvidencePresent,
    #[error("`Connection` names a header that the API acts on")]
    Connection,
}

impl HeaderError {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Repeated(_) => "header_repeated",
            Self::Unreadable(_) => "header_unreadable",
            Self::Framing => "framing_ambiguous",
            Self::Upgrade(_) => "upgrade_not_supported",
            Self::Version => "http_version_not_supported",
            Self::EvidencePresent => "evidence_header_present",
            Self::Connection => "connection_header_invalid",
        }
    }

    pub(crate) const fn status(&self) -> u16 {
        match self {
            Self::Upgrade(_) => 501,
            Self::Version => 505,
            _ => 400,
        }
    }
}

/// Refuses what two readers of the same connection could take for different requests.
pub(crate) fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), HeaderError> {
    if version != Version::HTTP_11 {
        return Err(HeaderError::Version);
    }
    let count = |name: &HeaderName| headers.get_all(name).iter().count();
    if count(&TRANSFER_ENCODING) > 0 {
        let plain = headers
            .get(TRANSFER_ENCODING)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if count(&CONTENT_LENGTH) > 0 || count(&TRANSFER_ENCODING) > 1 || !plain {
            return Err(HeaderError::Framing);
        }
    }
    if count(&CONTENT_LENGTH) > 1 {
        return Err(HeaderError::Framing);
    }
    if count(&HOST) > 1 {
        return Err(HeaderError::Repeated("host"));
    }
    if headers.contains_key(UPGRADE) {
        return Err(HeaderError::Upgrade("Upgrade"));
    }
    for value in headers.get_all(CONNECTION) {
        let value = value.to_str().map_err(|_| HeaderError::Connection)?;
        for name in value
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
        {
            if name == "upgrade" {
                return Err(HeaderError::Upgrade("Connection"));
            }
            // A reader in between would have taken it out.
            if REQUEST_COMMITTED.contains(&name.as_str()) || name == EVIDENCE.as_str() {
                return Err(HeaderError::Connection);
            }
        }
    }
    Ok(())
}

/// Whether the connection must end with the answer: what follows a chunked body on it may have
/// been meant for another reader.
pub(crate) fn ends_connection(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
}

/// The committed headers of a request. None of them may stand twice.
pub(crate) fn of_request(headers: &HeaderMap) -> Result<Committed, HeaderError> {
    let mut committed = Committed::new();
    for name in REQUEST_COMMITTED {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(HeaderError::Repeated(name));
        }
        committed.insert(name, text(value).ok_or(HeaderError::Unreadable(name))?);
    }
    Ok(committed)
}

/// The committed headers of a response. Several lines of a list become one; a value that is not
/// text does not go back.
pub(crate) fn of_response(headers: &HeaderMap) -> Result<Committed, HeaderError> {
    let mut committed = Committed::new();
    for name in RESPONSE_COMMITTED {
        let values: Vec<String> = headers.get_all(name).iter().filter_map(text).collect();
        let value = match values.as_slice() {
            [] => continue,
            [one] => one.clone(),
            more if LISTS.contains(&name) => more.join(", "),
            _ => return Err(HeaderError::Repeated(name)),
        };
        committed.insert(name, value);
    }
    Ok(committed)
}

/// The headers of a request that go on.
pub(crate) fn onward(committed: &Committed, headers: &HeaderMap) -> HeaderMap {
    carried(committed, headers, &REQUEST_PASSED)
}

/// The headers of a response that go back.
pub(crate) fn back(committed: &Committed, headers: &HeaderMap) -> HeaderMap {
    carried(committed, headers, &RESPONSE_PASSED)
}

fn carried(committed: &Committed, headers: &HeaderMap, passed: &[&'static str]) -> HeaderMap {
    let mut carried = HeaderMap::new();
    for (name, value) in committed {
        if let Ok(value) = HeaderValue::from_str(value) {
            carried.insert(HeaderName::from_static(name), value);
        }
    }
    for name in passed {
        for value in headers.get_all(*name) {
            carried.append(HeaderName::from_static(name), value.clone());
        }
    }
    carried
}

/// Whether the content is JSON by its type and not encoded in another way.
pub(crate) fn is_json(committed: &Committed) -> bool {
    if committed.contains_key("content-encoding") {
        return false;
    }
    let Some(kind) = committed.get(CONTENT_TYPE.as_str()) else {
        return false;
    };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn text(value: &HeaderValue) -> Option<String> {
    let bytes = value.as_bytes();
    let plain = bytes.len() <= MAX_VALUE && bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
    plain
        .then(|| value.to_str().ok().map(|text| text.trim().to_owned()))
        .flatten()
}

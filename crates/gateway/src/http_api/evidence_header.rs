//! The header `Counterfoil-Evidence`: an envelope as a dictionary of structured fields (RFC 9651).
//!
//! ```text
//! Counterfoil-Evidence: records=(:<base64>: :<base64>:), salt=:<base64>:, disclosures=(:<base64>:), receipt=:<base64>:
//! Counterfoil-Evidence: ref=:<base64>:, salt=:<base64>:
//! ```
//!
//! One spelling only: these members, in this order, with these blanks. The second form names the
//! last record by its id; it, those before it and its receipt have gone another way. Spec: http §6.

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_enforcer::call::{Envelope, MAX_ENVELOPE_RECORDS};
use counterfoil_protocol::cose::MAX_BYTES as MAX_RECORD_BYTES;
use counterfoil_protocol::digest::{RecordId, Salt};
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::receipt::MAX_DISCLOSURES;

/// The header's name.
pub(crate) const EVIDENCE: HeaderName = HeaderName::from_static("counterfoil-evidence");
/// The most bytes of its value.
pub(crate) const MAX_VALUE: usize = 8 * 1024;

/// What the header holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The records themselves.
    Records(Envelope),
    /// The id of the last record, and what else is in the envelope: neither records nor a receipt.
    Reference(RecordId, Envelope),
}

/// Why the header is no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`Counterfoil-Evidence` is malformed: {0}")]
pub(crate) struct Malformed(&'static str);

impl Evidence {
    /// An envelope by reference to its last record, whose id this is.
    pub(crate) fn by_reference(id: RecordId, envelope: Envelope) -> Self {
        let rest = Envelope {
            records: Vec::new(),
            receipt: None,
            ..envelope
        };
        Self::Reference(id, rest)
    }

    /// The header's value, if it is short enough.
    pub(crate) fn encode(&self) -> Option<HeaderValue> {
        let mut members = Vec::new();
        let envelope = match self {
            Self::Records(envelope) => {
                members.push(format!("records={}", list(envelope.records.iter())));
                envelope
            }
            Self::Reference(id, envelope) => {
                members.push(format!("ref={}", bytes(id.as_bytes())));
                envelope
            }
        };
        if let Some(salt) = &envelope.salt {
            members.push(format!("salt={}", bytes(salt.as_bytes())));
        }
        if !envelope.disclosures.is_empty() {
            let encoded: Vec<Vec<u8>> = envelope
                .disclosures
                .iter()
                .map(Disclosure::encode)
                .collect();
            members.push(format!("disclosures={}", list(encoded.iter())));
        }
        if let (Self::Records(_), Some(receipt)) = (self, &envelope.receipt) {
            members.push(format!("receipt={}", bytes(receipt)));
        }
        let value = members.join(", ");
        if value.len() > MAX_VALUE {
            return None;
        }
        HeaderValue::from_str(&value).ok()
    }

    /// Reads the header; none if there is none.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let mut values = headers.get_all(EVIDENCE).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                let text = value.to_str().map_err(|_| Malformed("it is not ASCII"))?;
                Self::parse(text).map(Some)
            }
            _ => Err(Malformed("it stands more than once")),
        }
    }

    fn parse(text: &str) -> Result<Self, Malformed> {
        const MEMBERS: Malformed = Malformed("its members are not the known ones, in their order");
        if text.len() > MAX_VALUE {
            return Err(Malformed("it is longer than 8192 bytes"));
        }
        let mut members = text.split(", ").peekable();
        let mut envelope = Envelope::default();
        let first = members.next().ok_or(MEMBERS)?;
        let reference = match (first.strip_prefix("records="), first.strip_prefix("ref=")) {
            (Some(records), _) => {
                envelope.records = read_list(records, MAX_ENVELOPE_RECORDS, MAX_RECORD_BYTES)?
                    .into_iter()
                    .map(Into::into)
                    .collect();
                None
            }
            (None, Some(id)) => {
                let id = <[u8; 32]>::try_from(read_bytes(id)?)
                    .map_err(|_| Malformed("`ref` is not 32 bytes"))?;
                Some(RecordId::from_bytes(id))
            }
            (None, None) => return Err(MEMBERS),
        };
        if let Some(salt) = members.peek().and_then(|text| text.strip_prefix("salt=")) {
            let salt = <[u8; 16]>::try_from(read_bytes(salt)?)
                .map_err(|_| Malformed("`salt` is not 16 bytes"))?;
            envelope.salt = Some(Salt::from_bytes(salt));
            members.next();
        }
        if let Some(text) = members
            .peek()
            .and_then(|text| text.strip_prefix("disclosures="))
        {
            let encoded = read_list(text, MAX_DISCLOSURES, MAX_VALUE)?;
            if encoded.is_empty() {
                return Err(Malformed("`disclosures` is empty"));
            }
            envelope.disclosures = encoded
                .iter()
                .map(|bytes| Disclosure::parse(bytes).map_err(|_| Malformed("a disclosure")))
                .collect::<Result<_, _>>()?;
            members.next();
        }
        if reference.is_none()
            && let Some(text) = members
                .peek()
                .and_then(|text| text.strip_prefix("receipt="))
        {
            let receipt = read_bytes(text)?;
            if receipt.is_empty() {
                return Err(Malformed("`receipt` is empty"));
            }
            envelope.receipt = Some(receipt);
            members.next();
        }
        if members.next().is_some() {
            return Err(MEMBERS);
        }
        Ok(match reference {
            Some(id) => Self::Reference(id, envelope),
            None => Self::Records(envelope),
        })
    }
}

fn bytes(bytes: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(bytes))
}

fn list<T: AsRef<[u8]>>(items: impl Iterator<Item = T>) -> String {
    let items: Vec<String> = items.map(|item| bytes(item.as_ref())).collect();
    format!("({})", items.join(" "))
}

fn read_bytes(text: &str) -> Result<Vec<u8>, Malformed> {
    text.strip_prefix(':')
        .and_then(|rest| rest.strip_suffix(':'))
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or(Malformed(
            "it has something else than strict base64 between colons",
        ))
}

fn read_list(text: &str, most: usize, most_bytes: usize) -> Result<Vec<Vec<u8>>, Malformed> {
    let inside = text
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .ok_or(Malformed("a list is not in brackets"))?;
    if inside.is_empty() {
        return Ok(Vec::new());
    }
    let items: Vec<Vec<u8>> = inside
        .split(' ')
        .map(read_bytes)
        .collect::<Result<_, _>>()?;
    if items.len() > most || items.iter().any(|item| item.len() > most_bytes) {
        return Err(Malformed("a list is too long"));
    }
    Ok(items)
}

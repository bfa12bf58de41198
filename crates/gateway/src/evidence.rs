//! The value of the evidence member: an [`Envelope`] as JSON.
//!
//! `{"records":["<base64>",…],"salt":"<base64 of 16 bytes>","disclosures":["<base64>",…],
//! "receipt":"<base64>"}`, without white space, base64 of the standard alphabet with padding. Reading
//! is strict: exactly these members, the last three optional, nothing twice, no bits left over.
//! Spec: mcp §3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_enforcer::call::{Envelope, MAX_ENVELOPE_RECORDS};
use counterfoil_protocol::cose::MAX_BYTES as MAX_RECORD_BYTES;
use counterfoil_protocol::digest::Salt;
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::receipt::MAX_DISCLOSURES;
use serde::Deserialize;

/// Why a value is not an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the evidence is not an envelope: {0}")]
pub struct EvidenceError(String);

impl EvidenceError {
    /// A stable code for peers and users.
    pub const fn code(&self) -> &'static str {
        "evidence_malformed"
    }
}

/// Writes an envelope.
pub fn encode(envelope: &Envelope) -> Vec<u8> {
    let bytes: usize = envelope.records.iter().map(|record| record.len()).sum();
    let mut out = String::with_capacity(bytes / 3 * 4 + envelope.records.len() * 8 + 64);
    out.push_str("{\"records\":[");
    for (index, record) in envelope.records.iter().enumerate() {
        out.push_str(if index == 0 { "\"" } else { ",\"" });
        STANDARD.encode_string(record, &mut out);
        out.push('"');
    }
    out.push(']');
    if let Some(salt) = &envelope.salt {
        out.push_str(",\"salt\":\"");
        STANDARD.encode_string(salt.as_bytes(), &mut out);
        out.push('"');
    }
    for (index, disclosure) in envelope.disclosures.iter().enumerate() {
        out.push_str(if index == 0 {
            ",\"disclosures\":[\""
        } else {
            ",\""
        });
        STANDARD.encode_string(disclosure.encode(), &mut out);
        out.push('"');
    }
    if !envelope.disclosures.is_empty() {
        out.push(']');
    }
    if let Some(receipt) = &envelope.receipt {
        out.push_str(",\"receipt\":\"");
        STANDARD.encode_string(receipt, &mut out);
        out.push('"');
    }
    out.push('}');
    out.into_bytes()
}

/// Reads an envelope.
///
/// # Errors
/// [`EvidenceError`] when it is anything but what [`encode`] writes, up to white space.
pub fn decode(value: &[u8]) -> Result<Envelope, EvidenceError> {
    let members: Members =
        serde_json::from_slice(value).map_err(|error| EvidenceError(error.to_string()))?;
    if members.records.len() > MAX_ENVELOPE_RECORDS {
        return Err(EvidenceError(format!(
            "{} records, at most {MAX_ENVELOPE_RECORDS} are allowed",
            members.records.len()
        )));
    }
    let records = members
        .records
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let bytes = STANDARD
                .decode(text)
                .map_err(|_| EvidenceError(format!("record {index} is not strict base64")))?;
            if bytes.len() > MAX_RECORD_BYTES {
                return Err(EvidenceError(format!(
                    "record {index} has more than {MAX_RECORD_BYTES} bytes"
                )));
            }
            Ok(bytes.into())
        })
        .collect::<Result<_, _>>()?;
    let salt = members
        .salt
        .map(|text| {
            let mut salt = [0; 16];
            match STANDARD.decode_slice(&text, &mut salt) {
                Ok(16) => Ok(Salt::from_bytes(salt)),
                _ => Err(EvidenceError("the salt is not 16 bytes of base64".into())),
            }
        })
        .transpose()?;
    let disclosures = match members.disclosures {
        None => Vec::new(),
        Some(texts) if texts.is_empty() || texts.len() > MAX_DISCLOSURES => {
            return Err(EvidenceError(format!("{} disclosures", texts.len())));
        }
        Some(texts) => texts
            .iter()
            .map(|text| disclosure(text))
            .collect::<Result<_, _>>()?,
    };
    let receipt = members
        .receipt
        .map(|text| match STANDARD.decode(text) {
            Ok(receipt) if !receipt.is_empty() => Ok(receipt),
            _ => Err(EvidenceError("the receipt is not strict base64".into())),
        })
        .transpose()?;
    Ok(Envelope {
        records,
        salt,
        disclosures,
        receipt,
    })
}

fn disclosure(text: &str) -> Result<Disclosure, EvidenceError> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| EvidenceError("a disclosure is not strict base64".into()))?;
    Disclosure::parse(&bytes).map_err(|failure| EvidenceError(format!("a disclosure: {failure}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    records: Vec<String>,
    #[serde(default, deserialize_with = "present")]
    salt: Option<String>,
    #[serde(default, deserialize_with = "present")]
    disclosures: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    receipt: Option<String>,
}

/// A member that may be missing but not null.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use counterfoil_protocol::disclosure::DisclosedField;

    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            records: vec![vec![0xff, 0x00, 0x10].into(), vec![].into()],
            salt: Some(Salt::from_bytes([7; 16])),
            disclosures: vec![Disclosure {
                field: DisclosedField::Session,
                salt: Salt::from_bytes([0; 16]),
                content: b"s".to_vec(),
            }],
            receipt: Some(vec![0xa1, 0x00]),
        }
    }

    #[test]
    fn an_envelope_survives_the_wire() {
        let encoded = encode(&envelope());
        assert_eq!(
            encoded,
            br#"{"records":["/wAQ",""],"salt":"BwcHBwcHBwcHBwcHBwcHBw==","disclosures":["g1AAAAAAAAAAAAAAAAAAAAAAQXMW"],"receipt":"oQA="}"#
        );
        assert_eq!(decode(&encoded), Ok(envelope()));
        let bare = Envelope::default();
        assert_eq!(decode(&encode(&bare)), Ok(bare));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            r#"{}"#,
            r#"[]"#,
            r#"{"records":"/wAQ"}"#,
            r#"{"records":[1]}"#,
            r#"{"records":["/wA"]}"#,
            r#"{"records":["/wAQ="]}"#,
            r#"{"records":["/x=="]}"#,
            r#"{"records":["_wAQ"]}"#,
            r#"{"records":["/wA Q"]}"#,
            r#"{"records":[],"salt":null}"#,
            r#"{"records":[],"salt":"BwcH"}"#,
            r#"{"records":[],"salt":"BwcHBwcHBwcHBwcHBwcHBwcH"}"#,
            r#"{"records":[],"disclosures":[]}"#,
            r#"{"records":[],"disclosures":null}"#,
            r#"{"records":[],"receipt":null}"#,
            r#"{"records":[],"receipt":""}"#,
            r#"{"records":[],"receipt":"oQA"}"#,
            r#"{"records":[],"disclosures":["g1AAAAAAAAAAAAAAAAAAAAAAQXMWFg=="]}"#,
            r#"{"records":[],"more":1}"#,
            r#"{"records":[],"records":[]}"#,
            r#"{"records":[]} x"#,
        ] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = format!(r#"{{"records":[{}""]}}"#, "\"\",".repeat(512));
        assert!(decode(many.as_bytes()).is_err());
    }
}

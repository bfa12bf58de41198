//! Evidence from elsewhere that a call or a result refers to: a member of `_meta`, which agents
//! and tools write and the gateway only reads.
//!
//! `[{"kind":"…","digest":"sha-256:<hex>","location":"…"},…]`, the location optional. It stays where
//! it is, so the digests of parameters and results cover it. Spec: mcp §9.

use counterfoil_protocol::Failure;
use counterfoil_protocol::attestation::{Attestation, AttestationDigest, MAX_ATTESTATIONS};
use counterfoil_protocol::names::{AttestationKind, Location};
use serde::{Deserialize, Serialize};

use super::envelope::Message;

/// The member of `params._meta` or `result._meta`.
pub const ATTESTATIONS_KEY: &str = "dev.counterfoil/attestations";
/// The most bytes of its value: what a record has room for beside everything else.
pub const MAX_BYTES: usize = 8192;

/// The schemes that a location may have: something is fetched or looked up by them, and nothing is
/// run, opened on this machine, or carried in the location itself.
pub const LOCATION_SCHEMES: [&str; 12] = [
    "https", "http", "ipfs", "ipns", "ar", "oci", "s3", "gs", "ftp", "sftp", "urn", "did",
];

/// Why the member is not a list of attestations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the member `dev.counterfoil/attestations` is malformed: {0}")]
pub struct AttestationsError(String);

impl AttestationsError {
    /// A stable code for peers and users.
    pub const fn code(&self) -> &'static str {
        "attestations_malformed"
    }
}

impl From<Failure> for AttestationsError {
    fn from(failure: Failure) -> Self {
        Self(failure.detail().to_owned())
    }
}

/// One attestation as JSON.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: String,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<String>,
}

/// What the parameters of a request refer to; nothing without the member.
///
/// # Errors
/// [`AttestationsError`].
pub fn of_parameters(message: &Message) -> Result<Vec<Attestation>, AttestationsError> {
    read(message, "params")
}

/// What a result refers to; nothing without the member.
///
/// # Errors
/// [`AttestationsError`].
pub fn of_result(message: &Message) -> Result<Vec<Attestation>, AttestationsError> {
    read(message, "result")
}

/// The value of the member for these attestations.
pub fn encode(attestations: &[Attestation]) -> String {
    let entries: Vec<Entry> = attestations
        .iter()
        .map(|attestation| Entry {
            kind: attestation.kind.as_str().to_owned(),
            digest: attestation.digest.to_string(),
            location: attestation
                .location
                .as_ref()
                .map(|location| location.as_str().to_owned()),
        })
        .collect();
    // Strings alone can always be written.
    serde_json::to_string(&entries).unwrap_or_default()
}

/// Reads where evidence can be had: a URI of one of [`LOCATION_SCHEMES`].
///
/// # Errors
/// [`AttestationsError`].
pub fn location(text: &str) -> Result<Location, AttestationsError> {
    let location = Location::new(text)?;
    let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
    let known = LOCATION_SCHEMES
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    if known && !rest.is_empty() {
        Ok(location)
    } else {
        let shown: String = text.chars().take(80).collect();
        Err(AttestationsError(format!(
            "`{shown}` is no place to have evidence from: a location begins with one of {}",
            LOCATION_SCHEMES
                .map(|scheme| format!("{scheme}:"))
                .join(" ")
        )))
    }
}

fn read(message: &Message, part: &str) -> Result<Vec<Attestation>, AttestationsError> {
    let Some(value) = message.at(&[part, "_meta", ATTESTATIONS_KEY]) else {
        return Ok(Vec::new());
    };
    let bytes = value.span.of(message.bytes());
    if bytes.len() > MAX_BYTES {
        let detail = format!("{} bytes, at most {MAX_BYTES} are allowed", bytes.len());
        return Err(AttestationsError(detail));
    }
    decode(bytes)
}

fn decode(bytes: &[u8]) -> Result<Vec<Attestation>, AttestationsError> {
    // The strict scan of the message has refused names that occur twice.
    let entries: Vec<Entry> = serde_json::from_slice(bytes)
        .map_err(|_| AttestationsError("not a list of kind, digest and location".to_owned()))?;
    if entries.is_empty() || entries.len() > MAX_ATTESTATIONS {
        let detail = format!("{} entries, 1 to {MAX_ATTESTATIONS} may be", entries.len());
        return Err(AttestationsError(detail));
    }
    entries
        .into_iter()
        .map(|entry| {
            Ok(Attestation {
                kind: AttestationKind::new(entry.kind)?,
                digest: AttestationDigest::parse(&entry.digest)?,
                location: entry.location.as_deref().map(location).transpose()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha-256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn call(value: &str) -> Message {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t",
               "_meta":{{"dev.counterfoil/attestations":{value}}}}}}}"#
        );
        Message::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value = format!(
            r#"[{{"kind":"application/vnd.in-toto+json","digest":"{DIGEST}"}},{{"kind":"urn:x","digest":"{DIGEST}","location":"https://a.example/1"}}]"#
        );
        let read = of_parameters(&call(&value)).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].kind.as_str(), "application/vnd.in-toto+json");
        assert_eq!(read[0].digest.to_string(), DIGEST);
        assert!(read[0].location.is_none());
        assert_eq!(
            read[1].location.as_ref().unwrap().as_str(),
            "https://a.example/1"
        );
        assert_eq!(encode(&read), value);
        // A call has none in its result, and one without the member has none at all.
        assert!(of_result(&call(&value)).unwrap().is_empty());
        let without = Message::parse(br#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{}}}"#).unwrap();
        assert!(of_result(&without).unwrap().is_empty());
    }

    #[test]
    fn anything_else_is_malformed() {
        let entry = format!(r#"{{"kind":"urn:x","digest":"{DIGEST}"}}"#);
        let many = |count| format!("[{}]", vec![entry.as_str(); count].join(","));
        assert_eq!(of_parameters(&call(&many(16))).unwrap().len(), 16);
        let long = format!(
            r#"[{{"kind":"urn:x","digest":"{DIGEST}","location":"https://{}"}}]"#,
            "a".repeat(2041)
        );
        let large = format!("[{}]", [long.trim_matches(['[', ']']); 4].join(","));
        for bad in [
            "null".to_owned(),
            "[]".to_owned(),
            entry.clone(),
            "[1]".to_owned(),
            many(17),
            format!(r#"[{{"digest":"{DIGEST}"}}]"#),
            r#"[{"kind":"urn:x"}]"#.to_owned(),
            format!(r#"[{{"kind":"","digest":"{DIGEST}"}}]"#),
            format!(r#"[{{"kind":"two words","digest":"{DIGEST}"}}]"#),
            format!(
                r#"[{{"kind":"urn:x","digest":"{}"}}]"#,
                DIGEST.to_uppercase()
            ),
            r#"[{"kind":"urn:x","digest":"sha-1:aa"}]"#.to_owned(),
            format!(r#"[{{"kind":"urn:x","digest":"{DIGEST}","verified":true}}]"#),
            format!(r#"[{{"kind":"urn:x","digest":"{DIGEST}","location":7}}]"#),
            long,
            large,
        ] {
            let error = of_parameters(&call(&bad)).unwrap_err();
            assert_eq!(error.code(), "attestations_malformed", "{bad}");
        }
    }

    #[test]
    fn it_says_what_is_malformed() {
        let (name, digits) = DIGEST.split_once(':').unwrap();
        let upper = format!("{name}:{}", digits.to_uppercase());
        for (digest, says) in [
            (upper.as_str(), "lower-case hex"),
            ("sha-256:e3b", "lower-case hex"),
            ("sha-256:e3b0", "a sha-256 digest is not 2 bytes"),
            ("SHA-256:e3b0", "begins with `sha-256:`"),
            ("e3b0", "begins with `sha-256:`"),
        ] {
            let bad = format!(r#"[{{"kind":"urn:x","digest":"{digest}"}}]"#);
            let said = of_parameters(&call(&bad)).unwrap_err().to_string();
            assert!(said.contains(says), "{digest}: {said}");
        }
    }

    #[test]
    fn a_location_is_where_something_is_fetched_or_looked_up() {
        for good in [
            "https://a.example/1",
            "HTTP://a.example",
            "ipfs://bafy",
            "urn:uuid:1",
        ] {
            assert_eq!(location(good).unwrap().as_str(), good);
        }
        for bad in [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vbscript:x",
            "a.example/1",
            "https:",
            "https",
            "https://a.example/ 1",
        ] {
            let error = location(bad).unwrap_err();
            assert_eq!(error.code(), "attestations_malformed", "{bad}");
        }
    }
}

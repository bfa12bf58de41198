//! HTTP message signatures (RFC 9421) with enforcer keys, in one fixed form.
//!
//! ```text
//! Signature-Input: sig1=("@method" "@authority" "@path" "@query" "content-digest");created=<unix
//!   seconds>;keyid="<kid in hex>";alg="ed25519";nonce="<hex>";tag="counterfoil-exchange"
//! Signature: sig1=:<base64>:
//! Content-Digest: sha-256=:<base64>:
//! ```
//!
//! `content-digest` is covered if and only if there is a body. Nothing else is accepted: one
//! label, these components, these parameters, in this order. Any RFC 9421 library can produce it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_protocol::digest::KeyThumbprint;
use sha2::{Digest as _, Sha256};

/// The `tag` of every signature, which keeps them apart from those of other protocols.
pub const TAG: &str = "counterfoil-exchange";
/// The most characters of a nonce.
pub const MAX_NONCE: usize = 64;

/// What a signature covers of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Host and, unless it is the scheme's own, port; lower case.
    pub authority: &'a str,
    /// The path as it stands in the request.
    pub path: &'a str,
    /// The query without the question mark; empty if there is none.
    pub query: &'a str,
    /// The digest of the body; none for requests without one.
    pub body: Option<BodyDigest>,
}

/// The SHA-256 of a body, as `Content-Digest` states it (RFC 9530).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyDigest([u8; 32]);

impl BodyDigest {
    /// Of these bytes.
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    /// Reads the value of the header. Any other spelling of the same digest is not accepted.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`].
    pub fn parse(header: &str) -> Result<Self, SignatureError> {
        header
            .strip_prefix("sha-256=:")
            .and_then(|rest| rest.strip_suffix(':'))
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .filter(|digest| digest.to_string() == header)
            .ok_or(SignatureError::Malformed("`Content-Digest`"))
    }

    /// Checks a body once it is there.
    ///
    /// # Errors
    /// [`SignatureError::DigestMismatch`].
    pub fn check(self, body: &[u8]) -> Result<(), SignatureError> {
        if Self::of(body) == self {
            Ok(())
        } else {
            Err(SignatureError::DigestMismatch)
        }
    }
}

impl fmt::Display for BodyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha-256=:{}:", STANDARD.encode(self.0))
    }
}

/// The parameters of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// When it was made, in unix seconds.
    pub created: u64,
    /// The key.
    pub kid: KeyThumbprint,
    /// A text that the key has not used before.
    pub nonce: String,
}

/// The headers that sign a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// `Signature-Input`.
    pub input: String,
    /// `Signature`.
    pub signature: String,
    /// `Content-Digest`, if there is a body.
    pub content_digest: Option<String>,
}

/// Why a request is not acceptably signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing, or not in the one form.
    #[error("the request is not signed in the form this API asks for: {0}")]
    Malformed(&'static str),
    /// The digest is not that of the body.
    #[error("`Content-Digest` is not the digest of the body")]
    DigestMismatch,
}

impl SignatureError {
    /// A stable code for machines.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed(_) => "signature_malformed",
            Self::DigestMismatch => "digest_mismatch",
        }
    }
}

/// Signs a request.
pub fn sign(
    covered: &Covered<'_>,
    parameters: &Parameters,
    signer: impl FnOnce(&[u8]) -> [u8; 64],
) -> SignatureHeaders {
    let value = parameters_text(parameters, covered.body.is_some());
    let base = base(covered, &value);
    SignatureHeaders {
        signature: format!("sig1=:{}:", STANDARD.encode(signer(base.as_bytes()))),
        input: format!("sig1={value}"),
        content_digest: covered.body.map(|digest| digest.to_string()),
    }
}

/// Reads the headers of a request, before its body; returns its parameters, the text that was
/// signed and the signature, which the caller verifies with the key that the parameters name. Then
/// the body must match the digest that was signed ([`BodyDigest::check`]).
///
/// # Errors
/// [`SignatureError`].
pub fn read(
    covered: &Covered<'_>,
    input: &str,
    signature: &str,
) -> Result<(Parameters, String, [u8; 64]), SignatureError> {
    let parameters = parse_input(input).ok_or(SignatureError::Malformed("`Signature-Input`"))?;
    let value = parameters_text(&parameters, covered.body.is_some());
    if input.strip_prefix("sig1=") != Some(value.as_str()) {
        // Also where a body is sent that the signature does not cover.
        return Err(SignatureError::Malformed("`Signature-Input`"));
    }
    let signature = signature
        .strip_prefix("sig1=:")
        .and_then(|rest| rest.strip_suffix(':'))
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(SignatureError::Malformed("`Signature`"))?;
    Ok((parameters, base(covered, &value), signature))
}

/// The key that a request says it is signed with; nothing is checked yet.
pub(super) fn key_named(input: &str) -> Option<KeyThumbprint> {
    Some(parse_input(input)?.kid)
}

fn parameters_text(parameters: &Parameters, with_body: bool) -> String {
    let digest = if with_body { " \"content-digest\"" } else { "" };
    format!(
        "(\"@method\" \"@authority\" \"@path\" \"@query\"{digest});created={};keyid=\"{}\";\
         alg=\"ed25519\";nonce=\"{}\";tag=\"{TAG}\"",
        parameters.created, parameters.kid, parameters.nonce
    )
}

/// RFC 9421 section 2.5.
fn base(covered: &Covered<'_>, parameters: &str) -> String {
    let mut base = format!(
        "\"@method\": {}\n\"@authority\": {}\n\"@path\": {}\n\"@query\": ?{}\n",
        covered.method, covered.authority, covered.path, covered.query
    );
    if let Some(body) = covered.body {
        base.push_str("\"content-digest\": ");
        base.push_str(&body.to_string());
        base.push('\n');
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(parameters);
    base
}

/// Finds the three values that differ between signatures; the rest is compared by writing it
/// again.
fn parse_input(input: &str) -> Option<Parameters> {
    let (_, rest) = input.split_once(");created=")?;
    let (created, rest) = rest.split_once(";keyid=\"")?;
    let (kid, rest) = rest.split_once("\";alg=\"ed25519\";nonce=\"")?;
    let (nonce, _) = rest.split_once('"')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if nonce.is_empty() || nonce.len() > MAX_NONCE || !nonce.bytes().all(plain) {
        return None;
    }
    Some(Parameters {
        created: created.parse().ok()?,
        kid: KeyThumbprint::from_hex(kid).ok()?,
        nonce: nonce.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_protocol::keys::SigningKey;
    use zeroize::Zeroizing;

    const BODY: &[u8] = b"{\"hello\": \"world\"}";

    fn covered() -> Covered<'static> {
        Covered {
            method: "POST",
            authority: "globex.example:7200",
            path: "/exchange/v1/records",
            query: "",
            body: Some(BodyDigest::of(BODY)),
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&Zeroizing::new([5; 32])).unwrap()
    }

    fn parameters() -> Parameters {
        Parameters {
            created: 1_700_000_000,
            kid: key().public().thumbprint(),
            nonce: "b3k2pp5k7z".to_owned(),
        }
    }

    /// The digest is the one RFC 9530 and RFC 9421 appendix B.2 give for this body.
    #[test]
    fn the_signed_text_is_what_rfc_9421_says() {
        let kid = key().public().thumbprint();
        let mut seen = Vec::new();
        let headers = sign(&covered(), &parameters(), |base| {
            seen = base.to_vec();
            [0; 64]
        });
        assert_eq!(
            String::from_utf8(seen).unwrap(),
            format!(
                "\"@method\": POST\n\
                 \"@authority\": globex.example:7200\n\
                 \"@path\": /exchange/v1/records\n\
                 \"@query\": ?\n\
                 \"content-digest\": sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:\n\
                 \"@signature-params\": (\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\");created=1700000000;keyid=\"{kid}\";alg=\"ed25519\";nonce=\"b3k2pp5k7z\";tag=\"counterfoil-exchange\""
            )
        );
        assert!(headers.signature.starts_with("sig1=:AAAA"));
    }

    #[test]
    fn a_signed_request_verifies_and_a_changed_one_does_not() {
        let key = key();
        let headers = sign(&covered(), &parameters(), |base| key.sign(base));
        let verifies = |covered: &Covered<'_>, headers: &SignatureHeaders| {
            let (parameters, base, signature) =
                read(covered, &headers.input, &headers.signature).ok()?;
            key.public().verify(base.as_bytes(), &signature).ok()?;
            Some(parameters)
        };
        assert_eq!(verifies(&covered(), &headers), Some(parameters()));
        for changed in [
            Covered {
                method: "PUT",
                ..covered()
            },
            Covered {
                authority: "evil.example",
                ..covered()
            },
            Covered {
                path: "/exchange/v1/record",
                ..covered()
            },
            Covered {
                query: "from=0",
                ..covered()
            },
            Covered {
                body: Some(BodyDigest::of(b"{}")),
                ..covered()
            },
            Covered {
                body: None,
                ..covered()
            },
        ] {
            assert_eq!(verifies(&changed, &headers), None, "{changed:?}");
        }
        let edits: [(&str, &str); 8] = [
            ("created=1700000000", "created=1700000001"),
            ("created=1700000000", "created=01700000000"),
            ("b3k2pp5k7z", "b3k2pp5k7y"),
            ("\"@method\" ", ""),
            (" \"content-digest\"", ""),
            ("ed25519", "rsa-v1_5-sha256"),
            ("counterfoil-exchange", "other"),
            ("sig1", "sig2"),
        ];
        for (from, to) in edits {
            let mut edited = headers.clone();
            edited.input = edited.input.replacen(from, to, 1);
            assert_ne!(edited.input, headers.input);
            assert_eq!(verifies(&covered(), &edited), None, "{from} -> {to}");
        }
    }

    #[test]
    fn a_digest_has_one_spelling_and_fits_one_body() {
        let header = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
        let digest = BodyDigest::parse(header).unwrap();
        assert_eq!(digest, BodyDigest::of(BODY));
        assert_eq!(digest.to_string(), header);
        assert_eq!(digest.check(BODY), Ok(()));
        assert_eq!(digest.check(b"{}"), Err(SignatureError::DigestMismatch));
        for bad in [
            "",
            "sha-256=:AA==:",
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE:",
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPF=:",
            "SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, sha-512=:AA==:",
            "sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        ] {
            assert!(BodyDigest::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Which operator signed a request.

use std::sync::PoisonError;
use std::time::Duration;

use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode, request};
use counterfoil_protocol::FailureCode;
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::names::OperatorName;

use super::refusal::Refusal;
use super::server::Exchange;
use super::signature::{self, BodyDigest, Covered, SignatureError};

/// How long a request waits for newer manifests.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(5);

/// The code for a request that was signed before we started.
pub(super) const REQUEST_STALE: &str = "request_stale";

const DIGEST: SignatureError = SignatureError::Malformed("`Content-Digest`");

impl Exchange {
    /// The operator that signed a request without a body.
    pub(super) fn authenticate(&self, parts: &request::Parts) -> Result<OperatorName, Refusal> {
        self.verify(parts, false).map(|(operator, _)| operator)
    }

    /// The operator that signed a request with a body, and the digest that the body must have.
    /// Asked before the body is read: only operators that are known send us one.
    pub(super) fn authenticate_with_body(
        &self,
        parts: &request::Parts,
    ) -> Result<(OperatorName, BodyDigest), Refusal> {
        let (operator, digest) = self.verify(parts, true)?;
        let digest = digest.ok_or_else(|| malformed(DIGEST))?;
        Ok((operator, digest))
    }

    fn verify(
        &self,
        parts: &request::Parts,
        with_body: bool,
    ) -> Result<(OperatorName, Option<BodyDigest>), Refusal> {
        let headers = &parts.headers;
        let host = one(headers, HOST.as_str())?.unwrap_or_default();
        if !self.addresses.is_own(host) {
            return Err(Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                "authority_mismatch",
                "the request is signed for another address".to_owned(),
            ));
        }
        let missing = || {
            Refusal::unauthorized(
                "signature_missing",
                "the request is not signed (RFC 9421)".to_owned(),
            )
        };
        let input = one(headers, "signature-input")?.ok_or_else(missing)?;
        let signature = one(headers, "signature")?.ok_or_else(missing)?;
        let body = one(headers, "content-digest")?
            .map(BodyDigest::parse)
            .transpose()
            .map_err(malformed)?;
        if body.is_some() != with_body {
            return Err(malformed(DIGEST));
        }
        let authority = host.to_ascii_lowercase();
        let covered = Covered {
            method: parts.method.as_str(),
            authority: authority.strip_suffix(":80").unwrap_or(&authority),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            body,
        };
        let (parameters, base, signature) =
            signature::read(&covered, input, signature).map_err(malformed)?;

        let now = self.enforcer.environment().clock.now().seconds().get();
        if now.abs_diff(parameters.created) > self.freshness.as_secs() {
            return Err(Refusal::unauthorized(
                "signature_stale",
                format!(
                    "the signature is {} s from our time, at most {} are allowed",
                    now.abs_diff(parameters.created),
                    self.freshness.as_secs()
                ),
            ));
        }
        // The nonces of an earlier run are gone: what may have been answered then is not answered.
        if parameters.created <= self.started {
            return Err(Refusal::unauthorized(
                REQUEST_STALE,
                "the request was signed before this gateway started; sign it again".to_owned(),
            ));
        }
        let (operator, key) = self.signer(parameters.kid)?;
        key.verify(base.as_bytes(), &signature).map_err(|_| {
            Refusal::unauthorized(
                "signature_invalid",
                "the signature does not verify".to_owned(),
            )
        })?;
        let until = parameters.created.saturating_add(self.freshness.as_secs());
        let nonce = (parameters.kid, parameters.nonce);
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.spend(&operator, nonce, until, now)?;
        Ok((operator, body))
    }

    /// Whose enforcer key it is that a request names.
    fn signer(&self, kid: KeyThumbprint) -> Result<(OperatorName, PublicKey), Refusal> {
        let operators = self.enforcer.operators();
        let mut revoked = None;
        // Nobody is its own counterparty.
        let others = operators.names().into_iter();
        for name in others.filter(|name| name != self.enforcer.operator()) {
            match operators.enforcer_key(&name, kid) {
                Ok(key) => return Ok((name, key)),
                Err(failure) if failure.code() == FailureCode::KeyRevoked => revoked = Some(name),
                Err(_) => {}
            }
        }
        Err(match revoked {
            Some(name) => Refusal::unauthorized(
                "key_revoked",
                format!("{name} has revoked enforcer key {kid}"),
            ),
            None => Refusal::unauthorized(
                "key_unknown",
                format!("no operator known here has enforcer key {kid}"),
            ),
        })
    }

    /// Fetches newer manifests if a request is signed with a key that is not known yet: the
    /// operator may have rotated a moment ago.
    pub(super) async fn meet(&self, parts: &request::Parts) {
        let named = one(&parts.headers, "signature-input").ok().flatten();
        let Some(kid) = named.and_then(signature::key_named) else {
            return;
        };
        let unknown = self.signer(kid).is_err_and(|why| why.code == "key_unknown");
        if unknown {
            self.enforcer.operators().renewed(RENEWAL_PATIENCE).await;
        }
    }
}

fn malformed(error: SignatureError) -> Refusal {
    Refusal::unauthorized(error.code(), error.to_string())
}

/// The value of a header that may stand once.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| {
            Refusal::unauthorized("signature_malformed", format!("`{name}` is not ASCII"))
        }),
        _ => Err(Refusal::unauthorized(
            "signature_malformed",
            format!("`{name}` stands more than once"),
        )),
    }
}

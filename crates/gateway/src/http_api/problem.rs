//! The answers that the gateway writes itself: problem details (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use counterfoil_enforcer::EnforcerError;
use counterfoil_enforcer::call::Denial;
use serde::Serialize;

use super::reply::Reply;
use crate::http::Turned;
use crate::proxy::{TooManyRefusals, sentence};

/// Why a request was not answered by the API: what, which rule, what instead.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    title: &'static str,
    status: u16,
    detail: String,
    code: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<String>,
}

impl Problem {
    /// A problem of the gateway's own. `detail` says what, and whether anything was forwarded.
    pub(crate) fn new(status: u16, code: &str, detail: &str) -> Self {
        let phrase = StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason());
        Self {
            title: phrase.unwrap_or("Refused"),
            status,
            detail: sentence(detail),
            code: code.to_owned(),
            rules: Vec::new(),
            instead: None,
        }
    }

    /// A request that was refused before anything was decided.
    pub(crate) fn refused(status: u16, code: &str, reason: &str) -> Self {
        let reason = sentence(reason);
        Self::new(status, code, &format!("{reason} Nothing was forwarded."))
    }

    /// What the guard of the gateway turned away.
    pub(crate) fn turned(turned: Turned) -> Self {
        let mut problem = Self::refused(turned.status.as_u16(), turned.code, turned.reason);
        if turned.code == TooManyRefusals::CODE {
            problem.instead = Some(
                "Try again in a few seconds; then you are told what is wrong with it.".to_owned(),
            );
        }
        problem
    }

    /// A denial by the enforcer.
    pub(crate) fn denied(denial: &Denial) -> Self {
        Self {
            rules: denial
                .policies
                .iter()
                .map(|policy| policy.as_str().to_owned())
                .collect(),
            instead: denial.instead.as_deref().map(sentence),
            ..Self::new(403, denial.reason.as_str(), &denial.explanation)
        }
    }

    /// The denial of a request on which no decision could be recorded.
    pub(crate) fn undecided(error: &EnforcerError) -> Self {
        let reason = format!("no decision could be recorded: {error}");
        Self::refused(503, error.code(), &reason)
    }

    /// An answer of another operator that is not attested.
    pub(crate) fn withheld(code: &str, reason: &str) -> Self {
        Self {
            instead: Some(
                "The call may have been executed. Check before you repeat it.".to_owned(),
            ),
            ..Self::new(502, code, reason)
        }
    }

    /// As a reply with a status, headers and a body.
    pub(crate) fn reply(&self) -> Reply {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        if self.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.code == TooManyRefusals::CODE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // Strings and numbers are always written.
        let body = serde_json::to_vec(self).unwrap_or_default();
        Reply {
            status: self.status,
            headers,
            body: Bytes::from(body),
        }
    }
}

//! What goes back: a status, headers, and a body.

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use super::commitment;
use super::evidence_header::{EVIDENCE, Evidence};
use super::headers::{self, HeaderError};

/// A response, received or of our own.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The same as the answer to this method: HEAD is answered without a body.
    pub(crate) fn to(mut self, method: &Method) -> Self {
        if method == Method::HEAD {
            self.body = Bytes::new();
        }
        self
    }

    /// The bytes that the outcome commits to.
    pub(crate) fn result(&self) -> Result<Vec<u8>, HeaderError> {
        let committed = headers::of_response(&self.headers)?;
        Ok(commitment::result(self.status, &committed, &self.body))
    }

    /// Whether the API says that it did what it was asked for.
    pub(crate) const fn is_success(&self) -> bool {
        self.status < 400
    }

    /// The response, with those headers that go back, and with evidence.
    pub(crate) fn respond(self, evidence: Option<&Evidence>) -> Response {
        let committed = headers::of_response(&self.headers).unwrap_or_default();
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut kept = headers::back(&committed, &self.headers);
        match evidence.map(Evidence::encode) {
            None => {}
            Some(Some(value)) => {
                kept.insert(EVIDENCE, value);
            }
            // Without its evidence the other side just refuses to believe it.
            Some(None) => tracing::error!("a response could not carry its evidence"),
        }
        if let Some(value) = self.headers.get(axum::http::header::WWW_AUTHENTICATE) {
            kept.insert(axum::http::header::WWW_AUTHENTICATE, value.clone());
        }
        *response.headers_mut() = kept;
        response
    }
}

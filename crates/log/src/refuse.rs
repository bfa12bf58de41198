//! A refusal as an HTTP answer.

use axum::{
    Json,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::Refusal;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({ "code": self.code(), "detail": self.shown() });
        let extra = match &self {
            Self::NotNextBatch { expected, .. } => Some(("expected_batch", *expected)),
            Self::NotNextVersion { expected, .. } => Some(("expected_version", *expected)),
            Self::Timeout { index, .. } => Some(("index", *index)),
            _ => None,
        };
        if let (Some((name, value)), Some(object)) = (extra, body.as_object_mut()) {
            object.insert(name.to_owned(), value.into());
        }
        let response = (status, Json(body));
        match self.retry_after() {
            Some(seconds) => ([(RETRY_AFTER, seconds)], response).into_response(),
            None => response.into_response(),
        }
    }
}

impl Refusal {
    /// Why, as strangers are told.
    pub(crate) fn shown(&self) -> String {
        match self {
            // What it is stands in the log's own output; strangers have no use for it.
            Self::Internal(_) => "the log has a fault".to_owned(),
            other => other.to_string(),
        }
    }

    /// After how many seconds to try again, if what is wrong passes by itself.
    pub(crate) const fn retry_after(&self) -> Option<u64> {
        match self {
            // A suspected fork does not go away by itself.
            Self::ForkSuspected(_) => None,
            Self::Busy | Self::PoolFull => Some(1),
            Self::BacklogFull => Some(5),
            other if other.status() == 503 => Some(30),
            _ => None,
        }
    }
}

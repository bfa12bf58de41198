//! A refusal as an HTTP answer.

use std::time::Duration;

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
        let detail = match &self {
            // What it is stands in the log's own output; strangers have no use for it.
            Self::Internal(_) => "the log has a fault".to_owned(),
            other => other.to_string(),
        };
        let mut body = json!({ "code": self.code(), "detail": detail });
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
        // A suspected fork does not go away by itself.
        let passing = !matches!(self, Self::ForkSuspected(_));
        if status == StatusCode::SERVICE_UNAVAILABLE && passing {
            ([(RETRY_AFTER, retry_after(&self).as_secs())], response).into_response()
        } else {
            response.into_response()
        }
    }
}

fn retry_after(refusal: &Refusal) -> Duration {
    Duration::from_secs(match refusal {
        Refusal::Busy | Refusal::PoolFull => 1,
        Refusal::BacklogFull => 5,
        _ => 30,
    })
}

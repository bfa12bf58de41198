//! What another operator gets instead of an answer.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::wire::Problem;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, detail: String) -> Self {
        Self {
            status,
            code: code.to_owned(),
            detail,
        }
    }

    pub(super) fn unauthorized(code: &str, detail: String) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    /// The same for what is not there and what is not the asking operator's business.
    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing of that name in the channel between us".to_owned(),
        )
    }

    /// It will be there: the record is in the channel, and in no sealed batch yet.
    pub(super) fn not_sealed() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "not_sealed",
            "the record is in no sealed batch yet".to_owned(),
        )
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "the request could not be answered".to_owned(),
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem {
            code: self.code,
            detail: self.detail,
        };
        (self.status, Json(problem)).into_response()
    }
}

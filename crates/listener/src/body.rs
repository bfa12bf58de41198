//! Reading the body of a request.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than allowed.
    #[error("the body is longer than {max_bytes} bytes")]
    TooLarge {
        /// How long it may be.
        max_bytes: usize,
    },
    /// It took longer than allowed.
    #[error("the body took longer than {} s", .within.as_secs_f32())]
    TooSlow {
        /// How long it may take.
        within: Duration,
    },
    /// The connection failed, or what came is not HTTP.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// Reads a body of at most `max_bytes` that arrives `within` a time. One that says at its
/// beginning that it is longer is not read at all.
///
/// # Errors
/// [`BodyError`].
pub async fn receive(body: Body, max_bytes: usize, within: Duration) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(BodyError::TooLarge { max_bytes });
    }
    let reading = Limited::new(body, max_bytes).collect();
    match tokio::time::timeout(within, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { max_bytes }),
        Ok(Err(error)) => Err(BodyError::Broken(error.to_string())),
        Err(_) => Err(BodyError::TooSlow { within }),
    }
}

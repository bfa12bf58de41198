//! Responses.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use super::body::StreamBody;
use super::guard::Turned;
use crate::message::Revision;
use crate::message::refusal::{INVALID_REQUEST, Refusal};
use crate::proxy::{Refused, TooManyRefusals};

/// A response without a body.
pub(crate) fn status_only(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// One message.
pub(crate) fn json(status: StatusCode, message: Bytes) -> Response {
    let mut response = Response::new(Body::from(message));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A stream of events.
pub(crate) fn events(status: StatusCode, body: StreamBody) -> Response {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The same with more headers.
pub(crate) fn with_headers(mut response: Response, headers: HeaderMap) -> Response {
    response.headers_mut().extend(headers);
    response
}

/// A message that goes no further.
pub(crate) fn refused(refused: Refused) -> Response {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST);
    let response = match refused.answer {
        Some(answer) => json(status, answer),
        None => status_only(status),
    };
    if refused.code == TooManyRefusals::CODE {
        later(response)
    } else {
        response
    }
}

/// A refusal that is not recorded, after too many others.
pub(crate) fn unrecorded(answer: Bytes) -> Response {
    let status = StatusCode::from_u16(TooManyRefusals::STATUS);
    later(json(
        status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        answer,
    ))
}

/// The same, and when to ask again, in seconds.
fn later(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A request that was not even read.
pub(crate) fn turned_away(turned: Turned) -> Response {
    let reason = format!("{}. Nothing was forwarded.", turned.reason);
    let refusal = Refusal {
        code: turned.code,
        reason: &reason,
        rules: &[],
        instead: None,
    };
    let answer = refusal.error(None, INVALID_REQUEST, Revision::V2025_11_25);
    let mut response = json(turned.status, answer.into());
    if turned.status == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if turned.code == TooManyRefusals::CODE {
        return later(response);
    }
    response
}

/// One event with a message as its data.
pub(crate) fn event(message: &[u8]) -> Bytes {
    let line = crate::message::framing::to_line(message);
    let mut event = Vec::with_capacity(line.len() + 32);
    event.extend_from_slice(b"event: message\ndata: ");
    event.extend_from_slice(&line);
    event.extend_from_slice(b"\n\n");
    event.into()
}

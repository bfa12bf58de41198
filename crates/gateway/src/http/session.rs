//! In front of a server that the gateway runs over stdio.
//!
//! Revisions with sessions get one process for each session, whose id the gateway makes. Revision
//! 2026-07-28 has no sessions: a request borrows a process from a small pool and has it for
//! itself, so that ids and notifications of different clients never meet.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use tokio::sync::Semaphore;

use super::process::{INITIALIZE, Session, lock};
use super::reply::{json, status_only, with_headers};
use super::upstream::SESSION;
use crate::message::{Body, Message};
use crate::proxy::{ClientMessage, Proxy};
use crate::stdio::Command;

/// How many sessions one server may have.
const MAX_SESSIONS: usize = 64;
/// How many processes serve requests without a session.
const POOL: usize = 8;
/// How many requests without a session wait for one of those processes.
const MAX_WAITING: usize = 64;
/// After how many seconds a client may come back for which there was no room.
const RETRY_SECONDS: &str = "5";

/// All processes of one server.
#[derive(Debug)]
pub(super) struct Sessions {
    command: Command,
    call_limit: Duration,
    open: Mutex<HashMap<String, Arc<Session>>>,
    idle: Mutex<Vec<Arc<Session>>>,
    pool: Semaphore,
    /// For who has a process of the pool, and who waits for one.
    entrance: Semaphore,
}

impl Sessions {
    pub(super) fn new(command: Command, call_limit: Duration) -> Self {
        Self {
            command,
            call_limit,
            open: Mutex::default(),
            idle: Mutex::default(),
            pool: Semaphore::new(POOL),
            entrance: Semaphore::new(POOL + MAX_WAITING),
        }
    }

    /// Ends the streams on which clients only listen.
    pub(super) fn stop_listening(&self) {
        for session in lock(&self.open).values() {
            lock(&session.out).listener = None;
        }
    }

    /// Ends all processes.
    pub(super) fn close(&self) {
        lock(&self.open).clear();
        lock(&self.idle).clear();
    }

    /// Handles a message.
    pub(super) async fn post(
        &self,
        proxy: Arc<Proxy>,
        headers: &HeaderMap,
        read: ClientMessage,
    ) -> Response {
        let message = match &read {
            ClientMessage::Pass(message) => message,
            ClientMessage::Request(request) => request.message(),
            ClientMessage::Refused(_) => return status_only(StatusCode::BAD_REQUEST),
        };
        if headers.contains_key(SESSION) {
            return match self.find(&proxy, headers) {
                Ok(session) => session.handle(&proxy, read).await,
                Err(status) => no_session(&proxy, message, status),
            };
        }
        let stateless = match &read {
            ClientMessage::Request(request) => request.revision().is_stateless(),
            _ => {
                crate::message::call::stated_version(message).is_some()
                    || proxy.revision().is_stateless()
            }
        };
        if stateless {
            return self.once(&proxy, read).await;
        }
        if message.method() == Some(INITIALIZE) {
            return self.begin(&proxy, read).await;
        }
        no_session(&proxy, message, StatusCode::BAD_REQUEST)
    }

    /// Opens the stream on which the server of a session speaks by itself.
    pub(super) fn listen(&self, proxy: &Proxy, headers: &HeaderMap) -> Response {
        match self.find(proxy, headers) {
            Ok(session) => session.listen(),
            Err(status) => status_only(status),
        }
    }

    /// Ends a session.
    pub(super) fn delete(&self, proxy: &Proxy, headers: &HeaderMap) -> Response {
        match self.find(proxy, headers) {
            Ok(session) => {
                lock(&self.open).retain(|_, open| !Arc::ptr_eq(open, &session));
                status_only(StatusCode::NO_CONTENT)
            }
            Err(status) => status_only(status),
        }
    }

    /// The caller's session, which nobody else can use.
    fn find(&self, proxy: &Proxy, headers: &HeaderMap) -> Result<Arc<Session>, StatusCode> {
        let id = headers
            .get(SESSION)
            .and_then(|id| id.to_str().ok())
            .ok_or(StatusCode::BAD_REQUEST)?;
        let mut open = lock(&self.open);
        let session = open.get(id).ok_or(StatusCode::NOT_FOUND)?;
        if session.has_ended() {
            open.remove(id);
            return Err(StatusCode::NOT_FOUND);
        }
        if session.owner != *proxy.agent() {
            return Err(StatusCode::NOT_FOUND);
        }
        session.touch();
        Ok(Arc::clone(session))
    }

    /// Starts a process for a new session.
    async fn begin(&self, proxy: &Arc<Proxy>, read: ClientMessage) -> Response {
        let message = match &read {
            ClientMessage::Pass(message) if matches!(message.body(), Body::Request { .. }) => {
                message
            }
            _ => return status_only(StatusCode::BAD_REQUEST),
        };
        let id = match session_id() {
            Ok(id) => id,
            Err(error) => return not_started(proxy, message, &error),
        };
        let session = {
            let mut open = lock(&self.open);
            if !make_room(&mut open) {
                let reason =
                    format!("{MAX_SESSIONS} sessions are open, each with a call in flight");
                return busy(proxy, message, "too_many_sessions", &reason);
            }
            match Session::start(&self.command, proxy, self.call_limit) {
                Ok(session) => open.entry(id.clone()).or_insert(session).clone(),
                Err(error) => return not_started(proxy, message, &error),
            }
        };
        // The client may go away, or get an answer without a session.
        let mut opening = Opening {
            sessions: self,
            id: &id,
            opened: false,
        };
        let response = session.handle(proxy, read).await;
        match HeaderValue::from_str(&id) {
            Ok(value) if response.status().is_success() && !session.has_failed() => {
                opening.opened = true;
                with_headers(response, HeaderMap::from_iter([(SESSION, value)]))
            }
            _ => response,
        }
    }

    /// Lets a request without a session have a process for itself.
    async fn once(&self, proxy: &Arc<Proxy>, read: ClientMessage) -> Response {
        let message = match &read {
            ClientMessage::Pass(message) => message,
            ClientMessage::Request(request) => request.message(),
            ClientMessage::Refused(_) => return status_only(StatusCode::BAD_REQUEST),
        };
        if !matches!(message.body(), Body::Request { .. }) {
            // Without sessions there is no process that it could be meant for.
            return status_only(StatusCode::ACCEPTED);
        }
        let Ok(_place) = self.entrance.try_acquire() else {
            let reason = format!("{POOL} requests are under way and {MAX_WAITING} wait");
            return busy(proxy, message, "server_busy", &reason);
        };
        let Ok(permit) = self.pool.acquire().await else {
            return status_only(StatusCode::SERVICE_UNAVAILABLE);
        };
        let idle =
            std::iter::from_fn(|| lock(&self.idle).pop()).find(|session| !session.has_ended());
        let session = match idle {
            Some(session) => session,
            None => match Session::start(&self.command, proxy, self.call_limit) {
                Ok(session) => session,
                Err(error) => return not_started(proxy, message, &error),
            },
        };
        let response = session.handle(proxy, read).await;
        // One that still works on something, or streams, is not lent again: it ends by itself
        // when its stream does.
        if session.waiting.is_clean() && lock(&session.out).is_quiet() {
            lock(&self.idle).push(session);
        }
        drop(permit);
        response
    }
}

/// A session that is not one before `initialize` has been answered.
struct Opening<'a> {
    sessions: &'a Sessions,
    id: &'a str,
    opened: bool,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.opened {
            lock(&self.sessions.open).remove(self.id);
        }
    }
}

/// Whether there is room for one more session. If there is none, the one that has been idle for
/// longest makes room; its client is told to begin again, with 404.
fn make_room(open: &mut HashMap<String, Arc<Session>>) -> bool {
    open.retain(|_, session| !session.has_ended());
    if open.len() < MAX_SESSIONS {
        return true;
    }
    let idle = open
        .iter()
        .filter(|(_, session)| session.waiting.is_empty())
        .min_by_key(|(_, session)| session.used())
        .map(|(id, _)| id.clone());
    idle.is_some_and(|id| open.remove(&id).is_some())
}

fn session_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn no_session(proxy: &Proxy, message: &Message, status: StatusCode) -> Response {
    let reason = if status == StatusCode::NOT_FOUND {
        "there is no such session"
    } else {
        "the request names no session in `Mcp-Session-Id`"
    };
    json(status, proxy.fail(message, "session_unknown", reason))
}

fn not_started(proxy: &Proxy, message: &Message, error: &io::Error) -> Response {
    tracing::error!(%error, "a server could not be started");
    let reason = format!("the server could not be started: {error}");
    json(
        StatusCode::SERVICE_UNAVAILABLE,
        proxy.fail(message, "server_not_started", &reason),
    )
}

/// There is no room now.
fn busy(proxy: &Proxy, message: &Message, code: &str, reason: &str) -> Response {
    tracing::warn!(code, reason, "a request was turned away");
    let reason = format!("{reason}. Nothing was forwarded.");
    let response = json(
        StatusCode::SERVICE_UNAVAILABLE,
        proxy.fail(message, code, &reason),
    );
    let later = HeaderValue::from_static(RETRY_SECONDS);
    with_headers(response, HeaderMap::from_iter([(RETRY_AFTER, later)]))
}

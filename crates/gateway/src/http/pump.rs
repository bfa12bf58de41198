//! Carrying a stream of events from a server to a client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::queue::Sender;
use super::reply::event;
use super::upstream::{Events, NoReply};
use crate::message::Id;
use crate::message::sse::Piece;
use crate::proxy::{Executed, OpenCall, Proxy, ServerMessage};

/// How many calls may wait to be resumed.
const MAX_PARKED: usize = 1024;

/// Calls whose stream ended before the answer, in a session in which the client may fetch the
/// rest of it with GET (2025-11-25, resumability).
#[derive(Debug, Default)]
pub(super) struct Parked {
    calls: Mutex<HashMap<(String, Id), (OpenCall, Instant)>>,
}

impl Parked {
    fn park(&self, session: String, call: OpenCall, until: Instant) {
        let now = Instant::now();
        let mut calls = self.lock();
        // Those that nobody came back for are dropped, which records that nobody knows.
        calls.retain(|_, (_, until)| *until > now);
        if calls.len() < MAX_PARKED {
            calls.insert((session, call.id().clone()), (call, until));
        }
    }

    fn take(&self, session: &str, id: &Id) -> Option<OpenCall> {
        let key = (session.to_owned(), id.clone());
        self.lock().remove(&key).map(|(call, _)| call)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Id), (OpenCall, Instant)>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn too_late(call: OpenCall, limit: Duration) -> Bytes {
    let reason = format!("the server has not answered for {} s", limit.as_secs());
    let failed = call.failed(Executed::Maybe, "call_timed_out", &reason);
    failed.durable().await
}

/// Which answer a stream may bring.
#[derive(Debug)]
pub(super) enum Waiting {
    Call(Box<OpenCall>),
    Plain(Id),
    Nothing,
}

enum Next {
    Piece(Result<Option<Piece>, NoReply>),
    Gone,
    Late,
}

/// Done when the gateway stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Carries a stream from the server to the client.
pub(super) struct Pump {
    pub(super) proxy: Arc<Proxy>,
    pub(super) upstream: Events,
    pub(super) waiting: Waiting,
    pub(super) parked: Option<Arc<Parked>>,
    pub(super) session: Option<String>,
    pub(super) deadline: Instant,
    pub(super) limit: Duration,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) sender: Sender<Bytes>,
}

impl Pump {
    pub(super) async fn run(mut self) {
        let mut resumable = false;
        loop {
            let for_call = matches!(self.waiting, Waiting::Call(_));
            let next = tokio::select! {
                piece = self.upstream.next() => Next::Piece(piece),
                () = self.sender.closed() => Next::Gone,
                () = stopped(&mut self.stopping), if !for_call => Next::Gone,
                () = sleep_until(self.deadline), if for_call => Next::Late,
            };
            let piece = match next {
                Next::Piece(piece) => piece,
                Next::Gone => break,
                Next::Late => return self.give_up_late().await,
            };
            match piece {
                Ok(Some(piece)) => {
                    resumable |= piece.id().is_some_and(|id| !id.is_empty());
                    if let Some(bytes) = self.pass(&piece).await
                        && self.sender.send(bytes).await.is_err()
                    {
                        break;
                    }
                }
                Ok(None) => return self.ended(resumable, None).await,
                Err(lost) => return self.ended(resumable, Some(lost)).await,
            }
        }
        // The client is gone. Where it may come back for the rest, the call stays open; else
        // dropping it records that nobody knows.
        self.park(resumable);
    }

    async fn give_up_late(mut self) {
        if let Waiting::Call(call) = std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            let answer = too_late(*call, self.limit).await;
            let _ = self.sender.send(event(&answer)).await;
        }
    }

    /// What the client gets of one piece.
    async fn pass(&mut self, piece: &Piece) -> Option<Bytes> {
        let raw = piece.raw().clone();
        let data = match piece.data() {
            None => return Some(raw),
            // Carries only an event id.
            Some(data) if data.is_empty() => return Some(raw),
            Some(data) => data,
        };
        match self.proxy.read_from_server(Ok(data.into())) {
            ServerMessage::Pass(_) => Some(raw),
            ServerMessage::Dropped { code, reason } => {
                tracing::warn!(code, reason, "dropped what the server sent");
                None
            }
            ServerMessage::Answer(message) => {
                let Some(id) = message.id().cloned() else {
                    return Some(raw);
                };
                match self.take(&id) {
                    Waiting::Call(call) => {
                        let answering = call.answered_in_order(message.clone()).await;
                        let answer = answering.durable().await;
                        Some(if answer == *message.bytes() {
                            raw
                        } else {
                            piece.with_data(&answer)
                        })
                    }
                    Waiting::Plain(_) => Some(raw),
                    Waiting::Nothing => {
                        tracing::warn!(%id, "dropped an answer to a request that is not in flight");
                        None
                    }
                }
            }
        }
    }

    /// What waits for the answer with this id.
    fn take(&mut self, id: &Id) -> Waiting {
        let own = match &self.waiting {
            Waiting::Call(call) => call.id() == id,
            Waiting::Plain(plain) => plain == id,
            Waiting::Nothing => false,
        };
        if own {
            return std::mem::replace(&mut self.waiting, Waiting::Nothing);
        }
        let parked = match (&self.parked, &self.session) {
            (Some(parked), Some(session)) => parked.take(session, id),
            _ => None,
        };
        parked.map_or(Waiting::Nothing, |call| Waiting::Call(Box::new(call)))
    }

    /// The server's stream is over.
    async fn ended(mut self, resumable: bool, lost: Option<NoReply>) {
        if self.park(resumable) {
            return;
        }
        if let Waiting::Call(call) = std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            let (code, reason) = match &lost {
                Some(lost) => (lost.code(), lost.reason()),
                None => (
                    "upstream_failed",
                    "the server ended the stream without an answer".to_owned(),
                ),
            };
            let answer = call.failed(Executed::Maybe, code, &reason).durable().await;
            let _ = self.sender.send(event(&answer)).await;
        }
    }

    /// Keeps the call for a client that comes back with GET; whether it did.
    fn park(&mut self, resumable: bool) -> bool {
        let sessions = !self.proxy.revision().is_stateless();
        if let (true, Some(parked), Some(session)) =
            (resumable && sessions, &self.parked, &self.session)
            && let Waiting::Call(call) = std::mem::replace(&mut self.waiting, Waiting::Nothing)
        {
            parked.park(session.clone(), *call, self.deadline);
            return true;
        }
        false
    }
}

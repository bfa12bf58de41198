//! Carrying a stream of events from an agent to who asked.
//!
//! Every event is an answer to the same request. Those before the last pass as they come; what
//! attests all of them goes with the last one. The asked gateway knows an event for the last when
//! the stream ends after it, so it holds back those that can be last: a message, and whatever says
//! that the task has come to a rest. Spec: a2a §5.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::http::queue::Sender;
use crate::http::reply::event;
use crate::http::upstream::{Events, NoReply};
use crate::message::sse::Piece;
use crate::message::{Dialect, Message};
use crate::proxy::{Direction, Executed, OpenCall, Proxy, ServerMessage, Streamed};

/// States in which a task waits for nobody but who asked, by the names of both versions.
const AT_REST: [&str; 13] = [
    "TASK_STATE_AUTH_REQUIRED",
    "TASK_STATE_CANCELED",
    "TASK_STATE_CANCELLED",
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_INPUT_REQUIRED",
    "TASK_STATE_REJECTED",
    "auth-required",
    "canceled",
    "completed",
    "failed",
    "input-required",
    "rejected",
];

/// Carries the events of one call.
pub(super) struct Pump {
    proxy: Arc<Proxy>,
    upstream: Events,
    call: OpenCall,
    deadline: Instant,
    /// The most bytes of all events together.
    max_bytes: usize,
    sender: Sender<Bytes>,
    streamed: Streamed,
    held: Option<(Piece, Message)>,
}

enum Next {
    Piece(Result<Option<Piece>, NoReply>),
    Gone,
    Late,
}

/// Why a stream is cut off.
struct Cut {
    code: &'static str,
    reason: String,
}

impl Pump {
    pub(super) fn new(
        proxy: Arc<Proxy>,
        upstream: Events,
        call: OpenCall,
        deadline: Instant,
        max_bytes: usize,
        sender: Sender<Bytes>,
    ) -> Self {
        Self {
            proxy,
            upstream,
            call,
            deadline,
            max_bytes,
            sender,
            streamed: Streamed::begin(),
            held: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let next = tokio::select! {
                piece = self.upstream.next() => Next::Piece(piece),
                () = self.sender.closed() => Next::Gone,
                () = sleep_until(self.deadline) => Next::Late,
            };
            let cut = match next {
                Next::Piece(Ok(Some(piece))) => match self.pass(piece).await {
                    Ok(Some((piece, last))) => return self.end(&piece, last).await,
                    Ok(None) => continue,
                    Err(Gone::Reader) => return,
                    Err(Gone::Stream(cut)) => cut,
                },
                Next::Piece(Ok(None)) => match self.held.take() {
                    Some((piece, last)) => return self.end(&piece, last).await,
                    None => Cut {
                        code: "upstream_failed",
                        reason: "the stream ended before it brought a last event".to_owned(),
                    },
                },
                Next::Piece(Err(lost)) => Cut {
                    code: lost.code(),
                    reason: lost.reason(),
                },
                // Dropping the call records that nobody knows what became of it.
                Next::Gone => return,
                Next::Late => Cut {
                    code: "call_timed_out",
                    reason: "the stream has not ended in time".to_owned(),
                },
            };
            return self.cut_off(&cut).await;
        }
    }

    /// Delivers one piece, or keeps it. The last event of another operator comes back.
    async fn pass(&mut self, piece: Piece) -> Result<Option<(Piece, Message)>, Gone> {
        let data = match piece.data() {
            None => return self.send(piece.raw().clone()).await.map(|()| None),
            Some(data) => data,
        };
        if self.streamed.len() + data.len() > self.max_bytes {
            return Err(Gone::cut(
                "upstream_answer_too_large",
                "the stream is longer than allowed",
            ));
        }
        let message = match self.proxy.read_from_server(Ok(data.into())) {
            ServerMessage::Answer(message) if message.id() == Some(self.call.id()) => message,
            ServerMessage::Answer(_) | ServerMessage::Pass(_) => {
                tracing::warn!("dropped an event that does not answer the request");
                return Ok(None);
            }
            ServerMessage::Dropped { code, reason } => {
                tracing::warn!(code, reason, "dropped what the agent sent");
                return Ok(None);
            }
        };
        // An event that was held back was not the last one.
        if let Some((held, message)) = self.held.take() {
            self.streamed
                .push(message.result_bytes().unwrap_or_default());
            self.send(held.raw().clone()).await?;
        }
        let carries = Dialect::A2a.is_present(&message);
        match (self.proxy.direction(), carries) {
            (Direction::Outgoing(_), true) => return Ok(Some((piece, message))),
            (Direction::Local | Direction::Incoming, true) => {
                return Err(Gone::cut(
                    "evidence_member_present",
                    "the agent's answer carries evidence, which only a gateway may write",
                ));
            }
            (Direction::Local | Direction::Incoming, false) if can_be_last(&message) => {
                self.held = Some((piece, message));
                return Ok(None);
            }
            (_, false) => {}
        }
        self.streamed
            .push(message.result_bytes().unwrap_or_default());
        self.send(piece.raw().clone()).await?;
        Ok(None)
    }

    async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        self.sender.send(bytes).await.map_err(|_| Gone::Reader)
    }

    /// The last event has come.
    async fn end(self, piece: &Piece, last: Message) {
        let before = last.bytes().clone();
        let answer = self
            .call
            .answered_in_order_after(&self.streamed, last)
            .await
            .durable()
            .await;
        let bytes = if answer == before {
            piece.raw().clone()
        } else {
            piece.with_data(&answer)
        };
        let _ = self.sender.send(bytes).await;
    }

    /// There is no last event: an error takes its place.
    async fn cut_off(mut self, cut: &Cut) {
        if let Some((held, message)) = self.held.take() {
            self.streamed
                .push(message.result_bytes().unwrap_or_default());
            let _ = self.sender.send(held.raw().clone()).await;
        }
        let failed = self
            .call
            .failed_after(&self.streamed, Executed::Maybe, cut.code, &cut.reason);
        let answer = failed.durable().await;
        let _ = self.sender.send(event(&answer)).await;
    }
}

/// Why a piece could not be passed.
enum Gone {
    Reader,
    Stream(Cut),
}

impl Gone {
    fn cut(code: &'static str, reason: &str) -> Self {
        Self::Stream(Cut {
            code,
            reason: reason.to_owned(),
        })
    }
}

/// Whether a stream may end after this event.
fn can_be_last(message: &Message) -> bool {
    let is_at_rest = |path: &[&str]| {
        message
            .text_at(path)
            .is_some_and(|state| AT_REST.contains(&state.as_str()))
    };
    if message.at(&["result"]).is_none() || message.at(&["result", "message"]).is_some() {
        return true;
    }
    is_at_rest(&["result", "statusUpdate", "status", "state"])
        || is_at_rest(&["result", "task", "status", "state"])
        // The form of 0.3, where the event itself is the result.
        || is_at_rest(&["result", "status", "state"])
        || message
            .text_at(&["result", "kind"])
            .is_some_and(|kind| kind == "message")
}

//! Reading what one process of a server writes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::process::{Child, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::process::{Awaited, Event, Session, lock};
use crate::message::Body;
use crate::message::framing::{AsyncLines, LineTooLong};
use crate::proxy::{Executed, Proxy, ServerMessage};

/// How long a process may take to end after its input was closed.
const EXIT: Duration = Duration::from_secs(5);

/// Reads what one process writes, until it ends.
pub(super) struct Reader {
    pub(super) session: Weak<Session>,
    pub(super) proxy: Arc<Proxy>,
    pub(super) call_limit: Duration,
}

impl Reader {
    pub(super) async fn run(
        self,
        mut child: Child,
        output: ChildStdout,
        mut kept: mpsc::Receiver<()>,
    ) {
        let mut lines = AsyncLines::new(output, self.proxy.server_bytes());
        let mut look = Instant::now() + self.call_limit;
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Ok(Some(line)) => self.take(line),
                    Ok(None) | Err(_) => break,
                },
                // The session was ended, or its last request is over, or it never began.
                _ = kept.recv() => break,
                () = sleep_until(look) => look = self.give_up_late().await,
            }
        }
        if let Some(session) = self.session.upgrade() {
            session.ended.store(true, Ordering::Release);
            for awaited in session.waiting.close() {
                let reason = "the server ended before it answered";
                session
                    .give_up(awaited, Executed::Maybe, "server_ended", reason)
                    .await;
            }
            let mut out = lock(&session.out);
            out.listener = None;
            out.posts.clear();
        }
        if tokio::time::timeout(EXIT, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    fn take(&self, line: Result<Bytes, LineTooLong>) {
        let Some(session) = self.session.upgrade() else {
            return;
        };
        let message = match self.proxy.read_from_server(line) {
            ServerMessage::Pass(message) => return lock(&session.out).send(message.bytes()),
            ServerMessage::Dropped { code, reason } => {
                tracing::warn!(code, reason, "dropped what the server sent");
                return;
            }
            ServerMessage::Answer(message) => message,
        };
        let awaited = message.id().and_then(|id| session.waiting.take(id));
        session.touch();
        match awaited {
            Some(Awaited::Call(call, sender)) => {
                // The outcome takes its place in the stream now; others need not wait for it to
                // be written.
                let answering = call.answered(message);
                tokio::spawn(async move {
                    let answer = answering.durable().await;
                    let _ = sender.send(Event::Answer(answer)).await;
                });
            }
            Some(Awaited::Lifecycle(_, request, sender)) => {
                session.note(&request, !matches!(message.body(), Body::Error { .. }));
                let answer = message.bytes().clone();
                tokio::spawn(async move { sender.send(Event::Answer(answer)).await });
            }
            None => tracing::warn!("dropped an answer to a request that is not in flight"),
        }
    }

    async fn give_up_late(&self) -> Instant {
        let Some(session) = self.session.upgrade() else {
            return Instant::now() + self.call_limit;
        };
        let (late, next) = session.waiting.expired(self.call_limit);
        for awaited in late {
            let seconds = self.call_limit.as_secs();
            let reason = format!("the server has not answered for {seconds} s");
            session
                .give_up(awaited, Executed::Maybe, "call_timed_out", &reason)
                .await;
        }
        next.into()
    }
}

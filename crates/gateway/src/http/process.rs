//! One process of a server, and the requests that wait for it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use counterfoil_protocol::names::AgentName;
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc};
use tokio::time::Instant;

use super::body::stream;
use super::process_output::Reader;
use super::queue::{Receiver, Sender, queue};
use super::reply::{event, events, json, status_only};
use super::unsolicited::Out;
use crate::message::call::{CANCELLED, cancelled_id};
use crate::message::framing::to_line;
use crate::message::{Body, Id, Message};
use crate::proxy::{ClientMessage, Executed, OpenCall, Proxy, Request, Verdict};
use crate::stdio::{Command, InFlight};

/// How many messages of the server wait in one response.
const EVENTS: usize = 1024;

/// The request that opens a session.
pub(super) const INITIALIZE: &str = "initialize";

/// One process of a server. Dropping it closes the process's input and ends it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) owner: AgentName,
    input: Arc<AsyncMutex<ChildStdin>>,
    pub(super) waiting: InFlight<Awaited>,
    pub(super) out: Mutex<Out>,
    pub(super) ended: AtomicBool,
    /// Whether `initialize` was answered with a result.
    established: AtomicBool,
    used: Mutex<Instant>,
    /// Tells the process's keeper, when it is dropped, that nobody needs it any more.
    keep: Mutex<Option<mpsc::Sender<()>>>,
}

/// What waits for an answer of the server.
#[derive(Debug)]
pub(super) enum Awaited {
    Call(Box<OpenCall>, Sender<Event>),
    Lifecycle(Arc<Proxy>, Message, Sender<Event>),
}

/// What a response is made of.
#[derive(Debug)]
pub(super) enum Event {
    /// The answer, which ends the response.
    Answer(Bytes),
    /// Something the server says before.
    Message(Bytes),
}

impl AsRef<[u8]> for Event {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Answer(bytes) | Self::Message(bytes) => bytes,
        }
    }
}

impl Session {
    pub(super) fn start(
        command: &Command,
        proxy: &Arc<Proxy>,
        call_limit: Duration,
    ) -> io::Result<Arc<Self>> {
        let mut child = tokio::process::Command::from(command.prepare())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("its pipes are missing"));
        };
        let (keep, kept) = mpsc::channel(1);
        let session = Arc::new(Self {
            owner: proxy.agent().clone(),
            input: Arc::new(AsyncMutex::new(input)),
            waiting: InFlight::default(),
            out: Mutex::default(),
            ended: AtomicBool::new(false),
            established: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
            keep: Mutex::new(Some(keep)),
        });
        let reader = Reader {
            session: Arc::downgrade(&session),
            proxy: Arc::clone(proxy),
            call_limit,
        };
        tokio::spawn(reader.run(child, output, kept));
        Ok(session)
    }

    pub(super) fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    pub(super) fn used(&self) -> Instant {
        *lock(&self.used)
    }

    /// Takes note of how a lifecycle request was answered. A session whose `initialize` fails is
    /// none, and its process ends.
    pub(super) fn note(&self, request: &Message, succeeded: bool) {
        if request.method() != Some(INITIALIZE) {
            return;
        }
        if succeeded {
            self.established.store(true, Ordering::Release);
        } else if !self.established.load(Ordering::Acquire) {
            self.ended.store(true, Ordering::Release);
            lock(&self.keep).take();
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether it never became a session.
    pub(super) fn has_failed(&self) -> bool {
        self.has_ended() && !self.established.load(Ordering::Acquire)
    }

    pub(super) async fn handle(
        self: &Arc<Self>,
        proxy: &Arc<Proxy>,
        read: ClientMessage,
    ) -> Response {
        match read {
            ClientMessage::Refused(_) => status_only(StatusCode::BAD_REQUEST),
            ClientMessage::Request(request) => self.call(proxy, request).await,
            ClientMessage::Pass(message) => self.pass(proxy, message).await,
        }
    }

    async fn call(self: &Arc<Self>, proxy: &Proxy, request: Box<Request>) -> Response {
        let id = request.id().clone();
        if let Err(error) = self.waiting.reserve(&id) {
            let reason = format!("{error}. Nothing was forwarded.");
            let refusal = proxy.refuse(request.message(), error.code(), &reason);
            return super::reply::refused(proxy.record(refusal).await);
        }
        // The client may go away at any await.
        let reserved = Reserved {
            session: self,
            id: &id,
        };
        proxy.in_order(&request).await;
        let forward = match proxy.decide(request).durable().await {
            Verdict::Answer(answer) => return json(StatusCode::OK, answer),
            Verdict::Unrecorded(answer) => return super::reply::unrecorded(answer),
            Verdict::Forward(forward) => forward,
        };
        let input = Arc::clone(&self.input).lock_owned().await;
        let (sender, receiver) = queue(EVENTS);
        let mut call = forward.call;
        call.sent();
        lock(&self.out).posts.push(sender.clone());
        if let Err(awaited) = self
            .waiting
            .fill(&id, Awaited::Call(Box::new(call), sender))
        {
            drop(input);
            self.give_up(
                awaited,
                Executed::No,
                "server_ended",
                "the server has ended",
            )
            .await;
            return respond(Arc::clone(self), receiver).await;
        }
        std::mem::forget(reserved);
        let written = write(input, &forward.bytes).await;
        if let Err(error) = written
            && let Some(awaited) = self.waiting.take(&id)
        {
            let reason = format!("the request could not be sent to the server: {error}");
            self.give_up(awaited, Executed::Maybe, "server_ended", &reason)
                .await;
        }
        respond(Arc::clone(self), receiver).await
    }

    async fn pass(self: &Arc<Self>, proxy: &Arc<Proxy>, message: Message) -> Response {
        let bytes = message.bytes().clone();
        let Body::Request { id, .. } = message.body() else {
            let cancelled = (message.method() == Some(CANCELLED))
                .then(|| cancelled_id(&message))
                .flatten();
            let input = Arc::clone(&self.input).lock_owned().await;
            let written = write(input, &bytes).await;
            if let Some(awaited) = cancelled.and_then(|id| self.waiting.abandon(&id)) {
                let reason = "the request was cancelled";
                self.give_up(awaited, Executed::Maybe, "cancelled", reason)
                    .await;
            }
            return status_only(match written {
                Ok(()) => StatusCode::ACCEPTED,
                Err(_) => StatusCode::NOT_FOUND,
            });
        };
        let id = id.clone();
        if let Err(error) = self.waiting.reserve(&id) {
            let reason = format!("{error}. Nothing was forwarded.");
            return super::reply::refused(proxy.refuse(&message, error.code(), &reason));
        }
        let reserved = Reserved {
            session: self,
            id: &id,
        };
        let input = Arc::clone(&self.input).lock_owned().await;
        let (sender, receiver) = queue(EVENTS);
        lock(&self.out).posts.push(sender.clone());
        std::mem::forget(reserved);
        let awaited = Awaited::Lifecycle(Arc::clone(proxy), message, sender);
        if let Err(awaited) = self.waiting.fill(&id, awaited) {
            self.give_up(
                awaited,
                Executed::No,
                "server_ended",
                "the server has ended",
            )
            .await;
        } else if let Err(error) = write(input, &bytes).await
            && let Some(awaited) = self.waiting.take(&id)
        {
            let reason = format!("the request could not be sent to the server: {error}");
            self.give_up(awaited, Executed::Maybe, "server_ended", &reason)
                .await;
        }
        respond(Arc::clone(self), receiver).await
    }

    /// Answers for the server.
    pub(super) async fn give_up(
        &self,
        awaited: Awaited,
        executed: Executed,
        code: &'static str,
        reason: &str,
    ) {
        match awaited {
            Awaited::Call(call, sender) => {
                let answer = call.failed(executed, code, reason).durable().await;
                let _ = sender.send(Event::Answer(answer)).await;
            }
            Awaited::Lifecycle(proxy, message, sender) => {
                self.note(&message, false);
                let answer = proxy.fail(&message, code, reason);
                let _ = sender.send(Event::Answer(answer)).await;
            }
        }
    }

    pub(super) fn listen(self: &Arc<Self>) -> Response {
        let (sender, body) = stream();
        let mut out = lock(&self.out);
        if out.has_listener() {
            return status_only(StatusCode::CONFLICT);
        }
        out.listen(sender);
        events(StatusCode::OK, body)
    }
}

/// An id that is given free again when the client goes away before the request is sent.
struct Reserved<'s> {
    session: &'s Session,
    id: &'s Id,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.session.waiting.release(self.id);
    }
}

/// Writes one line, whole, whatever becomes of the request it came with: half a line in front of
/// the next message would make a message that nobody decided.
async fn write(mut input: OwnedMutexGuard<ChildStdin>, message: &[u8]) -> io::Result<()> {
    let mut line = to_line(message).into_owned();
    line.push(b'\n');
    let whole = tokio::spawn(async move {
        input.write_all(&line).await?;
        input.flush().await
    });
    whole.await.map_err(io::Error::other)?
}

/// A plain answer if the server says nothing before it, else a stream.
async fn respond(session: Arc<Session>, mut receiver: Receiver<Event>) -> Response {
    let first = match receiver.recv().await {
        Some(Event::Answer(answer)) => return json(StatusCode::OK, answer),
        Some(Event::Message(message)) => message,
        None => return status_only(StatusCode::BAD_GATEWAY),
    };
    let (sender, body) = stream();
    tokio::spawn(async move {
        // The process must not end before its stream does.
        let _session = session;
        let mut next = Some(Event::Message(first));
        while let Some(item) = next {
            let (bytes, last) = match item {
                Event::Answer(answer) => (event(&answer), true),
                Event::Message(message) => (event(&message), false),
            };
            if sender.send(bytes).await.is_err() || last {
                return;
            }
            next = tokio::select! {
                item = receiver.recv() => item,
                () = sender.closed() => None,
            };
        }
    });
    events(StatusCode::OK, body)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics between two states of what is locked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

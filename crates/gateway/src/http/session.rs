//! In front of a server that the gateway runs over stdio.
//!
//! Revisions with sessions get one process for each session, whose id the gateway makes. Revision
//! 2026-07-28 has no sessions: a request borrows a process from a small pool and has it for
//! itself, so that ids and notifications of different clients never meet.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use counterfoil_protocol::names::AgentName;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::body::stream;
use super::reply::{event, events, json, status_only, with_headers};
use super::upstream::SESSION;
use crate::message::call::{CANCELLED, cancelled_id};
use crate::message::framing::{AsyncLines, LineTooLong, to_line};
use crate::message::{Body, Id, Message};
use crate::proxy::{ClientMessage, Executed, OpenCall, Proxy, Request, ServerMessage, Verdict};
use crate::stdio::{Command, InFlight};

/// How many sessions one server may have.
const MAX_SESSIONS: usize = 64;
/// After how long without a request a session may make room for another.
const IDLE: Duration = Duration::from_secs(600);
/// How many processes serve requests without a session.
const POOL: usize = 8;
/// How many messages of the server wait for a client that listens.
const HELD: usize = 1024;
/// How long a process may take to end after its input was closed.
const EXIT: Duration = Duration::from_secs(5);

/// All processes of one server.
#[derive(Debug)]
pub(super) struct Sessions {
    command: Command,
    call_limit: Duration,
    open: Mutex<HashMap<String, Arc<Session>>>,
    idle: Mutex<Vec<Arc<Session>>>,
    pool: Semaphore,
}

impl Sessions {
    pub(super) fn new(command: Command, call_limit: Duration) -> Self {
        Self {
            command,
            call_limit,
            open: Mutex::default(),
            idle: Mutex::default(),
            pool: Semaphore::new(POOL),
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
        if message.method() == Some("initialize") {
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
        if session.ended.load(Ordering::Acquire) {
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
        let ClientMessage::Pass(message) = &read else {
            return status_only(StatusCode::BAD_REQUEST);
        };
        let started = self
            .make_room()
            .and_then(|()| Session::start(&self.command, proxy, self.call_limit))
            .and_then(|session| Ok((session, session_id()?)));
        let (session, id) = match started {
            Ok(started) => started,
            Err(error) => return not_started(proxy, message, &error),
        };
        lock(&self.open).insert(id.clone(), Arc::clone(&session));
        let response = session.handle(proxy, read).await;
        match HeaderValue::from_str(&id) {
            Ok(value) if response.status().is_success() => {
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
        let Ok(permit) = self.pool.acquire().await else {
            return status_only(StatusCode::SERVICE_UNAVAILABLE);
        };
        let idle = std::iter::from_fn(|| lock(&self.idle).pop())
            .find(|session| !session.ended.load(Ordering::Acquire));
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

    fn make_room(&self) -> io::Result<()> {
        let mut open = lock(&self.open);
        open.retain(|_, session| !session.ended.load(Ordering::Acquire));
        if open.len() < MAX_SESSIONS {
            return Ok(());
        }
        let now = Instant::now();
        open.retain(|_, session| !session.waiting.is_empty() || session.used() + IDLE > now);
        if open.len() < MAX_SESSIONS {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "{MAX_SESSIONS} sessions are open"
            )))
        }
    }
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

/// One process of a server. Dropping it closes the process's input and ends it.
#[derive(Debug)]
struct Session {
    owner: AgentName,
    input: AsyncMutex<ChildStdin>,
    waiting: InFlight<Awaited>,
    out: Mutex<Out>,
    ended: AtomicBool,
    used: Mutex<Instant>,
    /// Tells the process's keeper that nobody needs it any more.
    _keep: mpsc::Sender<()>,
}

/// What waits for an answer of the server.
#[derive(Debug)]
enum Awaited {
    Call(OpenCall, mpsc::Sender<Event>),
    Lifecycle(Arc<Proxy>, Message, mpsc::Sender<Event>),
}

/// What a response is made of.
#[derive(Debug)]
enum Event {
    /// The answer, which ends the response.
    Answer(Bytes),
    /// Something the server says before.
    Message(Bytes),
}

/// Where messages go that the server sends by itself.
#[derive(Debug, Default)]
struct Out {
    listener: Option<mpsc::Sender<Bytes>>,
    posts: Vec<mpsc::Sender<Event>>,
    held: VecDeque<Bytes>,
}

impl Out {
    /// To who listens for such messages, else along with an answer, else held back.
    fn send(&mut self, message: &Bytes) {
        if let Some(listener) = &self.listener {
            match listener.try_send(event(message)) {
                Ok(()) => return,
                Err(_) => self.listener = None,
            }
        }
        self.posts.retain(|post| !post.is_closed());
        for post in self.posts.iter().rev() {
            if post.try_send(Event::Message(message.clone())).is_ok() {
                return;
            }
        }
        if self.held.len() >= HELD {
            tracing::warn!("dropped a message of the server that nobody listens for");
            self.held.pop_front();
        }
        self.held.push_back(message.clone());
    }

    fn is_quiet(&mut self) -> bool {
        self.posts.retain(|post| !post.is_closed());
        // Nobody can listen for what is held back.
        self.held.clear();
        self.posts.is_empty()
    }
}

impl Session {
    fn start(command: &Command, proxy: &Arc<Proxy>, call_limit: Duration) -> io::Result<Arc<Self>> {
        let mut child = tokio::process::Command::from(command.prepare())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("its pipes are missing"));
        };
        let (keep, kept) = mpsc::channel(1);
        let session = Arc::new(Self {
            owner: proxy.agent().clone(),
            input: AsyncMutex::new(input),
            waiting: InFlight::default(),
            out: Mutex::default(),
            ended: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
            _keep: keep,
        });
        let reader = Reader {
            session: Arc::downgrade(&session),
            proxy: Arc::clone(proxy),
            call_limit,
        };
        tokio::spawn(reader.run(child, output, kept));
        Ok(session)
    }

    fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    fn used(&self) -> Instant {
        *lock(&self.used)
    }

    async fn handle(self: &Arc<Self>, proxy: &Arc<Proxy>, read: ClientMessage) -> Response {
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
            proxy.gate().record_refusal(refusal.code).await;
            return super::reply::refused(refusal);
        }
        // The client may go away at any await.
        let reserved = Reserved {
            session: self,
            id: &id,
        };
        let forward = match proxy.decide(request).durable().await {
            Verdict::Answer(answer) => return json(StatusCode::OK, answer),
            Verdict::Forward(forward) => forward,
        };
        let mut input = self.input.lock().await;
        let (sender, receiver) = mpsc::channel(HELD);
        let mut call = forward.call;
        call.sent();
        lock(&self.out).posts.push(sender.clone());
        if let Err(awaited) = self.waiting.fill(&id, Awaited::Call(call, sender)) {
            drop(input);
            give_up(
                awaited,
                Executed::No,
                "server_ended",
                "the server has ended",
            )
            .await;
            return respond(Arc::clone(self), receiver).await;
        }
        std::mem::forget(reserved);
        let written = write(&mut input, &forward.bytes).await;
        drop(input);
        if let Err(error) = written
            && let Some(awaited) = self.waiting.take(&id)
        {
            let reason = format!("the request could not be sent to the server: {error}");
            give_up(awaited, Executed::Maybe, "server_ended", &reason).await;
        }
        respond(Arc::clone(self), receiver).await
    }

    async fn pass(self: &Arc<Self>, proxy: &Arc<Proxy>, message: Message) -> Response {
        let bytes = message.bytes().clone();
        let Body::Request { id, .. } = message.body() else {
            let cancelled = (message.method() == Some(CANCELLED))
                .then(|| cancelled_id(&message))
                .flatten();
            let mut input = self.input.lock().await;
            let written = write(&mut input, &bytes).await;
            drop(input);
            if let Some(awaited) = cancelled.and_then(|id| self.waiting.abandon(&id)) {
                let reason = "the request was cancelled";
                give_up(awaited, Executed::Maybe, "cancelled", reason).await;
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
        let mut input = self.input.lock().await;
        let (sender, receiver) = mpsc::channel(HELD);
        lock(&self.out).posts.push(sender.clone());
        let awaited = Awaited::Lifecycle(Arc::clone(proxy), message, sender);
        if let Err(awaited) = self.waiting.fill(&id, awaited) {
            give_up(
                awaited,
                Executed::No,
                "server_ended",
                "the server has ended",
            )
            .await;
        } else if let Err(error) = write(&mut input, &bytes).await
            && let Some(awaited) = self.waiting.take(&id)
        {
            let reason = format!("the request could not be sent to the server: {error}");
            give_up(awaited, Executed::Maybe, "server_ended", &reason).await;
        }
        drop(input);
        respond(Arc::clone(self), receiver).await
    }

    fn listen(self: &Arc<Self>) -> Response {
        let (sender, body) = stream();
        let mut out = lock(&self.out);
        if out
            .listener
            .as_ref()
            .is_some_and(|other| !other.is_closed())
        {
            return status_only(StatusCode::CONFLICT);
        }
        while let Some(message) = out.held.pop_front() {
            if sender.try_send(event(&message)).is_err() {
                out.held.push_front(message);
                break;
            }
        }
        out.listener = Some(sender);
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

async fn write(input: &mut ChildStdin, message: &[u8]) -> io::Result<()> {
    let mut line = to_line(message).into_owned();
    line.push(b'\n');
    input.write_all(&line).await?;
    input.flush().await
}

/// A plain answer if the server says nothing before it, else a stream.
async fn respond(session: Arc<Session>, mut receiver: mpsc::Receiver<Event>) -> Response {
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

/// Answers for the server.
async fn give_up(awaited: Awaited, executed: Executed, code: &'static str, reason: &str) {
    match awaited {
        Awaited::Call(call, sender) => {
            let answer = call.failed(executed, code, reason).durable().await;
            let _ = sender.send(Event::Answer(answer)).await;
        }
        Awaited::Lifecycle(proxy, message, sender) => {
            let answer = proxy.fail(&message, code, reason);
            let _ = sender.send(Event::Answer(answer)).await;
        }
    }
}

/// Reads what one process writes, until it ends.
struct Reader {
    session: std::sync::Weak<Session>,
    proxy: Arc<Proxy>,
    call_limit: Duration,
}

impl Reader {
    async fn run(self, mut child: Child, output: ChildStdout, mut kept: mpsc::Receiver<()>) {
        let mut lines = AsyncLines::new(output, self.proxy.server_bytes());
        let mut look = Instant::now() + self.call_limit;
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Ok(Some(line)) => self.take(line),
                    Ok(None) | Err(_) => break,
                },
                // The session was ended, or its last request is over.
                _ = kept.recv() => break,
                () = sleep_until(look) => look = self.give_up_late().await,
            }
        }
        if let Some(session) = self.session.upgrade() {
            session.ended.store(true, Ordering::Release);
            for awaited in session.waiting.close() {
                let reason = "the server ended before it answered";
                give_up(awaited, Executed::Maybe, "server_ended", reason).await;
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
            Some(Awaited::Lifecycle(_, _, sender)) => {
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
            give_up(awaited, Executed::Maybe, "call_timed_out", &reason).await;
        }
        next.into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics between two states of what is locked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

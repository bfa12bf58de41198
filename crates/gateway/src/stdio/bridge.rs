//! A gateway between an agent on stdio and a server over streamable HTTP: mostly one that stands
//! behind another operator's gateway.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, Url};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::in_flight::InFlight;
use super::wrap::{Ended, Limits, READ_BYTES, read_some, refuse_all};
use super::{LineWriter, block_on};
use crate::error::GatewayError;
use crate::http::upstream::{self, Events, NoReply, PROTOCOL_VERSION, Reply, SESSION};
use crate::message::call::{CANCELLED, cancelled_id, revision_of, stated_version};
use crate::message::framing::{LineSplitter, LineTooLong};
use crate::message::{Body, Id, Message, headers};
use crate::proxy::{
    ClientMessage, Deciding, Executed, Forward, Gate, OpenCall, Proxy, ServerMessage, Verdict,
};

const METHOD: HeaderName = HeaderName::from_static(headers::METHOD);
/// Its answer comes when the agent does not want to listen any more.
const LISTEN: &str = "subscriptions/listen";
const TIMED_OUT: &str = "call_timed_out";
const NAME: HeaderName = HeaderName::from_static(headers::NAME);

/// Runs until the agent ends. Must be called from outside of the runtime whose handle it gets.
///
/// Nothing is connected to while the gate refuses: every request is answered with the reason then.
///
/// # Errors
/// [`GatewayError::Client`] when no HTTP client can be made.
pub fn bridge(
    proxy: Arc<Proxy>,
    url: &Url,
    runtime: &Handle,
    mut agent_in: impl Read,
    agent_out: impl Write + Send + 'static,
    limits: Limits,
) -> Result<Ended, GatewayError> {
    let agent = Arc::new(LineWriter::new(agent_out));
    if let Gate::Refusing { .. } = proxy.gate() {
        refuse_all(&proxy, agent_in, &agent);
        return Ok(Ended::Refused);
    }
    let bridge = Bridge(Arc::new(Ends {
        client: upstream::client()?,
        url: url.clone(),
        session: Mutex::default(),
        listening: Mutex::default(),
        waiting: InFlight::default(),
        proxy,
        agent,
        limit: limits.call,
    }));
    let mut tasks = JoinSet::new();
    let mut splitter = LineSplitter::new(bridge.0.proxy.client_bytes());
    let mut buffer = vec![0; READ_BYTES];
    let mut steps = Vec::new();
    while let Some(count) = read_some(&mut agent_in, &mut buffer) {
        splitter.feed(buffer.get(..count).unwrap_or_default());
        while let Some(line) = splitter.next_line() {
            steps.extend(bridge.begin(line));
        }
        for step in steps.drain(..) {
            bridge.finish(step, runtime, &mut tasks);
        }
        while tasks.try_join_next().is_some() {}
    }
    if let Some(rest) = splitter.finish()
        && let Some(step) = bridge.begin(Ok(rest))
    {
        bridge.finish(step, runtime, &mut tasks);
    }
    bridge.0.keep_listening(None);
    runtime.block_on(async {
        // What is in flight may finish; what is cut off records that nobody knows.
        let all = async { while tasks.join_next().await.is_some() {} };
        let _ = timeout(limits.exit, all).await;
        tasks.shutdown().await;
        bridge.0.leave(limits.exit).await;
    });
    Ok(Ended::Agent)
}

enum Step {
    Decide(Deciding, Id),
    Pass(Message),
    Answer(Bytes),
}

struct Bridge<W>(Arc<Ends<W>>);

/// A code and a reason.
type Failure = (&'static str, String);

fn lost(failed: NoReply) -> Failure {
    (failed.code(), failed.reason())
}

/// Both ends of the connection.
struct Ends<W> {
    client: Client,
    url: Url,
    /// The server's session, once `initialize` has been answered.
    session: Mutex<Option<HeaderValue>>,
    /// The task that listens to what the server says by itself.
    listening: Mutex<Option<JoinHandle<()>>>,
    waiting: InFlight<AbortHandle>,
    proxy: Arc<Proxy>,
    agent: Arc<LineWriter<W>>,
    limit: Duration,
}

impl<W: Write + Send + 'static> Bridge<W> {
    fn begin(&self, line: Result<Bytes, LineTooLong>) -> Option<Step> {
        let proxy = &self.0.proxy;
        match proxy.read(line) {
            ClientMessage::Refused(refused) => {
                let refused = block_on(proxy.record(refused));
                refused.answer.map(Step::Answer)
            }
            ClientMessage::Pass(message) => Some(Step::Pass(message)),
            ClientMessage::Request(request) => {
                let id = request.id().clone();
                if let Err(error) = self.0.waiting.reserve(&id) {
                    let reason = format!("{error}. Nothing was forwarded.");
                    let refused = proxy.refuse(request.message(), error.code(), &reason);
                    let refused = block_on(proxy.record(refused));
                    return refused.answer.map(Step::Answer);
                }
                Some(Step::Decide(proxy.decide(request), id))
            }
        }
    }

    fn finish(&self, step: Step, runtime: &Handle, tasks: &mut JoinSet<()>) {
        let ends = Arc::clone(&self.0);
        match step {
            Step::Answer(answer) => ends.tell(&answer),
            Step::Decide(deciding, id) => match deciding.wait_for_decision() {
                Ok(Verdict::Answer(answer) | Verdict::Unrecorded(answer)) => {
                    ends.waiting.release(&id);
                    ends.tell(&answer);
                }
                decided => {
                    let (noted, begin) = oneshot::channel();
                    let called = id.clone();
                    let task = tasks.spawn_on(
                        async move {
                            // Its handle is noted first: noted after the call is over, it would
                            // hold the id for ever.
                            let _: Result<(), _> = begin.await;
                            let id = called;
                            // Other calls go on while one waits for its evidence.
                            let verdict = match decided {
                                Ok(verdict) => verdict,
                                Err(attesting) => attesting.attested().await,
                            };
                            let answer = match verdict {
                                Verdict::Forward(forward) => {
                                    let Forward { bytes, call } = *forward;
                                    ends.call(bytes, call).await
                                }
                                Verdict::Answer(answer) | Verdict::Unrecorded(answer) => answer,
                            };
                            // Whoever reads the answer may use the id again, and so may who
                            // cancelled the call.
                            let own = tokio::task::id();
                            if ends
                                .waiting
                                .take_own(&id, |task| task.id() == own)
                                .is_some()
                            {
                                ends.tell(&answer);
                            }
                        },
                        runtime,
                    );
                    if self.0.waiting.fill(&id, task).is_ok() {
                        let _ = noted.send(());
                    }
                }
            },
            Step::Pass(message) => match message.body() {
                Body::Request { id, method, .. } => {
                    let id = id.clone();
                    if let Err(error) = ends.waiting.reserve(&id) {
                        let reason = format!("{error}. Nothing was forwarded.");
                        let refused = ends.proxy.refuse(&message, error.code(), &reason);
                        refused.answer.iter().for_each(|answer| ends.tell(answer));
                        return;
                    }
                    let opens = method == "initialize";
                    let asking = async move {
                        let answer = ends.ask(&message, opens).await;
                        ends.waiting.release(&id);
                        ends.tell(&answer);
                    };
                    if opens {
                        // Whatever comes next needs the session.
                        runtime.block_on(asking);
                    } else {
                        tasks.spawn_on(asking, runtime);
                    }
                }
                _ => {
                    runtime.block_on(ends.send(&message));
                    if message.method() == Some("notifications/initialized") && ends.has_session() {
                        let listening = runtime.spawn(async move { ends.listen().await });
                        self.0.keep_listening(Some(listening));
                    }
                }
            },
        }
    }
}

impl<W: Write> Ends<W> {
    fn tell(&self, message: &[u8]) {
        if let Err(error) = self.agent.write(message) {
            tracing::warn!(%error, "the agent does not listen");
        }
    }

    fn session(&self) -> Option<HeaderValue> {
        self.session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep_listening(&self, listening: Option<JoinHandle<()>>) {
        let mut place = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *place, listening) {
            before.abort();
        }
    }

    fn has_session(&self) -> bool {
        !self.proxy.revision().is_stateless()
    }

    /// The headers that repeat what the message says.
    fn headers(&self, message: Option<&Message>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(session) = self.session() {
            headers.insert(SESSION, session);
        }
        let session_revision = self.proxy.revision();
        let revision = message
            .and_then(|message| revision_of(message, session_revision).ok())
            .unwrap_or(session_revision);
        let opens = message.is_some_and(|message| message.method() == Some("initialize"));
        if !opens {
            let version = HeaderValue::from_static(revision.as_str());
            headers.insert(PROTOCOL_VERSION, version);
        }
        if let Some(message) = message
            && stated_version(message).is_some()
        {
            if let Some(method) = message
                .method()
                .and_then(|text| HeaderValue::from_str(text).ok())
            {
                headers.insert(METHOD, method);
            }
            if let Some(name) = headers::name_of(message) {
                headers.extend(HeaderValue::from_str(&name).ok().map(|name| (NAME, name)));
            }
        }
        headers
    }

    async fn post(&self, message: &Message, bytes: Bytes) -> Result<Reply, NoReply> {
        let headers = self.headers(Some(message));
        let limit = self.proxy.server_bytes();
        upstream::post(&self.client, &self.url, headers, bytes, limit).await
    }

    /// Sends a call that was allowed; what the agent gets.
    async fn call(&self, bytes: Bytes, mut call: OpenCall) -> Bytes {
        let message = match Message::from_bytes(bytes.clone(), bytes.len()) {
            Ok(message) => message,
            Err(error) => {
                let failed = call.failed(Executed::No, error.code(), &error.to_string());
                return failed.durable().await;
            }
        };
        call.sent();
        let limit = self.limit;
        let waited = timeout(limit, async {
            let mut open = Some(call);
            let outcome = self.answer_of_call(&message, bytes, &mut open).await;
            (outcome, open)
        });
        // On time-out the call is dropped with the future: its outcome is unknown.
        let failed = match waited.await {
            Ok((Ok(answer), _)) => return answer,
            Ok((Err(failed), Some(call))) => {
                let executed = match failed {
                    NoReply::NotSent(_) => Executed::No,
                    _ => Executed::Maybe,
                };
                let answering = call.failed(executed, failed.code(), &failed.reason());
                return answering.durable().await;
            }
            Ok((Err(failed), None)) => failed.reason(),
            Err(_) => self.late().1,
        };
        self.proxy.fail(&message, TIMED_OUT, &failed)
    }

    async fn answer_of_call(
        &self,
        message: &Message,
        bytes: Bytes,
        open: &mut Option<OpenCall>,
    ) -> Result<Bytes, NoReply> {
        let answer = match self.post(message, bytes).await? {
            Reply::Whole { status, body, .. } => self.whole(message, status, body)?,
            Reply::Events { mut events, .. } => self.find(message, &mut events).await?,
        };
        match open.take() {
            Some(call) => Ok(call.answered_in_order(answer).await.durable().await),
            None => Err(NoReply::Lost("the call is over".to_owned())),
        }
    }

    /// Sends a request that is not decided; what the agent gets.
    async fn ask(&self, message: &Message, opens: bool) -> Bytes {
        match self.answer_of(message, opens).await {
            Ok(answer) => {
                if opens {
                    self.proxy.note_handshake(&answer);
                }
                answer.bytes().clone()
            }
            Err((code, reason)) => self.proxy.fail(message, code, &reason),
        }
    }

    async fn answer_of(&self, message: &Message, opens: bool) -> Result<Message, Failure> {
        let deadline = Instant::now() + self.limit;
        let posted = self.post(message, message.bytes().clone());
        let reply = timeout_at(deadline, posted)
            .await
            .map_err(|_| self.late())?
            .map_err(lost)?;
        match reply {
            Reply::Whole {
                status,
                body,
                headers,
                ..
            } => {
                self.take_session(opens, &headers);
                self.whole(message, status, body).map_err(lost)
            }
            Reply::Events {
                headers,
                mut events,
                ..
            } => {
                self.take_session(opens, &headers);
                let found = self.find(message, &mut events);
                if message.method() == Some(LISTEN) {
                    return found.await.map_err(lost);
                }
                timeout_at(deadline, found)
                    .await
                    .map_err(|_| self.late())?
                    .map_err(lost)
            }
        }
    }

    /// The server has had the time that a call may take.
    fn late(&self) -> Failure {
        let seconds = self.limit.as_secs();
        (
            TIMED_OUT,
            format!("the server has not answered for {seconds} s"),
        )
    }

    fn take_session(&self, opens: bool, headers: &HeaderMap) {
        if opens {
            let session = headers.get(SESSION).cloned();
            *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
        }
    }

    /// Sends a notification or an answer of the agent.
    async fn send(&self, message: &Message) {
        let cancelled = (message.method() == Some(CANCELLED))
            .then(|| cancelled_id(message))
            .flatten();
        if self.has_session() {
            let posted = timeout(self.limit, self.post(message, message.bytes().clone()));
            let failed = match posted.await {
                Ok(Ok(_)) => None,
                Ok(Err(failed)) => Some(lost(failed)),
                Err(_) => Some(self.late()),
            };
            if let Some((code, reason)) = failed {
                tracing::warn!(code, reason, "a message could not be sent");
            }
        }
        // Closing the connection is what cancels a request where there are no sessions; the
        // call's outcome is unknown then.
        if let Some(task) = cancelled.and_then(|id| self.waiting.take(&id)) {
            task.abort();
        }
    }

    /// The answer in a body.
    fn whole(
        &self,
        message: &Message,
        status: StatusCode,
        body: Bytes,
    ) -> Result<Message, NoReply> {
        match self.proxy.read_from_server(Ok(body)) {
            ServerMessage::Answer(answer) if answer.id() == message.id() => Ok(answer),
            _ => Err(NoReply::Lost(format!(
                "status {status} and no answer to the request"
            ))),
        }
    }

    /// The answer in a stream; tells the agent what else is in it.
    async fn find(&self, message: &Message, events: &mut Events) -> Result<Message, NoReply> {
        while let Some(piece) = events.next().await? {
            let Some(data) = piece.data().filter(|data| !data.is_empty()) else {
                continue;
            };
            match self.proxy.read_from_server(Ok(data.into())) {
                ServerMessage::Answer(answer) if answer.id() == message.id() => return Ok(answer),
                ServerMessage::Answer(_) => {
                    tracing::warn!("dropped an answer to a request that is not in flight");
                }
                ServerMessage::Pass(other) => self.tell(other.bytes()),
                ServerMessage::Dropped { code, reason } => {
                    tracing::warn!(code, reason, "dropped what the server sent");
                }
            }
        }
        Err(NoReply::Lost(
            "the stream ended without an answer".to_owned(),
        ))
    }

    /// Tells the agent what the server says by itself, for as long as it does.
    async fn listen(&self) {
        let headers = self.headers(None);
        let limit = self.proxy.server_bytes();
        let listening = upstream::bare(&self.client, Method::GET, &self.url, headers, limit).await;
        let Ok(Reply::Events { mut events, .. }) = listening else {
            // A server need not offer it.
            return;
        };
        while let Ok(Some(piece)) = events.next().await {
            let Some(data) = piece.data().filter(|data| !data.is_empty()) else {
                continue;
            };
            match self.proxy.read_from_server(Ok(data.into())) {
                ServerMessage::Pass(message) => self.tell(message.bytes()),
                ServerMessage::Answer(_) => {
                    tracing::warn!("dropped an answer to a request that is not in flight");
                }
                ServerMessage::Dropped { code, reason } => {
                    tracing::warn!(code, reason, "dropped what the server sent");
                }
            }
        }
    }

    /// Ends the session.
    async fn leave(&self, limit: Duration) {
        if self.session().is_some() {
            let headers = self.headers(None);
            let bare = upstream::bare(&self.client, Method::DELETE, &self.url, headers, 65_536);
            let _ = timeout(limit, bare).await;
        }
    }
}

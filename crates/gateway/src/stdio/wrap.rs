//! A gateway between an agent and a stdio server that it starts.

use std::io::{self, Read, Write};
use std::process::{ChildStdin, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::child::Command;
use super::in_flight::InFlight;
use super::{LineWriter, block_on};
use crate::error::GatewayError;
use crate::message::call::{CANCELLED, cancelled_id};
use crate::message::framing::LineSplitter;
use crate::message::{Body, Id, Message};
use crate::proxy::{
    ClientMessage, Deciding, Executed, Gate, OpenCall, Proxy, ServerMessage, Verdict,
};

/// How much is read at once, in bytes.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A call without an answer is given up after this.
    pub call: Duration,
    /// A server that does not end after its input was closed is killed after this.
    pub exit: Duration,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// The server ended, by itself or after the agent went away.
    Server(ExitStatus),
    /// The agent went away, and what was in flight has finished or was cut off.
    Agent,
    /// The agent went away, and no server had been started because the gate refuses.
    Refused,
}

/// Runs until the agent or the server ends.
///
/// Nothing is started while the gate refuses: every request is answered with the reason then.
///
/// # Errors
/// [`GatewayError::Spawn`] when the server cannot be started.
pub fn wrap(
    proxy: Arc<Proxy>,
    command: &Command,
    agent_in: impl Read + Send + 'static,
    agent_out: impl Write + Send + 'static,
    limits: Limits,
) -> Result<Ended, GatewayError> {
    let agent = Arc::new(LineWriter::new(agent_out));
    if let Gate::Refusing { .. } = proxy.gate() {
        refuse_all(&proxy, agent_in, &agent);
        return Ok(Ended::Refused);
    }
    let mut child = command
        .prepare()
        .spawn()
        .map_err(|error| GatewayError::Spawn {
            program: command.program(),
            error: error.to_string(),
        })?;
    let (Some(child_in), Some(child_out)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(GatewayError::Spawn {
            program: command.program(),
            error: "its pipes are missing".to_owned(),
        });
    };
    let waiting = Arc::new(InFlight::default());
    let connection = Connection {
        proxy,
        waiting,
        agent,
    };
    let (ended, ends) = channel();
    let reading = connection.clone();
    spawn("server output", &ended, End::Server, move || {
        reading.serve_server(child_out);
    })?;
    let writing = connection.clone();
    // Closes the server's input when the agent is gone.
    spawn("agent input", &ended, End::Agent, move || {
        writing.serve_agent(agent_in, child_in);
    })?;

    let mut next = Instant::now() + limits.call;
    let mut kill_at: Option<Instant> = None;
    loop {
        let until = kill_at.map_or(next, |kill_at| kill_at.min(next));
        match ends.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(End::Server) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(End::Agent) => kill_at = Some(Instant::now() + limits.exit),
            Err(RecvTimeoutError::Timeout) => {
                if kill_at.is_some_and(|kill_at| kill_at <= Instant::now()) {
                    tracing::warn!("the server did not end after its input was closed");
                    let _ = child.kill();
                    kill_at = None;
                }
                next = connection.give_up_late(limits.call);
            }
        }
    }
    let status = reap(&mut child, limits.exit);
    status
        .map(Ended::Server)
        .map_err(|error| GatewayError::Spawn {
            program: command.program(),
            error: error.to_string(),
        })
}

#[derive(Clone, Copy, Debug)]
enum End {
    Agent,
    Server,
}

fn spawn(
    name: &str,
    ended: &Sender<End>,
    end: End,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), GatewayError> {
    let ended = ended.clone();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            work();
            let _ = ended.send(end);
        })
        .map(|_| ())
        .map_err(|error| GatewayError::Spawn {
            program: name.to_owned(),
            error: error.to_string(),
        })
}

/// Its output has ended, so it ends too; or is ended.
fn reap(child: &mut std::process::Child, limit: Duration) -> io::Result<ExitStatus> {
    let until = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= until {
            child.kill()?;
            return child.wait();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Answers everything with the reason why nothing is decided.
pub(super) fn refuse_all<W: Write>(proxy: &Proxy, mut agent_in: impl Read, agent: &LineWriter<W>) {
    let mut splitter = LineSplitter::new(proxy.client_bytes());
    let mut buffer = vec![0; READ_BYTES];
    while let Some(count) = read_some(&mut agent_in, &mut buffer) {
        splitter.feed(buffer.get(..count).unwrap_or_default());
        while let Some(line) = splitter.next_line() {
            if let ClientMessage::Refused(refused) = proxy.read(line)
                && let Some(answer) = refused.answer
                && agent.write(&answer).is_err()
            {
                return;
            }
        }
    }
}

/// Reads what is there; none at the end.
pub(super) fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match reader.read(buffer) {
            Ok(0) => return None,
            Ok(count) => return Some(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(%error, "reading failed");
                return None;
            }
        }
    }
}

/// What waits for an answer of the server.
enum Awaited {
    Call(Box<OpenCall>),
    /// A request that is not decided; `true` for `initialize`.
    Lifecycle {
        message: Message,
        opens: bool,
    },
}

/// One message of the agent, read and in its place in the order.
enum Step {
    Decide(Deciding, Id),
    Pass(Message),
    Answer(bytes::Bytes),
}

struct Connection<W> {
    proxy: Arc<Proxy>,
    waiting: Arc<InFlight<Awaited>>,
    agent: Arc<LineWriter<W>>,
}

impl<W> Clone for Connection<W> {
    fn clone(&self) -> Self {
        Self {
            proxy: Arc::clone(&self.proxy),
            waiting: Arc::clone(&self.waiting),
            agent: Arc::clone(&self.agent),
        }
    }
}

impl<W: Write> Connection<W> {
    /// Reads the agent's lines. All that have arrived together are decided together, which is one
    /// sync of the disk, and then go on in the order in which they came.
    fn serve_agent(&self, mut agent_in: impl Read, child_in: ChildStdin) {
        let server = LineWriter::new(child_in);
        let mut splitter = LineSplitter::new(self.proxy.client_bytes());
        let mut buffer = vec![0; READ_BYTES];
        let mut steps = Vec::new();
        while let Some(count) = read_some(&mut agent_in, &mut buffer) {
            splitter.feed(buffer.get(..count).unwrap_or_default());
            while let Some(line) = splitter.next_line() {
                steps.extend(self.begin(line));
            }
            for step in steps.drain(..) {
                if self.finish(step, &server).is_err() {
                    // The agent does not listen any more.
                    return;
                }
            }
        }
        if let Some(rest) = splitter.finish()
            && let Some(step) = self.begin(Ok(rest))
        {
            let _ = self.finish(step, &server);
        }
    }

    fn begin(
        &self,
        line: Result<bytes::Bytes, crate::message::framing::LineTooLong>,
    ) -> Option<Step> {
        match self.proxy.read(line) {
            ClientMessage::Refused(refused) => {
                let refused = block_on(self.proxy.record(refused));
                refused.answer.map(Step::Answer)
            }
            ClientMessage::Pass(message) => Some(Step::Pass(message)),
            ClientMessage::Request(request) => {
                let id = request.id().clone();
                if let Err(error) = self.waiting.reserve(&id) {
                    let reason = format!("{error}. Nothing was forwarded.");
                    let refused = self.proxy.refuse(request.message(), error.code(), &reason);
                    let refused = block_on(self.proxy.record(refused));
                    return refused.answer.map(Step::Answer);
                }
                Some(Step::Decide(self.proxy.decide(request), id))
            }
        }
    }

    fn finish(&self, step: Step, server: &LineWriter<ChildStdin>) -> io::Result<()> {
        match step {
            Step::Answer(answer) => self.agent.write(&answer),
            Step::Pass(message) => self.pass(message, server),
            Step::Decide(deciding, id) => match deciding.wait() {
                Verdict::Answer(answer) | Verdict::Unrecorded(answer) => {
                    self.waiting.release(&id);
                    self.agent.write(&answer)
                }
                Verdict::Forward(forward) => {
                    let mut call = forward.call;
                    call.sent();
                    match self.waiting.fill(&id, Awaited::Call(Box::new(call))) {
                        Ok(()) => self.send(server, &forward.bytes, Some(&id)),
                        Err(Awaited::Call(call)) => {
                            let gone = "the server has ended. The call was not executed";
                            let answering = call.failed(Executed::No, "server_ended", gone);
                            self.agent.write(&answering.wait())
                        }
                        Err(Awaited::Lifecycle { .. }) => Ok(()),
                    }
                }
            },
        }
    }

    fn pass(&self, message: Message, server: &LineWriter<ChildStdin>) -> io::Result<()> {
        let bytes = message.bytes().clone();
        match message.body() {
            Body::Request { id, method, .. } => {
                let id = id.clone();
                let opens = method == "initialize";
                if let Err(error) = self.waiting.reserve(&id) {
                    let reason = format!("{error}. Nothing was forwarded.");
                    let refused = self.proxy.refuse(&message, error.code(), &reason);
                    return refused
                        .answer
                        .map_or(Ok(()), |answer| self.agent.write(&answer));
                }
                let awaited = Awaited::Lifecycle { message, opens };
                if let Err(awaited) = self.waiting.fill(&id, awaited) {
                    return self.give_up(
                        awaited,
                        Executed::No,
                        "server_ended",
                        "the server has ended",
                    );
                }
                self.send(server, &bytes, Some(&id))
            }
            Body::Notification { method, .. } => {
                let cancelled = (method == CANCELLED)
                    .then(|| cancelled_id(&message))
                    .flatten();
                let sent = self.send(server, &bytes, None);
                // No answer is due any more, and nobody can say whether the call was executed:
                // dropping it says so.
                if let Some(id) = cancelled {
                    drop(self.waiting.abandon(&id));
                }
                sent
            }
            Body::Result { .. } | Body::Error { .. } => self.send(server, &bytes, None),
        }
    }

    /// Sends to the server. A server that is gone is no failure of the agent's side.
    fn send(
        &self,
        server: &LineWriter<ChildStdin>,
        bytes: &[u8],
        id: Option<&Id>,
    ) -> io::Result<()> {
        let Err(error) = server.write(bytes) else {
            return Ok(());
        };
        let Some(awaited) = id.and_then(|id| self.waiting.take(id)) else {
            return Ok(());
        };
        let reason = format!("the request could not be sent to the server: {error}");
        self.give_up(awaited, Executed::Maybe, "server_ended", &reason)
    }

    /// Answers for the server.
    fn give_up(
        &self,
        awaited: Awaited,
        executed: Executed,
        code: &'static str,
        reason: &str,
    ) -> io::Result<()> {
        match awaited {
            Awaited::Call(call) => {
                let answering = call.failed(executed, code, reason);
                self.agent.write(&answering.wait())
            }
            Awaited::Lifecycle { message, .. } => {
                let refused = self.proxy.fail(&message, code, reason);
                self.agent.write(&refused)
            }
        }
    }

    /// Gives up calls that have waited too long; says when to look again.
    fn give_up_late(&self, limit: Duration) -> Instant {
        let (late, next) = self.waiting.expired(limit);
        for awaited in late {
            let reason = format!("the server has not answered for {} s", limit.as_secs());
            let _ = self.give_up(awaited, Executed::Maybe, "call_timed_out", &reason);
        }
        next
    }

    /// Reads the server's lines, to the end.
    fn serve_server(&self, mut child_out: impl Read) {
        let mut splitter = LineSplitter::new(self.proxy.server_bytes());
        let mut buffer = vec![0; READ_BYTES];
        while let Some(count) = read_some(&mut child_out, &mut buffer) {
            splitter.feed(buffer.get(..count).unwrap_or_default());
            while let Some(line) = splitter.next_line() {
                if self.deliver(line).is_err() {
                    self.end();
                    return;
                }
            }
        }
        self.end();
    }

    fn deliver(
        &self,
        line: Result<bytes::Bytes, crate::message::framing::LineTooLong>,
    ) -> io::Result<()> {
        let message = match self.proxy.read_from_server(line) {
            ServerMessage::Pass(message) => return self.agent.write(message.bytes()),
            ServerMessage::Dropped { code, reason } => {
                tracing::warn!(code, reason, "dropped what the server sent");
                return Ok(());
            }
            ServerMessage::Answer(message) => message,
        };
        let Some(id) = message.id() else {
            // An error about a message that the server could not read.
            return self.agent.write(message.bytes());
        };
        match self.waiting.take(id) {
            Some(Awaited::Call(call)) => {
                let answer = call.answered(message).wait();
                self.agent.write(&answer)
            }
            Some(Awaited::Lifecycle { opens, .. }) => {
                if opens {
                    self.proxy.note_handshake(&message);
                }
                self.agent.write(message.bytes())
            }
            None => {
                tracing::warn!(%id, "dropped an answer to a request that is not in flight");
                Ok(())
            }
        }
    }

    /// The server has ended: nothing more is answered by it.
    fn end(&self) {
        for awaited in self.waiting.close() {
            let reason = "the server ended before it answered";
            let _ = self.give_up(awaited, Executed::Maybe, "server_ended", reason);
        }
    }
}

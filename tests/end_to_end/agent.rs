//! An agent: a small MCP client over streamable HTTP and over pipes, which blocks.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

const REVISION: &str = "2025-11-25";
const LIMIT: Duration = Duration::from_secs(30);

/// How a call ended for the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The tool ran and answered.
    Done(String),
    /// The tool ran and reported an error of its own.
    Failed(String),
    /// Somebody refused; the tool did not run.
    Refused { code: String, text: String },
}

impl Ended {
    /// The code of a refusal.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// An agent in a session over HTTP.
#[derive(Debug)]
pub(crate) struct HttpAgent {
    runtime: Runtime,
    http: reqwest::Client,
    url: String,
    session: Option<String>,
    next_id: u64,
}

impl HttpAgent {
    /// Opens a session, or says why that fails.
    pub(crate) fn connect(url: &str) -> Result<Self, String> {
        let mut agent = Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            http: reqwest::Client::builder()
                .timeout(LIMIT)
                .no_proxy()
                .build()
                .unwrap(),
            url: url.to_owned(),
            session: None,
            next_id: 0,
        };
        let answer = agent.request("initialize", initialize())?;
        if answer.get("error").is_some() {
            return Err(answer.to_string());
        }
        agent.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        Ok(agent)
    }

    /// Calls a tool; an error is one of the connection or of the protocol.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Result<Ended, String> {
        let params = json!({ "name": tool, "arguments": arguments });
        ended(&self.request("tools/call", params)?)
    }

    /// Calls a tool with something in `_meta` of the parameters.
    pub(crate) fn call_with(
        &mut self,
        tool: &str,
        arguments: Value,
        meta: Value,
    ) -> Result<Ended, String> {
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        ended(&self.request("tools/call", params)?)
    }

    /// The id of the session.
    pub(crate) fn session(&self) -> &str {
        self.session.as_deref().unwrap_or_default()
    }

    fn request(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.next_id += 1;
        let id = self.next_id;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let body = self.post(&message)?;
        std::iter::once(body.as_str())
            .chain(body.lines().filter_map(|line| line.strip_prefix("data:")))
            .filter_map(|text| serde_json::from_str::<Value>(text).ok())
            .find(|value| value["id"] == id)
            .ok_or_else(|| format!("{method} is answered with {body:?}"))
    }

    fn post(&mut self, message: &Value) -> Result<String, String> {
        let mut request = self
            .http
            .post(&self.url)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", REVISION)
            .json(message);
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        self.runtime
            .block_on(async {
                let answer = request.send().await?;
                let session = answer.headers().get("mcp-session-id").cloned();
                Ok((session, answer.text().await?))
            })
            .map(|(session, text)| {
                if let Some(session) = session {
                    self.session = session.to_str().ok().map(str::to_owned);
                }
                text
            })
            .map_err(|error: reqwest::Error| error.to_string())
    }
}

/// Whoever leaves says so: the gateway keeps a process for every session that is open.
impl Drop for HttpAgent {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let leaving = self
                .http
                .delete(&self.url)
                .header("mcp-session-id", session);
            let _ = self.runtime.block_on(async { leaving.send().await });
        }
    }
}

/// An agent that started its server itself.
#[derive(Debug)]
pub(crate) struct StdioAgent {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next_id: u64,
}

impl StdioAgent {
    /// Starts the server and opens a session.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut agent = Self::start_without_handshake(command);
        agent.request("initialize", initialize());
        agent.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
        agent
    }

    /// Starts the server and says nothing yet.
    pub(crate) fn start_without_handshake(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self {
            input: child.stdin.take(),
            child,
            lines,
            next_id: 0,
        }
    }

    /// Calls a tool.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Ended {
        let params = json!({ "name": tool, "arguments": arguments });
        ended(&self.request("tools/call", params)).unwrap()
    }

    /// Makes a request and waits for its answer.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        self.send(
            &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string(),
        );
        loop {
            let value = self.next().expect("the server hung up");
            if value["id"] == id {
                return value;
            }
        }
    }

    /// Sends one line as it is.
    pub(crate) fn send(&mut self, line: &str) {
        self.send_bytes(line.as_bytes());
    }

    /// Sends bytes as they are, and the end of a line.
    pub(crate) fn send_bytes(&mut self, line: &[u8]) {
        let input = self.input.as_mut().unwrap();
        // A gateway that has hung up on us has read nothing more.
        let _ = input.write_all(line);
        let _ = input.write_all(b"\n");
        let _ = input.flush();
    }

    /// The next message; none when the server has hung up.
    pub(crate) fn next(&mut self) -> Option<Value> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(serde_json::from_str(&line).unwrap()),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("no answer"),
        }
    }

    /// Hangs up and waits for the server to end.
    pub(crate) fn end(mut self) -> ExitStatus {
        drop(self.input.take());
        self.child.wait().unwrap()
    }
}

impl Drop for StdioAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn initialize() -> Value {
    json!({
        "protocolVersion": REVISION,
        "capabilities": {},
        "clientInfo": { "name": "end-to-end", "version": "1" },
    })
}

/// Reads the answer to a call. A refusal is a result or an error, always with its code.
fn ended(answer: &Value) -> Result<Ended, String> {
    let refusal = "dev.counterfoil/refusal";
    let code = [
        &answer["result"]["_meta"][refusal]["code"],
        &answer["error"]["data"][refusal]["code"],
        &answer["error"]["data"]["code"],
    ];
    let code = code.iter().find_map(|code| code.as_str());
    let text = answer["result"]["content"][0]["text"]
        .as_str()
        .or_else(|| answer["error"]["message"].as_str())
        .unwrap_or_default()
        .to_owned();
    match (code, answer.get("result")) {
        (Some(code), _) => Ok(Ended::Refused {
            code: code.to_owned(),
            text,
        }),
        (None, Some(result)) if result["isError"] == true => Ok(Ended::Failed(text)),
        (None, Some(_)) => Ok(Ended::Done(text)),
        (None, None) => Err(answer.to_string()),
    }
}

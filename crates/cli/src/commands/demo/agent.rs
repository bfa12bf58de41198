//! The agent of the demo: an MCP client over streamable HTTP and over pipes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::answer::{OrProblem as _, Problem};

/// The protocol revision that the agent speaks.
const REVISION: &str = "2025-11-25";
/// How long the agent waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How a call ended, as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallResult {
    /// The code of a refusal; none when the tool ran.
    pub(super) refused: Option<String>,
    /// Whether the tool, or the refusal, says that it is an error.
    pub(super) is_error: bool,
    /// What the agent reads.
    pub(super) text: String,
}

/// An agent in a session with a server behind a gateway.
#[derive(Debug)]
pub(super) struct HttpAgent {
    http: reqwest::Client,
    url: String,
    session: Option<String>,
    next_id: u64,
}

impl HttpAgent {
    /// Opens a session.
    pub(super) async fn connect(url: &str) -> Result<Self, Problem> {
        let http = reqwest::Client::builder()
            .timeout(ANSWER_LIMIT)
            .no_proxy()
            .build()?;
        let mut agent = Self {
            http,
            url: url.to_owned(),
            session: None,
            next_id: 0,
        };
        agent.request("initialize", initialize()).await?;
        agent.post(&initialized()).await?;
        Ok(agent)
    }

    /// Calls a tool.
    pub(super) async fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
    ) -> Result<CallResult, Problem> {
        let answer = self
            .request(
                "tools/call",
                json!({ "name": tool, "arguments": arguments }),
            )
            .await?;
        Ok(result(&answer))
    }

    async fn request(&mut self, method: &str, params: Value) -> Result<Value, Problem> {
        self.next_id += 1;
        let message = json!({
            "jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params,
        });
        let body = self.post(&message).await?;
        // A lone JSON value, or a stream of events of which one is the answer.
        let values = std::iter::once(body.as_str()).chain(
            body.lines()
                .filter_map(|line| line.strip_prefix("data:").map(str::trim)),
        );
        values
            .filter_map(|text| serde_json::from_str::<Value>(text).ok())
            .find(|value| value.get("id").and_then(Value::as_u64) == Some(self.next_id))
            .ok_or_else(|| Problem::new(format!("{method} is answered with `{body}`")))
    }

    async fn post(&mut self, message: &Value) -> Result<String, Problem> {
        let mut request = self
            .http
            .post(&self.url)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", REVISION)
            .json(message);
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let answer = request.send().await.at(&self.url)?;
        if let Some(session) = answer.headers().get("mcp-session-id") {
            self.session = session.to_str().ok().map(str::to_owned);
        }
        Ok(answer.text().await?)
    }
}

/// An agent that started the gateway itself.
#[derive(Debug)]
pub(super) struct StdioAgent {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    next_id: u64,
}

impl StdioAgent {
    /// Opens a session with a gateway that was just started.
    pub(super) async fn connect(mut child: Child) -> Result<Self, Problem> {
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Problem::new("no pipes"));
        };
        let mut agent = Self {
            child,
            input,
            output: BufReader::new(output).lines(),
            next_id: 0,
        };
        agent.request("initialize", initialize()).await?;
        agent.send(&initialized()).await?;
        Ok(agent)
    }

    /// Calls a tool.
    pub(super) async fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
    ) -> Result<CallResult, Problem> {
        let answer = self
            .request(
                "tools/call",
                json!({ "name": tool, "arguments": arguments }),
            )
            .await?;
        Ok(result(&answer))
    }

    /// Hangs up and waits until the gateway has ended.
    pub(super) async fn end(mut self) -> Result<(), Problem> {
        drop(self.input);
        tokio::time::timeout(ANSWER_LIMIT, self.child.wait())
            .await
            .at("the gateway does not end")??;
        Ok(())
    }

    async fn request(&mut self, method: &str, params: Value) -> Result<Value, Problem> {
        self.next_id += 1;
        let message = json!({
            "jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params,
        });
        self.send(&message).await?;
        loop {
            let line = tokio::time::timeout(ANSWER_LIMIT, self.output.next_line())
                .await
                .at(format!("no answer to {method}"))??
                .ok_or_else(|| Problem::new("the gateway hung up"))?;
            let value: Value = serde_json::from_str(&line).at(&line)?;
            if value.get("id").and_then(Value::as_u64) == Some(self.next_id) {
                return Ok(value);
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Result<(), Problem> {
        self.input
            .write_all(format!("{message}\n").as_bytes())
            .await?;
        Ok(self.input.flush().await?)
    }
}

fn initialize() -> Value {
    json!({
        "protocolVersion": REVISION,
        "capabilities": {},
        "clientInfo": { "name": "counterfoil-demo", "version": env!("CARGO_PKG_VERSION") },
    })
}

fn initialized() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}

fn result(answer: &Value) -> CallResult {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let refused = answer
        .pointer("/result/_meta/dev.counterfoil~1refusal/code")
        .or_else(|| answer.pointer("/error/data/dev.counterfoil~1refusal/code"))
        .or_else(|| answer.pointer("/error/data/code"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    let is_error = answer.get("error").is_some()
        || answer.pointer("/result/isError").and_then(Value::as_bool) == Some(true);
    let said = answer
        .pointer("/result/content/0/text")
        .or_else(|| answer.pointer("/error/message"));
    CallResult {
        refused,
        is_error,
        text: text(said),
    }
}

//! `operator.toml`: the configuration of an operator's gateway and enforcer.
//!
//! A key that is not described here is an error, and so is a value that cannot work: a misspelt
//! key must never open the gate. Errors name the file and the line.
//!
//! ```toml
//! # Whose home this is: a lower-case DNS name.
//! operator = "acme.example"
//!
//! [journal]
//! # Whether parameters, results and evaluation inputs are kept in clear beside the records.
//! # Records themselves hold only salted digests.
//! keep_clear_text = false
//!
//! [batch]
//! # How long a record waits at most until its batch is sealed, in milliseconds.
//! interval_millis = 1000
//! # At how many records a batch is sealed without waiting.
//! records = 1024
//!
//! # The log that commitments go to. Without it evidence reaches level `committed`.
//! [log]
//! url = "http://127.0.0.1:7001"
//! # How many records may wait to be logged before every call is denied.
//! backlog_records = 100000
//!
//! [gateway]
//! # Where to answer: MCP at /mcp/<server>, HTTP APIs at /http/<server>/, A2A agents at
//! # /a2a/<server>, the exchange API at /exchange/v1/.
//! listen = "127.0.0.1:7100"
//! # How others reach it. Its exchange API goes into the manifest.
//! url = "http://127.0.0.1:7100"
//! # How far the time of another operator's request may be from ours, in seconds.
//! freshness_seconds = 120
//! # The most bytes of one MCP or A2A message, or of one body over HTTP.
//! message_bytes = 4194304
//! # After how long a call without an answer is given up, in seconds.
//! call_seconds = 600
//! # How long a request waits for its evidence where a contract asks for it before the call, in
//! # seconds. It must be well below what the other side allows as `freshness_seconds`.
//! evidence_seconds = 30
//! # Counterparties say at the start which of our records they hold: they know whether the journal
//! # was restored from a backup, and going on with an old one would convict us. `wait`: nothing is
//! # signed before all that were met have answered. `pass_over`: who does not answer within
//! # `counterparty_seconds` is passed over. Only for who knows that no disk was ever set back.
//! silent_counterparties = "wait"
//! # How long starting waits for them before it says so, in seconds.
//! counterparty_seconds = 5
//! # How often manifests are fetched again, in seconds: how long a revoked key is still believed.
//! manifest_seconds = 60
//! # Web origins that may use the gateway from a browser, beside its own address.
//! origins = []
//!
//! # What agents may spend: any number of these.
//! [[budgets]]
//! # Whose agents; without it those of every operator.
//! operator = "acme.example"
//! # Which agent; without it every agent, each with a balance of its own.
//! agent = "support-bot"
//! # RISK_POINTS in each period.
//! risk_points = 500
//! # How long a period is, in seconds.
//! period_seconds = 86400
//!
//! # Who may talk to servers with `callers = "agents"` over HTTP.
//! [[agents]]
//! name = "support-bot"
//! # The file with its bearer token, relative to the home, mode 0600. A loopback listener may do
//! # without, if only one agent is listed.
//! token_file = "keys/support-bot.token"
//!
//! # What stands behind the gateway.
//! [[servers]]
//! # Its name, the same with both operators.
//! name = "desk"
//! # Who calls it: "agents" of this operator, or other "operators", with evidence.
//! callers = "agents"
//! # What it speaks: "mcp", which is the default; "http", any API over HTTP, at /http/<server>/;
//! # or "a2a", an agent that speaks A2A over JSON-RPC, at /a2a/<server>.
//! protocol = "mcp"
//! # Either the command that runs it, which only MCP servers have, or the address where it answers.
//! url = "http://127.0.0.1:7200/mcp/desk"
//! # command = ["node", "server.js"]
//! # The operator behind whose gateway it stands. Evidence travels with the calls then.
//! operator = "globex.example"
//! # Whether calls need a contract between the operators: "required", or "if_agreed", as soon as
//! # they have agreed on one.
//! contract = "if_agreed"
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use counterfoil_enforcer::ledger::Budget;
use counterfoil_protocol::names::{AgentName, OperatorName, ServerName};
use reqwest::Url;

use self::check::Check;
use self::file::File;
use crate::error::GatewayError;
use crate::exchange::Silent;
use crate::proxy::Direction;
use crate::stdio::Command;

mod check;
mod file;

/// The file's name in an operator home.
pub const FILE_NAME: &str = "operator.toml";

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose home it is.
    pub operator: OperatorName,
    /// Whether parameters, results and evaluation inputs are kept in clear beside the records.
    pub keep_clear_text: bool,
    /// How long a record waits at most until its batch is sealed.
    pub batch_interval: Duration,
    /// At how many records a batch is sealed without waiting.
    pub batch_records: u64,
    /// The log, if there is one.
    pub log: Option<Log>,
    /// Where the gateway listens, and its limits.
    pub gateway: Gateway,
    /// What agents may spend.
    pub budgets: Vec<Budget>,
    /// Who may call over HTTP.
    pub agents: Vec<Agent>,
    /// What stands behind the gateway.
    pub servers: Vec<Server>,
}

/// The log that commitments go to.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its address, without a slash at its end.
    pub url: Url,
    /// How many records may wait to be logged before every call is denied.
    pub backlog_records: u64,
}

/// Where the gateway listens, and its limits.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// How others reach it.
    pub url: Url,
    /// How far the time of another operator's request may be from ours.
    pub freshness: Duration,
    /// The most bytes of one message or body, evidence not counted.
    pub message_bytes: usize,
    /// After how long a call without an answer is given up.
    pub call_limit: Duration,
    /// How long a request waits for its evidence where a contract asks for it before the call.
    pub evidence_limit: Duration,
    /// How long starting waits for counterparties to say which of our records they hold.
    pub counterparty_limit: Duration,
    /// What is done about counterparties that do not say it.
    pub silent_counterparties: Silent,
    /// How often manifests are fetched again; a revocation takes effect within this time.
    pub manifest_interval: Duration,
    /// Web origins that may use the gateway, beside its own address.
    pub origins: Vec<String>,
}

/// An agent that may call over HTTP.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// The file with its bearer token.
    pub token_file: Option<PathBuf>,
}

/// A server behind the gateway.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name, the same with both operators.
    pub name: ServerName,
    /// Between whom its calls travel.
    pub direction: Direction,
    /// What it speaks.
    pub protocol: Protocol,
    /// How it is reached.
    pub upstream: Upstream,
    /// Whether its calls need a contract even if the operators never agreed on one.
    pub contract_required: bool,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The Model Context Protocol.
    Mcp,
    /// HTTP, as any API does.
    Http,
    /// A2A, over JSON-RPC.
    A2a,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// The gateway runs it.
    Command(Command),
    /// It answers at this address.
    Url(Url),
}

impl Config {
    /// Reads the configuration of the home at `directory`.
    ///
    /// # Errors
    /// [`GatewayError::Config`] with file and line, [`GatewayError::File`] if it cannot be read.
    pub fn read(directory: &Path) -> Result<Self, GatewayError> {
        let path = directory.join(FILE_NAME);
        let text = std::fs::read_to_string(&path).map_err(|error| GatewayError::File {
            path: path.clone(),
            detail: error.to_string(),
        })?;
        Self::parse(&text, &path)
    }

    /// Parses the text of the file at `path`, in whose directory relative names start.
    ///
    /// # Errors
    /// [`GatewayError::Config`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, GatewayError> {
        let check = Check {
            text,
            path,
            directory: path.parent().unwrap_or(Path::new(".")),
        };
        let file: File = toml::from_str(text).map_err(|error| {
            check.error(
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })?;
        check.file(file)
    }

    /// The server with this name.
    ///
    /// # Errors
    /// [`GatewayError::UnknownServer`].
    pub fn server(&self, name: &str) -> Result<&Server, GatewayError> {
        self.servers
            .iter()
            .find(|server| server.name.as_str() == name)
            .ok_or_else(|| GatewayError::UnknownServer {
                name: name.to_owned(),
            })
    }

    /// The servers whose calls need a contract even if the operators never agreed on one.
    pub fn contract_required(&self) -> BTreeSet<ServerName> {
        let servers = self.servers.iter();
        servers
            .filter(|server| server.contract_required)
            .map(|server| server.name.clone())
            .collect()
    }

    /// The address of the exchange API, as it goes into the manifest.
    pub fn exchange_url(&self) -> String {
        format!(
            "{}/exchange/v1",
            self.gateway.url.as_str().trim_end_matches('/')
        )
    }
}

#[cfg(test)]
mod tests;

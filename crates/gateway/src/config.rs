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
//! # Where to answer: MCP at /mcp/<server>, the exchange API at /exchange/v1/.
//! listen = "127.0.0.1:7100"
//! # How others reach it. Its exchange API goes into the manifest.
//! url = "http://127.0.0.1:7100"
//! # How far the time of another operator's request may be from ours, in seconds.
//! freshness_seconds = 120
//! # The most bytes of one MCP message.
//! message_bytes = 4194304
//! # After how long a call without an answer is given up, in seconds.
//! call_seconds = 600
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
//! # Either the command that runs it, or the address where it answers.
//! url = "http://127.0.0.1:7200/mcp/desk"
//! # command = ["node", "server.js"]
//! # The operator behind whose gateway it stands. Evidence travels with the calls then.
//! operator = "globex.example"
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use counterfoil_enforcer::ledger::Budget;
use counterfoil_protocol::names::{AgentName, OperatorName, ServerName};
use counterfoil_protocol::numbers::Amount;
use reqwest::Url;
use serde::Deserialize;
use toml::Spanned;

use crate::error::GatewayError;
use crate::proxy::Direction;
use crate::stdio::Command;

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
    /// The most bytes of one MCP message, evidence not counted.
    pub message_bytes: usize,
    /// After how long a call without an answer is given up.
    pub call_limit: Duration,
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
    /// How it is reached.
    pub upstream: Upstream,
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

    /// The address of the exchange API, as it goes into the manifest.
    pub fn exchange_url(&self) -> String {
        format!(
            "{}/exchange/v1",
            self.gateway.url.as_str().trim_end_matches('/')
        )
    }
}

struct Check<'t> {
    text: &'t str,
    path: &'t Path,
    directory: &'t Path,
}

impl Check<'_> {
    fn error(&self, offset: usize, detail: String) -> GatewayError {
        let before = self.text.get(..offset).unwrap_or_default();
        GatewayError::Config {
            path: self.path.to_owned(),
            line: 1 + before.matches('\n').count(),
            detail,
        }
    }

    /// The value of a key, or an error at its line.
    fn value<T, U, E: ToString>(
        &self,
        spanned: Spanned<T>,
        parse: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<U, GatewayError> {
        let start = spanned.span().start;
        parse(spanned.into_inner()).map_err(|error| self.error(start, error.to_string()))
    }

    fn file(&self, file: File) -> Result<Config, GatewayError> {
        let operator = self.value(file.operator, OperatorName::new)?;
        let gateway = self.gateway(file.gateway)?;
        let agents = self.agents(file.agents, &gateway)?;
        let servers = self.servers(file.servers, &operator)?;
        Ok(Config {
            keep_clear_text: file.journal.keep_clear_text,
            batch_interval: self.value(file.batch.interval_millis, |millis| {
                within(millis, 1, 3_600_000).map(Duration::from_millis)
            })?,
            batch_records: self.value(file.batch.records, |records| within(records, 1, 65_536))?,
            log: file.log.map(|log| self.log(log)).transpose()?,
            budgets: file
                .budgets
                .into_iter()
                .map(|budget| self.budget(budget))
                .collect::<Result<_, _>>()?,
            operator,
            gateway,
            agents,
            servers,
        })
    }

    fn log(&self, log: LogTable) -> Result<Log, GatewayError> {
        Ok(Log {
            url: self.value(log.url, |text| http_url(&text))?,
            backlog_records: self
                .value(log.backlog_records, |records| within(records, 1, u64::MAX))?,
        })
    }

    fn gateway(&self, table: GatewayTable) -> Result<Gateway, GatewayError> {
        let listen = self.value(table.listen, |text| {
            text.parse::<SocketAddr>()
                .map_err(|_| format!("`{text}` is not an address and port such as 127.0.0.1:7100"))
        })?;
        let url = match table.url {
            Some(url) => self.value(url, |text| http_url(&text))?,
            None => {
                http_url(&format!("http://{listen}")).map_err(|detail| self.error(0, detail))?
            }
        };
        let origins = table
            .origins
            .into_iter()
            .map(|origin| self.value(origin, |text| web_origin(&text)))
            .collect::<Result<_, _>>()?;
        Ok(Gateway {
            listen,
            url,
            freshness: self.value(table.freshness_seconds, |seconds| {
                within(seconds, 1, 86_400).map(Duration::from_secs)
            })?,
            message_bytes: self.value(table.message_bytes, |bytes| {
                // A result must fit into a disclosure, and offsets into 32 bits.
                within(bytes, 1_024, 16 * 1024 * 1024).map(|bytes| bytes as usize)
            })?,
            call_limit: self.value(table.call_seconds, |seconds| {
                within(seconds, 1, 86_400).map(Duration::from_secs)
            })?,
            origins,
        })
    }

    fn budget(&self, table: BudgetTable) -> Result<Budget, GatewayError> {
        Ok(Budget {
            operator: table
                .operator
                .map(|name| self.value(name, OperatorName::new))
                .transpose()?,
            agent: table
                .agent
                .map(|name| self.value(name, AgentName::new))
                .transpose()?,
            points: Amount::new(table.risk_points),
            period_seconds: self.value(table.period_seconds, |seconds| {
                within(seconds, 1, 10 * 366 * 86_400)
            })?,
        })
    }

    fn agents(
        &self,
        tables: Vec<Spanned<AgentTable>>,
        gateway: &Gateway,
    ) -> Result<Vec<Agent>, GatewayError> {
        let alone_on_loopback = tables.len() == 1 && gateway.listen.ip().is_loopback();
        let mut agents: Vec<Agent> = Vec::new();
        for table in tables {
            let start = table.span().start;
            let table = table.into_inner();
            let name = self.value(table.name, AgentName::new)?;
            if agents.iter().any(|agent| agent.name == name) {
                return Err(self.error(start, format!("agent `{name}` stands twice")));
            }
            if table.token_file.is_none() && !alone_on_loopback {
                return Err(self.error(
                    start,
                    format!(
                        "agent `{name}` needs a `token_file`: only a single agent on a loopback \
                         listener may do without"
                    ),
                ));
            }
            agents.push(Agent {
                name,
                token_file: table.token_file.map(|file| self.directory.join(file)),
            });
        }
        Ok(agents)
    }

    fn servers(
        &self,
        tables: Vec<Spanned<ServerTable>>,
        operator: &OperatorName,
    ) -> Result<Vec<Server>, GatewayError> {
        let mut servers: Vec<Server> = Vec::new();
        for table in tables {
            let start = table.span().start;
            let server = self.server(table.into_inner(), start, operator)?;
            if servers.iter().any(|other| other.name == server.name) {
                return Err(self.error(start, format!("server `{}` stands twice", server.name)));
            }
            servers.push(server);
        }
        Ok(servers)
    }

    fn server(
        &self,
        table: ServerTable,
        start: usize,
        own: &OperatorName,
    ) -> Result<Server, GatewayError> {
        let name = self.value(table.name, |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
                ServerName::new(text).map_err(|failure| failure.to_string())
            } else {
                Err(format!(
                    "`{text}` is not a server name (letters, digits, `-`, `_`, at most 64)"
                ))
            }
        })?;
        let upstream = match (table.command, table.url) {
            (Some(command), None) => Upstream::Command(self.value(command, |words| {
                Command::new(words).ok_or("`command` names no program")
            })?),
            (None, Some(url)) => Upstream::Url(self.value(url, |text| http_url(&text))?),
            _ => {
                return Err(self.error(
                    start,
                    format!("server `{name}` needs exactly one of `command` and `url`"),
                ));
            }
        };
        let counterparty = table
            .operator
            .map(|text| {
                self.value(text, |text| {
                    let name = OperatorName::new(text).map_err(|failure| failure.to_string())?;
                    if name == *own {
                        return Err(format!("`{name}` is this operator itself"));
                    }
                    Ok(name)
                })
            })
            .transpose()?;
        let direction = match (table.callers, counterparty) {
            (Callers::Agents, None) => Direction::Local,
            (Callers::Agents, Some(counterparty)) => {
                if matches!(upstream, Upstream::Command(_)) {
                    return Err(self.error(
                        start,
                        format!("server `{name}` of another operator is reached by `url`"),
                    ));
                }
                Direction::Outgoing(counterparty)
            }
            (Callers::Operators, None) => Direction::Incoming,
            (Callers::Operators, Some(_)) => {
                return Err(self.error(
                    start,
                    format!(
                        "server `{name}` is ours, since other operators call it: it has no \
                         `operator`"
                    ),
                ));
            }
        };
        Ok(Server {
            name,
            direction,
            upstream,
        })
    }
}

fn within(value: u64, least: u64, most: u64) -> Result<u64, String> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{value} is not between {least} and {most}"))
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    if plain {
        Ok(url)
    } else {
        Err(format!(
            "`{text}` is not an http or https address without user and fragment"
        ))
    }
}

fn web_origin(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    let origin = url.origin().ascii_serialization();
    if origin == text {
        Ok(origin)
    } else {
        Err(format!("`{text}` is not an origin such as {origin}"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    operator: Spanned<String>,
    #[serde(default)]
    journal: JournalTable,
    #[serde(default)]
    batch: BatchTable,
    log: Option<LogTable>,
    #[serde(default)]
    gateway: GatewayTable,
    #[serde(default)]
    budgets: Vec<BudgetTable>,
    #[serde(default)]
    agents: Vec<Spanned<AgentTable>>,
    #[serde(default)]
    servers: Vec<Spanned<ServerTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalTable {
    #[serde(default)]
    keep_clear_text: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BatchTable {
    interval_millis: Spanned<u64>,
    records: Spanned<u64>,
}

impl Default for BatchTable {
    fn default() -> Self {
        Self {
            interval_millis: unwritten(1_000),
            records: unwritten(1_024),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    url: Spanned<String>,
    #[serde(default = "default_backlog")]
    backlog_records: Spanned<u64>,
}

fn default_backlog() -> Spanned<u64> {
    unwritten(100_000)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GatewayTable {
    listen: Spanned<String>,
    url: Option<Spanned<String>>,
    freshness_seconds: Spanned<u64>,
    message_bytes: Spanned<u64>,
    call_seconds: Spanned<u64>,
    origins: Vec<Spanned<String>>,
}

impl Default for GatewayTable {
    fn default() -> Self {
        Self {
            listen: unwritten("127.0.0.1:7100".to_owned()),
            url: None,
            freshness_seconds: unwritten(120),
            message_bytes: unwritten(4 * 1024 * 1024),
            call_seconds: unwritten(600),
            origins: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetTable {
    operator: Option<Spanned<String>>,
    agent: Option<Spanned<String>>,
    risk_points: u64,
    period_seconds: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentTable {
    name: Spanned<String>,
    token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerTable {
    name: Spanned<String>,
    callers: Callers,
    command: Option<Spanned<Vec<String>>>,
    url: Option<Spanned<String>>,
    operator: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Callers {
    Agents,
    Operators,
}

/// A default, which stands in no line.
fn unwritten<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/home/op/operator.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_example_parses() {
        let documentation = include_str!("config.rs");
        let example: String = documentation
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .skip_while(|line| *line != " ```toml")
            .skip(1)
            .take_while(|line| *line != " ```")
            .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
            .collect();
        let config = parse(&example).unwrap();
        assert_eq!(config.operator.as_str(), "acme.example");
        assert_eq!(config.exchange_url(), "http://127.0.0.1:7100/exchange/v1");
        let agent = &config.agents[0];
        let token = Path::new("/home/op/keys/support-bot.token");
        assert_eq!(agent.token_file.as_deref(), Some(token));
        let server = config.server("desk").unwrap();
        let globex = OperatorName::new("globex.example").unwrap();
        assert_eq!(server.direction, Direction::Outgoing(globex));
        assert_eq!(config.server("other").unwrap_err().code(), "unknown_server");
    }

    #[test]
    fn what_is_left_out_has_the_documented_value() {
        let config = parse("operator = \"acme.example\"").unwrap();
        assert!(!config.keep_clear_text);
        assert_eq!(config.batch_interval, Duration::from_secs(1));
        assert_eq!(config.batch_records, 1024);
        assert!(config.log.is_none());
        assert_eq!(config.gateway.listen.to_string(), "127.0.0.1:7100");
        assert_eq!(config.gateway.freshness, Duration::from_secs(120));
        assert_eq!(config.gateway.message_bytes, 4_194_304);
        assert_eq!(config.gateway.call_limit, Duration::from_secs(600));
    }

    #[test]
    fn every_mistake_names_its_line() {
        let base = "operator = \"acme.example\"\n";
        for (more, line, part) in [
            ("polcy = 1", 2, "polcy"),
            ("[journal]\nkeep_clear_txt = true", 3, "keep_clear_txt"),
            (
                "[journal]\nkeep_clear_text = \"yes\"",
                3,
                "expected a boolean",
            ),
            ("[batch]\nrecords = 0", 3, "not between"),
            ("[batch]\ninterval_millis = -1", 3, ""),
            ("[log]\nurl = \"ftp://x\"", 3, "not an http"),
            ("[log]\nbacklog_records = 1", 2, "url"),
            (
                "[log]\nurl = \"http://x\"\nbacklog_records = 0",
                4,
                "not between",
            ),
            ("[gateway]\nlisten = \"localhost\"", 3, "not an address"),
            ("[gateway]\nurl = \"http://a:b@c\"", 3, "without user"),
            ("[gateway]\nfreshness_seconds = 0", 3, "not between"),
            ("[gateway]\nmessage_bytes = 1", 3, "not between"),
            ("[gateway]\norigins = [\"http://a/b\"]", 3, "not an origin"),
            ("[gateways]\n", 2, "gateways"),
            ("[[budgets]]\nrisk_points = 1", 2, "period_seconds"),
            ("[[budgets]]\nrisk_points = -1\nperiod_seconds = 1", 3, ""),
            (
                "[[budgets]]\nrisk_points = 1\nperiod_seconds = 0",
                4,
                "not between",
            ),
            (
                "[[budgets]]\nagnt = \"x\"\nrisk_points = 1\nperiod_seconds = 1",
                3,
                "agnt",
            ),
            ("[[agents]]\nname = \"\"", 3, "agent name"),
            (
                "[[agents]]\nname = \"a\"\n[[agents]]\nname = \"b\"",
                2,
                "token_file",
            ),
            (
                "[gateway]\nlisten = \"0.0.0.0:1\"\n[[agents]]\nname = \"a\"",
                4,
                "token_file",
            ),
            (
                "[[servers]]\nname = \"a b\"\ncallers = \"agents\"\nurl = \"http://x\"",
                3,
                "server name",
            ),
            (
                "[[servers]]\nname = \"a\"\ncallers = \"anyone\"\nurl = \"http://x\"",
                4,
                "anyone",
            ),
            (
                "[[servers]]\nname = \"a\"\ncallers = \"agents\"",
                2,
                "exactly one",
            ),
            (
                "[[servers]]\nname = \"a\"\ncallers = \"agents\"\ncommand = []",
                5,
                "no program",
            ),
            (
                "[[servers]]\nname = \"a\"\ncallers = \"operators\"\nurl = \"http://x\"\noperator = \"b.example\"",
                2,
                "is ours",
            ),
            (
                "[[servers]]\nname = \"a\"\ncallers = \"agents\"\ncommand = [\"x\"]\noperator = \"b.example\"",
                2,
                "reached by `url`",
            ),
            (
                "[[servers]]\nname = \"a\"\ncallers = \"agents\"\nurl = \"http://x\"\noperator = \"acme.example\"",
                6,
                "itself",
            ),
            (
                "[[servers]]\nname = \"a\"\ncallers = \"agents\"\nurl = \"http://x\"\n[[servers]]\nname = \"a\"\ncallers = \"agents\"\nurl = \"http://x\"",
                6,
                "twice",
            ),
        ] {
            let error = parse(&format!("{base}{more}")).unwrap_err();
            let place = format!("/home/op/operator.toml:{line}: ");
            assert!(error.starts_with(&place), "{more:?}: {error}");
            assert!(error.contains(part), "{more:?}: {error}");
        }
        assert!(parse("").unwrap_err().contains("operator"));
        assert!(parse("operator = \"Acme\"").unwrap_err().contains(":1: "));
    }
}

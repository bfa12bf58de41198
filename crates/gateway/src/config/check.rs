//! From what the file says to what it means.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use counterfoil_enforcer::ledger::Budget;
use counterfoil_protocol::names::{AgentName, OperatorName, ServerName};
use counterfoil_protocol::numbers::Amount;
use reqwest::Url;
use toml::Spanned;

use super::file::{
    AgentTable, BudgetTable, Callers, ContractRule, File, GatewayTable, LogTable, ProtocolName,
    ServerTable, SilentRule,
};
use super::{Agent, Config, Gateway, Log, Protocol, Server, Upstream};
use crate::error::GatewayError;
use crate::exchange::Silent;
use crate::proxy::Direction;
use crate::stdio::Command;

/// A file being checked, for errors that name its lines.
pub(super) struct Check<'t> {
    pub(super) text: &'t str,
    pub(super) path: &'t Path,
    pub(super) directory: &'t Path,
}

impl Check<'_> {
    pub(super) fn error(&self, offset: usize, detail: String) -> GatewayError {
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

    pub(super) fn file(&self, file: File) -> Result<Config, GatewayError> {
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
            evidence_limit: self.value(table.evidence_seconds, |seconds| {
                within(seconds, 1, 3_600).map(Duration::from_secs)
            })?,
            counterparty_limit: self.value(table.counterparty_seconds, |seconds| {
                within(seconds, 0, 86_400).map(Duration::from_secs)
            })?,
            silent_counterparties: match table.silent_counterparties {
                SilentRule::Wait => Silent::Awaited,
                SilentRule::PassOver => Silent::PassedOver,
            },
            manifest_interval: self.value(table.manifest_seconds, |seconds| {
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
        let protocol = match table.protocol {
            ProtocolName::Mcp => Protocol::Mcp,
            ProtocolName::Http => Protocol::Http,
            ProtocolName::A2a => Protocol::A2a,
        };
        match (protocol, &upstream) {
            (Protocol::Http | Protocol::A2a, Upstream::Command(_)) => {
                return Err(self.error(
                    start,
                    format!(
                        "server `{name}` is reached by `url`: only MCP servers have a `command`"
                    ),
                ));
            }
            (Protocol::Http, Upstream::Url(url)) if url.query().is_some() => {
                return Err(self.error(
                    start,
                    format!("the `url` of server `{name}` has a query: paths are put after it"),
                ));
            }
            _ => {}
        }
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
        let contract_required = table.contract == ContractRule::Required;
        if contract_required && direction == Direction::Local {
            return Err(self.error(
                start,
                format!("server `{name}` is only for our own agents: it needs no `contract`"),
            ));
        }
        Ok(Server {
            name,
            direction,
            protocol,
            upstream,
            contract_required,
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

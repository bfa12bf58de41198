//! The tables and keys of the file, as it spells them. A key that is not here is an error.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) operator: Spanned<String>,
    #[serde(default)]
    pub(super) journal: JournalTable,
    #[serde(default)]
    pub(super) batch: BatchTable,
    pub(super) log: Option<LogTable>,
    #[serde(default)]
    pub(super) gateway: GatewayTable,
    #[serde(default)]
    pub(super) budgets: Vec<BudgetTable>,
    #[serde(default)]
    pub(super) agents: Vec<Spanned<AgentTable>>,
    #[serde(default)]
    pub(super) servers: Vec<Spanned<ServerTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalTable {
    #[serde(default)]
    pub(super) keep_clear_text: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BatchTable {
    pub(super) interval_millis: Spanned<u64>,
    pub(super) records: Spanned<u64>,
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
pub(super) struct LogTable {
    pub(super) url: Spanned<String>,
    #[serde(default = "default_backlog")]
    pub(super) backlog_records: Spanned<u64>,
}

fn default_backlog() -> Spanned<u64> {
    unwritten(100_000)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GatewayTable {
    pub(super) listen: Spanned<String>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) freshness_seconds: Spanned<u64>,
    pub(super) message_bytes: Spanned<u64>,
    pub(super) call_seconds: Spanned<u64>,
    pub(super) evidence_seconds: Spanned<u64>,
    pub(super) counterparty_seconds: Spanned<u64>,
    pub(super) silent_counterparties: SilentRule,
    pub(super) manifest_seconds: Spanned<u64>,
    pub(super) origins: Vec<Spanned<String>>,
}

impl Default for GatewayTable {
    fn default() -> Self {
        Self {
            listen: unwritten("127.0.0.1:7100".to_owned()),
            url: None,
            freshness_seconds: unwritten(120),
            message_bytes: unwritten(4 * 1024 * 1024),
            call_seconds: unwritten(600),
            evidence_seconds: unwritten(30),
            counterparty_seconds: unwritten(5),
            silent_counterparties: SilentRule::default(),
            manifest_seconds: unwritten(60),
            origins: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetTable {
    pub(super) operator: Option<Spanned<String>>,
    pub(super) agent: Option<Spanned<String>>,
    pub(super) risk_points: u64,
    pub(super) period_seconds: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentTable {
    pub(super) name: Spanned<String>,
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerTable {
    pub(super) name: Spanned<String>,
    pub(super) callers: Callers,
    #[serde(default)]
    pub(super) protocol: ProtocolName,
    pub(super) command: Option<Spanned<Vec<String>>>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) operator: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) contract: ContractRule,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SilentRule {
    #[default]
    Wait,
    PassOver,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ContractRule {
    #[default]
    IfAgreed,
    Required,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Callers {
    Agents,
    Operators,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProtocolName {
    #[default]
    Mcp,
    Http,
    A2a,
}

/// A default, which stands in no line.
fn unwritten<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

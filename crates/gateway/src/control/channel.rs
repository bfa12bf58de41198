//! Operations on channels.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_enforcer::status::ChannelStatus;
use counterfoil_enforcer::{Gap, Unresolved};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::record::UnverifiedRecord;
use serde::{Deserialize, Serialize};

use super::{ControlError, Operated, Operation, blocking};
use crate::exchange::{Head, push};
use crate::home::read_manifests;

/// How things stand between us and every counterparty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {}

/// How things stand between us and one counterparty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelReport {
    /// The counterparty.
    pub counterparty: String,
    /// Our last record to it.
    pub sent: Option<Head>,
    /// The last record of each of its streams without a gap before it.
    pub received: Vec<Head>,
    /// How many of our records it has not acknowledged.
    pub unacknowledged: usize,
    /// How many of those it does not even say it holds: they travel with the next call.
    pub to_send: usize,
    /// How many of our requests have no outcome yet.
    pub asked: usize,
    /// How many of its requests have come and are not decided yet.
    pub undecided: usize,
    /// How many of its requests we have allowed that have no outcome yet.
    pub executing: usize,
    /// Our channel sequence at which the present period begins.
    pub period: u64,
    /// Its last statement.
    pub statement: Option<Head>,
    /// What is missing of its records while later ones are here.
    pub gaps: Vec<GapReport>,
    /// How many calls and answers wait for such records.
    pub waiting: usize,
    /// Our requests that ended without a word of its to rely on.
    pub unresolved: Vec<UnresolvedReport>,
}

/// Records that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapReport {
    /// The counterparty's stream, in hex.
    pub stream: String,
    /// The first one that is missing.
    pub expected: u64,
    /// How many later ones are here.
    pub ahead: usize,
}

/// A request that ended without a word of the counterparty's to rely on, and what it said later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnresolvedReport {
    /// The request, in hex.
    pub request: String,
    /// The counterparty's decision, in hex.
    pub decision: Option<String>,
    /// Its verdict.
    pub verdict: Option<String>,
    /// The counterparty's outcome, in hex.
    pub outcome: Option<String>,
    /// What it says happened.
    pub status: Option<String>,
}

impl GapReport {
    fn of(gap: Gap) -> Self {
        Self {
            stream: gap.stream.to_string(),
            expected: gap.expected.get(),
            ahead: gap.ahead,
        }
    }
}

impl UnresolvedReport {
    fn of(request: RecordId, unresolved: Unresolved) -> Self {
        Self {
            request: request.to_string(),
            decision: unresolved.decision.map(|(id, _)| id.to_string()),
            verdict: unresolved.decision.map(|(_, verdict)| verdict.to_string()),
            outcome: unresolved.outcome.map(|(id, _)| id.to_string()),
            status: unresolved.outcome.map(|(_, status)| status.to_string()),
        }
    }
}

/// Close a period of the channel to a counterparty with a signed statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeStatement {
    /// The counterparty.
    pub with: String,
}

/// A statement that has been made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementReport {
    /// Its record, in hex.
    pub record: String,
    /// Our channel sequence at which the period begins.
    pub from: u64,
    /// The statement's own place in the channel: the period ends before it.
    pub sequence: u64,
    /// The last record that we have of each of the counterparty's streams.
    pub received: Vec<Head>,
    /// How many of our requests have no outcome yet.
    pub open: u64,
    /// Whether the counterparty has it.
    pub delivery: Delivery,
}

/// Deny that a record, which a counterparty says is ours, is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// The counterparty.
    pub with: String,
    /// The record, in base64.
    pub record: String,
    /// Why.
    pub reason: String,
}

/// A denial that has been made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenialReport {
    /// The record that denies, in hex.
    pub record: String,
    /// The record that is denied, in hex.
    pub denied: String,
    /// Whether the counterparty has the denial.
    pub delivery: Delivery,
}

/// Whether a record has reached the counterparty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Whether it has.
    pub delivered: bool,
    /// Why not. It then travels with the next call, or when it is pushed again.
    pub detail: Option<String>,
}

impl Delivery {
    /// Pushes what `operator` has not acknowledged.
    pub(super) async fn to(operated: &Operated, operator: &OperatorName) -> Self {
        let pushed = push(&operated.enforcer, operator).await;
        Self {
            delivered: pushed.is_ok(),
            detail: pushed.err().map(|error| error.to_string()),
        }
    }
}

impl Operation for MakeStatement {
    type Answer = StatementReport;
    const NAME: &'static str = "channel/statement";

    async fn run(self, operated: &Operated) -> Result<StatementReport, ControlError> {
        let with = OperatorName::new(self.with)?;
        let (enforcer, counterparty) = (operated.enforcer.clone(), with.clone());
        let stated = blocking(move || enforcer.state(&counterparty)).await?;
        let received = stated.statement.received.into_iter();
        Ok(StatementReport {
            record: stated.record.to_string(),
            from: stated.statement.from.get(),
            sequence: stated.sequence.get(),
            received: received.map(Head::of).collect(),
            open: stated.statement.open,
            delivery: Delivery::to(operated, &with).await,
        })
    }
}

impl Operation for Deny {
    type Answer = DenialReport;
    const NAME: &'static str = "channel/deny";

    async fn run(self, operated: &Operated) -> Result<DenialReport, ControlError> {
        let with = OperatorName::new(self.with)?;
        let reason = ReasonCode::new(self.reason)?;
        let record = STANDARD
            .decode(&self.record)
            .map_err(|_| ControlError::new("record_malformed", "the record is not base64"))?;
        let denied = UnverifiedRecord::parse(&record)?.id();
        let (enforcer, counterparty) = (operated.enforcer.clone(), with.clone());
        let manifests = read_manifests(&operated.home.manifests())?;
        let denial = blocking(move || enforcer.deny(&counterparty, &record, reason, &manifests));
        Ok(DenialReport {
            record: denial.await?.to_string(),
            denied: denied.to_string(),
            delivery: Delivery::to(operated, &with).await,
        })
    }
}

impl Operation for Status {
    type Answer = Vec<ChannelReport>;
    const NAME: &'static str = "channel/status";
    const WRITES: bool = false;

    async fn run(self, operated: &Operated) -> Result<Vec<ChannelReport>, ControlError> {
        let enforcer = operated.enforcer.clone();
        let status = blocking(move || enforcer.channel_status()).await?;
        Ok(status.into_iter().map(ChannelReport::of).collect())
    }
}

impl ChannelReport {
    fn of(status: ChannelStatus) -> Self {
        Self {
            counterparty: status.counterparty.to_string(),
            sent: status.heads.sent.map(Head::of),
            received: status.heads.received.into_iter().map(Head::of).collect(),
            unacknowledged: status.unacknowledged,
            to_send: status.to_send,
            asked: status.asked,
            undecided: status.undecided,
            executing: status.executing,
            period: status.period.get(),
            statement: status.statement.map(Head::of),
            gaps: status.gaps.into_iter().map(GapReport::of).collect(),
            waiting: status.waiting,
            unresolved: status
                .unresolved
                .into_iter()
                .map(|(request, unresolved)| UnresolvedReport::of(request, unresolved))
                .collect(),
        }
    }
}

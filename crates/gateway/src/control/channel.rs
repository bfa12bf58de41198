//! Operations on channels.

use counterfoil_enforcer::status::ChannelStatus;
use serde::{Deserialize, Serialize};

use super::{ControlError, Operated, Operation, blocking};
use crate::exchange::Head;

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
        }
    }
}

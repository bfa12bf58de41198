//! What stands between us and each counterparty, for people.

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::ChannelSequence;
use counterfoil_protocol::record::Acknowledgement;

use crate::channel::{Gap, Unresolved};
use crate::enforcer::{ChannelHeads, Enforcer};
use crate::error::EnforcerError;

/// What stands between us and one counterparty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelStatus {
    /// The counterparty.
    pub counterparty: OperatorName,
    /// Both heads.
    pub heads: ChannelHeads,
    /// How many of our records the counterparty has not acknowledged.
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
    pub period: ChannelSequence,
    /// Its last statement.
    pub statement: Option<Acknowledgement>,
    /// What is missing of its records while later ones are here.
    pub gaps: Vec<Gap>,
    /// How many calls and answers wait for such records.
    pub waiting: usize,
    /// Our requests that ended without a word of its to rely on, and what it has said since.
    pub unresolved: Vec<(RecordId, Unresolved)>,
}

impl Enforcer {
    /// The operators that may yet tell what became of requests that have ended here without their
    /// word: it is worth asking them.
    pub fn to_resolve(&self) -> Vec<OperatorName> {
        let stream = self.core.stream();
        let channels = stream.channels.iter();
        channels
            .filter(|(_, channel)| channel.may_be_answered())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What stands between us and each counterparty, ascending by name.
    ///
    /// It is answered before this run has begun too: nothing is signed for it.
    ///
    /// # Errors
    /// When the journal has failed.
    pub fn channel_status(&self) -> Result<Vec<ChannelStatus>, EnforcerError> {
        let core = &self.core;
        let own = core.identity.kid;
        let status = {
            let stream = core.stream();
            stream
                .channels
                .iter()
                .filter(|(_, channel)| !channel.is_unused())
                .map(|(name, channel)| {
                    let concerns = stream
                        .open
                        .values()
                        .filter(|call| call.counterparty.as_ref() == Some(name));
                    let asked = channel.asked();
                    ChannelStatus {
                        counterparty: name.clone(),
                        heads: ChannelHeads {
                            sent: channel.sent(own),
                            received: channel.all_received(),
                            waiting: channel.all_waiting(),
                        },
                        unacknowledged: channel.unacknowledged().len(),
                        to_send: channel.waiting(),
                        asked,
                        undecided: channel.undecided(),
                        executing: concerns.count().saturating_sub(asked),
                        period: channel.stated(),
                        statement: channel.statement(),
                        gaps: channel.gaps(),
                        waiting: channel.held,
                        unresolved: channel
                            .unresolved()
                            .iter()
                            .map(|(id, unresolved)| (*id, *unresolved))
                            .collect(),
                    }
                })
                .collect()
        };
        core.flush()?;
        Ok(status)
    }
}

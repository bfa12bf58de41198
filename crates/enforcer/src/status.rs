//! What stands between us and each counterparty, for people.

use counterfoil_protocol::names::OperatorName;

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
}

impl Enforcer {
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
                .map(|(name, channel)| {
                    let concerns = stream.open.values().filter(|call| {
                        call.counterparty.as_ref() == Some(name)
                    });
                    let asked = channel.asked();
                    ChannelStatus {
                        counterparty: name.clone(),
                        heads: ChannelHeads {
                            sent: channel.sent(own),
                            received: channel.all_received(),
                        },
                        unacknowledged: channel.unacknowledged().len(),
                        to_send: channel.waiting(),
                        asked,
                        undecided: channel.undecided(),
                        executing: concerns.count().saturating_sub(asked),
                    }
                })
                .collect()
        };
        core.flush()?;
        Ok(status)
    }
}

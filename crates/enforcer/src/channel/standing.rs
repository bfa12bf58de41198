//! How a channel stands: what is open, missing, or not known.

use std::collections::BTreeMap;

use counterfoil_protocol::digest::{KeyThumbprint, RecordId};
use counterfoil_protocol::numbers::ChannelSequence;
use counterfoil_protocol::record::{Acknowledgement, Verdict};

use super::{Ahead, Channel, Gap, Unresolved};

impl Channel {
    /// How many of our requests have no outcome yet.
    pub(crate) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Where the present period begins: at our last statement, or with the channel.
    pub(crate) fn stated(&self) -> ChannelSequence {
        ChannelSequence::new(self.stated.as_ref().map_or(0, |(at, _)| *at))
    }

    /// The counterparty's last statement.
    pub(crate) const fn statement(&self) -> Option<Acknowledgement> {
        self.statement
    }

    /// Whether nothing has ever come or gone.
    pub(crate) fn is_unused(&self) -> bool {
        self.sent.is_empty() && self.received.is_empty() && self.gaps().is_empty()
    }

    /// Whether nothing has passed since our last statement, or ever.
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.stated {
            Some((at, received)) => {
                self.sent.len() as u64 == at + 1 && *received == self.all_received()
            }
            None => self.sent.is_empty() && self.received.is_empty(),
        }
    }

    /// Our requests that ended without a word of the counterparty's to rely on.
    pub(crate) const fn unresolved(&self) -> &BTreeMap<RecordId, Unresolved> {
        &self.unresolved
    }

    /// Whether the counterparty may still have something to say to a request that has ended here.
    pub(crate) fn may_be_answered(&self) -> bool {
        let acknowledged = self.acknowledged.values().max().map(|last| last.get());
        let there = acknowledged.max(self.held_there);
        self.unresolved
            .values()
            .any(|request| match request.decision {
                // Once it has our outcome it decides the request no more.
                None => there < Some(request.ended),
                Some((_, Verdict::Allow)) => request.outcome.is_none(),
                Some((_, Verdict::Deny)) => false,
            })
    }

    /// What is missing while later records are there.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        self.ahead
            .iter()
            .filter(|(_, ahead)| !ahead.is_empty())
            .map(|(stream, ahead)| Gap {
                stream: *stream,
                expected: self.expected(*stream),
                ahead: ahead.len(),
            })
            .collect()
    }

    /// The last record of each of the counterparty's streams that waits for those before it,
    /// ascending by key.
    pub(crate) fn all_waiting(&self) -> Vec<Acknowledgement> {
        let last = |(stream, ahead): (&KeyThumbprint, &BTreeMap<u64, Ahead>)| {
            let (sequence, ahead) = ahead.last_key_value()?;
            Some(Acknowledgement {
                stream: *stream,
                sequence: ChannelSequence::new(*sequence),
                id: ahead.record.id(),
            })
        };
        self.ahead.iter().filter_map(last).collect()
    }

    /// The number of the next record of one of the counterparty's streams.
    pub(crate) fn expected(&self, stream: KeyThumbprint) -> ChannelSequence {
        let received = self.received.get(&stream).map_or(0, Vec::len);
        ChannelSequence::new(received as u64)
    }

    /// How many requests have come and are not decided yet.
    pub(crate) fn undecided(&self) -> usize {
        self.undecided.len() + self.deciding.len()
    }
}

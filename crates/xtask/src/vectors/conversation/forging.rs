//! Records that an operator signs that does as it likes.

use anyhow::{Context as _, Result};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelControl, ChannelEvent, ChannelLink, Record, UnverifiedRecord,
};

use crate::world::START;

/// A record, changed and signed with a key.
pub(super) fn forged(
    record: &[u8],
    key: &SigningKey,
    change: impl FnOnce(&mut Record),
) -> Result<Vec<u8>> {
    let parsed = UnverifiedRecord::parse(record)?;
    let mut content = parsed.unverified_content().clone();
    change(&mut content);
    let prepared = content.prepare(parsed.issuer(), key.public().thumbprint());
    Ok(prepared.sign(key))
}

/// What an operator that does as it likes says in a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) issuer: &'a OperatorName,
    pub(super) key: &'a SigningKey,
    pub(super) to: &'a str,
    pub(super) at: u64,
    pub(super) previous: Option<RecordId>,
    pub(super) acknowledged: Option<Acknowledgement>,
    /// Makes one record differ from another.
    pub(super) about: u8,
}

impl Said<'_> {
    /// The signed record: that some record is not its own.
    pub(super) fn sign(&self) -> Result<Vec<u8>> {
        self.saying(ChannelEvent::RecordDenied {
            record: RecordId::from_bytes([self.about; 32]),
            reason: ReasonCode::literal("forged"),
        })
    }

    pub(super) fn saying(&self, event: ChannelEvent) -> Result<Vec<u8>> {
        let record = Record {
            sequence: Sequence::new(self.at + 2),
            previous: Some(RecordId::from_bytes([1; 32])),
            time: UnixMillis::new(START * 1000),
            beacon: None,
            body: Body::Channel(ChannelControl {
                channel: ChannelLink {
                    counterparty: self.to.parse()?,
                    sequence: ChannelSequence::new(self.at),
                    previous: self.previous,
                    acknowledged: self.acknowledged,
                },
                event,
            }),
        };
        let prepared = record.prepare(self.issuer, self.key.public().thumbprint());
        Ok(prepared.sign(self.key))
    }
}

pub(super) fn id(record: &[u8]) -> Result<RecordId> {
    Ok(UnverifiedRecord::parse(record)?.id())
}

/// The place of a record in its channel, as the other side acknowledges it.
pub(super) fn place(record: &[u8]) -> Result<Acknowledgement> {
    let record = UnverifiedRecord::parse(record)?;
    let link = record
        .unverified_content()
        .channel()
        .context("no channel")?;
    Ok(Acknowledgement {
        stream: record.kid(),
        sequence: link.sequence,
        id: record.id(),
    })
}

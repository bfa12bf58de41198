//! Taking authentic records of another operator into their channel and into the journal. Spec: mcp
//! §4.1.

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::ChannelSequence;
use counterfoil_protocol::record::VerifiedRecord;

use crate::channel::{Channel, Discontinuity};
use crate::enforcer::Core;
use crate::error::{Blocked, EnforcerError};
use crate::incoming::Refusal;
use crate::journal::{Item, Received};

/// What is done about records that leave a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// They wait for those before them.
    Wait,
    /// They have waited long enough: the record that the message is about is kept as evidence.
    Refused,
}

/// Takes authentic records into the channel and queues them for the journal, in one step.
pub(crate) fn join(
    core: &Core,
    counterparty: &OperatorName,
    records: &[(VerifiedRecord, Vec<u8>)],
    gaps: Gaps,
) -> Result<Result<(), Refusal>, EnforcerError> {
    let arrived = core.environment.clock.now();
    let mut stream = core.stream();
    let channel = stream.channel(counterparty);
    let mut joining = Joining::default();
    for (record, bytes) in records {
        if let Err(discontinuity) = joining.take(core, channel, record, bytes) {
            joining.refuse(channel, record, bytes, discontinuity);
            break;
        }
    }
    if let Some((record, bytes)) = records.last() {
        if joining.refusal.is_none()
            && let Some(expected) = gap_before(channel, record)
        {
            joining.refusal = Some(Refusal::discontinuity(Discontinuity::Gap { expected }));
        }
        if gaps == Gaps::Refused
            && let Some(reason) = joining.gap()
        {
            joining.keep(record.id(), &reason, bytes);
        }
    }
    let kept = |bytes: Vec<u8>| Received {
        operator: counterparty.clone(),
        bytes,
        arrived,
    };
    let moved = !joining.received.is_empty();
    let mut received = Vec::new();
    for (record, bytes) in joining.received {
        let (stream_of, id) = (record.kid(), record.id());
        stream.note_received(counterparty, stream_of, id, record.record(), arrived);
        received.push(kept(bytes));
    }
    let received = moved.then_some(Item::Received(received));
    let refused = joining.refused.into_iter().map(|(id, reason, bytes)| {
        let record = kept(bytes);
        Item::Refused { id, reason, record }
    });
    for item in received.into_iter().chain(refused) {
        // Nobody waits for this ticket: whatever is made because of these records comes after
        // them in the same queue, and is durable only when they are.
        if let Err(error) = core.committer.submit(item) {
            // The channel has moved on, the journal will not: the next record would acknowledge
            // what is not there.
            let error = EnforcerError::from(error);
            stream.blocked = Some(Blocked::Failed(error.to_string()));
            return Err(error);
        }
    }
    drop(stream);
    if moved {
        core.moved.notify_waiters();
    }
    Ok(joining.refusal.map_or(Ok(()), Err))
}

/// The number of the first missing record, when those before this one have not all come.
fn gap_before(channel: &Channel, record: &VerifiedRecord) -> Option<ChannelSequence> {
    let link = record.record().channel()?;
    let expected = channel.expected(record.kid());
    (link.sequence >= expected).then_some(expected)
}

/// Records on their way into a channel.
#[derive(Default)]
struct Joining {
    received: Vec<(VerifiedRecord, Vec<u8>)>,
    refused: Vec<(RecordId, ReasonCode, Vec<u8>)>,
    refusal: Option<Refusal>,
}

impl Joining {
    fn take(
        &mut self,
        core: &Core,
        channel: &mut Channel,
        record: &VerifiedRecord,
        bytes: &[u8],
    ) -> Result<(), Discontinuity> {
        let own = core.identity.kid;
        match channel.receive(own, record.kid(), record.id(), record.record()) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.received.push((record.clone(), bytes.to_vec()));
                let linked = channel.link_up(own, record.kid());
                self.received.extend(linked.received);
                if let Some((id, bytes, discontinuity)) = linked.refused {
                    let because = Refusal::discontinuity(discontinuity);
                    self.keep(id, &because.reason, &bytes);
                }
                Ok(())
            }
            Err(Discontinuity::Gap { .. }) => channel.hold(record, bytes),
            Err(discontinuity) => Err(discontinuity),
        }
    }

    /// A fork or a wrong acknowledgement is evidence against whoever signed it: it is kept, and so
    /// is the other side of a fork that has not been taken in. A gap may be nobody's fault.
    fn refuse(
        &mut self,
        channel: &Channel,
        record: &VerifiedRecord,
        bytes: &[u8],
        discontinuity: Discontinuity,
    ) {
        let because = Refusal::discontinuity(discontinuity);
        if !matches!(discontinuity, Discontinuity::Gap { .. }) {
            self.keep(record.id(), &because.reason, bytes);
        }
        if let Discontinuity::Fork { sequence, .. } = discontinuity
            && let Some((id, bytes)) = channel.ahead(record.kid(), sequence)
        {
            let bytes = bytes.to_vec();
            self.keep(id, &because.reason, &bytes);
        }
        self.refusal = Some(because);
    }

    /// The reason, if it is only that records are missing.
    fn gap(&self) -> Option<ReasonCode> {
        let refusal = self.refusal.as_ref()?;
        refusal.is_gap().then(|| refusal.reason.clone())
    }

    fn keep(&mut self, id: RecordId, reason: &ReasonCode, bytes: &[u8]) {
        self.refused.push((id, reason.clone(), bytes.to_vec()));
    }
}

//! Calls and answers that overtook others: they wait, for a while, for the records that belong
//! before theirs.
//!
//! Messages of one channel travel on many connections, so that a later one may arrive first. That
//! is no fault. What waits is linked up as soon as the missing records come: with another message,
//! or fetched from the counterparty. Whatever is still missing at the end of the window is a gap,
//! and the message is refused. Spec: mcp §4.

use std::time::{Duration, Instant};

use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::record::{Acknowledgement, UnverifiedRecord};

use crate::call::Envelope;
use crate::channel::MAX_AHEAD;
use crate::enforcer::{Core, Enforcer};
use crate::incoming;
use crate::joining::{self, Gaps};

/// How long a message waits for records that are missing.
pub const GAP_WINDOW_MILLIS: u64 = 2_000;

/// How often the clock is looked at, which need not be the one that runtimes sleep by.
const TICK: Duration = Duration::from_millis(25);

/// A message whose record waits for those before it. While it lives it counts as waiting.
#[derive(Debug)]
#[must_use = "a message waits only as long as this lives"]
pub struct Held {
    enforcer: Enforcer,
    counterparty: OperatorName,
    record: Acknowledgement,
    deadline: UnixMillis,
}

impl Enforcer {
    /// Takes in what came with a call or an answer, if that leaves a gap that may yet be filled.
    /// Then the missing records should be fetched, and the message should wait for
    /// [`Held::filled`]; in any case it is judged after, by [`Enforcer::authorize`] or
    /// [`crate::Permit::complete_with_answer`].
    pub fn hold(&self, envelope: &Envelope) -> Option<Held> {
        let core = &self.core;
        if !leaves_gap(core, envelope) || self.ready().is_err() {
            return None;
        }
        let incoming = incoming::check(core, Some(envelope), incoming::Purpose::Call);
        if !incoming.is_signed() {
            return None;
        }
        let counterparty = incoming.counterparty?;
        let joined = joining::join(core, &counterparty, &incoming.records, Gaps::Wait).ok()?;
        if !joined.is_err_and(|refusal| refusal.is_gap()) {
            return None;
        }
        let (last, _) = incoming.records.last()?;
        let record = Acknowledgement {
            stream: last.kid(),
            sequence: last.record().channel()?.sequence,
            id: last.id(),
        };
        let mut stream = core.stream();
        let channel = stream.channel(&counterparty);
        let waits = channel
            .ahead(record.stream, record.sequence)
            .is_some_and(|(id, _)| id == record.id);
        if !waits || channel.held >= MAX_AHEAD {
            return None;
        }
        channel.held += 1;
        drop(stream);
        let now = core.environment.clock.now();
        Some(Held {
            enforcer: self.clone(),
            counterparty,
            record,
            deadline: UnixMillis::new(now.get().saturating_add(GAP_WINDOW_MILLIS)),
        })
    }
}

impl Held {
    /// The operator whose records are missing.
    pub const fn counterparty(&self) -> &OperatorName {
        &self.counterparty
    }

    /// Waits until the missing records have come, or until the window is over. Says which.
    pub async fn filled(self) -> bool {
        let core = &self.enforcer.core;
        // The clock may be set back meanwhile.
        let end = Instant::now() + Duration::from_millis(2 * GAP_WINDOW_MILLIS);
        loop {
            let moved = core.moved.notified();
            if !self.waits() {
                return true;
            }
            if core.environment.clock.now() >= self.deadline || Instant::now() >= end {
                return false;
            }
            // Whichever it was: it is looked at again.
            let _ = tokio::time::timeout(TICK, moved).await;
        }
    }

    fn waits(&self) -> bool {
        let mut stream = self.enforcer.core.stream();
        let channel = stream.channel(&self.counterparty);
        channel
            .ahead(self.record.stream, self.record.sequence)
            .is_some_and(|(id, _)| id == self.record.id)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut stream = self.enforcer.core.stream();
        let channel = stream.channel(&self.counterparty);
        channel.held = channel.held.saturating_sub(1);
    }
}

/// Whether the records leave a gap, as far as can be seen without verifying them.
fn leaves_gap(core: &Core, envelope: &Envelope) -> bool {
    let mut expected = None;
    for bytes in &envelope.records {
        let Ok(record) = UnverifiedRecord::parse(bytes) else {
            return false;
        };
        let Some(link) = record.unverified_content().channel() else {
            return false;
        };
        let next = match expected {
            Some(next) => next,
            None => {
                let stream = core.stream();
                let channel = stream.channels.get(record.issuer());
                channel.map_or(0, |channel| channel.expected(record.kid()).get())
            }
        };
        if link.sequence.get() > next {
            return true;
        }
        expected = Some(next.max(link.sequence.get().saturating_add(1)));
    }
    false
}

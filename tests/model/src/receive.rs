//! How an enforcer takes in what the other side signed (records §5, mcp §4): in order, linked, with
//! acknowledgements that are right; a record that comes too early is held; what does not fit is kept
//! as evidence. What is taken in is durable at once.

use crate::enforcer::Enforcer;
use crate::rules::{Breach, Conduct};
use crate::statements::{Acknowledgement, Body, Id, Signed};

/// How a record stands to the last one of its stream that was taken in.
enum Fit {
    /// It is the next one.
    Next,
    /// It stands at the next place, or its acknowledgement is there, and does not fit.
    Not,
}

impl Enforcer {
    /// Whether the record would change nothing if it came again. One that was refused because it
    /// left a gap, and that is sent again when the gap is filled, is taken in.
    #[must_use]
    pub fn has(&self, conduct: Conduct, window: u8, record: &Signed) -> bool {
        let next = next_place(self.journal.received(record.record.key));
        let fits = record
            .place()
            .is_some_and(|place| place >= next && place - next <= window);
        if fits && !conduct.breaks(Breach::RefusesForEver) {
            self.journal.held.contains(record)
        } else {
            self.journal.custody().any(|kept| kept == record)
        }
    }

    /// Takes in a record of the other side's.
    pub fn receive(&mut self, conduct: Conduct, window: u8, record: Signed) {
        let (Some(place), key) = (record.place(), record.record.key) else {
            return;
        };
        self.journal.refused.retain(|refused| *refused != record);
        let next = next_place(self.journal.received(key));
        if place < next {
            if conduct.breaks(Breach::AcknowledgesFork)
                && let Some(received) = self.journal.received.get_mut(usize::from(key))
                && let Some(taken) = received.get_mut(usize::from(place))
            {
                *taken = record;
            }
            self.keep(conduct, record);
        } else if place > next {
            let beside = |held: &Signed| held.record.key == key && held.place() == Some(place);
            if place - next <= window && !self.journal.held.iter().any(beside) {
                insert(&mut self.journal.held, record);
            } else {
                self.keep(conduct, record);
            }
        } else if self.take(conduct, record) {
            self.take_held(conduct, key);
        }
    }

    /// Links up what was held, as far as it goes.
    fn take_held(&mut self, conduct: Conduct, key: u8) {
        loop {
            let next = next_place(self.journal.received(key));
            let fits = |held: &Signed| held.record.key == key && held.place() == Some(next);
            let Some(index) = self.journal.held.iter().position(fits) else {
                return;
            };
            let record = self.journal.held.remove(index);
            if !self.take(conduct, record) {
                return;
            }
            self.filled = true;
        }
    }

    /// Takes in the record at the next place, if it fits.
    fn take(&mut self, conduct: Conduct, record: Signed) -> bool {
        let fit = self.fit(conduct, &record);
        match (
            fit,
            self.journal
                .received
                .get_mut(usize::from(record.record.key)),
        ) {
            (Fit::Next, Some(received)) => {
                received.push(record);
                self.journal.heard_last = record.record.key;
                true
            }
            _ => {
                self.keep(conduct, record);
                false
            }
        }
    }

    fn fit(&self, conduct: Conduct, record: &Signed) -> Fit {
        let last = self.journal.received(record.record.key).last();
        let linked = record.record.link.and_then(|link| link.previous) == last.map(|last| last.id);
        if !linked && !conduct.breaks(Breach::TakesUnlinked) {
            return Fit::Not;
        }
        if last.is_some_and(|last| record.record.sequence <= last.record.sequence) {
            return Fit::Not;
        }
        let wrong = |ack: Acknowledgement| {
            // What it has of our other streams was judged when they were in use.
            let ours = ack.key == self.journal.key;
            ours && !self
                .journal
                .records
                .iter()
                .any(|record| record.id == ack.id && record.place() == Some(ack.sequence))
        };
        let earlier = self.journal.received(record.record.key).iter();
        let earlier: Vec<_> = earlier
            .flat_map(|earlier| earlier.record.acknowledged())
            .collect();
        let back = |ack: Acknowledgement| {
            let above = |earlier: &&Acknowledgement| {
                earlier.key == ack.key && earlier.sequence > ack.sequence
            };
            earlier.iter().find(above).is_some()
        };
        if record
            .record
            .acknowledged()
            .any(|ack| wrong(ack) || back(ack))
        {
            return Fit::Not;
        }
        Fit::Next
    }

    fn keep(&mut self, conduct: Conduct, record: Signed) {
        if !conduct.breaks(Breach::DropsEvidence) {
            insert(&mut self.journal.refused, record);
        }
    }

    /// Requests of the other side's that may be decided, linked up or held.
    pub fn requests(&self) -> impl Iterator<Item = &Signed> {
        let kept = self
            .journal
            .received
            .iter()
            .flatten()
            .chain(&self.journal.held);
        kept.filter(|record| matches!(record.record.body, Body::Request(_)))
    }

    /// The other side's decision about a request of ours, and the outcome of it. The first word
    /// counts.
    #[must_use]
    pub fn answer(&self, request: Id) -> Option<(&Signed, Option<&Signed>)> {
        let received = || self.journal.received.iter().flatten();
        let decision = received().find(
            |record| matches!(record.record.body, Body::Decision(Some(id), ..) if id == request),
        )?;
        let outcome = received().find(
            |record| matches!(record.record.body, Body::Outcome(id, ..) if id == decision.id),
        );
        Some((decision, outcome))
    }
}

fn next_place(received: &[Signed]) -> u8 {
    u8::try_from(received.len()).unwrap_or(u8::MAX)
}

/// Kept sorted, so that states which differ in nothing but the order are one.
fn insert(records: &mut Vec<Signed>, record: Signed) {
    let at = records.partition_point(|kept| kept.id < record.id);
    records.insert(at, record);
}

//! Taking records of the counterparty into the channel. Spec: mcp §4.1.

use std::collections::BTreeMap;

use counterfoil_protocol::digest::{KeyThumbprint, RecordId};
use counterfoil_protocol::numbers::ChannelSequence;
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelEvent, ChannelLink, Record, VerifiedRecord,
};

use super::{Ahead, Answer, Channel, Discontinuity, Linked, MAX_AHEAD, at};

impl Channel {
    /// Takes in an authentic record of one of the counterparty's streams, where `own` is ours.
    /// Says whether it is new.
    pub(crate) fn receive(
        &mut self,
        own: KeyThumbprint,
        stream: KeyThumbprint,
        id: RecordId,
        record: &Record,
    ) -> Result<bool, Discontinuity> {
        let Some(link) = record.channel() else {
            return Ok(false);
        };
        let sequence = link.sequence;
        let received = self.received.get(&stream).map_or(&[][..], Vec::as_slice);
        if let Some(known) = at(received, sequence) {
            return if known == id {
                Ok(false)
            } else {
                Err(Discontinuity::Fork {
                    sequence,
                    expected: known,
                })
            };
        }
        let expected = ChannelSequence::new(received.len() as u64);
        if sequence > expected {
            return Err(Discontinuity::Gap { expected });
        }
        let before = received.last().copied();
        if link.previous != before {
            return Err(Discontinuity::Link {
                sequence,
                expected: before,
            });
        }
        self.check_acknowledged(own, stream, link, &record.body)?;
        self.received.entry(stream).or_default().push(id);
        self.heard_last = Some(stream);
        if let Body::Channel(control) = &record.body
            && let ChannelEvent::Statement(_) = control.event
        {
            self.statement = Some(Acknowledgement {
                stream,
                sequence,
                id,
            });
        }
        self.note(id, record);
        Ok(true)
    }

    /// Checks what a record says it has of ours, and takes it for acknowledged.
    fn check_acknowledged(
        &mut self,
        own: KeyThumbprint,
        stream: KeyThumbprint,
        link: &ChannelLink,
        body: &Body,
    ) -> Result<(), Discontinuity> {
        let stated = match body {
            Body::Channel(control) => match &control.event {
                ChannelEvent::Statement(statement) => statement.received.as_slice(),
                _ => &[],
            },
            _ => &[],
        };
        // What it has of our other streams is their business.
        let of_ours = || {
            let all = link.acknowledged.iter().chain(stated);
            all.filter(|acknowledged| acknowledged.stream == own)
        };
        let mut last = self.acknowledged.get(&stream).copied();
        for acknowledged in of_ours() {
            if !self.has_sent(acknowledged.sequence, acknowledged.id) {
                let last = self.sent(own).map(|sent| sent.sequence);
                return Err(Discontinuity::AcknowledgedUnsent { last });
            }
            if let Some(before) = last.filter(|before| acknowledged.sequence < *before) {
                return Err(Discontinuity::AcknowledgementReversed { before });
            }
            last = Some(acknowledged.sequence);
        }
        if let Some(last) = last {
            self.acknowledged.insert(stream, last);
            while let Some(first) = self.unacknowledged.front()
                && first.sequence <= last.get()
            {
                self.unacknowledged.pop_front();
            }
        }
        Ok(())
    }

    /// Keeps an authentic record until those before it are there.
    pub(crate) fn hold(
        &mut self,
        record: &VerifiedRecord,
        bytes: &[u8],
    ) -> Result<(), Discontinuity> {
        let Some(link) = record.record().channel() else {
            return Ok(());
        };
        let stream = record.kid();
        let expected = self.expected(stream);
        let sequence = link.sequence;
        let all: usize = self.ahead.values().map(BTreeMap::len).sum();
        let distance = sequence.get().saturating_sub(expected.get());
        let ahead = self.ahead.entry(stream).or_default();
        if let Some(known) = ahead.get(&sequence.get()) {
            let expected = known.record.id();
            return if expected == record.id() {
                Ok(())
            } else {
                Err(Discontinuity::Fork { sequence, expected })
            };
        }
        if all >= MAX_AHEAD || distance > MAX_AHEAD as u64 {
            return Err(Discontinuity::Gap { expected });
        }
        ahead.entry(sequence.get()).or_insert_with(|| Ahead {
            record: record.clone(),
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    /// A record that waits for those before it.
    pub(crate) fn ahead(
        &self,
        stream: KeyThumbprint,
        sequence: ChannelSequence,
    ) -> Option<(RecordId, &[u8])> {
        let ahead = self.ahead.get(&stream)?.get(&sequence.get())?;
        Some((ahead.record.id(), &ahead.bytes))
    }

    /// Takes in the records that waited for what has come, where `own` is our stream.
    pub(crate) fn link_up(&mut self, own: KeyThumbprint, stream: KeyThumbprint) -> Linked {
        let mut linked = Linked::default();
        loop {
            let next = self.expected(stream).get();
            let Some(waiting) = self.ahead.get_mut(&stream) else {
                return linked;
            };
            // What came by another way meanwhile waits no longer.
            *waiting = waiting.split_off(&next);
            let Some(Ahead { record, bytes }) = waiting.remove(&next) else {
                return linked;
            };
            match self.receive(own, stream, record.id(), record.record()) {
                Ok(_) => linked.received.push((record, bytes)),
                Err(discontinuity) => {
                    linked.refused = Some((record.id(), bytes, discontinuity));
                    return linked;
                }
            }
        }
    }

    fn note(&mut self, id: RecordId, record: &Record) {
        match &record.body {
            Body::Request(_) => {
                if !self.decided_early.remove(&id) {
                    self.undecided.insert(id);
                }
            }
            Body::Decision(decision) => {
                let request = decision.request.map(|request| request.id);
                if let Some(request) = request
                    && let Some(unresolved) = self.unresolved.get_mut(&request)
                    && unresolved.decision.is_none()
                {
                    unresolved.decision = Some((id, decision.evaluation.verdict));
                    self.decisions.insert(id, request);
                } else if let Some(request) = request
                    && self.asked.contains(&request)
                    && !self.answers.contains_key(&request)
                {
                    self.decisions.insert(id, request);
                    let answer = Answer {
                        id,
                        decision: decision.clone(),
                        outcome: None,
                    };
                    self.answers.insert(request, answer);
                }
            }
            Body::Outcome(outcome) => {
                // Whoever has ended a request of its own does not want it decided any more.
                self.undecided.remove(&outcome.decision);
                let Some(request) = self.decisions.get(&outcome.decision) else {
                    return;
                };
                if let Some(answer) = self.answers.get_mut(request)
                    && answer.outcome.is_none()
                {
                    answer.outcome = Some((id, outcome.clone()));
                } else if let Some(unresolved) = self.unresolved.get_mut(request)
                    && unresolved.outcome.is_none()
                {
                    unresolved.outcome = Some((id, outcome.status));
                }
            }
            Body::Channel(_) | Body::Control(_) => {}
        }
    }
}

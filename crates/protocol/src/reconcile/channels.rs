//! What is wrong with the channels beside the calls in them: gaps, two records with one number,
//! acknowledgements of what is not there, denials. Spec: reconciliation §5.

use std::collections::BTreeMap;

use super::collect::Reconciler;
use super::judge::{Findings, missing};
use super::kept::{Acknowledged, Kept, What};
use super::line::{Class, Finding, Line, Role, Side, Subject};
use crate::digest::{KeyThumbprint, RecordId};
use crate::fault::FaultKind;
use crate::numbers::ChannelSequence;

/// The records of one channel: those of a stream to the other side.
type Channel<'a> = BTreeMap<ChannelSequence, Vec<&'a Kept>>;

impl Reconciler {
    pub(super) fn channel_lines(&self, denials: &BTreeMap<RecordId, usize>) -> Vec<Line> {
        let mut channels: BTreeMap<(Side, KeyThumbprint), Channel<'_>> = BTreeMap::new();
        let mut acknowledged: [Acknowledged; 2] = [Acknowledged::new(), Acknowledged::new()];
        let mut lines = Vec::new();
        for kept in &self.records {
            let channel = channels.entry((kept.signer, kept.kid)).or_default();
            channel.entry(kept.channel).or_default().push(kept);
            // What one side acknowledges are the other's records.
            let [ours, theirs] = &mut acknowledged;
            let of = match kept.signer {
                Side::Ours => theirs,
                Side::Theirs => ours,
            };
            let ends = kept.acknowledged.iter();
            of.extend(ends.map(|end| (end.stream, end.sequence, end.id)));
            self.other_record(kept, denials, &mut lines);
        }
        self.stream_forks(&mut lines);
        for ((signer, kid), channel) in &channels {
            self.channel_forks(*signer, channel, &mut lines);
            let [ours, theirs] = &acknowledged;
            let ends = match signer {
                Side::Ours => ours,
                Side::Theirs => theirs,
            };
            self.gaps(*signer, *kid, channel, ends, &mut lines);
        }
        for (signer, ends) in [Side::Ours, Side::Theirs].into_iter().zip(&acknowledged) {
            self.acknowledgements(signer, ends, &channels, &mut lines);
        }
        lines
    }

    /// A record that is part of no call: whether both have it, and whether it is denied.
    fn other_record(
        &self,
        kept: &Kept,
        denials: &BTreeMap<RecordId, usize>,
        lines: &mut Vec<Line>,
    ) {
        let part_of_a_call = match &kept.what {
            What::Request(_) | What::Outcome { .. } => true,
            What::Decision { request, .. } => request.is_some(),
            What::Denial(_) | What::Other => false,
        };
        if part_of_a_call {
            return;
        }
        let name = self.name(kept.signer);
        let mut found = Findings(Vec::new());
        let mut records = vec![kept];
        if !kept.held_by.by(kept.signer) {
            let text = format!(
                "{} has record {} of {name}'s channel, and {name} does not show it",
                self.name(kept.signer.other()),
                kept.channel
            );
            found.add(missing(kept.signer), kept.signer, text);
        }
        if let Some(denial) = denials.get(&kept.id).and_then(|at| self.records.get(*at)) {
            records.push(denial);
            let text = format!("{name} denies record {} of its channel", kept.channel);
            found.fault(FaultKind::OwnRecordDenied, kept.signer, text);
        }
        if !found.0.is_empty() {
            let subject = Subject::Record {
                id: kept.id,
                signer: kept.signer,
            };
            lines.push(line(subject, &records, found.0));
        }
    }

    /// Different records with one sequence of a stream.
    fn stream_forks(&self, lines: &mut Vec<Line>) {
        let mut all: Vec<&Kept> = self.records.iter().collect();
        all.sort_by_key(|kept| (kept.signer, kept.kid, kept.sequence, kept.id));
        for pair in all.windows(2) {
            if let [a, b] = pair
                && (a.signer, a.kid, a.sequence) == (b.signer, b.kid, b.sequence)
            {
                let text = format!(
                    "{} signed two records with sequence {} of one stream",
                    self.name(a.signer),
                    a.sequence
                );
                self.fork(FaultKind::StreamFork, a, b, text, lines);
            }
        }
    }

    /// Different records with one number of a channel, that have different sequences.
    fn channel_forks(&self, signer: Side, channel: &Channel<'_>, lines: &mut Vec<Line>) {
        for (number, records) in channel {
            for pair in records.windows(2) {
                if let [a, b] = pair
                    && a.sequence != b.sequence
                {
                    let text = format!(
                        "{} signed two records with number {number} of one channel",
                        self.name(signer)
                    );
                    self.fork(FaultKind::ChannelFork, a, b, text, lines);
                }
            }
        }
    }

    fn fork(&self, kind: FaultKind, a: &Kept, b: &Kept, text: String, lines: &mut Vec<Line>) {
        if !self.in_period(a.time) && !self.in_period(b.time) {
            return;
        }
        let (a, b) = if a.id < b.id { (a, b) } else { (b, a) };
        let subject = Subject::Record {
            id: a.id,
            signer: a.signer,
        };
        let mut found = Findings(Vec::new());
        found.fault(kind, a.signer, text);
        lines.push(line(subject, &[a, b], found.0));
    }

    /// Numbers of a channel for which nobody has a record.
    fn gaps(
        &self,
        signer: Side,
        kid: KeyThumbprint,
        channel: &Channel<'_>,
        acknowledged: &Acknowledged,
        lines: &mut Vec<Line>,
    ) {
        let from_zero = self
            .options
            .from
            .is_none()
            .then_some(ChannelSequence::new(0));
        let begin = from_zero.or_else(|| channel.keys().next().copied());
        let Some(mut expected) = begin.map(ChannelSequence::get) else {
            return;
        };
        for number in channel.keys() {
            if number.get() > expected {
                self.gap(signer, kid, expected, number.get() - 1, acknowledged, lines);
            }
            expected = expected.max(number.get().saturating_add(1));
        }
        let last = last_acknowledged(kid, acknowledged);
        if let Some(last) = last.filter(|last| *last >= expected) {
            self.gap(signer, kid, expected, last, acknowledged, lines);
        }
    }

    fn gap(
        &self,
        signer: Side,
        kid: KeyThumbprint,
        first: u64,
        last: u64,
        acknowledged: &Acknowledged,
        lines: &mut Vec<Line>,
    ) {
        let (name, other) = (self.name(signer), self.name(signer.other()));
        let had = last_acknowledged(kid, acknowledged).is_some_and(|end| end >= last);
        let what = if first == last {
            format!("record {first} of {name}'s channel is")
        } else {
            format!("records {first} to {last} of {name}'s channel are")
        };
        let text = if had {
            format!("{what} shown by nobody, and {other} has acknowledged having had them")
        } else {
            format!("{what} shown by nobody")
        };
        let subject = Subject::Gap {
            signer,
            stream: kid,
            first: ChannelSequence::new(first),
            last: ChannelSequence::new(last),
        };
        let mut found = Findings(Vec::new());
        found.add(missing(signer), signer, text);
        lines.push(line(subject, &[], found.0));
    }

    /// Acknowledgements of records that are not what is shown, or of streams nobody shows.
    fn acknowledgements(
        &self,
        signer: Side,
        ends: &Acknowledged,
        channels: &BTreeMap<(Side, KeyThumbprint), Channel<'_>>,
        lines: &mut Vec<Line>,
    ) {
        let (name, other) = (self.name(signer), self.name(signer.other()));
        let mut unknown: BTreeMap<KeyThumbprint, u64> = BTreeMap::new();
        for (kid, number, id) in ends {
            let Some(channel) = channels.get(&(signer, *kid)) else {
                let end = unknown.entry(*kid).or_default();
                *end = number.get().max(*end);
                continue;
            };
            let Some(shown) = channel.get(number) else {
                // It is in a gap, or before the period.
                continue;
            };
            if shown.iter().any(|kept| kept.id == *id) {
                continue;
            }
            let text = format!(
                "{other} acknowledges {id} as record {number} of {name}'s channel, and {name} shows \
                 another one"
            );
            let subject = Subject::Record { id: *id, signer };
            let found = Finding {
                class: Class::Contradicting,
                side: None,
                fault: None,
                text,
            };
            lines.push(line(subject, shown, vec![found]));
        }
        if self.options.from.is_none() {
            for (kid, last) in unknown {
                self.gap(signer, kid, 0, last, ends, lines);
            }
        }
    }
}

/// Up to where the other side has acknowledged a channel.
fn last_acknowledged(kid: KeyThumbprint, acknowledged: &Acknowledged) -> Option<u64> {
    let low = (kid, ChannelSequence::new(0), RecordId::from_bytes([0; 32]));
    let high = (
        kid,
        ChannelSequence::new(u64::MAX),
        RecordId::from_bytes([0xff; 32]),
    );
    let last = acknowledged.range(low..=high).next_back();
    last.map(|(_, number, _)| number.get())
}

fn line(subject: Subject, records: &[&Kept], findings: Vec<Finding>) -> Line {
    let found = Findings(findings);
    let texts: Vec<&str> = found
        .0
        .iter()
        .map(|finding| finding.text.as_str())
        .collect();
    Line {
        class: found.class(),
        subject,
        records: records
            .iter()
            .map(|kept| kept.reference(Role::Other))
            .collect(),
        sentence: texts.join("; "),
        findings: found.0,
    }
}

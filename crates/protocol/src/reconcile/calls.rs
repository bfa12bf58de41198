//! Puts the records of each call together.

use std::collections::BTreeMap;

use super::collect::{Kept, Reconciler, What};
use super::line::Side;
use crate::digest::RecordId;
use crate::numbers::UnixMillis;

/// The records of one call.
#[derive(Debug)]
pub(super) struct CallRecords<'a> {
    /// The id of the request, or of what an outcome without its request or decision names.
    pub(super) id: RecordId,
    pub(super) asking: Side,
    pub(super) request: Option<&'a Kept>,
    pub(super) decisions: Vec<&'a Kept>,
    pub(super) asked_outcomes: Vec<&'a Kept>,
    pub(super) asking_outcomes: Vec<&'a Kept>,
}

impl<'a> CallRecords<'a> {
    const fn new(id: RecordId, asking: Side) -> Self {
        Self {
            id,
            asking,
            request: None,
            decisions: Vec::new(),
            asked_outcomes: Vec::new(),
            asking_outcomes: Vec::new(),
        }
    }

    /// When it was made: the earliest of what there is, beginning with the request.
    fn time(&self) -> UnixMillis {
        let all = [&self.decisions, &self.asked_outcomes, &self.asking_outcomes];
        let earliest = all.into_iter().flatten().map(|kept| kept.time).min();
        let request = self.request.map(|kept| kept.time);
        request.or(earliest).unwrap_or(UnixMillis::new(0))
    }
}

impl Reconciler {
    /// The calls of the period in the order of their times, and how many lie outside of it.
    pub(super) fn calls(&self) -> (Vec<CallRecords<'_>>, u64) {
        let mut calls: BTreeMap<RecordId, CallRecords<'_>> = BTreeMap::new();
        for kept in &self.records {
            match &kept.what {
                What::Request(_) => {
                    let call = calls
                        .entry(kept.id)
                        .or_insert_with(|| CallRecords::new(kept.id, kept.signer));
                    call.asking = kept.signer;
                    call.request = Some(kept);
                }
                What::Decision {
                    request: Some((request, _)),
                    ..
                } => calls
                    .entry(*request)
                    .or_insert_with(|| CallRecords::new(*request, kept.signer.other()))
                    .decisions
                    .push(kept),
                _ => {}
            }
        }
        self.settle(&mut calls);
        let all = calls.len();
        let mut calls: Vec<(UnixMillis, CallRecords<'_>)> = calls
            .into_values()
            .map(|call| (call.time(), call))
            .filter(|(time, _)| self.in_period(*time))
            .collect();
        calls.sort_by_key(|(time, call)| (*time, call.id));
        let outside = (all - calls.len()) as u64;
        (calls.into_iter().map(|(_, call)| call).collect(), outside)
    }

    /// Adds the outcomes.
    fn settle<'a>(&'a self, calls: &mut BTreeMap<RecordId, CallRecords<'a>>) {
        // Outcomes of decisions that nobody shows, by their own ids.
        let mut strays: BTreeMap<RecordId, &Kept> = BTreeMap::new();
        let mut answers: Vec<(RecordId, RecordId)> = Vec::new();
        for kept in &self.records {
            let What::Outcome { of, answer, .. } = &kept.what else {
                continue;
            };
            match self.kept(*of).map(|settled| &settled.what) {
                // It refuses what names no request: that is no call, and has no outcome.
                Some(What::Decision { request: None, .. }) => {}
                Some(What::Decision {
                    request: Some((request, _)),
                    ..
                }) => {
                    if let Some(call) = calls.get_mut(request) {
                        call.asked_outcomes.push(kept);
                    }
                }
                // Who names an answer has asked; a request may be known from its decision.
                known => {
                    if known.is_none() && answer.is_none() && !calls.contains_key(of) {
                        strays.insert(kept.id, kept);
                        continue;
                    }
                    calls
                        .entry(*of)
                        .or_insert_with(|| CallRecords::new(*of, kept.signer))
                        .asking_outcomes
                        .push(kept);
                    answers.extend(answer.map(|answer| (answer, *of)));
                }
            }
        }
        // An answer says which call a stray outcome belongs to; else it is all there is of a call.
        for (answer, request) in answers {
            if let Some(call) = calls.get_mut(&request)
                && let Some(stray) = strays.remove(&answer)
            {
                call.asked_outcomes.push(stray);
            }
        }
        for stray in strays.into_values() {
            let What::Outcome { of, .. } = stray.what else {
                continue;
            };
            calls
                .entry(of)
                .or_insert_with(|| CallRecords::new(of, stray.signer.other()))
                .asked_outcomes
                .push(stray);
        }
    }
}

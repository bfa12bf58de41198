//! Puts the records of each call together.

use std::collections::BTreeMap;

use super::collect::Reconciler;
use super::kept::{Asked, Kept, What};
use super::line::{RecordRef, Role, Side};
use crate::digest::{ContentDigest, RecordId};
use crate::numbers::UnixMillis;
use crate::record::{OutcomeStatus, Verdict};

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

    /// All its records with their roles.
    fn with_roles(&self) -> impl Iterator<Item = (Role, &'a Kept)> {
        let with = |role: Role, records: &[&'a Kept]| {
            let records: Vec<&'a Kept> = records.to_vec();
            records.into_iter().map(move |kept| (role, kept))
        };
        let request = self.request.map(|kept| (Role::Request, kept));
        request
            .into_iter()
            .chain(with(Role::Decision, &self.decisions))
            .chain(with(Role::AskedOutcome, &self.asked_outcomes))
            .chain(with(Role::AskingOutcome, &self.asking_outcomes))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'a Kept> {
        self.with_roles().map(|(_, kept)| kept)
    }

    pub(super) fn references(&self) -> Vec<RecordRef> {
        self.with_roles()
            .map(|(role, kept)| kept.reference(role))
            .collect()
    }

    /// What was asked for, by the request, or else by the decision.
    pub(super) fn asked(&self) -> Option<&'a Asked> {
        let first = self.request.or_else(|| self.decisions.first().copied())?;
        match &first.what {
            What::Request(asked) | What::Decision { asked, .. } => Some(asked),
            _ => None,
        }
    }

    /// The contract that it was made under.
    pub(super) fn contract(&self) -> Option<ContentDigest> {
        self.asked()?.contract
    }

    /// Whether the asking side says that the request was never sent.
    pub(super) fn never_left(&self) -> bool {
        let statuses = self.asking_outcomes.iter().map(|kept| &kept.what);
        self.request.is_some()
            && !self.asking_outcomes.is_empty()
            && statuses.into_iter().all(|what| {
                let status = OutcomeStatus::NotExecuted;
                matches!(what, What::Outcome { status: s, answer: None, .. } if *s == status)
            })
    }

    pub(super) fn is_allowed(&self) -> bool {
        self.has(Verdict::Allow)
    }

    pub(super) fn is_denied(&self) -> bool {
        self.has(Verdict::Deny)
    }

    fn has(&self, wanted: Verdict) -> bool {
        let mut decisions = self.decisions.iter().map(|kept| &kept.what);
        decisions.any(|what| matches!(what, What::Decision { verdict, .. } if *verdict == wanted))
    }
}

/// The first outcome's status and the answer that it names.
pub(super) fn status(outcomes: &[&Kept]) -> Option<(OutcomeStatus, Option<RecordId>)> {
    match &outcomes.first()?.what {
        What::Outcome { status, answer, .. } => Some((*status, *answer)),
        _ => None,
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

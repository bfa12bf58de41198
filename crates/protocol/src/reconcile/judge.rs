//! Whether the records of one call agree. Spec: reconciliation §4.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{CallRecords, status};
use super::collect::Reconciler;
use super::kept::{Asked, Judged, Kept, What};
use super::line::{Class, Finding, Line, Role, Side, Subject};
use super::words::{list, shown};
use crate::digest::RecordId;
use crate::fault::FaultKind;
use crate::level::Level;
use crate::record::{OutcomeStatus, Verdict};

/// What is missing from the evidence of a side.
pub(super) const fn missing(side: Side) -> Class {
    match side {
        Side::Ours => Class::MissingHere,
        Side::Theirs => Class::MissingThere,
    }
}

/// The findings of one line, as they are made.
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, class: Class, side: Side, text: String) {
        self.0.push(Finding {
            class,
            side: Some(side),
            fault: None,
            text,
        });
    }

    pub(super) fn fault(&mut self, kind: FaultKind, side: Side, text: String) {
        self.0.push(Finding {
            class: Class::Contradicting,
            side: Some(side),
            fault: Some(kind),
            text,
        });
    }

    /// What a side said twice. It is a fault of it where one stream of it did: its streams know
    /// nothing of each other.
    fn twice(&mut self, fault: Option<FaultKind>, side: Side, text: String) {
        self.0.push(Finding {
            class: Class::Contradicting,
            side: Some(side),
            fault,
            text,
        });
    }

    fn breach(&mut self, kind: Option<FaultKind>, side: Side, text: String) {
        self.0.push(Finding {
            class: Class::OutsideContract,
            side: Some(side),
            fault: kind,
            text,
        });
    }

    /// Two sides that contradict each other, without it being clear whose doing it is.
    fn differ(&mut self, text: String) {
        self.0.push(Finding {
            class: Class::Contradicting,
            side: None,
            fault: None,
            text,
        });
    }

    fn unknown(&mut self, text: String) {
        self.0.push(Finding {
            class: Class::UnknownOutcome,
            side: None,
            fault: None,
            text,
        });
    }

    pub(super) fn class(&self) -> Class {
        let gravest = self.0.iter().map(|finding| finding.class).min();
        gravest.unwrap_or(Class::Matched)
    }
}

impl Reconciler {
    pub(super) fn judge_call(
        &self,
        call: &CallRecords<'_>,
        denials: &BTreeMap<RecordId, usize>,
    ) -> Line {
        let mut found = Findings(Vec::new());
        self.presence(call, &mut found);
        self.decisions(call, &mut found);
        self.outcomes(call, &mut found);
        self.contract(call, &mut found);
        let mut records = call.references();
        for kept in call.all() {
            if !kept.held_by.by(kept.signer) {
                let text = format!(
                    "{} has {} that {} signed, and {} does not show it",
                    self.name(kept.signer.other()),
                    a_kind(&kept.what),
                    self.name(kept.signer),
                    self.name(kept.signer)
                );
                found.add(missing(kept.signer), kept.signer, text);
            }
            if let Some(denial) = denials.get(&kept.id).and_then(|at| self.records.get(*at)) {
                records.push(denial.reference(Role::Other));
                let text = format!(
                    "{} denies {} that it signed",
                    self.name(kept.signer),
                    a_kind(&kept.what)
                );
                found.fault(FaultKind::OwnRecordDenied, kept.signer, text);
            }
            if let Some(text) = self.lateness(kept, call.contract()) {
                found.add(Class::Late, kept.signer, text);
            }
        }
        let class = found.class();
        let sentence = if found.0.is_empty() {
            format!("{}; {}", self.asked_for(call), self.agreed(call))
        } else {
            let texts: Vec<&str> = found
                .0
                .iter()
                .map(|finding| finding.text.as_str())
                .collect();
            format!("{}: {}", self.asked_for(call), list(&texts))
        };
        Line {
            class,
            subject: Subject::Call {
                request: call.id,
                asking: call.asking,
            },
            records,
            findings: found.0,
            sentence,
        }
    }

    /// Whether request and decision are there.
    fn presence(&self, call: &CallRecords<'_>, found: &mut Findings) {
        let (asking, asked) = (call.asking, call.asking.other());
        if call.request.is_none() {
            let text = format!(
                "{} does not show the request, although {}",
                self.name(asking),
                match (call.decisions.is_empty(), call.asking_outcomes.is_empty()) {
                    (false, _) => format!("{} decided it", self.name(asked)),
                    (true, false) => "it shows an outcome".to_owned(),
                    (true, true) => format!("{} shows an outcome", self.name(asked)),
                }
            );
            found.add(missing(asking), asking, text);
        }
        if call.decisions.is_empty() && !call.never_left() {
            let text = format!("{} shows no decision about it", self.name(asked));
            found.add(missing(asked), asked, text);
        }
    }

    /// Whether the decisions are one, and about what was asked for.
    fn decisions(&self, call: &CallRecords<'_>, found: &mut Findings) {
        let asked = call.asking.other();
        if call.decisions.len() > 1 {
            let text = format!(
                "{} decided it {} times",
                self.name(asked),
                call.decisions.len()
            );
            let kind = of_one_stream(&call.decisions, |_| Some(call.id));
            found.twice(kind.then_some(FaultKind::DecidedTwice), asked, text);
        }
        for decision in &call.decisions {
            let What::Decision {
                verdict,
                asked: decided,
                ..
            } = &decision.what
            else {
                continue;
            };
            if decision.signer == call.asking {
                found.differ(format!(
                    "{} decided its own request",
                    self.name(call.asking)
                ));
            }
            if *verdict != Verdict::Allow {
                // Why it was denied may be that it arrived as something else.
                continue;
            }
            if let Some(request) = call.asked()
                && let Some(difference) = difference(request, decided)
            {
                let text = format!("{} allowed it with {difference}", self.name(asked));
                match difference {
                    "another contract" => found.add(Class::Contradicting, asked, text),
                    _ => found.fault(FaultKind::AllowedOtherwise, asked, text),
                }
            }
        }
    }

    /// Whether what became of it is known and the same on both sides.
    fn outcomes(&self, call: &CallRecords<'_>, found: &mut Findings) {
        let (asking, asked) = (call.asking, call.asking.other());
        for (side, outcomes) in [
            (asked, &call.asked_outcomes),
            (asking, &call.asking_outcomes),
        ] {
            if outcomes.len() > 1 {
                let text = format!("{} gave it {} outcomes", self.name(side), outcomes.len());
                let kind = of_one_stream(outcomes, |kept| match kept.what {
                    What::Outcome { of, .. } => Some(of),
                    _ => None,
                });
                found.twice(kind.then_some(FaultKind::SettledTwice), side, text);
            }
        }
        let there = status(&call.asked_outcomes);
        let here = status(&call.asking_outcomes);
        let (a, b) = (self.name(asking), self.name(asked));
        if call.decisions.is_empty() && there.is_none() {
            // That the decision is missing has been said; the rest is what one side says alone.
            if call.never_left() {
                return;
            }
            match here {
                Some((OutcomeStatus::Succeeded | OutcomeStatus::Failed, None)) => found.add(
                    Class::Contradicting,
                    asking,
                    format!("{a} shows a result and names no answer that it follows from"),
                ),
                Some((OutcomeStatus::Unknown | OutcomeStatus::EvidenceInvalid, _)) | None => {
                    found.unknown(format!("{a} {}", shown(here.map(|(status, _)| status))));
                }
                Some(_) => {}
            }
        } else if call.is_allowed() {
            self.allowed(here, there, found, (a.as_str(), b.as_str()));
        } else if call.is_denied() {
            if let Some((OutcomeStatus::Succeeded | OutcomeStatus::Failed, _)) = there {
                found.fault(
                    FaultKind::ExecutedUnallowed,
                    asked,
                    format!("{b} denied it and executed it all the same"),
                );
            }
            match here.map(|(status, _)| status) {
                Some(OutcomeStatus::RefusedByCounterparty) => {}
                Some(OutcomeStatus::Unknown | OutcomeStatus::EvidenceInvalid) | None => found
                    .unknown(format!(
                        "{a} {}, {b} denied it",
                        shown(here.map(|(status, _)| status))
                    )),
                Some(status) => {
                    found.differ(format!("{b} denied it, and {a} {}", shown(Some(status))))
                }
            }
        }
        self.answer(call, here, found);
    }

    /// Both sides' outcomes of what was allowed.
    fn allowed(
        &self,
        here: Option<(OutcomeStatus, Option<RecordId>)>,
        there: Option<(OutcomeStatus, Option<RecordId>)>,
        found: &mut Findings,
        (a, b): (&str, &str),
    ) {
        use OutcomeStatus as Status;
        let (here, there) = (here.map(|(s, _)| s), there.map(|(s, _)| s));
        let both = || format!("{a} {}, {b} {}", shown(here), shown(there));
        match (here, there) {
            (Some(Status::Succeeded), Some(Status::Succeeded))
            | (Some(Status::Failed), Some(Status::Failed))
            | (
                Some(Status::RefusedByCounterparty | Status::NotExecuted),
                Some(Status::NotExecuted),
            ) => {}
            // Somebody does not know, and the other one may.
            (None | Some(Status::Unknown | Status::EvidenceInvalid), _)
            | (_, None)
            | (
                Some(Status::NotExecuted | Status::RefusedByCounterparty),
                Some(Status::Unknown | Status::RefusedByCounterparty | Status::EvidenceInvalid),
            ) => found.unknown(both()),
            _ => found.differ(both()),
        }
    }

    /// Whether the asking side's outcome follows from a record of this call.
    fn answer(
        &self,
        call: &CallRecords<'_>,
        here: Option<(OutcomeStatus, Option<RecordId>)>,
        found: &mut Findings,
    ) {
        let Some((_, Some(answer))) = here else {
            return;
        };
        let mut own = call.decisions.iter().chain(&call.asked_outcomes);
        if own.any(|kept| kept.id == answer) {
            return;
        }
        let (asking, asked) = (call.asking, call.asking.other());
        let (a, b) = (self.name(asking), self.name(asked));
        if self.kept(answer).is_some() {
            let text = format!("{a}'s outcome follows from a record of another call");
            found.add(Class::Contradicting, asking, text);
        } else {
            let text =
                format!("{a}'s outcome follows from record {answer}, which {b} does not show");
            found.add(missing(asked), asked, text);
        }
    }

    /// Whether the contract allowed it, on the evidence that it asks for.
    fn contract(&self, call: &CallRecords<'_>, found: &mut Findings) {
        let outside = |found: &mut Findings, side: Side, why: &str| {
            let text = format!(
                "it was outside of the contract for {}: {why}",
                self.name(side)
            );
            // A record that names no contract shows nobody that one was needed.
            let kind = call.contract().map(|_| FaultKind::OutsideContract);
            found.breach(kind, side, text);
        };
        match (call.request, call.asked().map(|asked| &asked.terms)) {
            (Some(_), Some(Judged::Outside(why))) => outside(found, call.asking, why),
            (None, Some(Judged::Outside(why))) => outside(found, call.asking.other(), why),
            (_, Some(Judged::Permitted(needed))) => self.evidence(call, *needed, found),
            _ => {}
        }
    }

    fn evidence(&self, call: &CallRecords<'_>, needed: Level, found: &mut Findings) {
        for decision in &call.decisions {
            if let What::Decision {
                request: Some((_, evidence)),
                verdict: Verdict::Allow,
                ..
            } = &decision.what
                && *evidence < needed
            {
                let asked = call.asking.other();
                let text = format!(
                    "{} allowed it on evidence that was {evidence}, the contract asks for {needed}",
                    self.name(asked)
                );
                found.breach(Some(FaultKind::EvidenceTooLow), asked, text);
            }
        }
    }
}

/// Whether two of the records are of one stream, and about the same.
fn of_one_stream(records: &[&Kept], about: impl Fn(&Kept) -> Option<RecordId>) -> bool {
    let mut seen = BTreeSet::new();
    records
        .iter()
        .any(|kept| !seen.insert((kept.kid, about(kept))))
}

/// What an allowing decision may not change. The tier is each side's own.
fn difference(request: &Asked, decided: &Asked) -> Option<&'static str> {
    let actor = |asked: &Asked| (asked.agent, asked.on_behalf_of, asked.session);
    if actor(request) != actor(decided) {
        Some("another actor")
    } else if request.action != decided.action {
        Some("another action")
    } else if request.parameters != decided.parameters {
        Some("other parameters")
    } else if request.contract != decided.contract {
        Some("another contract")
    } else {
        None
    }
}

const fn a_kind(what: &What) -> &'static str {
    match what {
        What::Request(_) => "a request",
        What::Decision { .. } => "a decision",
        What::Outcome { .. } => "an outcome",
        What::Denial(_) | What::Other => "a control record",
    }
}

pub(super) const fn kind(what: &What) -> &'static str {
    match what {
        What::Request(_) => "request",
        What::Decision { .. } => "decision",
        What::Outcome { .. } => "outcome",
        What::Denial(_) | What::Other => "control record",
    }
}

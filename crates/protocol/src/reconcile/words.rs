//! What a line says, in plain words.

use super::calls::{CallRecords, status};
use super::collect::Reconciler;
use super::judge::kind;
use super::kept::Kept;
use crate::digest::ContentDigest;
use crate::level::Level;
use crate::record::OutcomeStatus;

impl Reconciler {
    /// Who asked whom for what.
    pub(super) fn asked_for(&self, call: &CallRecords<'_>) -> String {
        let (asking, asked) = (self.name(call.asking), self.name(call.asking.other()));
        let names = call
            .asked()
            .and_then(|what| self.actions.value(what.action));
        match names {
            Some((server, verb, tool)) => {
                format!("{asking} asked {asked} for `{tool}` of `{server}` ({verb})")
            }
            None => format!("{asking} asked {asked} for something"),
        }
    }

    /// What both sides say of a call about which they agree.
    pub(super) fn agreed(&self, call: &CallRecords<'_>) -> String {
        let (asking, asked) = (self.name(call.asking), self.name(call.asking.other()));
        if call.never_left() && call.decisions.is_empty() {
            return format!("it never left {asking}, and {asked} shows nothing about it");
        }
        if call.is_denied() {
            return format!("{asked} denied it, and {asking} says so too");
        }
        match status(&call.asked_outcomes).map(|(status, _)| status) {
            Some(OutcomeStatus::Succeeded) => "both show that it succeeded".to_owned(),
            Some(OutcomeStatus::Failed) => "both show that it failed".to_owned(),
            _ => "both show that it was not executed".to_owned(),
        }
    }

    /// That a record was published too late, if it was.
    pub(super) fn lateness(&self, kept: &Kept, contract: Option<ContentDigest>) -> Option<String> {
        let delay = self.publish_delay(contract)?;
        let due = kept.time.saturating_add(delay.get());
        let name = self.name(kept.signer);
        let what = kind(&kept.what);
        if let Some(not_after) = kept.not_after {
            // The witnesses' time is in whole seconds, rounded down.
            let published = not_after.get().saturating_mul(1000);
            return (published > due.get()).then(|| {
                format!(
                    "{name}'s {what} was witnessed {} ms after it was made, {delay} were agreed",
                    published.saturating_sub(kept.time.get())
                )
            });
        }
        let as_of = self.options.as_of?;
        (kept.level < Level::Logged && as_of > due).then(|| {
            format!(
                "{name}'s {what} is not shown in a log {} ms after it was made, {delay} were agreed",
                as_of.since(kept.time)
            )
        })
    }
}

/// What a side shows as the outcome.
pub(super) const fn shown(status: Option<OutcomeStatus>) -> &'static str {
    match status {
        None => "shows no outcome",
        Some(OutcomeStatus::Succeeded) => "shows that it succeeded",
        Some(OutcomeStatus::Failed) => "shows that it failed",
        Some(OutcomeStatus::NotExecuted) => "shows that it was not executed",
        Some(OutcomeStatus::Unknown) => "does not know what became of it",
        Some(OutcomeStatus::RefusedByCounterparty) => "shows that the other side refused it",
        Some(OutcomeStatus::EvidenceInvalid) => "got an answer whose evidence did not verify",
    }
}

/// Clauses of one sentence.
pub(super) fn list(texts: &[&str]) -> String {
    texts.join("; ")
}

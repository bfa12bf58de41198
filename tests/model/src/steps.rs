//! What a side that keeps the rules does next.

use crate::enforcer::Enforcer;
use crate::exchange::{Action, Exchange, State};
use crate::rules::{Answer, Breach};
use crate::statements::{Body, Id, KEYS, Key, Party, Record, Signed, Status, Verdict};

impl Exchange {
    /// All steps of one side.
    pub(crate) fn steps(&self, state: &State, side: &Enforcer, actions: &mut Vec<Action>) {
        let (party, conduct, bounds) = (side.party, self.conduct(side.party), &self.bounds);
        if !side.up {
            actions.extend(self.ways_up(state, side));
        } else {
            if !side.pending.is_empty() {
                actions.push(Action::Flush(party));
            }
            if side.journal.batches.len() < bounds.batches && side.has_unsealed() {
                actions.push(Action::Seal(party));
            }
            if state.crashes < bounds.crashes {
                actions.push(Action::Crash(party));
            }
            match party {
                Party::Asking => {}
                Party::Asked => self.running(side, actions),
            }
            if side.may_sign(conduct) && side.pending.len() < bounds.pending.max(1) {
                match party {
                    Party::Asking => self.ask(side, actions),
                    Party::Asked => self.answer(side, actions),
                }
                self.say(state, side, actions);
            }
            let ended =
                side.journal.records.last().map(|last| last.record.body) == Some(Body::Ended);
            if ended && side.retired.len() < usize::from(bounds.rotations) {
                actions.push(Action::Rotate(party, false));
            }
        }
        let unlucky = bounds.restores > state.restores && bounds.restored == Some(party);
        let backs_up = unlucky || conduct.breaks(Breach::TwoJournals);
        if backs_up && side.backup.is_none() && side.lost.records.is_empty() && !side.copied {
            actions.push(Action::BackUp(party));
        }
        if side.backup.is_some() && state.restores < bounds.restores {
            actions.push(Action::Restore(party));
        }
        if conduct.breaks(Breach::TwoJournals) && side.backup.is_some() {
            actions.push(Action::SignInCopy(party));
        }
    }

    fn ways_up(&self, state: &State, side: &Enforcer) -> Vec<Action> {
        let (party, conduct) = (side.party, self.conduct(side.party));
        let remembers = side
            .journal
            .records
            .iter()
            .any(|it| it.record.link.is_some());
        let passes_over = conduct.breaks(Breach::PassesOver)
            || conduct.breaks(Breach::AsksWhomItRemembers) && !remembers;
        let answers: &[Answer] = match state.honest(party.other()) {
            None => &[Answer::Lie],
            Some(_) if passes_over => &[Answer::True, Answer::Silent],
            Some(_) => &[Answer::True],
        };
        let mut ways = Vec::new();
        for answer in answers {
            let told = match answer {
                Answer::True => self.told(state, party, side.journal.key),
                Answer::Silent | Answer::Lie => Vec::new(),
            };
            if side.may_continue(conduct, &told) {
                ways.push(Action::Restart(party, *answer));
            }
        }
        if side.retired.len() < usize::from(self.bounds.rotations)
            && side.journal.key + 1 < max_key()
        {
            ways.push(Action::Rotate(party, false));
            if conduct.breaks(Breach::ManifestNotDurable) && side.lost.manifests.is_empty() {
                ways.push(Action::Rotate(party, true));
            }
        }
        ways
    }

    /// What the counterparty, if it is honest, has of a stream.
    fn told(&self, state: &State, party: Party, key: Key) -> Vec<Id> {
        let Some(other) = state.honest(party.other()) else {
            return Vec::new();
        };
        let linked = other.journal.received(key).iter();
        if self.conduct(other.party).breaks(Breach::TellsOnlyLinked) {
            return linked.map(|record| record.id).collect();
        }
        let all = other.journal.custody();
        let of_stream = all.filter(|record| record.record.key == key);
        of_stream.map(|record| record.id).collect()
    }

    fn ask(&self, side: &Enforcer, actions: &mut Vec<Action>) {
        let journals = side.retired.iter().flat_map(|journal| &journal.records);
        let all = journals.chain(side.records());
        let asked = all.filter(|record| matches!(record.record.body, Body::Request(_)));
        let number = asked.count();
        if number < self.bounds.requests {
            actions.push(Action::Ask(u8::try_from(number).unwrap_or(u8::MAX)));
        }
        let open = side.journal.records.iter().filter(|record| {
            matches!(record.record.body, Body::Request(_)) && side.outcome(record.id).is_none()
        });
        for request in open {
            if settlement(side, request.id).is_some() {
                actions.push(Action::Settle(request.id));
            }
            if self.bounds.patience {
                actions.push(Action::GiveUp(request.id));
            }
        }
    }

    fn answer(&self, side: &Enforcer, actions: &mut Vec<Action>) {
        let conduct = self.conduct(Party::Asked);
        let again = side
            .records()
            .filter(|record| matches!(record.record.body, Body::Decision(..)));
        let again = again.count().saturating_sub(
            side.requests()
                .filter(|request| side.decision(request.id).is_some())
                .count(),
        );
        for request in side.requests() {
            let fresh = side.decision(request.id).is_none();
            if fresh || conduct.breaks(Breach::DecidesAgain) && again == 0 {
                actions.push(Action::Decide(request.id, Verdict::Allow));
                actions.push(Action::Decide(request.id, Verdict::Deny));
            }
            if !fresh && again < self.bounds.repeats {
                actions.push(Action::Repeat(request.id));
            }
        }
    }

    fn running(&self, side: &Enforcer, actions: &mut Vec<Action>) {
        let conduct = self.conduct(Party::Asked);
        let decisions = side
            .journal
            .records
            .iter()
            .filter(|record| match record.record.body {
                Body::Decision(Some(_), _, Verdict::Allow) => true,
                Body::Decision(Some(_), _, Verdict::Deny) => conduct.breaks(Breach::ExecutesDenied),
                _ => false,
            });
        let may_sign = side.may_sign(conduct) && side.pending.len() < self.bounds.pending.max(1);
        for decision in decisions {
            let open = side.outcome(decision.id).is_none();
            if !side.running.contains(&decision.id) {
                if open && side.running.is_empty() && !side.has_ended() {
                    actions.push(Action::Execute(decision.id));
                }
            } else if may_sign && (open || conduct.breaks(Breach::SettlesAgain)) {
                actions.push(Action::Finish(decision.id));
                if open && self.bounds.late_results {
                    actions.push(Action::TimeOut(decision.id));
                }
            }
        }
    }

    /// What either side may say beside calls.
    fn say(&self, state: &State, side: &Enforcer, actions: &mut Vec<Action>) {
        let (party, conduct, bounds) = (side.party, self.conduct(side.party), &self.bounds);
        let said = |is: fn(&Body) -> bool| {
            side.records()
                .filter(|record| is(&record.record.body))
                .count()
        };
        let may_deny = bounds
            .restored
            .is_none_or(|restored| restored == party && state.restores > 0);
        if may_deny && said(|body| matches!(body, Body::Denied(_))) < bounds.denials {
            let fits = |claimed: &Signed| side.denies(conduct, claimed);
            let claims = side.left(conduct).copied().chain(invented(side));
            actions.extend(
                claims
                    .filter(fits)
                    .map(|claimed| Action::Deny(party, claimed)),
            );
        }
        if said(|body| matches!(body, Body::Statement(_))) < bounds.statements {
            actions.push(Action::Close(party));
        }
        let may_end = (bounds.restores == 0 || bounds.rotates_first) && side.running.is_empty();
        if !side.has_ended() && side.retired.len() < usize::from(bounds.rotations) && may_end {
            actions.push(Action::End(party));
        }
    }

    /// Takes a step of a side that keeps the rules.
    pub(crate) fn step(&self, state: &mut State, action: Action) -> Option<()> {
        let party = match action {
            Action::Ask(_) | Action::Settle(_) | Action::GiveUp(_) => Party::Asking,
            Action::Decide(..)
            | Action::Execute(_)
            | Action::Finish(_)
            | Action::TimeOut(_)
            | Action::Repeat(_) => Party::Asked,
            Action::Deny(party, _)
            | Action::Close(party)
            | Action::End(party)
            | Action::Flush(party)
            | Action::Seal(party)
            | Action::Restart(party, _)
            | Action::BackUp(party)
            | Action::Rotate(party, _)
            | Action::SignInCopy(party)
            | Action::Deliver(party, _)
            | Action::Crash(party)
            | Action::Restore(party)
            | Action::Forge(party, _) => party,
        };
        let conduct = self.conduct(party);
        let side = state.honest_mut(party)?;
        match action {
            Action::Ask(call) => side.sign_to_peer(conduct, Body::Request(call)),
            Action::Settle(id) => {
                let (status, answer) = settlement(side, id)?;
                side.sign_to_peer(conduct, Body::Outcome(id, status, Some(answer)));
            }
            Action::GiveUp(id) => {
                side.sign_to_peer(conduct, Body::Outcome(id, Status::Unknown, None));
            }
            Action::Decide(id, verdict) => {
                let mut call = call_of(side, id)?;
                if conduct.breaks(Breach::AllowsOtherwise) {
                    call += 1;
                }
                side.sign_to_peer(conduct, Body::Decision(Some(id), call, verdict));
            }
            Action::Repeat(id) => {
                let named = conduct.breaks(Breach::RefusalNamesRepeat).then_some(id);
                let call = call_of(side, id)?;
                side.sign_to_peer(conduct, Body::Decision(named, call, Verdict::Deny));
            }
            Action::Execute(id) => {
                let decision = side.journal.records.iter().find(|record| record.id == id)?;
                let Body::Decision(Some(request), ..) = decision.record.body else {
                    return None;
                };
                side.running.push(id);
                side.executed.push(request);
            }
            Action::Finish(id) => {
                side.running.retain(|running| *running != id);
                side.sign_to_peer(conduct, Body::Outcome(id, Status::Succeeded, None));
            }
            Action::TimeOut(id) => {
                side.sign_to_peer(conduct, Body::Outcome(id, Status::Unknown, None));
            }
            Action::Deny(_, claimed) => side.sign_to_peer(conduct, Body::Denied(claimed.id)),
            Action::Close(_) => {
                let mut received = [None; KEYS];
                for (key, received) in (0..).zip(&mut received) {
                    *received = side.head(conduct, key);
                }
                side.sign_to_peer(conduct, Body::Statement(received));
            }
            Action::End(_) => side.sign(Body::Ended),
            Action::Flush(_) => side.flush(),
            Action::Seal(_) => side.seal(conduct),
            Action::Restart(..) => side.restart(conduct),
            Action::BackUp(_) => side.back_up(),
            Action::Rotate(_, dies) => side.rotate(conduct, dies),
            Action::SignInCopy(_) => side.sign_in_copy(),
            Action::Deliver(..) | Action::Crash(_) | Action::Restore(_) | Action::Forge(..) => {}
        }
        if self.bounds.pending == 0 {
            side.flush();
        }
        Some(())
    }
}

fn max_key() -> Key {
    Key::try_from(KEYS).unwrap_or(Key::MAX)
}

fn call_of(side: &Enforcer, id: Id) -> Option<u8> {
    let request = side.requests().find(|request| request.id == id)?;
    match request.record.body {
        Body::Request(call) => Some(call),
        _ => None,
    }
}

/// The outcome that an answer gives a request of ours.
fn settlement(side: &Enforcer, request: Id) -> Option<(Status, Id)> {
    let (decision, outcome) = side.answer(request)?;
    if let Body::Decision(_, _, Verdict::Deny) = decision.record.body {
        return Some((Status::Refused, decision.id));
    }
    let outcome = outcome?;
    match outcome.record.body {
        Body::Outcome(_, status, _) => Some((status, outcome.id)),
        _ => None,
    }
}

/// Records that the side never signed, and that somebody says are its own: at the first places of
/// the stream in use, and of another one.
fn invented(side: &Enforcer) -> impl Iterator<Item = Signed> {
    let (party, own) = (side.party, side.journal.key);
    [(own, 0), (9, 0)].into_iter().map(move |(key, sequence)| {
        Signed::new(Record {
            signer: party,
            key,
            sequence,
            previous: Some(Id::NOTHING),
            link: None,
            body: Body::Request(u8::MAX),
        })
    })
}

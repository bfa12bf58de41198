//! Random conversations in which records are dropped, altered and sent twice, against a model that
//! looks at each call by itself and knows what was done to it.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::reconcile::{Class, Options, Side, Subject};
use counterfoil_protocol::record::{Body, OutcomeStatus, Verdict};
use proptest::prelude::*;

use super::reconcile_held;
use super::support::conversation::{Conversation, Said};
use super::support::digest;

/// How a call ends when both sides are honest.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Succeeded,
    Failed,
    Denied,
    NeverLeft,
    NotExecuted,
    AnswerLost,
    NobodyKnows,
}

/// What is done to its records.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    OtherParameters,
    OtherStatus,
    DecidedTwice,
}

#[derive(Clone, Debug)]
struct Plan {
    asking: Side,
    ending: Ending,
    change: Change,
    /// Which of request, decision, asked outcome, asking outcome are dropped.
    dropped: u8,
    /// Which are shown twice, and which also by the side that received them.
    repeated: u8,
    received: u8,
}

fn plan() -> impl Strategy<Value = Plan> {
    let ending = prop_oneof![
        4 => Just(Ending::Succeeded),
        1 => Just(Ending::Failed),
        1 => Just(Ending::Denied),
        1 => Just(Ending::NeverLeft),
        1 => Just(Ending::NotExecuted),
        1 => Just(Ending::AnswerLost),
        1 => Just(Ending::NobodyKnows),
    ];
    let change = prop_oneof![
        5 => Just(Change::Nothing),
        1 => Just(Change::OtherParameters),
        1 => Just(Change::OtherStatus),
        1 => Just(Change::DecidedTwice),
    ];
    let dropped = prop_oneof![3 => Just(0_u8), 1 => 0..16_u8];
    let asking = prop_oneof![Just(Side::Ours), Just(Side::Theirs)];
    (asking, ending, change, dropped, 0..16_u8, 0..16_u8).prop_map(
        |(asking, ending, change, dropped, repeated, received)| Plan {
            asking,
            ending,
            change,
            dropped,
            repeated,
            received,
        },
    )
}

/// The records of a call, each with the bit of its role.
fn play(c: &mut Conversation, plan: &Plan) -> Vec<(u8, Said)> {
    use OutcomeStatus as Status;
    let (asking, asked) = (plan.asking, plan.asking.other());
    let request = c.request(asking);
    let mut said = vec![(0, request.clone())];
    if matches!(plan.ending, Ending::NeverLeft) {
        said.push((3, c.settle(asking, &request, Status::NotExecuted, None)));
        return said;
    }
    let verdict = match plan.ending {
        Ending::Denied => Verdict::Deny,
        _ => Verdict::Allow,
    };
    let mut decision = c.decision(&request, verdict);
    if matches!(plan.change, Change::OtherParameters) {
        decision.parameters = digest("others");
    }
    let decision = c.say(asked, Body::Decision(decision));
    said.push((1, decision.clone()));
    if matches!(plan.change, Change::DecidedTwice) {
        said.push((1, c.decide(&request, verdict)));
    }
    let (there, mut here) = match plan.ending {
        Ending::Succeeded => (Some(Status::Succeeded), Status::Succeeded),
        Ending::Failed => (Some(Status::Failed), Status::Failed),
        Ending::Denied => (None, Status::RefusedByCounterparty),
        Ending::NotExecuted => (Some(Status::NotExecuted), Status::RefusedByCounterparty),
        Ending::AnswerLost => (Some(Status::Succeeded), Status::Unknown),
        Ending::NeverLeft | Ending::NobodyKnows => (Some(Status::Unknown), Status::EvidenceInvalid),
    };
    if alters_status(plan) {
        here = match here {
            Status::Succeeded => Status::Failed,
            _ => Status::Succeeded,
        };
    }
    let there = there.map(|status| c.settle(asked, &decision, status, None));
    let answer = match plan.ending {
        Ending::AnswerLost | Ending::NobodyKnows => None,
        _ => Some(there.as_ref().map_or(decision.id, |there| there.id)),
    };
    said.extend(there.map(|there| (2, there)));
    said.push((3, c.settle(asking, &request, here, answer)));
    said
}

/// A status can only be turned round where the asking side claims to know it.
fn alters_status(plan: &Plan) -> bool {
    matches!(plan.change, Change::OtherStatus)
        && !matches!(plan.ending, Ending::AnswerLost | Ending::NobodyKnows)
}

/// The classes of what there is to find in a call.
fn expected(plan: &Plan, present: &BTreeSet<u8>) -> BTreeSet<Class> {
    let missing = |side| match side {
        Side::Ours => Class::MissingHere,
        Side::Theirs => Class::MissingThere,
    };
    let has = |role| present.contains(&role);
    let (asking, asked) = (plan.asking, plan.asking.other());
    let mut found = BTreeSet::new();
    if !has(0) {
        found.insert(missing(asking));
    }
    if matches!(plan.ending, Ending::NeverLeft) {
        if !has(3) {
            // A request of which nobody shows anything more.
            found.extend([missing(asked), Class::UnknownOutcome]);
        } else if !has(0) {
            // An outcome of nobody knows what.
            found.insert(missing(asked));
        }
        return found;
    }
    let knows = !matches!(plan.ending, Ending::AnswerLost | Ending::NobodyKnows);
    let denied = matches!(plan.ending, Ending::Denied);
    if !has(1) {
        found.insert(missing(asked));
        if denied && has(3) {
            // Its outcome names the decision.
            found.insert(missing(asked));
        }
    }
    if !has(2) && !denied && has(3) && knows {
        found.insert(missing(asked));
    }
    if has(1) {
        if matches!(plan.change, Change::OtherParameters) && has(0) && !denied {
            found.insert(Class::Contradicting);
        }
        if matches!(plan.change, Change::DecidedTwice) {
            found.insert(Class::Contradicting);
        }
        if alters_status(plan) && has(3) && (has(2) || denied) {
            found.insert(Class::Contradicting);
        }
        if !has(3) || !knows || (!has(2) && !denied) {
            found.insert(Class::UnknownOutcome);
        }
    } else if !has(2) && has(0) && (!has(3) || !knows) {
        found.insert(Class::UnknownOutcome);
    }
    found
}

/// Whether the records of a call that are left can still be told to belong together.
fn hangs_together(plan: &Plan, present: &BTreeSet<u8>) -> bool {
    let knows = !matches!(plan.ending, Ending::AnswerLost | Ending::NobodyKnows);
    // Without the decision only the answer links the asked side's outcome to the request.
    let stray = present.contains(&2) && !present.contains(&1);
    !(stray && (!knows || !present.contains(&3)))
        // And an outcome alone does not say whose it is.
        && !(present.contains(&3) && !present.contains(&0) && !present.contains(&1) && !knows)
        && (!matches!(plan.ending, Ending::NeverLeft) || present.contains(&0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_call_is_classified_as_the_model_does(plans in prop::collection::vec(plan(), 1..24)) {
        let mut conversation = Conversation::default();
        let mut held: Vec<(Side, Said)> = Vec::new();
        let mut calls: BTreeMap<RecordId, (Plan, BTreeSet<u8>)> = BTreeMap::new();
        // What each side has sent, and what of it is left or acknowledged.
        let mut sent: BTreeMap<Side, u64> = BTreeMap::new();
        let mut left: BTreeMap<Side, BTreeSet<u64>> = BTreeMap::new();
        let mut acknowledged: BTreeMap<Side, u64> = BTreeMap::new();
        for plan in plans {
            let said = play(&mut conversation, &plan);
            let request = said[0].1.id;
            let mut present = BTreeSet::new();
            let mut kept = Vec::new();
            for (role, said) in said {
                *sent.entry(said.signer).or_default() += 1;
                if plan.dropped >> role & 1 == 1 {
                    continue;
                }
                present.insert(role);
                kept.push((role, said));
            }
            // What cannot be put together is for the examples.
            let plan = if hangs_together(&plan, &present) { plan } else { continue };
            for (role, said) in kept {
                let link = said.record.channel().unwrap();
                left.entry(said.signer).or_default().insert(link.sequence.get());
                if let Some(end) = link.acknowledged {
                    let last = acknowledged.entry(said.signer.other()).or_default();
                    *last = (*last).max(end.sequence.get() + 1);
                }
                held.push((said.signer, said.clone()));
                if plan.repeated >> role & 1 == 1 {
                    held.push((said.signer, said.clone()));
                }
                if plan.received >> role & 1 == 1 {
                    held.insert(held.len() / 2, (said.signer.other(), said));
                }
            }
            if !present.is_empty() {
                calls.insert(request, (plan, present));
            }
        }
        let (lines, totals) = reconcile_held(&held, Options::default());
        prop_assert_eq!(totals.calls, calls.len() as u64);
        let mut gaps: BTreeMap<Side, BTreeSet<u64>> = BTreeMap::new();
        for line in &lines {
            match line.subject {
                Subject::Call { request, asking } => {
                    let (plan, present) = &calls[&request];
                    prop_assert_eq!(asking, plan.asking);
                    let found: BTreeSet<Class> =
                        line.findings.iter().map(|finding| finding.class).collect();
                    prop_assert_eq!(
                        &found,
                        &expected(plan, present),
                        "{:?} of {:?}: {}",
                        present,
                        plan,
                        line.sentence
                    );
                }
                Subject::Gap { signer, first, last, .. } => {
                    prop_assert_eq!(line.class, match signer {
                        Side::Ours => Class::MissingHere,
                        Side::Theirs => Class::MissingThere,
                    });
                    gaps.entry(signer).or_default().extend(first.get()..=last.get());
                }
                Subject::Record { .. } => prop_assert!(false, "{}", line.sentence),
            }
        }
        for side in [Side::Ours, Side::Theirs] {
            let left = left.remove(&side).unwrap_or_default();
            let shown = left.last().map_or(0, |last| last + 1);
            let end = shown.max(acknowledged.get(&side).copied().unwrap_or_default());
            let naive: BTreeSet<u64> = (0..end).filter(|number| !left.contains(number)).collect();
            prop_assert_eq!(gaps.remove(&side).unwrap_or_default(), naive);
            prop_assert!(end <= sent.get(&side).copied().unwrap_or_default());
        }
    }

    /// Records of nobody knows what do no more than lead to lines.
    #[test]
    fn nothing_makes_it_panic(
        dropped in prop::collection::vec(any::<bool>(), 40),
        swaps in prop::collection::vec((0..40_usize, 0..40_usize), 0..20),
    ) {
        let mut conversation = Conversation::default();
        let mut said: Vec<Said> = (0..10)
            .flat_map(|n| conversation.call([Side::Ours, Side::Theirs][n % 2]))
            .collect();
        for (a, b) in swaps {
            let body = said[a].record.body.clone();
            said[b].record.body = body;
        }
        let held: Vec<(Side, Said)> = said
            .into_iter()
            .zip(dropped)
            .filter(|(_, dropped)| !dropped)
            .filter(|(said, _)| {
                // A record of the channel to itself is passed over.
                said.record.channel().unwrap().counterparty
                    != super::support::conversation::name(said.signer)
            })
            .map(|(said, _)| (said.signer, said))
            .collect();
        let _ = reconcile_held(&held, Options::default());
    }
}

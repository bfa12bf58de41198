//! Answers that the asking side withholds, and calls that it does not make.

use anyhow::{Context as _, Result};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::record::Body;

use super::Scene;
use super::forging::{Said, forged};
use super::script::{
    ACME, FAILURE, GLOBEX, Parties, RESULT, SUCCEEDED, Script, UNKNOWN, came_to, moved,
};
use super::transcript::{State, Word};

pub(super) const SCENES: &[Scene] = &[
    Scene::bad(
        "answer-without-evidence",
        "evidence_missing",
        "an answer comes without the member",
        without_evidence,
    ),
    Scene::bad(
        "answer-of-another-operator",
        "evidence_malformed",
        "the records of an answer are of a third operator",
        of_another_operator,
    ),
    Scene::bad(
        "answer-with-a-bad-signature",
        "signature_invalid",
        "a bit of the outcome's signature is another",
        with_a_bad_signature,
    ),
    Scene::bad(
        "answer-missing",
        "answer_missing",
        "the records of an answer hold no decision about the request",
        missing,
    ),
    Scene::bad(
        "answer-about-something-else",
        "answer_mismatch",
        "the decision allows other parameters than were asked for",
        about_something_else,
    ),
    Scene::bad(
        "answer-without-an-outcome",
        "outcome_missing",
        "the call was allowed, and no outcome has come",
        without_an_outcome,
    ),
    Scene::bad(
        "answer-unknown",
        "outcome_unknown",
        "the other side says that it does not know what became of the call",
        unknown,
    ),
    Scene::bad(
        "answer-with-another-result",
        "result_mismatch",
        "the result is not the one signed for",
        with_another_result,
    ),
    Scene::bad(
        "answer-after-a-denial",
        "answer_contradicts_decision",
        "the call was denied, and answered all the same",
        after_a_denial,
    ),
    Scene::bad(
        "answer-that-forks",
        "channel_fork",
        "the decision of an answer stands in the place of another record",
        that_forks,
    ),
    Scene::bad(
        "answer-acknowledging-nothing",
        "acknowledgement_invalid",
        "the decision of an answer acknowledges a record that was never made",
        acknowledging_nothing,
    ),
    Scene::bad(
        "asking-side-unacknowledged",
        "channel_unacknowledged",
        "more than 384 records of the asking side are unacknowledged: it asks for nothing more",
        unacknowledged,
    ),
];

/// A call that was executed: its request, and the answer.
fn executed(script: &mut Script) -> Result<(counterfoil_protocol::digest::RecordId, u64)> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    let answer = script.settle(GLOBEX, request, SUCCEEDED)?;
    Ok((request, answer))
}

fn without_evidence(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, answer) = executed(script)?;
    let bare = script.changed(answer, |message| message.records = None)?;
    script.withhold(ACME, request, bare, "evidence_missing")?;
    let offered = script.offer(GLOBEX)?;
    let step = script.take_in(ACME, offered)?;
    moved(&step, request, State::Resolved)
}

fn of_another_operator(parties: &Parties, script: &mut Script) -> Result<()> {
    let (request, answer) = executed(script)?;
    let third = Said {
        issuer: &parties.initech.name,
        key: &parties.initech.enforcer,
        to: parties.acme.name.as_str(),
        at: 0,
        previous: None,
        acknowledged: None,
        about: 1,
    };
    let place = script.talk.place(&third.sign()?);
    let other = script.changed(answer, |message| message.records = Some(vec![place]))?;
    script.withhold(ACME, request, other, "evidence_malformed")
}

fn with_a_bad_signature(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, answer) = executed(script)?;
    let mut outcome = script.last(answer)?;
    if let Some(last) = outcome.last_mut() {
        *last ^= 1;
    }
    let other = script.ending_in(answer, &outcome)?;
    script.withhold(ACME, request, other, "signature_invalid")
}

fn missing(_: &Parties, script: &mut Script) -> Result<()> {
    let (first, early) = executed(script)?;
    let (second, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    script.withhold(ACME, second, early, "answer_missing")?;
    // The decision and outcome about the first came along.
    script.deliver(ACME, first, early)
}

fn about_something_else(parties: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    let offered = script.offer(GLOBEX)?;
    let decision = forged(&script.last(offered)?, &parties.globex.enforcer, |record| {
        if let Body::Decision(decision) = &mut record.body {
            decision.parameters = ContentDigest::of(b"other parameters");
        }
    })?;
    let other = script.ending_in(offered, &decision)?;
    let answer = script.changed(other, |message| {
        message.answer = Some((RESULT.to_vec(), false));
    })?;
    script.withhold(ACME, request, answer, "answer_mismatch")
}

fn without_an_outcome(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, answer) = executed(script)?;
    let cut = script.changed(answer, |message| {
        message.records.iter_mut().for_each(|all| all.truncate(1));
    })?;
    script.withhold(ACME, request, cut, "outcome_missing")?;
    let offered = script.offer(GLOBEX)?;
    let step = script.take_in(ACME, offered)?;
    moved(&step, request, State::Resolved)
}

fn unknown(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    let answer = script.settle(GLOBEX, request, UNKNOWN)?;
    script.withhold(ACME, request, answer, "outcome_unknown")
}

fn with_another_result(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, answer) = executed(script)?;
    let other = script.changed(answer, |message| {
        message.answer = Some((br#"{"content":[]}"#.to_vec(), false));
    })?;
    script.withhold(ACME, request, other, "result_mismatch")
}

fn after_a_denial(_: &Parties, script: &mut Script) -> Result<()> {
    let request = script.ask_for(ACME, "forbidden-refund")?;
    let call = script.send(ACME, request)?;
    let denial = script.hear(GLOBEX, call)?;
    came_to(&denial, Word::Denied, Some("policy_forbids"))?;
    let answer = denial.sends.context("no denial goes back")?;
    let other = script.changed(answer, |message| {
        message.answer = Some((RESULT.to_vec(), false));
    })?;
    script.withhold(ACME, request, other, "answer_contradicts_decision")
}

fn that_forks(parties: &Parties, script: &mut Script) -> Result<()> {
    let request = script.whole_call(ACME, GLOBEX)?;
    let (second, answer) = executed(script)?;
    let outcome = forged(&script.last(answer)?, &parties.globex.enforcer, |record| {
        if let Body::Outcome(outcome) = &mut record.body
            && let Some(link) = &mut outcome.channel
        {
            link.previous = Some(request);
        }
    })?;
    let other = script.ending_in(answer, &outcome)?;
    script.withhold(ACME, second, other, "channel_fork")
}

fn acknowledging_nothing(parties: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    let offered = script.offer(GLOBEX)?;
    let decision = forged(&script.last(offered)?, &parties.globex.enforcer, |record| {
        if let Body::Decision(decision) = &mut record.body
            && let Some(link) = &mut decision.channel
            && let Some(acknowledged) = &mut link.acknowledged
        {
            acknowledged.sequence = counterfoil_protocol::numbers::ChannelSequence::new(5);
        }
    })?;
    let other = script.ending_in(offered, &decision)?;
    let answer = script.changed(other, |message| {
        message.answer = Some((FAILURE.to_vec(), true));
    })?;
    script.withhold(ACME, request, answer, "acknowledgement_invalid")
}

fn unacknowledged(_: &Parties, script: &mut Script) -> Result<()> {
    for _ in 0..193 {
        let request = script.ask(ACME)?;
        script.keep_back(ACME, request)?;
    }
    let refused = script.try_to_ask(ACME, "refund")?;
    came_to(&refused, Word::Refused, Some("channel_unacknowledged"))?;
    // Once the other side says that it holds them, there is room.
    script.exchange(ACME, GLOBEX)?;
    script.tell(ACME, 385)?;
    script.whole_call(ACME, GLOBEX).map(drop)
}

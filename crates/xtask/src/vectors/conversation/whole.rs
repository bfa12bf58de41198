//! Conversations in which all goes well in the end.

use anyhow::{Context as _, Result};

use super::Scene;
use super::script::{
    ACME, FAILED, GLOBEX, NOT_EXECUTED, Parties, SUCCEEDED, Script, came_to, moved,
};
use super::transcript::{State, Word};

pub(super) const SCENES: &[Scene] = &[
    Scene::good(
        "whole",
        "two operators talk for a while: calls one after another, at once and out of order, a \
         failure, a denial by policy, a lost answer that is resolved by exchange, statements",
        whole,
    ),
    Scene::good(
        "both-ask",
        "each side asks the other, and each acknowledges what it has with what it says next",
        both_ask,
    ),
    Scene::good(
        "repeat",
        "records that have been taken in come again, with a call and outside of one",
        repeat,
    ),
    Scene::good(
        "request-before-its-call",
        "a request comes with the exchange first, and its call after it",
        request_before_its_call,
    ),
    Scene::good(
        "call-overtakes-others",
        "the third and the second call arrive before the first, and wait for it",
        call_overtakes_others,
    ),
    Scene::good(
        "answer-overtakes-another",
        "the answer to the second call arrives before that to the first, and waits for it",
        answer_overtakes_another,
    ),
    Scene::good(
        "not-executed",
        "the asked side allowed the call, and it never left for the tool",
        not_executed,
    ),
    Scene::good(
        "denied-by-policy",
        "the policy of the asked side denies the call",
        denied_by_policy,
    ),
    Scene::good(
        "not-sent",
        "the call never leaves the asking side",
        not_sent,
    ),
    Scene::good(
        "timeout-late-outcome",
        "no answer comes in time; decision and outcome come later, by exchange",
        timeout_late_outcome,
    ),
    Scene::good(
        "timeout-late-denial",
        "no answer comes in time; that the call was denied is learned later, by exchange",
        timeout_late_denial,
    ),
    Scene::good(
        "timeout-never-arrived",
        "the call never arrives; it is resolved once the other side holds the end of it",
        timeout_never_arrived,
    ),
    Scene::good(
        "timeout-acknowledged",
        "the call never arrives; it is resolved once the other side acknowledges the end of it",
        timeout_acknowledged,
    ),
    Scene::good(
        "asking-side-crashes",
        "the asking side starts again with a call on its way, whose outcome is then unknown",
        asking_side_crashes,
    ),
    Scene::good(
        "statements",
        "both sides close periods, which count as acknowledgements",
        statements,
    ),
];

fn whole(_: &Parties, script: &mut Script) -> Result<()> {
    // One call after another.
    script.whole_call(ACME, GLOBEX)?;
    let (second, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    let failure = script.settle(GLOBEX, second, FAILED)?;
    script.deliver(ACME, second, failure)?;

    // Three at once, of which the last arrives first and is answered last.
    let calls = [script.call(ACME)?, script.call(ACME)?, script.call(ACME)?];
    let [(first, one), (second, two), (third, three)] = calls;
    let alone = script.cut(three, 1)?;
    let held = script.hear(GLOBEX, alone)?;
    came_to(&held, Word::Held, None)?;
    moved(&held, third, State::Held)?;
    script.execute(GLOBEX, one)?;
    // The second one came along with nothing before it: now the third is linked up.
    script.execute(GLOBEX, two)?;
    let answers = [
        (second, script.settle(GLOBEX, second, SUCCEEDED)?),
        (first, script.settle(GLOBEX, first, SUCCEEDED)?),
        (third, script.settle(GLOBEX, third, SUCCEEDED)?),
    ];
    for (request, answer) in answers {
        script.deliver(ACME, request, answer)?;
    }

    // A denial.
    let denied = script.ask_for(ACME, "forbidden-refund")?;
    let call = script.send(ACME, denied)?;
    let denial = script.hear(GLOBEX, call)?;
    came_to(&denial, Word::Denied, Some("policy_forbids"))?;
    let answer = denial.sends.context("no denial goes back")?;
    script.deliver(ACME, denied, answer)?;

    // The answer is lost: the call's time runs out, and what became of it is learned later.
    let (lost, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    script.settle(GLOBEX, lost, SUCCEEDED)?;
    script.pause(300_000);
    script.give_up(ACME, lost)?;
    script.exchange(ACME, GLOBEX)?;
    let late = script.offer(GLOBEX)?;
    let learned = script.take_in(ACME, late)?;
    moved(&learned, lost, State::Resolved)?;

    // Both close the period, and go on.
    script.state(GLOBEX)?;
    script.exchange(GLOBEX, ACME)?;
    script.state(ACME)?;
    script.exchange(ACME, GLOBEX)?;
    script.whole_call(ACME, GLOBEX).map(drop)
}

fn both_ask(_: &Parties, script: &mut Script) -> Result<()> {
    let (ours, call) = script.call(ACME)?;
    let (theirs, back) = script.call(GLOBEX)?;
    script.execute(GLOBEX, call)?;
    script.execute(ACME, back)?;
    let answer = script.settle(GLOBEX, ours, SUCCEEDED)?;
    script.deliver(ACME, ours, answer)?;
    let answer = script.settle(ACME, theirs, SUCCEEDED)?;
    script.deliver(GLOBEX, theirs, answer)?;
    script.whole_call(GLOBEX, ACME)?;
    script.whole_call(ACME, GLOBEX).map(drop)
}

fn repeat(_: &Parties, script: &mut Script) -> Result<()> {
    let (first, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    // Nothing has been acknowledged: the second call carries the first request again.
    let (second, again) = script.call(ACME)?;
    script.execute(GLOBEX, again)?;
    let offered = script.offer(ACME)?;
    for _ in 0..2 {
        let step = script.take_in(GLOBEX, offered)?;
        came_to(&step, Word::Done, None)?;
    }
    for request in [first, second] {
        let answer = script.settle(GLOBEX, request, SUCCEEDED)?;
        script.deliver(ACME, request, answer)?;
    }
    Ok(())
}

fn request_before_its_call(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    let offered = script.offer(ACME)?;
    let step = script.take_in(GLOBEX, offered)?;
    moved(&step, request, State::Received)?;
    let step = script.hear(GLOBEX, call)?;
    moved(&step, request, State::Executing)?;
    let answer = script.settle(GLOBEX, request, SUCCEEDED)?;
    script.deliver(ACME, request, answer)
}

fn call_overtakes_others(_: &Parties, script: &mut Script) -> Result<()> {
    let (first, one) = script.call(ACME)?;
    let (second, two) = script.call(ACME)?;
    let (third, three) = script.call(ACME)?;
    for message in [three, two] {
        let alone = script.cut(message, 1)?;
        let step = script.hear(GLOBEX, alone)?;
        came_to(&step, Word::Held, None)?;
    }
    script.pause(1_500);
    script.hear(GLOBEX, one)?;
    for request in [first, second, third] {
        let answer = script.settle(GLOBEX, request, SUCCEEDED)?;
        script.deliver(ACME, request, answer)?;
    }
    Ok(())
}

fn answer_overtakes_another(_: &Parties, script: &mut Script) -> Result<()> {
    let (first, one) = script.call(ACME)?;
    let (second, two) = script.call(ACME)?;
    script.execute(GLOBEX, one)?;
    let early = script.settle(GLOBEX, first, SUCCEEDED)?;
    script.execute(GLOBEX, two)?;
    let late = script.settle(GLOBEX, second, SUCCEEDED)?;
    let alone = script.cut(late, 2)?;
    let step = script.answer(ACME, second, alone)?;
    came_to(&step, Word::Held, None)?;
    // It links up the other one, which is judged in the step after it.
    script.deliver(ACME, first, early)
}

fn not_executed(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    let answer = script.settle(GLOBEX, request, NOT_EXECUTED)?;
    let step = script.answer(ACME, request, answer)?;
    moved(&step, request, State::Refused)
}

fn denied_by_policy(_: &Parties, script: &mut Script) -> Result<()> {
    let request = script.ask_for(ACME, "forbidden-refund")?;
    let call = script.send(ACME, request)?;
    let denial = script.hear(GLOBEX, call)?;
    came_to(&denial, Word::Denied, Some("policy_forbids"))?;
    moved(&denial, request, State::Decided)?;
    let answer = denial.sends.context("no denial goes back")?;
    let step = script.answer(ACME, request, answer)?;
    moved(&step, request, State::Refused)
}

fn not_sent(_: &Parties, script: &mut Script) -> Result<()> {
    let request = script.ask(ACME)?;
    script.keep_back(ACME, request)?;
    // What it recorded travels with the next call all the same.
    script.whole_call(ACME, GLOBEX).map(drop)
}

fn timeout_late_outcome(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    script.pause(300_000);
    script.give_up(ACME, request)?;
    // The tool still works on it.
    let offered = script.offer(GLOBEX)?;
    script.take_in(ACME, offered)?;
    script.settle(GLOBEX, request, SUCCEEDED)?;
    let offered = script.offer(GLOBEX)?;
    let step = script.take_in(ACME, offered)?;
    moved(&step, request, State::Resolved)
}

fn timeout_late_denial(_: &Parties, script: &mut Script) -> Result<()> {
    let request = script.ask_for(ACME, "forbidden-refund")?;
    let call = script.send(ACME, request)?;
    let denial = script.hear(GLOBEX, call)?;
    came_to(&denial, Word::Denied, Some("policy_forbids"))?;
    script.pause(300_000);
    script.give_up(ACME, request)?;
    let offered = script.offer(GLOBEX)?;
    let step = script.take_in(ACME, offered)?;
    moved(&step, request, State::Resolved)
}

fn timeout_never_arrived(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, _) = script.call(ACME)?;
    script.pause(300_000);
    script.give_up(ACME, request)?;
    let offered = script.offer(ACME)?;
    let step = script.take_in(GLOBEX, offered)?;
    moved(&step, request, State::Withdrawn)?;
    script.tell(ACME, 0)?;
    let step = script.tell(ACME, 1)?;
    moved(&step, request, State::Resolved)
}

fn timeout_acknowledged(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, _) = script.call(ACME)?;
    script.pause(300_000);
    script.give_up(ACME, request)?;
    script.exchange(ACME, GLOBEX)?;
    let (_, call) = script.call(GLOBEX)?;
    let step = script.hear(ACME, call)?;
    moved(&step, request, State::Resolved)
}

fn asking_side_crashes(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    script.pause(5_000);
    script.start(ACME)?;
    script.settle(GLOBEX, request, SUCCEEDED)?;
    let offered = script.offer(GLOBEX)?;
    let step = script.take_in(ACME, offered)?;
    moved(&step, request, State::Resolved)?;
    script.whole_call(ACME, GLOBEX).map(drop)
}

fn statements(_: &Parties, script: &mut Script) -> Result<()> {
    script.whole_call(ACME, GLOBEX)?;
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    script.state(GLOBEX)?;
    script.state(ACME)?;
    script.exchange(ACME, GLOBEX)?;
    script.exchange(GLOBEX, ACME)?;
    let answer = script.settle(GLOBEX, request, SUCCEEDED)?;
    script.deliver(ACME, request, answer)?;
    script.state(GLOBEX)?;
    script.exchange(GLOBEX, ACME)
}

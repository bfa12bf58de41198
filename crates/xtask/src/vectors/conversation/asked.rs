//! Calls that the asked side refuses, check by check, and what else may end one there.

use anyhow::{Context as _, Result};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::record::Body;

use super::Scene;
use super::forging::{Said, forged};
use super::script::{ACME, FRESHNESS, GLOBEX, Parties, SUCCEEDED, Script, came_to, moved};
use super::transcript::{State, Word};

pub(super) const SCENES: &[Scene] = &[
    Scene::bad(
        "call-without-evidence",
        "evidence_missing",
        "a call comes without an envelope",
        without_evidence,
    ),
    Scene::bad(
        "call-without-records",
        "evidence_malformed",
        "the envelope of a call holds no records",
        without_records,
    ),
    Scene::bad(
        "call-with-too-many-records",
        "evidence_malformed",
        "the envelope of a call holds 513 records",
        with_too_many_records,
    ),
    Scene::bad(
        "call-of-two-operators",
        "evidence_malformed",
        "a record of a third operator comes with the request",
        of_two_operators,
    ),
    Scene::bad(
        "call-not-ending-in-a-request",
        "evidence_malformed",
        "the last record that comes with a call is no request",
        not_ending_in_a_request,
    ),
    Scene::bad(
        "call-with-a-broken-record",
        "cbor_trailing_bytes",
        "a byte follows the request",
        with_a_broken_record,
    ),
    Scene::bad(
        "call-for-another-operator",
        "channel_mismatch",
        "the request is meant for a third operator",
        for_another_operator,
    ),
    Scene::bad(
        "call-of-an-unknown-operator",
        "operator_unknown",
        "the request is of an operator that nobody here knows",
        of_an_unknown_operator,
    ),
    Scene::bad(
        "call-with-an-unknown-key",
        "key_unknown",
        "the request is signed with a key that no manifest lists",
        with_an_unknown_key,
    ),
    Scene {
        revoking: true,
        ..Scene::bad(
            "call-with-a-revoked-key",
            "key_revoked",
            "the request is signed with a key that the operator has revoked",
            with_a_revoked_key,
        )
    },
    Scene::bad(
        "call-with-a-bad-signature",
        "signature_invalid",
        "a bit of the request's signature is another",
        with_a_bad_signature,
    ),
    Scene::bad(
        "call-repeated",
        "request_replayed",
        "a call that was decided comes again, before and after its outcome and a new start",
        repeated,
    ),
    Scene::bad(
        "call-after-its-end",
        "request_replayed",
        "the asking side's outcome comes before the call, which counts no more",
        after_its_end,
    ),
    Scene::bad(
        "call-of-another-actor",
        "actor_mismatch",
        "the request is for an agent of a third operator",
        of_another_actor,
    ),
    Scene::bad(
        "call-for-another-action",
        "action_mismatch",
        "the call is for another tool than the request",
        for_another_action,
    ),
    Scene::bad(
        "call-with-other-parameters",
        "parameters_mismatch",
        "the parameters of the call are not those signed for",
        with_other_parameters,
    ),
    Scene::bad(
        "call-with-another-salt",
        "parameters_mismatch",
        "the salt does not open the digest of the parameters",
        with_another_salt,
    ),
    Scene::bad(
        "call-too-old",
        "request_stale",
        "the request is a millisecond older than it may be",
        too_old,
    ),
    Scene::bad(
        "call-of-the-future",
        "request_stale",
        "the request's time is a millisecond further ahead than it may be",
        of_the_future,
    ),
    Scene::bad(
        "too-many-refusals",
        "evidence_missing",
        "calls without evidence are refused, and after 256 of them not recorded any more",
        too_many_refusals,
    ),
    Scene::bad(
        "asked-side-unacknowledged",
        "channel_unacknowledged",
        "more than 384 records of the asked side are unacknowledged: it denies outside the channel",
        unacknowledged,
    ),
    Scene::bad(
        "asked-side-crashes",
        "outcome_unknown",
        "the asked side starts again while the tool had the call",
        crashes,
    ),
];

fn without_evidence(_: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let bare = script.changed(call, |message| message.records = None)?;
    script.refuse(GLOBEX, bare, "evidence_missing")?;
    // Nothing of it was taken in: the call itself is as good as it was.
    script.execute(GLOBEX, call)
}

fn without_records(_: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let empty = script.changed(call, |message| message.records = Some(Vec::new()))?;
    script.refuse(GLOBEX, empty, "evidence_malformed").map(drop)
}

fn with_too_many_records(_: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let full = script.changed(call, |message| {
        let last = message.records.iter().flatten().last().copied();
        message.records = last.map(|last| vec![last; 513]);
    })?;
    script.refuse(GLOBEX, full, "evidence_malformed")?;
    let most = script.changed(full, |message| {
        message.records.iter_mut().for_each(|all| all.truncate(512));
    })?;
    script.execute(GLOBEX, most)
}

fn of_two_operators(parties: &Parties, script: &mut Script) -> Result<()> {
    let third = Said {
        issuer: &parties.initech.name,
        key: &parties.initech.enforcer,
        to: "globex.example",
        at: 0,
        previous: None,
        acknowledged: None,
        about: 1,
    };
    let place = script.talk.place(&third.sign()?);
    let (_, call) = script.call(ACME)?;
    let mixed = script.changed(call, |message| {
        message
            .records
            .iter_mut()
            .for_each(|all| all.insert(0, place));
    })?;
    script.refuse(GLOBEX, mixed, "evidence_malformed").map(drop)
}

fn not_ending_in_a_request(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.give_up(ACME, request)?;
    let offered = script.offer(ACME)?;
    let end = script.last(offered)?;
    let place = script.talk.place(&end);
    let message = script.changed(call, |message| {
        message.records.iter_mut().for_each(|all| all.push(place));
    })?;
    script
        .refuse(GLOBEX, message, "evidence_malformed")
        .map(drop)
}

fn with_a_broken_record(_: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let mut request = script.last(call)?;
    request.push(0);
    let message = script.ending_in(call, &request)?;
    script
        .refuse(GLOBEX, message, "cbor_trailing_bytes")
        .map(drop)
}

fn for_another_operator(parties: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let request = script.last(call)?;
    let initech = parties.initech.name.clone();
    let elsewhere = forged(&request, &parties.acme.enforcer, |record| {
        if let Body::Request(request) = &mut record.body {
            request.channel.counterparty = initech;
        }
    })?;
    let message = script.ending_in(call, &elsewhere)?;
    script.refuse(GLOBEX, message, "channel_mismatch").map(drop)
}

fn of_an_unknown_operator(parties: &Parties, script: &mut Script) -> Result<()> {
    let stranger = crate::world::keys::Operator::new("umbrella.example")?;
    let (_, call) = script.call(ACME)?;
    let said = Said {
        issuer: &stranger.name,
        key: &stranger.enforcer,
        to: parties.globex.name.as_str(),
        at: 0,
        previous: None,
        acknowledged: None,
        about: 1,
    };
    let message = script.ending_in(call, &said.sign()?)?;
    script.refuse(GLOBEX, message, "operator_unknown").map(drop)
}

fn with_an_unknown_key(parties: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let request = script.last(call)?;
    let other = forged(&request, &parties.acme.next_enforcer, |_| {})?;
    let message = script.ending_in(call, &other)?;
    script.refuse(GLOBEX, message, "key_unknown").map(drop)
}

fn with_a_revoked_key(parties: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let request = script.last(call)?;
    let other = forged(&request, &parties.acme.previous_enforcer, |_| {})?;
    let message = script.ending_in(call, &other)?;
    script.refuse(GLOBEX, message, "key_revoked").map(drop)
}

fn with_a_bad_signature(_: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let mut request = script.last(call)?;
    if let Some(last) = request.last_mut() {
        *last ^= 1;
    }
    let message = script.ending_in(call, &request)?;
    script
        .refuse(GLOBEX, message, "signature_invalid")
        .map(drop)
}

fn repeated(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    script.refuse(GLOBEX, call, "request_replayed")?;
    let answer = script.settle(GLOBEX, request, SUCCEEDED)?;
    script.refuse(GLOBEX, call, "request_replayed")?;
    script.start(GLOBEX)?;
    script.refuse(GLOBEX, call, "request_replayed")?;
    script.deliver(ACME, request, answer)
}

fn after_its_end(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.pause(300_000);
    script.give_up(ACME, request)?;
    let offered = script.offer(ACME)?;
    let step = script.take_in(GLOBEX, offered)?;
    moved(&step, request, State::Withdrawn)?;
    script.refuse(GLOBEX, call, "request_replayed").map(drop)
}

fn of_another_actor(parties: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let request = script.last(call)?;
    let initech = parties.initech.name.clone();
    let other = forged(&request, &parties.acme.enforcer, |record| {
        if let Body::Request(request) = &mut record.body {
            request.actor.operator = initech;
        }
    })?;
    let message = script.ending_in(call, &other)?;
    script.refuse(GLOBEX, message, "actor_mismatch").map(drop)
}

fn for_another_action(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    let other = script.changed(call, |message| {
        if let Some(call) = &mut message.call {
            call.tool = "refund-everything".to_owned();
        }
    })?;
    let refused = script.refuse(GLOBEX, other, "action_mismatch")?;
    moved(&refused, request, State::Decided)?;
    // It is about the request: the asking side may rely on it.
    let answer = refused.sends.context("no denial goes back")?;
    script.deliver(ACME, request, answer)
}

fn with_other_parameters(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    let other = script.changed(call, |message| {
        if let Some(call) = &mut message.call {
            call.parameters = br#"{"name":"refund","arguments":{"ticket":"T-9999"}}"#.to_vec();
        }
    })?;
    let refused = script.refuse(GLOBEX, other, "parameters_mismatch")?;
    let answer = refused.sends.context("no denial goes back")?;
    script.deliver(ACME, request, answer)?;
    // The request is decided, though the call was another.
    script.refuse(GLOBEX, call, "request_replayed").map(drop)
}

fn with_another_salt(_: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let other = script.changed(call, |message| message.salt = Some([5; 16]))?;
    script
        .refuse(GLOBEX, other, "parameters_mismatch")
        .map(drop)
}

fn too_old(_: &Parties, script: &mut Script) -> Result<()> {
    let made = script.now();
    let (_, early) = script.call(ACME)?;
    let again = script.now();
    let (request, late) = script.call(ACME)?;
    script.stand_still(made + FRESHNESS);
    script.execute(GLOBEX, early)?;
    script.stand_still(again + FRESHNESS + 1);
    let refused = script.refuse(GLOBEX, late, "request_stale")?;
    let answer = refused.sends.context("no denial goes back")?;
    script.deliver(ACME, request, answer)
}

fn of_the_future(parties: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let request = script.last(call)?;
    let ahead = UnixMillis::new(script.now() + FRESHNESS + 1);
    let early = forged(&request, &parties.acme.enforcer, |record| {
        record.time = ahead
    })?;
    let message = script.ending_in(call, &early)?;
    script.refuse(GLOBEX, message, "request_stale").map(drop)
}

fn too_many_refusals(_: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(ACME)?;
    let bare = script.changed(call, |message| message.records = None)?;
    let at = script.now();
    for _ in 0..256 {
        script.refuse(GLOBEX, bare, "evidence_missing")?;
        script.stand_still(at);
    }
    let step = script.refuse(GLOBEX, bare, "too_many_refusals")?;
    moved_nothing(&step)?;
    // One more a thirty-second of a second later, and no second one.
    script.stand_still(at + 32);
    script.refuse(GLOBEX, bare, "evidence_missing")?;
    script.stand_still(at + 32);
    script.refuse(GLOBEX, bare, "too_many_refusals")?;
    // What an operator has signed is always recorded.
    script.execute(GLOBEX, call)
}

fn moved_nothing(step: &super::transcript::Step) -> Result<()> {
    anyhow::ensure!(step.signed.is_empty() && step.states.is_empty(), "{step:?}");
    Ok(())
}

fn unacknowledged(_: &Parties, script: &mut Script) -> Result<()> {
    for _ in 0..193 {
        let request = script.ask(GLOBEX)?;
        script.keep_back(GLOBEX, request)?;
    }
    let (request, call) = script.call(ACME)?;
    let refused = script.refuse(GLOBEX, call, "channel_unacknowledged")?;
    anyhow::ensure!(refused.sends.is_none(), "it answers with evidence");
    script.give_up(ACME, request)?;
    // They are pushed, and acknowledged with what comes next.
    script.exchange(GLOBEX, ACME)?;
    script.whole_call(ACME, GLOBEX).map(drop)
}

fn crashes(_: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    script.pause(5_000);
    script.start(GLOBEX)?;
    let answer = script.offer(GLOBEX)?;
    // The answer that a gateway still had open would have carried the same.
    let answer = script.changed(answer, |message| {
        message.answer = Some((super::script::FAILURE.to_vec(), true));
    })?;
    script.withhold(ACME, request, answer, "outcome_unknown")?;
    let step = script.wait(ACME)?;
    came_to(&step, Word::Done, None)
}

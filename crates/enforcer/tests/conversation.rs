//! Two enforcers talk: requests, decisions, outcomes, and everything that can be wrong with them.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::sync::Arc;

use counterfoil_enforcer::call::{AnswerCheck, Envelope, Party};
use counterfoil_enforcer::{Completion, Decided};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelLink, Outcome, OutcomeStatus, Record,
};
use support::{World, allowed, ask, call, denied, hear, local, name};

const PARAMETERS: &[u8] = br#"{"name":"read","arguments":{}}"#;
const RESULT: &[u8] = br#"{"content":[]}"#;

fn succeeded() -> Completion<'static> {
    Completion {
        status: OutcomeStatus::Succeeded,
        result: Some(RESULT),
    }
}

#[test]
fn a_call_crosses_and_both_halves_match() {
    let world = World::new();
    let (acme, globex) = (world.open("acme.example"), world.open("globex.example"));
    for round in 0..3 {
        let permit = ask(&acme, "read", PARAMETERS);
        let envelope = permit.request_envelope().unwrap();
        let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
        let answer = theirs
            .complete(succeeded())
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
        let (check, outcome) = permit.complete_with_answer(Some(&answer), RESULT).unwrap();
        assert!(
            matches!(
                check,
                AnswerCheck::Attested {
                    succeeded: true,
                    ..
                }
            ),
            "{check:?}"
        );
        assert_eq!(outcome.wait().unwrap(), None);
        // Each round acme's last outcome travels with its next request: nothing piles up.
        assert_eq!(acme.waiting(&name("globex.example")), 1, "round {round}");
        assert_eq!(globex.waiting(&name("acme.example")), 2);
    }
    let heads = acme.channel_heads(&name("globex.example")).unwrap();
    assert_eq!(heads.sent.unwrap().sequence.get(), 5);
    assert_eq!(
        heads.received.last().copied(),
        globex.channel_heads(&name("acme.example")).unwrap().sent
    );
}

#[test]
fn a_denial_crosses_as_a_signed_decision() {
    let world = World::new();
    let (acme, globex) = (world.open("acme.example"), world.open("globex.example"));
    let mut forbidding = call("read", PARAMETERS);
    forbidding.tool = "forbidden".parse().unwrap();
    let denial = denied(
        acme.authorize(&forbidding, &local())
            .unwrap()
            .wait()
            .unwrap(),
    );
    assert_eq!(denial.reason.as_str(), "policy_forbids");
    assert_eq!(denial.envelope, None);

    // Globex forbids by itself: acme's policy is asked about another tool.
    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    let denial = denied(hear(&globex, "write", PARAMETERS, &envelope));
    assert_eq!(denial.reason.as_str(), "action_mismatch");
    let answer = denial.envelope.unwrap();
    let (check, outcome) = permit.complete_with_answer(Some(&answer), b"{}").unwrap();
    assert!(matches!(check, AnswerCheck::Refused { .. }), "{check:?}");
    outcome.wait().unwrap();
}

#[test]
fn what_is_wrong_with_a_request_is_named() {
    let world = World::new();
    let (acme, globex) = (world.open("acme.example"), world.open("globex.example"));
    let reason = |decided: Decided| denied(decided).reason.as_str().to_owned();

    let missing = Party::Incoming { envelope: None };
    let decided = globex
        .authorize(&call("read", PARAMETERS), &missing)
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(reason(decided), "evidence_missing");

    let first = ask(&acme, "read", PARAMETERS).request_envelope().unwrap();
    let tampered = br#"{"name":"read","arguments":{"x":1}}"#;
    assert_eq!(
        reason(hear(&globex, "read", tampered, &first)),
        "parameters_mismatch"
    );
    assert_eq!(
        reason(hear(&globex, "read", PARAMETERS, &first)),
        "request_replayed"
    );

    let mut flipped = ask(&acme, "read", PARAMETERS).request_envelope().unwrap();
    let mut bytes = flipped.records.last().unwrap().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    *flipped.records.last_mut().unwrap() = bytes.into();
    assert_eq!(
        reason(hear(&globex, "read", PARAMETERS, &flipped)),
        "signature_invalid"
    );

    let mut alone = ask(&acme, "read", PARAMETERS).request_envelope().unwrap();
    alone.records.drain(..alone.records.len() - 1);
    assert_eq!(
        reason(hear(&globex, "read", PARAMETERS, &alone)),
        "channel_gap"
    );

    let back = Envelope {
        records: alone.records.clone(),
        ..Envelope::default()
    };
    let own = acme.authorize(
        &call("read", PARAMETERS),
        &Party::Incoming {
            envelope: Some(&back),
        },
    );
    assert_eq!(reason(own.unwrap().wait().unwrap()), "channel_mismatch");

    world.clock.set(support::NOW + 61_000);
    // Made before the clock moved, heard after.
    let late = {
        world.clock.set(support::NOW);
        let envelope = ask(&acme, "read", PARAMETERS).request_envelope().unwrap();
        world.clock.set(support::NOW + 61_000);
        envelope
    };
    assert_eq!(
        reason(hear(&globex, "read", PARAMETERS, &late)),
        "request_stale"
    );

    // After all of that an honest call still goes through: what is missing travels along.
    let fine = ask(&acme, "read", PARAMETERS).request_envelope().unwrap();
    allowed(hear(&globex, "read", PARAMETERS, &fine))
        .complete(succeeded())
        .unwrap()
        .wait()
        .unwrap();
}

#[test]
fn an_answer_that_is_not_attested_is_not_believed() {
    let world = World::new();
    let (acme, globex) = (world.open("acme.example"), world.open("globex.example"));
    let mut answers = Vec::new();
    for _ in 0..4 {
        let permit = ask(&acme, "read", PARAMETERS);
        let envelope = permit.request_envelope().unwrap();
        let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
        let answer = theirs
            .complete(succeeded())
            .unwrap()
            .wait()
            .unwrap()
            .unwrap();
        answers.push((permit, answer));
    }
    let reason = |check: AnswerCheck| match check {
        AnswerCheck::Invalid { reason, .. } => reason.as_str().to_owned(),
        other => format!("{other:?}"),
    };
    let mut answers = answers.into_iter();
    let (permit, _) = answers.next().unwrap();
    let (check, _) = permit.complete_with_answer(None, RESULT).unwrap();
    assert_eq!(reason(check), "evidence_missing");

    let (permit, answer) = answers.next().unwrap();
    let (check, _) = permit
        .complete_with_answer(Some(&answer), br#"{"content":[1]}"#)
        .unwrap();
    assert_eq!(reason(check), "result_mismatch");

    let (permit, mut answer) = answers.next().unwrap();
    answer.salt = None;
    let (check, _) = permit.complete_with_answer(Some(&answer), RESULT).unwrap();
    assert_eq!(reason(check), "result_mismatch");

    let (permit, mut answer) = answers.next().unwrap();
    answer.records.pop();
    let (check, _) = permit.complete_with_answer(Some(&answer), RESULT).unwrap();
    assert_eq!(reason(check), "outcome_missing");
}

#[test]
fn concurrent_calls_overtake_each_other() {
    let world = World::new();
    let acme = world.open("acme.example");
    let globex = world.open("globex.example");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let permit = ask(&acme, "read", PARAMETERS);
                    let envelope = permit.request_envelope().unwrap();
                    let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
                    let answer = theirs
                        .complete(succeeded())
                        .unwrap()
                        .wait()
                        .unwrap()
                        .unwrap();
                    let (check, outcome) =
                        permit.complete_with_answer(Some(&answer), RESULT).unwrap();
                    assert!(matches!(check, AnswerCheck::Attested { .. }), "{check:?}");
                    outcome.wait().unwrap();
                }
            });
        }
    });
    let heads = acme.channel_heads(&name("globex.example")).unwrap();
    assert_eq!(heads.sent.unwrap().sequence.get(), 16 * 20 * 2 - 1);
    assert_eq!(
        heads.received.last().copied(),
        globex.channel_heads(&name("acme.example")).unwrap().sent
    );
}

#[test]
fn lost_calls_and_answers_leave_no_gap() {
    let world = World::new();
    let (acme, globex) = (world.open("acme.example"), world.open("globex.example"));
    // Lost on the way there.
    drop(ask(&acme, "read", PARAMETERS));
    // Lost on the way back.
    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
    theirs.complete(succeeded()).unwrap().wait().unwrap();
    drop(permit);
    // Goes through.
    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    // Two lost requests and what became of them, and this one.
    assert_eq!(envelope.records.len(), 5);
    let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
    let answer = theirs
        .complete(succeeded())
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    assert_eq!(answer.records.len(), 4);
    let (check, _) = permit.complete_with_answer(Some(&answer), RESULT).unwrap();
    assert!(matches!(check, AnswerCheck::Attested { .. }), "{check:?}");

    // What is left over can be pushed.
    let rest = acme.unacknowledged(&name("globex.example")).unwrap();
    assert_eq!(globex.ingest(&rest).unwrap(), name("acme.example"));
    assert_eq!(globex.ingest(&rest).unwrap(), name("acme.example"));
    assert_eq!(
        globex
            .channel_heads(&name("acme.example"))
            .unwrap()
            .received,
        Vec::from_iter(acme.channel_heads(&name("globex.example")).unwrap().sent)
    );
}

#[test]
fn records_of_a_stranger_are_refused() {
    let world = World::new();
    let (acme, globex) = (world.open("acme.example"), world.open("globex.example"));
    let stranger = World::new();
    stranger.clock.set(support::NOW + 1);
    let imposter = stranger.open("acme.example");
    // Same key and name, another history: a fork of the stream.
    let envelope = ask(&acme, "read", PARAMETERS).request_envelope().unwrap();
    hear(&globex, "read", PARAMETERS, &envelope);
    let other = ask(&imposter, "read", PARAMETERS)
        .request_envelope()
        .unwrap();
    let denial = denied(hear(&globex, "read", PARAMETERS, &other));
    assert_eq!(denial.reason.as_str(), "channel_fork");

    let mixed = Envelope {
        records: vec![
            Arc::clone(&envelope.records[0]),
            globex_record(&world, &globex),
        ],
        ..Envelope::default()
    };
    assert_eq!(
        denied(hear(&globex, "read", PARAMETERS, &mixed))
            .reason
            .as_str(),
        "channel_mismatch"
    );
}

fn globex_record(world: &World, globex: &counterfoil_enforcer::Enforcer) -> Arc<[u8]> {
    let acme = name("acme.example");
    let party = Party::Outgoing {
        agent: "bot".parse().unwrap(),
        counterparty: &acme,
    };
    let permit = allowed(
        globex
            .authorize(&call("read", PARAMETERS), &party)
            .unwrap()
            .wait()
            .unwrap(),
    );
    let _ = world;
    permit.request_envelope().unwrap().records.pop().unwrap()
}

#[test]
fn a_request_counts_once_however_it_arrives() {
    let world = World::new();
    let (acme, globex) = (world.open("acme.example"), world.open("globex.example"));
    let lost = ask(&acme, "read", PARAMETERS);
    let permit = ask(&acme, "read", PARAMETERS);
    let whole = permit.request_envelope().unwrap();
    let mut stripped = whole.clone();
    stripped.records.remove(0);
    // Denied because a record before it was taken out on the way; the denial names it.
    let denial = denied(hear(&globex, "read", PARAMETERS, &stripped));
    assert_eq!(denial.reason.as_str(), "channel_gap");
    // So it stays denied when it comes again with nothing missing, now and after a restart.
    let again = denied(hear(&globex, "read", PARAMETERS, &whole));
    assert_eq!(again.reason.as_str(), "request_replayed");
    globex.close().unwrap();
    let globex = world.open("globex.example");
    let again = denied(hear(&globex, "read", PARAMETERS, &whole));
    assert_eq!(again.reason.as_str(), "request_replayed");

    // A request that its own side has ended is not executed either, whoever kept a copy of it.
    let withdrawn = lost.request_envelope().unwrap();
    drop(lost);
    let next = ask(&acme, "read", PARAMETERS).request_envelope().unwrap();
    allowed(hear(&globex, "read", PARAMETERS, &next))
        .complete(succeeded())
        .unwrap()
        .wait()
        .unwrap();
    let late = denied(hear(&globex, "read", PARAMETERS, &withdrawn));
    assert_eq!(late.reason.as_str(), "request_replayed");
}

#[test]
fn a_lying_acknowledgement_is_refused_and_survives_a_restart() {
    let world = World::new();
    let globex = world.open("globex.example");
    let acme = support::enforcer_key("acme.example");
    let record = Record {
        sequence: Sequence::new(1),
        previous: Some(RecordId::from_bytes([1; 32])),
        time: UnixMillis::new(support::NOW),
        beacon: None,
        body: Body::Outcome(Outcome {
            channel: Some(ChannelLink {
                counterparty: name("globex.example"),
                sequence: ChannelSequence::new(0),
                previous: None,
                acknowledged: Some(Acknowledgement {
                    stream: globex.kid(),
                    sequence: ChannelSequence::new(99),
                    id: RecordId::from_bytes([9; 32]),
                }),
            }),
            decision: RecordId::from_bytes([2; 32]),
            answer: None,
            status: OutcomeStatus::Unknown,
            result: None,
            settlements: Vec::new(),
            attestations: Vec::new(),
        }),
    };
    let lie = record
        .prepare(&name("acme.example"), acme.public().thumbprint())
        .sign(&acme);
    let envelope = Envelope {
        records: vec![lie.into()],
        ..Envelope::default()
    };
    for _ in 0..2 {
        let refused = globex.ingest(&envelope).unwrap_err();
        assert!(
            refused.to_string().contains("acknowledgement_invalid"),
            "{refused}"
        );
    }
    globex.close().unwrap();
    world.open("globex.example");
    let connection = rusqlite::Connection::open(world.journal("globex.example")).unwrap();
    let kept: u64 = connection
        .query_row("SELECT count(*) FROM refused", (), |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 1, "evidence is kept once");
}

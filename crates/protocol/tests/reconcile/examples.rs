//! One example for each thing that can be found.

use counterfoil_protocol::fault::FaultKind;
use counterfoil_protocol::names::{ReasonCode, ToolName};
use counterfoil_protocol::numbers::{Millis, UnixMillis, UnixSeconds};
use counterfoil_protocol::reconcile::{Class, Line, Options, Role, Side, Subject};
use counterfoil_protocol::record::{Body, ChannelControl, ChannelEvent, OutcomeStatus, Verdict};
use counterfoil_protocol::verify::Level;

use super::support::conversation::{Conversation, Said};
use super::support::digest;
use super::{reconcile, reconcile_held};

/// The one line that a change to an agreed call leads to.
fn one(make: impl FnOnce(&mut Conversation) -> Vec<Said>) -> Line {
    let mut conversation = Conversation::default();
    let said = make(&mut conversation);
    let (mut lines, _) = reconcile(&said, Options::default());
    lines.retain(|line| !matches!(line.subject, Subject::Gap { .. }));
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

fn says(line: &Line, text: &str) {
    assert!(line.sentence.contains(text), "{}", line.sentence);
}

#[test]
fn calls_about_which_both_agree_are_matched() {
    let line = one(|c| c.call(Side::Ours).into());
    assert_eq!(line.class, Class::Matched);
    assert_eq!(
        line.sentence,
        "acme.example asked globex.example for `refund` of `payments` (tools/call); both show \
         that it succeeded"
    );
    let roles: Vec<Role> = line.records.iter().map(|record| record.role).collect();
    assert_eq!(
        roles,
        [
            Role::Request,
            Role::Decision,
            Role::AskedOutcome,
            Role::AskingOutcome
        ]
    );
    assert!(line.records[0].held_by.ours && !line.records[0].held_by.theirs);

    let line = one(|c| {
        let request = c.request(Side::Theirs);
        let decision = c.decide(&request, Verdict::Deny);
        let refused = OutcomeStatus::RefusedByCounterparty;
        let outcome = c.settle(Side::Theirs, &request, refused, Some(decision.id));
        vec![request, decision, outcome]
    });
    assert_eq!(line.class, Class::Matched);
    says(&line, "globex.example asked acme.example");
    says(
        &line,
        "acme.example denied it, and globex.example says so too",
    );

    let line = one(|c| {
        let request = c.request(Side::Ours);
        let outcome = c.settle(Side::Ours, &request, OutcomeStatus::NotExecuted, None);
        vec![request, outcome]
    });
    assert_eq!(line.class, Class::Matched);
    says(&line, "it never left acme.example");

    let line = one(|c| {
        let request = c.request(Side::Ours);
        let decision = c.decide(&request, Verdict::Allow);
        let there = c.settle(Side::Theirs, &decision, OutcomeStatus::NotExecuted, None);
        let refused = OutcomeStatus::RefusedByCounterparty;
        let here = c.settle(Side::Ours, &request, refused, Some(there.id));
        vec![request, decision, there, here]
    });
    assert_eq!(line.class, Class::Matched);
    says(&line, "both show that it was not executed");
}

/// A denial may be because the call arrived as another one than was signed for.
#[test]
fn a_denial_of_something_else_is_no_contradiction() {
    let line = one(|c| {
        let request = c.request(Side::Ours);
        let mut decision = c.decision(&request, Verdict::Deny);
        decision.parameters = digest("what arrived");
        let decision = c.say(Side::Theirs, Body::Decision(decision));
        let refused = OutcomeStatus::RefusedByCounterparty;
        let outcome = c.settle(Side::Ours, &request, refused, Some(decision.id));
        vec![request, decision, outcome]
    });
    assert_eq!(line.class, Class::Matched);
}

#[test]
fn whoever_lacks_a_record_is_named() {
    for (asking, drop, class, text) in [
        (
            Side::Ours,
            0,
            Class::MissingHere,
            "acme.example does not show the request",
        ),
        (
            Side::Theirs,
            0,
            Class::MissingThere,
            "globex.example does not show the request",
        ),
        (
            Side::Ours,
            1,
            Class::MissingThere,
            "globex.example shows no decision",
        ),
        (
            Side::Theirs,
            1,
            Class::MissingHere,
            "acme.example shows no decision",
        ),
        (
            Side::Ours,
            2,
            Class::MissingThere,
            "which globex.example does not show",
        ),
        (
            Side::Theirs,
            2,
            Class::MissingHere,
            "which acme.example does not show",
        ),
        (
            Side::Ours,
            3,
            Class::UnknownOutcome,
            "acme.example shows no outcome",
        ),
    ] {
        let line = one(|c| {
            let mut said: Vec<Said> = c.call(asking).into();
            said.remove(drop);
            said
        });
        assert_eq!(line.class, class, "{asking:?} without {drop}");
        says(&line, text);
    }
}

/// What one side has of the other, and the other does not show.
#[test]
fn a_record_that_only_the_receiver_shows_is_missing_at_its_signer() {
    let mut conversation = Conversation::default();
    let [request, decision, there, here] = conversation.call(Side::Ours);
    let (ours, theirs) = (Side::Ours, Side::Theirs);
    let held = [
        (ours, request.clone()),
        (theirs, request),
        (ours, decision),
        (theirs, there),
        (ours, here),
    ];
    let (lines, totals) = reconcile_held(&held, Options::default());
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].class, Class::MissingThere);
    says(
        &lines[0],
        "acme.example has a decision that globex.example signed",
    );
    assert_eq!(totals.records, 4);
    let request = &lines[0].records[0];
    assert!(request.held_by.ours && request.held_by.theirs);
}

#[test]
fn contradictions_are_found_and_their_kind_is_named() {
    type Make = fn(&mut Conversation) -> Vec<Said>;
    let cases: [(Option<FaultKind>, &str, Make); 13] = [
        (None, "acme.example shows that it failed", |c| {
            let request = c.request(Side::Ours);
            let decision = c.decide(&request, Verdict::Allow);
            let there = c.settle(Side::Theirs, &decision, OutcomeStatus::Succeeded, None);
            let here = c.settle(Side::Ours, &request, OutcomeStatus::Failed, Some(there.id));
            vec![request, decision, there, here]
        }),
        (Some(FaultKind::AllowedOtherwise), "other parameters", |c| {
            let request = c.request(Side::Ours);
            let mut decision = c.decision(&request, Verdict::Allow);
            decision.parameters = digest("others");
            vec![request, c.say(Side::Theirs, Body::Decision(decision))]
        }),
        (Some(FaultKind::AllowedOtherwise), "another action", |c| {
            let request = c.request(Side::Ours);
            let mut decision = c.decision(&request, Verdict::Allow);
            decision.action.tool = ToolName::literal("payout");
            vec![request, c.say(Side::Theirs, Body::Decision(decision))]
        }),
        (Some(FaultKind::AllowedOtherwise), "another actor", |c| {
            let request = c.request(Side::Ours);
            let mut decision = c.decision(&request, Verdict::Allow);
            decision.actor.session = None;
            vec![request, c.say(Side::Theirs, Body::Decision(decision))]
        }),
        (None, "another contract", |c| {
            let request = c.request(Side::Ours);
            let mut decision = c.decision(&request, Verdict::Allow);
            decision.contract = None;
            vec![request, c.say(Side::Theirs, Body::Decision(decision))]
        }),
        (Some(FaultKind::DecidedTwice), "decided it 2 times", |c| {
            let mut said: Vec<Said> = c.call(Side::Ours).into();
            said.push(c.decide(&said[0].clone(), Verdict::Allow));
            said
        }),
        (Some(FaultKind::SettledTwice), "gave it 2 outcomes", |c| {
            let mut said: Vec<Said> = c.call(Side::Ours).into();
            let decision = said[1].clone();
            said.push(c.settle(Side::Theirs, &decision, OutcomeStatus::Succeeded, None));
            said
        }),
        // Streams of one operator know nothing of each other: no honest one is accused.
        (None, "decided it 2 times", |c| {
            let mut said: Vec<Said> = c.call(Side::Ours).into();
            c.change_stream(Side::Theirs);
            said.push(c.decide(&said[0].clone(), Verdict::Allow));
            said
        }),
        (None, "gave it 2 outcomes", |c| {
            let mut said: Vec<Said> = c.call(Side::Ours).into();
            let decision = said[1].clone();
            c.change_stream(Side::Theirs);
            said.push(c.settle(Side::Theirs, &decision, OutcomeStatus::Unknown, None));
            said
        }),
        (Some(FaultKind::DecidedTwice), "decided it 3 times", |c| {
            let mut said: Vec<Said> = c.call(Side::Ours).into();
            c.change_stream(Side::Theirs);
            said.push(c.decide(&said[0].clone(), Verdict::Allow));
            said.push(c.decide(&said[0].clone(), Verdict::Deny));
            said
        }),
        (
            Some(FaultKind::ExecutedUnallowed),
            "denied it and executed it",
            |c| {
                let request = c.request(Side::Ours);
                let decision = c.decide(&request, Verdict::Deny);
                let there = c.settle(Side::Theirs, &decision, OutcomeStatus::Succeeded, None);
                vec![request, decision, there]
            },
        ),
        (
            Some(FaultKind::OwnRecordDenied),
            "globex.example denies an outcome",
            |c| {
                let mut said: Vec<Said> = c.call(Side::Ours).into();
                let body = Body::Channel(ChannelControl {
                    channel: c.link(Side::Theirs),
                    event: ChannelEvent::RecordDenied {
                        record: said[2].id,
                        reason: ReasonCode::literal("not_ours"),
                    },
                });
                said.push(c.say(Side::Theirs, body));
                said
            },
        ),
        (
            None,
            "denied it, and acme.example shows that it succeeded",
            |c| {
                let request = c.request(Side::Ours);
                let decision = c.decide(&request, Verdict::Deny);
                let succeeded = OutcomeStatus::Succeeded;
                let here = c.settle(Side::Ours, &request, succeeded, Some(decision.id));
                vec![request, decision, here]
            },
        ),
    ];
    for (fault, text, make) in cases {
        let line = one(make);
        assert_eq!(line.class, Class::Contradicting, "{text}");
        says(&line, text);
        let contradiction = line
            .findings
            .iter()
            .find(|finding| finding.class == Class::Contradicting)
            .unwrap();
        assert_eq!(contradiction.fault, fault, "{text}");
    }
}

#[test]
fn an_outcome_that_follows_from_another_call_contradicts() {
    let mut conversation = Conversation::default();
    let [r1, d1, o1, a1] = conversation.call(Side::Ours);
    let request = conversation.request(Side::Ours);
    let decision = conversation.decide(&request, Verdict::Allow);
    let there = conversation.settle(Side::Theirs, &decision, OutcomeStatus::Succeeded, None);
    let succeeded = OutcomeStatus::Succeeded;
    let here = conversation.settle(Side::Ours, &request, succeeded, Some(o1.id));
    let said = [r1, d1, o1, a1, request, decision, there, here];
    let (lines, _) = reconcile(&said, Options::default());
    let classes: Vec<Class> = lines.iter().map(|line| line.class).collect();
    assert_eq!(classes, [Class::Matched, Class::Contradicting]);
    says(&lines[1], "follows from a record of another call");
}

#[test]
fn what_nobody_knows_is_said_to_be_unknown() {
    use OutcomeStatus as Status;
    for (there, here) in [
        (Some(Status::Unknown), Status::EvidenceInvalid),
        (Some(Status::Unknown), Status::Unknown),
        (Some(Status::Succeeded), Status::Unknown),
        (Some(Status::Failed), Status::EvidenceInvalid),
        (None, Status::Unknown),
    ] {
        let line = one(|c| {
            let request = c.request(Side::Ours);
            let decision = c.decide(&request, Verdict::Allow);
            let there = there.map(|status| c.settle(Side::Theirs, &decision, status, None));
            let here = c.settle(Side::Ours, &request, here, None);
            let mut said = vec![request, decision, here];
            said.extend(there);
            said
        });
        assert_eq!(line.class, Class::UnknownOutcome, "{there:?} {here:?}");
    }
}

#[test]
fn late_is_what_witnesses_say() {
    let options = |delay, as_of| Options {
        publish_delay: Some(Millis::new(delay)),
        as_of,
        ..Options::default()
    };
    let mut conversation = Conversation::default();
    let mut said: Vec<Said> = conversation.call(Side::Ours).into();
    said[1].not_after = Some(UnixSeconds::new(said[1].record.time.get() / 1000 + 7));
    let run = |said: &[Said], options| reconcile(said, options).0.remove(0);
    assert_eq!(run(&said, options(8000, None)).class, Class::Matched);
    let line = run(&said, options(6000, None));
    assert_eq!(line.class, Class::Late);
    assert_eq!(line.findings[0].side, Some(Side::Theirs));
    says(
        &line,
        "globex.example's decision was witnessed 6980 ms after it was made",
    );
    assert_eq!(run(&said, Options::default()).class, Class::Matched);

    // What is not in a log by then.
    said[1].not_after = None;
    said[1].level = Level::Committed;
    assert_eq!(run(&said, options(6000, None)).class, Class::Matched);
    let due = said[1].record.time.get() + 6000;
    let at = |time| Some(UnixMillis::new(time));
    assert_eq!(run(&said, options(6000, at(due))).class, Class::Matched);
    let line = run(&said, options(6000, at(due + 1)));
    assert_eq!(line.class, Class::Late);
    says(&line, "is not shown in a log");
}

#[test]
fn only_calls_of_the_period_count() {
    let mut conversation = Conversation::default();
    let mut said = Vec::new();
    let mut begins = Vec::new();
    for _ in 0..5 {
        let call = conversation.call(Side::Ours);
        begins.push(call[0].record.time);
        said.extend(call);
    }
    let options = Options {
        from: Some(begins[1]),
        until: Some(begins[3]),
        ..Options::default()
    };
    let (lines, totals) = reconcile(&said, options);
    assert_eq!(lines.len(), 2);
    assert_eq!((totals.calls, totals.outside_period), (2, 3));
    assert!(totals.is_matched());
}

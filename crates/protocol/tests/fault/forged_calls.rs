//! Proofs from decisions and outcomes of what did not happen are refused, each for its reason.

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::fault::{FaultKind, Statement};
use counterfoil_protocol::names::{ReasonCode, Tier};
use counterfoil_protocol::record::{
    Action, Body, ChannelControl, ChannelEvent, Decision, OutcomeStatus, Request, Verdict,
};

use super::calls::action;
use super::collected::{bare, code};
use super::statements::{
    accuse, decision, fork, link, outcome, record, refused, request, said, signed, signed_by, two,
};
use super::world::{globex, peer};

#[test]
fn a_repeat_that_was_refused_is_no_second_decision() {
    let about = RecordId::from_bytes([9; 32]);
    let one = signed(
        1,
        &record(3, Body::Decision(decision(Some(about), Verdict::Allow))),
    );
    let repeat = signed(1, &record(4, Body::Decision(decision(None, Verdict::Deny))));
    assert_eq!(
        fork(FaultKind::DecidedTwice, &one, &repeat),
        "fault_not_shown"
    );
    let elsewhere = Some(RecordId::from_bytes([8; 32]));
    let other = signed(
        1,
        &record(4, Body::Decision(decision(elsewhere, Verdict::Deny))),
    );
    assert_eq!(
        fork(FaultKind::DecidedTwice, &one, &other),
        "fault_not_shown"
    );
    let second = signed(
        1,
        &record(4, Body::Decision(decision(Some(about), Verdict::Deny))),
    );
    assert_eq!(fork(FaultKind::DecidedTwice, &one, &second), "convicts");
}

#[test]
fn outcomes_must_be_of_the_decision_and_say_that_it_was_executed() {
    let denied = signed(1, &record(3, Body::Decision(decision(None, Verdict::Deny))));
    let allowed = signed(
        1,
        &record(3, Body::Decision(decision(None, Verdict::Allow))),
    );
    let kind = FaultKind::ExecutedUnallowed;
    let of = |decision: RecordId, status| signed(2, &record(4, outcome(decision, status)));
    assert_eq!(
        two(kind, &denied, &of(denied.0, OutcomeStatus::Failed)),
        "convicts"
    );
    for status in [
        OutcomeStatus::NotExecuted,
        OutcomeStatus::Unknown,
        OutcomeStatus::RefusedByCounterparty,
        OutcomeStatus::EvidenceInvalid,
    ] {
        assert_eq!(
            two(kind, &denied, &of(denied.0, status)),
            "fault_not_shown",
            "{status}"
        );
    }
    let succeeded = OutcomeStatus::Succeeded;
    assert_eq!(
        two(kind, &denied, &of(allowed.0, succeeded)),
        "fault_not_shown"
    );
    assert_eq!(
        two(kind, &allowed, &of(allowed.0, succeeded)),
        "fault_not_shown"
    );
    let of = |decision| signed(1, &record(5, outcome(decision, OutcomeStatus::Unknown)));
    let one = signed(1, &record(4, outcome(allowed.0, succeeded)));
    assert_eq!(
        fork(FaultKind::SettledTwice, &one, &of(denied.0)),
        "fault_not_shown"
    );
    assert_eq!(
        fork(FaultKind::SettledTwice, &one, &of(allowed.0)),
        "convicts"
    );
}

#[test]
fn a_denial_of_another_record_is_none() {
    let own = signed(1, &record(3, refused()));
    let event = ChannelEvent::RecordDenied {
        record: RecordId::from_bytes([9; 32]),
        reason: ReasonCode::literal("not_ours"),
    };
    let channel = link(0, 5);
    let denial = signed(
        1,
        &record(4, Body::Channel(ChannelControl { channel, event })),
    );
    assert_eq!(
        two(FaultKind::OwnRecordDenied, &own, &denial),
        "fault_not_shown"
    );
    let said = signed(1, &record(4, said(link(0, 5))));
    assert_eq!(
        two(FaultKind::OwnRecordDenied, &own, &said),
        "fault_not_shown"
    );
}

#[test]
fn a_decision_is_measured_by_the_request_that_it_names() {
    let try_with = |asked: Request, decided: &dyn Fn(RecordId) -> Decision| {
        let (id, bytes) = signed_by(&peer(0), 90, &record(3, Body::Request(asked)));
        let decision = signed(1, &record(4, Body::Decision(decided(id))));
        let statements = vec![
            Statement::Request(bytes),
            Statement::record(bare(&decision.1)),
        ];
        code(&accuse(FaultKind::AllowedOtherwise, statements))
    };
    let allow = |id| decision(Some(id), Verdict::Allow);
    assert_eq!(try_with(request(7, &globex()), &allow), "fault_not_shown");
    assert_eq!(try_with(request(8, &globex()), &allow), "convicts");
    assert_eq!(try_with(request(7, &peer(1)), &allow), "convicts");
    // The tier is the business of each side.
    let tier = |id| Decision {
        action: Action {
            tier: Some(Tier::literal("high")),
            ..action("charge")
        },
        ..allow(id)
    };
    assert_eq!(try_with(request(7, &globex()), &tier), "fault_not_shown");
    let deny = |id| decision(Some(id), Verdict::Deny);
    assert_eq!(try_with(request(8, &globex()), &deny), "fault_not_shown");
    let other = |_| decision(Some(RecordId::from_bytes([9; 32])), Verdict::Allow);
    assert_eq!(try_with(request(8, &globex()), &other), "fault_not_shown");
    // Its signature does not matter: the id is that of its content.
    let (id, mut bytes) = signed_by(
        &peer(0),
        90,
        &record(3, Body::Request(request(8, &globex()))),
    );
    *bytes.last_mut().unwrap() ^= 1;
    let decision = signed(1, &record(4, Body::Decision(allow(id))));
    let statements = vec![
        Statement::Request(bytes),
        Statement::record(bare(&decision.1)),
    ];
    assert_eq!(
        code(&accuse(FaultKind::AllowedOtherwise, statements)),
        "convicts"
    );
}

//! Proofs of what did not happen are refused, each for its reason.

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::fault::{Accused, FaultKind, FaultProof, Statement, verify_fault};
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{
    Body, ChannelControl, ChannelEvent, ChannelLink, Event, OutcomeStatus, Verdict,
};

use counterfoil_protocol::verify::StepOutcome;

use super::collected::{bare, code};
use super::world::{Manifests, globex, key, peer, trust};

use super::statements::{
    acknowledging, decision, fork, link, manifests, outcome, record, refused, said, signed,
    signed_again, signed_by, two,
};

#[test]
fn a_record_does_not_contradict_itself() {
    let one = signed(1, &record(3, said(link(0, 5))));
    for kind in FaultKind::ALL {
        if kind.as_str() == "stream_fork" || kind.as_str() == "channel_fork" {
            assert_eq!(two(*kind, &one, &one), "fault_not_shown");
        }
    }
    let decided = signed(
        1,
        &record(3, Body::Decision(decision(Some(one.0), Verdict::Allow))),
    );
    assert_eq!(
        two(FaultKind::DecidedTwice, &decided, &decided),
        "fault_not_shown"
    );
    let settled = signed(1, &record(3, outcome(one.0, OutcomeStatus::Failed)));
    assert_eq!(
        two(FaultKind::SettledTwice, &settled, &settled),
        "fault_not_shown"
    );
}

#[test]
fn nor_does_one_that_was_signed_twice() {
    let one = signed(1, &record(3, said(link(0, 5))));
    let again = (one.0, signed_again(1, &one.1));
    assert_ne!(one.1, again.1);
    assert_eq!(two(FaultKind::StreamFork, &one, &again), "fault_not_shown");
    assert_eq!(two(FaultKind::StreamFork, &again, &one), "fault_not_shown");
    assert_eq!(two(FaultKind::ChannelFork, &one, &again), "fault_not_shown");
}

#[test]
fn statements_in_the_wrong_order_are_refused() {
    let a = signed(1, &record(3, said(link(0, 5))));
    let b = signed(1, &record(3, said(link(0, 6))));
    let (low, high) = if a.0 < b.0 { (a, b) } else { (b, a) };
    assert_eq!(two(FaultKind::StreamFork, &low, &high), "convicts");
    assert_eq!(two(FaultKind::StreamFork, &high, &low), "fault_not_shown");

    let first = signed(1, &record(3, refused()));
    let next = signed(1, &record(4, refused()));
    assert_eq!(two(FaultKind::StreamLink, &first, &next), "convicts");
    assert_eq!(two(FaultKind::StreamLink, &next, &first), "fault_not_shown");

    let first = signed(1, &record(3, said(link(0, 5))));
    let next = signed(1, &record(4, said(link(0, 6))));
    assert_eq!(two(FaultKind::ChannelLink, &first, &next), "convicts");
    assert_eq!(
        two(FaultKind::ChannelLink, &next, &first),
        "fault_not_shown"
    );

    let more = signed(1, &record(3, said(acknowledging(90, 4))));
    let less = signed(1, &record(4, said(acknowledging(90, 3))));
    let kind = FaultKind::AcknowledgementReversed;
    assert_eq!(two(kind, &more, &less), "convicts");
    assert_eq!(two(kind, &less, &more), "fault_not_shown");

    let denied = signed(1, &record(3, Body::Decision(decision(None, Verdict::Deny))));
    let done = signed(1, &record(4, outcome(denied.0, OutcomeStatus::Succeeded)));
    assert_eq!(
        two(FaultKind::ExecutedUnallowed, &denied, &done),
        "convicts"
    );
    assert_eq!(
        two(FaultKind::ExecutedUnallowed, &done, &denied),
        "fault_not_shown"
    );

    let own = signed(1, &record(3, refused()));
    let event = ChannelEvent::RecordDenied {
        record: own.0,
        reason: ReasonCode::literal("not_ours"),
    };
    let channel = link(0, 5);
    let denial = signed(
        2,
        &record(4, Body::Channel(ChannelControl { channel, event })),
    );
    assert_eq!(two(FaultKind::OwnRecordDenied, &own, &denial), "convicts");
    assert_eq!(
        two(FaultKind::OwnRecordDenied, &denial, &own),
        "fault_not_shown"
    );

    let close = Body::Control(Event::StreamClosed { successor: None });
    let close = signed(1, &record(3, close));
    assert_eq!(two(FaultKind::StreamContinued, &close, &next), "convicts");
    assert_eq!(
        two(FaultKind::StreamContinued, &next, &close),
        "fault_not_shown"
    );
    assert_eq!(
        two(FaultKind::StreamContinued, &close, &close),
        "fault_not_shown"
    );
}

#[test]
fn records_of_different_keys_are_of_different_streams() {
    let a = signed(1, &record(3, said(acknowledging(90, 4))));
    let b = signed(2, &record(3, said(acknowledging(90, 3))));
    let next = signed(2, &record(4, said(acknowledging(90, 3))));
    assert_eq!(fork(FaultKind::StreamFork, &a, &b), "fault_not_shown");
    assert_eq!(fork(FaultKind::ChannelFork, &a, &b), "fault_not_shown");
    assert_eq!(two(FaultKind::StreamLink, &a, &next), "fault_not_shown");
    assert_eq!(two(FaultKind::ChannelLink, &a, &next), "fault_not_shown");
    assert_eq!(
        two(FaultKind::AcknowledgementReversed, &a, &next),
        "fault_not_shown"
    );

    // What was restored from a backup goes on under a new key, and may not know of the first.
    let about = Some(RecordId::from_bytes([9; 32]));
    let one = signed(
        1,
        &record(3, Body::Decision(decision(about, Verdict::Allow))),
    );
    let other = signed(
        2,
        &record(3, Body::Decision(decision(about, Verdict::Deny))),
    );
    assert_eq!(
        fork(FaultKind::DecidedTwice, &one, &other),
        "fault_not_shown"
    );
    let done = signed(1, &record(4, outcome(one.0, OutcomeStatus::Succeeded)));
    let unknown = signed(2, &record(4, outcome(one.0, OutcomeStatus::Unknown)));
    assert_eq!(
        fork(FaultKind::SettledTwice, &done, &unknown),
        "fault_not_shown"
    );
    let close = Body::Control(Event::StreamClosed { successor: None });
    let close = signed(1, &record(3, close));
    assert_eq!(
        two(FaultKind::StreamContinued, &close, &next),
        "fault_not_shown"
    );
}

#[test]
fn an_honest_link_to_the_key_before_is_none() {
    let close = Body::Control(Event::StreamClosed {
        successor: Some(key(2).public().thumbprint()),
    });
    let last = signed(1, &record(0, close.clone()));
    assert_eq!(
        two(FaultKind::StreamLink, &last, &last),
        "record_chain_start"
    );
    let last = signed(1, &record(3, close));
    let mut opened = record(
        0,
        Body::Control(Event::StreamOpened {
            predecessor: Some(key(1).public().thumbprint()),
        }),
    );
    opened.previous = None;
    let opened = signed(2, &opened);
    for kind in [FaultKind::StreamLink, FaultKind::StreamContinued] {
        assert_eq!(two(kind, &last, &opened), "fault_not_shown", "{kind}");
        assert_eq!(two(kind, &opened, &last), "fault_not_shown", "{kind}");
    }
}

#[test]
fn who_signed_neither_or_one_of_them_is_not_convicted() {
    let a = signed(1, &record(3, said(link(0, 5))));
    let b = signed(1, &record(3, said(link(0, 6))));
    let (low, high) = if a.0 < b.0 { (a, b) } else { (b, a) };
    let statement = |bytes: &[u8]| Statement::record(bare(bytes));
    let accuse_of = |accused: OperatorName, manifests: Vec<LoggedManifest>| {
        let proof = FaultProof {
            kind: FaultKind::StreamFork,
            accused: Accused::Operator(accused),
            manifests,
            statements: vec![statement(&low.1), statement(&high.1)],
        };
        code(&verify_fault(&proof.encode(), &trust()))
    };
    assert_eq!(accuse_of(globex(), manifests()), "convicts");
    assert_eq!(accuse_of(peer(0), manifests()), "manifest_chain_broken");
    let mut others = Manifests::new(peer(0));
    others.publish(&[&key(1)], &[]);
    assert_eq!(
        accuse_of(peer(0), others.unlogged()),
        "fault_accused_mismatch"
    );
    assert_eq!(
        accuse_of(OperatorName::literal("hooli.example"), manifests()),
        "operator_unknown"
    );
    assert_eq!(accuse_of(globex(), Vec::new()), "manifest_chain_broken");
    let mut without = Manifests::new(globex());
    without.publish(&[&key(2)], &[]);
    assert_eq!(accuse_of(globex(), without.unlogged()), "key_unknown");

    // Somebody who lists the same key has not signed as globex.
    let foreign = signed_by(&peer(0), 1, &record(3, said(link(1, 7))));
    let own = signed(1, &record(3, said(link(0, 5))));
    assert_eq!(
        fork(FaultKind::StreamFork, &own, &foreign),
        "fault_accused_mismatch"
    );

    // Nor has globex signed what somebody signed for it.
    let mut forged = signed(1, &record(3, said(link(0, 8))));
    *forged.1.last_mut().unwrap() ^= 1;
    assert_eq!(
        fork(FaultKind::StreamFork, &own, &forged),
        "signature_invalid"
    );
}

#[test]
fn channels_to_different_counterparties_are_different() {
    let a = signed(1, &record(3, said(link(0, 5))));
    let b = signed(1, &record(4, said(link(1, 5))));
    assert_eq!(fork(FaultKind::ChannelFork, &a, &b), "fault_not_shown");
    let next = signed(1, &record(4, said(link(1, 6))));
    assert_eq!(two(FaultKind::ChannelLink, &a, &next), "fault_not_shown");
    let none = signed(1, &record(4, refused()));
    assert_eq!(fork(FaultKind::ChannelFork, &a, &none), "fault_not_shown");
    // One key that two counterparties list has a channel of each.
    let one = signed(1, &record(3, said(acknowledging(90, 4))));
    let other = signed(
        1,
        &record(
            4,
            said(ChannelLink {
                counterparty: peer(1),
                ..acknowledging(90, 3)
            }),
        ),
    );
    assert_eq!(
        two(FaultKind::AcknowledgementReversed, &one, &other),
        "fault_not_shown"
    );
}

#[test]
fn what_continues_does_not_contradict() {
    let first = signed(1, &record(3, said(link(0, 5))));
    let mut next = record(
        4,
        said(ChannelLink {
            previous: Some(first.0),
            ..link(0, 6)
        }),
    );
    next.previous = Some(first.0);
    let next = signed(1, &next);
    assert_eq!(two(FaultKind::StreamLink, &first, &next), "fault_not_shown");
    assert_eq!(
        two(FaultKind::ChannelLink, &first, &next),
        "fault_not_shown"
    );
    let later = signed(1, &record(9, said(link(0, 8))));
    assert_eq!(
        two(FaultKind::StreamLink, &first, &later),
        "fault_not_shown"
    );
    assert_eq!(
        two(FaultKind::ChannelLink, &first, &later),
        "fault_not_shown"
    );
}

#[test]
fn acknowledgements_of_different_streams_do_not_go_back() {
    let kind = FaultKind::AcknowledgementReversed;
    let one = signed(1, &record(3, said(acknowledging(90, 4))));
    let other = signed(1, &record(4, said(acknowledging(91, 3))));
    assert_eq!(two(kind, &one, &other), "fault_not_shown");
    let none = signed(1, &record(4, said(link(0, 6))));
    assert_eq!(two(kind, &one, &none), "fault_not_shown");
    let same = signed(1, &record(4, said(acknowledging(90, 4))));
    assert_eq!(two(kind, &one, &same), "fault_not_shown");
    let more = signed(1, &record(4, said(acknowledging(90, 5))));
    assert_eq!(two(kind, &one, &more), "fault_not_shown");
}

#[test]
fn no_byte_of_a_proof_can_be_another() {
    let a = signed(1, &record(3, said(link(0, 5))));
    let b = signed(1, &record(3, said(link(0, 6))));
    let (low, high) = if a.0 < b.0 { (a, b) } else { (b, a) };
    let statement = |bytes: &[u8]| Statement::record(bare(bytes));
    let proof = FaultProof {
        kind: FaultKind::StreamFork,
        accused: Accused::Operator(globex()),
        manifests: manifests(),
        statements: vec![statement(&low.1), statement(&high.1)],
    }
    .encode();
    let trust = trust();
    assert!(verify_fault(&proof, &trust).convicts());
    for at in 0..proof.len() {
        let mut flipped = proof.clone();
        flipped[at] ^= 1 << (at % 8);
        let report = verify_fault(&flipped, &trust);
        let last = report.steps.last().unwrap();
        assert!(!report.convicts(), "byte {at}");
        assert!(report.finding.is_none() && report.failure.is_some());
        assert_eq!(last.outcome, StepOutcome::Failed);
        assert!(!verify_fault(&proof[..at], &trust).convicts());
    }
}

//! What is wrong beside the calls.

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::fault::FaultKind;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::reconcile::{Class, Line, Options, Reconciler, Side, Subject};
use counterfoil_protocol::record::{Body, ChannelControl, ChannelEvent, Event};

use super::reconcile;
use super::support::conversation::{Conversation, Said, add, name};
use super::support::digest;

fn calls(count: usize) -> (Conversation, Vec<Said>) {
    let mut conversation = Conversation::default();
    let said = (0..count)
        .flat_map(|_| conversation.call(Side::Ours))
        .collect();
    (conversation, said)
}

fn beside(lines: &[Line]) -> Vec<&Line> {
    let calls = |line: &&Line| !matches!(line.subject, Subject::Call { .. });
    lines.iter().filter(calls).collect()
}

#[test]
fn gaps_of_both_sides_are_found() {
    let (_, mut said) = calls(6);
    // Calls 2 and 3 are gone on both sides; nothing points to them but the numbers.
    said.drain(8..16);
    let (lines, _) = reconcile(&said, Options::default());
    let gaps = beside(&lines);
    assert_eq!(gaps.len(), 2);
    for (gap, (class, name)) in gaps.iter().zip([
        (Class::MissingHere, "acme.example"),
        (Class::MissingThere, "globex.example"),
    ]) {
        assert_eq!(gap.class, class);
        assert!(matches!(
            gap.subject,
            Subject::Gap { first, last, .. }
                if (first, last) == (ChannelSequence::new(4), ChannelSequence::new(7))
        ));
        assert!(
            gap.sentence
                .contains(&format!("records 4 to 7 of {name}'s channel"))
        );
        assert!(gap.sentence.contains("has acknowledged having had them"));
    }
}

#[test]
fn the_beginning_and_the_acknowledged_end_count_too() {
    let (_, said) = calls(3);
    let (lines, _) = reconcile(&said[4..], Options::default());
    assert_eq!(beside(&lines).len(), 2);
    // With a period the channel may begin anywhere.
    let options = Options {
        from: Some(UnixMillis::new(0)),
        ..Options::default()
    };
    let (lines, _) = reconcile(&said[4..], options);
    assert!(beside(&lines).is_empty());

    // Their last record is gone, and ours acknowledge it.
    let mut short = said.clone();
    short.remove(10);
    let (lines, _) = reconcile(&short, Options::default());
    let gaps = beside(&lines);
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].class, Class::MissingThere);
    assert!(
        gaps[0]
            .sentence
            .starts_with("record 5 of globex.example's channel is")
    );

    // Everything of theirs is gone.
    let ours: Vec<Said> = said
        .iter()
        .filter(|said| said.signer == Side::Ours)
        .cloned()
        .collect();
    let (lines, _) = reconcile(&ours, Options::default());
    let gaps = beside(&lines);
    assert_eq!(gaps.len(), 1);
    assert!(
        gaps[0]
            .sentence
            .starts_with("records 0 to 5 of globex.example's channel are")
    );
}

#[test]
fn forks_are_found() {
    let (_, said) = calls(2);
    let fork = |change: fn(&mut Said)| {
        let mut twin = said[5].clone();
        change(&mut twin);
        twin.id = RecordId::from_bytes([0xff; 32]);
        let mut said = said.clone();
        said.push(twin);
        let (lines, _) = reconcile(&said, Options::default());
        let beside = beside(&lines);
        assert_eq!(beside.len(), 1, "{beside:?}");
        assert_eq!(beside[0].class, Class::Contradicting);
        assert_eq!(beside[0].records.len(), 2);
        beside[0].findings[0].fault.unwrap()
    };
    assert_eq!(fork(|_| {}), FaultKind::StreamFork);
    let elsewhere = fork(|twin| twin.record.sequence = Sequence::new(1000));
    assert_eq!(elsewhere, FaultKind::ChannelFork);
}

#[test]
fn an_acknowledgement_of_something_else_contradicts() {
    let (_, mut said) = calls(2);
    let Body::Request(request) = &mut said[4].record.body else {
        panic!("not a request");
    };
    request.channel.acknowledged.as_mut().unwrap().id = RecordId::from_bytes([3; 32]);
    let (lines, _) = reconcile(&said, Options::default());
    let beside = beside(&lines);
    assert_eq!(beside.len(), 1);
    assert_eq!(beside[0].class, Class::Contradicting);
    assert!(
        beside[0]
            .sentence
            .starts_with("acme.example acknowledges 0303")
    );
}

#[test]
fn control_records_are_looked_at_too() {
    let (mut conversation, mut said) = calls(1);
    let propose = |c: &mut Conversation, event| {
        let body = Body::Channel(ChannelControl {
            channel: c.link(Side::Theirs),
            event,
        });
        c.say(Side::Theirs, body)
    };
    let contract = digest("contract");
    let proposal = propose(
        &mut conversation,
        ChannelEvent::ContractProposed { contract },
    );
    said.push(proposal.clone());
    let (lines, totals) = reconcile(&said, Options::default());
    assert!(beside(&lines).is_empty() && totals.is_matched());

    said.push(propose(
        &mut conversation,
        ChannelEvent::RecordDenied {
            record: proposal.id,
            reason: ReasonCode::literal("not_ours"),
        },
    ));
    let (lines, _) = reconcile(&said, Options::default());
    let found = beside(&lines);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].findings[0].fault, Some(FaultKind::OwnRecordDenied));

    // Only the receiver shows it.
    said.retain(|said| said.id != proposal.id);
    let mut held: Vec<(Side, Said)> = said.into_iter().map(|s| (s.signer, s)).collect();
    held.pop();
    held.push((Side::Ours, proposal));
    let (lines, _) = super::reconcile_held(&held, Options::default());
    let found = beside(&lines);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].class, Class::MissingThere);
}

#[test]
fn what_concerns_others_is_passed_over() {
    let (mut conversation, said) = calls(1);
    let local = conversation.say(
        Side::Ours,
        Body::Control(Event::Started {
            policy_set: digest("policy set"),
            unresolved: 0,
        }),
    );
    let (ours, theirs) = (name(Side::Ours), name(Side::Theirs));
    let mut reconciler = Reconciler::new(ours.clone(), theirs, Options::default());
    assert!(!add(&mut reconciler, Side::Ours, &local));
    for said in &said {
        assert!(add(&mut reconciler, said.signer, said));
    }
    assert!(reconciler.finish(|_| {}).is_matched());

    let elsewhere = "initech.example".parse().unwrap();
    let mut reconciler = Reconciler::new(ours, elsewhere, Options::default());
    for said in &said {
        assert!(!add(&mut reconciler, said.signer, said));
    }
    let totals = reconciler.finish(|_| {});
    assert_eq!(
        (totals.records, totals.passed_over, totals.lines),
        (0, 4, 0)
    );
}

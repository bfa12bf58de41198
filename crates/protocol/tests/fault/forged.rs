//! Proofs of what did not happen are refused, each for its reason.

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::fault::{
    Accused, FaultKind, FaultProof, FaultReport, Statement, verify_fault,
};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelControl, ChannelEvent, ChannelLink, DecidedRequest, Decision,
    Event, Outcome, OutcomeStatus, Record, Request, Verdict,
};

use super::calls::{action, actor, evaluation};
use super::collected::{bare, code};
use super::world::{Manifests, content, globex, key, peer, trust};

/// What the tests start from: a record in a channel, at a place of a stream.
pub(crate) fn record(sequence: u64, body: Body) -> Record {
    Record {
        sequence: Sequence::new(sequence),
        previous: Some(RecordId::from_bytes([1; 32])),
        time: UnixMillis::new(1_700_000_000_000),
        beacon: None,
        body,
    }
}

pub(crate) fn link(to: usize, sequence: u64) -> ChannelLink {
    ChannelLink {
        counterparty: peer(to),
        sequence: ChannelSequence::new(sequence),
        previous: (sequence > 0).then(|| RecordId::from_bytes([2; 32])),
        acknowledged: None,
    }
}

fn acknowledging(stream: u8, sequence: u64) -> ChannelLink {
    ChannelLink {
        acknowledged: Some(Acknowledgement {
            stream: key(stream).public().thumbprint(),
            sequence: ChannelSequence::new(sequence),
            id: RecordId::from_bytes([4; 32]),
        }),
        ..link(0, 5)
    }
}

pub(crate) fn said(channel: ChannelLink) -> Body {
    Body::Channel(ChannelControl {
        channel,
        event: ChannelEvent::ContractProposed {
            contract: content(1),
        },
    })
}

pub(crate) fn refused() -> Body {
    Body::Control(Event::MessageRefused {
        reason: ReasonCode::literal("json_malformed"),
    })
}

pub(crate) fn decision(request: Option<RecordId>, verdict: Verdict) -> Decision {
    Decision {
        channel: Some(link(0, 5)),
        request: request.map(|id| DecidedRequest {
            id,
            evidence: Level::Signed,
        }),
        contract: None,
        actor: actor(&peer(0)),
        action: action("charge"),
        parameters: content(7),
        evaluation: evaluation(verdict),
        reservations: Vec::new(),
        attestations: Vec::new(),
    }
}

pub(crate) fn outcome(decision: RecordId, status: OutcomeStatus) -> Body {
    Body::Outcome(Outcome {
        channel: None,
        decision,
        answer: None,
        status,
        result: None,
        settlements: Vec::new(),
        attestations: Vec::new(),
    })
}

pub(crate) fn request(parameters: u64, to: &OperatorName) -> Request {
    Request {
        channel: ChannelLink {
            counterparty: to.clone(),
            ..link(0, 5)
        },
        contract: None,
        actor: actor(&peer(0)),
        action: action("charge"),
        parameters: content(parameters),
        evaluation: evaluation(Verdict::Allow),
        reservations: Vec::new(),
        attestations: Vec::new(),
    }
}

/// Signs a record as globex with the key of this seed.
pub(crate) fn signed(seed: u8, record: &Record) -> (RecordId, Vec<u8>) {
    signed_by(&globex(), seed, record)
}

pub(crate) fn signed_by(operator: &OperatorName, seed: u8, record: &Record) -> (RecordId, Vec<u8>) {
    let key = key(seed);
    let prepared = record.prepare(operator, key.public().thumbprint());
    (prepared.id(), prepared.sign(&key))
}

fn manifests() -> Vec<LoggedManifest> {
    let mut manifests = Manifests::new(globex());
    let keys: Vec<SigningKey> = (1..=3).map(key).collect();
    manifests.publish(&keys.iter().collect::<Vec<_>>(), &[]);
    manifests.unlogged()
}

pub(crate) fn accuse(kind: FaultKind, statements: Vec<Statement>) -> FaultReport {
    let proof = FaultProof {
        kind,
        accused: Accused::Operator(globex()),
        manifests: manifests(),
        statements,
    };
    verify_fault(&proof.encode(), &trust())
}

pub(crate) fn two(
    kind: FaultKind,
    a: &(RecordId, Vec<u8>),
    b: &(RecordId, Vec<u8>),
) -> &'static str {
    let statement = |bytes: &[u8]| Statement::record(bare(bytes));
    code(&accuse(kind, vec![statement(&a.1), statement(&b.1)]))
}

/// Two that may stand in either order, in the right one.
pub(crate) fn fork(
    kind: FaultKind,
    a: &(RecordId, Vec<u8>),
    b: &(RecordId, Vec<u8>),
) -> &'static str {
    if a.0 < b.0 {
        two(kind, a, b)
    } else {
        two(kind, b, a)
    }
}

/// The same content, signed with other signature bytes, which only the holder of the key can make:
/// the nonce is drawn from another place than RFC 8032 says.
pub(crate) fn signed_again(seed: u8, object: &[u8]) -> Vec<u8> {
    use counterfoil_protocol::cbor::{Encoder, Limits, decode};
    let limits = Limits {
        tags: &[18],
        ..Limits::untagged(65_535)
    };
    let ciborium::Value::Tag(_, inner) = decode(object, &limits).unwrap() else {
        panic!("a signed object");
    };
    let parts = inner.into_array().unwrap();
    let part = |at: usize| parts[at].as_bytes().unwrap().as_slice();
    let mut signed = Encoder::with_capacity(1024);
    signed
        .array(4)
        .text("Signature1")
        .bytes(part(0))
        .bytes(&[])
        .bytes(part(2));
    let signature = randomized_signature(seed, &signed.into_bytes());
    let mut again = Encoder::with_capacity(1024);
    again
        .tag(18)
        .array(4)
        .bytes(part(0))
        .map(|_| {})
        .bytes(part(2))
        .bytes(&signature);
    again.into_bytes()
}

fn randomized_signature(seed: u8, message: &[u8]) -> [u8; 64] {
    use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
    let signing = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let mut expanded = ExpandedSecretKey::from(&[seed; 32]);
    expanded.hash_prefix = [77; 32];
    raw_sign::<sha2::Sha512>(&expanded, message, &signing.verifying_key()).to_bytes()
}

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

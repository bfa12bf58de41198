//! One dishonest act in an honest life is detected, whichever it is, and its proof convicts.

use counterfoil_protocol::digest::{CommitmentDigest, RecordId};
use counterfoil_protocol::fault::FaultKind;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Body, ChannelLink, Decision, Event, OutcomeStatus, Record, Verdict,
};
use proptest::prelude::*;

use super::collected::{Item, some_of};
use super::honest::act;
use super::model::{Act, Entry, Model};
use super::world::{globex, peer};

/// What the operator does, what it is convicted of, and how.
type Dishonesty = (&'static str, FaultKind, fn(&mut Model));

const ACTS: &[Dishonesty] = &[
    (
        "signs another record of one number",
        FaultKind::StreamFork,
        |model| {
            let mut record = last(model).record.clone();
            record.time = UnixMillis::new(record.time.get() + 5_000);
            sign(model, record);
        },
    ),
    (
        "gives one number of a channel twice",
        FaultKind::ChannelFork,
        |model| {
            let old = outcome(model).record.channel().cloned().unwrap();
            append_in(model, old);
        },
    ),
    (
        "names another record before",
        FaultKind::StreamLink,
        |model| {
            let mut record = next(model);
            record.previous = Some(RecordId::from_bytes([3; 32]));
            sign(model, record);
        },
    ),
    (
        "names another record before in the channel",
        FaultKind::ChannelLink,
        |model| {
            let link = model.link(0, &peer(0));
            append_in(
                model,
                ChannelLink {
                    previous: Some(RecordId::from_bytes([3; 32])),
                    ..link
                },
            );
        },
    ),
    (
        "leaves room in the channel for what it has no room for",
        FaultKind::ChannelLink,
        |model| {
            let link = model.link(0, &peer(0));
            append_in(
                model,
                ChannelLink {
                    sequence: ChannelSequence::new(link.sequence.get() + 3),
                    previous: Some(RecordId::from_bytes([3; 32])),
                    ..link
                },
            );
        },
    ),
    (
        "signs another batch of one number",
        FaultKind::CommitmentFork,
        |model| {
            let leaves = leaves(model);
            let commitment = model.commitment(model.own(0), &leaves);
            model.seal_as(model.own(0), &leaves, &[]);
            let mut other = commitment;
            other.sealed = UnixMillis::new(other.sealed.get() + 5_000);
            sign_commitment(model, &other);
        },
    ),
    (
        "leaves a record out between two batches",
        FaultKind::CommitmentLink,
        |model| {
            let leaves = leaves(model);
            model.seal_as(model.own(0), &leaves, &[]);
            let mut next = model.commitment(model.own(0), &[b"a record".to_vec()]);
            next.first = Sequence::new(next.first.get() + 1);
            sign_commitment(model, &next);
        },
    ),
    (
        "names another batch before",
        FaultKind::CommitmentLink,
        |model| {
            let leaves = leaves(model);
            model.seal_as(model.own(0), &leaves, &[]);
            let mut next = model.commitment(model.own(0), &[b"a record".to_vec()]);
            next.previous = Some(CommitmentDigest::from_bytes([3; 32]));
            sign_commitment(model, &next);
        },
    ),
    (
        "has too little room between two batches",
        FaultKind::CommitmentLink,
        |model| {
            let leaves = leaves(model);
            model.seal_as(model.own(0), &leaves, &[]);
            let mut later = model.commitment(model.own(0), &[b"a record".to_vec()]);
            later.number = later.number.next().unwrap().next().unwrap();
            later.first = Sequence::new(later.first.get() + 1);
            sign_commitment(model, &later);
        },
    ),
    (
        "seals another record than it signed",
        FaultKind::RecordReplaced,
        |model| {
            let mut leaves = leaves(model);
            let end = leaves.len() - 1;
            leaves[end] = b"what nobody was shown".to_vec();
            // The path of any other record of the batch would do as well.
            model.seal_as(model.own(0), &leaves, &[end as u64]);
        },
    ),
    (
        "seals another record, as the path of its neighbour shows",
        FaultKind::RecordReplaced,
        |model| {
            model.act(&Act::Refuse { enforcer: 0 });
            let mut leaves = leaves(model);
            leaves[1] = b"what nobody was shown".to_vec();
            model.seal_as(model.own(0), &leaves, &[0]);
        },
    ),
    (
        "decides one request twice",
        FaultKind::DecidedTwice,
        |model| {
            let decision = decision(model);
            let channel = Some(model.link(0, &peer(0)));
            model.append(
                0,
                Body::Decision(Decision {
                    channel,
                    ..decision
                }),
            );
        },
    ),
    (
        "gives one call two outcomes",
        FaultKind::SettledTwice,
        |model| {
            let Body::Outcome(outcome) = outcome(model).record.body else {
                panic!("an outcome");
            };
            model.outcome(0, outcome.decision, Some(peer(0)), OutcomeStatus::Failed);
        },
    ),
    (
        "denies a record of its own",
        FaultKind::OwnRecordDenied,
        |model| {
            let own = outcome(model).id;
            model.deny(1, 0, own);
        },
    ),
    (
        "takes an acknowledgement back",
        FaultKind::AcknowledgementReversed,
        |model| {
            let mut link = model.link(0, &peer(0));
            if let Some(acknowledged) = &mut link.acknowledged {
                acknowledged.sequence = ChannelSequence::new(acknowledged.sequence.get() - 1);
            }
            append_in(model, link);
        },
    ),
    (
        "acknowledges another record in one place",
        FaultKind::AcknowledgementReversed,
        |model| {
            let mut link = model.link(0, &peer(0));
            if let Some(acknowledged) = &mut link.acknowledged {
                acknowledged.id = RecordId::from_bytes([3; 32]);
            }
            append_in(model, link);
        },
    ),
    (
        "executes what it denied",
        FaultKind::ExecutedUnallowed,
        |model| {
            model.act(&Act::PeerAsks { peer: 0, stream: 0 });
            deliver(model);
            model.act(&Act::Decide {
                enforcer: 0,
                pick: 0,
                allow: false,
            });
            let denied = last(model).id;
            model.outcome(0, denied, Some(peer(0)), OutcomeStatus::Succeeded);
        },
    ),
    (
        "allows other parameters than were asked for",
        FaultKind::AllowedOtherwise,
        |model| {
            model.act(&Act::PeerAsks { peer: 0, stream: 1 });
            deliver(model);
            let decided = decision_about_the_next_request(model);
            model.append(0, Body::Decision(decided));
        },
    ),
    (
        "goes on with a stream that it ended",
        FaultKind::StreamContinued,
        |model| {
            model.append(0, Body::Control(Event::StreamClosed { successor: None }));
            model.append(
                0,
                Body::Control(Event::MessageRefused {
                    reason: ReasonCode::literal("json_malformed"),
                }),
            );
        },
    ),
];

fn journal(model: &Model) -> &[Entry] {
    &model.streams[model.own(0)].journal
}

fn last(model: &Model) -> Entry {
    journal(model).last().unwrap().clone()
}

/// A record after the last that says nothing in particular.
fn next(model: &Model) -> Record {
    let last = last(model);
    Record {
        sequence: last.record.sequence.next().unwrap(),
        previous: Some(last.id),
        body: Body::Control(Event::MessageRefused {
            reason: ReasonCode::literal("json_malformed"),
        }),
        ..last.record
    }
}

fn sign(model: &mut Model, record: Record) {
    model.sign(model.own(0), record);
}

fn sign_commitment(model: &mut Model, commitment: &counterfoil_protocol::commitment::Commitment) {
    let bytes = commitment.sign(&globex(), &model.key_of(model.own(0)));
    model.collected.items.push(Item::Commitment(bytes));
}

/// Appends a record with this link, instead of the one that it should have.
fn append_in(model: &mut Model, link: ChannelLink) {
    let mut decision = decision(model);
    decision.request = None;
    decision.channel = Some(link);
    model.append(0, Body::Decision(decision));
}

/// What the first enforcer has not sealed yet, at least one record.
fn leaves(model: &mut Model) -> Vec<Vec<u8>> {
    model.act(&Act::Refuse { enforcer: 0 });
    let stream = &model.streams[model.own(0)];
    let open = stream.journal[stream.sealed..].iter();
    open.map(|entry| entry.bytes.clone()).collect()
}

/// Delivers everything to the first enforcer.
fn deliver(model: &mut Model) {
    for _ in 0..80 {
        for stream in 0..2 {
            model.act(&Act::Deliver {
                enforcer: 0,
                peer: 0,
                stream,
            });
        }
    }
}

/// The last decision of the first enforcer about a request of the first peer's.
fn decision(model: &Model) -> Decision {
    let decisions = journal(model).iter().rev().filter_map(|entry| {
        let Body::Decision(decision) = &entry.record.body else {
            return None;
        };
        let link = decision.channel.as_ref()?;
        (decision.request.is_some() && link.counterparty == peer(0)).then(|| decision.clone())
    });
    decisions.into_iter().next().unwrap()
}

/// The last outcome of the first enforcer in the channel to the first peer.
fn outcome(model: &Model) -> Entry {
    let mut outcomes = journal(model).iter().rev();
    let found = outcomes.find(|entry| {
        let to_peer = |link: &ChannelLink| link.counterparty == peer(0);
        matches!(entry.record.body, Body::Outcome(_)) && entry.record.channel().is_some_and(to_peer)
    });
    found.unwrap().clone()
}

fn decision_about_the_next_request(model: &mut Model) -> Decision {
    model.act(&Act::Decide {
        enforcer: 0,
        pick: 0,
        allow: true,
    });
    // The enforcer has decided honestly, and everybody forgets it.
    let stream = model.own(0);
    let honest = model.streams[stream].journal.pop().unwrap();
    model.forget_last(0, &honest.bytes);
    let Body::Decision(decision) = honest.record.body else {
        panic!("a decision");
    };
    assert_eq!(decision.evaluation.verdict, Verdict::Allow);
    Decision {
        parameters: super::world::content(424_242),
        ..decision
    }
}

/// What every dishonest act needs: a request decided, allowed and settled.
fn prepare(model: &mut Model) {
    for _ in 0..3 {
        model.act(&Act::PeerAsks { peer: 0, stream: 0 });
    }
    deliver(model);
    for _ in 0..90 {
        model.act(&Act::Decide {
            enforcer: 0,
            pick: 0,
            allow: true,
        });
    }
    for _ in 0..90 {
        model.act(&Act::Complete {
            enforcer: 0,
            pick: 0,
            how: 0,
        });
    }
    model.act(&Act::PeerAsks { peer: 0, stream: 0 });
    deliver(model);
    model.act(&Act::Decide {
        enforcer: 0,
        pick: 0,
        allow: true,
    });
    model.act(&Act::Complete {
        enforcer: 0,
        pick: 0,
        how: 0,
    });
}

#[test]
fn every_contradiction_of_an_operator_has_an_act() {
    for kind in FaultKind::ALL {
        let elsewhere = matches!(
            kind,
            FaultKind::ManifestFork | FaultKind::LogFork | FaultKind::LogRewritten
        );
        let breach = kind.class() == counterfoil_protocol::fault::FaultClass::Breach;
        assert_eq!(
            ACTS.iter().any(|act| act.1 == *kind),
            !elsewhere && !breach,
            "{kind}"
        );
    }
}

#[test]
fn each_dishonest_act_alone_is_that_fault_in_whatever_order_it_is_found() {
    for (what, kind, act) in ACTS {
        let mut model = Model::new();
        prepare(&mut model);
        let before = model.collected.tokens();
        assert!(model.collected.detect(&before).is_empty(), "{what}");
        act(&mut model);
        for order in 0..20 {
            let order = some_of(model.collected.tokens(), order, true);
            let kinds = model.collected.convicted_of(&order);
            assert!(kinds.contains(kind), "{what}: {kinds:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn one_dishonest_act_in_any_life_is_detected(
        before in prop::collection::vec(act(), 0..25),
        after in prop::collection::vec(act(), 0..15),
        which in 0..ACTS.len(),
        order: u64,
    ) {
        let mut model = Model::new();
        for act in &before {
            model.act(act);
        }
        prepare(&mut model);
        let (what, kind, act) = ACTS[which];
        act(&mut model);
        for act in &after {
            model.act(act);
        }
        let order = some_of(model.collected.tokens(), order, true);
        let kinds = model.collected.convicted_of(&order);
        prop_assert!(kinds.contains(&kind), "{}: {:?}", what, kinds);
    }
}

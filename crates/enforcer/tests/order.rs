//! Records that overtake others, gaps, forks and wrong acknowledgements, late words, statements.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod support;

use counterfoil_enforcer::call::{AnswerCheck, Envelope, Party};
use counterfoil_enforcer::status::ChannelStatus;
use counterfoil_enforcer::{Completion, Enforcer, GAP_WINDOW_MILLIS, Permit};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelControl, ChannelEvent, ChannelLink, OutcomeStatus, Record,
    Statement, UnverifiedRecord, Verdict,
};

use support::{World, allowed, ask, call, denied, enforcer_key, hear, name};

const PARAMETERS: &[u8] = br#"{"name":"read","arguments":{}}"#;
const RESULT: &[u8] = br#"{"content":[]}"#;
const ACME: &str = "acme.example";
const GLOBEX: &str = "globex.example";

fn succeeded() -> Completion<'static> {
    Completion {
        status: OutcomeStatus::Succeeded,
        result: Some(RESULT),
    }
}

/// What travels with a call when everything before its request is left out.
fn alone(permit: &Permit) -> Envelope {
    let mut envelope = permit.request_envelope().unwrap();
    envelope.records.drain(..envelope.records.len() - 1);
    envelope
}

fn status(enforcer: &Enforcer) -> ChannelStatus {
    enforcer.channel_status().unwrap().remove(0)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Rows of the journal of an operator, which is closed.
fn rows(world: &World, operator: &str, sql: &str) -> Vec<String> {
    let connection = rusqlite::Connection::open(world.journal(operator)).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_call_that_overtook_others_waits_for_them_and_is_executed() {
    let world = World::new();
    let (acme, globex) = (world.open(ACME), world.open(GLOBEX));
    let permits: Vec<Permit> = (0..3).map(|_| ask(&acme, "read", PARAMETERS)).collect();
    let envelopes: Vec<Envelope> = permits.iter().map(alone).collect();
    let runtime = runtime();

    // The last comes first, then the second, each without those before it.
    let held: Vec<_> = [2, 1]
        .map(|index| globex.hold(&envelopes[index]).expect("it leaves a gap"))
        .into_iter()
        .collect();
    assert_eq!(held[0].counterparty(), &name(ACME));
    let waiting = status(&globex);
    assert_eq!(waiting.waiting, 2);
    assert_eq!(waiting.gaps[0].expected, ChannelSequence::new(0));
    assert_eq!(waiting.gaps[0].ahead, 2);
    assert_eq!(waiting.heads.received, []);
    let filled: Vec<_> = held
        .into_iter()
        .map(|held| runtime.spawn(held.filled()))
        .collect();

    // The first brings what was missing: nothing leaves a gap any more.
    assert!(globex.hold(&envelopes[0]).is_none());
    let first = allowed(hear(&globex, "read", PARAMETERS, &envelopes[0]));
    for filled in filled {
        assert!(runtime.block_on(filled).unwrap());
    }
    let after = status(&globex);
    assert_eq!((after.waiting, after.gaps.len()), (0, 0));
    assert_eq!(after.heads.received, [status(&acme).heads.sent.unwrap()]);
    assert_eq!(after.undecided, 2);
    for envelope in &envelopes[1..] {
        let permit = allowed(hear(&globex, "read", PARAMETERS, envelope));
        permit.complete(succeeded()).unwrap().wait().unwrap();
    }
    first.complete(succeeded()).unwrap().wait().unwrap();
    globex.close().unwrap();
    let globex = world.open(GLOBEX);
    assert_eq!(status(&globex).heads.received, after.heads.received);
    assert_eq!(rows(&world, GLOBEX, "SELECT reason FROM refused"), [""; 0]);
}

#[test]
fn a_gap_that_outlives_the_window_is_refused_and_kept_and_heals() {
    let world = World::new();
    let (acme, globex) = (world.open(ACME), world.open(GLOBEX));
    let first = ask(&acme, "read", PARAMETERS);
    let second = ask(&acme, "read", PARAMETERS);
    let runtime = runtime();
    let held = globex.hold(&alone(&second)).unwrap();
    let filled = runtime.spawn(held.filled());
    // Not before the window is over, whatever else is heard.
    world.clock.set(support::NOW + GAP_WINDOW_MILLIS - 1);
    assert_eq!(status(&globex).waiting, 1);
    world.clock.set(support::NOW + GAP_WINDOW_MILLIS);
    assert!(!runtime.block_on(filled).unwrap());

    let denial = denied(hear(&globex, "read", PARAMETERS, &alone(&second)));
    assert_eq!(denial.reason.as_str(), "channel_gap");
    assert!(denial.explanation.contains("expected is 0"), "{denial:?}");
    // The signed decision names the request, and what was expected: it has nothing of acme's.
    let bytes = denial.envelope.unwrap().records.pop().unwrap();
    let record = UnverifiedRecord::parse(&bytes).unwrap();
    let Body::Decision(decision) = &record.unverified_content().body else {
        panic!("{record:?}");
    };
    assert_eq!(decision.request.unwrap().id, second.record());
    assert_eq!(decision.channel.as_ref().unwrap().acknowledged, None);

    // The channel goes on: the missing one links up what waited, which stays refused.
    allowed(hear(&globex, "read", PARAMETERS, &alone(&first)))
        .complete(succeeded())
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(status(&globex).gaps, []);
    assert_eq!(
        status(&globex).heads.received,
        [status(&acme).heads.sent.unwrap()]
    );
    let again = denied(hear(&globex, "read", PARAMETERS, &alone(&second)));
    assert_eq!(again.reason.as_str(), "request_replayed");
    globex.close().unwrap();
    assert_eq!(
        rows(&world, GLOBEX, "SELECT reason FROM refused"),
        ["channel_gap"]
    );
    let globex = world.open(GLOBEX);
    let again = denied(hear(&globex, "read", PARAMETERS, &alone(&second)));
    assert_eq!(again.reason.as_str(), "request_replayed");
}

/// A record as a Byzantine acme signs it: whatever it likes.
fn byzantine(sequence: u64, at: u64, previous: Option<RecordId>, event: ChannelEvent) -> Vec<u8> {
    linked(sequence, at, previous, None, event)
}

fn linked(
    sequence: u64,
    at: u64,
    previous: Option<RecordId>,
    acknowledged: Option<Acknowledgement>,
    event: ChannelEvent,
) -> Vec<u8> {
    let key = enforcer_key(ACME);
    let record = Record {
        sequence: Sequence::new(sequence),
        previous: Some(RecordId::from_bytes([1; 32])),
        time: UnixMillis::new(support::NOW),
        beacon: None,
        body: Body::Channel(ChannelControl {
            channel: ChannelLink {
                counterparty: name(GLOBEX),
                sequence: ChannelSequence::new(at),
                previous,
                acknowledged,
            },
            event,
        }),
    };
    record
        .prepare(&name(ACME), key.public().thumbprint())
        .sign(&key)
}

fn denial(id: u8) -> ChannelEvent {
    ChannelEvent::RecordDenied {
        record: RecordId::from_bytes([id; 32]),
        reason: ReasonCode::literal("forged"),
    }
}

fn id(bytes: &[u8]) -> RecordId {
    UnverifiedRecord::parse(bytes).unwrap().id()
}

fn push(enforcer: &Enforcer, records: &[&[u8]]) -> Result<(), String> {
    let envelope = Envelope {
        records: records.iter().map(|bytes| (*bytes).into()).collect(),
        ..Envelope::default()
    };
    let pushed = enforcer.ingest(&envelope);
    pushed.map(drop).map_err(|error| error.to_string())
}

#[test]
fn forks_are_refused_and_both_sides_of_them_are_kept() {
    let world = World::new();
    let globex = world.open(GLOBEX);
    let first = byzantine(1, 0, None, denial(1));
    push(&globex, &[&first]).unwrap();
    push(&globex, &[&first]).unwrap();

    // Another record in the place of one that is there.
    let other = byzantine(2, 0, None, denial(2));
    let refused = push(&globex, &[&other]).unwrap_err();
    assert!(refused.contains("channel_fork"), "{refused}");
    assert!(refused.contains(&id(&first).to_string()), "{refused}");
    // One that follows that other one.
    let unlinked = byzantine(3, 1, Some(id(&other)), denial(3));
    let refused = push(&globex, &[&unlinked]).unwrap_err();
    assert!(refused.contains("channel_fork"), "{refused}");
    // Two that both wait in one place.
    let waiting = byzantine(4, 2, Some(id(&unlinked)), denial(4));
    let beside = byzantine(5, 2, Some(id(&unlinked)), denial(5));
    assert!(
        push(&globex, &[&waiting])
            .unwrap_err()
            .contains("channel_gap")
    );
    let refused = push(&globex, &[&beside]).unwrap_err();
    assert!(refused.contains("channel_fork"), "{refused}");

    globex.close().unwrap();
    let mut kept = rows(&world, GLOBEX, "SELECT lower(hex(id)) FROM refused");
    kept.sort();
    let mut all = [&other, &unlinked, &waiting, &beside].map(|bytes| id(bytes).to_string());
    all.sort();
    assert_eq!(kept, all);
    // What continues the channel still does.
    let globex = world.open(GLOBEX);
    push(&globex, &[&byzantine(6, 1, Some(id(&first)), denial(6))]).unwrap();
}

#[test]
fn an_acknowledgement_never_goes_back_and_a_statement_counts() {
    let world = World::new();
    let globex = world.open(GLOBEX);
    for _ in 0..2 {
        drop(ask_acme(&globex));
    }
    let sent = |sequence: u64| {
        let records = globex.unacknowledged(&name(ACME)).unwrap().records;
        let bytes = records
            .iter()
            .find(|bytes| {
                let record = UnverifiedRecord::parse(bytes).unwrap();
                let link = record.unverified_content().channel().unwrap();
                link.sequence.get() == sequence
            })
            .unwrap();
        Acknowledgement {
            stream: globex.kid(),
            sequence: ChannelSequence::new(sequence),
            id: id(bytes),
        }
    };
    let (early, late) = (sent(1), sent(2));
    let statement = |received| {
        ChannelEvent::Statement(Statement {
            from: ChannelSequence::new(0),
            received,
            open: 0,
        })
    };
    // A statement that names a record which globex never made.
    let mut never = late;
    never.id = RecordId::from_bytes([9; 32]);
    let lie = linked(1, 0, None, None, statement(vec![never]));
    let refused = push(&globex, &[&lie]).unwrap_err();
    assert!(refused.contains("acknowledgement_invalid"), "{refused}");

    let honest = linked(1, 0, None, Some(late), statement(vec![late]));
    push(&globex, &[&honest]).unwrap();
    assert_eq!(status(&globex).statement.unwrap().id, id(&honest));
    let back = linked(2, 1, Some(id(&honest)), Some(early), denial(1));
    let refused = push(&globex, &[&back]).unwrap_err();
    assert!(refused.contains("acknowledgement_invalid"), "{refused}");
    assert!(refused.contains("less than 2"), "{refused}");
}

/// Globex in the place of the asking side.
fn ask_acme(globex: &Enforcer) -> Permit {
    let acme = name(ACME);
    let party = Party::Outgoing {
        agent: "bot".parse().unwrap(),
        counterparty: &acme,
    };
    let pending = globex.authorize(&call("read", PARAMETERS), &party).unwrap();
    allowed(pending.wait().unwrap())
}

#[test]
fn what_became_of_a_call_without_an_answer_is_learned_by_exchange() {
    let world = World::new();
    let (acme, globex) = (world.open(ACME), world.open(GLOBEX));
    let permit = ask(&acme, "read", PARAMETERS);
    let request = permit.record();
    let envelope = permit.request_envelope().unwrap();
    let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
    // Nothing comes back in time.
    let unknown = Completion {
        status: OutcomeStatus::Unknown,
        result: None,
    };
    permit.complete(unknown).unwrap().wait().unwrap();
    assert_eq!(acme.to_resolve(), [name(GLOBEX)]);
    let found = status(&acme).unresolved;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.decision), (request, None));

    // The decision is fetched while the tool still works, then the outcome.
    acme.ingest(&globex.unacknowledged(&name(ACME)).unwrap())
        .unwrap();
    let (_, decided) = status(&acme).unresolved[0];
    assert_eq!(decided.decision.unwrap().1, Verdict::Allow);
    assert_eq!(decided.outcome, None);
    assert_eq!(acme.to_resolve(), [name(GLOBEX)]);
    theirs.complete(succeeded()).unwrap().wait().unwrap();
    acme.ingest(&globex.unacknowledged(&name(ACME)).unwrap())
        .unwrap();
    let (_, settled) = status(&acme).unresolved[0];
    assert_eq!(settled.outcome.unwrap().1, OutcomeStatus::Succeeded);
    assert_eq!(acme.to_resolve(), []);
    // Ours stays what it is, and there is only one.
    acme.close().unwrap();
    let acme = world.open(ACME);
    assert_eq!(status(&acme).unresolved, [(request, settled)]);
    assert_eq!(status(&acme).heads.sent.unwrap().sequence.get(), 1);
}

#[test]
fn a_request_that_never_arrived_is_resolved_once_its_end_has() {
    let world = World::new();
    let (acme, globex) = (world.open(ACME), world.open(GLOBEX));
    let permit = ask(&acme, "read", PARAMETERS);
    let _ = permit.request_envelope().unwrap();
    drop(permit);
    assert_eq!(acme.to_resolve(), [name(GLOBEX)]);
    globex
        .ingest(&acme.unacknowledged(&name(GLOBEX)).unwrap())
        .unwrap();
    // Globex says that it holds it all, as the exchange API tells.
    acme.note_held(&name(GLOBEX), Some(ChannelSequence::new(1)));
    assert_eq!(acme.to_resolve(), []);
    assert_eq!(status(&globex).undecided, 0);
}

#[test]
fn an_answer_that_overtook_another_waits_for_it() {
    let world = World::new();
    let (acme, globex) = (world.open(ACME), world.open(GLOBEX));
    let (first, second) = (
        ask(&acme, "read", PARAMETERS),
        ask(&acme, "read", PARAMETERS),
    );
    let answer = |permit: &Permit| {
        let envelope = permit.request_envelope().unwrap();
        let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
        let outcome = theirs.complete(succeeded()).unwrap();
        outcome.wait().unwrap().unwrap()
    };
    let (one, mut two) = (answer(&first), answer(&second));
    two.records.drain(..2);
    let runtime = runtime();
    let held = second.hold(&two).unwrap();
    let filled = runtime.spawn(held.filled());
    let (check, outcome) = first.complete_with_answer(Some(&one), RESULT).unwrap();
    assert!(matches!(check, AnswerCheck::Attested { .. }), "{check:?}");
    outcome.wait().unwrap();
    assert!(runtime.block_on(filled).unwrap());
    let (check, outcome) = second.complete_with_answer(Some(&two), RESULT).unwrap();
    assert!(matches!(check, AnswerCheck::Attested { .. }), "{check:?}");
    outcome.wait().unwrap();
}

#[test]
fn a_statement_closes_a_period_and_is_taken_in() {
    let world = World::new();
    let (acme, globex) = (world.open(ACME), world.open(GLOBEX));
    let nothing = acme.state(&name(GLOBEX)).unwrap_err();
    assert!(
        nothing.to_string().contains("nothing_to_state"),
        "{nothing}"
    );
    let stranger = acme.state(&name("initech.example")).unwrap_err();
    assert_eq!(stranger.code(), "not_found");

    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
    let stated = globex.state(&name(ACME)).unwrap();
    assert_eq!(stated.statement.from.get(), 0);
    assert_eq!(stated.sequence.get(), 1);
    assert_eq!(
        stated.statement.received,
        [status(&acme).heads.sent.unwrap()]
    );
    let stated = acme.state(&name(GLOBEX)).unwrap();
    assert_eq!((stated.statement.from.get(), stated.statement.open), (0, 1));
    globex
        .ingest(&acme.unacknowledged(&name(GLOBEX)).unwrap())
        .unwrap();
    assert_eq!(
        status(&globex).statement.map(|head| head.id),
        Some(stated.record)
    );
    // Where the next period begins is known after a restart too.
    theirs.complete(succeeded()).unwrap().wait().unwrap();
    globex.close().unwrap();
    let globex = world.open(GLOBEX);
    assert_eq!(status(&globex).period.get(), 1);
    let stated = globex.state(&name(ACME)).unwrap();
    assert_eq!(stated.statement.from.get(), 1);
    assert!(
        globex
            .state(&name(ACME))
            .unwrap_err()
            .to_string()
            .contains("nothing_to_state")
    );
    drop(permit);
}

#[test]
fn only_what_cannot_be_ours_is_denied() {
    let world = World::new();
    let (acme, globex) = (world.open(ACME), world.open(GLOBEX));
    let reason = ReasonCode::literal("forged");
    let own: Vec<LoggedManifest> = world.operators.manifests(&name(ACME));
    let deny = |record: &[u8]| acme.deny(&name(GLOBEX), record, reason.clone(), &own);
    let refused = |record: &[u8]| deny(record).unwrap_err().to_string();

    drop(ask(&acme, "read", PARAMETERS));
    let sent = acme.unacknowledged(&name(GLOBEX)).unwrap().records;
    assert!(refused(&sent[0]).contains("record_is_ours"));
    // Nothing stands in that place yet, or any more.
    let future = byzantine(900, 0, None, denial(1));
    assert!(refused(&future).contains("record_may_be_ours"));
    drop(ask_acme(&globex));
    let theirs = globex.unacknowledged(&name(ACME)).unwrap().records;
    assert!(refused(&theirs[0]).contains("not_said_to_be_ours"));

    // Another record stands in its place: somebody else signed this one with our key.
    let in_place = byzantine(1, 0, None, denial(1));
    let denial = deny(&in_place).unwrap();
    // A key that is none of ours.
    let stranger = counterfoil_protocol::keys::SigningKey::from_seed(&[77; 32].into()).unwrap();
    let parsed = UnverifiedRecord::parse(&in_place).unwrap();
    let forged = parsed
        .unverified_content()
        .prepare(&name(ACME), stranger.public().thumbprint())
        .sign(&stranger);
    deny(&forged).unwrap();
    globex
        .ingest(&acme.unacknowledged(&name(GLOBEX)).unwrap())
        .unwrap();
    let heads = status(&globex).heads.received;
    assert_eq!(heads, [status(&acme).heads.sent.unwrap()]);
    assert_ne!(heads[0].id, denial);
}

/// More than the window holds is refused at once, so that nobody fills our memory.
#[test]
fn the_window_is_bounded() {
    let world = World::new();
    let globex = world.open(GLOBEX);
    let far = byzantine(900, 600, Some(RecordId::from_bytes([7; 32])), denial(1));
    let envelope = Envelope {
        records: vec![far.into()],
        ..Envelope::default()
    };
    assert!(globex.hold(&envelope).is_none());
    assert_eq!(globex.channel_status().unwrap(), []);
    for at in 1..=512_u64 {
        let record = byzantine(at, at, Some(RecordId::from_bytes([7; 32])), denial(1));
        push(&globex, &[&record]).unwrap_err();
    }
    let one_more = byzantine(513, 512, Some(RecordId::from_bytes([8; 32])), denial(2));
    assert!(push(&globex, &[&one_more]).is_err());
    assert_eq!(status(&globex).gaps[0].ahead, 512);
}

//! The journal after crashes and tampering: what is acknowledged is there, what is changed is
//! found.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::collections::BTreeSet;

use counterfoil_enforcer::journal::JournalReader;
use counterfoil_enforcer::receipts::ReceiptBuilder;
use counterfoil_enforcer::seal::Sealer;
use counterfoil_enforcer::verify::{Others, verify};
use counterfoil_enforcer::{Completion, EnforcerError};
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::record::{Body, OutcomeStatus, UnverifiedRecord};
use counterfoil_protocol::verify::Level;
use support::{World, allowed, ask, call, denied, enforcer_key, hear, local, name, tamper};

const ACME: &str = "acme.example";
const PARAMETERS: &[u8] = br#"{"name":"read","arguments":{}}"#;

fn succeeded() -> Completion<'static> {
    Completion {
        status: OutcomeStatus::Succeeded,
        result: Some(b"{}"),
    }
}

/// A journal with calls, two batches, and a channel to globex.
fn filled() -> World {
    let world = World::new();
    let (acme, globex) = (world.open(ACME), world.open("globex.example"));
    let mut sealer = Sealer::new(acme.clone()).unwrap();
    for _ in 0..2 {
        for _ in 0..5 {
            let decided = acme
                .authorize(&call("read", PARAMETERS), &local())
                .unwrap()
                .wait();
            allowed(decided.unwrap())
                .complete(succeeded())
                .unwrap()
                .wait()
                .unwrap();
            let permit = ask(&acme, "read", PARAMETERS);
            let envelope = permit.request_envelope().unwrap();
            let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
            let answer = theirs
                .complete(succeeded())
                .unwrap()
                .wait()
                .unwrap()
                .unwrap();
            permit
                .complete_with_answer(Some(&answer), b"{}")
                .unwrap()
                .1
                .wait()
                .unwrap();
        }
        assert_eq!(sealer.seal().unwrap(), 1);
    }
    let decided = acme
        .authorize(&call("read", PARAMETERS), &local())
        .unwrap()
        .wait()
        .unwrap();
    allowed(decided)
        .complete(succeeded())
        .unwrap()
        .wait()
        .unwrap();
    acme.close().unwrap();
    globex.close().unwrap();
    world
}

fn findings(world: &World) -> BTreeSet<&'static str> {
    let report = verify(
        &world.journal(ACME),
        enforcer_key(ACME).public(),
        &world.operators,
        &world.trust,
        &Others::default(),
        &mut |_| (),
    )
    .unwrap();
    report.findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn an_untouched_journal_verifies_and_goes_on() {
    let world = filled();
    assert_eq!(findings(&world), BTreeSet::new());
    let (acme, report) = world.try_open(ACME).unwrap();
    assert_eq!(report.unresolved, 0);
    // Numbers, links and channel go on where they were.
    let permit = ask(&acme, "read", PARAMETERS);
    assert_eq!(permit.sequence().get(), report.records + 1);
    drop(permit);
    acme.close().unwrap();
    assert_eq!(findings(&world), BTreeSet::new());
}

#[test]
fn every_kind_of_tampering_is_found_at_start_and_by_verify() {
    for (what, sql) in [
        (
            "edited",
            "UPDATE record SET bytes = CAST(substr(bytes, 1, 200) || x'00' || substr(bytes, 202) AS BLOB) WHERE sequence = 7",
        ),
        ("deleted", "DELETE FROM record WHERE sequence = 7"),
        (
            "swapped",
            "UPDATE record SET sequence = -1 WHERE sequence = 7; UPDATE record SET sequence = 7 WHERE sequence = 8; UPDATE record SET sequence = 8 WHERE sequence = -1",
        ),
        ("cut into a batch", "DELETE FROM record WHERE sequence > 20"),
        ("head cut", "DELETE FROM record WHERE sequence < 3"),
        (
            "batch edited",
            "UPDATE batch SET count = count - 1 WHERE number = 0",
        ),
        ("batch deleted", "DELETE FROM batch WHERE number = 0"),
        (
            "commitment replaced",
            "UPDATE batch SET commitment = (SELECT commitment FROM batch WHERE number = 1) WHERE number = 0",
        ),
        ("received cut", "DELETE FROM received WHERE number > 3"),
        ("received emptied", "DELETE FROM received"),
    ] {
        let world = filled();
        tamper(&world.journal(ACME), sql);
        assert!(
            findings(&world).contains("chain"),
            "{what}: {:?}",
            findings(&world)
        );
        let error = world.try_open(ACME).unwrap_err();
        assert!(
            matches!(error, EnforcerError::JournalBroken(_)),
            "{what}: {error}"
        );
    }
}

#[test]
fn a_cut_that_takes_everything_along_is_found_by_the_counterparty() {
    let world = filled();
    let globex = world.open("globex.example");
    let seen = globex
        .channel_heads(&name(ACME))
        .unwrap()
        .received
        .last()
        .copied();
    tamper(
        &world.journal(ACME),
        "DELETE FROM batch WHERE number = 1;
         DELETE FROM record WHERE sequence >= (SELECT first + count FROM batch WHERE number = 0);
         DELETE FROM received WHERE number > 10",
    );
    let report = verify(
        &world.journal(ACME),
        enforcer_key(ACME).public(),
        &world.operators,
        &world.trust,
        &Others {
            log: None,
            counterparties: &[(name("globex.example"), seen)],
        },
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(
        report
            .findings
            .iter()
            .map(|finding| finding.code)
            .collect::<Vec<_>>(),
        ["counterparty"]
    );
}

#[test]
fn an_emptied_journal_never_verifies() {
    let world = filled();
    tamper(
        &world.journal(ACME),
        "DELETE FROM record; DELETE FROM batch; DELETE FROM received; DELETE FROM record_id",
    );
    assert_eq!(findings(&world), BTreeSet::from(["chain"]));
    assert!(matches!(
        world.try_open(ACME),
        Err(EnforcerError::JournalBroken(_))
    ));
}

#[test]
fn another_operators_journal_is_refused() {
    let world = filled();
    std::fs::copy(world.journal("globex.example"), world.journal(ACME)).unwrap();
    assert!(matches!(
        world.try_open(ACME),
        Err(EnforcerError::JournalForeign(_))
    ));
    std::fs::remove_file(world.journal(ACME)).unwrap();
    assert!(matches!(
        world.try_open(ACME),
        Err(EnforcerError::Journal(_))
    ));
    std::fs::write(world.journal(ACME), b"").unwrap();
    assert!(matches!(
        world.try_open(ACME),
        Err(EnforcerError::Journal(_))
    ));
}

#[test]
fn calls_left_open_get_an_unknown_outcome_and_keep_their_reservation() {
    let world = World::new();
    let acme = world.open_with_budget(ACME, 25);
    let decided = acme
        .authorize(&call("read", PARAMETERS), &local())
        .unwrap()
        .wait()
        .unwrap();
    // As if the process had died here.
    std::mem::forget(allowed(decided));
    drop(ask(&acme, "read", PARAMETERS));
    acme.close().unwrap();

    let (acme, report) = world.try_open(ACME).unwrap();
    assert_eq!(report.unresolved, 1);
    acme.close().unwrap();
    let reader = JournalReader::open(&world.journal(ACME)).unwrap();
    let statuses: Vec<OutcomeStatus> = reader
        .records(Sequence::new(0), 100)
        .unwrap()
        .iter()
        .filter_map(|(_, bytes)| {
            match &UnverifiedRecord::parse(bytes)
                .unwrap()
                .unverified_content()
                .body
            {
                Body::Outcome(outcome) => Some(outcome.status),
                _ => None,
            }
        })
        .collect();
    assert_eq!(
        statuses,
        [OutcomeStatus::NotExecuted, OutcomeStatus::Unknown]
    );

    // 10 of 25 points are used, the dropped call gave its 10 back.
    let acme = world.open_with_budget(ACME, 25);
    let decide = || {
        acme.authorize(&call("read", PARAMETERS), &local())
            .unwrap()
            .wait()
            .unwrap()
    };
    allowed(decide())
        .complete(succeeded())
        .unwrap()
        .wait()
        .unwrap();
    let denial = denied(decide());
    assert_eq!(denial.reason.as_str(), "budget_exhausted");
    assert!(
        denial.explanation.contains("5 are left"),
        "{}",
        denial.explanation
    );
}

#[test]
fn a_journal_that_goes_away_denies_everything() {
    let world = World::new();
    let acme = world.open(ACME);
    let authorize = || acme.authorize(&call("read", PARAMETERS), &local())?.wait();
    allowed(authorize().unwrap())
        .complete(succeeded())
        .unwrap()
        .wait()
        .unwrap();
    std::fs::rename(
        world.journal(ACME),
        world.directory.path().join("elsewhere"),
    )
    .unwrap();
    for _ in 0..3 {
        assert_eq!(authorize().unwrap_err().code(), "journal_write_failed");
    }
    // Putting it back does not help a process that no longer knows what is on the disk.
    std::fs::rename(
        world.directory.path().join("elsewhere"),
        world.journal(ACME),
    )
    .unwrap();
    assert_eq!(authorize().unwrap_err().code(), "journal_write_failed");
    assert_eq!(acme.ready().unwrap_err().code(), "journal_write_failed");
}

#[test]
fn records_never_go_back_in_time() {
    let world = World::new();
    let acme = world.open(ACME);
    let decided = acme
        .authorize(&call("read", PARAMETERS), &local())
        .unwrap()
        .wait()
        .unwrap();
    allowed(decided)
        .complete(succeeded())
        .unwrap()
        .wait()
        .unwrap();
    world.clock.set(support::NOW - 30_000);
    let decided = acme
        .authorize(&call("read", PARAMETERS), &local())
        .unwrap()
        .wait()
        .unwrap();
    allowed(decided)
        .complete(succeeded())
        .unwrap()
        .wait()
        .unwrap();
    Sealer::new(acme.clone()).unwrap().seal().unwrap();
    acme.close().unwrap();
    let reader = JournalReader::open(&world.journal(ACME)).unwrap();
    let times: Vec<u64> = reader
        .records(Sequence::new(0), 100)
        .unwrap()
        .iter()
        .map(|(_, bytes)| {
            UnverifiedRecord::parse(bytes)
                .unwrap()
                .unverified_content()
                .time
                .get()
        })
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(findings(&world), BTreeSet::new());
}

#[test]
fn a_clock_far_behind_the_records_stops_deciding() {
    let world = World::new();
    let acme = world.open(ACME);
    world.clock.set(support::NOW - 3_600_000);
    let refused = acme
        .authorize(&call("read", PARAMETERS), &local())
        .unwrap_err();
    assert_eq!(refused.code(), "clock_behind");
    world.clock.set(support::NOW);
    allowed(
        acme.authorize(&call("read", PARAMETERS), &local())
            .unwrap()
            .wait()
            .unwrap(),
    )
    .complete(succeeded())
    .unwrap()
    .wait()
    .unwrap();
}

#[test]
fn what_opens_a_digest_cannot_be_changed_unnoticed() {
    for sql in [
        "UPDATE record SET openings = NULL WHERE sequence = 4",
        "UPDATE record SET openings = (SELECT openings FROM record WHERE sequence = 5) \
         WHERE sequence = 4",
    ] {
        let world = filled();
        tamper(&world.journal(ACME), sql);
        assert_eq!(findings(&world), BTreeSet::from(["openings"]), "{sql}");
    }
}

#[test]
fn nothing_is_signed_before_the_log_has_confirmed_the_journal() {
    let world = filled();
    let mut settings = world.settings(ACME);
    settings.backlog_limit = Some(1000);
    let (acme, report) = counterfoil_enforcer::Enforcer::open(settings).unwrap();
    let refused = acme
        .authorize(&call("read", PARAMETERS), &local())
        .unwrap_err();
    assert_eq!(refused.code(), "log_unconfirmed");
    assert_eq!(
        acme.unacknowledged(&name("globex.example"))
            .unwrap_err()
            .code(),
        "log_unconfirmed"
    );
    // What it holds it tells: whoever starts at the same time asks.
    let heads = acme.channel_heads(&name("globex.example")).unwrap();
    assert!(heads.sent.is_some());
    assert_eq!(Sealer::new(acme.clone()).unwrap().seal().unwrap(), 0);
    acme.close().unwrap();
    let reader = JournalReader::open(&world.journal(ACME)).unwrap();
    let next = Sequence::new(report.records);
    assert!(reader.records(next, 1).unwrap().is_empty());
}

#[test]
fn receipts_of_a_sealed_journal_are_committed() {
    let world = filled();
    let manifests = world.operators.manifests(&name(ACME));
    let reader = JournalReader::open(&world.journal(ACME)).unwrap();
    let last = reader.last_batch().unwrap().unwrap();
    let mut builder = ReceiptBuilder::new(reader, manifests);
    for sequence in 0..last.first.get() + last.count + 2 {
        let receipt = builder
            .build(Sequence::new(sequence), &[])
            .unwrap()
            .encode();
        let report = counterfoil_protocol::verify::verify(&receipt, &world.trust, Level::Signed);
        assert!(report.is_verified(), "{sequence}: {:?}", report.failure);
        let sealed = sequence < last.first.get() + last.count;
        let expected = if sealed {
            Level::Committed
        } else {
            Level::Signed
        };
        assert_eq!(report.level, Some(expected), "{sequence}");
    }
}

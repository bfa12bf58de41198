//! A stream that takes over from another one, and journals that are not where they were made.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::fs;

use counterfoil_enforcer::journal::{self, JournalReader};
use counterfoil_enforcer::ledger::Budget;
use counterfoil_enforcer::{Completion, Decided, Enforcer};
use counterfoil_protocol::numbers::{Amount, Sequence};
use counterfoil_protocol::record::{Body, Event, OutcomeStatus, Record, UnverifiedRecord};
use support::home::Home;
use support::{World, allowed, ask, call, denied, hear, local, name};

const ACME: &str = "acme.example";
const GLOBEX: &str = "globex.example";
const PARAMETERS: &[u8] = br#"{"name":"read","arguments":{}}"#;
const RESULT: &[u8] = br#"{"content":[]}"#;

fn succeeded() -> Completion<'static> {
    Completion {
        status: OutcomeStatus::Succeeded,
        result: Some(RESULT),
    }
}

fn records(journal: &std::path::Path) -> Vec<Record> {
    let reader = JournalReader::open(journal).unwrap();
    let rows = reader.records(Sequence::new(0), 10_000).unwrap();
    rows.iter()
        .map(|(_, bytes)| {
            UnverifiedRecord::parse(bytes)
                .unwrap()
                .unverified_content()
                .clone()
        })
        .collect()
}

fn events(journal: &std::path::Path) -> Vec<Event> {
    records(journal)
        .into_iter()
        .filter_map(|record| match record.body {
            Body::Control(event) => Some(event),
            _ => None,
        })
        .collect()
}

fn code(opened: Result<Enforcer, counterfoil_enforcer::EnforcerError>) -> &'static str {
    opened.unwrap_err().code()
}

fn spend(enforcer: &Enforcer) -> Decided {
    let decided = enforcer.authorize(&call("read", PARAMETERS), &local());
    decided.unwrap().wait().unwrap()
}

#[test]
fn the_streams_name_each_other_and_the_old_one_takes_no_more() {
    let world = World::new();
    let mut home = Home::new(&world, ACME);
    let acme = home.open(&world).unwrap();
    let _ = allowed(spend(&acme)).complete(succeeded()).unwrap();
    let first = acme.kid();
    home.rotate(&world, Some(acme.clone()));
    assert_eq!(
        acme.authorize(&call("read", PARAMETERS), &local())
            .unwrap_err()
            .code(),
        "stream_ended"
    );
    let acme = home.open(&world).unwrap();
    let second = acme.kid();
    acme.close().unwrap();
    let [old, new] = home.journals().try_into().unwrap();
    assert_eq!(
        events(&old).last(),
        Some(&Event::StreamClosed {
            successor: Some(second)
        })
    );
    assert_eq!(
        events(&new).first(),
        Some(&Event::StreamOpened {
            predecessor: Some(first)
        })
    );
    // All of the old stream is sealed: nothing has to be signed with its key any more.
    let reader = JournalReader::open(&old).unwrap();
    let last = reader.last_batch().unwrap().unwrap();
    assert_eq!(last.first.get() + last.count, records(&old).len() as u64);
}

#[test]
fn balances_are_carried_over() {
    let world = World::new();
    let mut home = Home::new(&world, ACME);
    let open = |home: &Home| {
        let mut settings = home.settings(&world);
        settings.budgets = vec![Budget {
            operator: None,
            agent: None,
            points: Amount::new(40),
            period_seconds: 86_400,
        }];
        Enforcer::open(settings).unwrap().0
    };
    for round in 0..3 {
        let acme = open(&home);
        let _ = allowed(spend(&acme)).complete(succeeded()).unwrap();
        // Whether the old stream ended in order or not.
        if round % 2 == 0 {
            home.rotate(&world, Some(acme));
        } else {
            acme.close().unwrap();
            home.rotate(&world, None);
        }
    }
    let acme = open(&home);
    let _ = allowed(spend(&acme)).complete(succeeded()).unwrap();
    assert_eq!(denied(spend(&acme)).reason.as_str(), "budget_exhausted");
}

#[test]
fn what_was_decided_before_a_rotation_is_not_decided_again() {
    let world = World::new();
    let acme = world.open(ACME);
    let mut home = Home::new(&world, GLOBEX);
    let globex = home.open(&world).unwrap();
    let first = ask(&acme, "read", PARAMETERS);
    let envelope = first.request_envelope().unwrap();
    let _ = allowed(hear(&globex, "read", PARAMETERS, &envelope))
        .complete(succeeded())
        .unwrap();
    home.rotate(&world, Some(globex));
    let globex = home.open(&world).unwrap();
    let again = denied(hear(&globex, "read", PARAMETERS, &envelope));
    assert_eq!(again.reason.as_str(), "request_replayed");
    // And the channel goes on where it was: nothing has to be sent again.
    let heads = globex.channel_heads(&name(ACME)).unwrap();
    assert_eq!(heads.received.len(), 1);
    assert_eq!(heads.sent.unwrap().sequence.get(), 0);
}

#[test]
fn a_retired_key_asks_for_nothing_and_its_records_still_count() {
    let world = World::new();
    let globex = world.open(GLOBEX);
    let mut home = Home::new(&world, ACME);
    let acme = home.open(&world).unwrap();
    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    std::mem::forget(permit);
    home.rotate(&world, Some(acme.clone()));
    let refused = denied(hear(&globex, "read", PARAMETERS, &envelope));
    assert_eq!(refused.reason.as_str(), "key_unknown");
    globex.ingest(&envelope).unwrap();
}

#[test]
fn calls_that_a_lost_stream_left_open_end_in_the_new_one() {
    let world = World::new();
    let mut home = Home::new(&world, ACME);
    let acme = home.open(&world).unwrap();
    std::mem::forget(allowed(spend(&acme)));
    acme.close().unwrap();
    home.rotate(&world, None);
    for _ in 0..2 {
        home.open(&world).unwrap().close().unwrap();
    }
    let [old, new] = home.journals().try_into().unwrap();
    let outcomes: Vec<_> = records(&new)
        .into_iter()
        .filter_map(|record| match record.body {
            Body::Outcome(outcome) => Some(outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].status, OutcomeStatus::Unknown);
    assert!(matches!(
        events(&new)[0],
        Event::StreamOpened { predecessor: None }
    ));
    assert_eq!(records(&old).len(), 3);
}

#[test]
fn a_journal_is_continued_only_in_the_file_it_was_made_in() {
    let world = World::new();
    let home = Home::new(&world, ACME);
    let acme = home.open(&world).unwrap();
    let _ = allowed(spend(&acme)).complete(succeeded()).unwrap();
    acme.close().unwrap();
    let backup = world.directory.path().join("backup");
    home.back_up(&backup);

    // Even when nothing is lost: who copies it may do so twice.
    home.restore(&backup, false);
    assert_eq!(code(home.open(&world)), "journal_copied");
    // It can be read all the same.
    assert!(home.length() > 1);
}

#[test]
fn an_older_content_in_the_same_file_is_found_by_the_mark() {
    let world = World::new();
    let home = Home::new(&world, ACME);
    let backup = world.directory.path().join("backup");
    home.back_up(&backup);
    let acme = home.open(&world).unwrap();
    let _ = allowed(spend(&acme)).complete(succeeded()).unwrap();
    acme.close().unwrap();
    let [_, mark] = journal::files(&home.journal());
    let newest = fs::read(&mark).unwrap();
    home.restore(&backup, true);
    fs::write(&mark, newest).unwrap();
    assert_eq!(code(home.open(&world)), "journal_copied");

    fs::remove_file(&mark).unwrap();
    assert_eq!(code(home.open(&world)), "journal_copied");
    // With its own mark it is what it was: only others know more.
    home.restore_mark(&backup);
    home.open(&world).unwrap();
}

#[test]
fn a_killed_process_leaves_a_mark_that_is_not_ahead() {
    let world = World::new();
    let home = Home::new(&world, ACME);
    let acme = home.open(&world).unwrap();
    for _ in 0..5 {
        let _ = allowed(spend(&acme)).complete(succeeded()).unwrap();
    }
    // As the disk has it at this moment.
    let backup = world.directory.path().join("killed");
    fs::create_dir(&backup).unwrap();
    let [_, mark] = journal::files(&home.journal());
    let marked = fs::read_to_string(&mark).unwrap();
    let marked: usize = marked
        .trim()
        .split(' ')
        .next_back()
        .unwrap()
        .parse()
        .unwrap();
    assert!(marked <= home.length());
    acme.close().unwrap();
    home.open(&world).unwrap();
}

#[test]
fn a_revoked_key_decides_nothing() {
    let world = World::new();
    let acme = world.open(ACME);
    acme.set_key_lost(Some(counterfoil_enforcer::Blocked::KeyLost {
        revoked: true,
        version: 2,
    }));
    let refused = acme.authorize(&call("read", PARAMETERS), &local());
    assert_eq!(refused.unwrap_err().code(), "key_revoked");
    acme.set_key_lost(None);
    let _ = allowed(spend(&acme)).complete(succeeded()).unwrap();
}

/// The stream of a clock that was far ahead cannot go back; the next one begins with the right time.
#[test]
fn a_rotation_is_the_way_out_after_the_clock_was_far_ahead() {
    let world = World::new();
    let mut home = Home::new(&world, ACME);
    let acme = home.open(&world).unwrap();
    world.clock.set(support::NOW + 86_400_000);
    let asked = call("read", PARAMETERS);
    let pending = acme.authorize(&asked, &local()).unwrap();
    drop(pending.wait().unwrap());
    world.clock.set(support::NOW);
    let refused = acme.authorize(&asked, &local()).unwrap_err();
    assert_eq!(refused.code(), "clock_behind");

    home.rotate(&world, Some(acme));
    let acme = home.open(&world).unwrap();
    drop(allowed(
        acme.authorize(&asked, &local()).unwrap().wait().unwrap(),
    ));
    acme.close().unwrap();
    let times: Vec<u64> = records(&home.journal())
        .iter()
        .map(|record| record.time.get())
        .collect();
    assert!(times.iter().all(|time| *time == support::NOW), "{times:?}");
}

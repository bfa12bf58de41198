//! Bundles written from a journal, and balances computed again from what is in them.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use counterfoil_enforcer::export::{Exported, Exporter, Selection, Sink};
use counterfoil_enforcer::input::DisclosedInput;
use counterfoil_enforcer::journal::JournalReader;
use counterfoil_enforcer::recompute::{Mistake, Recompute};
use counterfoil_enforcer::seal::Sealer;
use counterfoil_enforcer::{Completion, Enforcer, EnforcerError};
use counterfoil_protocol::bundle::{Summary, Verifier};
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::numbers::{Amount, Sequence, UnixMillis};
use counterfoil_protocol::record::{Body, OutcomeStatus, VerifiedRecord};
use support::{NOW, World, allowed, ask, call, denied, hear, local, name};

const ACME: &str = "acme.example";
const GLOBEX: &str = "globex.example";
const PARAMETERS: &[u8] = br#"{"name":"read","arguments":{}}"#;

fn completed(status: OutcomeStatus) -> Completion<'static> {
    let result: Option<&[u8]> = (status == OutcomeStatus::Succeeded).then_some(b"{}");
    Completion { status, result }
}

/// A local call of acme's.
fn work(acme: &Enforcer, status: OutcomeStatus) {
    let decided = acme.authorize(&call("read", PARAMETERS), &local());
    let permit = allowed(decided.unwrap().wait().unwrap());
    permit.complete(completed(status)).unwrap().wait().unwrap();
}

/// A world in which acme has made three batches, each with a local call, and two calls to globex;
/// and one call that no batch has sealed. Clear text is kept, and there is a budget.
fn filled() -> World {
    let world = World::new();
    let mut settings = world.settings(ACME);
    settings.keep_clear_text = true;
    settings.budgets = vec![counterfoil_enforcer::ledger::Budget {
        operator: None,
        agent: None,
        points: Amount::new(100),
        period_seconds: 3600,
    }];
    let acme = Enforcer::open(settings).unwrap().0;
    let globex = world.open(GLOBEX);
    let mut sealer = Sealer::new(acme.clone()).unwrap();
    for batch in 0..3 {
        world.clock.set(NOW + batch * 1000);
        let status = if batch == 1 {
            OutcomeStatus::NotExecuted
        } else {
            OutcomeStatus::Succeeded
        };
        work(&acme, status);
        for _ in 0..2 {
            let permit = ask(&acme, "read", PARAMETERS);
            let envelope = permit.request_envelope().unwrap();
            let theirs = allowed(hear(&globex, "read", PARAMETERS, &envelope));
            let answer = theirs
                .complete(completed(OutcomeStatus::Succeeded))
                .unwrap();
            let answer = answer.wait().unwrap().unwrap();
            let check = permit.complete_with_answer(Some(&answer), b"{}").unwrap();
            check.1.wait().unwrap();
        }
        assert_eq!(sealer.seal().unwrap(), 1);
    }
    // Eight of ten are used up to here: this one and another fit, and no third.
    work(&acme, OutcomeStatus::Succeeded);
    work(&acme, OutcomeStatus::Succeeded);
    let decided = acme.authorize(&call("read", PARAMETERS), &local());
    let denial = denied(decided.unwrap().wait().unwrap());
    assert_eq!(denial.reason.as_str(), "budget_exhausted");
    acme.close().unwrap();
    globex.close().unwrap();
    world
}

/// A bundle in memory.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Sink for Memory {
    fn item(&mut self, bytes: &[u8]) -> Result<(), EnforcerError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Exports, verifies, and gives the records.
fn export(world: &World, selection: &Selection) -> (Exported, Summary, Vec<VerifiedRecord>) {
    let reader = JournalReader::open(&world.journal(ACME)).unwrap();
    let manifests = world.operators.manifests(&name(ACME));
    let mut memory = Memory::default();
    let mut exporter = Exporter::begin(name(ACME), manifests, selection, &mut memory).unwrap();
    exporter.journals(&[reader]).unwrap();
    let exported = exporter.finish();
    assert_eq!(exported.bytes, memory.0.len() as u64);
    let mut records = Vec::new();
    let summary =
        Verifier::new(&world.trust, Level::Signed).run(memory.0.chunks(997), |entry, verifier| {
            for disclosure in verifier.disclosures() {
                if disclosure.field == DisclosedField::EvaluationInput {
                    DisclosedInput::parse(&disclosure.content).unwrap();
                }
            }
            records.push(entry.record.unwrap());
        });
    (exported, summary, records)
}

#[test]
fn all_records_are_exported_and_verify() {
    let world = filled();
    let (exported, summary, records) = export(&world, &Selection::default());
    assert!(summary.is_good(), "{summary:?}");
    assert_eq!(summary.records, exported.records);
    assert_eq!(summary.at(Level::Signed), exported.unsealed);
    assert_eq!(exported.unsealed, 5);
    assert_eq!(exported.unlogged, exported.records - 5);
    assert_eq!(exported.disclosed, 0);
    let sequences = records.iter().map(|record| record.record().sequence.get());
    assert!(sequences.eq(0..exported.records));
}

#[test]
fn a_selection_is_kept_to() {
    let world = filled();
    let of = |selection: Selection| {
        let (_, summary, records) = export(&world, &selection);
        assert!(summary.is_good(), "{summary:?}");
        records
    };
    let with = |more: Selection| Selection {
        counterparty: Some(name(GLOBEX)),
        ..more
    };
    let channel = of(with(Selection::default()));
    assert_eq!(channel.len(), 12);
    let globex = name(GLOBEX);
    for record in &channel {
        let link = record.record().channel().unwrap();
        assert_eq!(link.counterparty, globex);
    }
    let middle = of(Selection {
        first: Some(Sequence::new(5)),
        last: Some(Sequence::new(9)),
        ..Selection::default()
    });
    let sequences = middle.iter().map(|record| record.record().sequence.get());
    assert!(sequences.eq(5..10));
    let second = |number: u64| UnixMillis::new(NOW + number * 1000);
    let timed = of(with(Selection {
        from: Some(second(1)),
        until: Some(second(2)),
        ..Selection::default()
    }));
    assert_eq!(timed.len(), 4);
    for record in &timed {
        assert_eq!(record.record().time, second(1));
    }
    let disclosing = Selection {
        disclose: vec![DisclosedField::EvaluationInput, DisclosedField::Result],
        ..Selection::default()
    };
    let (exported, summary, records) = export(&world, &disclosing);
    assert!(summary.is_good(), "{summary:?}");
    let opened = records.iter().filter(|record| match &record.record().body {
        Body::Outcome(outcome) => outcome.result.is_some(),
        Body::Request(_) | Body::Decision(_) => true,
        _ => false,
    });
    assert_eq!(exported.disclosed, opened.count() as u64);
}

/// Follows the records one after the other.
fn follow<'a>(
    records: impl IntoIterator<Item = &'a VerifiedRecord>,
) -> (Recompute, Result<(), Mistake>) {
    let mut balances = Recompute::default();
    for record in records {
        if let Err(mistake) = balances.take(record.id(), record.record()) {
            return (balances, Err(mistake));
        }
    }
    (balances, Ok(()))
}

#[test]
fn balances_follow_from_the_records() {
    let world = filled();
    let (_, _, records) = export(&world, &Selection::default());
    let (balances, followed) = follow(&records);
    assert_eq!(followed, Ok(()));
    // Every reservation but the first, and every settlement.
    assert_eq!(balances.checked(), 10 + 11);
    // From anywhere on, and with any one left out, nothing honest is blamed.
    for from in 0..records.len() {
        assert_eq!(follow(&records[from..]).1, Ok(()), "from {from}");
    }
    for left_out in 0..records.len() {
        let others = records.iter().enumerate();
        let others = others.filter(|(index, _)| *index != left_out);
        assert_eq!(
            follow(others.map(|(_, record)| record)).1,
            Ok(()),
            "without {left_out}"
        );
    }
}

#[test]
fn a_restart_with_other_budgets_is_no_mistake() {
    let world = World::new();
    let acme = world.open_with_budget(ACME, 100);
    work(&acme, OutcomeStatus::Succeeded);
    // Left open, as in a crash.
    let permit = ask(&acme, "read", PARAMETERS);
    permit.request_envelope().unwrap();
    acme.close().unwrap();
    std::mem::forget(permit);
    for points in [20, 1_000, 10] {
        let acme = world.open_with_budget(ACME, points);
        if points > 20 {
            work(&acme, OutcomeStatus::Succeeded);
        }
        acme.close().unwrap();
    }
    let (_, summary, records) = export(&world, &Selection::default());
    assert!(summary.is_good(), "{summary:?}");
    assert_eq!(follow(&records).1, Ok(()));
}

#[test]
fn a_wrong_balance_names_its_record() {
    let world = filled();
    let (_, _, records) = export(&world, &Selection::default());
    let mut found = 0;
    for wrong in 0..records.len() {
        let mut balances = Recompute::default();
        let mut first = None;
        for (index, record) in records.iter().enumerate() {
            let mut content = record.record().clone();
            if index == wrong && !spoil(&mut content.body) {
                break;
            }
            if let Err(mistake) = balances.take(record.id(), &content) {
                first = Some(mistake.sequence.get());
                break;
            }
        }
        let Some(first) = first else { continue };
        found += 1;
        // What the first reservation says is how large the budget is: the next one shows it.
        assert!(first == wrong as u64 || wrong <= 3, "{first} for {wrong}");
    }
    assert!(found >= 20, "{found}");
}

/// States one more than there is.
fn spoil(body: &mut Body) -> bool {
    let mut lines = match body {
        Body::Request(request) => request.reservations.iter_mut(),
        Body::Decision(decision) => decision.reservations.iter_mut(),
        Body::Outcome(outcome) => {
            let line = outcome.settlements.first_mut();
            return line.is_some_and(|line| {
                line.remaining = Amount::new(line.remaining.get() + 1);
                true
            });
        }
        _ => return false,
    };
    lines.next().is_some_and(|line| {
        line.remaining = Amount::new(line.remaining.get() + 1);
        true
    })
}

//! What strangers can make an enforcer write, and that it takes nothing from those who sign.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use counterfoil_enforcer::call::{Envelope, Party};
use counterfoil_enforcer::{Enforcer, EnforcerError};
use counterfoil_protocol::names::ReasonCode;
use support::{NOW, World, ask, call, denied, hear, local, name};

const GLOBEX: &str = "globex.example";
const PARAMETERS: &[u8] = b"{}";

/// Asks without evidence that verifies until a refusal is left out. How many were recorded.
fn flood(globex: &Enforcer, envelope: Option<&Envelope>) -> usize {
    let party = Party::Incoming { envelope };
    for recorded in 0..2_000 {
        match globex.authorize(&call("read", PARAMETERS), &party) {
            Ok(pending) => drop(denied(pending.wait().unwrap())),
            Err(EnforcerError::TooManyRefusals) => return recorded,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("there is no bound")
}

fn length(world: &World) -> usize {
    let reader = counterfoil_enforcer::journal::JournalReader::open(&world.journal(GLOBEX));
    let first = counterfoil_protocol::numbers::Sequence::new(0);
    reader.unwrap().records(first, 10_000).unwrap().len()
}

#[tokio::test]
async fn strangers_cannot_fill_the_journal() {
    let world = World::new();
    let globex = world.open(GLOBEX);
    let start = length(&world);
    assert_eq!(flood(&globex, None), 256);
    assert_eq!(length(&world), start + 256);
    let garbage = Envelope {
        records: vec![b"garbage".as_slice().into()],
        ..Envelope::default()
    };
    // One bound for all of them, whatever they send.
    assert_eq!(flood(&globex, Some(&garbage)), 0);
    let unread = globex.refuse_message(ReasonCode::literal("not_json")).await;
    assert!(matches!(unread, Err(EnforcerError::TooManyRefusals)));
    assert_eq!(length(&world), start + 256);
    world.clock.set(NOW + 1_000);
    assert_eq!(flood(&globex, Some(&garbage)), 32);
    assert_eq!(length(&world), start + 288);
}

#[test]
fn who_signs_is_decided_and_recorded_all_the_same() {
    let world = World::new();
    let (acme, globex) = (world.open("acme.example"), world.open(GLOBEX));
    assert_eq!(flood(&globex, None), 256);
    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    // Signed and wrong: every one is recorded.
    let start = length(&world);
    for _ in 0..300 {
        let refused = denied(hear(&globex, "write", PARAMETERS, &envelope));
        assert!(["action_mismatch", "request_replayed"].contains(&refused.reason.as_str()));
    }
    assert!(length(&world) >= start + 300);
    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    let _ = support::allowed(hear(&globex, "read", PARAMETERS, &envelope));
    let own = globex.authorize(&call("read", PARAMETERS), &local());
    let _ = support::allowed(own.unwrap().wait().unwrap());
    // A changed signature is a stranger's again.
    let mut forged = envelope.records.last().unwrap().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = Envelope {
        records: vec![forged.into()],
        ..Envelope::default()
    };
    assert_eq!(flood(&globex, Some(&forged)), 0);
    assert_eq!(globex.operator(), &name(GLOBEX));
}

//! `counterfoil channel`: what stands between two operators.

use std::fs;

use serde_json::{Value, json};

use crate::agent::Ended;
use crate::world::World;

/// The one channel of an operator of this world.
fn status(world: &World, home: &str) -> Value {
    let channels = world.good(&["channel", "status", "--home", home]);
    assert_eq!(channels.as_array().unwrap().len(), 1, "{channels:#}");
    channels[0].clone()
}

/// The same words come from a running gateway, over its socket, and from the journal of one that
/// was stopped or killed. Asking leaves no trace.
#[test]
fn status_is_the_same_from_a_running_gateway_and_without_one() {
    let mut world = World::start();
    let mut agent = world.agent();
    let done = agent.call("search", json!({ "query": "refund" }));
    assert!(matches!(done, Ok(Ended::Done(_))), "{done:?}");
    let socket = world.path("acme/control.sock");
    assert!(socket.exists());

    let running = status(&world, "acme");
    assert_eq!(running["counterparty"], "globex.example");
    // A request and an outcome of acme's, a decision and an outcome of globex's.
    assert_eq!(running["sent"]["sequence"], 1);
    assert_eq!(running["received"][0]["sequence"], 1);
    assert_eq!(running["unacknowledged"], 1);
    assert_eq!(running["asked"], 0);
    let theirs = status(&world, "globex");
    assert_eq!(theirs["sent"], running["received"][0]);
    assert_eq!(theirs["received"][0]["sequence"], 0);
    assert_eq!(theirs["executing"], 0);
    let records = world.records("acme").len();

    drop(agent);
    world.stop("acme");
    assert!(!socket.exists(), "a gateway takes its socket along");
    assert_eq!(status(&world, "acme"), running);
    world.start_process("acme");
    world.kill("acme");
    assert!(socket.exists(), "a killed process leaves its socket");
    let before = world.records("acme").len();
    assert_eq!(status(&world, "acme"), running);
    assert_eq!(world.records("acme").len(), before);
    assert!(before > records, "a start is recorded");
    world.start_process("acme");
    assert_eq!(status(&world, "acme"), running);
}

/// Who holds the home and does not answer is named, and nothing is done behind its back.
#[test]
fn a_home_that_somebody_else_holds_is_left_alone() {
    let world = World::start();
    let socket = world.path("acme/control.sock");
    fs::remove_file(&socket).unwrap();
    let said = world.run(&["channel", "status", "--home", "acme"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("in use by process"), "{}", said.stderr);
    assert!(said.stderr.contains("control.sock"), "{}", said.stderr);
}

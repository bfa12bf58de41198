//! Contracts between two operators, with the commands that people run and real processes.

use std::fs;

use serde_json::{Value, json};

use crate::agent::{Ended, HttpAgent};
use crate::world::{World, retry};

/// Reading needs a signature, refunding a witnessed request.
pub(crate) fn terms(expires: &str, notice: u64) -> String {
    format!(
        r#"
asking = "acme.example"
asked = "globex.example"
expires = {expires}
publish_delay_seconds = 60
notice_seconds = {notice}

[levels]
low = "signed"
high = "witnessed"

[[permissions]]
server = "desk"
tool = "read_*"
tier = "low"
points = 1

[[permissions]]
server = "desk"
tool = "refund"
targets = {{ "/arguments/ticket" = "T-*" }}
tier = "high"
points = 10

[[budgets]]
unit = "RISK_POINTS"
amount = 1000000
period_seconds = 86400
"#
    )
}

fn world() -> World {
    let mut world = World::set_up();
    // A request whose evidence does not come is given up soon.
    let path = world.path("acme/operator.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replacen("[gateway]\n", "[gateway]\nevidence_seconds = 8\n", 1);
    fs::write(&path, text).unwrap();
    for name in ["globex", "acme"] {
        world.start_process(name);
    }
    world
}

/// Both sides agree, by commands beside their running gateways. Returns the digest.
pub(crate) fn agree(world: &World, terms: &str) -> String {
    fs::write(world.path("terms.toml"), terms).unwrap();
    let proposed = world.good(&["contract", "propose", "--home", "acme", "terms.toml"]);
    assert_eq!(proposed["standing"], "proposed");
    assert_eq!(proposed["undelivered"], Value::Null);
    let digest = proposed["contract"].as_str().unwrap().to_owned();
    let seen = world.good(&["contract", "show", "--home", "globex", &digest]);
    assert_eq!(seen["standing"], "proposed");
    assert_eq!(seen["terms"], proposed["terms"]);
    let accepted = world.good(&["contract", "accept", "--home", "globex", &digest]);
    assert_eq!(accepted["standing"], "in_force");
    assert_eq!(accepted["undelivered"], Value::Null);
    let known = world.good(&["contract", "show", "--home", "acme", &digest[..12]]);
    assert_eq!(known["standing"], "in_force");
    digest
}

fn read(agent: &mut HttpAgent) -> Ended {
    let arguments = json!({ "id": "T-1001" });
    agent.call("read_ticket", arguments).unwrap()
}

fn refund(agent: &mut HttpAgent, ticket: &str) -> Ended {
    let arguments = json!({ "ticket": ticket, "amount_cents": 700 });
    agent.call("refund", arguments).unwrap()
}

fn done(ended: &Ended) {
    assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
}

/// All of the newest record of a kind.
fn last(world: &World, home: &str, kind: &str) -> Value {
    let records = world.records(home);
    let mut found = records.iter().rev().filter(|record| record["kind"] == kind);
    shown(world, home, found.next().unwrap())
}

/// All of a record that is listed.
fn shown(world: &World, home: &str, listed: &Value) -> Value {
    let sequence = listed["sequence"].to_string();
    world.good(&["journal", "show", "--home", home, &sequence])["record"].clone()
}

#[test]
fn a_contract_is_made_held_to_and_ended() {
    let mut world = world();
    let digest = agree(&world, &terms("2100-01-01T00:00:00Z", 0));
    let mut agent = world.agent();
    done(&read(&mut agent));
    let decision = last(&world, "globex", "decision");
    assert_eq!(decision["contract"], digest);
    assert_eq!(decision["evidence"], "signed");

    // Before a refund is executed its request has been witnessed.
    done(&refund(&mut agent, "T-1001"));
    let decision = last(&world, "globex", "decision");
    assert_eq!(decision["evidence"], "witnessed");
    let request = last(&world, "acme", "request");
    assert_eq!(decision["request"], request["id"]);
    assert_eq!(request["contract"], digest);
    let reservation = &request["reservations"][0];
    assert_eq!(reservation["amount"], 10);

    // What is outside never leaves acme.
    let before = world.records("globex").len();
    assert_eq!(refund(&mut agent, "X-1001").code(), "contract_target");
    let search = agent.call("search", json!({ "query": "refund" })).unwrap();
    assert_eq!(search.code(), "contract_action");
    assert_eq!(world.records("globex").len(), before);
    let refused = last(&world, "acme", "decision");
    assert_eq!(refused["contract"], digest);
    assert_eq!(refused["evaluation"]["reason"], "contract_action");

    // The file convinces whoever has the trust file, and nothing in it can be changed.
    retry("the contract is witnessed", || {
        let exported = world.run(&[
            "contract",
            "export",
            "--home",
            "acme",
            &digest,
            "--out",
            "it.contract",
        ]);
        let verify = ["contract", "verify", "it.contract", "--trust", "trust"];
        (exported.code == Some(0) && world.run(&verify).code == Some(0)).then_some(())
    });
    let verify = ["contract", "verify", "it.contract", "--trust", "trust"];
    let verified = world.good(&verify);
    assert_eq!(verified["state"], "accepted");
    assert_eq!(verified["contract"], digest);
    let mut changed = fs::read(world.path("it.contract")).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(world.path("it.contract"), changed).unwrap();
    assert_ne!(world.run(&verify).code, Some(0));

    // globex ends it while acme is away: acme does not know, asks, and is refused over there.
    drop(agent);
    world.stop("acme");
    let end = [
        "contract", "end", "--home", "globex", &digest, "--reason", "audit",
    ];
    let ended = world.good(&end);
    assert_eq!(ended["standing"], "ended");
    assert_ne!(ended["undelivered"], Value::Null);
    world.start_process("acme");
    let mut agent = world.agent();
    let did = world.did().len();
    assert_eq!(read(&mut agent).code(), "contract_ended");
    assert_eq!(world.did().len(), did);
    let decision = last(&world, "globex", "decision");
    assert_eq!(decision["contract"], digest);
    assert_eq!(decision["evaluation"]["reason"], "contract_ended");
    assert_eq!(last(&world, "acme", "request")["id"], decision["request"]);
    let outcome = last(&world, "acme", "outcome");
    assert_eq!(outcome["status"], "refused_by_counterparty");
    // With the answer acme has heard of the end: it does not ask again.
    assert_eq!(read(&mut agent).code(), "contract_ended");
    let refused = last(&world, "acme", "decision");
    assert_eq!(refused["evaluation"]["reason"], "contract_ended");
    assert_eq!(refused["contract"], digest);
    let shown = world.good(&["contract", "show", "--home", "acme", &digest]);
    assert_eq!(shown["end_reason"], "audit");
}

#[test]
fn without_witnesses_nothing_is_executed_that_needs_them() {
    let mut world = world();
    agree(&world, &terms("2100-01-01T00:00:00Z", 0));
    let mut agent = world.agent();
    done(&refund(&mut agent, "T-1001"));
    let did = world.did().len();
    world.kill("w1");
    world.kill("w2");
    assert_eq!(refund(&mut agent, "T-1001").code(), "evidence_late");
    // What needs no witness goes on.
    done(&read(&mut agent));
    let refunds = |world: &World| {
        let did = world.did();
        did.iter().filter(|line| line.contains("refund")).count()
    };
    assert_eq!(refunds(&world), 1, "{did} {:?}", world.did());
    let asked = world.records("acme");
    let mut outcomes = asked.iter().filter(|record| record["kind"] == "outcome");
    assert!(outcomes.any(|outcome| shown(&world, "acme", outcome)["status"] == "not_executed"));
    for name in ["w1", "w2"] {
        world.start_process(name);
    }
    retry("the witnesses are back", || {
        matches!(refund(&mut agent, "T-1001"), Ended::Done(_)).then_some(())
    });
    assert_eq!(refunds(&world), 2);
}

#[test]
fn an_expired_contract_allows_nothing() {
    let world = world();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(30);
    let soon = soon
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let day = soon % 86_400;
    let date = world.good(&["contract", "list", "--home", "acme"]);
    assert_eq!(date, json!([]));
    let expires = format!(
        "{}T{:02}:{:02}:{:02}Z",
        civil(soon / 86_400),
        day / 3_600,
        day / 60 % 60,
        day % 60
    );
    let digest = agree(&world, &terms(&expires, 0));
    let mut agent = world.agent();
    done(&read(&mut agent));
    let refused = retry("it expires", || match read(&mut agent) {
        Ended::Done(_) => None,
        refused => Some(refused.code().to_owned()),
    });
    assert_eq!(refused, "contract_expired");
    let shown = world.good(&["contract", "show", "--home", "globex", &digest]);
    assert_eq!(shown["standing"], "expired");
}

/// The date of a day since 1970.
fn civil(days: u64) -> String {
    let (mut year, mut left) = (1970, days);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    format!("{year:04}-{:02}-{:02}", month + 1, left + 1)
}

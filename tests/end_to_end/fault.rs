//! Fault proofs over real processes: a dishonest operator is convicted, an honest one never is.

use std::fs;

use counterfoil_protocol::bundle;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::record::{
    Body, ChannelControl, ChannelEvent, OutcomeStatus, Record, UnverifiedRecord,
};
use serde_json::{Value, json};

use crate::world::World;

/// A world in which acme has asked globex for some things.
fn busy_world() -> World {
    let world = World::start();
    let mut agent = world.agent();
    for ticket in ["T-1001", "T-1002", "T-1001", "T-9999"] {
        agent.call("read_ticket", json!({ "id": ticket })).unwrap();
    }
    let refund = json!({ "id": "T-1001", "amount_cents": 99_999_999 });
    agent.call("refund", refund).unwrap();
    drop(agent);
    world.verify_all_receipts();
    for (home, other) in [("acme", "globex"), ("globex", "acme")] {
        let with = format!("{other}.example");
        let out = format!("{home}.evidence");
        let arguments = ["evidence", "export", "--home", home, "--with", &with];
        world.good(&[&arguments[..], &["--out", &out]].concat());
    }
    world
}

/// What globex's key can still sign, with nothing that keeps it honest.
struct Dishonest {
    key: SigningKey,
    manifests: Vec<LoggedManifest>,
    records: Vec<UnverifiedRecord>,
}

impl Dishonest {
    fn new(world: &World) -> Self {
        let pem = fs::read_to_string(world.path("globex/keys/enforcer.pem")).unwrap();
        let bundle = fs::read(world.path("globex.evidence")).unwrap();
        let (header, parts) = bundle::parse(&bundle).unwrap();
        let records = parts.iter().flat_map(|part| &part.records);
        Self {
            key: SigningKey::from_pem(&pem).unwrap(),
            manifests: header.manifests,
            records: records
                .map(|bytes| UnverifiedRecord::parse(bytes).unwrap())
                .collect(),
        }
    }

    /// The first record that is what is looked for, made into another one.
    fn other(
        &self,
        is: fn(&Record) -> bool,
        change: impl FnOnce(&mut Record, RecordId),
    ) -> Vec<u8> {
        let mut all = self.records.iter();
        let found = all.find(|one| is(one.unverified_content())).unwrap();
        let mut content = found.unverified_content().clone();
        change(&mut content, found.id());
        let prepared = content.prepare(found.issuer(), found.kid());
        let receipt = Receipt {
            record: prepared.sign(&self.key),
            manifests: self.manifests.clone(),
            batch: None,
            log_proof: None,
            beacon: None,
            disclosures: Vec::new(),
            presentation: None,
        };
        receipt.encode()
    }
}

fn prove(world: &World, kind: &str, more: &[&str]) -> (Option<i32>, Value) {
    let arguments = ["fault", "prove", kind, "--trust", "trust"];
    let said = world.run(&[&arguments[..], more].concat());
    assert!(said.json.is_object(), "{}", said.stderr);
    (said.code, said.json)
}

fn verify(world: &World, file: &str, trust: &str) -> (Option<i32>, Value) {
    let said = world.run(&["fault", "verify", file, "--trust", trust]);
    (said.code, said.json)
}

fn is_decision(record: &Record) -> bool {
    matches!(record.body, Body::Decision(_))
}

fn is_outcome(record: &Record) -> bool {
    matches!(&record.body, Body::Outcome(outcome) if outcome.status == OutcomeStatus::Succeeded)
}

#[test]
fn honest_operators_are_never_convicted() {
    let mut world = busy_world();
    let all = [
        "acme.evidence",
        "globex.evidence",
        "--home",
        "acme",
        "--out",
        "faults",
    ];
    let (code, report) = prove(&world, "auto", &all);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["faults"], json!([]));
    assert_eq!(report["not_verified"], json!([]));
    // Not even after both were killed in the middle of something and started again.
    for name in ["acme", "globex"] {
        let mut agent = world.agent();
        let _ = agent.call("search", json!({ "query": "lamp" }));
        world.kill(name);
        world.start_process(name);
    }
    let mut agent = world.agent();
    agent.call("search", json!({ "query": "lamp" })).unwrap();
    drop(agent);
    world.verify_all_receipts();
    let exports: Vec<String> = ["acme", "globex"]
        .iter()
        .map(|home| {
            let out = format!("{home}-later.evidence");
            world.good(&["evidence", "export", "--home", home, "--out", &out]);
            out
        })
        .collect();
    let mut files: Vec<&str> = exports.iter().map(String::as_str).collect();
    files.extend(["acme.evidence", "globex.evidence", "--home", "globex"]);
    let (code, report) = prove(&world, "auto", &[&files[..], &["--out", "faults"]].concat());
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["faults"], json!([]));
    assert!(!world.path("faults").exists());
}

#[test]
fn a_fork_convicts_whoever_signed_it() {
    let world = busy_world();
    let globex = Dishonest::new(&world);
    let fork = globex.other(is_decision, |record, _| {
        record.time = UnixMillis::new(record.time.get() + 1);
    });
    fs::write(world.path("fork.receipt"), fork).unwrap();
    // By itself it is a record like any other.
    let alone = world.run(&[
        "verify",
        "fork.receipt",
        "--trust",
        "trust",
        "--level",
        "signed",
    ]);
    assert_eq!(alone.code, Some(0), "{:#}", alone.json);

    // Acme has the other one from its gateway.
    let files = ["fork.receipt", "--home", "acme", "--out", "fork.fault"];
    let (code, report) = prove(&world, "stream_fork", &files);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["faults"][0]["kind"], "stream_fork");
    assert_eq!(report["faults"][0]["accused"], "globex.example");
    let (code, report) = verify(&world, "fork.fault", "trust");
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["convicts"], true);
    let shown = world.good(&["fault", "show", "fork.fault"]);
    assert_eq!(shown["statements"].as_array().unwrap().len(), 2);

    // Every kind that it is, when anything is looked for.
    let files = ["fork.receipt", "globex.evidence", "--out", "faults"];
    let (code, report) = prove(&world, "auto", &files);
    assert_eq!(code, Some(0), "{report:#}");
    let kinds: Vec<&str> = report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["kind"].as_str().unwrap())
        .collect();
    for kind in [
        "stream_fork",
        "channel_fork",
        "stream_link",
        "record_replaced",
        "decided_twice",
    ] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
        let file = format!("faults/globex.example.{kind}.fault");
        let (code, report) = verify(&world, &file, "trust");
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(report["kind"], kind);
    }
    // Nobody else is accused of it, and nothing else of globex.
    let accused = [
        "fork.receipt",
        "globex.evidence",
        "--accused",
        "acme.example",
    ];
    assert_eq!(prove(&world, "auto", &accused).0, Some(1));
    let other = ["fork.receipt", "globex.evidence"];
    assert_eq!(prove(&world, "executed_unallowed", &other).0, Some(1));

    // A reconciliation finds it too.
    let reconcile = [
        "evidence",
        "reconcile",
        "acme.evidence",
        "globex.evidence",
        "--trust",
        "trust",
    ];
    let more = ["--we-hold", "fork.receipt", "--faults", "found"];
    let said = world.run(&[&reconcile[..], &more].concat());
    assert_eq!(said.code, Some(1), "{:#}", said.json);
    assert!(said.json["classes"]["contradicting"].as_u64().unwrap() >= 1);
    assert!(!said.json["faults"].as_array().unwrap().is_empty());
    let found = "found/globex.example.stream_fork.fault";
    assert_eq!(verify(&world, found, "trust").0, Some(0));
}

#[test]
fn forged_proofs_convict_nobody() {
    let world = busy_world();
    let globex = Dishonest::new(&world);
    let fork = globex.other(is_decision, |record, _| {
        record.time = UnixMillis::new(record.time.get() + 1);
    });
    fs::write(world.path("fork.receipt"), fork).unwrap();
    let files = ["fork.receipt", "globex.evidence", "--out", "fork.fault"];
    assert_eq!(prove(&world, "stream_fork", &files).0, Some(0));
    let proof = fs::read(world.path("fork.fault")).unwrap();
    // No bit of what convicts can be another; a sample, since each is a process. What nobody asks
    // for, such as a cosignature over the quorum, may be, and then it convicts of the same.
    let (_, unchanged) = verify(&world, "fork.fault", "trust");
    let mut refused = 0;
    for step in 0..40 {
        let bit = proof.len() * 8 / 40 * step + step % 8;
        let mut bytes = proof.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(world.path("flipped.fault"), bytes).unwrap();
        let (code, report) = verify(&world, "flipped.fault", "trust");
        if report["convicts"] == true {
            for fact in ["accused", "kind", "finding"] {
                assert_eq!(report[fact], unchanged[fact], "bit {bit}");
            }
        } else {
            assert!(matches!(code, Some(1 | 2)), "bit {bit}: {report:#}");
            refused += 1;
        }
    }
    assert!(refused > 30, "{refused} of 40");
    // Nor does it convict under a trust file that does not name the accused.
    let trust = fs::read_to_string(world.path("trust")).unwrap();
    let without: String = trust
        .lines()
        .filter(|line| !line.contains("globex.example"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(world.path("other-trust"), without).unwrap();
    let (code, report) = verify(&world, "fork.fault", "other-trust");
    assert_eq!(code, Some(1));
    assert_eq!(report["failure"]["code"], "operator_unknown");
    // A record that another key signed is no statement of globex: it does not even count as
    // evidence.
    let acme =
        SigningKey::from_pem(&fs::read_to_string(world.path("acme/keys/enforcer.pem")).unwrap())
            .unwrap();
    let forger = Dishonest {
        key: acme,
        ..Dishonest::new(&world)
    };
    let forged = forger.other(is_decision, |record, _| {
        record.time = UnixMillis::new(record.time.get() + 1);
    });
    fs::write(world.path("forged.receipt"), forged).unwrap();
    let files = ["forged.receipt", "globex.evidence", "--out", "none.fault"];
    let (code, report) = prove(&world, "auto", &files);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["not_verified"].as_array().unwrap().len(), 1);
    assert!(!world.path("none.fault").exists());
    // And something that is no proof at all.
    let (code, report) = verify(&world, "trust", "trust");
    assert_eq!((code, &report["readable"]), (Some(2), &json!(false)));
}

#[test]
fn an_outcome_that_is_denied_after_it_was_signed_convicts() {
    let world = busy_world();
    let globex = Dishonest::new(&world);
    // The dispute: globex signed that the call succeeded, acme has it, and globex denies it.
    let denial = globex.other(is_outcome, |record, id| {
        let channel = record.channel().unwrap().clone();
        record.body = Body::Channel(ChannelControl {
            channel,
            event: ChannelEvent::RecordDenied {
                record: id,
                reason: ReasonCode::literal("not_ours"),
            },
        });
    });
    fs::write(world.path("denial.receipt"), denial).unwrap();
    let files = ["denial.receipt", "--home", "acme", "--out", "denied.fault"];
    let (code, report) = prove(&world, "own_record_denied", &files);
    assert_eq!(code, Some(0), "{report:#}");
    let (code, report) = verify(&world, "denied.fault", "trust");
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["accused"], "globex.example");
    // The call then contradicts itself for whoever compares.
    let reconcile = [
        "evidence",
        "reconcile",
        "acme.evidence",
        "globex.evidence",
        "--trust",
        "trust",
    ];
    let said = world.run(&[&reconcile[..], &["--we-hold", "denial.receipt"]].concat());
    assert_eq!(said.code, Some(1));
    let told = said.json["told"].to_string();
    assert!(told.contains("own_record_denied"), "{told}");
}

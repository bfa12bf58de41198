//! Bundles of evidence: exported by both sides, verified, reconciled, decided again.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use counterfoil_protocol::bundle::{self, Header, Part, Seal};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::numbers::Amount;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::{Body, Record, UnverifiedRecord, Verdict};
use serde_json::{Value, json};

use crate::agent::Ended;
use crate::world::World;

/// A world in which acme's agent has made calls: some done, some denied by either side, some over
/// the budget. Everything is logged and witnessed.
fn busy_world() -> World {
    let mut world = World::set_up();
    let config = world.path("acme/operator.toml");
    let text = fs::read_to_string(&config).unwrap();
    let budget = "[[budgets]]\nrisk_points = 9\nperiod_seconds = 315360000\n";
    fs::write(&config, format!("{text}\n{budget}")).unwrap();
    for name in ["globex", "acme"] {
        world.start_process(name);
    }
    let mut agent = world.agent();
    let mut codes = Vec::new();
    for number in 0..6 {
        let query = json!({ "query": format!("lamp {number}") });
        codes.push(agent.call("search", query).unwrap());
    }
    // More than globex refunds without a person.
    let refund = |cents: u64| json!({ "id": "T-1001", "amount_cents": cents });
    codes.push(agent.call("refund", refund(1_234)).unwrap());
    codes.push(agent.call("refund", refund(99_999_999)).unwrap());
    // Acme's policy knows no such tool.
    codes.push(agent.call("delete_everything", json!({})).unwrap());
    // Over acme's budget in the end.
    for number in 0..4 {
        let query = json!({ "query": format!("chair {number}") });
        codes.push(agent.call("search", query).unwrap());
    }
    drop(agent);
    let refused: Vec<&str> = codes
        .iter()
        .filter(|ended| matches!(ended, Ended::Refused { .. }))
        .map(Ended::code)
        .collect();
    assert!(refused.contains(&"unknown_tool"), "{codes:?}");
    assert!(refused.contains(&"budget_exhausted"), "{codes:?}");
    world.verify_all_receipts();
    world
}

fn export(world: &World, home: &str, more: &[&str], out: &str) -> Value {
    let arguments = ["evidence", "export", "--home", home, "--out", out];
    world.good(&[&arguments[..], more].concat())
}

fn verify(world: &World, file: &str, level: &str) -> (Option<i32>, Value) {
    let arguments = ["evidence", "verify", file, "--trust", "trust"];
    let said = world.run(&[&arguments[..], &["--level", level]].concat());
    (said.code, said.json)
}

fn reconcile(world: &World, more: &[&str]) -> (Option<i32>, Value) {
    let arguments = ["evidence", "reconcile", "--trust", "trust"];
    let said = world.run(&[&arguments[..], more].concat());
    assert!(said.json.is_object(), "{}", said.stderr);
    (said.code, said.json)
}

/// The items of a bundle.
fn items(path: &Path) -> (Header, Vec<Part>) {
    bundle::parse(&fs::read(path).unwrap()).unwrap()
}

fn write(path: &Path, header: &Header, parts: &[Part]) {
    let parts = parts.iter().flat_map(Part::encode);
    fs::write(path, [header.encode(), parts.collect()].concat()).unwrap();
}

#[test]
fn both_halves_are_exported_verified_and_match() {
    let world = busy_world();
    let ours = export(
        &world,
        "acme",
        &["--with", "globex.example"],
        "ours.evidence",
    );
    let theirs = export(
        &world,
        "globex",
        &["--with", "acme.example"],
        "theirs.evidence",
    );
    for (file, exported) in [("ours.evidence", &ours), ("theirs.evidence", &theirs)] {
        let (code, report) = verify(&world, file, "witnessed");
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(report["records"], exported["records"]);
        assert_eq!(report["levels"]["witnessed"], exported["records"]);
        assert_eq!(report["outside_bounds"], 0);
    }
    let (code, report) = reconcile(&world, &["ours.evidence", "theirs.evidence"]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["matched"], true);
    assert_eq!(report["classes"]["matched"], report["lines"]);
    assert!(report["calls"].as_u64().unwrap() >= 9, "{report:#}");
    assert_eq!(report["told"], json!([]));
    // The other way round too.
    let (code, other) = reconcile(&world, &["theirs.evidence", "ours.evidence", "--all"]);
    assert_eq!(code, Some(0), "{other:#}");
    assert_eq!(other["calls"], report["calls"]);
    assert_eq!(other["told"].as_array().unwrap().len(), other["lines"]);

    // The whole journal is more than the channel: denials that never left, and the enforcer's own.
    let all = export(&world, "acme", &[], "all.evidence");
    assert!(all["records"].as_u64() > ours["records"].as_u64());
    assert_eq!(verify(&world, "all.evidence", "witnessed").0, Some(0));
    let (code, report) = reconcile(&world, &["all.evidence", "theirs.evidence"]);
    assert_eq!(code, Some(0), "{report:#}");
    assert!(report["passed_over"].as_u64().unwrap() > 0);

    // What acme holds of globex's, with the proofs that globex gives it.
    let received = ["--with", "globex.example", "--received"];
    let held = export(&world, "acme", &received, "held.evidence");
    assert_eq!(held["records"], theirs["records"]);
    assert_eq!(held["not_asked"], Value::Null);
    assert_eq!(verify(&world, "held.evidence", "witnessed").0, Some(0));
    let (code, report) = reconcile(&world, &["ours.evidence", "held.evidence"]);
    assert_eq!(code, Some(0), "{report:#}");
    let offline = [&received[..], &["--offline"]].concat();
    export(&world, "acme", &offline, "signed.evidence");
    assert_eq!(verify(&world, "signed.evidence", "signed").0, Some(0));
    let (code, report) = verify(&world, "signed.evidence", "witnessed");
    assert_eq!(code, Some(1));
    assert_eq!(report["failure"]["code"], "level_not_reached");
}

#[test]
fn what_was_left_out_or_changed_is_found() {
    let world = busy_world();
    export(
        &world,
        "acme",
        &["--with", "globex.example"],
        "ours.evidence",
    );
    export(
        &world,
        "globex",
        &["--with", "acme.example"],
        "theirs.evidence",
    );

    // The last records of globex are not there.
    let (_, parts) = items(&world.path("theirs.evidence"));
    let last = parts
        .iter()
        .flat_map(|part| &part.records)
        .next_back()
        .unwrap();
    let last = UnverifiedRecord::parse(last).unwrap();
    let until = last.unverified_content().sequence.get() - 1;
    let cut = ["--with", "acme.example", "--to", &until.to_string()];
    export(&world, "globex", &cut, "cut.evidence");
    assert_eq!(verify(&world, "cut.evidence", "witnessed").0, Some(0));
    let (code, report) = reconcile(&world, &["ours.evidence", "cut.evidence"]);
    assert_eq!(code, Some(1), "{report:#}");
    assert!(report["classes"]["missing_there"].as_u64().unwrap() >= 1);
    assert_eq!(report["classes"]["missing_here"], 0);
    // Seen from the other side, it is missing here.
    let (code, report) = reconcile(&world, &["cut.evidence", "ours.evidence"]);
    assert_eq!(code, Some(1));
    assert!(report["classes"]["missing_here"].as_u64().unwrap() >= 1);

    // One in the middle is not there: the bundle is made anew from receipts.
    let get = [
        "receipt", "get", "--home", "globex", "--all", "--out", "all",
    ];
    let got = world.good(&get);
    let mut receipts: Vec<(u64, Receipt)> = got
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let bytes = fs::read(world.path(one["file"].as_str().unwrap())).unwrap();
            (
                one["sequence"].as_u64().unwrap(),
                Receipt::parse(&bytes).unwrap(),
            )
        })
        .filter(|(_, receipt)| {
            let record = UnverifiedRecord::parse(&receipt.record).unwrap();
            record.unverified_content().channel().is_some()
        })
        .collect();
    receipts.sort_by_key(|(sequence, _)| *sequence);
    let left_out = receipts.remove(receipts.len() / 2).1;
    let (header, _) = items(&world.path("theirs.evidence"));
    let parts: Vec<Part> = receipts.iter().map(|(_, receipt)| part(receipt)).collect();
    write(&world.path("gap.evidence"), &header, &parts);
    assert_eq!(verify(&world, "gap.evidence", "witnessed").0, Some(0));
    let (code, report) = reconcile(&world, &["ours.evidence", "gap.evidence"]);
    assert_eq!(code, Some(1), "{report:#}");
    let told = report["told"].as_array().unwrap();
    assert!(
        told.iter().all(|line| line["class"] == "missing_there"),
        "{told:#?}"
    );
    // We had it all the time.
    fs::write(world.path("left-out.receipt"), left_out.encode()).unwrap();
    let more = ["--they-hold", "left-out.receipt"];
    let (code, report) = reconcile(
        &world,
        &[&["ours.evidence", "gap.evidence"][..], &more].concat(),
    );
    assert_eq!(code, Some(0), "{report:#}");

    // A bit of a record is another one.
    let mut bytes = fs::read(world.path("theirs.evidence")).unwrap();
    let at = bytes
        .windows(last_bytes(&parts).len())
        .position(|window| window == last_bytes(&parts))
        .unwrap();
    let end = at + last_bytes(&parts).len() - 1;
    bytes[end] ^= 1;
    fs::write(world.path("flipped.evidence"), &bytes).unwrap();
    let (code, report) = verify(&world, "flipped.evidence", "witnessed");
    assert_eq!(code, Some(1), "{report:#}");
    let (code, report) = reconcile(&world, &["ours.evidence", "flipped.evidence"]);
    assert_eq!(code, Some(1));
    assert_eq!(report["not_verified"].as_array().unwrap().len(), 1);
    // Cut within an item, and no bundle at all.
    fs::write(world.path("short.evidence"), &bytes[..bytes.len() - 1]).unwrap();
    let (code, report) = verify(&world, "short.evidence", "signed");
    assert_eq!(
        (code, &report["failure"]["code"]),
        (Some(1), &json!("cbor_truncated"))
    );
    for name in ["trust", "left-out.receipt"] {
        fs::copy(world.path(name), world.path("other.evidence")).unwrap();
        let expected = if name == "trust" { 2 } else { 0 };
        assert_eq!(verify(&world, "other.evidence", "signed").0, Some(expected));
    }
}

/// The part of a bundle that holds the record of one receipt.
fn part(receipt: &Receipt) -> Part {
    let batch = receipt.batch.as_ref().unwrap();
    Part {
        seal: Some(Seal {
            commitment: batch.commitment.clone(),
            log_proof: receipt.log_proof.clone(),
            hashes: batch.path.clone(),
        }),
        records: vec![receipt.record.clone()],
        beacons: receipt.beacon.iter().cloned().collect(),
        ..Part::default()
    }
}

fn last_bytes(parts: &[Part]) -> &[u8] {
    parts.last().unwrap().records.last().unwrap()
}

#[test]
fn what_was_decided_is_decided_again() {
    let world = busy_world();
    let report = world.good(&["evidence", "replay", "--home", "acme"]);
    assert_eq!(report["follows"], true, "{report:#}");
    assert!(
        report["decided_again"].as_u64().unwrap() >= 10,
        "{report:#}"
    );
    assert!(report["balances"].as_u64().unwrap() >= 10, "{report:#}");
    assert_eq!(report["input_not_disclosed"], 0);
    assert_eq!(report["policy_set_not_given"], 0);
    let report = world.good(&["evidence", "replay", "--home", "globex"]);
    assert!(report["decided_again"].as_u64().unwrap() >= 7, "{report:#}");

    // An auditor has the bundle, the trust file and the policy set.
    let disclose = ["--disclose", "evaluation-input"];
    export(&world, "acme", &disclose, "audit.evidence");
    let replay = ["evidence", "replay", "audit.evidence", "--trust", "trust"];
    let with = |policy: &'static str| [&replay[..], &["--policy", policy]].concat();
    let report = world.good(&with("acme/policy"));
    assert!(
        report["decided_again"].as_u64().unwrap() >= 10,
        "{report:#}"
    );
    // Without it there is nothing to decide with, and that is said.
    let other = world.run(&with("globex/policy"));
    assert_eq!(other.code, Some(1), "{:#}", other.json);
    assert_eq!(other.json["follows"], false);
    assert_eq!(other.json["decided_again"], 0);
    assert_eq!(
        other.json["policy_sets_not_named"][0]["folder"],
        "globex/policy"
    );
    assert!(other.json["policy_set_not_given"].as_u64().unwrap() >= 10);
    // Nor does it help beside the right one: whoever gave it expected that something names it.
    let both = [&with("acme/policy")[..], &["--policy", "globex/policy"]].concat();
    let both = world.run(&both);
    assert_eq!(both.code, Some(1));
    assert!(both.json["decided_again"].as_u64().unwrap() >= 10);
    assert_eq!(both.json["differences"], json!([]));
    // Nor without what the policy was asked.
    export(&world, "acme", &[], "closed.evidence");
    let closed = ["evidence", "replay", "closed.evidence", "--trust", "trust"];
    let report = world.good(&[&closed[..], &["--policy", "acme/policy"]].concat());
    assert_eq!(report["decided_again"], 0);
    assert!(report["balances"].as_u64().unwrap() >= 10);

    // Acme states something else than it decided, each time in one place.
    for (name, change, says) in LIES {
        lie(&world, name, *change, says, &with("acme/policy"));
    }
}

/// Changes a record; the answer is whether it did.
type Change = fn(&mut Record) -> bool;

const LIES: &[(&str, Change, &str)] = &[
    (
        "another reason",
        |record| match &mut record.body {
            Body::Request(request) => {
                request.evaluation.reason = "because".parse().unwrap();
                true
            }
            _ => false,
        },
        "its reason is because",
    ),
    (
        "another policy",
        |record| match &mut record.body {
            Body::Request(request) => {
                request.evaluation.policies = vec!["other".parse().unwrap()];
                true
            }
            _ => false,
        },
        "other determined it",
    ),
    (
        "another tool",
        |record| match &mut record.body {
            Body::Request(request) => {
                request.action.tool = "refund_everything".parse().unwrap();
                true
            }
            _ => false,
        },
        "another tool",
    ),
    (
        "an allowance of what is forbidden",
        |record| match &mut record.body {
            Body::Decision(decision) if decision.evaluation.verdict == Verdict::Deny => {
                decision.evaluation.verdict = Verdict::Allow;
                decision.evaluation.reason = "policy_allows".parse().unwrap();
                true
            }
            _ => false,
        },
        "the policy set denies it",
    ),
    (
        "a balance",
        |record| match &mut record.body {
            Body::Request(request) if record.sequence.get() > 6 => {
                match request.reservations.first_mut() {
                    Some(line) => {
                        let more = line.remaining.get() + 1;
                        line.remaining = Amount::new(more);
                        true
                    }
                    None => false,
                }
            }
            _ => false,
        },
        "are left in",
    ),
    (
        "a price",
        |record| match &mut record.body {
            Body::Outcome(outcome) => match outcome.settlements.first_mut() {
                Some(line) => {
                    line.committed = Amount::new(0);
                    true
                }
                None => false,
            },
            _ => false,
        },
        "that were set aside",
    ),
];

/// Makes a record name the ids that its stream's records have now.
fn rename(record: &mut Record, ids: &HashMap<RecordId, RecordId>) {
    let now = |id: &mut RecordId| *id = ids.get(id).copied().unwrap_or(*id);
    record.previous.iter_mut().for_each(now);
    let channel = match &mut record.body {
        Body::Request(request) => Some(&mut request.channel),
        Body::Decision(decision) => decision.channel.as_mut(),
        Body::Outcome(outcome) => {
            now(&mut outcome.decision);
            outcome.channel.as_mut()
        }
        Body::Channel(control) => Some(&mut control.channel),
        Body::Control(_) => None,
    };
    if let Some(channel) = channel {
        channel.previous.iter_mut().for_each(now);
    }
}

/// Writes acme's bundle anew with one record changed and signed again: it verifies, since acme has
/// signed it, and does not follow.
fn lie(world: &World, name: &str, change: Change, says: &str, replay: &[&str]) {
    let pem = fs::read_to_string(world.path("acme/keys/enforcer.pem")).unwrap();
    let key = SigningKey::from_pem(&pem).unwrap();
    let (header, parts) = items(&world.path("audit.evidence"));
    let mut changed = None;
    // The ids that records have now.
    let mut ids: HashMap<RecordId, RecordId> = HashMap::new();
    let parts: Vec<Part> = parts
        .iter()
        .map(|part| {
            let records = part.records.iter().map(|bytes| {
                let record = UnverifiedRecord::parse(bytes).unwrap();
                let mut content = record.unverified_content().clone();
                if changed.is_none() && change(&mut content) {
                    changed = Some(content.sequence.get());
                }
                // All that comes after it names what is there now.
                rename(&mut content, &ids);
                let prepared = content.prepare(&header.operator, key.public().thumbprint());
                ids.insert(record.id(), prepared.id());
                prepared.sign(&key)
            });
            Part {
                records: records.collect(),
                disclosures: part.disclosures.clone(),
                ..Part::default()
            }
        })
        .collect();
    let lies = world.path("audit-lies.evidence");
    write(&lies, &header, &parts);
    let replay: Vec<&str> = replay
        .iter()
        .map(|word| match *word {
            "audit.evidence" => "audit-lies.evidence",
            word => word,
        })
        .collect();
    let said = world.run(&replay);
    assert_eq!(
        said.code,
        Some(1),
        "{name}: {} {:#}",
        said.stderr,
        said.json
    );
    let first = &said.json["first"];
    assert_eq!(
        first["sequence"].as_u64(),
        changed,
        "{name}: {:#}",
        said.json
    );
    let detail = first["detail"].as_str().unwrap();
    assert!(detail.contains(says), "{name}: {detail}");
    assert_eq!(said.json["not_verified"], json!([]), "{name}");
}

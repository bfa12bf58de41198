//! What a receipt discloses, what is taken out of it, and for whom it is.

use std::fs;

use counterfoil_protocol::digest::{ContentDigest, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, salted_digest};
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use serde_json::{Value, json};

use crate::world::World;

/// Gets the receipt of acme's first request, with everything disclosed.
fn open_receipt(world: &World, name: &str) -> Receipt {
    let records = world.records("acme");
    let request = records
        .iter()
        .find(|record| record["kind"] == "request")
        .unwrap();
    let sequence = request["sequence"].to_string();
    let get = ["receipt", "get", "--home", "acme", "--sequence", &sequence];
    world.good(
        &[
            &get[..],
            &["--disclose", "all", "--out", name, "--wait", "witnessed"],
        ]
        .concat(),
    );
    Receipt::parse(&fs::read(world.path(name)).unwrap()).unwrap()
}

fn verify(world: &World, file: &str, more: &[&str]) -> (Option<i32>, Value) {
    let said = world.run(&[&["verify", file, "--trust", "trust"][..], more].concat());
    (said.code, said.json["receipts"][0].clone())
}

fn world_with_a_request() -> World {
    let world = World::start();
    let mut agent = world.agent();
    agent
        .call("search", json!({ "query": "a lamp that glows" }))
        .unwrap();
    world
}

#[test]
fn what_is_redacted_is_hidden_and_the_rest_verifies() {
    let world = world_with_a_request();
    open_receipt(&world, "open.receipt");
    let (code, report) = verify(&world, "open.receipt", &[]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["hidden"], json!([]));
    let all = report["disclosed"].as_array().unwrap().clone();
    for field in ["parameters", "evaluation input"] {
        assert!(all.contains(&json!(field)), "{all:?}");
    }

    let hide = [
        "receipt",
        "redact",
        "open.receipt",
        "--hide",
        "parameters,evaluation-input",
    ];
    let redacted = world.good(&[&hide[..], &["--out", "less.receipt"]].concat());
    assert_eq!(redacted["taken_out"], 2);
    let (code, report) = verify(&world, "less.receipt", &["--level", "witnessed"]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["hidden"], json!(["parameters", "evaluation input"]));
    let bytes = fs::read(world.path("less.receipt")).unwrap();
    assert!(!bytes.windows(5).any(|five| five == b"glows"));

    // The other way to say it, and everything.
    let keep = ["receipt", "redact", "open.receipt", "--keep", "parameters"];
    let kept = world.good(&[&keep[..], &["--out", "kept.receipt"]].concat());
    assert_eq!(kept["disclosed"], json!(["parameters"]));
    assert_eq!(verify(&world, "kept.receipt", &[]).0, Some(0));
    let none = ["receipt", "redact", "open.receipt", "--hide", "all"];
    let none = world.good(&[&none[..], &["--out", "closed.receipt"]].concat());
    assert_eq!(none["disclosed"], json!([]));
    assert_eq!(verify(&world, "closed.receipt", &[]).0, Some(0));
    // Somebody has to say what.
    let said = world.run(&["receipt", "redact", "open.receipt", "--out", "x.receipt"]);
    assert_eq!(said.code, Some(2));
}

#[test]
fn a_presented_receipt_is_for_its_audience_alone() {
    let world = world_with_a_request();
    open_receipt(&world, "open.receipt");
    let present = ["receipt", "present", "open.receipt", "--home", "acme"];
    let to = ["--audience", "auditor.example", "--out", "to.receipt"];
    world.good(&[&present[..], &to].concat());
    let audience = ["--audience", "auditor.example", "--presented"];
    let (code, report) = verify(&world, "to.receipt", &audience);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["presented"]["presenter"], "acme.example");
    for other in [&[][..], &["--audience", "globex.example"]] {
        let (code, report) = verify(&world, "to.receipt", other);
        assert_eq!(code, Some(1));
        assert_eq!(report["failure"]["code"], "audience_mismatch", "{report:#}");
    }
    // What was presented to nobody was not presented to the auditor.
    let (code, report) = verify(&world, "open.receipt", &audience);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(verify(&world, "open.receipt", &audience[..2]).0, Some(0));
    // Nor can what was disclosed be swapped under the presentation.
    let presented = Receipt::parse(&fs::read(world.path("to.receipt")).unwrap()).unwrap();
    let mut less = presented.clone();
    less.disclosures.pop();
    fs::write(world.path("less.receipt"), less.encode()).unwrap();
    assert_eq!(verify(&world, "less.receipt", &audience).0, Some(1));
    // Redacting it makes it a receipt for everybody again.
    let hide = ["receipt", "redact", "to.receipt", "--hide", "parameters"];
    let redacted = world.good(&[&hide[..], &["--out", "again.receipt"]].concat());
    assert_eq!(redacted["presentation_taken_out"], true);
    assert_eq!(verify(&world, "again.receipt", &[]).0, Some(0));

    // The other side presents what it got.
    let get = [
        "receipt",
        "get",
        "--home",
        "globex",
        "--all",
        "--from",
        "acme.example",
    ];
    let got = world.good(&[&get[..], &["--wait", "witnessed", "--out", "got"]].concat());
    let file = got[0]["file"].as_str().unwrap();
    let present = ["receipt", "present", file, "--home", "globex"];
    world.good(&[&present[..], &to].concat());
    let (code, report) = verify(&world, "to.receipt", &audience);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["presented"]["presenter"], "globex.example");
}

#[test]
fn a_value_that_is_easy_to_guess_cannot_be_guessed_from_its_digest() {
    let world = World::start();
    let mut agent = world.agent();
    let refund = json!({ "ticket": "T-1001", "amount_cents": 100 });
    for _ in 0..2 {
        agent.call("refund", refund.clone()).unwrap();
    }
    drop(agent);
    let records = world.records("acme");
    let requests: Vec<String> = records
        .iter()
        .filter(|record| record["kind"] == "request")
        .map(|record| record["sequence"].to_string())
        .collect();
    let receipts: Vec<Receipt> = requests
        .iter()
        .map(|sequence| {
            let get = ["receipt", "get", "--home", "acme", "--sequence", sequence];
            let out = ["--disclose", "parameters", "--out", "it.receipt"];
            world.good(&[&get[..], &out].concat());
            Receipt::parse(&fs::read(world.path("it.receipt")).unwrap()).unwrap()
        })
        .collect();
    let held = |receipt: &Receipt| {
        let record = UnverifiedRecord::parse(&receipt.record).unwrap();
        let digest = record
            .unverified_content()
            .disclosable(DisclosedField::Parameters);
        digest.unwrap()
    };
    let opened = |receipt: &Receipt| receipt.disclosures[0].clone();
    let [first, second] = receipts.as_slice() else {
        panic!("{} requests", receipts.len());
    };
    // The same was asked for twice, and nobody can see that from the digests.
    assert_eq!(opened(first).content, opened(second).content);
    assert_ne!(held(first), held(second));
    assert_ne!(opened(first).salt, opened(second).salt);

    // Whoever knows all but the amount tries every amount there is, without the salt, with one
    // that is easily thought of, and with the salt of another record.
    let text = String::from_utf8(opened(first).content).unwrap();
    let guess = |cents: u32| text.replace("100", &cents.to_string()).into_bytes();
    let salts = [[0; 16], [0xff; 16], *opened(second).salt.as_bytes()].map(Salt::from_bytes);
    let mut found = Vec::new();
    for cents in 0..=10_000 {
        let guess = guess(cents);
        let mut guessed = vec![ContentDigest::of(&guess)];
        guessed.extend(salts.map(|salt| salted_digest(&salt, DisclosedField::Parameters, &guess)));
        assert!(!guessed.contains(&held(first)), "{cents}");
        let salt = opened(first).salt;
        if salted_digest(&salt, DisclosedField::Parameters, &guess) == held(first) {
            found.push(cents);
        }
    }
    // With the salt, which only the disclosure holds, it is found at once.
    assert_eq!(found, [100]);
    // And the salt is not elsewhere in the receipt.
    let closed = first.clone().redact(&[DisclosedField::Parameters]).encode();
    let salt = opened(first).salt;
    assert!(!closed.windows(16).any(|window| window == salt.as_bytes()));
}

//! Stock receipts: what `receipt export` writes is verified by programs of others, python-cwt and
//! scitt-cose, and they notice every bit that is flipped.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::binaries::{source, third_party};
use crate::world::World;

const FORMATS: [&str; 2] = ["rfc9942", "scitt"];

/// What others find in an export.
fn verified(format: &str, folder: &Path) -> Vec<Value> {
    let output = Command::new(third_party("venv/bin/python"))
        .arg(source("third-party/verify_stock.py"))
        .arg(format)
        .arg(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{format}: {said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    found.as_array().unwrap().clone()
}

/// The sequence of a record, and how many records its batch has.
fn sealed(world: &World, kind: &str) -> String {
    let records = world.records("acme");
    let found = records.iter().rev().find(|record| record["kind"] == kind);
    let sequence = found.unwrap()["sequence"].to_string();
    let arguments = ["receipt", "get", "--home", "acme", "--sequence", &sequence];
    let wait = ["--wait", "witnessed", "--out", "it.receipt"];
    world.good(&[&arguments[..], &wait].concat());
    "it.receipt".to_owned()
}

#[test]
fn others_verify_what_is_exported() {
    let world = World::start();
    let mut agent = world.agent();
    for word in ["lamp", "order", "green"] {
        agent.call("search", json!({ "query": word })).unwrap();
    }
    let file = sealed(&world, "outcome");
    for format in FORMATS {
        for (algorithm, number) in [("ed25519", -19), ("eddsa", -8)] {
            let folder = format!("{format}-{algorithm}");
            let arguments = ["receipt", "export", &file, "--format", format];
            let more = ["--home", "acme", "--algorithm", algorithm, "--out", &folder];
            let said = world.good(&[&arguments[..], &more].concat());
            let found = verified(format, &world.path(&folder));
            let names: Vec<_> = found.iter().map(|level| &level["statement"]).collect();
            assert_eq!(names, ["record", "commitment"], "{folder}");
            for (found, said) in found.iter().zip(said["levels"].as_array().unwrap()) {
                for fact in ["issuer", "algorithm", "index", "size", "root"] {
                    assert_eq!(found[fact], said[fact], "{folder}: {fact}");
                }
                assert_eq!(found["algorithm"], number);
                // Every byte of receipt and statement, but for the size, was flipped and missed.
                assert!(found["noticed"].as_u64().unwrap() > 500, "{found}");
            }
            assert_eq!(found[0]["issuer"], "acme.example");
            assert_eq!(found[1]["issuer"], "log.example/test");
        }
    }
}

#[test]
fn what_can_be_exported_by_whom() {
    let mut world = World::start();
    world
        .agent()
        .call("search", json!({ "query": "lamp" }))
        .unwrap();
    let file = sealed(&world, "request");
    let export = |out: &str, more: &[&str]| {
        let arguments = [
            "receipt", "export", &file, "--format", "rfc9942", "--out", out,
        ];
        world.run(&[&arguments[..], more].concat())
    };
    // Anybody who has the receipt can make the operator's one, and asks nobody for it.
    let said = export("alone", &["--trust", "trust", "--offline"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let found = verified("rfc9942", &world.path("alone"));
    assert_eq!(found.len(), 1);
    // Two exports in one folder would be taken for one.
    let record = std::fs::read(world.path("alone/record.cose")).unwrap();
    let said = export("alone", &["--home", "globex"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.stderr.contains("a folder of its own"),
        "{}",
        said.stderr
    );
    assert_eq!(
        std::fs::read(world.path("alone/record.cose")).unwrap(),
        record
    );
    assert!(!world.path("alone/commitment.cose").exists());
    // The other form needs the key of the record, which globex does not have.
    for more in [
        &["--trust", "trust", "--offline"][..],
        &["--home", "globex"],
    ] {
        let said = export("none", &[more, &["--algorithm", "eddsa"]].concat());
        assert_eq!(said.code, Some(2));
        assert!(said.stderr.contains("signed again"), "{}", said.stderr);
    }
    // Globex asks the same log as acme.
    assert_eq!(export("both", &["--home", "globex"]).code, Some(0));
    assert_eq!(verified("rfc9942", &world.path("both")).len(), 2);
    let said = export("none", &["--trust", "trust"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("--log"), "{}", said.stderr);
    // What is not verified is not exported.
    let text = std::fs::read_to_string(world.path("trust")).unwrap();
    let lines = text.lines().filter(|line| !line.contains("acme.example"));
    let lines: Vec<&str> = lines.collect();
    std::fs::write(world.path("stranger"), lines.join("\n") + "\n").unwrap();
    let said = world.run(&[
        "receipt",
        "export",
        &file,
        "--format",
        "scitt",
        "--trust",
        "stranger",
        "--offline",
        "--out",
        "none",
    ]);
    assert_eq!(said.code, Some(1));
    assert!(!world.path("none").exists());
    // The key of the record is rotated away: acme itself cannot sign for old verifiers any more.
    world.stop("acme");
    world.good(&["operator", "rotate", "--home", "acme"]);
    let eddsa = ["--home", "acme", "--algorithm", "eddsa"];
    let said = world.run(
        &[
            &["receipt", "export", &file, "--format", "rfc9942"][..],
            &["--out", "none"],
            &eddsa,
        ]
        .concat(),
    );
    assert_eq!(said.code, Some(2));
    let told = &said.stderr;
    assert!(told.contains("another key now"), "{told}");
    assert!(!told.contains("run this with its --home"), "{told}");
    let said = world.run(
        &[
            &["receipt", "export", &file, "--format", "rfc9942"][..],
            &["--out", "late", "--home", "acme"],
        ]
        .concat(),
    );
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

/// A batch of one record, and a log of one entry: paths without a hash.
#[test]
fn trees_of_one_leaf() {
    let mut world = World::start();
    // Acme's manifest is entry 0, and nothing else is in the log's first tree.
    let url = log_url(&world);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let keys = runtime().block_on(async {
        let receipt = client.get(format!("{url}/entries/0?size=1&alg=-8")).send();
        let receipt = receipt.await.unwrap().bytes().await.unwrap();
        let keys = client.get(format!("{url}/.well-known/scitt-keys")).send();
        let keys = keys.await.unwrap().bytes().await.unwrap();
        (receipt, keys)
    });
    assert!(
        keys.0
            .windows(5)
            .any(|bytes| bytes == [0x44, 0x83, 1, 0, 0x80])
    );
    assert_eq!(keys.1.first(), Some(&0x81));

    // A gateway that ends seals what it has: the last batch of an idle stream is a small one. One
    // is found that holds a single record.
    world.stop("acme");
    world.start_process("acme");
    let mut arguments = vec!["receipt", "get", "--home", "acme", "--all"];
    arguments.extend(["--wait", "witnessed", "--out", "all"]);
    let got = world.good(&arguments);
    let one = got.as_array().unwrap().iter().find_map(|receipt| {
        let file = receipt["file"].as_str().unwrap();
        let export = [
            "receipt", "export", file, "--format", "scitt", "--home", "acme",
        ];
        let out = format!("stock-{}", receipt["sequence"]);
        let more = ["--algorithm", "eddsa", "--out", &out];
        let said = world.good(&[&export[..], &more].concat());
        (said["levels"][0]["size"] == 1).then_some((out, said))
    });
    let (out, one) = one.expect("no batch has one record");
    assert_eq!(one["levels"][0]["index"], 0);
    let found = verified("scitt", &world.path(&out));
    assert_eq!(found[0]["size"], 1);
}

fn log_url(world: &World) -> String {
    let text = std::fs::read_to_string(world.path("acme/operator.toml")).unwrap();
    let table = text.split_once("[log]").unwrap().1;
    let line = table.lines().find_map(|line| line.strip_prefix("url = "));
    line.unwrap().trim_matches(['"', '/']).to_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

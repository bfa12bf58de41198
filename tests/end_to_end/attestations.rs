//! Evidence from elsewhere: what calls and results refer to stands in the records, and is reported as
//! referred to, never as verified.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::agent::{HttpAgent, StdioAgent};
use crate::binaries::{command, good, run, source, third_party};
use crate::world::{World, solo};

const KEY: &str = "dev.counterfoil/attestations";

/// A CyclesEvidence envelope and a DSSE envelope of an in-toto statement, as files.
fn evidence(directory: &Path) {
    let cycles = json!({
        "schema_version": "cycles-evidence/v0.1",
        "artifact_type": "reserve",
        "server_id": "https://cycles.example/v1",
        "signer_did": "b1".repeat(32),
        "issued_at_ms": 1_781_436_904_050_u64,
        "payload": { "reserve": { "request": {}, "response": {} } },
        "evidence_id": "84".repeat(32),
        "signature": "4b".repeat(64),
    });
    fs::write(directory.join("cycles.json"), cycles.to_string()).unwrap();
    let envelope = json!({
        "payloadType": "application/vnd.in-toto+json",
        "payload": "e30=",
        "signatures": [{ "keyid": "", "sig": "AA==" }],
    });
    fs::write(directory.join("build.json"), envelope.to_string()).unwrap();
}

/// What the command prints for a file.
fn entry(directory: &Path, file: &str, kind: &str, more: &[&str]) -> Value {
    let arguments = ["attestation", "digest", file, "--kind", kind];
    let printed = good(directory, &[&arguments[..], more].concat());
    printed[KEY][0].clone()
}

/// A tool whose results have this in `_meta`.
fn tool(directory: &Path, meta: &Value) -> StdioAgent {
    let mut wrapped = command(directory, &["mcp", "--home", "solo", "--"]);
    wrapped
        .arg(third_party("venv/bin/python"))
        .arg(source("third-party/attesting_tool.py"))
        .args([&meta.to_string(), "did.txt"]);
    StdioAgent::start(wrapped.stderr(Stdio::null()))
}

fn call(meta: &Value) -> Value {
    json!({ "name": "read_ticket", "arguments": { "id": "T-1001" }, "_meta": meta })
}

/// The last records of `solo`, whole.
fn last(directory: &Path, kind: &str) -> (u64, Value) {
    let list = good(directory, &["journal", "list", "--home", "solo"]);
    let found = list.as_array().unwrap().iter();
    let found = found.rev().find(|record| record["kind"] == kind).unwrap();
    let sequence = found["sequence"].as_u64().unwrap();
    let file = receipt(directory, "solo", sequence);
    let shown = good(directory, &["receipt", "show", &file]);
    (sequence, shown["record"].clone())
}

fn receipt(directory: &Path, home: &str, sequence: u64) -> String {
    let file = format!("{home}-{sequence}.receipt");
    let number = sequence.to_string();
    good(
        directory,
        &[
            "receipt",
            "get",
            "--home",
            home,
            "--sequence",
            &number,
            "--out",
            &file,
        ],
    );
    file
}

#[test]
fn calls_and_results_refer_to_evidence_from_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    solo(dir);
    evidence(dir);
    let place = "https://cycles.example/v1/evidence/8484";
    let cycles = entry(
        dir,
        "cycles.json",
        "cycles-evidence",
        &["--location", place],
    );
    let build = entry(dir, "build.json", "in-toto", &["--algorithm", "sha-512"]);
    assert_eq!(cycles["kind"], "cycles-evidence/v0.1");
    assert_eq!(build["kind"], "application/vnd.in-toto+dsse");

    let mut agent = tool(dir, &json!({ KEY: [build] }));
    let answer = agent.request("tools/call", call(&json!({ KEY: [cycles] })));
    // The gateway leaves the member where it is.
    assert_eq!(answer["result"]["_meta"], json!({ KEY: [build] }));
    assert!(agent.end().success());

    let (sequence, decision) = last(dir, "decision");
    assert_eq!(decision["attestations"], json!([cycles]));
    let (_, outcome) = last(dir, "outcome");
    assert_eq!(outcome["status"], "succeeded");
    assert_eq!(outcome["attestations"][0]["kind"], build["kind"]);
    assert_eq!(outcome["attestations"][0]["digest"], build["digest"]);

    let file = receipt(dir, "solo", sequence);
    let verify = |evidence: &str| {
        let level = ["--trust", "solo/trust", "--level", "signed"];
        let arguments = [&["verify", &file], &level[..], &["--attestation", evidence]].concat();
        run(dir, &arguments)
    };
    let found = verify("cycles.json");
    assert_eq!(found.code, Some(0));
    assert_eq!(found.json["attestations"][0]["referred_to"], true);
    let open = found.json["receipts"][0]["does_not_show"].to_string();
    assert!(
        open.contains("whether the evidence from elsewhere that it refers to holds"),
        "{open}"
    );
    // The outcome refers to this one, the decision does not; and bytes are compared, not JSON.
    assert_eq!(verify("build.json").code, Some(1));
    let text = fs::read_to_string(dir.join("cycles.json")).unwrap();
    fs::write(dir.join("spaced.json"), text + "\n").unwrap();
    let other = verify("spaced.json");
    assert_eq!(other.code, Some(1));
    assert_eq!(other.json["attestations"][0]["referred_to"], false);
    assert_eq!(other.json["verified"], true);
}

#[test]
fn what_is_malformed_is_refused_or_withheld() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    solo(dir);
    evidence(dir);
    let build = entry(dir, "build.json", "in-toto", &[]);
    let mut verified = build.clone();
    verified["verified"] = json!(true);

    let mut agent = tool(dir, &json!({}));
    for bad in [
        json!([]),
        json!([verified]),
        json!(vec![&build; 17]),
        json!("x"),
    ] {
        let answer = agent.request("tools/call", call(&json!({ KEY: bad })));
        let code = &answer["error"]["data"]["dev.counterfoil/refusal"]["code"];
        assert_eq!(code, "attestations_malformed", "{answer}");
    }
    assert!(!dir.join("did.txt").exists());
    let (_, control) = last(dir, "control");
    assert_eq!(control["reason"], "attestations_malformed");
    let answer = agent.request("tools/call", call(&json!({ KEY: [build] })));
    assert_eq!(answer["result"]["content"][0]["text"], "done");
    assert!(agent.end().success());

    // The tool has run; what it answers does not pass, and its outcome refers to nothing.
    let mut agent = tool(dir, &json!({ KEY: [verified] }));
    let answer = agent.request("tools/call", call(&json!({})));
    let code = &answer["error"]["data"]["dev.counterfoil/refusal"]["code"];
    assert_eq!(code, "attestations_malformed", "{answer}");
    assert!(agent.end().success());
    let (_, outcome) = last(dir, "outcome");
    assert_eq!(outcome["status"], "failed");
    assert_eq!(outcome["attestations"], json!([]));
    assert_eq!(
        fs::read_to_string(dir.join("did.txt"))
            .unwrap()
            .lines()
            .count(),
        2
    );

    // Nothing is shown to others as a place that is none.
    let place = ["--kind", "in-toto", "--location", "javascript:alert(1)"];
    let said = run(
        dir,
        &[&["attestation", "digest", "build.json"], &place[..]].concat(),
    );
    assert_eq!(said.code, Some(2));
    assert!(
        said.stderr.contains("a location begins with"),
        "{}",
        said.stderr
    );

    // A file that is not what it is said to be gets no member.
    let said = run(
        dir,
        &[
            "attestation",
            "digest",
            "build.json",
            "--kind",
            "cycles-evidence",
        ],
    );
    assert_eq!(said.code, Some(2));
    assert!(
        said.stderr.contains("not a CyclesEvidence envelope"),
        "{}",
        said.stderr
    );
}

#[test]
fn both_halves_refer_to_what_the_call_does() {
    let world = World::start();
    evidence(world.directory());
    let cycles = entry(world.directory(), "cycles.json", "cycles-evidence", &[]);
    let mut agent: HttpAgent = world.agent();
    agent
        .call_with(
            "search",
            json!({ "query": "lamp" }),
            json!({ KEY: [cycles] }),
        )
        .unwrap();
    for (home, kind) in [("acme", "request"), ("globex", "decision")] {
        let records = world.records(home);
        let found = records.iter().rev().find(|record| record["kind"] == kind);
        let sequence = found.unwrap()["sequence"].as_u64().unwrap();
        let file = receipt(world.directory(), home, sequence);
        let shown = world.good(&["receipt", "show", &file]);
        let named = &shown["record"]["attestations"][0];
        assert_eq!(named["digest"], cycles["digest"], "{home}");
    }
}

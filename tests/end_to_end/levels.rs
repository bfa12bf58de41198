//! How far evidence goes: signed, committed, logged, witnessed; and what a receipt discloses.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::agent::{Ended, StdioAgent};
use crate::binaries::{command, good, run, support_desk};
use crate::world::{World, solo};

/// A process that listens.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = command(directory, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets an agent of `solo` refund something.
fn work(directory: &Path) {
    let mut wrapped = command(directory, &["mcp", "--home", "solo", "--"]);
    wrapped.arg(support_desk());
    let mut agent = StdioAgent::start(wrapped.stderr(Stdio::null()));
    let arguments = json!({ "ticket": "T-1001", "amount_cents": 1234 });
    assert!(matches!(agent.call("refund", arguments), Ended::Done(_)));
    assert!(agent.end().success());
}

fn verify(directory: &Path, file: &str, level: &str) -> (Option<i32>, Value) {
    let said = run(
        directory,
        &["verify", file, "--trust", "solo/trust", "--level", level],
    );
    (said.code, said.json["receipts"][0].clone())
}

#[test]
fn without_a_log_evidence_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    solo(dir);
    work(dir);
    good(
        dir,
        &[
            "receipt",
            "get",
            "--home",
            "solo",
            "--sequence",
            "2",
            "--out",
            "2.receipt",
        ],
    );
    assert_eq!(verify(dir, "2.receipt", "committed").0, Some(0));
    let (code, report) = verify(dir, "2.receipt", "logged");
    assert_eq!(code, Some(1));
    assert_eq!(report["level"], "committed");
    assert_eq!(report["failure"]["code"], "level_not_reached");
    let open = report["does_not_show"].to_string();
    assert!(open.contains("do not rely on"), "{open}");
}

#[test]
fn with_a_log_alone_it_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let init = [
        "log",
        "init",
        "--dir",
        "log",
        "--origin",
        "log.example/alone",
    ];
    good(dir, &[&init[..], &["--listen", "127.0.0.1:0"]].concat());
    let log = Server::start(dir, &["log", "serve", "--dir", "log"]);
    let url = format!("http://{}", log.address);
    let init = [
        "init",
        "--home",
        "solo",
        "--operator",
        "solo.example",
        "--log",
        &url,
    ];
    let listen = ["--listen", "127.0.0.1:0", "--url", "http://127.0.0.1:7100"];
    let made = good(dir, &[&init[..], &listen].concat());
    let trust = fs::read_to_string(dir.join("log/trust")).unwrap();
    let line = made["trust_line"].as_str().unwrap();
    fs::write(dir.join("solo/trust"), format!("{trust}{line}\n")).unwrap();

    // Not without the token, and not with another one.
    let register = ["operator", "register", "--home", "solo"];
    for token in [
        &[][..],
        &["--token", "0000000000000000000000000000000000000000"],
    ] {
        let said = run(dir, &[&register[..], token].concat());
        assert_eq!(said.code, Some(2), "{token:?}");
        assert!(said.stderr.contains("token"), "{}", said.stderr);
    }
    good(
        dir,
        &[&register[..], &["--token-file", "log/admission.token"]].concat(),
    );
    // Again is the same again.
    let again = good(dir, &register);
    assert_eq!(again["manifests"][0]["index"], 0);

    work(dir);
    // What was sealed at the end of a session is published by whoever runs next.
    let gateway = Server::start(dir, &["gateway", "serve", "--home", "solo"]);
    let get = [
        "receipt",
        "get",
        "--home",
        "solo",
        "--sequence",
        "2",
        "--wait",
        "logged",
    ];
    good(dir, &[&get[..], &["--out", "2.receipt"]].concat());
    drop(gateway);
    assert_eq!(verify(dir, "2.receipt", "logged").0, Some(0));
    let (code, report) = verify(dir, "2.receipt", "witnessed");
    assert_eq!(code, Some(1));
    assert_eq!(report["level"], "logged");
    // Nobody but the operator vouches for the time.
    assert_eq!(report["not_after"], Value::Null);
    // Without being asked, the verifier wants the most that the trust file can show.
    let report = good(dir, &["verify", "2.receipt", "--trust", "solo/trust"]);
    assert_eq!(report["required"], "logged");
}

#[test]
fn a_receipt_discloses_what_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    solo(dir);
    let path = dir.join("solo/operator.toml");
    let text = fs::read_to_string(&path).unwrap();
    let kept = text.replace("keep_clear_text = false", "keep_clear_text = true");
    fs::write(&path, kept).unwrap();
    work(dir);
    let get = |sequence: &str, fields: &str, out: &str| {
        let arguments = ["receipt", "get", "--home", "solo", "--sequence", sequence];
        good(
            dir,
            &[&arguments[..], &["--disclose", fields, "--out", out]].concat(),
        );
        let shown = good(dir, &["receipt", "show", out]);
        assert_eq!(verify(dir, out, "committed").0, Some(0));
        shown["receipt"]["disclosures"].as_array().unwrap().clone()
    };
    let parameters = get("2", "parameters,evaluation-input", "2.receipt");
    assert_eq!(parameters.len(), 2);
    assert!(
        parameters[0]["text"]
            .as_str()
            .unwrap()
            .contains("\"amount_cents\":1234")
    );
    let result = get("3", "result", "3.receipt");
    assert!(
        result[0]["text"]
            .as_str()
            .unwrap()
            .contains("refunded 12.34 EUR")
    );

    // Without --disclose the same receipt says nothing of it; nor does any byte of the record.
    good(
        dir,
        &[
            "receipt",
            "get",
            "--home",
            "solo",
            "--sequence",
            "2",
            "--out",
            "closed.receipt",
        ],
    );
    let closed = fs::read(dir.join("closed.receipt")).unwrap();
    assert!(!closed.windows(4).any(|four| four == b"1234"));
    // What is disclosed must be what was committed to.
    let mut changed = fs::read(dir.join("2.receipt")).unwrap();
    let at = changed.windows(4).position(|four| four == b"1234").unwrap();
    changed[at] = b'9';
    fs::write(dir.join("changed.receipt"), changed).unwrap();
    let (code, report) = verify(dir, "changed.receipt", "committed");
    assert_eq!(code, Some(1));
    assert_eq!(report["failure"]["code"], "disclosure_mismatch");
}

#[test]
fn manifests_of_others_come_from_the_log() {
    let world = World::start();
    let fetched = world.good(&["operator", "fetch", "--home", "acme", "globex.example"]);
    assert_eq!(fetched["versions"], 1);
    let shown = world.good(&["operator", "show", "--home", "acme"]);
    let names: Vec<&str> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|manifest| manifest["operator"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["acme.example", "globex.example"]);
    // Not from whoever the trust file does not name, whatever the log says.
    let said = world.run(&["operator", "fetch", "--home", "acme", "other.example"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("trust"), "{}", said.stderr);
    // The line that others need is the one that they have.
    let line = world.good(&["operator", "trust-line", "--home", "globex"]);
    let line = line["trust_lines"][0].as_str().unwrap();
    assert!(
        fs::read_to_string(world.path("trust"))
            .unwrap()
            .contains(line)
    );
}

//! A key that is not known, in any file, is an error that names the file and the line.

use std::fs;
use std::path::Path;

use crate::binaries::{good, run};
use crate::world::solo;

/// Writes `text` over the file and runs the command, which must fail with these words.
fn refused(
    directory: &Path,
    file: &str,
    change: impl Fn(&str) -> String,
    arguments: &[&str],
    words: &[&str],
) {
    let path = directory.join(file);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, change(&text)).unwrap();
    let said = run(directory, arguments);
    fs::write(&path, text).unwrap();
    assert_eq!(said.code, Some(2), "{file}: {}", said.stderr);
    for word in words {
        assert!(
            said.stderr.contains(word),
            "{file} lacks {word:?}: {}",
            said.stderr
        );
    }
}

/// The same text with a line put in front of its first line.
fn before(line: &'static str) -> impl Fn(&str) -> String {
    move |text| format!("{line}\n{text}")
}

#[test]
fn of_an_operator() {
    let directory = tempfile::tempdir().unwrap();
    solo(directory.path());
    let serve = ["gateway", "serve", "--home", "solo"];
    let mcp = ["mcp", "--home", "solo", "--", "true"];
    for arguments in [&serve[..], &mcp[..]] {
        let at = |line: usize| format!("operator.toml:{line}:");
        refused(
            directory.path(),
            "solo/operator.toml",
            before("keep_cleartext = true"),
            arguments,
            &[&at(1), "keep_cleartext"],
        );
        refused(
            directory.path(),
            "solo/operator.toml",
            |text| format!("{text}\n[[server]]\nname = \"desk\"\n"),
            arguments,
            &["operator.toml:", "server"],
        );
        refused(
            directory.path(),
            "solo/operator.toml",
            |text| text.replace("interval_millis = 1000", "interval_milis = 1000"),
            arguments,
            &["operator.toml:", "interval_milis"],
        );
    }
}

#[test]
fn of_a_log_and_a_witness() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    good(
        dir,
        &[
            "witness",
            "init",
            "--dir",
            "w",
            "--name",
            "witness.example/w",
            "--listen",
            "127.0.0.1:0",
        ],
    );
    good(
        dir,
        &[
            "log",
            "init",
            "--dir",
            "log",
            "--origin",
            "log.example/x",
            "--listen",
            "127.0.0.1:0",
        ],
    );
    refused(
        dir,
        "log/log.toml",
        before("lisen = \"127.0.0.1:0\""),
        &["log", "serve", "--dir", "log"],
        &["log.toml", "line 1", "lisen"],
    );
    refused(
        dir,
        "w/witness.toml",
        |text| format!("# A witness.\nlog = []\n{text}"),
        &["witness", "serve", "--dir", "w"],
        &["witness.toml", "line 2", "log"],
    );
}

#[test]
fn of_a_trust_file() {
    let directory = tempfile::tempdir().unwrap();
    solo(directory.path());
    good(
        directory.path(),
        &[
            "receipt",
            "get",
            "--home",
            "solo",
            "--sequence",
            "0",
            "--out",
            "0.receipt",
        ],
    );
    refused(
        directory.path(),
        "solo/trust",
        before("operater x"),
        &["verify", "0.receipt", "--trust", "solo/trust"],
        &["solo/trust", "line 1", "operater"],
    );
    // Cut off in the middle of a line, as by a download that broke.
    refused(
        directory.path(),
        "solo/trust",
        |text| text.trim_end().to_owned(),
        &["verify", "0.receipt", "--trust", "solo/trust"],
        &["solo/trust", "line"],
    );
}

#[test]
fn homes_logs_and_witnesses_are_never_made_twice() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let commands: [&[&str]; 3] = [
        &["init", "--home", "a", "--operator", "a.example"],
        &["log", "init", "--dir", "l", "--origin", "log.example/x"],
        &[
            "witness",
            "init",
            "--dir",
            "w",
            "--name",
            "witness.example/w",
        ],
    ];
    for arguments in commands {
        good(dir, arguments);
        let said = run(dir, arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}");
        assert!(said.stderr.contains("exists already"), "{}", said.stderr);
    }
}

#[test]
fn what_is_no_receipt_is_an_input_error() {
    let directory = tempfile::tempdir().unwrap();
    solo(directory.path());
    fs::write(directory.path().join("x.receipt"), "not a receipt").unwrap();
    for (arguments, code) in [
        (&["verify", "x.receipt", "--trust", "solo/trust"][..], 2),
        (&["verify", "none.receipt", "--trust", "solo/trust"], 2),
        (&["verify", "x.receipt", "--trust", "none"], 2),
        (&["verify", "x.receipt"], 2),
        (&["receipt", "show", "x.receipt"], 2),
        (&["journal", "list", "--home", "none"], 2),
        (&["operator", "show", "--home", "none"], 2),
        (&["receipt", "get", "--home", "solo", "--sequence", "99"], 2),
        (&["journal", "verify", "--home", "none"], 2),
    ] {
        let said = run(directory.path(), arguments);
        assert_eq!(
            said.code,
            Some(code),
            "{arguments:?}: {} {:#}",
            said.stderr,
            said.json
        );
    }
}

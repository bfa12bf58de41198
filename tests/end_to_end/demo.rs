//! The demo, as the README says to run it.

use std::collections::BTreeSet;

use crate::binaries::{counterfoil, good, run};
use crate::offline::log_entries;

#[test]
fn the_demo_passes_and_keeps_what_it_made() {
    let directory = tempfile::tempdir().unwrap();
    let report = good(directory.path(), &["demo", "--dir", "kept"]);
    assert_eq!(report["passed"], true, "{report:#}");
    assert_eq!(report["problems"].as_array().unwrap().len(), 0);
    let calls = report["calls"].as_array().unwrap();
    assert!(calls.len() >= 30);
    for code in [
        "mail_outside",
        "policy_forbids",
        "unknown_tool",
        "budget_exhausted",
        "parameters_mismatch",
    ] {
        assert!(calls.iter().any(|call| call["refused"] == code), "{code}");
    }
    assert!(report["receipts"]["files"].as_u64().unwrap() > 100);
    assert_eq!(report["receipts"]["files"], report["receipts"]["verified"]);
    assert!(report["seconds"].as_f64().unwrap() < 60.0);

    // What it kept verifies again, without any of its processes.
    let kept = directory.path().join("kept");
    let receipt = calls[5]["globex_receipt"].as_str().unwrap();
    let again = run(
        &kept,
        &[
            "verify",
            receipt,
            "--trust",
            "trust",
            "--level",
            "witnessed",
        ],
    );
    assert_eq!(again.code, Some(0), "{:#}", again.json);
    // And none of them is left.
    let left = std::process::Command::new("pgrep")
        .args(["-f", &format!("{}.*--home", counterfoil().display())])
        .current_dir(&kept)
        .output();
    if let Ok(left) = left {
        for id in String::from_utf8_lossy(&left.stdout).lines() {
            let at = std::fs::read_link(format!("/proc/{id}/cwd"));
            assert!(at.is_ok_and(|at| at != kept), "process {id} is left");
        }
    }
}

#[test]
fn with_the_log_killed_it_passes() {
    passes_without("log");
}

#[test]
fn with_the_first_witness_killed_it_passes() {
    passes_without("w1");
}

#[test]
fn with_the_second_witness_killed_it_passes() {
    passes_without("w2");
}

#[test]
fn with_the_agents_gateway_killed_it_passes() {
    passes_without("acme");
}

#[test]
fn with_the_tools_gateway_killed_it_passes() {
    passes_without("globex");
}

#[test]
fn with_the_tool_servers_killed_it_passes() {
    passes_without("tools");
}

/// The demo passes although one of its processes dies in the middle: no record is missing, no batch
/// or entry is there twice, every receipt verifies, and every call came out as without that.
fn passes_without(victim: &str) {
    let directory = tempfile::tempdir().unwrap();
    let report = good(
        directory.path(),
        &["demo", "--dir", "kept", "--kill", victim],
    );
    assert_eq!(report["passed"], true, "{report:#}");
    assert_eq!(report["killed"], victim);
    assert!(report["receipts"]["files"].as_u64().unwrap() > 100);
    assert_eq!(report["receipts"]["files"], report["receipts"]["verified"]);
    let commands: Vec<&str> = report["commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    let killed = commands
        .iter()
        .position(|line| line.starts_with("kill -9 ") || line.starts_with("pkill -9 "))
        .expect("nothing was killed");
    let starts = |lines: &[&str]| lines.iter().filter(|line| line.ends_with(" &")).count();
    assert_eq!(starts(&commands[..killed]), 5);
    assert_eq!(
        starts(&commands[killed..]),
        usize::from(victim != "tools"),
        "{commands:#?}"
    );
    for journal in report["journals"].as_array().unwrap() {
        assert_eq!(journal["verified"], true, "{journal:#}");
        assert_eq!(journal["open_calls"], 0, "{journal:#}");
    }
    assert_eq!(report["log"]["ok"], true);
    let entries = log_entries(&directory.path().join("kept/log"));
    assert_eq!(report["log"]["size"], entries.len());
    let distinct: BTreeSet<&Vec<u8>> = entries.iter().collect();
    assert_eq!(entries.len(), distinct.len(), "the log has an entry twice");
}

#[test]
fn a_demo_never_writes_into_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("mine")).unwrap();
    let said = run(directory.path(), &["demo", "--dir", "mine"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.stderr.contains("does not exist yet"),
        "{}",
        said.stderr
    );
}

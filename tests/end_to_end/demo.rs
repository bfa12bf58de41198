//! The demo, as the README says to run it.

use crate::binaries::{counterfoil, good, run};

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

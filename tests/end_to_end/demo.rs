//! The demo, as the README says to run it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

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
        "contract_target",
        "contract_action",
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
    the_contract_is_kept(&report, &kept);
    a_request_was_witnessed_before_it_was_executed(&report, &kept);
    both_halves_match(&report, &kept);
    what_is_redacted_is_hidden(&report, &kept);
    globex_is_convicted_and_nobody_else(&report, &kept);
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

fn the_contract_is_kept(report: &Value, kept: &Path) {
    let contract = &report["contract"];
    for operator in ["acme", "globex"] {
        assert_eq!(contract["standing"][operator], "in_force", "{contract:#}");
        let digest = contract["contract"].as_str().unwrap();
        let shown = good(kept, &["contract", "show", "--home", operator, digest]);
        assert_eq!(shown["standing"], "in_force");
        assert_eq!(shown["terms"]["levels"], contract["levels"]);
    }
    assert_eq!(contract["calls_under_it"], contract["calls_between"]);
    assert!(contract["calls_under_it"].as_u64().unwrap() >= 20);
    let verify = ["contract", "verify", "desk.contract", "--trust", "trust"];
    assert_eq!(good(kept, &verify)["state"], "accepted");
    // What is outside of it was refused by acme, in a record that names it, and never left.
    let outside = contract["outside"].as_array().unwrap();
    assert_eq!(outside.len(), 2, "{contract:#}");
    for one in outside {
        let call = call(report, one);
        assert_eq!(call["refused"], one["refused"]);
        assert_eq!(call["globex_receipt"], Value::Null);
        let refusal = receipt(kept, &call["acme_receipt"]);
        assert_eq!(refusal["record"]["kind"], "decision");
        assert_eq!(refusal["record"]["evaluation"]["verdict"], "deny");
        assert_eq!(refusal["record"]["contract"], contract["contract"]);
    }
}

fn a_request_was_witnessed_before_it_was_executed(report: &Value, kept: &Path) {
    let witnessed = &report["witnessed_call"];
    let call = call(report, witnessed);
    assert_eq!(call["tool"], "refund");
    assert_eq!(call["millis"], witnessed["millis"]);
    assert!(witnessed["calls"].as_u64().unwrap() >= 3, "{witnessed:#}");
    let request = receipt(kept, &call["acme_receipt"]);
    let decision = receipt(kept, &call["globex_receipt"]);
    assert_eq!(decision["record"]["request"], request["record"]["id"]);
    assert_eq!(decision["record"]["evidence"], "witnessed");
    // The witnesses' clocks say so too, to the second.
    let cosigned = request["not_after"].as_str().unwrap();
    let decided = decision["record"]["time"].as_str().unwrap();
    assert!(cosigned[..19] <= decided[..19], "{cosigned} {decided}");
    // Of a call that needs no more, globex states no more.
    let calls = report["calls"].as_array().unwrap();
    let other = calls
        .iter()
        .find(|call| call["tool"] == "search" && call["transport"] == "http")
        .unwrap();
    let decision = receipt(kept, &other["globex_receipt"]);
    assert_eq!(decision["record"]["evidence"], "signed");
}

fn both_halves_match(report: &Value, kept: &Path) {
    let reconciliation = &report["reconciliation"];
    assert_eq!(reconciliation["matched"], true, "{reconciliation:#}");
    assert_eq!(reconciliation["calls"], report["contract"]["calls_between"]);
    for (class, count) in reconciliation["classes"].as_object().unwrap() {
        let expected = match class.as_str() {
            "matched" => reconciliation["calls"].clone(),
            _ => json!(0),
        };
        assert_eq!(*count, expected, "{class}");
    }
    let again = good(kept, &RECONCILE);
    assert_eq!(again["classes"], reconciliation["classes"]);
}

fn what_is_redacted_is_hidden(report: &Value, kept: &Path) {
    let redacted = &report["redacted"];
    assert_eq!(redacted["holds_the_parameters"], false);
    assert_eq!(redacted["open"]["holds_the_parameters"], true);
    assert_eq!(redacted["open"]["hidden"], json!([]));
    let verified = receipt(kept, &redacted["file"]);
    assert_eq!(verified["level"], "witnessed");
    assert_eq!(
        verified["hidden"],
        json!(["parameters", "evaluation input", "contract"])
    );
    assert_eq!(verified["record"]["id"], redacted["id"]);
    // The open one is of the same record, and tells what was asked for.
    let open = receipt(kept, &redacted["open"]["file"]);
    assert_eq!(open["record"], verified["record"]);
    let holds = |file: &Value| {
        let bytes = fs::read(kept.join(file.as_str().unwrap())).unwrap();
        bytes.windows(6).any(|window| window == b"T-1001")
    };
    assert!(holds(&redacted["open"]["file"]));
    assert!(!holds(&redacted["file"]));
}

fn globex_is_convicted_and_nobody_else(report: &Value, kept: &Path) {
    let dispute = &report["dispute"];
    // What is denied is an outcome that globex signed, that its journal holds and that was witnessed.
    let outcome = receipt(kept, &dispute["outcome"]["file"]);
    assert_eq!(outcome["record"]["operator"], "globex.example");
    assert_eq!(outcome["record"]["kind"], "outcome");
    assert_eq!(outcome["record"]["status"], "succeeded");
    let honest = dispute["honest_globex_says"].as_str().unwrap();
    assert!(honest.contains("record_is_ours"), "{honest}");
    assert_eq!(dispute["denial"]["signed_by_globex"], true);
    assert_eq!(dispute["contradicting"], 1);

    // The arbiter has three files. No process of the demo is left to ask.
    let arbiter = kept.join("arbiter");
    let mut files: Vec<String> = fs::read_dir(&arbiter)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["altered.fault", PROOF, "trust"]);
    let verify = |file: &str, trust: &str| {
        let said = run(&arbiter, &["fault", "verify", file, "--trust", trust]);
        (said.code, said.json)
    };
    let (code, verdict) = verify(PROOF, "trust");
    assert_eq!(code, Some(0), "{verdict:#}");
    assert_eq!(verdict["convicts"], true);
    assert_eq!(verdict["accused"], "globex.example");
    assert_eq!(verdict["kind"], "own_record_denied");
    assert_eq!(dispute["arbiter"]["finding"], verdict["finding"]);

    // An altered proof convicts nobody, whichever bit it is of what globex has signed. (Before that
    // come the lines of the witnesses. One whose name is changed is not one that anybody trusts, and
    // nothing depends on it here.)
    let (code, altered) = verify("altered.fault", "trust");
    assert_eq!(code, Some(1), "{altered:#}");
    assert_eq!(altered["failure"]["code"], "signature_invalid");
    assert_eq!(dispute["altered"]["convicts"], false);
    let proof = fs::read(arbiter.join(PROOF)).unwrap();
    let mark = b"application/counterfoil-record+cose";
    let signed = proof
        .windows(mark.len())
        .position(|window| window == mark)
        .unwrap();
    for step in 0..20 {
        let bit = signed * 8 + (proof.len() - signed) * 8 / 20 * step + step % 8;
        let mut bytes = proof.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(arbiter.join("flipped.fault"), bytes).unwrap();
        let (code, flipped) = verify("flipped.fault", "trust");
        assert!(matches!(code, Some(1 | 2)), "bit {bit}: {flipped:#}");
        assert_eq!(flipped["convicts"], false, "bit {bit}");
    }
    // Nor does it for somebody whose trust file does not name globex.
    let trust = fs::read_to_string(arbiter.join("trust")).unwrap();
    let without: Vec<&str> = trust
        .lines()
        .filter(|line| !line.contains("globex.example"))
        .collect();
    fs::write(arbiter.join("other"), without.join("\n") + "\n").unwrap();
    let (code, other) = verify(PROOF, "other");
    assert_eq!((code, &other["convicts"]), (Some(1), &json!(false)));
    assert_eq!(other["failure"]["code"], "operator_unknown");

    // All the evidence there is convicts globex of this and of nothing else, and nobody else.
    let all = ["denial.receipt", "acme.evidence", "globex.evidence"];
    let more = ["globex-journal.evidence", "desk.contract", "--out", "all"];
    let prove = ["fault", "prove", "auto", "--trust", "trust"];
    let prove = [&prove[..], &all, &more].concat();
    let found = good(kept, &prove);
    let faults = found["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert_eq!(faults[0]["accused"], "globex.example");
    assert_eq!(faults[0]["kind"], "own_record_denied");
    let acme = run(kept, &[&prove[..], &["--accused", "acme.example"]].concat());
    assert_eq!((acme.code, &acme.json["faults"]), (Some(1), &json!([])));
    // Without the denial there is none at all.
    let without: Vec<&str> = prove
        .into_iter()
        .filter(|word| *word != "denial.receipt")
        .collect();
    let said = run(kept, &without);
    assert_eq!((said.code, &said.json["faults"]), (Some(1), &json!([])));
    // Whoever compares both halves sees which call it is about.
    let held = [&RECONCILE[..], &["--we-hold", "denial.receipt"]].concat();
    let said = run(kept, &held);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.json["classes"]["contradicting"], 1);
    let told = &said.json["told"][0];
    let request = receipt(kept, &call(report, dispute)["acme_receipt"]);
    assert_eq!(told["subject"]["request"], request["record"]["id"]);
}

const PROOF: &str = "globex.example.own_record_denied.fault";
const RECONCILE: [&str; 8] = [
    "evidence",
    "reconcile",
    "acme.evidence",
    "globex.evidence",
    "--trust",
    "trust",
    "--contract",
    "desk.contract",
];

/// The call that a part of the report is about.
fn call<'a>(report: &'a Value, part: &Value) -> &'a Value {
    let number = usize::try_from(part["call"].as_u64().unwrap()).unwrap();
    &report["calls"][number - 1]
}

/// A receipt that was kept, verified with the trust file alone.
fn receipt(kept: &Path, file: &Value) -> Value {
    let file = file.as_str().unwrap();
    let verify = ["verify", file, "--trust", "trust", "--level", "witnessed"];
    good(kept, &verify)["receipts"][0].clone()
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

//! A cut tail, a deleted or edited row, an emptied or swapped journal: found by `journal verify`,
//! and at start.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::agent::{Ended, HttpAgent};
use crate::binaries::{command, run};
use crate::world::{World, solo};

/// A world that has worked for a while and stands still: both gateways have ended in order.
fn worked() -> World {
    let mut world = World::start();
    let mut agent = world.agent();
    for ticket in ["T-1001", "T-1002", "T-1003"] {
        let ended = agent.call("read_ticket", json!({ "id": ticket })).unwrap();
        assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
    }
    let arguments = [
        "receipt",
        "get",
        "--home",
        "acme",
        "--all",
        "--wait",
        "witnessed",
    ];
    world.good(&[arguments.as_slice(), &["--out", "before"]].concat());
    world.stop("acme");
    world
}

/// What `journal verify` says of acme's journal.
fn verify(world: &World) -> (Option<i32>, Value, String) {
    let said = world.run(&["journal", "verify", "--home", "acme"]);
    (said.code, said.json, said.stderr)
}

/// Changes acme's journal behind its back, and the mark beside it so that it fits.
fn change(world: &World, sql: &str) {
    let connection = Connection::open(world.path("acme/journal.sqlite")).unwrap();
    connection.execute_batch(sql).unwrap();
    let count = "SELECT COALESCE(MAX(sequence) + 1, 0) FROM record";
    let records: u64 = connection.query_row(count, (), |row| row.get(0)).unwrap();
    let path = world.path("acme/journal.sqlite.mark");
    let mark = fs::read_to_string(&path).unwrap();
    let (stream, _) = mark.split_once(' ').unwrap();
    fs::write(&path, format!("{stream} {records:020}\n")).unwrap();
}

/// Acme starts, or not; in no case does a call reach the tool.
fn no_call_runs(world: &mut World, codes: &[&str]) {
    let before = world.did().len();
    world.start_process("acme");
    let told = match HttpAgent::connect(&world.url()) {
        // The refusal of the handshake names the reason.
        Err(error) => error,
        Ok(mut agent) => {
            let ended = agent.call("search", json!({ "query": "lamp" })).unwrap();
            ended.code().to_owned()
        }
    };
    assert!(
        codes.iter().any(|code| told.contains(code)),
        "none of {codes:?}: {told}"
    );
    assert_eq!(world.did().len(), before);
}

#[test]
fn an_untouched_journal_is_whole() {
    let world = worked();
    let (code, report, _) = verify(&world);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["verified"], true);
    let confirmed = report["confirmed_by"].to_string();
    assert!(
        confirmed.contains("log") && confirmed.contains("globex.example"),
        "{confirmed}"
    );
}

#[test]
fn without_anybody_to_ask_it_is_not_confirmed() {
    let mut world = worked();
    world.stop("log");
    let (code, report, _) = verify(&world);
    assert_eq!(code, Some(1));
    assert_eq!(report["findings"], json!([]));
    assert_eq!(report["not_asked"].as_array().unwrap().len(), 1);
    assert_eq!(report["verified"], false);
    assert_eq!(report["holds_together"], true);
    only_holds_together(world.directory(), "acme");
}

#[test]
fn where_there_is_nobody_to_ask_it_is_not_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    solo(directory.path());
    let arguments = ["journal", "verify", "--home", "solo"];
    let said = run(directory.path(), &arguments);
    assert_eq!(said.code, Some(1), "{:#}", said.json);
    assert_eq!(said.json["verified"], false);
    assert_eq!(said.json["holds_together"], true);
    assert_eq!(said.json["confirmed_by"], json!([]));
    let text = printed(directory.path(), &arguments);
    assert!(text.contains("NOT CONFIRMED"), "{text}");
    only_holds_together(directory.path(), "solo");
}

/// Whoever asks nobody gets what can be said alone, and is told what cannot.
fn only_holds_together(directory: &Path, home: &str) {
    let arguments = ["journal", "verify", "--home", home, "--offline"];
    let said = run(directory, &arguments);
    assert_eq!(said.code, Some(0), "{:#}", said.json);
    assert_eq!(said.json["holds_together"], true);
    assert_eq!(said.json["verified"], false);
    assert_eq!(said.json["confirmed_by"], json!([]));
    let text = printed(directory, &arguments);
    assert!(text.contains("Nobody has confirmed its end"), "{text}");
    assert!(!text.contains("WHOLE"), "{text}");
}

/// What a command prints for people.
fn printed(directory: &Path, arguments: &[&str]) -> String {
    let output = command(directory, arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_cut_tail_is_found() {
    let mut world = worked();
    // Everything from some batch on, cleanly: alone, the rest looks like a good journal.
    change(
        &world,
        "DELETE FROM record WHERE sequence >= (SELECT MAX(first) FROM batch);
         DELETE FROM record_id WHERE sequence >= (SELECT MAX(first) FROM batch);
         DELETE FROM batch WHERE number = (SELECT MAX(number) FROM batch);",
    );
    let (code, report, _) = verify(&world);
    assert_eq!(code, Some(1), "{report:#}");
    assert!(findings(&report).contains(&"log".to_owned()), "{report:#}");
    no_call_runs(&mut world, &["log_disagrees", "journal_broken"]);
}

#[test]
fn a_tail_that_only_the_counterparty_saw_is_missed_too() {
    let mut world = World::start();
    let mut agent = world.agent();
    agent
        .call("read_ticket", json!({ "id": "T-1001" }))
        .unwrap();
    world.kill("acme");
    // Records that are in no batch the log has: only globex has seen them.
    change(
        &world,
        "DELETE FROM record WHERE sequence >=
           (SELECT COALESCE(MAX(first + count), 1) FROM batch WHERE log_proof IS NOT NULL);
         DELETE FROM batch WHERE log_proof IS NULL;",
    );
    let (code, report, stderr) = verify(&world);
    assert_eq!(code, Some(1), "{stderr} {report:#}");
}

#[test]
fn a_deleted_row_is_found() {
    let mut world = worked();
    change(&world, "DELETE FROM record WHERE sequence = 3;");
    let (code, report, _) = verify(&world);
    assert_eq!(code, Some(1));
    assert!(
        findings(&report).contains(&"chain".to_owned()),
        "{report:#}"
    );
    no_call_runs(&mut world, &["journal_broken"]);
}

#[test]
fn an_edited_row_is_found() {
    let mut world = worked();
    // One bit of one signature.
    let connection = Connection::open(world.path("acme/journal.sqlite")).unwrap();
    let mut bytes: Vec<u8> = connection
        .query_row("SELECT bytes FROM record WHERE sequence = 2", (), |row| {
            row.get(0)
        })
        .unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    connection
        .execute("UPDATE record SET bytes = ?1 WHERE sequence = 2", (bytes,))
        .unwrap();
    drop(connection);
    let (code, report, _) = verify(&world);
    assert_eq!(code, Some(1));
    assert!(
        findings(&report).contains(&"chain".to_owned()),
        "{report:#}"
    );
    no_call_runs(&mut world, &["journal_broken"]);
}

#[test]
fn an_emptied_journal_never_verifies() {
    let mut world = worked();
    change(
        &world,
        "DELETE FROM record; DELETE FROM record_id; DELETE FROM received; DELETE FROM batch;",
    );
    for arguments in [
        &["journal", "verify", "--home", "acme"][..],
        &["journal", "verify", "--home", "acme", "--offline"],
    ] {
        let said = world.run(arguments);
        assert_eq!(said.code, Some(1), "{arguments:?} {:#}", said.json);
    }
    no_call_runs(&mut world, &["journal_broken", "log_disagrees"]);
}

#[test]
fn a_journal_file_without_content_is_refused() {
    let mut world = worked();
    remove_journal(&world);
    fs::write(world.path("acme/journal.sqlite"), "").unwrap();
    let (code, _, stderr) = verify(&world);
    assert_eq!(code, Some(2), "{stderr}");
    no_call_runs(&mut world, &["journal_unavailable"]);
}

#[test]
fn a_swapped_journal_is_found() {
    let mut world = worked();
    remove_journal(&world);
    // Of another operator.
    world.stop("globex");
    copy_journal(&world.path("globex"), &world.path("acme"));
    world.start_process("globex");
    let (code, _, stderr) = verify(&world);
    assert_ne!(code, Some(0), "{stderr}");
    no_call_runs(&mut world, &["journal_foreign"]);
}

#[test]
fn an_older_copy_of_the_journal_is_found() {
    let mut world = worked();
    fs::create_dir(world.path("copy")).unwrap();
    copy_journal(&world.path("acme"), &world.path("copy"));
    world.start_process("acme");
    world
        .agent()
        .call("search", json!({ "query": "lamp" }))
        .unwrap();
    let arguments = [
        "receipt",
        "get",
        "--home",
        "acme",
        "--all",
        "--wait",
        "witnessed",
    ];
    world.good(&[arguments.as_slice(), &["--out", "after"]].concat());
    world.stop("acme");
    remove_journal(&world);
    copy_journal(&world.path("copy"), &world.path("acme"));
    let (code, report, _) = verify(&world);
    assert_eq!(code, Some(1), "{report:#}");
    let found = findings(&report);
    assert!(found.contains(&"log".to_owned()), "{report:#}");
    assert!(found.contains(&"counterparty".to_owned()), "{report:#}");
    no_call_runs(&mut world, &["journal_copied"]);
}

#[test]
fn calls_that_a_crash_left_open_are_reported() {
    let mut world = World::start();
    world
        .agent()
        .call("search", json!({ "query": "lamp" }))
        .unwrap();
    world.kill("acme");
    // The outcome of the last call is lost, as when the disk had not got it yet.
    change(
        &world,
        "DELETE FROM record WHERE sequence = (SELECT MAX(sequence) FROM record);",
    );
    world.start_process("acme");
    assert!(
        world.said("acme").contains("without an outcome"),
        "{}",
        world.said("acme")
    );
    let records = world.records("acme");
    assert!(
        records
            .iter()
            .any(|record| record["summary"].as_str().unwrap().starts_with("unknown")),
        "{records:#?}"
    );
    world.verify_all_receipts();
}

fn findings(report: &Value) -> Vec<String> {
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect()
}

fn remove_journal(world: &World) {
    for file in journal_files(&world.path("acme")) {
        fs::remove_file(file).unwrap();
    }
}

fn copy_journal(from: &Path, to: &Path) {
    for file in journal_files(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

fn journal_files(home: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(home)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains("journal.sqlite"))
        .collect()
}

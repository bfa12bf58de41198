//! Keys over real processes: rotation, revocation by log position, further enforcers, and journals
//! that were restored from a backup.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Ended, HttpAgent};
use crate::binaries::command;
use crate::world::{World, retry};

fn search(world: &World, query: &str) -> Ended {
    world
        .agent()
        .call("search", json!({ "query": query }))
        .unwrap()
}

fn done(world: &World, query: &str) {
    let ended = search(world, query);
    assert!(matches!(ended, Ended::Done(_)), "{query}: {ended:?}");
}

/// The agent's call, tried until it is done: the other side may not have heard of a new key yet.
fn done_soon(world: &World, query: &str) {
    retry(query, || {
        let ended = HttpAgent::connect(&world.url())
            .and_then(|mut agent| agent.call("search", json!({ "query": query })));
        matches!(ended, Ok(Ended::Done(_))).then_some(())
    });
}

/// The refusal that the agent is told in the end.
fn refused_soon(world: &World, code: &str) {
    retry(code, || {
        let told = match HttpAgent::connect(&world.url()) {
            Err(error) => error,
            Ok(mut agent) => format!("{:?}", agent.call("search", json!({ "query": "no" }))),
        };
        told.contains(code).then_some(())
    });
}

fn keys(world: &World, home: &str, operator: &str) -> Vec<Value> {
    let shown = world.good(&["operator", "show", "--home", home, operator]);
    shown[0]["keys"].as_array().unwrap().clone()
}

fn enforcer_keys(world: &World, home: &str, operator: &str, state: &str) -> Vec<String> {
    keys(world, home, operator)
        .iter()
        .filter(|key| key["role"] == "enforcer" && key["state"] == state)
        .map(|key| key["key"].as_str().unwrap().to_owned())
        .collect()
}

fn receipts(world: &World, home: &str, folder: &str) -> Vec<String> {
    let got = world.good(&[
        "receipt",
        "get",
        "--home",
        home,
        "--all",
        "--wait",
        "witnessed",
        "--out",
        folder,
    ]);
    got.as_array()
        .unwrap()
        .iter()
        .map(|receipt| receipt["file"].as_str().unwrap().to_owned())
        .collect()
}

/// As far as the evidence goes now.
fn receipts_now(world: &World, home: &str, folder: &str) -> Vec<String> {
    let got = world.good(&["receipt", "get", "--home", home, "--all", "--out", folder]);
    got.as_array()
        .unwrap()
        .iter()
        .map(|receipt| receipt["file"].as_str().unwrap().to_owned())
        .collect()
}

fn verify(world: &World, files: &[String]) -> Value {
    let mut arguments = vec!["verify", "--trust", "trust", "--level", "witnessed"];
    arguments.extend(files.iter().map(String::as_str));
    world.run(&arguments).json
}

#[test]
fn a_rotated_key_goes_on_and_the_old_receipts_stay_good() {
    let mut world = World::start();
    done(&world, "before");
    // Not while the gateway works.
    let said = world.run(&["operator", "rotate", "--home", "acme"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("stop the gateway"), "{}", said.stderr);

    let before = receipts(&world, "acme", "before");
    world.stop("acme");
    let rotated = world.good(&["operator", "rotate", "--home", "acme"]);
    assert_eq!(rotated["ended_in_order"], true, "{rotated:#}");
    let retired = rotated["retired"].as_str().unwrap().to_owned();
    world.start_process("acme");
    done(&world, "after");

    assert_eq!(
        enforcer_keys(&world, "acme", "acme.example", "retired"),
        [retired.as_str()]
    );
    let active = rotated["key"].as_str().unwrap().to_owned();
    assert_eq!(
        enforcer_keys(&world, "acme", "acme.example", "active"),
        [active.as_str()]
    );
    assert_eq!(verify(&world, &before)["verified"], true);
    let after = receipts(&world, "acme", "after");
    assert_eq!(verify(&world, &after)["verified"], true);
    // Receipts of the retired stream are made here, and served to the other side.
    for arguments in [
        &["--home", "acme", "--stream", &retired][..],
        &["--home", "globex", "--from", "acme.example"],
    ] {
        let folder = format!("of-{}", arguments[1]);
        let get = [
            "receipt",
            "get",
            "--all",
            "--wait",
            "witnessed",
            "--out",
            &folder,
        ];
        let got = world.good(&[&get[..], arguments].concat());
        let files: Vec<String> = got
            .as_array()
            .unwrap()
            .iter()
            .map(|receipt| receipt["file"].as_str().unwrap().to_owned())
            .collect();
        assert!(files.len() >= 2, "{got:#}");
        assert_eq!(verify(&world, &files)["verified"], true, "{arguments:?}");
    }
    let report = world.good(&["journal", "verify", "--home", "acme", "--stream", &retired]);
    assert_eq!(report["verified"], true, "{report:#}");
    // The two streams name each other.
    let first = world.good(&["journal", "show", "--home", "acme", "0"]);
    assert_eq!(first["record"]["predecessor"], retired, "{first:#}");
    // A gateway of the new key, and one more rotation, with the tool's side this time.
    world.stop("globex");
    world.good(&["operator", "rotate", "--home", "globex"]);
    world.start_process("globex");
    done_soon(&world, "tool side rotated");
    for home in ["acme", "globex"] {
        let report = world.good(&["journal", "verify", "--home", home]);
        assert_eq!(report["verified"], true, "{report:#}");
    }
}

#[test]
fn a_rotation_that_is_killed_anywhere_is_finished_by_the_next() {
    let mut world = World::start();
    done(&world, "before");
    world.stop("acme");
    let before = enforcer_keys(&world, "acme", "acme.example", "active");
    let mut killed = 0;
    for delay in 1..40 {
        let mut child = command(world.directory(), &["operator", "rotate", "--home", "acme"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each time a little later.
        let until = Instant::now() + Duration::from_millis(12 * delay);
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() >= until {
                break None;
            }
            std::thread::yield_now();
        };
        if ended.is_some_and(|status| status.success()) {
            break;
        }
        if ended.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
        }
        // A gateway decides nothing on what is half done.
        if world.path("acme/rotation").exists() && killed == 12 {
            world.start_process("acme");
            refused_soon(&world, "rotation_unfinished");
            world.stop("acme");
        }
    }
    assert!(killed > 2, "{killed}");
    if world.path("acme/rotation").exists()
        || enforcer_keys(&world, "acme", "acme.example", "active") == before
    {
        world.good(&["operator", "rotate", "--home", "acme"]);
    }
    assert!(!world.path("acme/rotation").exists());
    // Wherever it was killed: the old stream ended in order, and the new one follows it.
    assert_eq!(predecessor(&world), before[0]);
    world.start_process("acme");
    done_soon(&world, "after");
    let active = enforcer_keys(&world, "acme", "acme.example", "active");
    assert_eq!(active.len(), 1);
    assert_ne!(active, before);
    let report = world.good(&["journal", "verify", "--home", "acme"]);
    assert_eq!(report["verified"], true, "{report:#}");
    let files = receipts(&world, "acme", "after");
    assert_eq!(verify(&world, &files)["verified"], true);
}

/// The stream that acme's says it follows, in its first record.
fn predecessor(world: &World) -> Value {
    let first = world.good(&["journal", "show", "--home", "acme", "0"]);
    first["record"]["predecessor"].clone()
}

#[test]
fn a_rotation_that_is_cut_short_after_its_manifest_knows_that_the_old_stream_has_ended() {
    let mut world = World::start();
    done(&world, "before");
    world.stop("acme");
    let before = enforcer_keys(&world, "acme", "acme.example", "active");
    // Where the new journal would be there is a folder: the rotation gets no further than there.
    world.good(&["init", "--home", "new", "--operator", "acme.example"]);
    let in_the_way = world.path("acme/rotation/journal.sqlite");
    fs::create_dir_all(&in_the_way).unwrap();
    fs::rename(
        world.path("new/keys/enforcer.pem"),
        world.path("acme/rotation/enforcer.pem"),
    )
    .unwrap();
    let cut = world.run(&["operator", "rotate", "--home", "acme"]);
    assert_eq!(cut.code, Some(2), "{:#}", cut.json);
    assert_eq!(
        enforcer_keys(&world, "acme", "acme.example", "retired"),
        before
    );

    fs::remove_dir(in_the_way).unwrap();
    let rotated = world.good(&["operator", "rotate", "--home", "acme"]);
    assert_eq!(rotated["ended_in_order"], true, "{rotated:#}");
    assert_eq!(rotated["retired"], before[0]);
    assert_eq!(predecessor(&world), before[0]);
    world.start_process("acme");
    done_soon(&world, "after");
}

#[test]
fn a_revocation_counts_by_its_place_in_the_log() {
    let world = World::start();
    done(&world, "before");
    let before = receipts(&world, "acme", "before");
    let [key] = enforcer_keys(&world, "acme", "acme.example", "active")
        .try_into()
        .unwrap();
    // Beside the running gateway: whoever has lost a key is in a hurry.
    let revoked = world.good(&["operator", "revoke", "--home", "acme", &key]);
    assert!(revoked["log_index"].is_u64(), "{revoked:#}");
    refused_soon(&world, "key_revoked");

    // With the revocation in their manifests: what was logged before is good.
    let shown = receipts_now(&world, "acme", "shown");
    let good: Vec<String> = shown.iter().take(before.len()).cloned().collect();
    assert_eq!(verify(&world, &good)["verified"], true);
    assert_eq!(verify(&world, &before)["verified"], true);
    let shown = keys(&world, "acme", "acme.example");
    let state = shown
        .iter()
        .find(|each| each["key"] == key.as_str())
        .unwrap();
    assert_eq!(state["state"], "revoked");
    assert_eq!(state["revoked_at_log_index"], revoked["log_index"]);
    // Once more changes nothing.
    let again = world.good(&["operator", "revoke", "--home", "acme", &key]);
    assert_eq!(again["version"], revoked["version"]);
}

#[test]
fn a_stolen_key_is_refused_by_the_counterparty_and_the_log() {
    let mut world = World::start();
    done(&world, "before");
    let [key] = enforcer_keys(&world, "acme", "acme.example", "active")
        .try_into()
        .unwrap();
    world.stop("acme");
    world.good(&["operator", "revoke", "--home", "acme", &key]);
    // Whoever has stolen the home goes on, and takes care not to hear of the revocation.
    for file in ["2.manifest", "2.tlog-proof"] {
        fs::remove_file(world.path("acme/manifests").join(file)).unwrap();
    }
    let trust = fs::read_to_string(world.path("trust")).unwrap();
    let without: Vec<&str> = trust
        .lines()
        .filter(|line| !line.contains("acme.example"))
        .collect();
    fs::write(world.path("acme/trust"), without.join("\n") + "\n").unwrap();
    world.start_process("acme");
    refused_soon(&world, "key_revoked");
    retry("the log refuses its batches", || {
        let said = world.said("acme");
        let refused = said.contains("batches wait to be published") && said.contains("key_revoked");
        refused.then_some(())
    });
    world.stop("acme");

    // The owner's way out: a new key. The old stream takes nothing more.
    fs::write(world.path("acme/trust"), &trust).unwrap();
    let rotated = world.good(&["operator", "rotate", "--home", "acme"]);
    assert_eq!(rotated["ended_in_order"], false);
    world.start_process("acme");
    done_soon(&world, "after");
}

#[test]
fn a_root_key_is_replaced_and_signs_what_comes_next() {
    let mut world = World::start();
    let line = world.good(&["operator", "trust-line", "--home", "acme"]);
    let first = world.good(&["operator", "rotate", "--home", "acme", "--root"]);
    let second = world.good(&["operator", "rotate", "--home", "acme", "--root"]);
    assert_eq!(first["root"], second["retired"]);
    let old = first["retired"].as_str().unwrap();
    world.good(&["operator", "revoke", "--home", "acme", old]);
    // The key that signs cannot revoke itself.
    let said = world.run(&[
        "operator",
        "revoke",
        "--home",
        "acme",
        second["root"].as_str().unwrap(),
    ]);
    assert_eq!(said.code, Some(2));
    // Trust files still name the first root key, and that is enough.
    assert_eq!(
        world.good(&["operator", "trust-line", "--home", "acme"]),
        line
    );
    world.stop("acme");
    world.start_process("acme");
    done(&world, "after");
    let files = receipts(&world, "acme", "after");
    assert_eq!(verify(&world, &files)["verified"], true);
}

#[test]
fn a_restored_journal_is_not_continued_until_the_key_is_rotated() {
    let mut world = World::start();
    done(&world, "before");
    world.stop("acme");
    let backup = world.path("backup");
    fs::create_dir(&backup).unwrap();
    let files = ["journal.sqlite", "journal.sqlite.mark"];
    for file in files {
        fs::copy(world.path("acme").join(file), backup.join(file)).unwrap();
    }
    world.start_process("acme");
    done(&world, "lost");
    world.kill("acme");
    for entry in fs::read_dir(world.path("acme")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains("journal.sqlite") {
            fs::remove_file(path).unwrap();
        }
    }
    for file in files {
        fs::copy(backup.join(file), world.path("acme").join(file)).unwrap();
    }
    world.start_process("acme");
    refused_soon(&world, "journal_copied");
    world.stop("acme");
    let rotated = world.good(&["operator", "rotate", "--home", "acme"]);
    assert_eq!(rotated["ended_in_order"], false);
    world.start_process("acme");
    done_soon(&world, "after");
    let files = receipts(&world, "acme", "after");
    assert_eq!(verify(&world, &files)["verified"], true);
}

#[test]
fn a_snapshot_that_the_file_cannot_tell_is_told_by_the_counterparty() {
    // Without a log: only the counterparty knows.
    let mut world = World::start();
    for home in ["acme", "globex"] {
        world.stop(home);
        let path = world.path(home).join("operator.toml");
        let text = fs::read_to_string(&path).unwrap();
        let cut = text.find("[log]").unwrap();
        let end = cut + text[cut..].find("# How many records may wait").unwrap();
        fs::write(&path, format!("{}{}", &text[..cut], &text[end..])).unwrap();
    }
    world.start_process("globex");
    world.start_process("acme");
    done(&world, "before");
    world.stop("acme");
    let files = ["journal.sqlite", "journal.sqlite.mark"];
    let old: Vec<Vec<u8>> = files
        .iter()
        .map(|file| fs::read(world.path("acme").join(file)).unwrap())
        .collect();
    world.start_process("acme");
    done(&world, "lost");
    world.stop("acme");
    // As when the whole disk is set back: the files are the same ones.
    for (file, bytes) in files.iter().zip(old) {
        fs::write(world.path("acme").join(file), bytes).unwrap();
    }
    // While nobody says what was lost, nothing is signed; when somebody does, it never is.
    world.kill("globex");
    world.start_process("acme");
    let state = ["channel", "statement", "--home", "acme"];
    let said = world.run(&[&state[..], &["--with", "globex.example"]].concat());
    assert_eq!(said.code, Some(2), "{:#}", said.json);
    let told = said.stderr + &said.json.to_string();
    assert!(told.contains("counterparties_unconfirmed"), "{told}");
    world.start_process("globex");
    refused_soon(&world, "counterparty_disagrees");
}

#[test]
fn two_enforcers_of_one_operator_work_at_the_same_time() {
    let mut world = World::start();
    let listen = world.free_address();
    let made = world.good(&[
        "operator",
        "add-enforcer",
        "--home",
        "acme",
        "--out",
        "acme-2",
        "--listen",
        &listen,
    ]);
    let further = made["key"].as_str().unwrap().to_owned();
    assert_eq!(
        enforcer_keys(&world, "acme", "acme.example", "active").len(),
        2
    );
    world.start_further("acme-2");
    let url = format!("http://{listen}/mcp/desk");
    for round in 0..3 {
        done_soon(&world, &format!("first {round}"));
        retry("the second enforcer", || {
            let ended = HttpAgent::connect(&url).and_then(|mut agent| {
                agent.call("search", json!({ "query": format!("second {round}") }))
            });
            matches!(ended, Ok(Ended::Done(_))).then_some(())
        });
    }
    for home in ["acme", "acme-2"] {
        let files = receipts(&world, home, &format!("receipts-{home}"));
        assert_eq!(verify(&world, &files)["verified"], true, "{home}");
    }
    assert!(world.records("acme-2").len() > 6);
    // Both are listed, and the one at the exchange address serves both.
    assert!(enforcer_keys(&world, "acme", "acme.example", "active").contains(&further));
    let globex = world.good(&["journal", "verify", "--home", "globex"]);
    assert_eq!(globex["verified"], true, "{globex:#}");
}

/// A contract binds the enforcers that made it, so a further one asks for its own.
#[test]
fn a_further_enforcer_takes_no_calls_without_a_contract_once_there_is_one() {
    let mut world = World::start();
    crate::contract::agree(&world, &crate::contract::terms("2100-01-01T00:00:00Z", 0));
    let listen = world.free_address();
    let arguments = ["operator", "add-enforcer", "--home", "globex", "--out"];
    let made = world.good(&[&arguments[..], &["globex-2", "--listen", &listen]].concat());
    assert_eq!(made["contracts_required"], true, "{made:#}");
    world.start_further("globex-2");
    // Acme has an enforcer too that holds no contract; its owner has not heard that it needs one.
    let own = world.free_address();
    let arguments = ["operator", "add-enforcer", "--home", "acme", "--out"];
    world.good(&[&arguments[..], &["acme-2", "--listen", &own]].concat());
    let path = world.path("acme-2/operator.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("contract = \"required\"").count(), 1, "{text}");
    let told = |own: &str| {
        let url = format!("http://{own}/mcp/desk");
        match HttpAgent::connect(&url) {
            Err(error) => error,
            Ok(mut agent) => format!("{:?}", agent.call("search", json!({ "query": "no" }))),
        }
    };
    world.start_further("acme-2");
    retry("acme's further enforcer asks for one", || {
        told(&own).contains("contract_missing").then_some(())
    });
    world.stop("acme-2");
    let text = text.replace("contract = \"required\"\n", "");
    let text = text.replace(
        &format!("http://{}/mcp/desk", world.gateway("globex")),
        &format!("http://{listen}/mcp/desk"),
    );
    fs::write(&path, text).unwrap();
    world.start_further("acme-2");
    retry("globex's further enforcer asks for one", || {
        told(&own).contains("contract_missing").then_some(())
    });
    assert!(world.did().is_empty(), "{:?}", world.did());
    let denied = world.records("globex-2");
    let because = |one: &Value| {
        let summary = one["summary"].as_str().unwrap();
        summary.contains("contract_missing")
    };
    assert!(denied.iter().any(because), "{denied:#?}");
}

#[test]
fn a_rotation_without_the_journal_says_that_contracts_are_forgotten() {
    let mut world = World::start();
    crate::contract::agree(&world, &crate::contract::terms("2100-01-01T00:00:00Z", 0));
    world.stop("globex");
    // What ends in order keeps them.
    let rotated = world.good(&["operator", "rotate", "--home", "globex"]);
    assert_eq!(rotated["contracts_forgotten"], false);
    assert_eq!(rotated["note"], Value::Null);
    let list = ["contract", "list", "--home", "globex"];
    assert_eq!(world.good(&list)[0]["standing"], "in_force");

    fs::write(world.path("globex/journal.sqlite"), "broken").unwrap();
    let rotate = ["operator", "rotate", "--home", "globex"];
    assert_eq!(world.run(&rotate).code, Some(2));
    let rotated = world.good(&[&rotate[..], &["--without-journal"]].concat());
    assert_eq!(rotated["contracts_forgotten"], true, "{rotated:#}");
    let note = rotated["note"].as_str().unwrap();
    assert!(note.contains("contracts are forgotten"), "{note}");
    assert!(note.contains("contract = \"required\""), "{note}");
    assert_eq!(world.good(&list), json!([]));
}

#[test]
fn a_registration_that_witnesses_hold_up_does_not_ask_for_the_token() {
    let mut world = World::set_up();
    for witness in ["w1", "w2"] {
        world.kill(witness);
    }
    let text = fs::read_to_string(world.path("acme/operator.toml")).unwrap();
    let (_, log) = text.split_once("[log]").unwrap();
    let url = log.split('"').nth(1).unwrap();
    let init = ["init", "--home", "new", "--operator", "new.example"];
    let made = world.good(&[&init[..], &["--log", url]].concat());
    let trust = fs::read_to_string(world.path("trust")).unwrap();
    let line = made["trust_line"].as_str().unwrap();
    fs::write(world.path("new/trust"), format!("{trust}{line}\n")).unwrap();
    let register = ["operator", "register", "--home", "new", "--token-file"];
    let said = world.run(&[&register[..], &["log/admission.token"]].concat());
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("(timeout)"), "{}", said.stderr);
    assert!(said.stderr.contains("witnesses"), "{}", said.stderr);
    assert!(!said.stderr.contains("token"), "{}", said.stderr);
}

/// One operator calls two enforcers of another: what it sent to the one, the other fetches.
#[test]
fn both_enforcers_of_an_operator_answer_the_same_counterparty() {
    let mut world = World::start();
    let listen = world.free_address();
    let arguments = ["operator", "add-enforcer", "--home", "globex", "--out"];
    world.good(&[&arguments[..], &["globex-2", "--listen", &listen]].concat());
    let path = world.path("globex-2/operator.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace(
        "name = \"desk\"\ncallers = \"operators\"",
        "name = \"desk-2\"\ncallers = \"operators\"",
    );
    fs::write(&path, text).unwrap();
    world.start_further("globex-2");
    world.stop("acme");
    let path = world.path("acme/operator.toml");
    let text = fs::read_to_string(&path).unwrap();
    let further = format!(
        "[[servers]]\nname = \"desk-2\"\ncallers = \"agents\"\n\
         url = \"http://{listen}/mcp/desk-2\"\noperator = \"globex.example\"\n"
    );
    fs::write(&path, text + &further).unwrap();
    world.start_process("acme");
    let other = world.url().replace("/mcp/desk", "/mcp/desk-2");
    for round in 0..3 {
        done_soon(&world, &format!("first {round}"));
        retry("the second enforcer", || {
            let ended = HttpAgent::connect(&other).and_then(|mut agent| {
                agent.call("search", json!({ "query": format!("second {round}") }))
            });
            matches!(ended, Ok(Ended::Done(_))).then_some(())
        });
    }
    for home in ["globex", "globex-2", "acme"] {
        let files = receipts(&world, home, &format!("receipts-{home}"));
        assert_eq!(verify(&world, &files)["verified"], true, "{home}");
        let report = world.good(&["journal", "verify", "--home", home, "--offline"]);
        assert_eq!(report["holds_together"], true, "{home}: {report:#}");
    }
}

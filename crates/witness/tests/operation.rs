//! Directories, configuration, restarts, clocks and failing disks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers"
)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use counterfoil_tlog::note::{Note, SignerKey};
use counterfoil_tlog::witness::monitoring_path;
use counterfoil_witness::{Error, InitOptions, Refusal, Server, Witness, config::Config, init};
use support::{Running, TestLog, new_witness};

fn noon() -> u64 {
    1_800_000_000
}

fn home(log: &TestLog) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("w1");
    new_witness(&home, vec![log.key.verifier().clone()]);
    (directory, home)
}

fn log() -> TestLog {
    TestLog::new("log.example/one", "entry")
}

fn open(home: &Path) -> Result<Witness, Error> {
    Witness::open(home, &Config::read(home)?)
}

#[test]
fn init_makes_a_complete_directory_once() {
    let log = log();
    let (_directory, home) = home(&log);
    let key = home.join("witness.key");
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&key).unwrap();
    assert!(text.starts_with("PRIVATE+KEY+witness.example/w1+"));
    let signer = SignerKey::parse(text.trim_end()).unwrap();
    let witness = open(&home).unwrap();
    assert_eq!(witness.verifier_key(), signer.verifier());
    assert_eq!(
        witness
            .origins()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["log.example/one"]
    );
    assert!(!format!("{witness:?}").contains("PRIVATE"));

    let options = InitOptions {
        name: "w".to_owned(),
        listen: String::new(),
        logs: Vec::new(),
    };
    let before = fs::read(&key).unwrap();
    let error = init(&home, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` exists already", home.display())
    );
    assert_eq!(fs::read(&key).unwrap(), before);

    let elsewhere = home.with_file_name("w2");
    let options = InitOptions {
        name: "a b".to_owned(),
        ..options
    };
    assert!(matches!(
        init(&elsewhere, &options),
        Err(Error::Name { .. })
    ));
    assert!(!elsewhere.exists());
}

#[test]
fn configuration_errors_name_file_and_line() {
    let log = log();
    let (_directory, home) = home(&log);
    let path = home.join("witness.toml");
    let good = fs::read_to_string(&path).unwrap();
    let key = log.key.verifier().to_string();
    let cosignature = SignerKey::from_seed(
        log.key.name().clone(),
        counterfoil_tlog::note::Algorithm::CosignatureEd25519,
        &[1; 32],
    );
    for (text, line, part) in [
        (format!("{good}quorum = 2\n"), 8, "unknown field `quorum`"),
        (
            good.replace("listen", "listens"),
            2,
            "unknown field `listens`",
        ),
        (good.replace(&key, "no key"), 6, "log key `no key`"),
        (
            good.replace(&key, &cosignature.verifier().to_string()),
            6,
            "is a cosignature key",
        ),
        (
            "listen = \"a\"\nlogs = 3\n".to_owned(),
            2,
            "expected a sequence",
        ),
        ("listen = \"a\"\n".to_owned(), 1, "missing field `logs`"),
        ("listen = \"a\"\n\nlogs = [\n".to_owned(), 3, ""),
    ] {
        fs::write(&path, &text).unwrap();
        let error = Config::read(&home).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("`{}` line {line}: ", path.display())),
            "{message}"
        );
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn opens_nothing_that_is_missing_wrong_or_in_use() {
    let log = log();
    let (directory, home) = home(&log);
    let held = open(&home).unwrap();
    let error = open(&home).unwrap_err();
    let expected = format!(
        "`{}` is in use by process {}",
        home.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    drop(held);

    for name in ["witness.key", "witness.sqlite", "witness.toml"] {
        let (path, aside) = (home.join(name), directory.path().join(name));
        fs::rename(&path, &aside).unwrap();
        let error = open(&home).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{}` does not exist", path.display())
        );
        fs::rename(&aside, &path).unwrap();
    }
    // A log's key would make plain signatures, which say nothing about time.
    let key = home.join("witness.key");
    fs::write(&key, log.key.to_secret_text().as_bytes()).unwrap();
    assert!(matches!(open(&home), Err(Error::KeyType { .. })));
    fs::write(&key, "PRIVATE+KEY+nothing").unwrap();
    let error = open(&home).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("`{}`: ", key.display())),
        "{error}"
    );
}

#[test]
fn remembers_over_restarts_and_never_goes_back_in_time() {
    let log = log();
    let (_directory, home) = home(&log);
    let now = noon();
    let witness = open(&home).unwrap();
    assert_eq!(
        witness
            .add_checkpoint(log.request(0, 10).as_bytes(), now)
            .unwrap()
            .timestamp,
        now
    );
    drop(witness);

    let witness = open(&home).unwrap();
    let refused = witness
        .add_checkpoint(log.request(0, 10).as_bytes(), now)
        .unwrap_err();
    assert_eq!((refused.status(), refused.code()), (409, "conflict"));
    // A little behind: the last timestamp serves again. More: refused, and nothing is stored.
    let cosigned = witness
        .add_checkpoint(log.request(10, 11).as_bytes(), now - 10)
        .unwrap();
    assert_eq!((cosigned.size, cosigned.timestamp), (11, now));
    let refused = witness
        .add_checkpoint(log.request(11, 12).as_bytes(), now - 11)
        .unwrap_err();
    assert!(
        matches!(refused, Refusal::ClockBehind { behind: 11 }),
        "{refused}"
    );
    assert_eq!(refused.status(), 500);
    let cosigned = witness
        .add_checkpoint(log.request(11, 12).as_bytes(), now + 5)
        .unwrap();
    assert_eq!(cosigned.timestamp, now + 5);
    // A fresh timestamp on the same tree.
    let cosigned = witness
        .add_checkpoint(log.request(12, 12).as_bytes(), now + 9)
        .unwrap();
    assert_eq!((cosigned.size, cosigned.timestamp), (12, now + 9));
    drop(witness);
    let served = open(&home)
        .unwrap()
        .latest(&monitoring_path(&log.origin()))
        .unwrap();
    let verified = Note::parse(served.as_bytes()).unwrap();
    assert!(verified.signatures().contains(&cosigned.cosignature));
    // A clock before 1970 has no timestamp to give.
    let (_directory, home) = self::home(&log);
    let refused = open(&home)
        .unwrap()
        .add_checkpoint(log.request(0, 1).as_bytes(), 0)
        .unwrap_err();
    assert!(matches!(refused, Refusal::Cosign(_)), "{refused}");
}

#[test]
fn damaged_state_stops_the_start() {
    let log = log();
    let (_directory, home) = home(&log);
    open(&home)
        .unwrap()
        .add_checkpoint(log.request(0, 10).as_bytes(), noon())
        .unwrap();
    let edit = |sql: &str| {
        let connection = rusqlite::Connection::open(home.join("witness.sqlite")).unwrap();
        connection.execute(sql, ()).unwrap();
    };
    edit("UPDATE cosigned SET origin = 'other.example'");
    assert!(matches!(open(&home), Err(Error::State { .. })));
    edit("UPDATE cosigned SET origin = 'log.example/one', checkpoint = 'gone'");
    assert!(matches!(open(&home), Err(Error::State { .. })));
}

/// Set in the children of the tests below: the witness directory.
const CHILD: &str = "COUNTERFOIL_TEST_WITNESS_CHILD";

/// Does nothing, unless started by another test as a witness process.
#[tokio::test]
async fn child() {
    let Some(home) = std::env::var_os(CHILD) else {
        return;
    };
    let server = Server::bind(Path::new(&home), noon).await.unwrap();
    println!("\nlistening {}", server.address());
    server.run(std::future::pending()).await.unwrap();
}

fn spawn_child(home: &Path, shell: &str) -> (std::process::Child, String) {
    let mut child = Command::new("sh")
        .args([
            "-c",
            &format!("{shell} exec \"$0\" --exact child --nocapture"),
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, home)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.find_map(|line| line.unwrap().strip_prefix("listening ").map(str::to_owned));
    // The pipe must stay open, or the child dies of its next line.
    std::thread::spawn(move || lines.for_each(drop));
    (child, url.unwrap())
}

async fn post(address: &str, body: String) -> Option<(u16, String)> {
    let url = format!("http://{address}/add-checkpoint");
    let response = reqwest::Client::new()
        .post(url)
        .body(body)
        .send()
        .await
        .ok()?;
    Some((response.status().as_u16(), response.text().await.ok()?))
}

#[tokio::test]
async fn what_was_cosigned_survives_kill() {
    let log = log();
    let (_directory, home) = home(&log);
    let mut size = 0;
    for round in 1..=5 {
        let (mut child, address) = spawn_child(&home, "");
        // The kill falls somewhere into the stream of requests, which goes on meanwhile.
        let (acknowledged, progress) = std::sync::mpsc::channel();
        let killer = std::thread::spawn({
            let id = child.id();
            move || {
                progress.iter().take(5 * round).for_each(drop);
                Command::new("kill")
                    .args(["-9", &id.to_string()])
                    .status()
                    .unwrap();
            }
        });
        let mut unanswered = size;
        while size < 590 {
            unanswered = size + 1;
            match post(&address, log.request(size, size + 1)).await {
                Some((200, _)) => {
                    size += 1;
                    acknowledged.send(()).ok();
                }
                Some(other) => panic!("{other:?}"),
                None => break,
            }
        }
        drop(acknowledged);
        killer.join().unwrap();
        child.wait().unwrap();

        let witness = open(&home).unwrap();
        let refused = witness
            .add_checkpoint(log.fork(0).request(599, 600).as_bytes(), noon())
            .unwrap_err();
        let Refusal::Rule(counterfoil_tlog::witness::Refusal::Conflict { latest }) = refused else {
            panic!("{refused}")
        };
        assert!(
            (size..=unanswered).contains(&latest),
            "stored {latest}, acknowledged {size}"
        );
        size = latest;
    }
    assert!(size > 0);
}

#[tokio::test]
async fn a_full_disk_stops_the_witness_and_signs_nothing() {
    let log = log();
    let (_directory, home) = home(&log);
    let clock = noon;
    open(&home)
        .unwrap()
        .add_checkpoint(log.request(0, 1).as_bytes(), clock())
        .unwrap();
    // No file of the child may grow beyond 100 KiB. The write-ahead log hits the wall, because a
    // reader keeps it from being used again from its start.
    let reader = rusqlite::Connection::open(home.join("witness.sqlite")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let rows = reader.query_row("SELECT count(*) FROM cosigned", (), count);
    assert_eq!(rows.unwrap(), 1);
    let (mut child, address) = spawn_child(&home, "trap '' XFSZ; ulimit -f 200;");
    let mut size = 1;
    let refused = loop {
        match post(&address, log.request(size, size + 1)).await.unwrap() {
            (200, _) => size += 1,
            refused => break refused,
        }
    };
    assert_eq!(refused.0, 500, "{refused:?}");
    assert!(
        refused
            .1
            .starts_with("cannot store the checkpoint: durable storage failed"),
        "{refused:?}"
    );
    // It ends by itself, and not as a success.
    assert!(!child.wait().unwrap().success());
    drop(reader);
    let witness = Running::start(&home, clock).await;
    let answer = witness.submit(log.request(0, 1)).await;
    let stored: u64 = answer.body.trim_end().parse().unwrap();
    assert!((size..=size + 1).contains(&stored));
    witness.stop().await;
}

#[test]
fn a_key_that_others_can_read_stops_the_start() {
    let log = log();
    let (_directory, home) = home(&log);
    let key = home.join("witness.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o604)).unwrap();
    let error = open(&home).unwrap_err().to_string();
    let expected = format!("`{}` is open to others (mode `604`)", key.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn the_main_database_file_alone_has_what_was_cosigned() {
    let log = log();
    let (directory, home) = home(&log);
    let witness = open(&home).unwrap();
    for size in 0..20 {
        let request = log.request(size, size + 1);
        witness.add_checkpoint(request.as_bytes(), noon()).unwrap();
        // A copy by somebody who does not know of the files beside it, while it runs.
        let copied = directory.path().join("copied.sqlite");
        fs::copy(home.join("witness.sqlite"), &copied).unwrap();
        let connection = rusqlite::Connection::open(&copied).unwrap();
        let select = "SELECT checkpoint FROM cosigned";
        let stored = connection.query_row(select, (), |row| row.get::<_, String>(0));
        let stored = stored.unwrap();
        assert_eq!(stored.lines().nth(1), Some(&*(size + 1).to_string()));
    }
}

#[test]
fn the_same_checkpoint_again_is_answered_without_a_write() {
    let log = log();
    let (directory, home) = home(&log);
    let witness = open(&home).unwrap();
    let now = noon();
    let first = witness.add_checkpoint(log.request(0, 10).as_bytes(), now);
    let first = first.unwrap();
    let stored =
        || ["witness.sqlite", "witness.sqlite-wal"].map(|name| fs::read(home.join(name)).unwrap());
    let before = stored();
    for later in [0, 1] {
        let again = witness.add_checkpoint(log.request(10, 10).as_bytes(), now + later);
        let again = again.unwrap();
        assert_eq!(again.cosignature, first.cosignature);
        assert_eq!((again.size, again.timestamp), (10, now));
    }
    assert!(stored() == before);
    // It still has to say where the witness is, and prove it.
    let refused = witness.add_checkpoint(log.request(9, 10).as_bytes(), now);
    assert_eq!(refused.unwrap_err().code(), "conflict");
    let fork = log.fork(0);
    let refused = witness.add_checkpoint(fork.request(10, 10).as_bytes(), now);
    assert_eq!(refused.unwrap_err().status(), 422);
    // Later it is a new statement.
    let later = witness.add_checkpoint(log.request(10, 10).as_bytes(), now + 2);
    assert_eq!(later.unwrap().timestamp, now + 2);
    assert!(stored() != before);
    drop(directory);
}

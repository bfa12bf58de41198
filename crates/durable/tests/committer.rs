//! The committer against real files: order, durability, bounds, and what a failure does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use counterfoil_durable::{
    committer::{CommitError, Committer, Options, Writer},
    sqlite::{self, Format},
};
use rusqlite::{Connection, Transaction};

const FORMAT: Format = Format {
    application_id: 0x7465_7374,
    version: 1,
    schema: "CREATE TABLE item (id INTEGER PRIMARY KEY, place INTEGER UNIQUE, content BLOB)",
    busy_timeout: Duration::from_millis(50),
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Numbers items by arrival and stores them; fails at one place if told to.
#[derive(Default)]
struct Rows {
    next: i64,
    fail_at: Option<i64>,
    panic_at: Option<i64>,
    batch_sizes: Arc<Mutex<Vec<usize>>>,
    /// Every batch waits for one message, if set.
    gate: Option<mpsc::Receiver<()>>,
}

impl Writer for Rows {
    type Item = (i64, Vec<u8>);

    fn write(
        &mut self,
        transaction: &Transaction<'_>,
        items: &[Self::Item],
    ) -> Result<(), Failure> {
        if let Some(gate) = &self.gate {
            gate.recv()?;
        }
        self.batch_sizes.lock().unwrap().push(items.len());
        let mut insert = transaction.prepare_cached("INSERT INTO item VALUES (?1, ?2, ?3)")?;
        for (id, content) in items {
            if self.panic_at == Some(self.next) {
                panic!("told to");
            }
            if self.fail_at == Some(self.next) {
                return Err("told to fail".into());
            }
            insert.execute((id, self.next, content))?;
            self.next += 1;
        }
        Ok(())
    }
}

fn ids(path: &Path) -> Vec<i64> {
    let connection = sqlite::open(path, &FORMAT).unwrap();
    let mut statement = connection
        .prepare("SELECT id FROM item ORDER BY place")
        .unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn database(directory: &tempfile::TempDir) -> (std::path::PathBuf, Connection) {
    let path = directory.path().join("items.sqlite");
    let connection = sqlite::create(&path, &FORMAT).unwrap();
    (path, connection)
}

fn cause(error: &CommitError) -> String {
    match error {
        CommitError::Poisoned { cause } => cause.to_string(),
        other => panic!("not poisoned but {other:?}"),
    }
}

#[test]
fn keeps_the_order_of_submission_and_drains_on_close() {
    let directory = tempfile::tempdir().unwrap();
    let (path, connection) = database(&directory);
    let committer = Committer::spawn(connection, Rows::default(), Options::default()).unwrap();
    let tickets: Vec<_> = (0..5_000)
        .map(|id| committer.submit((id, vec![0; 10])).unwrap())
        .collect();
    committer.close().unwrap();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    assert!(matches!(
        committer.submit((9_999, Vec::new())),
        Err(CommitError::Closed)
    ));
    let counters = committer.counters();
    assert_eq!((counters.waiting, counters.items), (0, 5_000));
    committer.close().unwrap();
    drop(committer);
    assert_eq!(ids(&path), (0..5_000).collect::<Vec<_>>());
}

#[test]
fn waiting_items_share_a_transaction_up_to_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let (path, connection) = database(&directory);
    let (open, gate) = mpsc::channel();
    let writer = Rows {
        gate: Some(gate),
        ..Rows::default()
    };
    let sizes = Arc::clone(&writer.batch_sizes);
    let options = Options {
        batch_limit: 4,
        queue_limit: 9,
    };
    let committer = Committer::spawn(connection, writer, options).unwrap();

    // The first batch is whatever the thread found; the rest gathers while it is held.
    let mut tickets = vec![committer.submit((0, Vec::new())).unwrap()];
    while committer.counters().waiting > 0 {
        thread::yield_now();
    }
    tickets.extend((1..10).map(|id| committer.submit((id, Vec::new())).unwrap()));
    assert!(matches!(
        committer.submit((10, Vec::new())),
        Err(CommitError::Full { limit: 9 })
    ));
    for _ in 0..4 {
        open.send(()).unwrap();
    }
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    assert_eq!(*sizes.lock().unwrap(), [1, 4, 4, 1]);
    assert_eq!(committer.counters().batches, 4);
    // Full was for that one item: the next is taken.
    let ticket = committer.submit((11, Vec::new())).unwrap();
    open.send(()).unwrap();
    ticket.wait().unwrap();
    drop(committer);
    assert_eq!(ids(&path), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]);
}

/// The runtime makes a task that has awaited a lot yield before it goes on, which one that blocks
/// its thread cannot do.
#[tokio::test]
async fn a_task_can_wait_as_often_as_it_likes() {
    let directory = tempfile::tempdir().unwrap();
    let (path, connection) = database(&directory);
    let committer = Committer::spawn(connection, Rows::default(), Options::default()).unwrap();
    for id in 0..1_000 {
        committer.submit((id, Vec::new())).unwrap().wait().unwrap();
    }
    drop(committer);
    assert_eq!(ids(&path).len(), 1_000);
}

#[test]
fn what_nobody_waits_for_shares_the_next_transaction_and_is_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let (path, connection) = database(&directory);
    let sizes = Arc::default();
    let writer = Rows {
        batch_sizes: Arc::clone(&sizes),
        ..Rows::default()
    };
    let committer = Committer::spawn(connection, writer, Options::default()).unwrap();
    // Alone it is committed by itself, or this would never return.
    committer
        .submit_soon((1, Vec::new()))
        .unwrap()
        .wait()
        .unwrap();
    let later = committer.submit_soon((2, Vec::new())).unwrap();
    committer.submit((3, Vec::new())).unwrap().wait().unwrap();
    later.wait().unwrap();
    let last = committer.submit_soon((4, Vec::new())).unwrap();
    committer.close().unwrap();
    last.wait().unwrap();
    assert_eq!(ids(&path), [1, 2, 3, 4]);
    let sizes = sizes.lock().unwrap();
    assert_eq!(sizes.first(), Some(&1));
    assert_eq!(sizes.iter().sum::<usize>(), 4);
}

#[test]
fn a_failed_write_poisons_for_good_and_leaves_what_was_acknowledged() {
    for fail_at in [0, 1, 7, 100] {
        let directory = tempfile::tempdir().unwrap();
        let (path, connection) = database(&directory);
        let writer = Rows {
            fail_at: Some(fail_at),
            ..Rows::default()
        };
        let options = Options {
            batch_limit: 5,
            ..Options::default()
        };
        let committer = Committer::spawn(connection, writer, options).unwrap();
        let mut acknowledged = Vec::new();
        let mut tickets = Vec::new();
        for id in 0..200 {
            match committer.submit((id, Vec::new())) {
                Ok(ticket) => tickets.push((id, ticket)),
                Err(error) => assert_eq!(cause(&error), "told to fail"),
            }
        }
        for (id, ticket) in tickets {
            match ticket.wait() {
                Ok(()) => acknowledged.push(id),
                Err(error) => assert_eq!(cause(&error), "told to fail"),
            }
        }
        assert!(acknowledged.len() <= usize::try_from(fail_at).unwrap());
        assert_eq!(
            cause(&committer.submit((999, Vec::new())).unwrap_err()),
            "told to fail"
        );
        assert_eq!(cause(&committer.stopped().unwrap()), "told to fail");
        assert_eq!(cause(&committer.close().unwrap_err()), "told to fail");
        drop(committer);
        // Nothing of the failed transaction, nothing after it.
        assert_eq!(ids(&path), acknowledged);
    }
}

#[test]
fn a_panicking_writer_fails_every_caller_instead_of_hanging_them() {
    let directory = tempfile::tempdir().unwrap();
    let (path, connection) = database(&directory);
    let writer = Rows {
        panic_at: Some(1),
        ..Rows::default()
    };
    let committer = Committer::spawn(connection, writer, Options::default()).unwrap();
    committer.submit((0, Vec::new())).unwrap().wait().unwrap();
    let error = committer
        .submit((1, Vec::new()))
        .unwrap()
        .wait()
        .unwrap_err();
    assert!(matches!(error, CommitError::Poisoned { .. }), "{error}");
    assert!(committer.close().is_err());
    assert_eq!(
        cause(&committer.submit((2, Vec::new())).unwrap_err()),
        "the writer panicked"
    );
    drop(committer);
    assert_eq!(ids(&path), [0]);
}

#[test]
fn a_full_disk_poisons_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (path, connection) = database(&directory);
    connection
        .pragma_update(None, "max_page_count", 30)
        .unwrap();
    let committer = Committer::spawn(connection, Rows::default(), Options::default()).unwrap();
    let mut acknowledged = Vec::new();
    let error = (0..1_000)
        .find_map(
            |id| match committer.submit((id, vec![7; 1_024])).unwrap().wait() {
                Ok(()) => {
                    acknowledged.push(id);
                    None
                }
                Err(error) => Some(error),
            },
        )
        .unwrap();
    assert_eq!(cause(&error), "database or disk is full");
    // Room again, and still no: the process has to start anew.
    assert!(committer.submit((5_000, Vec::new())).is_err());
    drop(committer);
    assert!(!acknowledged.is_empty());
    assert_eq!(ids(&path), acknowledged);
}

#[test]
fn a_second_writer_that_holds_the_database_poisons_after_the_busy_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let (path, connection) = database(&directory);
    let committer = Committer::spawn(connection, Rows::default(), Options::default()).unwrap();
    let intruder = sqlite::open(&path, &FORMAT).unwrap();
    intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = committer
        .submit((0, Vec::new()))
        .unwrap()
        .wait()
        .unwrap_err();
    assert_eq!(cause(&error), "database is locked");
}

#[test]
fn tickets_can_be_awaited_by_many_tasks() {
    let directory = tempfile::tempdir().unwrap();
    let (path, connection) = database(&directory);
    let committer =
        Arc::new(Committer::spawn(connection, Rows::default(), Options::default()).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let committer = Arc::clone(&committer);
                tokio::spawn(async move {
                    for step in 0..20 {
                        committer
                            .submit((task * 20 + step, Vec::new()))
                            .unwrap()
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert!(committer.counters().batches < 64 * 20);
    committer.close().unwrap();
    let found: BTreeSet<_> = ids(&path).into_iter().collect();
    assert_eq!(found, (0..64 * 20).collect());
}

/// Set in the child of the test below: the database to fill.
const CHILD: &str = "COUNTERFOIL_TEST_CRASH_CHILD";

/// Does nothing, unless started by [`survives_kill_in_mid_commit`] as another process.
#[test]
fn crash_child() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let connection = sqlite::open(Path::new(&path), &FORMAT).unwrap();
    let start: i64 = connection
        .query_row("SELECT coalesce(max(id) + 1, 0) FROM item", (), |row| {
            row.get(0)
        })
        .unwrap();
    let next: i64 = connection
        .query_row("SELECT count(*) FROM item", (), |row| row.get(0))
        .unwrap();
    let writer = Rows {
        next,
        ..Rows::default()
    };
    let committer = Committer::spawn(connection, writer, Options::default()).unwrap();
    thread::scope(|scope| {
        for lane in 0..8 {
            let committer = &committer;
            scope.spawn(move || {
                for step in 0.. {
                    let id = start + step * 8 + lane;
                    committer
                        .submit((id, vec![1; 300]))
                        .unwrap()
                        .wait()
                        .unwrap();
                    // One write call a line, so that a kill cannot tear it.
                    std::io::stdout()
                        .lock()
                        .write_all(format!("\nack {id}\n").as_bytes())
                        .unwrap();
                }
            });
        }
    });
}

#[test]
fn survives_kill_in_mid_commit() {
    let directory = tempfile::tempdir().unwrap();
    let (path, connection) = database(&directory);
    drop(connection);
    let mut acknowledged = BTreeSet::new();
    for round in 0..5_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash_child", "--nocapture", "--test-threads=1"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let mut seen = 0;
        while seen < 200 + round * 37 {
            if let Some(id) = lines.next().unwrap().strip_prefix("ack ") {
                acknowledged.insert(id.parse::<i64>().unwrap());
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was acknowledged before the kill but still in the pipe counts too.
        let rest = lines.filter_map(|line| line.strip_prefix("ack ").map(str::to_owned));
        acknowledged.extend(rest.filter_map(|id| id.parse::<i64>().ok()));

        let found: BTreeSet<_> = ids(&path).into_iter().collect();
        let missing: Vec<_> = acknowledged.difference(&found).collect();
        assert!(missing.is_empty(), "acknowledged but lost: {missing:?}");
    }
}

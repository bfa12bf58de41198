//! A log process killed in the middle of its work, again and again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers"
)]

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use counterfoil_log::{Server, fsck, system_clock};
use counterfoil_tlog::{
    policy::Policy, tile::parse_bundle, tlog_proof::TlogProof, tree::leaf_hash,
};
use support::{Operator, Running, new_log};
use tokio::sync::watch;

/// Set in the child: the log directory.
const CHILD: &str = "COUNTERFOIL_TEST_LOG_CHILD";

/// Does nothing, unless started by another test as a log process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(home) = std::env::var_os(CHILD) else {
        return;
    };
    let server = Server::bind(Path::new(&home), system_clock).await.unwrap();
    println!("\nlistening {}", server.address());
    server.run(std::future::pending()).await.unwrap();
}

fn spawn_child(home: &Path, shell: &str) -> (Child, String) {
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
    let address =
        lines.find_map(|line| line.unwrap().strip_prefix("listening ").map(str::to_owned));
    // The pipe must stay open, or the child dies of its next line.
    std::thread::spawn(move || lines.for_each(drop));
    (child, format!("http://{}", address.unwrap()))
}

/// One operator that keeps submitting, and what it was told.
struct Submitter {
    operator: Operator,
    /// Sent, and not yet answered with 200.
    unanswered: Option<Vec<u8>>,
    acknowledged: BTreeMap<u64, Vec<u8>>,
}

impl Submitter {
    /// Submits until the log is gone. A retry must be answered like the first try.
    async fn run(&mut self, url: &str, policy: &Policy, progress: &watch::Sender<u64>) {
        let client = reqwest::Client::new();
        let url = format!("{url}/v1/entries?wait=integrated");
        loop {
            let entry = self
                .unanswered
                .get_or_insert_with(|| self.operator.next())
                .clone();
            let Ok(response) = client.post(&url).body(entry.clone()).send().await else {
                return;
            };
            let status = response.status().as_u16();
            let Ok(body) = response.bytes().await else {
                return;
            };
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
            let proof = TlogProof::parse(&body).unwrap();
            assert!(
                proof
                    .verify(&leaf_hash(&entry), policy)
                    .is_ok_and(|quorum| quorum.is_met())
            );
            let before = self.acknowledged.insert(proof.index(), entry);
            assert!(before.is_none(), "index {} given twice", proof.index());
            self.unanswered = None;
            progress.send_modify(|acknowledged| *acknowledged += 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_entry_is_lost_or_doubled_by_kill() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("log");
    let identity = new_log(&home, None);
    let policy = Policy::of_logs(vec![identity.verifier_key.clone()]);
    let mut operators = Vec::new();
    let log = Running::start(&home).await;
    for number in 0..6_u8 {
        let mut operator = Operator::new(&format!("op{number}.example"), 10 + 2 * number);
        assert_eq!(
            log.register(operator.manifest(), &identity.admission_token)
                .await
                .status,
            200
        );
        operators.push(operator);
    }
    log.stop().await;
    let submitters: Vec<_> = operators
        .into_iter()
        .map(|operator| {
            let state = Submitter {
                operator,
                unanswered: None,
                acknowledged: BTreeMap::new(),
            };
            Arc::new(tokio::sync::Mutex::new(state))
        })
        .collect();

    for round in 0..8_u64 {
        let (child, url) = spawn_child(&home, "");
        let child = Arc::new(Mutex::new(child));
        let (progress, mut acknowledged) = watch::channel(0);
        let tasks: Vec<_> = submitters
            .iter()
            .map(|submitter| {
                let (submitter, url) = (Arc::clone(submitter), url.clone());
                let (policy, progress) = (policy.clone(), progress.clone());
                tokio::spawn(async move {
                    let mut submitter = submitter.lock().await;
                    submitter.run(&url, &policy, &progress).await;
                })
            })
            .collect();
        drop(progress);
        // One entry was acknowledged; the other submitters are anywhere in their requests.
        let enough = acknowledged.wait_for(|count| *count > 10 + 7 * round).await;
        assert!(enough.is_ok(), "the log has ended by itself");
        drop(enough);
        child.lock().unwrap().kill().unwrap();
        child.lock().unwrap().wait().unwrap();
        for task in tasks {
            task.await.unwrap();
        }
    }

    // The last start finishes what the last kill left.
    Running::start(&home).await.stop().await;
    let report = fsck(&home).unwrap();
    let mut logged = Vec::new();
    let size = usize::try_from(report.size).unwrap();
    for bundle in counterfoil_tlog::tile::new_bundles(0, report.size) {
        let bytes = std::fs::read(home.join("tiles").join(bundle.path())).unwrap();
        logged.extend(
            parse_bundle(&bytes, bundle.width())
                .unwrap()
                .into_iter()
                .map(<[u8]>::to_vec),
        );
    }
    assert_eq!(logged.len(), size);
    let mut acknowledged = 0;
    for submitter in submitters {
        for (index, entry) in &submitter.lock().await.acknowledged {
            assert_eq!(
                &logged[usize::try_from(*index).unwrap()],
                entry,
                "entry {index}"
            );
            acknowledged += 1;
        }
    }
    // Beside them: six manifests, and at most one entry of each that was not answered in time.
    assert!(acknowledged > 100, "only {acknowledged} were acknowledged");
    assert!(
        (acknowledged + 6..=acknowledged + 12).contains(&size),
        "{acknowledged} of {size}"
    );
    logged.sort_unstable();
    logged.dedup();
    assert_eq!(logged.len(), size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_log_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("log");
    let identity = new_log(&home, None);
    let policy = Policy::of_logs(vec![identity.verifier_key.clone()]);
    let mut operator = Operator::new("acme.example", 1);
    let log = Running::start(&home).await;
    assert_eq!(
        log.register(operator.manifest(), &identity.admission_token)
            .await
            .status,
        200
    );
    log.stop().await;
    // No file of the child may grow beyond 200 KiB.
    let (mut child, url) = spawn_child(&home, "trap '' XFSZ; ulimit -f 400;");
    let mut submitter = Submitter {
        operator,
        unanswered: None,
        acknowledged: BTreeMap::new(),
    };
    let client = reqwest::Client::new();
    let refused = loop {
        let entry = submitter.operator.next();
        let request = client.post(format!("{url}/v1/entries")).body(entry.clone());
        let Ok(response) = request.send().await else {
            break None;
        };
        if response.status() != 200 {
            break Some((
                response.status().as_u16(),
                response.text().await.unwrap_or_default(),
            ));
        }
        let proof = TlogProof::parse(&response.bytes().await.unwrap()).unwrap();
        submitter.acknowledged.insert(proof.index(), entry);
    };
    if let Some((status, body)) = refused {
        assert_eq!(status, 500, "{body}");
        // Nothing about its disk goes to strangers.
        assert!(body.contains(r#""code":"internal""#), "{body}");
        assert!(body.contains(r#""detail":"the log has a fault""#), "{body}");
    }
    assert!(!child.wait().unwrap().success());
    let log = Running::start(&home).await;
    for entry in submitter.acknowledged.values() {
        let entry = entry.clone();
        log.post("/v1/entries", entry.clone())
            .await
            .verified(&entry, &policy);
    }
    log.stop().await;
    assert!(fsck(&home).unwrap().size > submitter.acknowledged.len() as u64);
}

//! The log and real witnesses: quorums, outages, and histories that do not agree.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers"
)]

mod support;

use std::{fs, path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::IntoResponse,
    routing::{get, post},
};
use counterfoil_log::{Error, Server, fsck, system_clock};
use counterfoil_tlog::{
    cosignature::cosign,
    note::{Algorithm, KeyName, Note, SignerKey, VerifierKey},
    policy::Policy,
    witness::AddCheckpoint,
};
use support::{Operator, Running, Witness, new_log, policy_of, set_limits};
use tokio::{net::TcpListener, sync::mpsc};

struct Setup {
    directory: tempfile::TempDir,
    token: String,
    witnesses: Vec<Witness>,
}

impl Setup {
    /// A log that needs all of these witnesses, which run.
    async fn new(count: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut witnesses = Vec::new();
        for number in 0..count {
            let home = directory.path().join(format!("w{number}"));
            let mut witness = Witness::new(home, &format!("witness.example/w{number}"), Vec::new());
            witness.start().await;
            witnesses.push(witness);
        }
        let policy = policy_of(&witnesses.iter().collect::<Vec<_>>());
        let identity = new_log(&directory.path().join("log"), Some(policy));
        for witness in &mut witnesses {
            witness.stop().await;
            witness.set_logs(std::slice::from_ref(&identity.verifier_key));
            witness.start().await;
        }
        Self {
            directory,
            token: identity.admission_token.to_string(),
            witnesses,
        }
    }

    fn home(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    /// What a verifier would use: the log and all the witnesses.
    fn policy(&self, log: &Running) -> Policy {
        let policy = policy_of(&self.witnesses.iter().collect::<Vec<_>>());
        Policy::parse(&policy).unwrap().with_log(log.key.clone())
    }
}

/// Waits until a checkpoint of this size is published.
async fn published(log: &Running, size: u64) -> Note {
    loop {
        let answer = log.get("/checkpoint").await;
        if answer.status == 200 {
            let note = answer.note();
            if note.text().lines().nth(1) == Some(&size.to_string()) {
                return note;
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn publishes_what_the_quorum_has_cosigned() {
    let setup = Setup::new(2).await;
    let log = Running::start(&setup.home()).await;
    let policy = setup.policy(&log);
    let empty = published(&log, 0).await;
    assert!(policy.verify(&empty).is_ok());
    let mut acme = Operator::new("acme.example", 1);
    let manifest = acme.manifest();
    let answer = log.register(manifest.clone(), &setup.token).await;
    assert_eq!(answer.verified(&manifest, &policy), (0, 1));
    for _ in 0..300 {
        let entry = acme.next();
        log.post("/v1/entries?wait=witnessed", entry.clone())
            .await
            .verified(&entry, &policy);
    }
    // Integrated says nothing about witnesses.
    let entry = acme.next();
    let answer = log.post("/v1/entries?wait=integrated", entry.clone()).await;
    answer.verified(&entry, &log.policy());
    assert!(
        policy
            .check(&Note::parse(answer.text().split_once("\n\n").unwrap().1.as_bytes()).unwrap())
            .is_ok_and(|quorum| !quorum.is_met())
    );
    assert!(policy.verify(&published(&log, 302).await).is_ok());
    log.stop().await;

    // A restart keeps the cosigned checkpoint and goes on.
    let log = Running::start(&setup.home()).await;
    assert!(policy.verify(&log.get("/checkpoint").await.note()).is_ok());
    let entry = acme.next();
    log.post("/v1/entries?wait=witnessed", entry.clone())
        .await
        .verified(&entry, &policy);
    log.stop().await;
    assert_eq!(fsck(&setup.home()).unwrap().published, Some(303));
}

#[tokio::test]
async fn an_outage_holds_up_publishing_not_logging_and_has_a_bound() {
    let mut setup = Setup::new(2).await;
    set_limits(&setup.home(), "backlog_entries = 4\nwait_ms = 150");
    let log = Running::start(&setup.home()).await;
    let policy = setup.policy(&log);
    published(&log, 0).await;
    setup.witnesses[1].stop().await;
    let mut acme = Operator::new("acme.example", 1);
    assert_eq!(
        log.register(acme.manifest(), &setup.token).await.error(),
        (504, "timeout".into())
    );
    let mut entries = Vec::new();
    for _ in 0..3 {
        let entry = acme.next();
        log.post("/v1/entries?wait=integrated", entry.clone())
            .await
            .verified(&entry, &log.policy());
        entries.push(entry);
    }
    let refused = log.post("/add", acme.commitment(3, 9)).await;
    assert_eq!(refused.error(), (503, "backlog_full".into()));
    assert_eq!(refused.header("retry-after"), "5");
    // An entry that is in is answered as far as it has come.
    let again = log.post("/v1/entries", entries[0].clone()).await;
    assert_eq!(again.error(), (504, "timeout".into()));
    assert_eq!(
        log.get("/v1/proof?index=1").await.error(),
        (404, "not_covered".into())
    );
    assert_eq!(published(&log, 0).await.text().lines().nth(1), Some("0"));

    setup.witnesses[1].start().await;
    assert!(policy.verify(&published(&log, 4).await).is_ok());
    for (index, entry) in (1..).zip(&entries) {
        log.get(&format!("/v1/proof?index={index}"))
            .await
            .verified(entry, &policy);
    }
    assert_eq!(log.post("/add", acme.next()).await.text(), "4\n");
    log.stop().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_restored_from_a_backup_signs_nothing() {
    let setup = Setup::new(1).await;
    let (home, backup) = (setup.home(), setup.directory.path().join("backup"));
    let mut acme = Operator::new("acme.example", 1);
    let log = Running::start(&home).await;
    assert_eq!(
        log.register(acme.manifest(), &setup.token).await.status,
        200
    );
    log.stop().await;
    copy(&home, &backup);
    let log = Running::start(&home).await;
    let (first, second) = (acme.next(), acme.next());
    assert_eq!(log.post("/v1/entries", first).await.status, 200);
    assert_eq!(log.post("/v1/entries", second).await.status, 200);
    log.stop().await;

    // Only the lock is older: seen without anyone's help.
    let good = fs::read(home.join("log.sqlite")).unwrap();
    fs::copy(backup.join("log.sqlite"), home.join("log.sqlite")).unwrap();
    let error = Server::bind(&home, system_clock).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::LockBehind {
                published: 3,
                locked: 1
            }
        ),
        "{error}"
    );
    assert!(matches!(fsck(&home), Err(Error::LockBehind { .. })));
    fs::write(home.join("log.sqlite"), good).unwrap();

    // All of it is older: only the witness knows.
    let log = Running::start(&backup).await;
    assert_eq!(fsck(&backup).unwrap().size, 1);
    let mut other = Operator::new("acme.example", 1);
    other.manifest();
    let refused = loop {
        let answer = log.post("/v1/entries", other.commitment(7, 7)).await;
        if answer.error().1 != "timeout" {
            break answer;
        }
    };
    assert_eq!(refused.error(), (503, "fork_suspected".into()));
    assert!(
        refused.json()["detail"]
            .as_str()
            .unwrap()
            .contains("size `3`"),
        "{refused:?}"
    );
    // It does not help to come back later.
    assert_eq!(refused.header("retry-after"), "");
    // What is there is still served.
    assert_eq!(log.get("/v1/proof?index=0").await.status, 200);
    log.stop().await;
    assert_eq!(fsck(&backup).unwrap().size, 1);

    // The real one goes on.
    let log = Running::start(&home).await;
    let third = acme.next();
    log.post("/v1/entries?wait=witnessed", third.clone())
        .await
        .verified(&third, &setup.policy(&log));
    log.stop().await;
}

#[tokio::test]
async fn a_restored_log_signs_nothing_while_its_witness_is_away_either() {
    let mut setup = Setup::new(1).await;
    let (home, backup) = (setup.home(), setup.directory.path().join("backup"));
    let mut acme = Operator::new("acme.example", 1);
    let log = Running::start(&home).await;
    let manifest = acme.manifest();
    assert_eq!(
        log.register(manifest.clone(), &setup.token).await.status,
        200
    );
    log.stop().await;
    copy(&home, &backup);
    let log = Running::start(&home).await;
    let entry = acme.next();
    let path = "/v1/entries?wait=witnessed";
    assert_eq!(log.post(path, entry).await.status, 200);
    let policy = setup.policy(&log);
    log.stop().await;

    setup.witnesses[0].stop().await;
    set_limits(&backup, "pool_entries = 2\nwait_ms = 150\nwitness_ms = 500");
    let log = Running::start(&backup).await;
    let mut other = Operator::new("acme.example", 1);
    other.manifest();
    let forked = other.next();
    for wait in ["integrated", "published", "witnessed"] {
        let answer = log
            .post(&format!("/v1/entries?wait={wait}"), forked.clone())
            .await;
        assert_eq!(answer.error(), (503, "fork_unconfirmed".into()), "{wait}");
        assert!(!answer.header("retry-after").is_empty());
        assert_eq!(answer.json()["index"], serde_json::Value::Null);
    }
    // The pool has its bound, and what was published is still served.
    let answer = log.post("/add", other.next()).await;
    assert_eq!(answer.error(), (503, "fork_unconfirmed".into()));
    let answer = log.post("/add", other.next()).await;
    assert_eq!(answer.error(), (503, "pool_full".into()));
    log.get("/v1/proof?index=0")
        .await
        .verified(&manifest, &policy);
    assert_eq!(fsck(&backup).unwrap().size, 1);

    // Now the witness tells: neither the pooled entry nor a checkpoint over it comes out.
    setup.witnesses[0].start().await;
    let refused = loop {
        let answer = log
            .post("/v1/entries?wait=integrated", forked.clone())
            .await;
        if answer.error().1 != "fork_unconfirmed" {
            break answer;
        }
    };
    assert_eq!(refused.error(), (503, "fork_suspected".into()));
    let answer = log
        .post("/v1/entries?wait=integrated", manifest.clone())
        .await;
    assert_eq!(answer.verified(&manifest, &log.policy()), (0, 1));
    log.stop().await;
    assert_eq!(fsck(&backup).unwrap().size, 1);
}

#[tokio::test]
async fn a_log_goes_on_once_its_witnesses_confirm_its_checkpoint() {
    let mut setup = Setup::new(2).await;
    let mut acme = Operator::new("acme.example", 1);
    let log = Running::start(&setup.home()).await;
    let policy = setup.policy(&log);
    assert_eq!(
        log.register(acme.manifest(), &setup.token).await.status,
        200
    );
    log.stop().await;
    setup.witnesses[1].stop().await;
    set_limits(&setup.home(), "wait_ms = 300\nwitness_ms = 200");
    let log = Running::start(&setup.home()).await;
    // One of two is not enough.
    let entry = acme.next();
    let answer = log.post("/v1/entries", entry.clone()).await;
    assert_eq!(answer.error(), (503, "fork_unconfirmed".into()));
    setup.witnesses[1].start().await;
    let answer = loop {
        let answer = log.post("/v1/entries?wait=witnessed", entry.clone()).await;
        if answer.status == 200 {
            break answer;
        }
    };
    assert_eq!(answer.verified(&entry, &policy), (1, 2));
    log.stop().await;
}

#[tokio::test]
async fn what_was_published_before_there_were_witnesses_is_not_witnessed() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("log");
    let identity = new_log(&home, None);
    let mut acme = Operator::new("acme.example", 1);
    let log = Running::start(&home).await;
    let token = &identity.admission_token;
    assert_eq!(log.register(acme.manifest(), token).await.status, 200);
    let entry = acme.next();
    assert_eq!(log.post("/v1/entries", entry.clone()).await.status, 200);
    log.stop().await;

    let name = "witness.example/w";
    let logs = vec![identity.verifier_key.clone()];
    let mut witness = Witness::new(directory.path().join("w"), name, logs.clone());
    witness.start().await;
    let policy = policy_of(&[&witness]);
    witness.stop().await;
    witness.set_logs(&logs);
    fs::write(home.join("late.policy"), &policy).unwrap();
    let config = fs::read_to_string(home.join("log.toml")).unwrap();
    let config = format!("{config}witness_policy = \"late.policy\"\n");
    fs::write(home.join("log.toml"), config).unwrap();
    set_limits(&home, "wait_ms = 300\nwitness_ms = 200");
    let log = Running::start(&home).await;
    let path = "/v1/entries?wait=witnessed";
    let answer = log.post(path, entry.clone()).await;
    assert_eq!(answer.error(), (504, "timeout".into()));
    assert_eq!(answer.json()["index"], 1);
    // It is published all the same, and stays so.
    log.post("/v1/entries", entry.clone())
        .await
        .verified(&entry, &log.policy());
    witness.start().await;
    let policy = Policy::parse(&policy).unwrap().with_log(log.key.clone());
    let answer = loop {
        let answer = log.post(path, entry.clone()).await;
        if answer.status == 200 {
            break answer;
        }
    };
    assert_eq!(answer.verified(&entry, &policy), (1, 2));
    log.stop().await;
}

#[tokio::test]
async fn a_second_history_of_the_same_size_signs_nothing() {
    let setup = Setup::new(1).await;
    let (home, other) = (setup.home(), setup.directory.path().join("other"));
    copy(&home, &other);
    let mut acme = Operator::new("acme.example", 1);
    let log = Running::start(&home).await;
    assert_eq!(
        log.register(acme.manifest(), &setup.token).await.status,
        200
    );
    log.stop().await;
    // The copy grows another tree while its witnesses are out of reach.
    let policy = other.join("witnesses.policy");
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(
        &policy,
        text.replace("http://127.0.0.1:", "http://127.0.0.1:9/"),
    )
    .unwrap();
    set_limits(&other, "wait_ms = 100");
    let log = Running::start(&other).await;
    let mut globex = Operator::new("globex.example", 30);
    assert_eq!(
        log.register(globex.manifest(), &setup.token).await.error(),
        (504, "timeout".into())
    );
    log.stop().await;
    fs::write(&policy, text).unwrap();
    let log = Running::start(&other).await;
    let refused = loop {
        let answer = log.post("/add", globex.commitment(1, 1)).await;
        if answer.error().1 != "timeout" {
            break answer;
        }
    };
    assert_eq!(refused.error(), (503, "fork_suspected".into()));
    assert!(
        refused.json()["detail"]
            .as_str()
            .unwrap()
            .contains("another root"),
        "{refused:?}"
    );
    log.stop().await;
}

#[tokio::test]
async fn a_published_checkpoint_of_another_tree_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let homes = [directory.path().join("a"), directory.path().join("b")];
    let token = new_log(&homes[0], None).admission_token.to_string();
    copy(&homes[0], &homes[1]);
    for (home, name) in homes.iter().zip(["acme.example", "globex.example"]) {
        let log = Running::start(home).await;
        assert_eq!(
            log.register(Operator::new(name, 1).manifest(), &token)
                .await
                .status,
            200
        );
        log.stop().await;
    }
    fs::copy(
        homes[0].join("tiles/checkpoint"),
        homes[1].join("tiles/checkpoint"),
    )
    .unwrap();
    let error = Server::bind(&homes[1], system_clock).await.unwrap_err();
    assert!(
        matches!(error, Error::PublishedContradicts { size: 1 }),
        "{error}"
    );
    assert!(matches!(
        fsck(&homes[1]),
        Err(Error::PublishedContradicts { size: 1 })
    ));

    // Tiles of another tree, a tile too few, a flipped bit in an entry.
    let (tile, bundle) = ("tiles/tile/0/000.p/1", "tiles/tile/entries/000.p/1");
    fs::copy(homes[1].join(tile), directory.path().join("tile")).unwrap();
    let good = [
        fs::read(homes[0].join(tile)).unwrap(),
        fs::read(homes[0].join(bundle)).unwrap(),
    ];
    let damage = |path: &str, content: Option<&[u8]>| {
        let path = homes[0].join(path);
        content
            .map_or_else(
                || fs::remove_file(&path),
                |content| fs::write(&path, content),
            )
            .unwrap();
    };
    let staged = fs::read(homes[0].join("staged")).unwrap();
    let mut flipped = good[1].clone();
    flipped[100] ^= 1;
    for (path, content) in [
        (
            tile,
            Some(&fs::read(directory.path().join("tile")).unwrap()[..]),
        ),
        (bundle, Some(&flipped[..])),
    ] {
        damage(path, content);
        // Even with the staged bundle: what exists is never overwritten.
        let error = Server::bind(&homes[0], system_clock).await.unwrap_err();
        assert!(matches!(error, Error::TileContradicts { .. }), "{error}");
        assert!(fsck(&homes[0]).is_err());
        damage(tile, Some(&good[0]));
        damage(bundle, Some(&good[1]));
    }
    for path in [tile, bundle] {
        damage(path, None);
        damage("staged", None);
        let error = Server::bind(&homes[0], system_clock).await.unwrap_err();
        assert!(
            matches!(error, Error::TilesContradict { size: 1, .. }),
            "{error}"
        );
        // With the staged bundle what is missing comes back.
        damage("staged", Some(&staged));
        drop(Server::bind(&homes[0], system_clock).await.unwrap());
        assert_eq!(fsck(&homes[0]).unwrap().size, 1);
    }
}

/// How a witness that does not follow our own code behaves next.
#[derive(Clone, Debug)]
enum Behaviour {
    Cosign,
    Answer(StatusCode, &'static str),
    Garbage,
    OtherKey,
}

fn answer(status: StatusCode, body: &'static str) -> Behaviour {
    Behaviour::Answer(status, body)
}

struct Foreign {
    signer: SignerKey,
    behaviours: tokio::sync::Mutex<mpsc::UnboundedReceiver<Behaviour>>,
    seen: mpsc::UnboundedSender<(u64, u64, usize)>,
}

async fn foreign_answer(
    State(foreign): State<Arc<Foreign>>,
    body: Bytes,
) -> axum::response::Response {
    let request = AddCheckpoint::parse(&body).unwrap();
    let (old, size) = (request.old_size(), request.checkpoint().size());
    let _ = foreign
        .seen
        .send((old, size, request.note().signatures().len()));
    let behaviour = foreign
        .behaviours
        .lock()
        .await
        .recv()
        .await
        .unwrap_or(Behaviour::Cosign);
    let line = |signer: &SignerKey| {
        cosign(request.note().text(), signer, 1_800_000_000)
            .unwrap()
            .to_string()
    };
    match behaviour {
        Behaviour::Cosign => line(&foreign.signer).into_response(),
        Behaviour::Garbage => "— witness AAAA\n".into_response(),
        Behaviour::OtherKey => {
            let name = KeyName::parse("stranger.example").unwrap();
            line(&SignerKey::from_seed(
                name,
                Algorithm::CosignatureEd25519,
                &[4; 32],
            ))
            .into_response()
        }
        Behaviour::Answer(status, body) => {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_static("0"));
            (status, headers, body).into_response()
        }
    }
}

/// What the witness answers first, and from which size the log asks again: from the same, from
/// the one it was told, or not at all.
#[derive(Clone, Copy, Debug)]
enum Again {
    Never,
    SameSize,
    From(u64),
}

async fn assert_cosigned_after(
    log: &Running,
    acme: &mut Operator,
    trusted: &Policy,
    behave: &mpsc::UnboundedSender<Behaviour>,
    requests: &mut mpsc::UnboundedReceiver<(u64, u64, usize)>,
) {
    let cases = [
        (Behaviour::Cosign, Again::Never),
        (
            answer(StatusCode::INTERNAL_SERVER_ERROR, ""),
            Again::SameSize,
        ),
        (answer(StatusCode::TOO_MANY_REQUESTS, ""), Again::SameSize),
        (answer(StatusCode::NOT_FOUND, "who"), Again::SameSize),
        (answer(StatusCode::FORBIDDEN, ""), Again::SameSize),
        (answer(StatusCode::BAD_REQUEST, ""), Again::SameSize),
        (answer(StatusCode::FOUND, ""), Again::SameSize),
        (answer(StatusCode::OK, ""), Again::SameSize),
        (Behaviour::Garbage, Again::SameSize),
        (Behaviour::OtherKey, Again::SameSize),
        // Alarming, but nothing that this log has signed shows it.
        (answer(StatusCode::CONFLICT, ""), Again::SameSize),
        (answer(StatusCode::CONFLICT, "1"), Again::SameSize),
        (answer(StatusCode::CONFLICT, "99\n"), Again::SameSize),
        (
            answer(StatusCode::UNPROCESSABLE_ENTITY, ""),
            Again::SameSize,
        ),
        // It says where it is.
        (answer(StatusCode::CONFLICT, "0\n"), Again::From(0)),
        (answer(StatusCode::CONFLICT, "1\n"), Again::From(1)),
    ];
    for (size, (behaviour, again)) in (1..).zip(cases) {
        let name = format!("{behaviour:?}");
        behave.send(behaviour).unwrap();
        if !matches!(again, Again::Never) {
            behave.send(Behaviour::Cosign).unwrap();
        }
        let entry = acme.next();
        let answer = log.post("/v1/entries?wait=witnessed", entry.clone()).await;
        assert_eq!(answer.verified(&entry, trusted), (size, size + 1), "{name}");
        assert_eq!(
            requests.recv().await.unwrap(),
            (size, size + 1, 1),
            "{name}"
        );
        let second = match again {
            Again::Never => continue,
            Again::SameSize => size,
            Again::From(other) => other,
        };
        assert_eq!(
            requests.recv().await.unwrap(),
            (second, size + 1, 1),
            "{name}"
        );
    }
}

/// Starts a foreign witness. Returns how to tell it what to do, what it was asked (old size, size,
/// signatures), its key and its address.
async fn foreign() -> (
    mpsc::UnboundedSender<Behaviour>,
    mpsc::UnboundedReceiver<(u64, u64, usize)>,
    VerifierKey,
    std::net::SocketAddr,
) {
    let name = KeyName::parse("foreign.example/w").unwrap();
    let signer = SignerKey::from_seed(name, Algorithm::CosignatureEd25519, &[3; 32]);
    let (behave, behaviours) = mpsc::unbounded_channel();
    let (seen, requests) = mpsc::unbounded_channel();
    let key: VerifierKey = signer.verifier().clone();
    let foreign = Arc::new(Foreign {
        signer,
        behaviours: behaviours.into(),
        seen,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/prefix/add-checkpoint", post(foreign_answer))
        // Nobody may stop the log with what it has not signed.
        .route(
            "/prefix/{hash}/checkpoint",
            get(|| async { "lies\n\n— x AAAAAAAA\n" }),
        )
        .with_state(foreign);
    tokio::spawn(axum::serve(listener, router).into_future());
    (behave, requests, key, address)
}

#[tokio::test]
async fn copes_with_every_answer_a_witness_may_give() {
    let (behave, mut requests, key, address) = foreign().await;
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("log");
    let policy = format!("witness w {key} http://{address}/prefix/\nquorum w\n");
    let token = new_log(&home, Some(policy.clone().into_bytes()))
        .admission_token
        .to_string();
    behave.send(Behaviour::Cosign).unwrap();
    behave.send(Behaviour::Cosign).unwrap();
    let log = Running::start(&home).await;
    let trusted = Policy::parse(policy.as_bytes())
        .unwrap()
        .with_log(log.key.clone());
    assert!(trusted.verify(&published(&log, 0).await).is_ok());
    // Only the log's own signature goes out.
    assert_eq!(requests.recv().await.unwrap(), (0, 0, 1));
    let mut acme = Operator::new("acme.example", 1);
    assert_eq!(log.register(acme.manifest(), &token).await.status, 200);
    assert_eq!(requests.recv().await.unwrap(), (0, 1, 1));

    assert_cosigned_after(&log, &mut acme, &trusted, &behave, &mut requests).await;
    log.stop().await;
}

#[tokio::test]
async fn before_it_has_confirmed_the_word_of_a_witness_stops_the_log() {
    for alarm in [
        answer(StatusCode::CONFLICT, "99\n"),
        answer(StatusCode::CONFLICT, "other root"),
        answer(StatusCode::UNPROCESSABLE_ENTITY, ""),
    ] {
        let (behave, mut requests, key, address) = foreign().await;
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("log");
        let policy = format!("witness w {key} http://{address}/prefix/\nquorum w\n");
        let token = new_log(&home, Some(policy.clone().into_bytes()))
            .admission_token
            .to_string();
        behave.send(Behaviour::Cosign).unwrap();
        behave.send(Behaviour::Cosign).unwrap();
        let log = Running::start(&home).await;
        let mut acme = Operator::new("acme.example", 1);
        assert_eq!(log.register(acme.manifest(), &token).await.status, 200);
        log.stop().await;
        while requests.try_recv().is_ok() {}

        // The checkpoint it has cosigned is submitted again, and it does not like it now.
        let name = format!("{alarm:?}");
        behave.send(alarm).unwrap();
        set_limits(&home, "wait_ms = 300");
        let log = Running::start(&home).await;
        assert_eq!(requests.recv().await.unwrap(), (1, 1, 1), "{name}");
        let refused = loop {
            let answer = log.post("/v1/entries", acme.commitment(3, 9)).await;
            if answer.error().1 != "fork_unconfirmed" {
                break answer;
            }
        };
        assert_eq!(refused.error(), (503, "fork_suspected".into()), "{name}");
        log.stop().await;
        assert_eq!(fsck(&home).unwrap().size, 1, "{name}");
    }
}

#[tokio::test]
async fn late_cosignatures_are_added_to_what_is_published() {
    let mut setup = Setup::new(2).await;
    // Any one of the two is enough.
    let path = setup.home().join("witnesses.policy");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("group all all", "group all any");
    fs::write(&path, text).unwrap();
    let log = Running::start(&setup.home()).await;
    published(&log, 0).await;
    setup.witnesses[1].stop().await;
    let mut acme = Operator::new("acme.example", 1);
    assert_eq!(
        log.register(acme.manifest(), &setup.token).await.status,
        200
    );
    let entry = acme.next();
    assert_eq!(
        log.post("/v1/entries?wait=witnessed", entry).await.status,
        200
    );
    setup.witnesses[1].start().await;
    // The strict policy is met once the other has caught up, without a new entry.
    let strict = setup.policy(&log);
    tokio::time::timeout(Duration::from_secs(30), async {
        while strict.verify(&log.get("/checkpoint").await.note()).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    log.stop().await;
}

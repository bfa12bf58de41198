//! What the log answers, over a real socket.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers"
)]

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use counterfoil_log::{Error, InitOptions, Server, fsck, init, system_clock};
use counterfoil_tlog::{
    checkpoint::Checkpoint,
    tile::{BundleId, RightEdge, TileId, Width, new_bundles, new_tiles, parse_bundle},
    tree::leaf_hash,
};
use support::{Operator, Running, new_log, set_limits, signing_key};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Setup {
    directory: tempfile::TempDir,
    token: String,
}

impl Setup {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let token = new_log(&directory.path().join("log"), None)
            .admission_token
            .to_string();
        Self { directory, token }
    }

    fn home(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }
}

#[tokio::test]
async fn registers_operators_that_show_the_token_once() {
    let setup = Setup::new();
    let log = Running::start(&setup.home()).await;
    let mut acme = Operator::new("acme.example", 1);
    let first = acme.manifest();

    assert_eq!(
        log.post("/v1/operators", first.clone()).await.error(),
        (401, "admission_token".into())
    );
    assert_eq!(
        log.post("/v1/entries", first.clone()).await.error(),
        (401, "admission_token".into())
    );
    let shorter: String = setup.token.chars().skip(1).collect();
    let first_digit = if setup.token.starts_with('0') {
        '1'
    } else {
        '0'
    };
    let other = format!("{first_digit}{shorter}");
    for wrong in ["", "x", &shorter, &other] {
        let answer = log.register(first.clone(), wrong).await;
        assert_eq!(answer.error(), (401, "admission_token".into()), "{wrong}");
    }
    let answer = log.register(first.clone(), &setup.token).await;
    assert_eq!(answer.verified(&first, &log.policy()), (0, 1));
    // Again: the original answer, with or without the token.
    assert_eq!(
        log.post("/v1/operators", first.clone())
            .await
            .verified(&first, &log.policy())
            .0,
        0
    );
    assert_eq!(log.post("/add", first.clone()).await.text(), "0\n");

    // A newer version needs no token, but the right place and signature.
    let key = signing_key(40);
    let second = acme.manifest_with(&[&key.public().clone()], vec![acme.kid()]);
    let mut thief = Operator::new("acme.example", 60);
    let other_first = thief.manifest();
    let answer = log.register(other_first, &setup.token).await;
    assert_eq!(answer.error(), (409, "not_next_version".into()));
    assert_eq!(answer.json()["expected_version"], 2);
    thief.previous_manifest = Some(counterfoil_protocol::digest::ManifestDigest::of(&first));
    let forged = thief.manifest();
    assert_eq!(
        log.post("/v1/operators", forged).await.error(),
        (403, "manifest_chain_broken".into())
    );
    assert_eq!(
        log.post("/v1/operators", second.clone())
            .await
            .verified(&second, &log.policy())
            .0,
        1
    );

    // An enforcer key belongs to one operator for ever, even a revoked one.
    let mut globex = Operator::new("globex.example", 20);
    let stolen = globex.manifest_with(&[&acme.key.public().clone()], Vec::new());
    assert_eq!(
        log.register(stolen, &setup.token).await.error(),
        (403, "key_taken".into())
    );

    let list = log.get("/v1/operators/acme.example").await.json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(
        (&list[1]["version"], &list[1]["index"]),
        (&2.into(), &1.into())
    );
    let text = list[0]["manifest"].as_str().unwrap();
    assert_eq!(counterfoil_tlog::text::base64_decode(text).unwrap(), first);
    assert_eq!(
        log.get("/v1/operators/none.example").await.error(),
        (404, "not_found".into())
    );
    let commitment = Operator::new("acme.example", 1).next();
    let answer = log.register(commitment, &setup.token).await;
    assert_eq!(answer.error(), (400, "cose_type".into()));
    log.stop().await;
    assert_eq!(fsck(&setup.home()).unwrap().size, 2);
}

#[tokio::test]
async fn logs_the_batches_of_a_stream_in_order_and_once() {
    let setup = Setup::new();
    let log = Running::start(&setup.home()).await;
    let policy = log.policy();
    let mut acme = Operator::new("acme.example", 1);
    let stream = format!("/v1/streams/{}", acme.kid());
    assert_eq!(
        log.post("/v1/entries", acme.commitment(1, 1)).await.error(),
        (403, "operator_unknown".into())
    );
    assert_eq!(log.get(&stream).await.error(), (404, "not_found".into()));
    assert_eq!(
        log.register(acme.manifest(), &setup.token).await.status,
        200
    );
    let empty = log.get(&stream).await.json();
    assert_eq!(
        (&empty["batches"], &empty["last_commitment"]),
        (&0.into(), &serde_json::Value::Null)
    );

    let first = acme.next();
    let answer = log.post("/v1/entries?wait=integrated", first.clone()).await;
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.verified(&first, &policy), (1, 2));
    let second = acme.next();
    let answer = log.post("/v1/entries?wait=published", second.clone()).await;
    assert_eq!(answer.verified(&second, &policy), (2, 3));
    let third = acme.next();
    assert_eq!(log.post("/add", third.clone()).await.text(), "3\n");
    assert_eq!(
        log.post("/v1/entries", first.clone())
            .await
            .verified(&first, &policy)
            .0,
        1
    );
    assert_eq!(log.post("/add", second.clone()).await.text(), "2\n");

    let row = log.get(&stream).await.json();
    assert_eq!(row["operator"], "acme.example");
    assert_eq!((&row["batches"], &row["records"]), (&3.into(), &9.into()));
    assert_eq!(row["last_index"], 3);
    assert_eq!(row["last_commitment"], acme.last.unwrap().to_string());

    // Each with one thing wrong.
    let fourth = acme.commitment(3, 9);
    let with = |change: fn(&mut Operator)| {
        let mut other = Operator {
            name: acme.name.clone(),
            ..Operator::new("acme.example", 1)
        };
        (other.batches, other.records, other.last) = (acme.batches, acme.records, acme.last);
        change(&mut other);
        other.commitment(3, 9)
    };
    let mut flipped = fourth.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (name, entry, status, code) in [
        (
            "later batch",
            with(|o| o.batches += 1),
            409,
            "not_next_batch",
        ),
        (
            "earlier batch, other content",
            with(|o| o.batches -= 1),
            409,
            "not_next_batch",
        ),
        (
            "gap in the records",
            with(|o| o.records += 1),
            409,
            "chain_broken",
        ),
        (
            "overlap in the records",
            with(|o| o.records -= 1),
            409,
            "chain_broken",
        ),
        (
            "other predecessor",
            with(|o| o.last = Some(counterfoil_protocol::digest::CommitmentDigest::of(b"x"))),
            409,
            "chain_broken",
        ),
        (
            "unlisted key",
            with(|o| o.key = signing_key(99)),
            403,
            "key_unknown",
        ),
        ("flipped signature", flipped, 403, "signature_invalid"),
        (
            "a byte too many",
            [&fourth[..], &[0]].concat(),
            400,
            "cbor_trailing_bytes",
        ),
        (
            "cut off",
            fourth[..fourth.len() - 1].to_vec(),
            400,
            "cbor_truncated",
        ),
        ("empty", Vec::new(), 400, "cbor_truncated"),
        ("not an entry", b"hello".to_vec(), 400, "cbor_truncated"),
        ("too large", vec![0; 65_536], 413, "entry_too_large"),
    ] {
        for path in ["/v1/entries", "/add"] {
            let answer = log.post(path, entry.clone()).await;
            assert_eq!(
                answer.error(),
                (status, code.into()),
                "{name} at {path}: {answer:?}"
            );
            if code == "not_next_batch" {
                assert_eq!(answer.json()["expected_batch"], 3);
            }
        }
    }
    for query in ["wait=never", "wait", "wait=Published", "wait=published&x=1"] {
        let answer = log
            .post(&format!("/v1/entries?{query}"), fourth.clone())
            .await;
        assert_eq!(answer.error(), (400, "malformed_request".into()), "{query}");
    }
    let answer = log.post("/v1/entries?wait=witnessed", fourth.clone()).await;
    assert_eq!(answer.error(), (400, "no_witnesses".into()));
    // Asking for a proof of the last one waits until it is published.
    assert_eq!(
        log.post("/v1/entries", third.clone())
            .await
            .verified(&third, &policy),
        (3, 4)
    );
    let checkpoint = log.get("/checkpoint").await;
    assert_eq!(checkpoint.text().lines().nth(1), Some("4"));
    for (index, entry) in [(1, &first), (2, &second), (3, &third)] {
        let answer = log.get(&format!("/v1/proof?index={index}")).await;
        assert_eq!(answer.verified(entry, &policy), (index, 4));
    }
    assert_eq!(
        log.get("/v1/proof?index=4").await.error(),
        (404, "not_covered".into())
    );
    for query in [
        "",
        "?index=",
        "?index=01",
        "?index=-1",
        "?index=1&index=2",
        "?index=99999999999999999999",
    ] {
        let answer = log.get(&format!("/v1/proof{query}")).await;
        assert_eq!(answer.error(), (400, "malformed_request".into()), "{query}");
    }

    // A revoked key signs nothing more, from the manifest's place in the log on.
    let new_key = signing_key(50);
    let revoking = acme.manifest_with(
        &[&new_key.public().clone(), &acme.key.public().clone()],
        vec![acme.kid()],
    );
    assert_eq!(log.post("/v1/entries", revoking).await.status, 200);
    assert_eq!(
        log.post("/v1/entries", fourth).await.error(),
        (403, "key_revoked".into())
    );
    assert_eq!(
        log.post("/v1/entries", first.clone())
            .await
            .verified(&first, &policy)
            .0,
        1
    );
    log.stop().await;
    assert_eq!(fsck(&setup.home()).unwrap().size, 5);
}

#[tokio::test]
async fn a_retired_key_may_finish_its_stream_until_it_is_revoked() {
    let setup = Setup::new();
    let mut log = Running::start(&setup.home()).await;
    let mut acme = Operator::new("acme.example", 1);
    let first = acme.manifest();
    assert_eq!(log.register(first, &setup.token).await.status, 200);
    let [before, after, late] = [acme.next(), acme.next(), acme.next()];
    assert_eq!(log.post("/v1/entries", before).await.status, 200);
    // The next version lists another key only.
    let new_key = signing_key(50).public().clone();
    let rotated = acme.manifest_with(&[&new_key], Vec::new());
    assert_eq!(log.post("/v1/entries", rotated).await.status, 200);
    // The same after a restart, when the registry comes from the disk.
    log.stop().await;
    log = Running::start(&setup.home()).await;
    assert_eq!(log.post("/v1/entries", after).await.status, 200);
    let revoking = acme.manifest_with(&[&new_key], vec![acme.kid()]);
    assert_eq!(log.post("/v1/entries", revoking).await.status, 200);
    assert_eq!(
        log.post("/v1/entries", late).await.error(),
        (403, "key_revoked".into())
    );
    log.stop().await;
}

#[tokio::test]
async fn many_at_once_are_each_logged_once_in_their_streams() {
    let setup = Setup::new();
    let log = std::sync::Arc::new(Running::start(&setup.home()).await);
    let mut tasks = Vec::new();
    for number in 0..8_u8 {
        let mut operator = Operator::new(&format!("op{number}.example"), 10 + 2 * number);
        let manifest = operator.manifest();
        assert_eq!(log.register(manifest, &setup.token).await.status, 200);
        let log = std::sync::Arc::clone(&log);
        tasks.push(tokio::spawn(async move {
            let mut indexes = Vec::new();
            for _ in 0..40 {
                let entry = operator.next();
                // Twice at the same time: one entry, one index.
                let (one, other) = tokio::join!(
                    log.post("/v1/entries", entry.clone()),
                    log.post("/add", entry.clone())
                );
                let (index, _) = one.verified(&entry, &log.policy());
                assert_eq!(other.text(), format!("{index}\n"));
                indexes.push(index);
            }
            assert!(indexes.is_sorted());
            indexes
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all.len(), 320);
    all.dedup();
    assert_eq!(all.len(), 320);
    std::sync::Arc::into_inner(log).unwrap().stop().await;
    let report = fsck(&setup.home()).unwrap();
    assert_eq!((report.size, report.published), (328, Some(328)));
}

#[tokio::test]
async fn serves_the_tree_as_tlog_tiles_says() {
    let setup = Setup::new();
    let log = Running::start(&setup.home()).await;
    let empty = log.get("/checkpoint").await;
    assert_eq!(
        empty.note().text(),
        "log.example/one\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    );

    let mut acme = Operator::new("acme.example", 1);
    let mut entries = vec![acme.manifest()];
    assert_eq!(
        log.register(entries[0].clone(), &setup.token).await.status,
        200
    );
    let mut checkpoints = Vec::new();
    for _ in 1..270 {
        let entry = acme.next();
        assert_eq!(log.post("/v1/entries", entry.clone()).await.status, 200);
        entries.push(entry);
        checkpoints.push(Checkpoint::parse(log.get("/checkpoint").await.note().text()).unwrap());
    }
    let answer = log.get("/checkpoint").await;
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "max-age=1");

    // Every tile and bundle of every published size, partial ones too.
    let mut edge = RightEdge::new();
    edge.append(&[leaf_hash(&entries[0])]).unwrap();
    for checkpoint in &checkpoints {
        let size = checkpoint.size();
        let at = usize::try_from(size).unwrap();
        let tiles = edge.append(&[leaf_hash(&entries[at - 1])]).unwrap();
        assert_eq!((edge.size(), edge.root()), (size, *checkpoint.root()));
        for tile in tiles {
            let answer = log.get(&format!("/{}", tile.id.path())).await;
            assert_eq!(
                (answer.status, &answer.body),
                (200, &tile.bytes),
                "{}",
                tile.id
            );
            assert_eq!(answer.header("content-type"), "application/octet-stream");
            assert!(answer.header("cache-control").contains("immutable"));
        }
        let bundle = new_bundles(size - 1, size).last().unwrap();
        let answer = log.get(&format!("/{}", bundle.path())).await;
        let found = parse_bundle(&answer.body, bundle.width()).unwrap();
        let start = usize::try_from(bundle.index()).unwrap() * 256;
        assert_eq!(
            found,
            entries[start..at]
                .iter()
                .map(Vec::as_slice)
                .collect::<Vec<_>>()
        );
    }
    // The partial versions of full tiles are not kept as files.
    assert!(!setup.home().join("tiles/tile/0/000.p").exists());
    assert!(setup.home().join("tiles/tile/0/000").exists());
    assert!(setup.home().join("tiles/tile/0/001.p/14").exists());
    assert_eq!(new_tiles(0, 270).count(), 3);

    let beyond = TileId::new(0, 1, Width::new(15).unwrap()).unwrap().path();
    let full = BundleId::new(1, Width::FULL).path();
    for path in [
        &beyond,
        &full,
        "tile/0/002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/x000/000",
        "tile/0/1000",
        "tile/data/000",
        "tile/0/..%2f..%2flog.key",
        "tile/0/%2e%2e/%2e%2e/%2e%2e/log.key",
        "tile/8/0/000",
        "tile/",
        "tile",
    ] {
        assert_eq!(log.get(&format!("/{path}")).await.status, 404, "{path}");
    }
    log.stop().await;
    assert_eq!(fsck(&setup.home()).unwrap().size, 270);
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let setup = Setup::new();
    let mut acme = Operator::new("acme.example", 1);
    let log = Running::start(&setup.home()).await;
    assert_eq!(
        log.register(acme.manifest(), &setup.token).await.status,
        200
    );
    let first = acme.next();
    assert_eq!(log.post("/v1/entries", first.clone()).await.status, 200);
    let before = log.get("/checkpoint").await.body;
    log.stop().await;
    for _ in 0..3 {
        let log = Running::start(&setup.home()).await;
        assert_eq!(log.get("/checkpoint").await.body, before);
        assert_eq!(
            log.post("/v1/entries", first.clone())
                .await
                .verified(&first, &log.policy()),
            (1, 2)
        );
        assert_eq!(log.get("/checkpoint").await.body, before);
        log.stop().await;
    }
    let log = Running::start(&setup.home()).await;
    let second = acme.next();
    assert_eq!(
        log.post("/v1/entries", second.clone())
            .await
            .verified(&second, &log.policy()),
        (2, 3)
    );
    log.stop().await;
}

#[tokio::test]
async fn a_flood_is_refused_and_what_was_taken_is_kept() {
    let setup = Setup::new();
    // After the first, nothing is sequenced for an hour, and nobody waits for it.
    set_limits(
        &setup.home(),
        "pool_entries = 5\ninterval_ms = 3600000\nwait_ms = 40",
    );
    let mut acme = Operator::new("acme.example", 1);
    let manifest = acme.manifest();
    let log = Running::start(&setup.home()).await;
    log.register(manifest.clone(), &setup.token).await;
    while log.post("/add", manifest.clone()).await.status != 200 {}
    for _ in 1..=5 {
        let answer = log.post("/v1/entries", acme.next()).await;
        assert_eq!(answer.error(), (504, "timeout".into()));
        // No index is promised before it is one.
        assert_eq!(answer.json()["index"], serde_json::Value::Null);
    }
    let sixth = acme.commitment(3, 9);
    for path in ["/v1/entries", "/add", "/v1/entries?wait=integrated"] {
        let answer = log.post(path, sixth.clone()).await;
        assert_eq!(answer.error(), (503, "pool_full".into()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    // Stopping sequences what was taken.
    log.stop().await;
    assert_eq!(fsck(&setup.home()).unwrap().size, 6);
    let log = Running::start(&setup.home()).await;
    let taken = loop {
        let answer = log.post("/add", sixth.clone()).await;
        if answer.status == 200 {
            break answer;
        }
    };
    assert_eq!(taken.text(), "6\n");
    log.stop().await;
}

#[tokio::test]
async fn init_makes_a_complete_directory_once() {
    let setup = Setup::new();
    let home = setup.home();
    for name in ["log.key", "admission.token", "log.sqlite"] {
        let mode = fs::metadata(home.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let key = fs::read(home.join("log.key")).unwrap();
    let options = InitOptions {
        origin: support::ORIGIN.to_owned(),
        listen: String::new(),
        witness_policy: None,
    };
    assert!(matches!(init(&home, &options), Err(Error::Durable(_))));
    assert_eq!(fs::read(home.join("log.key")).unwrap(), key);
    let elsewhere = home.with_file_name("other");
    let bad_origin = InitOptions {
        origin: "a b".to_owned(),
        ..options.clone()
    };
    assert!(matches!(
        init(&elsewhere, &bad_origin),
        Err(Error::Origin { .. })
    ));
    let no_url = b"witness w remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2\nquorum w\n";
    let policy = InitOptions {
        witness_policy: Some(no_url.to_vec()),
        ..options.clone()
    };
    let error = init(&elsewhere, &policy).unwrap_err().to_string();
    assert!(error.ends_with("witness `w` has no URL"), "{error}");
    let policy = InitOptions {
        witness_policy: Some(b"quorum none\nwitnes\n".to_vec()),
        ..options
    };
    assert!(
        init(&elsewhere, &policy)
            .unwrap_err()
            .to_string()
            .contains("line 2")
    );
    assert!(!elsewhere.exists());

    // Two on one directory.
    let server = Server::bind(&home, system_clock).await.unwrap();
    let error = Server::bind(&home, system_clock).await.unwrap_err();
    let expected = format!(
        "`{}` is in use by process {}",
        home.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    drop(server);

    let path = home.join("log.toml");
    let good = fs::read_to_string(&path).unwrap();
    for (text, line, part) in [
        (format!("{good}pool = 1\n"), 3, "unknown field `pool`"),
        (
            format!("{good}[limits]\nwait = 1\n"),
            4,
            "unknown field `wait`",
        ),
        (
            format!("{good}[limits]\nwait_ms = -1\n"),
            4,
            "invalid value",
        ),
        ("\n".to_owned(), 1, "missing field `listen`"),
    ] {
        fs::write(&path, text).unwrap();
        let message = Server::bind(&home, system_clock)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with(&format!("`{}` line {line}: ", path.display())),
            "{message}"
        );
        assert!(message.contains(part), "{message}");
    }
    fs::write(&path, good).unwrap();
    for name in ["log.key", "admission.token", "log.sqlite"] {
        let content = fs::read(home.join(name)).unwrap();
        fs::write(home.join(name), "").unwrap();
        assert!(
            Server::bind(&home, system_clock).await.is_err(),
            "emptied {name}"
        );
        fs::remove_file(home.join(name)).unwrap();
        assert!(
            Server::bind(&home, system_clock).await.is_err(),
            "missing {name}"
        );
        fs::write(home.join(name), content).unwrap();
        fs::set_permissions(home.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    Server::bind(&home, system_clock).await.unwrap();
}

/// Sends the head of a submission and no body.
async fn hold(log: &Running) -> tokio::net::TcpStream {
    let address = log.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("POST /add HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn submissions_beyond_the_bound_are_turned_away_at_the_door() {
    let setup = Setup::new();
    set_limits(&setup.home(), "requests = 2\nbody_ms = 60000");
    let log = Running::start(&setup.home()).await;
    let mut acme = Operator::new("acme.example", 1);
    let manifest = acme.manifest();
    assert_eq!(log.register(manifest, &setup.token).await.status, 200);
    let held = [hold(&log).await, hold(&log).await];
    let entry = acme.next();
    let busy = loop {
        // Until both have been seen.
        let answer = log.post("/add", entry.clone()).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(busy.error(), (503, "busy".into()));
    assert_eq!(busy.header("retry-after"), "1");
    // Readers have no part in it.
    assert_eq!(log.get("/checkpoint").await.status, 200);
    assert_eq!(log.get("/v1/proof?index=0").await.status, 200);
    // Whoever leaves makes room.
    drop(held);
    while log.post("/add", entry.clone()).await.status != 200 {}
    log.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let setup = Setup::new();
    set_limits(&setup.home(), "body_ms = 50");
    let log = Running::start(&setup.home()).await;
    let mut stream = hold(&log).await;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    drop(stream);
    log.stop().await;
}

#[tokio::test]
async fn manifests_are_listed_in_pieces() {
    let setup = Setup::new();
    let log = Running::start(&setup.home()).await;
    let mut acme = Operator::new("acme.example", 1);
    for _ in 0..70 {
        let manifest = acme.manifest();
        assert_eq!(log.register(manifest, &setup.token).await.status, 200);
    }
    let versions = async |query: &str| -> Vec<u64> {
        let list = log.get(&format!("/v1/operators/acme.example{query}")).await;
        let list = list.json();
        let versions = list.as_array().unwrap().iter();
        versions.map(|it| it["version"].as_u64().unwrap()).collect()
    };
    assert_eq!(versions("").await, (1..=64).collect::<Vec<_>>());
    assert_eq!(versions("?from=65").await, (65..=70).collect::<Vec<_>>());
    assert_eq!(versions("?from=69&limit=1").await, [69]);
    assert_eq!(versions("?limit=2").await, [1, 2]);
    assert_eq!(versions("?from=71").await, [0; 0]);
    assert_eq!(versions("?from=18446744073709551615").await, [0; 0]);
    for query in ["limit=0", "limit=65", "from=-1", "from=01", "limit=", "x=1"] {
        let answer = log
            .get(&format!("/v1/operators/acme.example?{query}"))
            .await;
        assert_eq!(answer.error(), (400, "malformed_request".into()), "{query}");
    }
    let answer = log.get("/v1/operators/none.example?from=5").await;
    assert_eq!(answer.error(), (404, "not_found".into()));
    log.stop().await;
}

#[tokio::test]
async fn secrets_that_others_can_read_stop_the_start() {
    let setup = Setup::new();
    for name in ["log.key", "admission.token"] {
        let path = setup.home().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Server::bind(&setup.home(), system_clock).await.unwrap_err();
        let expected = format!("`{}` is open to others (mode `640`)", path.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    drop(Server::bind(&setup.home(), system_clock).await.unwrap());
}

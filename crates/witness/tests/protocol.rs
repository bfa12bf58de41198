//! Every answer of c2sp.org/tlog-witness, over a real socket.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers"
)]

mod support;

use counterfoil_tlog::{
    checkpoint::Checkpoint,
    note::{Algorithm, KeyName, Note, NoteSignature, SignerKey, VerifierKey},
    tree::Hash,
    witness::{AddCheckpoint, accept_cosignatures, monitoring_path},
};
use support::{Running, TestLog, new_witness};
use tokio::io::AsyncWriteExt;

fn noon() -> u64 {
    1_800_000_000
}

async fn witness(logs: Vec<VerifierKey>) -> (tempfile::TempDir, Running, VerifierKey) {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("w1");
    let key = new_witness(&home, logs);
    let running = Running::start(&home, noon).await;
    (directory, running, key)
}

fn log() -> TestLog {
    TestLog::new("log.example/one", "entry")
}

#[tokio::test]
async fn cosigns_a_growing_log_and_serves_its_newest_checkpoint() {
    let log = log();
    let (_directory, witness, key) = witness(vec![log.key.verifier().clone()]).await;
    let path = monitoring_path(&log.origin());
    assert_eq!(witness.get(&path).await.status, 404);

    let mut old = 0;
    for size in [0, 1, 1, 2, 255, 256, 257, 512, 600] {
        let answer = witness.submit(log.request(old, size)).await;
        assert_eq!(
            (answer.status, answer.body.lines().count()),
            (200, 1),
            "{answer:?}"
        );
        let checkpoint = log.checkpoint(size);
        let known = [key.clone()];
        let lines = accept_cosignatures(checkpoint.text(), answer.body.as_bytes(), &known).unwrap();

        let served = witness.get(&path).await;
        assert_eq!(
            (served.status, served.content_type.as_str()),
            (200, "text/plain; charset=utf-8")
        );
        let note = Note::parse(served.body.as_bytes()).unwrap();
        assert_eq!(note, checkpoint.with_signatures(lines).unwrap());
        let both = [key.clone(), log.key.verifier().clone()];
        let verified = note.verify(&both).unwrap();
        assert_eq!(verified.signatures().len(), 2);
        assert!(
            verified
                .signatures()
                .iter()
                .any(|line| line.timestamp() == Some(noon()))
        );
        old = size;
    }
    witness.stop().await;
}

#[tokio::test]
async fn refuses_with_the_specified_status() {
    let log = log();
    let (_directory, witness, _) = witness(vec![log.key.verifier().clone()]).await;
    assert_eq!(witness.submit(log.request(0, 10)).await.status, 200);
    assert_eq!(witness.submit(log.request(10, 20)).await.status, 200);

    let stranger = TestLog::new("other.example/log", "entry");
    let named_alike = SignerKey::from_seed(
        KeyName::parse("log.example/one").unwrap(),
        Algorithm::Ed25519,
        &[8; 32],
    );
    let checkpoint = |size| Checkpoint::new(log.origin(), size, log.root(size));
    let note = |note: Note, old, proof| AddCheckpoint::new(old, proof, note).unwrap().to_string();
    let good = log.checkpoint(30);
    let mut bytes = good.signatures()[0].signature().to_vec();
    bytes[0] ^= 1;
    let flipped = NoteSignature::new(log.key.name().clone(), log.key.verifier().id(), bytes);
    let bad = Note::new(good.text().to_owned(), vec![flipped.unwrap()]).unwrap();
    let mut short = log.proof(20, 30);
    short.pop();
    let mut long = log.proof(20, 30);
    long.push(Hash::from_bytes([0; 32]));
    let mut wrong = log.proof(20, 30);
    wrong[0] = Hash::from_bytes([0; 32]);
    let (right, fork) = (log.request(20, 30), log.fork(15));

    let cases: Vec<(&str, String, u16)> = vec![
        ("empty body", String::new(), 400),
        ("no old line", right.replacen("old 20\n", "", 1), 400),
        ("leading zero", right.replacen("old 20", "old 020", 1), 400),
        ("minus", right.replacen("old 20", "old -20", 1), 400),
        ("carriage returns", right.replace('\n', "\r\n"), 400),
        (
            "a space before a hash",
            right.replacen("old 20\n", "old 20\n ", 1),
            400,
        ),
        (
            "64 proof lines",
            {
                let line = format!("{}\n", Hash::from_bytes([1; 32]));
                format!("old 20\n{}\n{good}", line.repeat(64))
            },
            400,
        ),
        (
            "unsigned checkpoint",
            format!("old 20\n\n{}", good.text()),
            400,
        ),
        (
            "old larger than new",
            note(log.checkpoint(19), 20, Vec::new()),
            400,
        ),
        ("unknown origin", stranger.request(0, 10), 404),
        (
            "unknown key of a known name",
            note(
                checkpoint(30).sign(&named_alike).unwrap(),
                20,
                log.proof(20, 30),
            ),
            403,
        ),
        (
            "broken signature of the known key",
            note(bad, 20, log.proof(20, 30)),
            403,
        ),
        ("proof too short", note(good.clone(), 20, short), 422),
        ("proof too long", note(good.clone(), 20, long), 422),
        ("wrong proof", note(good.clone(), 20, wrong), 422),
        ("fork", fork.request(20, 30), 422),
        (
            "same size, other root",
            note(fork.checkpoint(20), 20, Vec::new()),
            422,
        ),
        (
            "same size with a proof",
            note(log.checkpoint(20), 20, log.proof(10, 20)),
            422,
        ),
    ];
    for (name, body, status) in cases {
        let answer = witness.submit(body).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(answer.content_type, "text/plain; charset=utf-8", "{name}");
    }
    for (name, body) in [
        ("behind", log.request(10, 30)),
        ("ahead", log.request(25, 30)),
        ("from zero", log.request(0, 30)),
        ("from zero, smaller than known", log.request(0, 5)),
    ] {
        let answer = witness.submit(body).await;
        let expected = (409, "text/x.tlog.size", "20\n");
        let got = (
            answer.status,
            answer.content_type.as_str(),
            answer.body.as_str(),
        );
        assert_eq!(got, expected, "{name}");
    }
    assert_eq!(witness.submit(vec![b'a'; 200_000]).await.status, 413);
    assert_eq!(witness.get("add-checkpoint").await.status, 405);
    // None of that moved it.
    assert_eq!(witness.submit(right).await.status, 200);
}

#[tokio::test]
async fn a_first_checkpoint_needs_no_proof_and_may_have_none() {
    let log = log();
    let (_directory, witness, _) = witness(vec![log.key.verifier().clone()]).await;
    let other_root = Checkpoint::new(log.origin(), 0, log.root(1))
        .sign(&log.key)
        .unwrap();
    let body = AddCheckpoint::new(0, Vec::new(), other_root)
        .unwrap()
        .to_string();
    assert_eq!(witness.submit(body).await.status, 422);
    let body = AddCheckpoint::new(0, log.proof(3, 8), log.checkpoint(8))
        .unwrap()
        .to_string();
    assert_eq!(witness.submit(body).await.status, 422);
    let answer = witness.submit(log.request(3, 8)).await;
    assert_eq!((answer.status, answer.body.as_str()), (409, "0\n"));
    assert_eq!(witness.submit(log.request(0, 8)).await.status, 200);
}

#[tokio::test]
async fn keeps_and_serves_only_lines_it_can_vouch_for() {
    let log = log();
    let new_key = SignerKey::from_seed(log.key.name().clone(), Algorithm::Ed25519, &[9; 32]);
    let keys = vec![log.key.verifier().clone(), new_key.verifier().clone()];
    let (_directory, witness, key) = witness(keys.clone()).await;
    let checkpoint = Checkpoint::new(log.origin(), 4, log.root(4));
    let grease = NoteSignature::new(
        KeyName::parse("grease.example").unwrap(),
        counterfoil_tlog::note::KeyId::from_bytes([1, 2, 3, 4]),
        vec![5; 99],
    );
    let mut lines = vec![grease.unwrap()];
    lines.extend(checkpoint.sign(&new_key).unwrap().signatures().to_vec());
    lines.extend(checkpoint.sign(&log.key).unwrap().signatures().to_vec());
    let note = Note::new(checkpoint.to_string(), lines).unwrap();
    let body = AddCheckpoint::new(0, Vec::new(), note).unwrap().to_string();
    assert_eq!(witness.submit(body).await.status, 200);
    let served = witness.get(&monitoring_path(&log.origin())).await.body;
    let served = Note::parse(served.as_bytes()).unwrap();
    assert_eq!(served.signatures().len(), 3);
    let all = [&keys[..], &[key]].concat();
    assert_eq!(served.verify(&all).unwrap().signatures().len(), 3);
}

#[tokio::test]
async fn two_histories_at_once_get_one_cosignature_between_them() {
    let log = log();
    let fork = log.fork(10);
    let (_directory, witness, _) = witness(vec![log.key.verifier().clone()]).await;
    let witness = std::sync::Arc::new(witness);
    let mut old = 0;
    for size in [20, 40, 60, 80] {
        let requests: Vec<_> = (0..16)
            .map(|number| {
                let body = if number % 2 == 0 {
                    log.request(old, size)
                } else {
                    fork.request(old, size)
                };
                let witness = std::sync::Arc::clone(&witness);
                (
                    number,
                    tokio::spawn(async move { witness.submit(body).await.status }),
                )
            })
            .collect();
        let mut signed = Vec::new();
        for (number, request) in requests {
            if request.await.unwrap() == 200 {
                signed.push(number % 2);
            }
        }
        assert_eq!(signed.len(), 1, "at size {size}");
        if signed[0] == 1 {
            // From here on the fork is the history; the other log can go no further.
            assert_eq!(
                witness.submit(log.request(size, size + 1)).await.status,
                422
            );
            return;
        }
        old = size;
    }
}

#[tokio::test]
async fn more_requests_than_it_can_hold_are_turned_away() {
    let log = log();
    let (_directory, witness, _) = witness(vec![log.key.verifier().clone()]).await;
    assert_eq!(witness.submit(log.request(0, 10)).await.status, 200);
    let address = witness.url.strip_prefix("http://").unwrap().to_owned();
    let head =
        format!("POST /add-checkpoint HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    // Until all of them have been seen.
    let mut size = 10;
    let busy = loop {
        let answer = witness.submit(log.request(size, size + 1)).await;
        if answer.status != 200 {
            break answer;
        }
        size += 1;
    };
    assert_eq!(busy.status, 503, "{busy:?}");
    // Readers are served all the same.
    let path = monitoring_path(&log.origin());
    let note = witness.get(&path).await;
    assert_eq!(note.body.lines().nth(1), Some(&*size.to_string()));
    // Whoever leaves makes room.
    held.clear();
    while witness.submit(log.request(size, size + 1)).await.status == 503 {}
    witness.stop().await;
}

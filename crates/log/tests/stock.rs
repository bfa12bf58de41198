//! The log as others' verifiers see it: COSE receipts over a real socket.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers"
)]

mod support;

use counterfoil_protocol::cbor::Encoder;
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::stock::{Algorithm, CoseReceipt};
use counterfoil_tlog::text::base64_encode;
use support::{Answer, ORIGIN, Operator, Running, new_log};

struct Setup {
    _directory: tempfile::TempDir,
    log: Running,
    key: PublicKey,
    acme: Operator,
    entries: Vec<Vec<u8>>,
}

impl Setup {
    /// A log with five entries: a manifest and four commitments.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("log");
        let identity = new_log(&home, None);
        let key = PublicKey::from_bytes(identity.verifier_key.public_key()).unwrap();
        let log = Running::start(&home).await;
        let mut acme = Operator::new("acme.example", 1);
        let mut entries = vec![acme.manifest()];
        let answer = log
            .register(entries[0].clone(), &identity.admission_token)
            .await;
        assert_eq!(answer.verified(&entries[0], &log.policy()), (0, 1));
        for index in 1..5 {
            let entry = acme.next();
            let answer = log.post("/v1/entries", entry.clone()).await;
            assert_eq!(answer.verified(&entry, &log.policy()).0, index);
            entries.push(entry);
        }
        Self {
            _directory: directory,
            log,
            key,
            acme,
            entries,
        }
    }

    fn verified(&self, answer: &Answer, index: u64, size: u64, algorithm: Algorithm) {
        assert_eq!(answer.header("content-type"), "application/cose");
        let entry = &self.entries[usize::try_from(index).unwrap()];
        let receipt = CoseReceipt::parse(&answer.body, entry).unwrap();
        receipt.verify(&self.key).unwrap();
        assert_eq!(receipt.issuer(), ORIGIN);
        assert_eq!(receipt.algorithm(), algorithm);
        let inclusion = receipt.inclusion();
        assert_eq!((inclusion.index, inclusion.size), (index, size));
    }
}

/// A problem as RFC 9290 wants it.
fn problem(answer: &Answer) -> (u16, String) {
    assert_eq!(
        answer.header("content-type"),
        "application/concise-problem-details+cbor"
    );
    // {-1: title, -2: detail}, titles shorter than 24 bytes.
    assert_eq!(answer.body[..2], [0xa2, 0x20]);
    let length = usize::from(answer.body[2] & 0x1f);
    assert_eq!((answer.body[2] >> 5, answer.body[3 + length]), (3, 0x21));
    let title = String::from_utf8(answer.body[3..3 + length].to_vec()).unwrap();
    (answer.status, title)
}

#[tokio::test]
async fn every_entry_has_a_receipt_in_every_tree() {
    let setup = Setup::new().await;
    for size in 1..=5 {
        for index in 0..size {
            for algorithm in Algorithm::ALL {
                let path = format!("/entries/{index}?size={size}&alg={}", algorithm.number());
                let answer = setup.log.get(&path).await;
                setup.verified(&answer, index, size, algorithm);
                assert_eq!(setup.log.get(&path).await.body, answer.body);
            }
        }
    }
    // What is published, and the number that says which curve, unless something else is asked for.
    let answer = setup.log.get("/entries/3").await;
    setup.verified(&answer, 3, 5, Algorithm::Ed25519);
}

#[tokio::test]
async fn what_is_not_published_is_not_signed() {
    let setup = Setup::new().await;
    for (path, status, title) in [
        ("/entries/5", 404, "not_covered"),
        ("/entries/2?size=2", 404, "not_covered"),
        ("/entries/2?size=0", 404, "not_covered"),
        ("/entries/2?size=6", 404, "not_published"),
        ("/entries/2?size=18446744073709551615", 404, "not_published"),
        ("/entries/x", 404, "not_found"),
        ("/entries/02", 404, "not_found"),
        ("/entries/2?size=03", 400, "malformed_request"),
        ("/entries/2?alg=-7", 400, "malformed_request"),
        ("/entries/2?alg=EdDSA", 400, "malformed_request"),
        ("/entries/2?leaf=1", 400, "malformed_request"),
        ("/.well-known/scitt-keys/AAAA", 404, "not_found"),
    ] {
        let answer = setup.log.get(path).await;
        assert_eq!(problem(&answer), (status, title.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn an_entry_is_registered_and_its_receipt_is_the_answer() {
    let mut setup = Setup::new().await;
    let entry = setup.acme.next();
    setup.entries.push(entry.clone());
    for algorithm in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let path = format!("/entries?alg={}", algorithm.number());
        let answer = setup.log.post(&path, entry.clone()).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (201, "/entries/5")
        );
        setup.verified(&answer, 5, 6, algorithm);
    }
    let refused = setup.log.post("/entries", b"no statement".to_vec()).await;
    assert_eq!(problem(&refused).0, 400);
    let skipped = {
        setup.acme.next();
        setup.acme.next()
    };
    let refused = setup.log.post("/entries", skipped).await;
    assert_eq!(problem(&refused), (409, "not_next_batch".to_owned()));
}

#[tokio::test]
async fn the_keys_are_those_of_the_checkpoints() {
    let setup = Setup::new().await;
    let kid: KeyThumbprint = setup.key.thumbprint();
    let mut encoder = Encoder::with_capacity(96);
    encoder.map(|map| {
        map.key(1).unsigned(1);
        map.key(2).bytes(kid.as_bytes());
        map.key(-1).unsigned(6);
        map.key(-2).bytes(setup.key.as_bytes());
    });
    let key = encoder.into_bytes();
    let all = setup.log.get("/.well-known/scitt-keys").await;
    assert_eq!(all.body, [&[0x81], key.as_slice()].concat());
    let name = base64_encode(kid.as_bytes())
        .replace('+', "-")
        .replace('/', "_");
    let one = format!("/.well-known/scitt-keys/{}", name.trim_end_matches('='));
    let one = setup.log.get(&one).await;
    assert_eq!((one.status, one.body), (200, key));
}

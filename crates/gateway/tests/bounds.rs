//! What one client of a gateway cannot take from the others, over real sockets.

#![allow(missing_docs, reason = "tests")]
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_debug_implementations,
    reason = "helpers of tests"
)]

mod world;

use counterfoil_enforcer::environment::Environment;
use counterfoil_gateway::exchange::signature::{BodyDigest, Covered, Parameters, sign};
use counterfoil_protocol::keys::SigningKey;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use world::{Operator, Running, key};

/// A push to globex, signed by acme.
struct Push<'a> {
    authority: &'a str,
    key: &'a SigningKey,
    nonce: &'a str,
    body: &'a [u8],
}

impl Push<'_> {
    fn head(&self, length: usize) -> String {
        let covered = Covered {
            method: "POST",
            authority: self.authority,
            path: "/exchange/v1/records",
            query: "",
            body: Some(BodyDigest::of(self.body)),
        };
        let parameters = Parameters {
            created: Environment::system().clock.now().seconds().get(),
            kid: key(1).public().thumbprint(),
            nonce: self.nonce.to_owned(),
        };
        let signed = sign(&covered, &parameters, |base| self.key.sign(base));
        format!(
            "POST /exchange/v1/records HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\
             Content-Digest: {}\r\nSignature-Input: {}\r\nSignature: {}\r\n\
             Connection: close\r\n\r\n",
            self.authority,
            signed.content_digest.unwrap(),
            signed.input,
            signed.signature
        )
    }
}

/// Sends these bytes and nothing more; what comes back.
async fn raw(authority: &str, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer[9..12].parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    (status, body["code"].as_str().unwrap_or("ok").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_push_is_read_when_its_signature_has_been_verified() {
    let acme = Operator::new("acme.example", 1);
    let globex = Operator::new("globex.example", 2);
    globex.knows(&acme);
    let running = Running::with_exchange(&globex, "").await;
    let authority = running.address.to_string();
    let body = b"{\"records\":[]}";
    let (right, wrong) = (key(1), key(9));
    let push = |key, nonce| Push {
        authority: &authority,
        key,
        nonce,
        body,
    };
    // None of these bodies ever comes; the answers do.
    let unsigned = format!(
        "POST /exchange/v1/records HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 8000000\r\n\
         Connection: close\r\n\r\n"
    );
    let refused = |code: &str| (401, code.to_owned());
    assert_eq!(
        raw(&authority, unsigned.as_bytes()).await,
        refused("signature_missing")
    );
    let forged = push(&wrong, "one").head(8_000_000);
    assert_eq!(
        raw(&authority, forged.as_bytes()).await,
        refused("signature_invalid")
    );
    let undigested = push(&right, "one")
        .head(8_000_000)
        .replace("Content-Digest", "X-Digest");
    assert_eq!(
        raw(&authority, undigested.as_bytes()).await,
        refused("signature_malformed")
    );
    // What was not signed with the key has not used up its nonce.
    let mut good = push(&right, "one").head(body.len()).into_bytes();
    good.extend_from_slice(body);
    assert_eq!(
        raw(&authority, &good).await,
        (409, "evidence_malformed".to_owned())
    );
    assert_eq!(
        raw(&authority, &good[..good.len() - body.len()]).await,
        refused("request_replayed")
    );
    // A body that was put in the place of the signed one is not taken, and uses up the nonce.
    let mut other = push(&right, "two").head(body.len()).into_bytes();
    other.extend_from_slice(b"{\"records\":{}}");
    assert_eq!(raw(&authority, &other).await, refused("digest_mismatch"));
    assert_eq!(raw(&authority, &other).await, refused("request_replayed"));
    // One that says it is too long is not waited for.
    let long = push(&right, "three").head(9_000_000);
    assert_eq!(
        raw(&authority, long.as_bytes()).await,
        (413, "body_too_large".to_owned())
    );
    running.stop().await;
}

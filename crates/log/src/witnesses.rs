//! Asking witnesses to cosign (c2sp.org/tlog-witness).
//!
//! Each witness has a task of its own that works on the checkpoint the publisher has set as the
//! target, so that one that is slow or away holds up nobody else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use counterfoil_tlog::{
    note::{NoteSignature, VerifierKey},
    policy::Policy,
    tree::EMPTY_ROOT,
    witness::{AddCheckpoint, TreeHead, accept_cosignatures, parse_size_body},
};
use reqwest::header::RETRY_AFTER;
use tokio::sync::{mpsc, watch};

use crate::{
    config::is_exposed, fork, lock::SignedHead, node::Node, read::consistency, sequencer::root_at,
};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// Most a witness may ask us to wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Largest answer that is read.
const BODY_LIMIT: usize = 64 * 1024;

/// A witness and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) name: String,
    pub(crate) key: VerifierKey,
    /// Submission and monitoring prefix, without a slash at the end.
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
    /// How often it has shown that it has forgotten a checkpoint, since the start.
    pub(crate) rollbacks: Arc<AtomicU64>,
}

/// A checkpoint that a witness has cosigned.
#[derive(Debug)]
pub(crate) struct Cosigned {
    pub(crate) head: TreeHead,
    pub(crate) key: VerifierKey,
    pub(crate) lines: Vec<NoteSignature>,
}

/// The witnesses of a policy, which [`check_policy`](crate::config::check_policy) has accepted.
pub(crate) fn of_policy(policy: &Policy, timeout: Duration) -> Result<Vec<Witness>, String> {
    let client = reqwest::Client::builder()
        .timeout(timeout)
        // A redirect would take the request to someone the policy does not name.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string())?;
    let witness = |witness: &counterfoil_tlog::policy::PolicyWitness| Witness {
        name: String::from_utf8_lossy(witness.name()).into_owned(),
        key: witness.key().clone(),
        url: String::from_utf8_lossy(witness.url().unwrap_or_default())
            .trim_end_matches('/')
            .to_owned(),
        client: client.clone(),
        rollbacks: Arc::default(),
    };
    let witnesses: Vec<_> = policy.witnesses().map(witness).collect();
    for witness in witnesses.iter().filter(|witness| is_exposed(&witness.url)) {
        tracing::warn!(witness = %witness.name, url = %witness.url,
            "asked without TLS: whoever is on the way can keep its answers from the log");
    }
    Ok(witnesses)
}

/// Has every target cosigned by one witness, until the publisher is gone.
///
/// The first one is submitted even if the witness has cosigned it before: its answer says whether
/// it has seen anything newer of this log, which a log restored from a backup would not know.
pub(crate) async fn run(
    node: Arc<Node>,
    witness: Witness,
    mut target: watch::Receiver<SignedHead>,
    cosigned: mpsc::Sender<Cosigned>,
) {
    let mut known = None;
    let mut delay = FIRST_DELAY;
    let mut asked = false;
    loop {
        let next = target.borrow_and_update().clone();
        let mut lines = next.note.signatures().iter();
        let has_cosigned = lines.any(|line| is_by(line, &witness.key));
        if has_cosigned {
            known = Some(next.head.size);
        }
        if !(has_cosigned && asked) {
            match submit(&node, &witness, &mut known, &next).await {
                Ok(lines) => {
                    delay = FIRST_DELAY;
                    asked = true;
                    let (head, key) = (next.head, witness.key.clone());
                    if cosigned.send(Cosigned { head, key, lines }).await.is_err() {
                        return;
                    }
                }
                Err(trouble) => {
                    tracing::warn!(witness = %witness.name, size = next.head.size, %trouble,
                        "checkpoint not cosigned");
                    let alarming =
                        matches!(trouble, Trouble::Ahead { .. } | Trouble::Contradicts { .. });
                    if alarming {
                        alarm(&node, &witness, &trouble).await;
                    }
                    let wait = match trouble {
                        Trouble::PushedBack { wait } => wait.unwrap_or_default(),
                        _ => Duration::ZERO,
                    };
                    tokio::time::sleep(delay.max(wait)).await;
                    delay = (delay * 2).min(LONGEST_DELAY);
                    continue;
                }
            }
        }
        if target.changed().await.is_err() {
            return;
        }
    }
}

/// A witness says that it has cosigned less than it has before: it was restored from a backup, and
/// would cosign another history now.
fn note_rollback(witness: &Witness, before: u64, now: u64) {
    let rollbacks = witness.rollbacks.fetch_add(1, Ordering::Relaxed) + 1;
    tracing::error!(witness = %witness.name, before, now, rollbacks,
        "witness has forgotten what it has cosigned: its state was rolled back, do not rely on it");
}

/// A witness says that it has seen another history.
///
/// In a log that has been confirmed this needs evidence: a checkpoint with the log's own signature,
/// so that no witness can stop a log by lying. Before that the word of the witness is enough. A log
/// that was rolled back would sign its second history right after, and a log that does not start is
/// the smaller evil.
async fn alarm(node: &Arc<Node>, witness: &Witness, trouble: &Trouble) {
    if let Some(reason) = fork::ask(node, witness).await {
        node.suspect_fork(reason);
    } else if !*node.confirmed.borrow() {
        node.suspect_fork(format!("witness `{}`: {trouble}", witness.name));
    }
}

pub(crate) fn is_by(line: &NoteSignature, key: &VerifierKey) -> bool {
    line.name() == key.name() && line.key_id() == key.id()
}

/// What went wrong with a request, with its causes, which the error's own text hides.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let https = error.url().is_some_and(|url| url.scheme() == "https");
    if https && text.contains("scheme is not http") {
        text = format!("this program is built without TLS, so it cannot ask an https URL ({text})");
    }
    text
}

/// Reads an answer, up to [`BODY_LIMIT`].
pub(crate) async fn read_body(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > BODY_LIMIT {
            return Err("the answer is too large".to_owned());
        }
    }
    Ok(body)
}

/// Why a witness has not cosigned.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("unavailable: {0}")]
    Unavailable(String),
    #[error("pushed back")]
    PushedBack { wait: Option<Duration> },
    #[error("refused with status `{status}`: {body}")]
    Refused { status: u16, body: String },
    #[error("it has cosigned size `{size}`, which is larger")]
    Ahead { size: u64 },
    #[error("it says the checkpoint contradicts one it has cosigned (status `{status}`)")]
    Contradicts { status: u16 },
    #[error("its answer is no valid cosignature: {0}")]
    BadCosignature(String),
    #[error("cannot prove consistency from size `{old}`: {reason}")]
    NoProof { old: u64, reason: String },
}

/// Submits a checkpoint. `known` is the size the witness has cosigned last, as far as is known.
async fn submit(
    node: &Arc<Node>,
    witness: &Witness,
    known: &mut Option<u64>,
    target: &SignedHead,
) -> Result<Vec<NoteSignature>, Trouble> {
    let size = target.head.size;
    // Once from what is known, once more from what a 409 tells; a witness that moves under us
    // between the two is asked again later.
    for _ in 0..2 {
        let old = known.filter(|known| *known <= size).unwrap_or(0);
        let request = request(node, old, target).await?;
        let url = format!("{}/add-checkpoint", witness.url);
        let sent = witness.client.post(url).body(request).send().await;
        let response = sent.map_err(|error| Trouble::Unavailable(describe(&error)))?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
        let body = read_body(response).await.map_err(Trouble::Unavailable)?;
        match status {
            200 => {
                let keys = [witness.key.clone()];
                let lines = accept_cosignatures(target.note.text(), &body, &keys)
                    .map_err(|error| Trouble::BadCosignature(error.to_string()))?;
                *known = Some(size);
                return Ok(lines);
            }
            409 => match parse_size_body(&body) {
                Ok(latest) if latest > size => return Err(Trouble::Ahead { size: latest }),
                Ok(latest) if Some(latest) != *known || old != latest => {
                    if let Some(before) = known.filter(|known| *known > latest) {
                        note_rollback(witness, before, latest);
                    }
                    *known = Some(latest);
                }
                // Some witnesses say so, without a size, when roots differ.
                _ => return Err(Trouble::Contradicts { status }),
            },
            422 => return Err(Trouble::Contradicts { status }),
            429 | 503 => return Err(Trouble::PushedBack { wait: retry_after }),
            500.. => return Err(Trouble::Unavailable(format!("status `{status}`"))),
            _ => {
                let body = String::from_utf8_lossy(&body).chars().take(200).collect();
                return Err(Trouble::Refused { status, body });
            }
        }
    }
    Err(Trouble::Unavailable(
        "it moved between two requests".to_owned(),
    ))
}

/// The body of a request: the proof from the old size, and the checkpoint with our own signature
/// only, because witnesses limit the size of requests.
async fn request(node: &Arc<Node>, old: u64, target: &SignedHead) -> Result<String, Trouble> {
    let failed = |reason: String| Trouble::NoProof { old, reason };
    let new = target.head;
    let prove = move |node: &Arc<Node>| {
        let root = if old == 0 {
            EMPTY_ROOT
        } else {
            root_at(&node.store, old, new.size)?
        };
        consistency(&node.store, TreeHead { size: old, root }, new)
    };
    let proof = node
        .blocking(prove)
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    let note = target
        .note
        .clone()
        .retain_signatures(|line| is_by(line, &node.key))
        .ok_or_else(|| failed("the checkpoint is not signed".to_owned()))?;
    AddCheckpoint::new(old, proof, note)
        .map(|request| request.to_string())
        .map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_names_its_cause() {
        let client = reqwest::Client::new();
        // Nobody listens on port 1; with TLS the connection is what fails.
        let error = client.get("https://127.0.0.1:1/").send().await.unwrap_err();
        let text = describe(&error);
        assert!(
            text.contains("built without TLS") || text.contains("onnect"),
            "{text}"
        );
        let error = client.get("http://127.0.0.1:1/").send().await.unwrap_err();
        let text = describe(&error);
        assert!(text.contains("refused"), "{text}");
        assert!(!text.contains("TLS"), "{text}");
    }
}

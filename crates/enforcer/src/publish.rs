//! Publishing: sealed batches go to the log, one after another, until each is proved.
//!
//! Submitting is idempotent: the log answers an entry it knows with its original place. So after
//! a crash or an outage everything without a proof is simply submitted again.

use std::path::Path;
use std::time::Duration;

use counterfoil_protocol::digest::{CheckpointDigest, CommitmentDigest, KeyThumbprint};
use counterfoil_protocol::numbers::{BatchNumber, Sequence};
use counterfoil_protocol::record::Beacon;
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::note::Note;
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::leaf_hash;
use serde::Deserialize;

use crate::enforcer::Enforcer;
use crate::error::{Blocked, EnforcerError};
use crate::journal::{BatchRow, Item, JournalReader, write_logged};

/// How long one request to the log may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer of the log.
const MAX_ANSWER: usize = 1 << 20;

/// What the log knows of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LoggedStream {
    /// Whose it is.
    pub operator: String,
    /// How many batches of it are logged.
    pub batches: u64,
    /// How many records these cover.
    pub records: u64,
    /// SHA-256 of the last commitment, in hexadecimal.
    pub last_commitment: Option<String>,
    /// Its index in the log.
    pub last_index: Option<u64>,
}

/// How far the log has to be with an entry before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It is in the tree, durably.
    Integrated,
    /// A checkpoint that covers it has been published, cosigned if the log has witnesses.
    Published,
}

/// A client of a log node.
#[derive(Clone, Debug)]
pub struct LogClient {
    url: String,
    http: reqwest::Client,
}

impl LogClient {
    /// A client of the log at `url`, which has no path.
    ///
    /// # Errors
    /// [`EnforcerError::Log`] when the system has no way to make requests.
    pub fn new(url: &str) -> Result<Self, EnforcerError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(unreachable_log)?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            http,
        })
    }

    /// What the log knows of the stream of an enforcer key.
    ///
    /// # Errors
    /// [`EnforcerError::Log`] when it cannot be reached or does not know the key.
    pub async fn stream(&self, kid: KeyThumbprint) -> Result<LoggedStream, EnforcerError> {
        let url = format!("{}/v1/streams/{kid}", self.url);
        let answer = self.http.get(url).send().await.map_err(unreachable_log)?;
        serde_json::from_slice(&body(answer).await?)
            .map_err(|error| EnforcerError::Log(format!("its answer is malformed: {error}")))
    }

    /// The log's newest published checkpoint, with its signatures, as bytes that prove nothing yet.
    ///
    /// # Errors
    /// [`EnforcerError::Log`] when it cannot be reached or has none.
    pub async fn checkpoint(&self) -> Result<Vec<u8>, EnforcerError> {
        let url = format!("{}/checkpoint", self.url);
        body(self.http.get(url).send().await.map_err(unreachable_log)?).await
    }

    /// Submits an entry and returns the log's proof for it.
    ///
    /// # Errors
    /// [`EnforcerError::Log`] when it cannot be reached or refuses.
    pub async fn submit(&self, entry: &[u8], wait: Wait) -> Result<Vec<u8>, EnforcerError> {
        let wait = match wait {
            Wait::Integrated => "integrated",
            Wait::Published => "published",
        };
        let url = format!("{}/v1/entries?wait={wait}", self.url);
        let request = self
            .http
            .post(url)
            .header("content-type", "application/cose");
        let answer = request
            .body(entry.to_vec())
            .send()
            .await
            .map_err(unreachable_log)?;
        body(answer).await
    }
}

fn unreachable_log(error: reqwest::Error) -> EnforcerError {
    // The error's own text hides its cause, which is what one wants to know.
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    EnforcerError::Log(text)
}

async fn body(mut answer: reqwest::Response) -> Result<Vec<u8>, EnforcerError> {
    let status = answer.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable_log)? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(EnforcerError::Log("its answer is too large".to_owned()));
        }
        bytes.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(bytes);
    }
    let text: String = String::from_utf8_lossy(&bytes).chars().take(300).collect();
    Err(EnforcerError::Log(format!(
        "it answers {status}: {}",
        text.trim()
    )))
}

/// Publishes the batches of one enforcer. There must be only one of it.
#[derive(Debug)]
pub struct Publisher {
    enforcer: Enforcer,
    reader: JournalReader,
    client: LogClient,
    trust: Trust,
}

impl Publisher {
    /// A publisher of what the journal holds.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(enforcer: Enforcer, client: LogClient, trust: Trust) -> Result<Self, EnforcerError> {
        let reader = JournalReader::open(enforcer.journal_path())?;
        Ok(Self {
            enforcer,
            reader,
            client,
            trust,
        })
    }

    pub(crate) const fn enforcer(&self) -> &Enforcer {
        &self.enforcer
    }

    /// Asks the log what it knows of this stream, and begins to work on it if that is no more than
    /// the journal holds.
    ///
    /// # Errors
    /// As [`Publisher::ask_log`], and when the first records cannot be written.
    pub async fn confirm(&self) -> Result<(), EnforcerError> {
        self.ask_log().await?;
        self.begin().await
    }

    /// Asks the log what it knows of this stream. If that is more than the journal holds, the
    /// journal is older than its past (a restored backup, a cut tail), and going on would fork the
    /// stream.
    ///
    /// # Errors
    /// [`EnforcerError::Log`] when the log cannot be asked, [`EnforcerError::Blocked`] when it
    /// knows more. The enforcer stays blocked, and says why.
    pub async fn ask_log(&self) -> Result<(), EnforcerError> {
        let logged = match self.client.stream(self.enforcer.kid()).await {
            Ok(logged) => logged,
            Err(error) => {
                self.enforcer
                    .set_blocked(Some(Blocked::LogUnconfirmed(error.to_string())));
                return Err(error);
            }
        };
        if let Some(difference) = compare_with_log(&self.reader, &logged)? {
            let blocked = Blocked::LogDisagrees(difference);
            self.enforcer.set_blocked(Some(blocked.clone()));
            return Err(EnforcerError::Blocked(blocked));
        }
        if let Err(error) = self.take_beacon().await {
            // Records can do without: then only their latest time is bounded.
            tracing::warn!(%error, "no checkpoint to bound the time of records from below");
        }
        Ok(())
    }

    /// Begins to work on the stream, which nobody knows more of than the journal does.
    pub(crate) async fn begin(&self) -> Result<(), EnforcerError> {
        begin(&self.enforcer).await
    }

    /// Takes the log's newest cosigned checkpoint as beacon, so that records made before the first
    /// batch is published name one too.
    async fn take_beacon(&self) -> Result<(), EnforcerError> {
        let note = self.client.checkpoint().await?;
        let wrong = |error: String| EnforcerError::Log(format!("its checkpoint is wrong: {error}"));
        let parsed = Note::parse(&note).map_err(|error| wrong(error.to_string()))?;
        let quorum = self
            .trust
            .policy()
            .verify(&parsed)
            .map_err(|error| wrong(error.to_string()))?;
        let beacon = Beacon {
            size: quorum.checkpoint().size(),
            checkpoint: CheckpointDigest::of(&note),
        };
        let core = &self.enforcer.core;
        core.committer.submit(Item::Checkpoint(note))?.await?;
        let mut stream = core.stream();
        if stream.beacon.is_none_or(|known| known.size <= beacon.size) {
            stream.beacon = Some(beacon);
        }
        Ok(())
    }

    /// Publishes every batch that has no proof yet. Returns how many it published.
    ///
    /// # Errors
    /// [`EnforcerError::Log`] when the log cannot be reached, refuses, or proves nothing; what is
    /// left is published next time.
    pub async fn publish(&self) -> Result<u64, EnforcerError> {
        let mut published = 0;
        loop {
            let batches = self.reader.unlogged_batches(64)?;
            if batches.is_empty() {
                return Ok(published);
            }
            // All into the tree first: then one checkpoint, and one round of witnesses, covers
            // them all.
            for batch in &batches {
                self.client
                    .submit(&batch.commitment, Wait::Integrated)
                    .await?;
            }
            for batch in &batches {
                let proof = self
                    .client
                    .submit(&batch.commitment, Wait::Published)
                    .await?;
                self.record(batch, proof).await?;
                published += 1;
            }
        }
    }

    /// Checks the proof and writes it down.
    async fn record(&self, batch: &BatchRow, proof: Vec<u8>) -> Result<(), EnforcerError> {
        let core = &self.enforcer.core;
        let checked = check(batch, &proof, &self.trust)?;
        let note = checked.note().to_string().into_bytes();
        let beacon = Beacon {
            size: checked.checkpoint().size(),
            checkpoint: CheckpointDigest::of(&note),
        };
        core.committer
            .submit(Item::Logged {
                number: batch.number,
                log_proof: proof,
                checkpoint: note,
            })?
            .await?;
        let mut stream = core.stream();
        stream.unlogged = Sequence::new(batch.first.get().saturating_add(batch.count));
        core.note_progress(&stream);
        if stream.beacon.is_none_or(|known| known.size <= beacon.size) {
            stream.beacon = Some(beacon);
        }
        Ok(())
    }
}

/// Publishes what is sealed and not logged of a stream that is not continued, and returns how many
/// batches that were. Nothing is signed: what was signed reaches the log.
///
/// # Errors
/// [`EnforcerError::Log`] as [`Publisher::publish`]; an error of the journal.
pub async fn publish_retired(
    journal: &Path,
    client: &LogClient,
    trust: &Trust,
) -> Result<u64, EnforcerError> {
    let reader = JournalReader::open(journal)?;
    let mut published = 0;
    loop {
        let batches = reader.unlogged_batches(64)?;
        if batches.is_empty() {
            return Ok(published);
        }
        for batch in &batches {
            let proof = client.submit(&batch.commitment, Wait::Published).await?;
            let checked = check(batch, &proof, trust)?;
            let checkpoint = checked.note().to_string().into_bytes();
            write_logged(journal, batch.number, &proof, &checkpoint)?;
            published += 1;
        }
    }
}

fn check(batch: &BatchRow, proof: &[u8], trust: &Trust) -> Result<TlogProof, EnforcerError> {
    let wrong = |error: String| {
        EnforcerError::Log(format!(
            "its proof for batch {} is wrong: {error}",
            batch.number
        ))
    };
    let proof = TlogProof::parse(proof).map_err(|error| wrong(error.to_string()))?;
    let _quorum = proof
        .verify(&leaf_hash(&batch.commitment), trust.policy())
        .map_err(|error| wrong(error.to_string()))?;
    Ok(proof)
}

/// Begins to work on a stream that has been confirmed, and unblocks it.
pub(crate) async fn begin(enforcer: &Enforcer) -> Result<(), EnforcerError> {
    let beginning = enforcer.clone();
    tokio::task::spawn_blocking(move || beginning.begin())
        .await
        .map_err(|error| EnforcerError::Commit(error.to_string()))??;
    enforcer.set_blocked(None);
    Ok(())
}

/// How the journal falls short of what the log knows; none if it does not.
///
/// # Errors
/// When the journal cannot be read.
pub fn compare_with_log(
    reader: &JournalReader,
    logged: &LoggedStream,
) -> Result<Option<String>, EnforcerError> {
    let proved = reader.proved_batches()?;
    if logged.batches < proved {
        return Ok(Some(format!(
            "the log knows {} batches, the journal holds its proofs for {proved}",
            logged.batches
        )));
    }
    let Some(last) = logged.batches.checked_sub(1) else {
        return Ok(None);
    };
    let ours = reader.batches(BatchNumber::new(last), 1)?;
    let Some(batch) = ours.first().filter(|batch| batch.number.get() == last) else {
        let held = reader
            .last_batch()?
            .map_or(0, |batch| batch.number.get() + 1);
        return Ok(Some(format!(
            "{} batches are logged, the journal holds {held}",
            logged.batches
        )));
    };
    let digest = CommitmentDigest::of(&batch.commitment).to_string();
    Ok(match &logged.last_commitment {
        Some(theirs) if *theirs == digest => None,
        theirs => Some(format!(
            "batch {last} is logged as {}, the journal holds {digest}",
            theirs.as_deref().unwrap_or("nothing")
        )),
    })
}

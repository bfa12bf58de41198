//! The rule of a witness over its durable state (c2sp.org/tlog-witness, section "add-checkpoint").

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use counterfoil_durable::{
    committer::{Committer, Options},
    lock::DirectoryLock,
};
use counterfoil_tlog::{
    checkpoint::Origin,
    cosignature::cosign,
    note::{Note, NoteError, NoteSignature, SignerKey, VerifierKey},
    witness::{self, AddCheckpoint, TreeHead, monitoring_path},
};

use crate::{
    Error, Refusal,
    config::Config,
    init::read_key,
    state::{self, Latest, StateWriter},
};

/// How far the clock may be behind the last cosignature of a log, in seconds.
///
/// Within it the last timestamp is used again, because clocks are corrected by small steps.
/// Beyond it the witness refuses: its clock is wrong, or was, and a timestamp is what it vouches
/// for.
pub const CLOCK_TOLERANCE_SECONDS: u64 = 10;

/// How old a cosignature may be to be the answer to the same checkpoint once more, in seconds.
const FRESH_SECONDS: u64 = 1;

/// Tells the time in seconds since 1970.
pub type Clock = fn() -> u64;

/// The clock of the system.
#[must_use]
pub fn system_clock() -> u64 {
    // Before 1970 the clock is broken; zero is refused as a timestamp.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

/// A checkpoint that was stored and cosigned.
#[derive(Clone, Debug)]
pub struct Cosigned {
    /// The cosignature, one signature line of a note.
    pub cosignature: NoteSignature,
    /// What it says: the log.
    pub origin: Origin,
    /// What it says: the tree size.
    pub size: u64,
    /// When, in seconds since 1970.
    pub timestamp: u64,
}

/// A witness: its key, the logs it knows, and what it has cosigned.
///
/// Holds the lock of its directory, so that there is one of it.
pub struct Witness {
    signer: SignerKey,
    logs: BTreeMap<Origin, KnownLog>,
    committer: Committer<StateWriter>,
    _directory: DirectoryLock,
}

struct KnownLog {
    keys: Vec<VerifierKey>,
    /// Where its newest checkpoint is served, below the monitoring prefix.
    path: String,
    /// The newest checkpoint, for those who only want to read it: they do not wait for the disk.
    shown: RwLock<Option<Arc<str>>>,
    /// Held from the check of a checkpoint until it is durable, so that no two checkpoints are
    /// checked against the same predecessor.
    latest: Mutex<Option<Latest>>,
}

impl Witness {
    /// Opens a witness directory made by [`init`](crate::init).
    ///
    /// # Errors
    ///
    /// [`Error`] naming the file that is missing, wrong or in use.
    pub fn open(directory: &Path, config: &Config) -> Result<Self, Error> {
        let lock = DirectoryLock::acquire(directory)?;
        let signer = read_key(directory)?;
        let (connection, stored) = state::open(directory)?;
        let mut logs: BTreeMap<Origin, KnownLog> = BTreeMap::new();
        for key in &config.logs {
            let log = logs
                .entry(Origin::from(key.name().clone()))
                .or_insert_with_key(|origin| KnownLog {
                    keys: Vec::new(),
                    path: monitoring_path(origin),
                    shown: RwLock::new(None),
                    latest: Mutex::new(None),
                });
            log.keys.push(key.clone());
        }
        for latest in stored {
            // A log that is no longer configured keeps its row, for the day it comes back.
            if let Some(log) = logs.get_mut(latest.checkpoint.origin()) {
                log.show(&latest.note);
                log.latest = Mutex::new(Some(latest));
            }
        }
        let committer = Committer::spawn(connection, StateWriter, Options::default())?;
        Ok(Self {
            signer,
            logs,
            committer,
            _directory: lock,
        })
    }

    /// The public key.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// The logs this witness knows.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.logs.keys()
    }

    /// Checks the body of an `add-checkpoint` request, stores the checkpoint, and cosigns it at
    /// `now` (seconds since 1970). Blocks until the checkpoint is durable.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing was signed then.
    pub fn add_checkpoint(&self, body: &[u8], now: u64) -> Result<Cosigned, Refusal> {
        let request = AddCheckpoint::parse(body).map_err(Refusal::Malformed)?;
        let origin = request.checkpoint().origin();
        let Some(log) = self.logs.get(origin) else {
            return Err(witness::Refusal::UnknownOrigin.into());
        };
        // Before the lock, so that only who has the log's key can make others wait for it.
        let verified = request.note().verify(&log.keys);
        verified.map_err(witness::Refusal::Signature)?;
        let mut latest = log.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let head = latest.as_ref().map(|latest| TreeHead {
            size: latest.checkpoint.size(),
            root: *latest.checkpoint.root(),
        });
        let checkpoint = request.check(&log.keys, head)?.clone();
        let note = lines_of_log(request.note(), &log.keys)?;
        let timestamp = next_timestamp(latest.as_ref(), now)?;
        if let Some(latest) = latest.as_ref().filter(|latest| {
            latest.note.text() == note.text() && timestamp - latest.timestamp <= FRESH_SECONDS
        }) && let Some(cosignature) = own_line(&latest.note, self.verifier_key())
        {
            // Sent again at once: the cosignature that is stored says the same.
            return Ok(Cosigned {
                cosignature,
                origin: checkpoint.origin().clone(),
                size: checkpoint.size(),
                timestamp: latest.timestamp,
            });
        }
        let cosignature = cosign(note.text(), &self.signer, timestamp).map_err(Refusal::Cosign)?;
        let note = note
            .with_signatures(vec![cosignature.clone()])
            .map_err(|error| Refusal::Cosign(error.into()))?;
        let (origin, size) = (checkpoint.origin().clone(), checkpoint.size());
        let next = Latest {
            checkpoint,
            note,
            timestamp,
        };
        self.committer
            .submit(next.clone())
            .and_then(|ticket| ticket.wait())
            .map_err(Refusal::Storage)?;
        log.show(&next.note);
        *latest = Some(next);
        Ok(Cosigned {
            cosignature,
            origin,
            size,
            timestamp,
        })
    }

    /// The newest cosigned checkpoint, as a signed note, at a path below the monitoring prefix;
    /// `None` for an unknown log or one never cosigned.
    #[must_use]
    pub fn latest(&self, path: &str) -> Option<Arc<str>> {
        let log = self.logs.values().find(|log| log.path == path)?;
        let shown = log.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    /// Why nothing can be stored any more, if so. The process must stop then.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.committer.stopped().map(Error::Commit)
    }
}

impl KnownLog {
    /// Called only with what is durable.
    fn show(&self, note: &Note) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        *shown = Some(note.to_string().into());
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness")
            .field("verifier_key", self.verifier_key())
            .field("logs", &self.logs.keys())
            .finish_non_exhaustive()
    }
}

/// The note with the log's own signatures only: others are not ours to keep or to serve.
fn lines_of_log(note: &Note, keys: &[VerifierKey]) -> Result<Note, Refusal> {
    let known = |line: &NoteSignature| {
        keys.iter()
            .any(|key| key.name() == line.name() && key.id() == line.key_id())
    };
    let missing = witness::Refusal::Signature(NoteError::NoKnownSignature);
    note.clone()
        .retain_signatures(known)
        .ok_or(Refusal::Rule(missing))
}

fn own_line(note: &Note, key: &VerifierKey) -> Option<NoteSignature> {
    let mut lines = note.signatures().iter();
    lines
        .find(|line| line.name() == key.name() && line.key_id() == key.id())
        .cloned()
}

/// A timestamp that is never before the last one for this log.
fn next_timestamp(latest: Option<&Latest>, now: u64) -> Result<u64, Refusal> {
    let last = latest.map_or(0, |latest| latest.timestamp);
    match last.saturating_sub(now) {
        0 => Ok(now),
        behind if behind <= CLOCK_TOLERANCE_SECONDS => Ok(last),
        behind => Err(Refusal::ClockBehind { behind }),
    }
}

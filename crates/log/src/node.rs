//! The parts of a running log and what they share.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use counterfoil_durable::{
    file::{self, Access},
    lock::DirectoryLock,
};
use counterfoil_protocol::{keys::SigningKey, numbers::UnixMillis, stock::LogSigner};
use counterfoil_tlog::{
    note::{Note, VerifierKey},
    policy::Policy,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::{
    Error, Refusal,
    config::{Config, Limits},
    database::{Reader, SqliteLock},
    init::{read_key, read_token},
    lock::SignedHead,
    pool::{Pool, PoolLimits},
    read::consistency,
    registry::Registry,
    sequencer::{Sequencer, root_at},
    store::FileStore,
};

/// File name of the published checkpoint, below the public directory.
const CHECKPOINT: &str = "checkpoint";

/// Tells the time.
pub type Clock = fn() -> UnixMillis;

/// The clock of the system.
#[must_use]
pub fn system_clock() -> UnixMillis {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis::new(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// What the sequencer, the publisher and the requests share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) key: VerifierKey,
    /// Signs roots as COSE receipts, with the same key.
    pub(crate) stock: LogSigner,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) store: FileStore,
    pub(crate) pool: Pool,
    /// The newest signed checkpoint.
    pub(crate) signed: watch::Sender<SignedHead>,
    /// The newest published checkpoint; none before the first met the quorum.
    pub(crate) published: watch::Sender<Option<SignedHead>>,
    /// The newest published checkpoint that meets the current policy. One that was published under
    /// an earlier policy may not.
    pub(crate) witnessed: watch::Sender<Option<SignedHead>>,
    /// True once enough witnesses to meet the quorum have cosigned, for this process, the
    /// checkpoint that the lock held at its start. Nothing is sequenced before.
    pub(crate) confirmed: watch::Sender<bool>,
    /// Why a fork is suspected, if one is.
    pub(crate) fork: watch::Sender<Option<String>>,
    /// True once the process is ending.
    pub(crate) stopping: watch::Sender<bool>,
    /// What reads or writes files, also what nobody waits for any more.
    pub(crate) blocking: TaskTracker,
    token: Zeroizing<String>,
    reader: Mutex<Reader>,
    clock: Clock,
    failure: Mutex<Option<Error>>,
    failed: Notify,
    _directory: DirectoryLock,
}

impl Node {
    /// Opens a log directory and checks that lock, tiles, published checkpoint and database tell
    /// one story.
    pub(crate) fn open(
        directory: &Path,
        config: &Config,
        clock: Clock,
    ) -> Result<(Arc<Self>, Sequencer<FileStore, SqliteLock>), Error> {
        let lock = DirectoryLock::acquire(directory)?;
        let signer = read_key(directory)?;
        let key = signer.verifier().clone();
        let stock = SigningKey::from_seed(&signer.seed())
            .map(|signing| LogSigner::new(key.name().as_str().to_owned(), signing))
            .map_err(|failure| Error::System(failure.to_string()))?;
        let policy = config.read_policy(directory, &key)?;
        let token = read_token(directory)?;
        let store = FileStore::new(directory);
        let sequencer = Sequencer::load(store.clone(), SqliteLock::open(directory)?, signer)?;
        let signed = sequencer.current().clone();
        let published = read_published(&store, &key)?;
        if let Some(published) = &published {
            check_published(&store, published, &signed)?;
        }
        let reader = Reader::open(directory)?;
        let (entries, size) = (reader.entries()?, signed.head.size);
        if entries != size {
            return Err(Error::Damaged(format!(
                "database has `{entries}` entries, lock `{size}`"
            )));
        }
        let registry = Registry::load(&reader.manifests()?, reader.streams()?)?;
        let pool_limits = PoolLimits {
            entries: config.limits.pool_entries,
            backlog: config.limits.backlog_entries,
            interval: config.limits.interval(),
        };
        let published_size = published
            .as_ref()
            .map_or(0, |published| published.head.size);
        let pool = Pool::new(registry, reader, size, published_size, pool_limits);
        let node = Self {
            key,
            stock,
            // The empty tree is a prefix of every other: there is nothing to confirm.
            confirmed: watch::Sender::new(size == 0 || !policy.needs_witnesses()),
            fork: watch::Sender::new(None),
            witnessed: watch::Sender::new(published.clone().filter(|it| meets(&policy, &it.note))),
            published: watch::Sender::new(published),
            policy,
            limits: config.limits,
            store,
            pool,
            signed: watch::Sender::new(signed),
            stopping: watch::Sender::new(false),
            blocking: TaskTracker::new(),
            token,
            reader: Mutex::new(Reader::open(directory)?),
            clock,
            failure: Mutex::new(None),
            failed: Notify::new(),
            _directory: lock,
        };
        Ok((Arc::new(node), sequencer))
    }

    /// Runs what reads files or the database on a thread that may block.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        task: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let node = Arc::clone(self);
        let task = self.blocking.spawn_blocking(move || task(&node));
        task.await.map_err(|error| Error::System(error.to_string()))
    }

    /// Starts the thread that sequences what is pooled.
    pub(crate) fn spawn_sequencer(
        self: &Arc<Self>,
        mut sequencer: Sequencer<FileStore, SqliteLock>,
    ) -> Result<thread::JoinHandle<()>, Error> {
        let node = Arc::clone(self);
        let run = move || {
            let _guard = FailOnPanic(Arc::clone(&node));
            let mut last = None;
            while let Some(entries) = node.pool.next_batch(last) {
                last = Some(Instant::now());
                let leaves: Vec<_> = entries.iter().map(|entry| entry.leaf).collect();
                match sequencer.sequence(entries, (node.clock)(), || node.check_fork()) {
                    Ok(signed) => {
                        node.signed.send_replace(signed.clone());
                        node.pool.complete(&leaves);
                    }
                    // What was staged is not signed. The log goes on to serve what it has shown.
                    Err(Error::ForkSuspected(_)) => return,
                    Err(error) => return node.fail(error),
                }
            }
        };
        thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(run)
            .map_err(|error| Error::System(format!("no thread: {error}")))
    }

    /// Puts a checkpoint in its public place. Blocks.
    pub(crate) fn publish(&self, next: SignedHead) -> Result<(), Error> {
        if let Some(published) = &*self.published.borrow() {
            // Cannot fail as long as the sequencer is right; a log that is wrong must not show it
            // to the world.
            if published.head.size > next.head.size {
                return Err(Error::PublishedContradicts {
                    size: published.head.size,
                });
            }
            consistency(&self.store, published.head, next.head)?;
        }
        self.check_fork()?;
        let path = self.store.public_directory().join(CHECKPOINT);
        file::replace(&path, next.note.to_string().as_bytes(), Access::Everyone)?;
        self.pool.published(next.head.size);
        if meets(&self.policy, &next.note) {
            self.witnessed.send_replace(Some(next.clone()));
        }
        self.published.send_replace(Some(next));
        Ok(())
    }

    /// Stops the log for a fault. The first one is what [`Node::failure`] tells.
    pub(crate) fn fail(&self, error: Error) {
        tracing::error!(%error, "the log stops");
        self.pool
            .abandon(Refusal::Internal(format!("the log has stopped: {error}")));
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.failed.notify_one();
    }

    /// Sequences and publishes nothing more: someone has seen another history signed with this
    /// log's key.
    pub(crate) fn suspect_fork(&self, reason: String) {
        tracing::error!(%reason, "fork suspected: nothing more is sequenced, signed or published");
        self.fork.send_if_modified(|fork| {
            let first = fork.is_none();
            fork.get_or_insert_with(|| reason.clone());
            first
        });
        self.pool.abandon(Refusal::ForkSuspected(reason));
    }

    /// Refuses if a fork is suspected.
    pub(crate) fn check_fork(&self) -> Result<(), Error> {
        match &*self.fork.borrow() {
            Some(reason) => Err(Error::ForkSuspected(reason.clone())),
            None => Ok(()),
        }
    }

    /// Resolves when the log has met a fault.
    pub(crate) async fn failed(&self) {
        self.failed.notified().await;
    }

    /// The fault that stopped the log, once.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// What the lock has committed.
    pub(crate) fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether that is the admission token. How long it takes does not tell how much of it is right.
    pub(crate) fn is_token(&self, given: &str) -> bool {
        // Digests, because how soon two of them differ says nothing about the token.
        Sha256::digest(self.token.as_bytes()) == Sha256::digest(given.as_bytes())
    }
}

/// Stops the log if what holds this ends by a panic: a part of the log would be missing, and
/// nobody would notice.
#[derive(Debug)]
pub(crate) struct FailOnPanic(pub(crate) Arc<Node>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0
                .fail(Error::System("a worker has panicked".to_owned()));
        }
    }
}

/// Whether enough witnesses have cosigned.
pub(crate) fn meets(policy: &Policy, note: &Note) -> bool {
    policy.check(note).is_ok_and(|quorum| quorum.is_met())
}

/// Reads the published checkpoint, if there is one.
pub(crate) fn read_published(
    store: &FileStore,
    key: &VerifierKey,
) -> Result<Option<SignedHead>, Error> {
    let path = store.public_directory().join(CHECKPOINT);
    let bytes = match file::read(&path) {
        Err(counterfoil_durable::Error::Missing { .. }) => return Ok(None),
        other => other?,
    };
    let note = Note::parse(&bytes)
        .map_err(|error| Error::Damaged(format!("published checkpoint: {error}")))?;
    SignedHead::of_log(note, key).map(Some)
}

/// The published checkpoint must be of a prefix of the tree that the lock holds.
pub(crate) fn check_published(
    store: &FileStore,
    published: &SignedHead,
    locked: &SignedHead,
) -> Result<(), Error> {
    let (size, locked) = (published.head.size, locked.head.size);
    if size > locked {
        return Err(Error::LockBehind {
            published: size,
            locked,
        });
    }
    if root_at(store, size, locked)? == published.head.root {
        Ok(())
    } else {
        Err(Error::PublishedContradicts { size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InitOptions, init};

    #[tokio::test]
    async fn a_worker_that_panics_stops_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("log");
        let options = InitOptions {
            origin: "log.example".to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            witness_policy: None,
        };
        init(&home, &options).unwrap();
        let config = Config::read(&home).unwrap();
        let (node, _) = Node::open(&home, &config, system_clock).unwrap();
        let guard = FailOnPanic(Arc::clone(&node));
        drop(guard);
        assert!(node.pool.stopped().is_none());

        let guard = FailOnPanic(Arc::clone(&node));
        let worker = thread::spawn(move || {
            let _guard = guard;
            panic!("told to");
        });
        node.failed().await;
        assert!(worker.join().is_err());
        assert!(matches!(node.failure(), Some(Error::System(_))));
        assert!(matches!(node.pool.stopped(), Some(Refusal::Internal(_))));
    }

    #[test]
    fn what_is_suspected_is_not_published() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("log");
        let options = InitOptions {
            origin: "log.example".to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            witness_policy: None,
        };
        init(&home, &options).unwrap();
        let config = Config::read(&home).unwrap();
        let (node, _) = Node::open(&home, &config, system_clock).unwrap();
        let signed = node.signed.borrow().clone();
        node.suspect_fork("the first reason".to_owned());
        node.suspect_fork("another".to_owned());
        let refused = node.publish(signed.clone());
        assert!(
            matches!(refused, Err(Error::ForkSuspected(reason)) if reason == "the first reason")
        );
        assert!(node.published.borrow().is_none());
        assert!(read_published(&node.store, &node.key).unwrap().is_none());
        assert!(matches!(
            node.pool.stopped(),
            Some(Refusal::ForkSuspected(_))
        ));
    }
}

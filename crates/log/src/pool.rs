//! Entries between admission and the tree, and the thread that moves them.

use std::{
    collections::HashMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use counterfoil_tlog::tree::{Hash, leaf_hash};
use tokio::sync::oneshot;

use crate::{
    Error, Refusal, admission::Candidate, database::Reader, registry::Registry,
    sequencer::AdmittedEntry,
};

/// Most bytes of entries in the pool, beside the limit on their number: 32 MiB.
const POOL_BYTES: usize = 32 << 20;

/// Most requests that wait for the same entry.
const WAITERS: usize = 64;

/// The pool. Everything in it is under one lock, so that the order of admission is the order of
/// the log.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    wake: Condvar,
    limits: PoolLimits,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    pub(crate) entries: usize,
    pub(crate) backlog: u64,
    pub(crate) interval: Duration,
}

#[derive(Debug)]
struct State {
    registry: Registry,
    /// Sees every entry that is not in `waiting`.
    reader: Reader,
    queue: Vec<AdmittedEntry>,
    queue_bytes: usize,
    /// Who waits for an entry that is queued or being sequenced, by its leaf hash.
    waiting: HashMap<Hash, (u64, Vec<oneshot::Sender<u64>>)>,
    next_index: u64,
    published: u64,
    stop: Option<Refusal>,
}

/// Where an entry is.
#[derive(Debug)]
pub(crate) enum Place {
    /// Logged at this index.
    Logged(u64),
    /// Admitted; the index comes when it is logged, nothing if the process ends before.
    Pooled(oneshot::Receiver<u64>),
}

impl Pool {
    pub(crate) fn new(
        registry: Registry,
        reader: Reader,
        size: u64,
        published: u64,
        limits: PoolLimits,
    ) -> Self {
        let state = State {
            registry,
            reader,
            queue: Vec::new(),
            queue_bytes: 0,
            waiting: HashMap::new(),
            next_index: size,
            published,
            stop: None,
        };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            limits,
        }
    }

    /// Admits an entry, or finds where it is already. `token`: the submitter has shown the
    /// admission token.
    pub(crate) fn submit(&self, content: Vec<u8>, token: bool) -> Result<Place, Refusal> {
        let candidate = Candidate::parse(&content)?;
        let leaf = leaf_hash(&content);
        let signed = {
            let mut state = self.lock();
            if let Some(place) = state.find(&leaf)? {
                return Ok(place);
            }
            self.check_room(&state, content.len())?;
            candidate.claim(&state.registry, token)?
        };
        // The signature is checked without the lock: this is where the time goes.
        let genuine = signed.verify()?;

        let mut state = self.lock();
        if let Some(place) = state.find(&leaf)? {
            return Ok(place);
        }
        self.check_room(&state, content.len())?;
        let admissible = genuine.check(&state.registry)?;
        let effect = admissible.admit(&mut state.registry, &content);
        let (sender, receiver) = oneshot::channel();
        let index = state.next_index;
        state.next_index += 1;
        state.waiting.insert(leaf, (index, vec![sender]));
        state.queue_bytes += content.len();
        state.queue.push(AdmittedEntry {
            content,
            leaf,
            effect,
        });
        drop(state);
        self.wake.notify_one();
        Ok(Place::Pooled(receiver))
    }

    /// Blocks until there are entries to sequence; `None` when stopped and empty. At least the
    /// configured interval lies between two answers.
    pub(crate) fn next_batch(&self, last: Option<Instant>) -> Option<Vec<AdmittedEntry>> {
        let mut state = self.lock();
        loop {
            if state.queue.is_empty() {
                if state.stop.is_some() {
                    return None;
                }
                state = self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let due = last.map(|last| (last + self.limits.interval).duration_since(Instant::now()));
            match due.filter(|due| !due.is_zero() && state.stop.is_none()) {
                Some(due) => {
                    let waited = self.wake.wait_timeout(state, due);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    state.queue_bytes = 0;
                    return Some(std::mem::take(&mut state.queue));
                }
            }
        }
    }

    /// Tells whoever waits that these entries are logged.
    pub(crate) fn complete(&self, leaves: &[Hash]) {
        let mut state = self.lock();
        let done: Vec<_> = leaves
            .iter()
            .filter_map(|leaf| state.waiting.remove(leaf))
            .collect();
        drop(state);
        for (index, senders) in done {
            for sender in senders {
                // Whoever hung up does not matter to the others.
                let _ = sender.send(index);
            }
        }
    }

    /// Takes note of the size of the newest published checkpoint.
    pub(crate) fn published(&self, size: u64) {
        self.lock().published = size;
    }

    /// Admits nothing more, for the first reason given. What is pooled is still sequenced.
    pub(crate) fn stop(&self, reason: Refusal) {
        self.lock().stop.get_or_insert(reason);
        self.wake.notify_one();
    }

    /// Admits nothing more, and drops what is pooled: whoever waits gets nothing.
    pub(crate) fn abandon(&self, reason: Refusal) {
        let mut state = self.lock();
        state.stop.get_or_insert(reason);
        state.queue.clear();
        state.waiting.clear();
        drop(state);
        self.wake.notify_one();
    }

    /// Why nothing is admitted, if so.
    pub(crate) fn stopped(&self) -> Option<Refusal> {
        self.lock().stop.clone()
    }

    fn check_room(&self, state: &State, bytes: usize) -> Result<(), Refusal> {
        if let Some(reason) = &state.stop {
            return Err(reason.clone());
        }
        if state.queue.len() >= self.limits.entries || state.queue_bytes + bytes > POOL_BYTES {
            return Err(Refusal::PoolFull);
        }
        if state.next_index.saturating_sub(state.published) >= self.limits.backlog {
            return Err(Refusal::BacklogFull);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Finds an entry that is pooled or logged.
    fn find(&mut self, leaf: &Hash) -> Result<Option<Place>, Refusal> {
        if let Some((_, senders)) = self.waiting.get_mut(leaf) {
            // Whoever has hung up since makes room.
            senders.retain(|sender| !sender.is_closed());
            if senders.len() >= WAITERS {
                return Err(Refusal::PoolFull);
            }
            let (sender, receiver) = oneshot::channel();
            senders.push(sender);
            return Ok(Some(Place::Pooled(receiver)));
        }
        let index = self.reader.index_of(leaf).map_err(internal)?;
        Ok(index.map(Place::Logged))
    }
}

/// A fault of the log, for whoever asked.
pub(crate) fn internal(error: Error) -> Refusal {
    tracing::error!(%error, "request failed");
    Refusal::Internal(error.to_string())
}

//! Requests that wait for their answers, by id.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::message::Id;

/// How many requests of one connection may wait for their answers.
pub(super) const MAX_WAITING: usize = 1024;

/// Requests that wait, each with what to do when its answer comes.
#[derive(Debug)]
pub struct InFlight<T> {
    table: Mutex<Table<T>>,
}

#[derive(Debug)]
struct Table<T> {
    waiting: HashMap<Id, Waiting<T>>,
    /// Given up: the server may still answer, and that answer must not meet another request.
    abandoned: HashSet<Id>,
    closed: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    since: Instant,
    /// None while the request is being decided.
    entry: Option<T>,
}

/// Why a request cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// A request with this id waits already, or was given up: answers could not be told apart.
    #[error("a request with this id is in flight already")]
    SameId,
    /// Too many wait.
    #[error("{MAX_WAITING} requests are in flight already")]
    TooMany,
    /// The server is gone.
    #[error("the server has ended")]
    Closed,
}

impl NoPlace {
    /// A stable code for peers and users.
    pub const fn code(self) -> &'static str {
        match self {
            Self::SameId => "id_in_flight",
            Self::TooMany => "too_many_calls",
            Self::Closed => "server_ended",
        }
    }
}

impl<T> Table<T> {
    /// An answer cannot come before its request was sent.
    fn remove_sent(&mut self, id: &Id) -> Option<T> {
        self.waiting.get(id)?.entry.as_ref()?;
        self.waiting.remove(id)?.entry
    }
}

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self {
            table: Mutex::new(Table {
                waiting: HashMap::new(),
                abandoned: HashSet::new(),
                closed: false,
            }),
        }
    }
}

impl<T> InFlight<T> {
    /// Takes the id for a request.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn reserve(&self, id: &Id) -> Result<(), NoPlace> {
        let mut table = self.lock();
        if table.closed {
            return Err(NoPlace::Closed);
        }
        if table.waiting.contains_key(id) || table.abandoned.contains(id) {
            return Err(NoPlace::SameId);
        }
        if table.waiting.len() + table.abandoned.len() >= MAX_WAITING {
            return Err(NoPlace::TooMany);
        }
        let waiting = Waiting {
            since: Instant::now(),
            entry: None,
        };
        table.waiting.insert(id.clone(), waiting);
        Ok(())
    }

    /// Sets what waits under a reserved id; gives it back when the server has ended.
    ///
    /// # Errors
    /// The entry.
    pub fn fill(&self, id: &Id, entry: T) -> Result<(), T> {
        let mut table = self.lock();
        if table.closed {
            return Err(entry);
        }
        let waiting = Waiting {
            since: Instant::now(),
            entry: Some(entry),
        };
        table.waiting.insert(id.clone(), waiting);
        Ok(())
    }

    /// Gives an id free that the server has answered to, with what waits under it.
    pub fn take(&self, id: &Id) -> Option<T> {
        let mut table = self.lock();
        table.abandoned.remove(id);
        table.remove_sent(id)
    }

    /// As [`InFlight::take`], if what waits is what `own` looks for: an id that was given free
    /// meanwhile may belong to another request by now.
    pub fn take_own(&self, id: &Id, own: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut table = self.lock();
        let waiting = table.waiting.get(id)?;
        waiting.entry.as_ref().filter(|entry| own(entry))?;
        table.remove_sent(id)
    }

    /// Gives up a request that the server may still answer to. Its id stays taken until then.
    pub fn abandon(&self, id: &Id) -> Option<T> {
        let mut table = self.lock();
        let entry = table.remove_sent(id)?;
        table.abandoned.insert(id.clone());
        Some(entry)
    }

    /// Whether the server owes no answer at all.
    pub fn is_clean(&self) -> bool {
        let table = self.lock();
        table.waiting.is_empty() && table.abandoned.is_empty()
    }

    /// Gives a reserved id free.
    pub fn release(&self, id: &Id) {
        self.lock().waiting.remove(id);
    }

    /// Takes out everything that has waited for `limit` and says when to look again.
    pub fn expired(&self, limit: Duration) -> (Vec<T>, Instant) {
        let now = Instant::now();
        let mut table = self.lock();
        let late: Vec<Id> = table
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.entry.is_some() && waiting.since + limit <= now)
            .map(|(id, _)| id.clone())
            .collect();
        let late = late
            .into_iter()
            .filter_map(|id| {
                let entry = table.remove_sent(&id)?;
                table.abandoned.insert(id);
                Some(entry)
            })
            .collect();
        let oldest = table.waiting.values().map(|waiting| waiting.since).min();
        // Whatever comes later is late later.
        (
            late,
            oldest.map_or(now, |since| since.max(now - limit)) + limit,
        )
    }

    /// Takes out everything; nothing can be added any more.
    pub fn close(&self) -> Vec<T> {
        let mut table = self.lock();
        table.closed = true;
        table
            .waiting
            .drain()
            .filter_map(|(_, waiting)| waiting.entry)
            .collect()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        // Nothing in here panics between two states of the table.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

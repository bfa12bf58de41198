//! One thread that makes the writes of many callers durable together.
//!
//! Syncing a disk costs the same for one row as for a thousand. The committer takes everything
//! that waits into one transaction, commits it, and then tells every caller. While it syncs, the
//! next batch gathers by itself: no timer, no wait for a full batch, and a lone write is committed
//! at once. Only what is submitted for later waits a moment for company.
//!
//! Items are written in the order in which [`Committer::submit`] took them, and an item is never
//! durable without all items before it.
//!
//! The first error of a write or a commit **poisons** the committer: everything that waits and
//! everything submitted later fails with that first cause, until the process starts again. After a
//! failed sync the kernel may have dropped the pages and call the next sync a success, so a retry
//! would acknowledge what was never written.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use rusqlite::{Connection, Transaction, TransactionBehavior, config::DbConfig};
use tokio::sync::oneshot;

/// Puts items into a transaction; the committer's thread owns it.
pub trait Writer: Send + 'static {
    /// What is submitted.
    type Item: Send + 'static;

    /// Writes `items`, at least one, in their order. Must not commit or roll back: the committer
    /// does. State kept in `self` must be right only if the commit succeeds, for after an error
    /// the writer is never called again.
    ///
    /// # Errors
    ///
    /// Any error poisons the committer and is reported to every caller.
    fn write(
        &mut self,
        transaction: &Transaction<'_>,
        items: &[Self::Item],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// What was written last is durable now. Nobody has been told yet.
    ///
    /// # Errors
    ///
    /// As [`Writer::write`].
    fn committed(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// Bounds of a committer.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most items in one transaction.
    pub batch_limit: usize,
    /// Most items waiting (beside those being committed) before [`CommitError::Full`].
    pub queue_limit: usize,
}

impl Default for Options {
    /// 4,096 items a transaction, 65,536 waiting.
    fn default() -> Self {
        Self {
            batch_limit: 4_096,
            queue_limit: 65_536,
        }
    }
}

/// How long an item that nobody waits for may wait for company.
pub const LINGER: Duration = Duration::from_millis(2);

/// Why an item was not made durable.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Too many items wait. This item was not taken; others go on.
    #[error("`{limit}` writes are waiting already")]
    Full {
        /// [`Options::queue_limit`].
        limit: usize,
    },
    /// The committer was closed before the item was submitted.
    #[error("the committer is closed")]
    Closed,
    /// A write or a commit failed, this one or an earlier one. Whether the items of the failed
    /// transaction are on the disk is unknown until the next start; nothing after them is.
    #[error("durable storage failed: {cause}")]
    Poisoned {
        /// What failed first.
        cause: Arc<str>,
    },
}

/// What a committer has done since it was spawned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Items waiting now, without those being committed.
    pub waiting: usize,
    /// Transactions committed.
    pub batches: u64,
    /// Items committed.
    pub items: u64,
}

/// The handle of the thread. Dropping it closes it as [`Committer::close`] does.
pub struct Committer<W: Writer> {
    shared: Arc<Shared<W::Item>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<W: Writer> Committer<W> {
    /// Starts the thread. It owns the connection, which should be the only one that writes.
    ///
    /// # Errors
    ///
    /// [`CommitError::Poisoned`] if the system has no thread to give.
    pub fn spawn(connection: Connection, writer: W, options: Options) -> Result<Self, CommitError> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                items: Vec::new(),
                completions: Vec::new(),
                urgent: false,
                stop: None,
            }),
            wake: Condvar::new(),
            options,
            batches: AtomicU64::new(0),
            items: AtomicU64::new(0),
        });
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || run(connection, writer, &worker))
            .map_err(|error| poisoned(&error))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Hands an item to the thread; does not wait. Concurrent callers that need a certain order
    /// among themselves must hold a lock of their own around this call.
    ///
    /// # Errors
    ///
    /// [`CommitError::Full`], [`CommitError::Closed`] or [`CommitError::Poisoned`]. The item was
    /// not taken then, and will not become durable.
    pub fn submit(&self, item: W::Item) -> Result<Ticket, CommitError> {
        self.enqueue(item, true)
    }

    /// As [`Committer::submit`], for an item that nobody waits for: it is committed with the next
    /// one, or by itself after [`LINGER`]. So a caller who writes two items in turn, and needs only
    /// the first to be durable at once, pays for one sync and not for two.
    ///
    /// # Errors
    ///
    /// As [`Committer::submit`].
    pub fn submit_soon(&self, item: W::Item) -> Result<Ticket, CommitError> {
        self.enqueue(item, false)
    }

    fn enqueue(&self, item: W::Item, urgent: bool) -> Result<Ticket, CommitError> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.shared.lock();
        if let Some(stop) = &queue.stop {
            return Err(stop.clone());
        }
        let limit = self.shared.options.queue_limit;
        if queue.items.len() >= limit {
            return Err(CommitError::Full { limit });
        }
        let wake = queue.items.is_empty() || (urgent && !queue.urgent);
        queue.items.push(item);
        queue.completions.push(sender);
        queue.urgent |= urgent;
        drop(queue);
        if wake {
            self.shared.wake.notify_one();
        }
        Ok(Ticket { receiver })
    }

    /// Takes no more items, commits those that wait, and joins the thread. Calling it again does
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`CommitError::Poisoned`] if the committer failed at any time before.
    pub fn close(&self) -> Result<(), CommitError> {
        {
            let mut queue = self.shared.lock();
            queue.stop.get_or_insert(CommitError::Closed);
            self.shared.wake.notify_one();
        }
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic of the writer has poisoned the queue on its way out.
            let _ = thread.join();
        }
        match &self.shared.lock().stop {
            Some(error @ CommitError::Poisoned { .. }) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Why nothing can be submitted any more, if so.
    #[must_use]
    pub fn stopped(&self) -> Option<CommitError> {
        self.shared.lock().stop.clone()
    }

    /// The counters, for metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            waiting: self.shared.lock().items.len(),
            batches: self.shared.batches.load(Ordering::Relaxed),
            items: self.shared.items.load(Ordering::Relaxed),
        }
    }
}

impl<W: Writer> Drop for Committer<W> {
    fn drop(&mut self) {
        // Whoever wanted the result has called `close` or holds a ticket.
        let _ = self.close();
    }
}

impl<W: Writer> fmt::Debug for Committer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// The promise that an item will be durable. Await it, or block in [`Ticket::wait`]; dropping it
/// does not take the item back.
#[derive(Debug)]
#[must_use = "the item is not durable before the ticket says so"]
pub struct Ticket {
    receiver: oneshot::Receiver<Result<(), CommitError>>,
}

impl Ticket {
    /// Blocks this thread until the item is durable.
    ///
    /// # Errors
    ///
    /// [`CommitError::Poisoned`].
    pub fn wait(self) -> Result<(), CommitError> {
        // Not `blocking_recv`: that one panics when the caller is on an async runtime's thread.
        // There a task that has waited often enough is told to yield first, and this one never
        // does: without `unconstrained` it would wait for ever.
        let mut ticket = tokio::task::unconstrained(self);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut ticket).poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Future for Ticket {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|received| {
            received.unwrap_or_else(|_| Err(poisoned(&"the committer thread ended")))
        })
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    wake: Condvar,
    options: Options,
    batches: AtomicU64,
    items: AtomicU64,
}

struct Queue<T> {
    /// Waiting, oldest first.
    items: Vec<T>,
    /// INVARIANT: as long as `items`, one for each.
    completions: Vec<Completion>,
    /// Whether somebody waits for one of them.
    urgent: bool,
    /// Set once: nothing is taken any more. `Closed` still drains, `Poisoned` does not.
    stop: Option<CommitError>,
}

type Completion = oneshot::Sender<Result<(), CommitError>>;

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // Nothing in here panics between two states of the queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until there is something to commit; `None` when closed and drained.
    fn next_batch(&self) -> Option<(Vec<T>, Vec<Completion>)> {
        let mut queue = self.lock();
        let mut lingered = false;
        loop {
            if !queue.items.is_empty() && !queue.urgent && !lingered && queue.stop.is_none() {
                let (woken, waited) = self
                    .wake
                    .wait_timeout(queue, LINGER)
                    .unwrap_or_else(PoisonError::into_inner);
                queue = woken;
                lingered = waited.timed_out();
                continue;
            }
            if !queue.items.is_empty() {
                let limit = self.options.batch_limit.max(1);
                if queue.items.len() <= limit {
                    queue.urgent = false;
                    let items = std::mem::take(&mut queue.items);
                    return Some((items, std::mem::take(&mut queue.completions)));
                }
                let items = queue.items.drain(..limit).collect();
                return Some((items, queue.completions.drain(..limit).collect()));
            }
            if queue.stop.is_some() {
                return None;
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Fails everything that waits and everything to come. The first cause stays.
    fn poison(&self, error: CommitError) -> CommitError {
        let (waiting, first) = {
            let mut queue = self.lock();
            let first = match &queue.stop {
                Some(first @ CommitError::Poisoned { .. }) => first.clone(),
                _ => error,
            };
            queue.stop = Some(first.clone());
            queue.items.clear();
            (std::mem::take(&mut queue.completions), first)
        };
        for completion in waiting {
            let _ = completion.send(Err(first.clone()));
        }
        first
    }
}

/// Poisons the queue if the thread leaves by a panic of the writer.
struct PoisonOnPanic<'a, T>(&'a Shared<T>);

impl<T> Drop for PoisonOnPanic<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison(poisoned(&"the writer panicked"));
        }
    }
}

fn run<W: Writer>(mut connection: Connection, mut writer: W, shared: &Shared<W::Item>) {
    let _guard = PoisonOnPanic(shared);
    while let Some((items, completions)) = shared.next_batch() {
        let result = commit(&mut connection, &mut writer, &items)
            .map_err(|error| shared.poison(poisoned(&error)));
        if result.is_ok() {
            shared.batches.fetch_add(1, Ordering::Relaxed);
            shared
                .items
                .fetch_add(items.len() as u64, Ordering::Relaxed);
        }
        // A caller that has gone away does not matter to the others.
        for completion in completions {
            let _ = completion.send(result.clone());
        }
        if result.is_err() {
            // Closing would copy the log into the main file; from here on nothing is written.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            return;
        }
    }
}

fn commit<W: Writer>(
    connection: &mut Connection,
    writer: &mut W,
    items: &[W::Item],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    writer.write(&transaction, items)?;
    transaction.commit()?;
    writer.committed()
}

fn poisoned(cause: &dyn fmt::Display) -> CommitError {
    CommitError::Poisoned {
        cause: cause.to_string().into(),
    }
}

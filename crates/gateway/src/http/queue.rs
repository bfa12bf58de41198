//! Channels that hold a bounded number of items and of bytes.
//!
//! A number alone bounds nothing where each item may be a message of megabytes.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// The most bytes that wait in one channel. One item that is larger waits alone.
pub(crate) const BYTES: usize = 4 * 1024 * 1024;

/// The other side has gone away, or, where waiting is no option, there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// Where items go in.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    items: mpsc::Sender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// Where items come out, in the same order.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    items: mpsc::Receiver<(T, OwnedSemaphorePermit)>,
}

/// A channel for at most `items` items, of [`BYTES`] bytes together.
pub(crate) fn queue<T: AsRef<[u8]>>(items: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(items);
    let room = Arc::new(Semaphore::new(BYTES));
    let sender = Sender {
        items: sender,
        room,
    };
    (sender, Receiver { items: receiver })
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            items: self.items.clone(),
            room: Arc::clone(&self.room),
        }
    }
}

impl<T: AsRef<[u8]>> Sender<T> {
    /// Waits for room.
    pub(crate) async fn send(&self, item: T) -> Result<(), NotTaken> {
        let room = Arc::clone(&self.room).acquire_many_owned(size(&item));
        let room = room.await.map_err(|_| NotTaken)?;
        self.items.send((item, room)).await.map_err(|_| NotTaken)
    }

    /// Only if there is room now.
    pub(crate) fn try_send(&self, item: T) -> Result<(), NotTaken> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(size(&item));
        let room = room.map_err(|_| NotTaken)?;
        self.items.try_send((item, room)).map_err(|_| NotTaken)
    }

    /// Whether the receiver is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.items.is_closed()
    }

    /// Done when the receiver is gone.
    pub(crate) async fn closed(&self) {
        self.items.closed().await;
    }
}

impl<T> Receiver<T> {
    /// The next item; none when all senders are gone.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        self.items.recv().await.map(|(item, _)| item)
    }

    pub(crate) fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let next = self.items.poll_recv(context);
        next.map(|next| next.map(|(item, _)| item))
    }
}

/// How much room an item takes: never more than there is.
fn size(item: &impl AsRef<[u8]>) -> u32 {
    u32::try_from(item.as_ref().len().min(BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_are_bounded_and_a_large_item_passes_alone() {
        let (sender, mut receiver) = queue::<Vec<u8>>(1_000);
        sender.try_send(vec![1; BYTES - 1]).unwrap();
        sender.try_send(vec![2]).unwrap();
        assert_eq!(sender.try_send(vec![3]), Err(NotTaken));
        // What takes no room is still bounded by the number.
        sender.try_send(vec![]).unwrap();
        assert_eq!(receiver.recv().await.unwrap().len(), BYTES - 1);
        let large = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(vec![4; 3 * BYTES]).await }
        });
        assert_eq!(receiver.recv().await.unwrap(), [2]);
        assert!(receiver.recv().await.unwrap().is_empty());
        assert_eq!(receiver.recv().await.unwrap().len(), 3 * BYTES);
        large.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn items_are_bounded_and_nobody_waits_for_a_receiver_that_is_gone() {
        let (sender, receiver) = queue::<Vec<u8>>(2);
        sender.try_send(vec![1]).unwrap();
        sender.try_send(vec![2]).unwrap();
        assert_eq!(sender.try_send(vec![3]), Err(NotTaken));
        assert!(!sender.is_closed());
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(vec![4; BYTES]).await }
        });
        drop(receiver);
        assert_eq!(waiting.await.unwrap(), Err(NotTaken));
        assert!(sender.is_closed());
        sender.closed().await;
    }
}

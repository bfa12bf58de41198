//! What a process of a server says by itself, and who gets it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::process::Event;
use super::queue::{BYTES, Sender};
use super::reply::event;

/// How many messages wait for a client that listens.
const HELD: usize = 1024;

/// Where messages go that the server sends by itself.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) listener: Option<Sender<Bytes>>,
    pub(super) posts: Vec<Sender<Event>>,
    held: Held,
}

impl Out {
    /// To who listens for such messages, else along with an answer, else held back.
    pub(super) fn send(&mut self, message: &Bytes) {
        if let Some(listener) = &self.listener {
            match listener.try_send(event(message)) {
                Ok(()) => return,
                Err(_) => self.listener = None,
            }
        }
        self.posts.retain(|post| !post.is_closed());
        for post in self.posts.iter().rev() {
            if post.try_send(Event::Message(message.clone())).is_ok() {
                return;
            }
        }
        self.held.push(message.clone());
    }

    /// Whether nobody gets messages any more.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.posts.retain(|post| !post.is_closed());
        // Nobody can listen for what is held back.
        self.held = Held::default();
        self.posts.is_empty()
    }

    /// Whether a client listens.
    pub(super) fn has_listener(&self) -> bool {
        self.listener
            .as_ref()
            .is_some_and(|listener| !listener.is_closed())
    }

    /// From now on this client listens. It gets what was held back first.
    pub(super) fn listen(&mut self, listener: Sender<Bytes>) {
        while let Some(message) = self.held.pop() {
            if listener.try_send(event(&message)).is_err() {
                self.held.put_back(message);
                break;
            }
        }
        self.listener = Some(listener);
    }
}

/// The last messages that nobody has listened for.
#[derive(Debug, Default)]
struct Held {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

impl Held {
    fn push(&mut self, message: Bytes) {
        while !self.messages.is_empty()
            && (self.messages.len() >= HELD || self.bytes + message.len() > BYTES)
        {
            tracing::warn!("dropped a message of the server that nobody listens for");
            self.pop();
        }
        self.bytes += message.len();
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }

    fn put_back(&mut self, message: Bytes) {
        self.bytes += message.len();
        self.messages.push_front(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::queue::queue;

    fn held(held: &Held) -> Vec<usize> {
        let lengths: Vec<usize> = held.messages.iter().map(Bytes::len).collect();
        assert_eq!(held.bytes, lengths.iter().sum::<usize>());
        lengths
    }

    fn message(length: usize) -> Bytes {
        vec![b' '; length].into()
    }

    #[test]
    fn the_last_messages_are_held_within_both_bounds() {
        let mut out = Out::default();
        for length in [BYTES - 10, 6, 4] {
            out.send(&message(length));
        }
        assert_eq!(held(&out.held), [BYTES - 10, 6, 4]);
        out.send(&message(1));
        assert_eq!(held(&out.held), [6, 4, 1]);
        // One that is larger than the bound is held alone.
        out.send(&message(BYTES + 1));
        assert_eq!(held(&out.held), [BYTES + 1]);
        for _ in 0..=HELD {
            out.send(&message(3));
        }
        assert_eq!(held(&out.held), [3; HELD]);
    }

    #[tokio::test]
    async fn who_listens_gets_what_was_held_first() {
        let mut out = Out::default();
        out.send(&Bytes::from_static(b"1"));
        out.send(&Bytes::from_static(b"2"));
        let (sender, mut receiver) = queue(2);
        out.listen(sender);
        assert!(out.has_listener());
        assert!(held(&out.held).is_empty());
        // A listener that does not keep up is not one.
        out.send(&Bytes::from_static(b"3"));
        assert!(!out.has_listener());
        assert_eq!(held(&out.held), [1]);
        for text in ["1", "2"] {
            let got = receiver.recv().await.unwrap();
            assert_eq!(got, event(text.as_bytes()));
        }
        assert_eq!(receiver.recv().await, None);
    }
}

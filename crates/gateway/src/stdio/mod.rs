//! MCP over stdio: an agent that started the gateway, and a server that the gateway starts.
//!
//! [`wrap`] uses threads that block on pipes: an asynchronous runtime would hand every line from
//! thread to thread, which costs more than deciding it.

mod bridge;
mod child;
mod in_flight;
mod wrap;

pub use self::bridge::bridge;
pub use self::child::Command;
pub use self::in_flight::{InFlight, NoPlace};
pub use self::wrap::{Ended, Limits, wrap};

use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::message::framing::to_line;

/// Where lines are written, by several threads.
#[derive(Debug)]
pub(crate) struct LineWriter<W> {
    writer: Mutex<W>,
}

impl<W: Write> LineWriter<W> {
    pub(crate) const fn new(writer: W) -> Self {
        Self {
            writer: Mutex::new(writer),
        }
    }

    /// Writes one message as one line, in one piece.
    pub(crate) fn write(&self, message: &[u8]) -> io::Result<()> {
        let line = to_line(message);
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(&line);
        bytes.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(&bytes)?;
        writer.flush()
    }
}

/// Waits for a future that needs no runtime, blocking the thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

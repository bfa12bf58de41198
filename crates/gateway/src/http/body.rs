//! A response body that is written piece by piece.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::queue::{Receiver, Sender, queue};

/// How many pieces wait for a slow reader before the writer waits.
const PIECES: usize = 64;

/// A body fed through a channel. It ends when the sender is dropped; the sender notices when the
/// reader has gone away.
#[derive(Debug)]
pub(crate) struct StreamBody {
    pieces: Receiver<Bytes>,
}

/// A body and where to write it.
pub(crate) fn stream() -> (Sender<Bytes>, StreamBody) {
    let (sender, pieces) = queue(PIECES);
    (sender, StreamBody { pieces })
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

//! MCP messages as bytes: strict parsing, classification, framing and the one member that is
//! added to and taken out of a message.
//!
//! Everything here works on the bytes that were received. A message is scanned once by
//! [`json`], which refuses whatever two parsers could read in two ways; [`envelope`] and [`call`]
//! say what the message is; the original bytes are what is committed to and what is forwarded.
//! Nothing here opens a socket or decides anything.

pub mod a2a;
pub mod attestations;
pub mod call;
pub mod envelope;
pub mod framing;
pub mod headers;
pub mod json;
pub mod methods;
pub mod refusal;
pub mod splice;
pub mod sse;

mod id;

pub use self::call::{Action, CallError, Classified, classify};
pub use self::envelope::{Body, Message, MessageError};
pub use self::id::Id;
pub use self::methods::{Method, Revision, Sender, Verb};
pub use self::splice::Dialect;

#[cfg(test)]
mod tests;

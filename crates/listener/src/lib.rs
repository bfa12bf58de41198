//! Accepts HTTP/1 connections, within bounds.
//!
//! Every listener here faces strangers. What they can take from others by doing nothing is
//! bounded: how many connections there are, how long the head of a request may take and how long
//! a connection may idle between requests, how long a client may leave an answer unread, and
//! ([`receive`]) how long a body may take. How long an answer takes is not bounded: streams of
//! events stay open for as long as somebody reads them.

mod body;
mod connections;
mod stall;

pub use body::{BodyError, receive};
pub use connections::{Full, Limits, serve};

//! The exchange API: what operators fetch from and push to each other outside of calls.
//!
//! Every request but one is signed with the asking operator's enforcer key ([`signature`]), and is
//! answered only about the channel between the two operators. Spec: mcp §8.

mod authenticate;
mod client;
mod confirm;
mod contracts;
mod errands;
mod index;
mod nonces;
mod pushed;
mod refusal;
mod server;
pub mod signature;
mod streams;
mod wire;

pub use self::client::{ExchangeClient, Signer};
pub use self::confirm::{Silent, ask_counterparties};
pub use self::contracts::{contract_file, deliver, fetch_terms};
pub use self::errands::Errands;
pub(crate) use self::errands::{PUSH_FROM, fetch, push, push_request};
pub(crate) use self::pushed::Pushed;
pub(crate) use self::server::{Exchange, router};
pub use self::wire::{ChannelHeads, Head};

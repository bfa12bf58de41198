//! The MCP gateway and the exchange API between operators.
//!
//! A gateway stands between agents and the MCP servers whose tools they call. It decides every
//! call through a [`counterfoil_enforcer::Enforcer`], forwards the bytes that were sent, and
//! carries the signed records of both sides across operators.
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | MCP messages as bytes |
//! | [`evidence`] | records on the wire |
//! | [`proxy`] | what happens to a message, whatever transport it came by |
//! | [`config`], [`home`] | the configuration and the operator home |
//! | [`control`] | what a person asks of a running gateway |
//! | [`exchange`] | the API between operators |
//! | [`serve`] | the HTTP listener |
//! | [`stdio`] | messages over pipes |

mod a2a;
pub mod config;
pub mod control;
mod error;
pub mod evidence;
pub mod exchange;
pub mod home;
mod http;
mod http_api;
pub mod message;
pub mod proxy;
pub mod serve;
pub mod stdio;

pub use error::GatewayError;

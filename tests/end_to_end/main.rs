//! End-to-end tests: the built `counterfoil` binary, real sockets, and peers that others wrote.
//!
//! `COUNTERFOIL_BIN` names the binary; without it the one beside these tests is used, which
//! `cargo build -p counterfoil --bins --examples` makes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test stops at the first thing that goes wrong"
)]

mod a2a;
mod agent;
mod attestations;
mod binaries;
mod channel;
mod configuration;
mod contract;
mod crashes;
mod demo;
mod disclosure;
mod documentation;
mod evidence;
mod fault;
mod faults;
mod framing;
mod http_api;
mod journal;
mod keys;
mod levels;
mod offline;
mod python;
mod stock;
mod third_party;
mod world;

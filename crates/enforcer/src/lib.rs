//! The enforcer: decide, journal, batch, publish.
//!
//! [`Enforcer::authorize`] decides a call and makes the record of it durable before anyone hears
//! the verdict. An allowed call comes with a [`Permit`], which must be completed and records what
//! became of it. The journal of signed records is the only durable state: budgets, channels and
//! open calls are derived from it when the enforcer starts.
//!
//! In the background [`seal`] puts records into signed batches, and [`publish`] has the batches'
//! commitments logged; [`receipts`] builds receipts from what both left in the journal.
//!
//! | module | holds |
//! |---|---|
//! | [`policy`] | what is asked of a policy engine |
//! | [`call`] | what the enforcer is asked and what it answers |
//! | [`decide`], [`permit`] | a call's life |
//! | [`contract`] | what operators agreed on, and holding calls against it |
//! | [`ledger`] | budgets |
//! | [`journal`] | the durable records |
//! | [`export`] | bundles of evidence, written from the journal |
//! | [`recompute`] | balances, computed again from the records |
//! | [`operators`] | other operators' keys |
//! | [`statements`] | what we say to a counterparty outside of calls |
//! | [`status`] | what stands between us and each counterparty |

pub mod call;
mod channel;
pub mod contract;
pub mod decide;
mod enforcer;
pub mod environment;
mod error;
pub mod export;
mod hold;
mod identity;
mod incoming;
pub mod input;
mod joining;
pub mod journal;
pub mod ledger;
pub mod operators;
pub mod permit;
pub mod policy;
pub mod publish;
pub mod receipts;
pub mod recompute;
mod refusals;
mod replay;
pub mod seal;
pub mod service;
pub mod statements;
pub mod status;
mod stream;
pub mod verify;

pub use channel::{Gap, Unresolved};
pub use decide::{Decided, Pending};
pub use enforcer::{ChannelHeads, Enforcer, Settings, StartReport};
pub use error::{Blocked, EnforcerError};
pub use hold::{GAP_WINDOW_MILLIS, Held};
pub use permit::{Completion, PendingOutcome, Permit};

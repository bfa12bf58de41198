//! What a person asks of an operator's enforcer: to make a record, or to say how things stand.
//!
//! One process at a time writes a journal. So a running gateway does these [`Operation`]s for
//! whoever asks over a socket in the operator's home ([`Server`], [`ask`]); where no gateway runs,
//! the command opens the enforcer itself and runs the same function.
//!
//! To add an operation: implement [`Operation`] for what is asked, and add it to the list in
//! `server::routes`.

mod channel;
mod client;
mod contract;
mod error;
mod server;

use std::future::Future;

use counterfoil_enforcer::Enforcer;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::channel::{
    ChannelReport, Delivery, DenialReport, Deny, GapReport, MakeStatement, StatementReport, Status,
    UnresolvedReport,
};
pub use self::client::{Asked, ask};
pub use self::contract::{Accept, ContractReport, Contracts, End, Export, Propose, SaidReport};
pub use self::error::ControlError;
pub use self::server::Server;
use crate::home::Home;

/// The most bytes of what is asked and answered.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// What operations work on.
#[derive(Clone, Debug)]
pub struct Operated {
    /// The enforcer, open.
    pub enforcer: Enforcer,
    /// The operator's home.
    pub home: Home,
}

/// Something that a person asks of an enforcer.
pub trait Operation: Serialize + DeserializeOwned + Send + 'static {
    /// What comes back.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Its name on the socket, such as `channel/status`.
    const NAME: &'static str;

    /// Whether it makes records. What does not is answered without the log's word, and without
    /// beginning to work on the stream.
    const WRITES: bool = true;

    /// Does it.
    fn run(
        self,
        operated: &Operated,
    ) -> impl Future<Output = Result<Self::Answer, ControlError>> + Send;
}

/// Runs work on the journal away from the tasks of the runtime.
///
/// # Errors
/// What the work says, or that it ended unexpectedly.
pub async fn blocking<T: Send + 'static, E: Into<ControlError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ControlError::new("internal_error", error.to_string()))?
        .map_err(Into::into)
}

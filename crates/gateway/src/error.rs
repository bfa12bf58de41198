//! Why the gateway cannot work.

use std::path::PathBuf;

use counterfoil_enforcer::EnforcerError;

/// Why the gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration is not acceptable.
    #[error("{}:{line}: {detail}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// A file of the operator home could not be read.
    #[error("`{}`: {detail}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A key file may be read by others than its owner.
    #[error("`{}` may be read or written by others (mode {mode:o}); run `chmod 600` on it", path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The listener could not be opened.
    #[error("cannot listen on `{address}`: {error}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        error: String,
    },
    /// There is no server of this name in the configuration.
    #[error("no server `{name}` in the configuration")]
    UnknownServer {
        /// The name.
        name: String,
    },
    /// A server could not be started.
    #[error("cannot run `{program}`: {error}")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        error: String,
    },
    /// Something that needs an exchange with another operator failed.
    #[error("exchange with `{operator}`: {detail}")]
    Exchange {
        /// The operator.
        operator: String,
        /// What went wrong.
        detail: String,
    },
    /// A receipt of another operator's record is asked for before the record's batch is sealed.
    #[error("`{operator}` has not sealed the batch of the record yet")]
    NotSealed {
        /// The operator.
        operator: String,
    },
    /// An HTTP client could not be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(String),
    /// The enforcer could not do something.
    #[error(transparent)]
    Enforcer(#[from] EnforcerError),
}

impl GatewayError {
    /// A stable code for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config_invalid",
            Self::File { .. } => "file_unreadable",
            Self::KeyExposed { .. } => "key_exposed",
            Self::Listen { .. } => "cannot_listen",
            Self::UnknownServer { .. } => "unknown_server",
            Self::Spawn { .. } => "server_not_started",
            Self::Exchange { .. } => "exchange_failed",
            Self::NotSealed { .. } => "not_sealed",
            Self::Client(_) => "http_client_failed",
            Self::Enforcer(error) => error.code(),
        }
    }
}

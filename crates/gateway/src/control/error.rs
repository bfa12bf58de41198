//! Why something that was asked for was not done.

use counterfoil_enforcer::EnforcerError;
use counterfoil_protocol::Failure;
use serde::{Deserialize, Serialize};

use crate::error::GatewayError;

/// Why something that was asked for was not done. It crosses the socket as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct ControlError {
    /// Why, for machines.
    pub code: String,
    /// Why, for people.
    pub detail: String,
    /// What to do next.
    pub next: Option<String>,
}

impl ControlError {
    /// Something is wrong.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            detail: detail.into(),
            next: None,
        }
    }

    /// With what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl From<EnforcerError> for ControlError {
    fn from(error: EnforcerError) -> Self {
        match error {
            // The code stands beside the explanation here, not in it.
            EnforcerError::Refused {
                reason,
                explanation,
            } => Self::new(reason.as_str(), explanation),
            other => Self::new(other.code(), other.to_string()),
        }
    }
}

impl From<GatewayError> for ControlError {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Enforcer(error) => error.into(),
            other => Self::new(other.code(), other.to_string()),
        }
    }
}

impl From<Failure> for ControlError {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code().as_str(), failure.to_string())
    }
}

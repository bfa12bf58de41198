//! Why something that was asked for was not done.

use counterfoil_enforcer::{Blocked, EnforcerError};
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
            EnforcerError::Blocked(blocked) => {
                let code = blocked.code();
                let next = Some(next(&blocked).to_owned());
                let error = EnforcerError::Blocked(blocked).to_string();
                Self {
                    next,
                    ..Self::new(code, error)
                }
            }
            other => Self::new(other.code(), other.to_string()),
        }
    }
}

/// What to do where the enforcer makes no records.
const fn next(blocked: &Blocked) -> &'static str {
    match blocked {
        Blocked::LogUnconfirmed(_) => {
            "see that the log in operator.toml is running and that `counterfoil operator register` \
             was run, then repeat the command"
        }
        Blocked::CounterpartiesUnconfirmed(_) => {
            "wait until they answer, or see `silent_counterparties` in operator.toml"
        }
        Blocked::LogDisagrees(_) | Blocked::CounterpartyDisagrees(_) => {
            "the journal is older than its past and is not continued: begin a new stream with \
             `counterfoil operator rotate`"
        }
        Blocked::KeyLost { .. } | Blocked::StreamEnded => {
            "begin a new stream with `counterfoil operator rotate`"
        }
        Blocked::ClockBehind { .. } => "set the clock, then repeat the command",
        Blocked::Failed(_) => {
            "look at what the gateway has written to standard error, and start it again"
        }
        Blocked::Backlog { .. } => "see that the log in operator.toml is running, and wait",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_told_that_no_record_is_made_is_told_what_to_do() {
        let blocked = Blocked::LogUnconfirmed("connection refused".to_owned());
        let error = ControlError::from(EnforcerError::Blocked(blocked));
        assert_eq!(error.code, "log_unconfirmed");
        assert!(error.detail.contains("connection refused"));
        assert!(error.next.unwrap().contains("the log in operator.toml"));
    }
}

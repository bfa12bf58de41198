//! Time and randomness, which come in from outside so that every decision can be replayed and
//! every fault injected.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use counterfoil_protocol::digest::Salt;
use counterfoil_protocol::numbers::UnixMillis;

use crate::error::EnforcerError;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The time now. It may go back; the enforcer's records never do.
    fn now(&self) -> UnixMillis;
}

/// Where randomness comes from. It must be fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`EnforcerError::Entropy`] when the system has none to give.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EnforcerError>;
}

/// A clock and a source of randomness.
#[derive(Clone)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Environment {
    /// The operating system's clock and randomness.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Draws a salt.
    ///
    /// # Errors
    /// [`EnforcerError::Entropy`].
    pub fn salt(&self) -> Result<Salt, EnforcerError> {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes)?;
        Ok(Salt::from_bytes(bytes))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EnforcerError> {
        getrandom::fill(bytes).map_err(|error| EnforcerError::Entropy(error.to_string()))
    }
}

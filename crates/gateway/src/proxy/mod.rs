//! What happens to one message, whatever transport it came by.
//!
//! ```text
//! bytes --read--> Refused | Pass | Request
//!                                     |
//!                                  decide  (recorded, durable)
//!                                     |
//!                           Answer | Forward --> server --> OpenCall::answered --> bytes
//! ```
//!
//! Every request that acts goes through [`Proxy::decide`]; whatever cannot be understood stops at
//! [`Proxy::read`]. The transports only carry bytes, so stdio and HTTP cannot behave differently.
//! Spec: mcp §5 and §6.

mod answer;
mod call;
mod decide;
mod order;
mod read;

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use counterfoil_enforcer::{Enforcer, EnforcerError};
use counterfoil_protocol::names::{AgentName, OperatorName, ReasonCode, ServerName, SessionName};

use crate::exchange::Errands;
use crate::message::{Dialect, Message, Revision, call::handshake_version};

pub use self::answer::Refused;
pub(crate) use self::answer::{TooManyRefusals, sentence};
pub(crate) use self::call::Streamed;
pub use self::call::{Answering, Executed, OpenCall};
pub(crate) use self::decide::run_errands;
pub use self::decide::{Attesting, Deciding, Forward, Verdict};
pub(crate) use self::order::fill;
pub use self::read::{ClientMessage, Request, ServerMessage};

/// How much longer than a message its evidence may make it, in bytes.
pub const EVIDENCE_BYTES: usize = 1024 * 1024;

/// How long a request waits for its evidence, where a contract asks for it before the call and
/// nothing else is said.
pub const EVIDENCE_LIMIT: Duration = Duration::from_secs(30);

/// Either an enforcer that decides, or the reason why there is none and everything is denied.
#[derive(Clone, Debug)]
pub enum Gate {
    /// Calls are decided.
    Open(Enforcer),
    /// Calls are denied, and nothing behind the gateway is started or connected to.
    Refusing {
        /// A stable code, such as `journal_unavailable`.
        code: ReasonCode,
        /// What is wrong and where, for people.
        detail: String,
    },
}

impl Gate {
    /// A gate that refuses because of an error of the enforcer.
    pub fn refusing(error: &EnforcerError) -> Self {
        Self::Refusing {
            code: ReasonCode::literal(error.code()),
            detail: error.to_string(),
        }
    }

    /// The enforcer, if there is one.
    pub const fn enforcer(&self) -> Option<&Enforcer> {
        match self {
            Self::Open(enforcer) => Some(enforcer),
            Self::Refusing { .. } => None,
        }
    }

    /// Records that a message was refused before it could be understood as a call.
    ///
    /// The message stays refused whether or not that can be recorded.
    ///
    /// # Errors
    /// [`TooManyRefusals`], which is what the sender is to be told then.
    pub(crate) async fn record_refusal(&self, code: &'static str) -> Result<(), TooManyRefusals> {
        let Self::Open(enforcer) = self else {
            return Ok(());
        };
        match enforcer.refuse_message(ReasonCode::literal(code)).await {
            Ok(()) => {}
            Err(EnforcerError::TooManyRefusals) => return Err(TooManyRefusals),
            Err(error) => {
                tracing::warn!(code, %error, "a refused message could not be recorded");
            }
        }
        Ok(())
    }
}

/// Between whom the calls of one server travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Our agents call a server of ours.
    Local,
    /// Our agents call a server behind this operator's gateway; evidence goes along.
    Outgoing(OperatorName),
    /// Agents of other operators call a server of ours; evidence must come along.
    Incoming,
}

/// Who is on the client's side of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The agent. Not used where other operators call: their evidence names the agent.
    pub agent: AgentName,
    /// The session, where one is known.
    pub session: Option<SessionName>,
}

impl Caller {
    /// Another operator's agent, which only its evidence can name.
    pub fn by_evidence() -> Self {
        Self {
            agent: AgentName::literal("(unknown)"),
            session: None,
        }
    }
}

/// The gateway's view of one connection or session between a caller and a server.
#[derive(Debug)]
pub struct Proxy {
    gate: Gate,
    server: ServerName,
    direction: Direction,
    caller: Caller,
    max_bytes: usize,
    errands: Option<Errands>,
    evidence_limit: Duration,
    dialect: Dialect,
    /// The revision of the session, as an index into [`Revision::ALL`].
    revision: AtomicU8,
}

impl Proxy {
    /// A proxy for messages of at most `max_bytes`, evidence not counted.
    pub fn new(
        gate: Gate,
        server: ServerName,
        direction: Direction,
        caller: Caller,
        max_bytes: usize,
    ) -> Self {
        Self {
            gate,
            server,
            direction,
            caller,
            max_bytes,
            errands: None,
            evidence_limit: EVIDENCE_LIMIT,
            dialect: Dialect::Mcp,
            revision: AtomicU8::new(0),
        }
    }

    /// The same, with somebody to run errands to other operators.
    #[must_use]
    pub fn with_errands(mut self, errands: Option<Errands>) -> Self {
        self.errands = errands;
        self
    }

    /// The same, with another bound on how long a request waits for its evidence.
    #[must_use]
    pub const fn with_evidence_limit(mut self, limit: Duration) -> Self {
        self.evidence_limit = limit;
        self
    }

    /// The same, for messages of this protocol.
    #[must_use]
    pub const fn speaking(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Whether calls are decided here at all.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The server.
    pub const fn server(&self) -> &ServerName {
        &self.server
    }

    /// The agent on the client's side.
    pub const fn agent(&self) -> &AgentName {
        &self.caller.agent
    }

    /// Between whom calls travel.
    pub const fn direction(&self) -> &Direction {
        &self.direction
    }

    /// The most bytes of a message from the client's side, evidence included.
    pub const fn client_bytes(&self) -> usize {
        match self.direction {
            Direction::Incoming => self.max_bytes.saturating_add(EVIDENCE_BYTES),
            Direction::Local | Direction::Outgoing(_) => self.max_bytes,
        }
    }

    /// The most bytes of a message from the server's side, evidence included.
    pub const fn server_bytes(&self) -> usize {
        match self.direction {
            Direction::Outgoing(_) => self.max_bytes.saturating_add(EVIDENCE_BYTES),
            Direction::Local | Direction::Incoming => self.max_bytes,
        }
    }

    /// The protocol revision of the session, where messages do not state one.
    pub fn revision(&self) -> Revision {
        let index = usize::from(self.revision.load(Ordering::Relaxed));
        Revision::ALL
            .get(index)
            .copied()
            .unwrap_or(Revision::V2025_06_18)
    }

    /// Sets the revision of the session.
    pub fn set_revision(&self, revision: Revision) {
        let index = Revision::ALL
            .iter()
            .position(|known| *known == revision)
            .unwrap_or(0);
        self.revision
            .store(u8::try_from(index).unwrap_or(0), Ordering::Relaxed);
    }

    /// Takes the revision from the result of `initialize`.
    pub fn note_handshake(&self, result: &Message) {
        let chosen = handshake_version(result).and_then(|text| Revision::parse(&text));
        if let Some(revision) = chosen {
            self.set_revision(revision);
        }
    }
}

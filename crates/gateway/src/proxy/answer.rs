//! The answers the gateway writes itself.

use bytes::Bytes;
use counterfoil_enforcer::EnforcerError;
use counterfoil_enforcer::call::{Denial, Envelope};
use counterfoil_enforcer::contract::NotAttested;
use counterfoil_protocol::names::PolicyId;

use super::{Proxy, Request};
use crate::evidence;
use crate::message::call::revision_of;
use crate::message::refusal::{DENIED, INTERNAL_ERROR, Refusal};
use crate::message::{Dialect, Id, Message, Revision};

/// A message that goes no further.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What to answer; none where JSON-RPC asks for silence.
    pub answer: Option<Bytes>,
    /// Why, for machines.
    pub code: &'static str,
    /// The HTTP status that fits.
    pub status: u16,
}

/// The gateway has refused so much of strangers that it no longer writes it down. Spec: mcp §5.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooManyRefusals;

impl TooManyRefusals {
    /// A stable code for machines.
    pub(crate) const CODE: &'static str = "too_many_refusals";
    /// The HTTP status.
    pub(crate) const STATUS: u16 = 503;
    /// Why, for people, without a full stop.
    pub(crate) const REASON: &'static str =
        "the message is refused, and so many were before that this is not recorded";

    fn refusal(reason: &str) -> Refusal<'_> {
        Refusal {
            code: Self::CODE,
            reason,
            rules: &[],
            instead: Some("Try again in a few seconds; then you are told what is wrong with it."),
        }
    }
}

/// What an answer needs to know of the request that it answers.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: Id,
    pub(super) revision: Revision,
    /// Tool calls are answered with a result that a model can read.
    pub(super) is_tool_call: bool,
    pub(super) dialect: Dialect,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            id: request.id.clone(),
            revision: request.revision,
            is_tool_call: request.is_tool_call,
            dialect: request.dialect,
        }
    }

    /// A refusal in the form that fits the request.
    pub(super) fn refusal(&self, refusal: &Refusal<'_>) -> Bytes {
        if self.is_tool_call {
            refusal.tool_result(&self.id, self.revision).into()
        } else {
            refusal.error(Some(&self.id), DENIED, self.revision).into()
        }
    }

    /// A denial by the enforcer, with its evidence where another operator asked.
    pub(super) fn denial(&self, denial: &Denial) -> Bytes {
        let rules: Vec<&str> = denial.policies.iter().map(PolicyId::as_str).collect();
        let reason = sentence(&denial.explanation);
        let instead = denial.instead.as_deref().map(sentence);
        let answer = self.refusal(&Refusal {
            code: denial.reason.as_str(),
            reason: &reason,
            rules: &rules,
            instead: instead.as_deref(),
        });
        match &denial.envelope {
            Some(envelope) => with_evidence(self.dialect, answer, envelope),
            None => answer,
        }
    }

    /// The denial of a call without valid evidence, after too many others.
    pub(super) fn unrecorded(&self) -> Bytes {
        let reason = format!("{}. Nothing was forwarded.", TooManyRefusals::REASON);
        self.refusal(&TooManyRefusals::refusal(&reason))
    }

    /// The denial of a call on which no decision could be recorded.
    pub(super) fn undecided(&self, error: &EnforcerError) -> Bytes {
        let reason = format!("no decision could be recorded: {error}. Nothing was forwarded.");
        self.refusal(&Refusal {
            code: error.code(),
            reason: &reason,
            rules: &[],
            instead: None,
        })
    }

    /// The refusal of a call that was allowed, and whose evidence did not come in time.
    pub(super) fn not_sent(&self, late: &NotAttested) -> Bytes {
        let reason = format!("{}. Nothing was forwarded.", late.explanation);
        self.refusal(&Refusal {
            code: late.reason.as_str(),
            reason: &reason,
            rules: &[],
            instead: Some("The call was not executed. It may be tried again later."),
        })
    }

    /// An error of the gateway or of what is behind it, after the call was allowed.
    pub(super) fn error(&self, code: &str, reason: &str) -> Bytes {
        let reason = sentence(reason);
        let refusal = Refusal {
            code,
            reason: &reason,
            rules: &[],
            instead: None,
        };
        refusal
            .error(Some(&self.id), INTERNAL_ERROR, self.revision)
            .into()
    }

    /// A tool result or error that says why an answer is withheld.
    pub(super) fn withheld(&self, code: &str, reason: &str) -> Bytes {
        let reason = sentence(reason);
        self.refusal(&Refusal {
            code,
            reason: &reason,
            rules: &[],
            instead: Some("The call may have been executed. Check before you repeat it."),
        })
    }
}

impl Proxy {
    /// Records the refusal of a message. What comes back is what its sender is told: the refusal,
    /// or that there were too many of them.
    pub async fn record(&self, refused: Refused) -> Refused {
        if self.gate.record_refusal(refused.code).await.is_ok() {
            return refused;
        }
        let reason = format!("{}. Nothing was forwarded.", TooManyRefusals::REASON);
        let answer = refused.answer.map(|answer| {
            // The id, if it had one, is in the refusal.
            let length = answer.len();
            let answer = Message::from_bytes(answer, length).ok();
            let id = answer.as_ref().and_then(Message::id);
            let refusal = TooManyRefusals::refusal(&reason);
            let error = refusal.error(id, INTERNAL_ERROR, self.revision());
            error.into()
        });
        Refused {
            answer,
            code: TooManyRefusals::CODE,
            status: TooManyRefusals::STATUS,
        }
    }

    /// The error that answers a request that is not decided, when the server cannot.
    pub fn fail(&self, message: &Message, code: &str, reason: &str) -> Bytes {
        let revision = revision_of(message, self.revision()).unwrap_or(self.revision());
        let reason = sentence(reason);
        let refusal = Refusal {
            code,
            reason: &reason,
            rules: &[],
            instead: None,
        };
        refusal.error(message.id(), INTERNAL_ERROR, revision).into()
    }

    /// The denial of a request while the gate refuses everything.
    pub(super) fn refused_by_gate(&self, asked: &Asked, code: &str, detail: &str) -> Bytes {
        let reason = format!("the gateway cannot decide now: {detail}. Nothing was forwarded.");
        asked.refusal(&Refusal {
            code,
            reason: &reason,
            rules: &[],
            instead: None,
        })
    }
}

/// The gateway's own answer with evidence in it.
pub(super) fn with_evidence(dialect: Dialect, answer: Bytes, envelope: &Envelope) -> Bytes {
    let spliced = Message::from_bytes(answer.clone(), answer.len())
        .ok()
        .and_then(|message| dialect.insert(&message, &evidence::encode(envelope)).ok());
    match spliced {
        Some(spliced) => spliced,
        None => {
            // Our own answers always have room; without its evidence the other side just
            // refuses to believe it.
            tracing::error!("an answer of the gateway could not carry its evidence");
            answer
        }
    }
}

/// `text` with a full stop at its end.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim_end();
    match text.chars().last() {
        Some('.' | '!' | '?') | None => text.to_owned(),
        Some(_) => format!("{text}."),
    }
}

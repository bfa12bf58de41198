//! What the enforcer asks of a policy engine, and what it gets back.
//!
//! An implementation must be deterministic: the same policy set and the same input give the same
//! evaluation, on every machine and at every time. It must deny on any error of its own, and it
//! must not do I/O. It may be called from many threads at once.

use std::sync::Arc;

use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::names::{
    AgentName, OperatorName, PolicyId, PrincipalName, ReasonCode, ServerName, SessionName, Tier,
    ToolName, Verb,
};
use counterfoil_protocol::numbers::{Amount, UnixMillis};

/// Decides actions. See the module for what an implementation must and may do.
pub trait Policy: Send + Sync + core::fmt::Debug {
    /// Evaluates one action. Errors while evaluating are a deny, never a skipped rule.
    fn evaluate(&self, input: &EvaluationInput<'_>) -> Evaluation;

    /// BLAKE3 over the policy set and its schema, as spec records §6 says.
    fn digest(&self) -> ContentDigest;

    /// The policies of a contract's admission clause, over the same schema as this set. They
    /// deny whatever they do not allow. Spec: contracts §4.
    ///
    /// # Errors
    /// Why they cannot be applied: an engine that knows none cannot apply any.
    fn admission(&self, text: &str) -> Result<Arc<dyn Policy>, String> {
        let _ = text;
        Err("the policy engine knows no admission policies".to_owned())
    }
}

/// Everything a policy may look at. Its digest stands in the record.
#[derive(Clone, Copy, Debug)]
pub struct EvaluationInput<'a> {
    /// The operator whose agent acts.
    pub operator: &'a OperatorName,
    /// The agent that acts.
    pub agent: &'a AgentName,
    /// On whose behalf, where known.
    pub on_behalf_of: Option<&'a PrincipalName>,
    /// The agent's session, where known.
    pub session: Option<&'a SessionName>,
    /// The server the call is meant for.
    pub server: &'a ServerName,
    /// The protocol's method, such as `tools/call`.
    pub verb: &'a Verb,
    /// The tool or prompt name, or the resource address.
    pub tool: &'a ToolName,
    /// The arguments: the bytes of one JSON value, as they were sent.
    pub arguments: &'a [u8],
    /// The other operator, when the call crosses operators.
    pub counterparty: Option<&'a OperatorName>,
    /// The time of the decision.
    pub time: UnixMillis,
}

/// The outcome of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// A rule allows the action and none forbids it.
    Allow(Allowed),
    /// A rule forbids the action, none allows it, or it could not be evaluated.
    Deny(Denied),
}

/// An allowing evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The policies that determined it, at least one.
    pub policies: Vec<PolicyId>,
    /// The risk tier: the highest that a determining policy names.
    pub tier: Option<Tier>,
    /// RISK_POINTS the action costs: the most that a determining policy names, or zero.
    pub points: Amount,
}

/// A denying evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why, for machines: `policy_forbids`, `no_policy_allows`, `unknown_tool`,
    /// `policy_input_invalid` or `policy_error`.
    pub reason: ReasonCode,
    /// The policies that determined it; none when no policy allows the action.
    pub policies: Vec<PolicyId>,
    /// Why, for the agent: one sentence.
    pub explanation: String,
    /// What the agent may do instead, where the policy says so.
    pub instead: Option<String>,
}

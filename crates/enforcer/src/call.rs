//! What the enforcer is asked, and what it answers.

use std::sync::Arc;

use counterfoil_protocol::attestation::Attestation;
use counterfoil_protocol::digest::{RecordId, Salt};
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::names::{
    AgentName, OperatorName, PolicyId, PrincipalName, ReasonCode, ServerName, SessionName,
    ToolName, Verb,
};

/// One action that an agent wants to take.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// On whose behalf, where known.
    pub on_behalf_of: Option<PrincipalName>,
    /// The agent's session, where known.
    pub session: Option<SessionName>,
    /// The server it is meant for.
    pub server: ServerName,
    /// The protocol's method.
    pub verb: Verb,
    /// The tool or prompt, or the address of the resource.
    pub tool: ToolName,
    /// The arguments: the bytes of one JSON value.
    pub arguments: &'a [u8],
    /// The parameters as they were sent, which the record commits to.
    pub parameters: &'a [u8],
    /// The evidence from elsewhere that the parameters refer to.
    pub attestations: &'a [Attestation],
}

/// Who asks, and what stands behind the gateway.
#[derive(Clone, Debug)]
pub enum Party<'a> {
    /// An agent of ours asks for a tool of ours.
    Local {
        /// The agent.
        agent: AgentName,
    },
    /// An agent of ours asks for a tool of another operator.
    Outgoing {
        /// The agent.
        agent: AgentName,
        /// The other operator.
        counterparty: &'a OperatorName,
    },
    /// Another operator asks for a tool of ours, with this evidence; none if it sent none.
    Incoming {
        /// What came with the call.
        envelope: Option<&'a Envelope>,
    },
}

/// Records that travel with a call or an answer. The last one is what it is about; those before
/// it are sent again because they have not been acknowledged. Spec: mcp §3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Signed records of one operator, in channel order.
    pub records: Vec<Arc<[u8]>>,
    /// What opens the digest of the parameters or result, so that the receiver can check it.
    pub salt: Option<Salt>,
    /// What opens other digests of the records that the message is about, for the receiver alone:
    /// of the request, or of the decision and the outcome.
    pub disclosures: Vec<Disclosure>,
    /// The receipt of the last record, where a contract asks for more than a signature before the
    /// call. Spec: contracts §4.
    pub receipt: Option<Vec<u8>>,
}

/// The most records one envelope may carry.
pub const MAX_ENVELOPE_RECORDS: usize = 512;

/// A denial, as the agent is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why, for machines.
    pub reason: ReasonCode,
    /// The policies that determined it.
    pub policies: Vec<PolicyId>,
    /// Why, for the agent.
    pub explanation: String,
    /// What the agent may do instead.
    pub instead: Option<String>,
    /// The record of the denial.
    pub record: RecordId,
    /// What goes back to the other operator, when it asked.
    pub envelope: Option<Envelope>,
}

/// What the other operator's answer amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerCheck {
    /// It allowed the call and attests this very result.
    Attested {
        /// Its outcome record.
        outcome: RecordId,
        /// Whether the tool reported success.
        succeeded: bool,
    },
    /// It denied the call, and says so in a signed decision.
    Refused {
        /// Its decision record.
        decision: RecordId,
    },
    /// It came without evidence that verifies.
    Invalid {
        /// Why.
        reason: ReasonCode,
        /// For people.
        explanation: String,
    },
}

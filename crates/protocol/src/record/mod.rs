//! Records: one signed statement of an enforcer each.
//!
//! The types make what the specification forbids impossible to build: a request always belongs to
//! a channel, a control record never does, an outcome always names the decision it settles.
//!
//! Spec: records §3 to §6.

mod decode;
mod encode;

pub(crate) use decode::beacon as decode_beacon;
pub(crate) use encode::beacon as encode_beacon;

use core::fmt;

use crate::attestation::Attestation;
use crate::cose::{Header, ObjectType, Unsigned, Unverified};
use crate::digest::{CheckpointDigest, ContentDigest, KeyThumbprint, RecordId};
use crate::disclosure::DisclosedField;
use crate::failure::{Failure, FailureCode};
use crate::keys::{PublicKey, SigningKey};
use crate::level::Level;
use crate::names::{
    AgentName, OperatorName, PolicyId, ReasonCode, Scope, ServerName, Tier, ToolName, Unit, Verb,
};
use crate::numbers::{Amount, ChannelSequence, Sequence, UnixMillis};

/// The most policies one evaluation may name.
pub const MAX_POLICIES: usize = 64;
/// The most budgets one action may draw on.
pub const MAX_RESERVATIONS: usize = 16;
/// The most streams of a counterparty that a statement may name.
pub const MAX_RECEIVED: usize = 64;

/// The content of a record. Spec: records §3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the stream.
    pub sequence: Sequence,
    /// The id of the record before it; none only at sequence 0.
    pub previous: Option<RecordId>,
    /// When it was made, by the operator's clock.
    pub time: UnixMillis,
    /// The newest cosigned checkpoint the enforcer knew when it made the record.
    pub beacon: Option<Beacon>,
    /// What it states.
    pub body: Body,
}

/// The four kinds of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An agent of this operator asks another operator for an action, and our policy allows it.
    Request(Request),
    /// An action was decided.
    Decision(Decision),
    /// What became of a decided action.
    Outcome(Outcome),
    /// Something about the enforcer itself.
    Control(Event),
    /// Something about the channel to one counterparty. On the wire it is a control record too.
    Channel(ChannelControl),
}

/// A request that leaves for another operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The channel to the other operator.
    pub channel: ChannelLink,
    /// The contract it is made under.
    pub contract: Option<ContentDigest>,
    /// Who acts.
    pub actor: Actor,
    /// What is asked for.
    pub action: Action,
    /// Salted digest of the parameters as they were sent.
    pub parameters: ContentDigest,
    /// Why our policy allows it.
    pub evaluation: Evaluation,
    /// What was set aside for it in our budgets.
    pub reservations: Vec<Reservation>,
    /// Evidence from elsewhere that belongs to it.
    pub attestations: Vec<Attestation>,
}

/// A decision about an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The channel, when another operator asked.
    pub channel: Option<ChannelLink>,
    /// The other operator's request that this decides.
    pub request: Option<DecidedRequest>,
    /// The contract that the request was made under.
    pub contract: Option<ContentDigest>,
    /// Who acts, as far as it is known.
    pub actor: Actor,
    /// What was asked for.
    pub action: Action,
    /// Salted digest of the parameters as they arrived.
    pub parameters: ContentDigest,
    /// The verdict and its reasons.
    pub evaluation: Evaluation,
    /// What was set aside for it in our budgets.
    pub reservations: Vec<Reservation>,
    /// Evidence from elsewhere that belongs to it.
    pub attestations: Vec<Attestation>,
}

/// What became of a decided action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The channel, when the action crossed operators.
    pub channel: Option<ChannelLink>,
    /// Our request or decision that this settles.
    pub decision: RecordId,
    /// The other operator's outcome or decision that it follows from, on the asking side.
    pub answer: Option<RecordId>,
    /// What happened.
    pub status: OutcomeStatus,
    /// Salted digest of the result, where there is one.
    pub result: Option<ContentDigest>,
    /// What became of the reservations.
    pub settlements: Vec<Settlement>,
    /// Evidence from elsewhere that belongs to it.
    pub attestations: Vec<Attestation>,
}

/// The request that a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecidedRequest {
    /// Its id.
    pub id: RecordId,
    /// How far its evidence had been verified when it was decided.
    pub evidence: Level,
}

/// Something about the enforcer itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream begins. Always record 0, and only that.
    StreamOpened {
        /// The enforcer key whose stream this one continues, after a rotation.
        predecessor: Option<KeyThumbprint>,
    },
    /// An enforcer began to work on the stream.
    Started {
        /// The policy set it decides with.
        policy_set: ContentDigest,
        /// How many calls an earlier run left without an outcome; each has one in the records
        /// before this one.
        unresolved: u64,
    },
    /// A message was refused before it could be understood as an action.
    MessageRefused {
        /// Why.
        reason: ReasonCode,
    },
    /// The stream ends; nothing follows.
    StreamClosed {
        /// The enforcer key that goes on, after a rotation.
        successor: Option<KeyThumbprint>,
    },
}

/// Something about the channel to one counterparty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelControl {
    /// The channel.
    pub channel: ChannelLink,
    /// What it says.
    pub event: ChannelEvent,
}

/// What a control record can say to a counterparty. Spec: contracts §3, records §5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    /// We propose a contract.
    ContractProposed {
        /// Salted digest of its terms.
        contract: ContentDigest,
    },
    /// We accept a contract that the counterparty has proposed.
    ContractAccepted {
        /// Salted digest of its terms.
        contract: ContentDigest,
        /// The record that proposed it.
        proposal: RecordId,
    },
    /// We end a contract, or take a proposal back.
    ContractEnded {
        /// Salted digest of its terms.
        contract: ContentDigest,
        /// Why.
        reason: ReasonCode,
    },
    /// We close a period: what we have sent and what we have of the counterparty's.
    Statement(Statement),
    /// We deny that a record, which is said to be ours, is ours.
    RecordDenied {
        /// The record's id.
        record: RecordId,
        /// Why.
        reason: ReasonCode,
    },
}

/// A statement about a channel. Our own head is the record before it in the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Our channel sequence at which the period begins.
    pub from: ChannelSequence,
    /// The last record that we have of each of the counterparty's streams, with all before it,
    /// ascending by key.
    pub received: Vec<Acknowledgement>,
    /// How many of our requests in the channel have no outcome yet.
    pub open: u64,
}

/// Where a record stands in the channel to one counterparty. Spec: records §5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelLink {
    /// The other operator.
    pub counterparty: OperatorName,
    /// The record's place in the channel.
    pub sequence: ChannelSequence,
    /// The id of our previous record in this channel; none only at channel sequence 0.
    pub previous: Option<RecordId>,
    /// The last of the other side's records that we have, with all before it.
    pub acknowledged: Option<Acknowledgement>,
}

/// The last record seen of one of the other side's streams without a gap before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The enforcer key whose stream it is.
    pub stream: KeyThumbprint,
    /// Its place in the other side's channel.
    pub sequence: ChannelSequence,
    /// Its id.
    pub id: RecordId,
}

/// The newest cosigned checkpoint an enforcer knows. It names the digest of the note with its
/// cosignatures, not just the root: nobody can know a witness's signature before it is made, so
/// whatever names it is younger. Spec: receipts §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// The size of the log's tree.
    pub size: u64,
    /// SHA-256 of the note, cosignatures included.
    pub checkpoint: CheckpointDigest,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The operator whose agent it is.
    pub operator: OperatorName,
    /// The agent.
    pub agent: AgentName,
    /// Salted digest of the name of the person or service on whose behalf, where known.
    pub on_behalf_of: Option<ContentDigest>,
    /// Salted digest of the name of the agent's session, where known.
    pub session: Option<ContentDigest>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The server it is meant for.
    pub server: ServerName,
    /// The method, such as `tools/call`.
    pub verb: Verb,
    /// The tool or prompt, or the address of the resource.
    pub tool: ToolName,
    /// The risk tier the policy gives it.
    pub tier: Option<Tier>,
}

/// A verdict. Numbers 2 (allow with caps) and 4 (escalate) are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The action may be executed.
    Allow,
    /// The action may not be executed.
    Deny,
}

/// A verdict and what determined it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, for machines.
    pub reason: ReasonCode,
    /// The policies that determined it.
    pub policies: Vec<PolicyId>,
    /// BLAKE3 of the policy set in force.
    pub policy_set: ContentDigest,
    /// Salted digest of the exact input; none when the call was refused before any policy.
    pub input: Option<ContentDigest>,
}

/// An amount set aside in a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Which budget.
    pub scope: Scope,
    /// In which unit.
    pub unit: Unit,
    /// How much.
    pub amount: Amount,
    /// What is left in the budget after it.
    pub remaining: Amount,
}

/// What became of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which budget.
    pub scope: Scope,
    /// In which unit.
    pub unit: Unit,
    /// How much of the reservation was used; the rest went back.
    pub committed: Amount,
    /// What is left in the budget after it.
    pub remaining: Amount,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeStatus {
    /// It was executed and succeeded.
    Succeeded,
    /// It was executed, or tried, and the tool reported a failure.
    Failed,
    /// It was allowed and not executed.
    NotExecuted,
    /// Nobody knows: the enforcer or the tool died in between, or the answer was lost.
    Unknown,
    /// The other operator denied it.
    RefusedByCounterparty,
    /// The other operator's answer came without evidence that verifies.
    EvidenceInvalid,
}

impl Record {
    /// The record's place in a channel, when it concerns another operator.
    pub const fn channel(&self) -> Option<&ChannelLink> {
        match &self.body {
            Body::Request(request) => Some(&request.channel),
            Body::Decision(decision) => decision.channel.as_ref(),
            Body::Outcome(outcome) => outcome.channel.as_ref(),
            Body::Channel(control) => Some(&control.channel),
            Body::Control(_) => None,
        }
    }

    /// The evaluation, in a request or decision.
    pub const fn evaluation(&self) -> Option<&Evaluation> {
        match &self.body {
            Body::Request(request) => Some(&request.evaluation),
            Body::Decision(decision) => Some(&decision.evaluation),
            Body::Outcome(_) | Body::Control(_) | Body::Channel(_) => None,
        }
    }

    /// Who acts, in a request or decision.
    pub const fn actor(&self) -> Option<&Actor> {
        match &self.body {
            Body::Request(request) => Some(&request.actor),
            Body::Decision(decision) => Some(&decision.actor),
            Body::Outcome(_) | Body::Control(_) | Body::Channel(_) => None,
        }
    }

    /// What is asked for, in a request or decision.
    pub const fn action(&self) -> Option<&Action> {
        match &self.body {
            Body::Request(request) => Some(&request.action),
            Body::Decision(decision) => Some(&decision.action),
            Body::Outcome(_) | Body::Control(_) | Body::Channel(_) => None,
        }
    }

    /// The contract it is made under or is about.
    pub const fn contract(&self) -> Option<ContentDigest> {
        match &self.body {
            Body::Request(request) => request.contract,
            Body::Decision(decision) => decision.contract,
            Body::Channel(control) => control.event.contract(),
            Body::Outcome(_) | Body::Control(_) => None,
        }
    }

    /// The evidence from elsewhere that it refers to.
    pub fn attestations(&self) -> &[Attestation] {
        match &self.body {
            Body::Request(request) => &request.attestations,
            Body::Decision(decision) => &decision.attestations,
            Body::Outcome(outcome) => &outcome.attestations,
            Body::Control(_) | Body::Channel(_) => &[],
        }
    }

    /// The salted digest that stands for a field that can be disclosed, if the record has it.
    pub const fn disclosable(&self, field: DisclosedField) -> Option<ContentDigest> {
        match (field, &self.body) {
            (DisclosedField::Parameters, Body::Request(request)) => Some(request.parameters),
            (DisclosedField::Parameters, Body::Decision(decision)) => Some(decision.parameters),
            (DisclosedField::EvaluationInput, _) => match self.evaluation() {
                Some(evaluation) => evaluation.input,
                None => None,
            },
            (DisclosedField::Result, Body::Outcome(outcome)) => outcome.result,
            (DisclosedField::Contract, _) => self.contract(),
            (DisclosedField::OnBehalfOf, _) => match self.actor() {
                Some(actor) => actor.on_behalf_of,
                None => None,
            },
            (DisclosedField::Session, _) => match self.actor() {
                Some(actor) => actor.session,
                None => None,
            },
            (DisclosedField::Parameters | DisclosedField::Result, _) => None,
        }
    }

    /// What is set aside by this record, in a request or decision.
    pub fn reservations(&self) -> &[Reservation] {
        match &self.body {
            Body::Request(request) => &request.reservations,
            Body::Decision(decision) => &decision.reservations,
            Body::Outcome(_) | Body::Control(_) | Body::Channel(_) => &[],
        }
    }

    /// Completes the record for signing: fixes its bytes and with them its id.
    pub fn prepare(&self, issuer: &OperatorName, kid: KeyThumbprint) -> PreparedRecord {
        let header = Header {
            object: ObjectType::Record,
            issuer: issuer.clone(),
            issued_at: self.time.seconds(),
            kid,
        };
        let unsigned = Unsigned::new(header.encode(None), encode::payload(self));
        PreparedRecord {
            id: RecordId::from_bytes(unsigned.id()),
            unsigned,
        }
    }
}

/// A record whose bytes and id are fixed, and which lacks only its signature.
#[derive(Clone, Debug)]
pub struct PreparedRecord {
    id: RecordId,
    unsigned: Unsigned,
}

impl PreparedRecord {
    /// The record's id.
    pub const fn id(&self) -> RecordId {
        self.id
    }

    /// Signs it: the tagged COSE_Sign1 bytes.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        self.unsigned.sign(key)
    }
}

/// A well-formed record whose signature has not been checked yet.
#[derive(Clone, Debug)]
pub struct UnverifiedRecord {
    object: Unverified,
    id: RecordId,
    record: Record,
}

impl UnverifiedRecord {
    /// Parses the bytes of a record.
    ///
    /// # Errors
    /// A CBOR, structure, COSE or record code: see spec verification §2, step 2.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let mut object = Unverified::parse(bytes, ObjectType::Record)?;
        // What is signed holds the payload once more; many records may be waiting to be verified.
        let record = decode::payload(&core::mem::take(&mut object.payload))?;
        if record.time.seconds() != object.header.issued_at {
            return Err(Failure::new(
                FailureCode::RecordTimeMismatch,
                "iat is not the record's time in whole seconds",
            ));
        }
        if (record.sequence.get() == 0) != record.previous.is_none() {
            return Err(Failure::new(
                FailureCode::RecordChainStart,
                format!(
                    "record {} with{} a predecessor",
                    record.sequence,
                    if record.previous.is_none() { "out" } else { "" }
                ),
            ));
        }
        let opens = matches!(record.body, Body::Control(Event::StreamOpened { .. }));
        if (record.sequence.get() == 0) != opens {
            return Err(Failure::new(
                FailureCode::RecordChainStart,
                format!(
                    "record {} {} the stream",
                    record.sequence,
                    if opens { "opens" } else { "does not open" }
                ),
            ));
        }
        let id = RecordId::from_bytes(object.id());
        Ok(Self { object, id, record })
    }

    /// The operator it claims to come from.
    pub const fn issuer(&self) -> &OperatorName {
        &self.object.header.issuer
    }

    /// The key it claims to be signed with.
    pub const fn kid(&self) -> KeyThumbprint {
        self.object.header.kid
    }

    /// Its id, which its bytes determine whether or not the signature verifies.
    pub const fn id(&self) -> RecordId {
        self.id
    }

    /// Its content, not to be relied on.
    pub const fn unverified_content(&self) -> &Record {
        &self.record
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`FailureCode::KeyUnknown`] when it names another key,
    /// [`FailureCode::SignatureInvalid`] when the signature does not verify.
    pub fn verify(self, key: &PublicKey) -> Result<VerifiedRecord, Failure> {
        self.object.verify(key)?;
        Ok(VerifiedRecord {
            id: self.id,
            issuer: self.object.header.issuer,
            kid: self.object.header.kid,
            record: self.record,
        })
    }
}

/// A record whose signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecord {
    id: RecordId,
    issuer: OperatorName,
    kid: KeyThumbprint,
    record: Record,
}

impl VerifiedRecord {
    /// Its id.
    pub const fn id(&self) -> RecordId {
        self.id
    }

    /// The operator that signed it.
    pub const fn issuer(&self) -> &OperatorName {
        &self.issuer
    }

    /// The key that signed it.
    pub const fn kid(&self) -> KeyThumbprint {
        self.kid
    }

    /// Its content.
    pub const fn record(&self) -> &Record {
        &self.record
    }
}

impl Body {
    /// The kind's name for people and machines.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Decision(_) => "decision",
            Self::Outcome(_) => "outcome",
            Self::Control(_) | Self::Channel(_) => "control",
        }
    }
}

impl Event {
    /// The event's name for people and machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StreamOpened { .. } => "stream_opened",
            Self::Started { .. } => "started",
            Self::MessageRefused { .. } => "message_refused",
            Self::StreamClosed { .. } => "stream_closed",
        }
    }
}

impl ChannelEvent {
    /// The event's name for people and machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ContractProposed { .. } => "contract_proposed",
            Self::ContractAccepted { .. } => "contract_accepted",
            Self::ContractEnded { .. } => "contract_ended",
            Self::Statement(_) => "channel_statement",
            Self::RecordDenied { .. } => "record_denied",
        }
    }

    /// The contract it is about.
    pub const fn contract(&self) -> Option<ContentDigest> {
        match self {
            Self::ContractProposed { contract }
            | Self::ContractAccepted { contract, .. }
            | Self::ContractEnded { contract, .. } => Some(*contract),
            Self::Statement(_) | Self::RecordDenied { .. } => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

impl fmt::Display for OutcomeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::NotExecuted => "not_executed",
            Self::Unknown => "unknown",
            Self::RefusedByCounterparty => "refused_by_counterparty",
            Self::EvidenceInvalid => "evidence_invalid",
        })
    }
}

//! Deciding one call.

use counterfoil_durable::committer::Ticket;
use counterfoil_protocol::digest::{ContentDigest, RecordId, Salt};
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::names::{
    AgentName, OperatorName, PolicyId, PrincipalName, ReasonCode, SessionName, Tier,
};
use counterfoil_protocol::numbers::{Amount, UnixMillis};
use counterfoil_protocol::record::{
    Action, Actor, Body, Decision, Evaluation, MAX_POLICIES, Request, Reservation, Verdict,
};

use crate::call::{Call, Denial, Envelope, Party};
use crate::channel::MAX_UNACKNOWLEDGED;
use crate::enforcer::{Core, Enforcer};
use crate::error::EnforcerError;
use crate::incoming::{self, Arrival, Incoming};
use crate::input;
use crate::journal::Opening;
use crate::permit::Permit;
use crate::policy::{self, EvaluationInput};
use crate::stream::Stream;

/// A verdict, with the record of it already durable.
#[derive(Debug)]
pub enum Decided {
    /// The call may be executed, once.
    Allowed(Permit),
    /// The call may not be executed.
    Denied(Denial),
}

/// A decision on its way to the disk. It must not be acted on before it is there.
#[derive(Debug)]
#[must_use = "a decision counts only once it is durable"]
pub struct Pending {
    ticket: Ticket,
    decided: Decided,
}

impl Pending {
    /// Waits until the record is durable, blocking the thread.
    ///
    /// # Errors
    /// [`EnforcerError::Commit`] when it could not be written: the call is denied.
    pub fn wait(self) -> Result<Decided, EnforcerError> {
        match self.ticket.wait() {
            Ok(()) => Ok(self.decided),
            Err(error) => Err(give_up(self.decided, error.into())),
        }
    }

    /// Waits until the record is durable.
    ///
    /// # Errors
    /// [`EnforcerError::Commit`] when it could not be written: the call is denied.
    pub async fn durable(self) -> Result<Decided, EnforcerError> {
        match self.ticket.await {
            Ok(()) => Ok(self.decided),
            Err(error) => Err(give_up(self.decided, error.into())),
        }
    }
}

fn give_up(decided: Decided, error: EnforcerError) -> EnforcerError {
    if let Decided::Allowed(permit) = decided {
        // Its record may or may not be on the disk; the next start resolves it.
        permit.forget();
    }
    error
}

/// What the policy, or what comes before it, says about a call.
struct Ruling {
    verdict: Verdict,
    reason: ReasonCode,
    policies: Vec<PolicyId>,
    tier: Option<Tier>,
    points: Amount,
    explanation: String,
    instead: Option<String>,
}

/// Everything about a call that goes into its record.
struct Judged {
    arrival: Option<Arrival>,
    actor: Actor,
    parameters: ContentDigest,
    salt: Salt,
    openings: Vec<Opening>,
    ruling: Ruling,
    input: Option<ContentDigest>,
    now: UnixMillis,
}

/// Who acts: what the record says, and the names as far as we know them.
pub(crate) struct People {
    pub(crate) actor: Actor,
    pub(crate) on_behalf_of: Option<PrincipalName>,
    pub(crate) session: Option<SessionName>,
}

impl People {
    /// When it is not known who sent a call.
    fn unknown(operator: &OperatorName) -> Self {
        Self {
            actor: Actor {
                operator: operator.clone(),
                agent: AgentName::literal("(unknown)"),
                on_behalf_of: None,
                session: None,
            },
            on_behalf_of: None,
            session: None,
        }
    }
}

impl Enforcer {
    /// Decides a call. The answer counts once it is durable: see [`Pending`].
    ///
    /// # Errors
    /// When no decision can be recorded, whatever it would be: the call is denied. So it is with
    /// [`EnforcerError::TooManyRefusals`], when too much comes that no operator has signed.
    pub fn authorize(&self, call: &Call<'_>, party: &Party<'_>) -> Result<Pending, EnforcerError> {
        self.core.check_open(&self.core.stream())?;
        let incoming = match party {
            Party::Incoming { envelope } => Some(incoming::check(&self.core, *envelope)),
            Party::Local { .. } | Party::Outgoing { .. } => None,
        };
        if incoming.as_ref().is_some_and(|call| !call.is_signed()) {
            self.core.check_refusal()?;
        }
        let keep = self.core.keep_clear_text;
        let mut openings = Vec::new();
        let people = self.people(call, party, incoming.as_ref(), &mut openings)?;
        let now = self.core.environment.clock.now();
        let salt = match incoming.as_ref().and_then(|incoming| incoming.salt) {
            Some(salt) => salt,
            None => self.core.environment.salt()?,
        };
        let (parameters, opening) =
            Opening::seal(DisclosedField::Parameters, salt, call.parameters, keep);
        openings.push(opening);

        // Everything the other operator sent is checked before anything else runs.
        let arrival = match incoming {
            Some(incoming) => Some(incoming.arrive(&self.core, call, parameters, now)?),
            None => None,
        };
        let refused = arrival.as_ref().and_then(|arrival| arrival.refusal.clone());
        let (ruling, input) = match refused {
            Some(refusal) => (Ruling::refused(refusal.reason, refusal.explanation), None),
            None => {
                let (ruling, digest, opening) = self.evaluate(call, party, &people, now)?;
                openings.push(opening);
                (ruling, Some(digest))
            }
        };
        let judged = Judged {
            arrival,
            actor: people.actor,
            parameters,
            salt,
            openings,
            ruling,
            input,
            now,
        };
        self.record(call, party, judged)
    }

    /// Who acts. People stand in the record as salted digests; what opens them is kept beside it.
    fn people(
        &self,
        call: &Call<'_>,
        party: &Party<'_>,
        incoming: Option<&Incoming>,
        openings: &mut Vec<Opening>,
    ) -> Result<People, EnforcerError> {
        let agent = match party {
            Party::Local { agent } | Party::Outgoing { agent, .. } => agent.clone(),
            Party::Incoming { .. } => {
                return Ok(incoming
                    .and_then(Incoming::people)
                    .unwrap_or_else(|| People::unknown(&self.core.identity.operator)));
            }
        };
        let mut seal = |field, name: Option<&str>| {
            let Some(name) = name else { return Ok(None) };
            let salt = self.core.environment.salt()?;
            let keep = self.core.keep_clear_text;
            let (digest, opening) = Opening::seal(field, salt, name.as_bytes(), keep);
            openings.push(opening);
            Ok::<_, EnforcerError>(Some(digest))
        };
        let person = call.on_behalf_of.as_ref().map(PrincipalName::as_str);
        let session = call.session.as_ref().map(SessionName::as_str);
        Ok(People {
            actor: Actor {
                operator: self.core.identity.operator.clone(),
                agent,
                on_behalf_of: seal(DisclosedField::OnBehalfOf, person)?,
                session: seal(DisclosedField::Session, session)?,
            },
            on_behalf_of: call.on_behalf_of.clone(),
            session: call.session.clone(),
        })
    }

    fn evaluate(
        &self,
        call: &Call<'_>,
        party: &Party<'_>,
        people: &People,
        now: UnixMillis,
    ) -> Result<(Ruling, ContentDigest, Opening), EnforcerError> {
        let actor = &people.actor;
        let input = EvaluationInput {
            operator: &actor.operator,
            agent: &actor.agent,
            on_behalf_of: people.on_behalf_of.as_ref(),
            session: people.session.as_ref(),
            server: &call.server,
            verb: &call.verb,
            tool: &call.tool,
            arguments: call.arguments,
            counterparty: match party {
                Party::Local { .. } => None,
                Party::Outgoing { counterparty, .. } => Some(counterparty),
                Party::Incoming { .. } => Some(&actor.operator),
            },
            time: now,
        };
        let ruling = Ruling::of(self.core.policy.evaluate(&input))?;
        let (digest, opening) = Opening::seal(
            DisclosedField::EvaluationInput,
            self.core.environment.salt()?,
            &input::encode(&input),
            self.core.keep_clear_text,
        );
        Ok((ruling, digest, opening))
    }

    /// Makes the record, under the lock, and signs it after.
    fn record(
        &self,
        call: &Call<'_>,
        party: &Party<'_>,
        judged: Judged,
    ) -> Result<Pending, EnforcerError> {
        let Judged {
            arrival,
            actor,
            parameters,
            salt,
            openings,
            mut ruling,
            input,
            now,
        } = judged;
        let core = &self.core;
        let mut stream = core.stream();
        core.check_open(&stream)?;
        let request = arrival.as_ref().and_then(|arrival| arrival.request);
        let asked_by = arrival.as_ref().and_then(|arrival| arrival.stream);
        let counterparty: Option<OperatorName> = match party {
            Party::Outgoing { counterparty, .. } => Some((*counterparty).clone()),
            Party::Incoming { .. } => arrival.and_then(|arrival| arrival.counterparty),
            Party::Local { .. } => None,
        };
        let waiting = counterparty
            .as_ref()
            .map_or(0, |name| stream.channel(name).waiting());
        let crowded = waiting > MAX_UNACKNOWLEDGED;
        if let Some(name) = counterparty.as_ref().filter(|_| crowded) {
            ruling = Ruling::refused(
                ReasonCode::literal("channel_unacknowledged"),
                format!("{waiting} records wait for {name} to acknowledge them"),
            );
        }
        if ruling.policies.len() > MAX_POLICIES {
            ruling = Ruling::refused(
                ReasonCode::literal("too_many_policies"),
                format!("{} policies determine the verdict", ruling.policies.len()),
            );
        }
        let reservations = reserve(&stream, &actor, &mut ruling, now)?;
        let action = Action {
            server: call.server.clone(),
            verb: call.verb.clone(),
            tool: call.tool.clone(),
            tier: ruling.tier.clone(),
        };
        let evaluation = Evaluation {
            verdict: ruling.verdict,
            reason: ruling.reason.clone(),
            policies: ruling.policies.clone(),
            policy_set: core.policy_set,
            input,
        };
        let leaves = matches!(party, Party::Outgoing { .. });
        let channel = match &counterparty {
            // A denial of our own agent's call never leaves: it is in no channel.
            Some(_) if leaves && ruling.verdict == Verdict::Deny => None,
            // Nor does one more record go where too many wait already.
            Some(_) if crowded => None,
            Some(name) => Some(stream.channel(name).link(name, asked_by)),
            None => None,
        };
        let in_channel = channel.is_some();
        let body = match channel {
            Some(channel) if leaves => Body::Request(Request {
                channel,
                contract: None,
                actor,
                action,
                parameters,
                evaluation,
                reservations: reservations.clone(),
                attestations: call.attestations.to_vec(),
            }),
            channel => Body::Decision(Decision {
                channel,
                request,
                contract: None,
                actor,
                action,
                parameters,
                evaluation,
                reservations: reservations.clone(),
                attestations: call.attestations.to_vec(),
            }),
        };
        let appended = core.append_at(&mut stream, now, body, openings)?;
        drop(stream);

        let counterparty = counterparty.filter(|_| in_channel);
        let id = appended.id;
        let sequence = appended.sequence;
        let written = appended.sign(&core.identity)?;
        let decided = match ruling.verdict {
            Verdict::Allow => Decided::Allowed(Permit::new(
                self.clone(),
                id,
                written.bytes,
                sequence,
                counterparty,
                asked_by,
                leaves,
                salt,
                reservations,
            )),
            Verdict::Deny => Decided::Denied(Denial {
                reason: ruling.reason,
                policies: ruling.policies,
                explanation: ruling.explanation,
                instead: ruling.instead,
                record: id,
                envelope: counterparty.map(|name| core.envelope(&name, &[id], None)),
            }),
        };
        Ok(Pending {
            ticket: written.ticket,
            decided,
        })
    }
}

fn reserve(
    stream: &Stream,
    actor: &Actor,
    ruling: &mut Ruling,
    now: UnixMillis,
) -> Result<Vec<Reservation>, EnforcerError> {
    if ruling.verdict == Verdict::Deny {
        return Ok(Vec::new());
    }
    let time = stream.time(now);
    match stream
        .ledger
        .quote(&actor.operator, &actor.agent, ruling.points, time)?
    {
        Ok(reservations) => Ok(reservations),
        Err(exhausted) => {
            let tier = ruling.tier.take();
            *ruling = Ruling::refused(
                ReasonCode::literal("budget_exhausted"),
                format!(
                    "the action needs {} RISK_POINTS and {} are left in `{}`",
                    exhausted.needed, exhausted.left, exhausted.scope
                ),
            );
            ruling.tier = tier;
            ruling.instead = Some(format!(
                "wait until unix time {}, or ask a person to raise the budget",
                exhausted.renewed.seconds()
            ));
            Ok(Vec::new())
        }
    }
}

impl Core {
    /// What travels with the given records of ours: them, and whatever before them has not been
    /// acknowledged. Waits for records that are still being signed, never for the disk.
    pub(crate) fn envelope(
        &self,
        counterparty: &OperatorName,
        ids: &[RecordId],
        salt: Option<Salt>,
    ) -> Envelope {
        let sent = {
            let mut stream = self.stream();
            stream.channel(counterparty).outgoing(ids)
        };
        let records = sent
            .iter()
            .filter_map(|sent| sent.bytes.wait().cloned())
            .collect();
        Envelope {
            records,
            salt,
            disclosures: Vec::new(),
        }
    }
}

impl Ruling {
    fn of(evaluation: policy::Evaluation) -> Result<Self, EnforcerError> {
        Ok(match evaluation {
            policy::Evaluation::Allow(allowed) => Self {
                verdict: Verdict::Allow,
                reason: ReasonCode::literal("policy_allows"),
                policies: allowed.policies,
                tier: allowed.tier,
                points: allowed.points,
                explanation: String::new(),
                instead: None,
            },
            policy::Evaluation::Deny(denied) => Self {
                verdict: Verdict::Deny,
                reason: denied.reason,
                policies: denied.policies,
                tier: None,
                points: Amount::new(0),
                explanation: denied.explanation,
                instead: denied.instead,
            },
        })
    }

    fn refused(reason: ReasonCode, explanation: String) -> Self {
        Self {
            verdict: Verdict::Deny,
            reason,
            policies: Vec::new(),
            tier: None,
            points: Amount::new(0),
            explanation,
            instead: None,
        }
    }
}

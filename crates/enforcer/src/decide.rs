//! Deciding one call.

use std::sync::Arc;

use counterfoil_durable::committer::Ticket;
use counterfoil_protocol::contract::Party as Side;
use counterfoil_protocol::digest::{ContentDigest, RecordId, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{
    AgentName, OperatorName, PolicyId, PrincipalName, ReasonCode, SessionName, Tier,
};
use counterfoil_protocol::numbers::{Amount, UnixMillis};
use counterfoil_protocol::record::{
    Action, Actor, Body, DecidedRequest, Decision, Evaluation, MAX_POLICIES, MAX_RESERVATIONS,
    Request, Reservation, Verdict,
};

use crate::call::{Call, Denial, Envelope, Party};
use crate::channel::MAX_UNACKNOWLEDGED;
use crate::contract::evidence;
use crate::contract::hold::{Agreed, Held, Outside, Under};
use crate::enforcer::{Core, Enforcer};
use crate::error::EnforcerError;
use crate::incoming::{self, Arrival, Came, Incoming, Purpose};
use crate::input;
use crate::journal::{Item, Opening};
use crate::permit::Permit;
use crate::policy::{self, EvaluationInput, Policy};
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
    /// The contract that the record names, and what it permits.
    contract: Option<ContentDigest>,
    under: Option<Under>,
    /// How far the evidence of the counterparty's request was verified.
    evidence: Level,
    now: UnixMillis,
}

/// What the contracts say about a call.
struct Holding {
    contract: Option<ContentDigest>,
    under: Option<Under>,
    evidence: Level,
    refused: Option<(ReasonCode, String)>,
}

impl Holding {
    const fn outside() -> Self {
        Self {
            contract: None,
            under: None,
            evidence: Level::Signed,
            refused: None,
        }
    }
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
            Party::Incoming { envelope } => {
                Some(incoming::check(&self.core, *envelope, Purpose::Call))
            }
            Party::Local { .. } | Party::Outgoing { .. } => None,
        };
        if incoming.as_ref().is_some_and(|call| !call.is_signed()) {
            self.core.check_refusal()?;
        }
        let mut openings = Vec::new();
        let people = self.people(call, party, incoming.as_ref(), &mut openings)?;
        let now = self.core.environment.clock.now();
        let salt = match incoming.as_ref().and_then(|incoming| incoming.salt) {
            Some(salt) => salt,
            None => self.core.environment.salt()?,
        };
        let (parameters, opening) =
            Opening::seal(DisclosedField::Parameters, salt, call.parameters, true);
        openings.push(opening);

        // Everything the other operator sent is checked before anything else runs.
        let arrival = match incoming {
            Some(incoming) => Some(incoming.arrive(&self.core, call, parameters, now)?),
            None => None,
        };
        let came = arrival.as_ref().and_then(|arrival| arrival.came.as_ref());
        if let Some(came) = came {
            // What the other side disclosed of people is the same digest in our decision.
            let people = came.opened.iter().filter(|disclosure| {
                matches!(
                    disclosure.field,
                    DisclosedField::OnBehalfOf | DisclosedField::Session
                )
            });
            openings.extend(people.map(|disclosure| Opening::of(disclosure, true)));
        }
        let refused = arrival.as_ref().and_then(|arrival| arrival.refusal.clone());
        let holding = match refused {
            Some(refusal) => Holding {
                contract: came.and_then(Came::contract),
                refused: Some((refusal.reason, refusal.explanation)),
                ..Holding::outside()
            },
            None => self.hold_against_contract(call, party, came, now),
        };
        let (ruling, input) = match holding.refused {
            Some((reason, explanation)) => (Ruling::refused(reason, explanation), None),
            None => {
                let (ruling, digest, opening) =
                    self.evaluate(call, party, &people, holding.under.as_ref(), now)?;
                openings.push(opening);
                (ruling, Some(digest))
            }
        };
        self.keep_disclosed(came)?;
        let judged = Judged {
            arrival,
            actor: people.actor,
            parameters,
            salt,
            openings,
            ruling,
            input,
            contract: holding.contract,
            under: holding.under,
            evidence: holding.evidence,
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
            let (digest, opening) = Opening::seal(field, salt, name.as_bytes(), true);
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
        under: Option<&Under>,
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
        let admission = match party {
            Party::Incoming { .. } => under.and_then(|under| under.text.admission.as_ref()),
            Party::Local { .. } | Party::Outgoing { .. } => None,
        };
        let ruling = match admission.and_then(|admission| not_admitted(admission, &input)) {
            Some(explanation) => {
                Ruling::refused(ReasonCode::literal("contract_admission"), explanation)
            }
            None => Ruling::of(self.core.policy.evaluate(&input))?,
        };
        let (digest, opening) = Opening::seal(
            DisclosedField::EvaluationInput,
            self.core.environment.salt()?,
            &input::encode(&input),
            true,
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
            mut openings,
            mut ruling,
            input,
            contract,
            under,
            evidence,
            now,
        } = judged;
        let core = &self.core;
        let mut stream = core.stream();
        core.check_open(&stream)?;
        let request = arrival
            .as_ref()
            .and_then(|arrival| arrival.request)
            .map(|request| DecidedRequest {
                evidence,
                ..request
            });
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
        // What permitted the call may have ended while it was looked at.
        if ruling.verdict == Verdict::Allow
            && let (Some(under), Some(name)) = (&under, &counterparty)
            && let Err(outside) = stream.contracts.still(name, under, stream.time(now))
        {
            ruling = Ruling::refused(outside.reason, outside.explanation);
        }
        let reservations = reserve(&stream, &actor, under.as_ref(), &mut ruling, now)?;
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
                contract,
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
                contract,
                actor,
                action,
                parameters,
                evaluation,
                reservations: reservations.clone(),
                attestations: call.attestations.to_vec(),
            }),
        };
        let disclosures = match &under {
            Some(under) if leaves => to_disclose(under, Side::Asking, &openings),
            Some(under) => to_disclose(under, Side::Asked, &openings),
            None => Vec::new(),
        };
        if !core.keep_clear_text {
            openings.iter_mut().for_each(Opening::forget);
        }
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
                under,
                disclosures,
            )),
            Verdict::Deny => Decided::Denied(Denial {
                reason: ruling.reason,
                policies: ruling.policies,
                explanation: ruling.explanation,
                instead: ruling.instead,
                record: id,
                envelope: counterparty.map(|name| Envelope {
                    disclosures,
                    ..core.envelope(&name, &[id], None)
                }),
            }),
        };
        Ok(Pending {
            ticket: written.ticket,
            decided,
        })
    }
}

/// Why a contract's admission policy does not admit a call, if it does not.
fn not_admitted(
    admission: &Result<Arc<dyn Policy>, String>,
    input: &EvaluationInput<'_>,
) -> Option<String> {
    match admission {
        Err(problem) => Some(format!(
            "the contract's admission policy cannot be applied here: {problem}"
        )),
        Ok(policy) => match policy.evaluate(input) {
            policy::Evaluation::Allow(_) => None,
            policy::Evaluation::Deny(denied) => Some(format!(
                "the contract's admission policy does not admit it: {}",
                denied.explanation
            )),
        },
    }
}

/// What travels with a request or a decision because the contract says so.
fn to_disclose(under: &Under, side: Side, openings: &[Opening]) -> Vec<Disclosure> {
    let terms = &under.text.terms;
    // The parameters travel anyway, and the salt opens them. Of people the asked side knows what the
    // asking one has disclosed.
    let known = |field: &DisclosedField| match field {
        DisclosedField::Parameters => true,
        DisclosedField::OnBehalfOf | DisclosedField::Session => side == Side::Asked,
        _ => false,
    };
    terms
        .discloses(side)
        .filter(|field| !known(field))
        .filter_map(|field| {
            let opening = openings.iter().find(|opening| opening.field == field)?;
            opening.disclosure()
        })
        .collect()
}

fn reserve(
    stream: &Stream,
    actor: &Actor,
    under: Option<&Under>,
    ruling: &mut Ruling,
    now: UnixMillis,
) -> Result<Vec<Reservation>, EnforcerError> {
    if ruling.verdict == Verdict::Deny {
        return Ok(Vec::new());
    }
    let time = stream.time(now);
    let ledger = &stream.ledger;
    let own = ledger.quote(&actor.operator, &actor.agent, ruling.points, time)?;
    let agreed = match under {
        Some(under) => {
            let clauses = under.text.terms.clauses();
            ledger.quote_contract(under.contract, clauses, under.permitted.points, time)?
        }
        None => Ok(Vec::new()),
    };
    let both = own.and_then(|mut own| {
        own.extend(agreed?);
        Ok(own)
    });
    match both {
        Ok(reservations) if reservations.len() > MAX_RESERVATIONS => {
            *ruling = Ruling::refused(
                ReasonCode::literal("too_many_budgets"),
                format!("the action draws on {} budgets", reservations.len()),
            );
            Ok(Vec::new())
        }
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

impl Enforcer {
    /// Holds a call between operators against the contracts between them.
    fn hold_against_contract(
        &self,
        call: &Call<'_>,
        party: &Party<'_>,
        came: Option<&Came>,
        now: UnixMillis,
    ) -> Holding {
        let core = &self.core;
        let own = &core.identity.operator;
        let (counterparty, asking, asked) = match (party, came) {
            (Party::Outgoing { counterparty, .. }, _) => (*counterparty, own, *counterparty),
            (Party::Incoming { .. }, Some(came)) => match came.record.actor() {
                Some(actor) => (&actor.operator, &actor.operator, own),
                None => return Holding::outside(),
            },
            (Party::Local { .. } | Party::Incoming { .. }, _) => return Holding::outside(),
        };
        let (agreed, time) = {
            let stream = core.stream();
            let agreed = Agreed::of(&stream.contracts, counterparty, asking);
            (agreed, stream.time(now))
        };
        let action = Action {
            server: call.server.clone(),
            verb: call.verb.clone(),
            tool: call.tool.clone(),
            tier: None,
        };
        let held = Held {
            asking,
            asked,
            action: &action,
            parameters: call.parameters,
            time,
        };
        let required = core.contracts.required.contains(&call.server);
        let found = match came {
            None => agreed.choose(&held, required),
            Some(came) => agreed.named(came.contract(), &held, required),
        };
        let under = match found {
            Ok(None) => return Holding::outside(),
            Ok(Some(under)) => under,
            Err(outside) => {
                return Holding {
                    contract: outside.contract,
                    refused: Some((outside.reason, outside.explanation)),
                    ..Holding::outside()
                };
            }
        };
        let checked = came.map_or(Ok(Level::Signed), |came| came.satisfies(core, &under));
        let (evidence, refused) = match checked {
            Ok(evidence) => (evidence, None),
            Err(outside) => (Level::Signed, Some((outside.reason, outside.explanation))),
        };
        Holding {
            contract: Some(under.contract),
            under: Some(under),
            evidence,
            refused,
        }
    }

    /// Keeps what was disclosed of a request and has no place beside our decision.
    fn keep_disclosed(&self, came: Option<&Came>) -> Result<(), EnforcerError> {
        let core = &self.core;
        let Some(came) = came else { return Ok(()) };
        let openings: Vec<Opening> = came
            .opened
            .iter()
            .filter(|disclosure| disclosure.field != DisclosedField::Contract)
            .map(|disclosure| Opening::of(disclosure, core.keep_clear_text))
            .collect();
        if !openings.is_empty() {
            // Durable before the decision is, which is queued after it.
            drop(core.committer.submit_soon(Item::Disclosed {
                record: came.id,
                openings,
            })?);
        }
        Ok(())
    }
}

impl Came {
    /// Whether the request comes with all that a contract asks for before it is executed; the
    /// level that its evidence was verified at.
    fn satisfies(&self, core: &Core, under: &Under) -> Result<Level, Outside> {
        let opened: Vec<&Disclosure> = self.opened.iter().collect();
        if let Some(field) = evidence::undisclosed(under, &self.record, &opened) {
            return Err(Outside::new(
                Some(under.contract),
                "disclosure_missing",
                format!(
                    "the contract asks the asking side to disclose the {}, and it did not come",
                    field.name()
                ),
            ));
        }
        evidence::check(core, under, self.id, self.receipt.as_deref())
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
            ..Envelope::default()
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

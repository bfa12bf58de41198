//! What the records of the world say.

use anyhow::Result;
use counterfoil_protocol::attestation::{Attestation, AttestationDigest};
use counterfoil_protocol::digest::{ContentDigest, RecordId};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure, salted_digest};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{
    AgentName, AttestationKind, Location, OperatorName, PolicyId, ReasonCode, Scope, ServerName,
    Tier, ToolName, Unit, Verb,
};
use counterfoil_protocol::numbers::{Amount, ChannelSequence};
use counterfoil_protocol::record::{
    Acknowledgement, Action, Actor, Beacon, Body, ChannelLink, DecidedRequest, Decision,
    Evaluation, Event, Outcome, OutcomeStatus, Request, Reservation, Settlement, Verdict,
};

use super::keys::{Operator, salt, signing_key};
use super::streams::Stream;
use super::{Disclosures, START};

/// Content and salts of what is disclosed.
pub(super) fn disclosures() -> Disclosures {
    let open = |field, label: &str, content: &str| Disclosure {
        field,
        salt: salt(label),
        content: content.as_bytes().to_vec(),
    };
    Disclosures {
        parameters: open(
            DisclosedField::Parameters,
            "parameters",
            r#"{"ticket":"T-1001","amount_cents":4200}"#,
        ),
        input: open(
            DisclosedField::EvaluationInput,
            "evaluation input",
            r#"{"principal":"support-bot","action":"refund"}"#,
        ),
        result: open(
            DisclosedField::Result,
            "result",
            r#"{"content":[{"type":"text","text":"refunded"}]}"#,
        ),
        on_behalf_of: open(DisclosedField::OnBehalfOf, "on behalf of", "user:réne"),
        session: open(DisclosedField::Session, "session", "s-17"),
    }
}

/// Acme's and globex's streams over the call that both take part in. Acme's has two batches, the
/// second made after the revocation of its key.
pub(super) fn morning(
    acme: &Operator,
    globex: &Operator,
    beacon: Beacon,
    contract: ContentDigest,
    disclosures: &Disclosures,
) -> Result<(Stream, Stream)> {
    let mut ours = stream(acme, "enforcer", START * 1000)?;
    let mut theirs = stream(globex, "enforcer", START * 1000 + 100)?;
    let policy_set = ContentDigest::of(b"the policy set of acme");
    let their_policy_set = ContentDigest::of(b"the policy set of globex");

    ours.push(opened_after(&acme.previous_enforcer));
    ours.push(Body::Control(Event::Started {
        policy_set,
        unresolved: 2,
    }));
    theirs.push(opened_after(&globex.previous_enforcer));
    ours.beacon = Some(beacon);
    theirs.beacon = Some(beacon);

    let asking = Actor {
        on_behalf_of: Some(disclosures.on_behalf_of.digest()),
        session: Some(disclosures.session.digest()),
        ..actor(&acme.name)?
    };
    let request = ours.push(Body::Request(Request {
        channel: link(globex, 0, None, None),
        contract: Some(contract),
        actor: asking.clone(),
        action: refund(Some("money"))?,
        parameters: disclosures.parameters.digest(),
        evaluation: Evaluation {
            verdict: Verdict::Allow,
            reason: ReasonCode::new("allowed_by_policy")?,
            policies: vec![PolicyId::new("refunds-under-100")?],
            policy_set,
            input: Some(disclosures.input.digest()),
        },
        reservations: vec![Reservation {
            scope: Scope::new("agent:support-bot")?,
            unit: Unit::new("RISK_POINTS")?,
            amount: Amount::new(10),
            remaining: Amount::new(990),
        }],
        attestations: attestations()?,
    }));
    let decision = theirs.push(Body::Decision(Decision {
        channel: Some(link(acme, 0, None, Some((0, request)))),
        request: Some(DecidedRequest {
            id: request,
            evidence: Level::Logged,
        }),
        contract: Some(contract),
        actor: asking,
        action: refund(None)?,
        parameters: disclosures.parameters.digest(),
        evaluation: evaluation(
            Verdict::Allow,
            "allowed_by_policy",
            &["acme-may-refund"],
            their_policy_set,
        )?,
        reservations: Vec::new(),
        attestations: Vec::new(),
    }));
    let outcome = theirs.push(Body::Outcome(Outcome {
        channel: Some(link(acme, 1, Some(decision), Some((0, request)))),
        decision,
        answer: None,
        status: OutcomeStatus::Succeeded,
        result: Some(disclosures.result.digest()),
        settlements: Vec::new(),
        attestations: Vec::new(),
    }));
    theirs.seal()?;

    ours.push(Body::Outcome(Outcome {
        channel: Some(link(globex, 1, Some(request), Some((1, outcome)))),
        decision: request,
        answer: Some(outcome),
        status: OutcomeStatus::Succeeded,
        result: Some(salted(DisclosedField::Result, "acme result")),
        settlements: vec![Settlement {
            scope: Scope::new("agent:support-bot")?,
            unit: Unit::new("RISK_POINTS")?,
            committed: Amount::new(7),
            remaining: Amount::new(993),
        }],
        attestations: Vec::new(),
    }));
    ours.push(Body::Decision(Decision {
        channel: None,
        request: None,
        contract: None,
        actor: Actor {
            on_behalf_of: None,
            session: None,
            ..actor(&acme.name)?
        },
        action: refund(None)?,
        parameters: salted(DisclosedField::Parameters, "denied parameters"),
        evaluation: Evaluation {
            input: None,
            ..evaluation(Verdict::Deny, "unknown_tool", &[], policy_set)?
        },
        reservations: Vec::new(),
        attestations: Vec::new(),
    }));
    ours.push(Body::Control(Event::MessageRefused {
        reason: ReasonCode::new("duplicate_member_name")?,
    }));
    let local = ours.push(Body::Decision(local_decision(&acme.name, policy_set)?));
    ours.seal()?;

    ours.push(Body::Outcome(settled(local, OutcomeStatus::Unknown)));
    ours.push(Body::Outcome(settled(local, OutcomeStatus::NotExecuted)));
    ours.seal()?;
    Ok((ours, theirs))
}

/// The stream of acme's second key: one record.
pub(super) fn second_stream(acme: &Operator) -> Result<Stream> {
    let mut stream = stream(acme, "next enforcer", (START + 3) * 1000)?;
    stream.push(opened_after(&acme.enforcer));
    stream.seal()?;
    Ok(stream)
}

fn stream(operator: &Operator, key: &str, start: u64) -> Result<Stream> {
    let key = signing_key(&format!("{} {key}", operator.name))?;
    Ok(Stream::new(operator.name.clone(), key, start))
}

fn opened_after(key: &SigningKey) -> Body {
    Body::Control(Event::StreamOpened {
        predecessor: Some(key.public().thumbprint()),
    })
}

/// One of each kind of digest, with a location and without.
fn attestations() -> Result<Vec<Attestation>> {
    let attestation = |kind: &str, digest, location: Option<&str>| -> Result<Attestation> {
        Ok(Attestation {
            kind: AttestationKind::new(kind)?,
            digest,
            location: location.map(Location::new).transpose()?,
        })
    };
    Ok(vec![
        attestation(
            "application/vnd.in-toto+json",
            AttestationDigest::Sha256([0x21; 32]),
            Some("https://acme.example/build/17"),
        )?,
        attestation(
            "https://pay.example/receipt",
            AttestationDigest::Sha384([0x22; 48]),
            None,
        )?,
        attestation(
            "https://chain.example/transaction",
            AttestationDigest::Sha512([0x23; 64]),
            None,
        )?,
    ])
}

fn local_decision(operator: &OperatorName, policy_set: ContentDigest) -> Result<Decision> {
    Ok(Decision {
        channel: None,
        request: None,
        contract: None,
        actor: actor(operator)?,
        action: Action {
            server: ServerName::new("mail")?,
            verb: Verb::new("tools/call")?,
            tool: ToolName::new("send")?,
            tier: Some(Tier::new("outside")?),
        },
        parameters: salted(DisclosedField::Parameters, "local parameters"),
        evaluation: evaluation(
            Verdict::Allow,
            "allowed_by_policy",
            &["mail-inside", "working-hours"],
            policy_set,
        )?,
        reservations: Vec::new(),
        attestations: Vec::new(),
    })
}

const fn settled(decision: RecordId, status: OutcomeStatus) -> Outcome {
    Outcome {
        channel: None,
        decision,
        answer: None,
        status,
        result: None,
        settlements: Vec::new(),
        attestations: Vec::new(),
    }
}

fn link(
    counterparty: &Operator,
    sequence: u64,
    previous: Option<RecordId>,
    acknowledged: Option<(u64, RecordId)>,
) -> ChannelLink {
    ChannelLink {
        counterparty: counterparty.name.clone(),
        sequence: ChannelSequence::new(sequence),
        previous,
        acknowledged: acknowledged.map(|(sequence, id)| Acknowledgement {
            stream: counterparty.enforcer.public().thumbprint(),
            sequence: ChannelSequence::new(sequence),
            id,
        }),
    }
}

fn actor(operator: &OperatorName) -> Result<Actor> {
    Ok(Actor {
        operator: operator.clone(),
        agent: AgentName::new("support-böt")?,
        on_behalf_of: Some(salted(DisclosedField::OnBehalfOf, "user:réne")),
        session: Some(salted(DisclosedField::Session, "s-17")),
    })
}

fn refund(tier: Option<&str>) -> Result<Action> {
    Ok(Action {
        server: ServerName::new("support-desk")?,
        verb: Verb::new("tools/call")?,
        tool: ToolName::new("refund")?,
        tier: tier.map(Tier::new).transpose()?,
    })
}

fn evaluation(
    verdict: Verdict,
    reason: &str,
    policies: &[&str],
    policy_set: ContentDigest,
) -> Result<Evaluation> {
    Ok(Evaluation {
        verdict,
        reason: ReasonCode::new(reason)?,
        policies: policies
            .iter()
            .map(|id| PolicyId::new(*id))
            .collect::<Result<_, _>>()?,
        policy_set,
        input: Some(salted(DisclosedField::EvaluationInput, reason)),
    })
}

fn salted(field: DisclosedField, label: &str) -> ContentDigest {
    salted_digest(&salt(label), field, label.as_bytes())
}

//! Whether what a record states follows from what it was made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use counterfoil_enforcer::input::DisclosedInput;
use counterfoil_enforcer::ledger::RISK_POINTS;
use counterfoil_enforcer::policy::{self, Policy as _};
use counterfoil_enforcer::recompute::{Funds, Recompute};
use counterfoil_policy::PolicySet;
use counterfoil_protocol::bundle::{Entry, Verifier};
use counterfoil_protocol::contract::{Call, OutsideContract, Terms};
use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, RecordId};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::names::{OperatorName, Unit};
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::record::{
    Action, Actor, Body, Evaluation, Event, Record, Verdict, VerifiedRecord,
};
use serde_json::{Value, json};

/// How many records that do not follow are named.
const MAX_NAMED: usize = 20;

/// Refusals that come after the policy was asked, whatever it said.
const AFTER_POLICY: [&str; 2] = ["channel_unacknowledged", "too_many_policies"];

/// A record that does not follow from what it was made from.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) operator: OperatorName,
    pub(super) sequence: Sequence,
    pub(super) id: RecordId,
    pub(super) detail: String,
}

impl Difference {
    pub(super) fn json(&self) -> Value {
        json!({
            "operator": self.operator.as_str(),
            "sequence": self.sequence.get(),
            "id": self.id.to_string(),
            "detail": self.detail,
        })
    }
}

/// What was looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) decided_again: u64,
    pub(super) closed: u64,
    pub(super) without_policy: u64,
    pub(super) before_policy: u64,
    pub(super) after_policy: u64,
    pub(super) balances: u64,
    pub(super) under_contract: u64,
}

impl Counts {
    pub(super) const fn lines(&self) -> [(u64, &'static str); 8] {
        [
            (self.records, "records"),
            (self.decided_again, "verdicts were decided again"),
            (
                self.closed,
                "verdicts do not disclose their evaluation input",
            ),
            (
                self.without_policy,
                "verdicts were decided with a policy set that is not given",
            ),
            (self.before_policy, "refusals came before any policy"),
            (
                self.after_policy,
                "refusals came after the policy, for what the records do not show",
            ),
            (self.balances, "balances were computed again"),
            (self.under_contract, "verdicts were held against a contract"),
        ]
    }
}

/// What is known of one stream.
#[derive(Debug, Default)]
struct Stream {
    balances: Recompute,
    /// The policy set that the enforcer said it started with.
    policy_set: Option<ContentDigest>,
}

/// Takes records one after the other, and finds those that do not follow.
#[derive(Debug)]
pub(super) struct Judge {
    policies: BTreeMap<String, PolicySet>,
    /// The digests of the policy sets that records name.
    named: BTreeSet<String>,
    contracts: HashMap<ContentDigest, Terms>,
    streams: HashMap<KeyThumbprint, Stream>,
    counts: Counts,
    differences: Vec<Difference>,
}

/// A request or decision.
struct Decided<'a> {
    record: &'a Record,
    actor: &'a Actor,
    action: &'a Action,
    evaluation: &'a Evaluation,
    disclosures: Vec<&'a Disclosure>,
}

impl Judge {
    pub(super) fn new(policies: Vec<PolicySet>) -> Self {
        let keyed = |set: PolicySet| (set.digest().to_string(), set);
        Self {
            policies: policies.into_iter().map(keyed).collect(),
            named: BTreeSet::new(),
            contracts: HashMap::new(),
            streams: HashMap::new(),
            counts: Counts::default(),
            differences: Vec::new(),
        }
    }

    /// Whether a record names the policy set with this digest.
    pub(super) fn names(&self, policy_set: &str) -> bool {
        self.named.contains(policy_set)
    }

    /// Takes in the terms of a contract.
    pub(super) fn contract(&mut self, digest: ContentDigest, terms: Terms) {
        self.contracts.insert(digest, terms);
    }

    /// Takes in the record that a verifier has handed out last.
    pub(super) fn take(&mut self, entry: &Entry, verifier: &Verifier<'_>) {
        let Some(verified) = entry.record.as_ref().filter(|_| entry.is_verified()) else {
            return;
        };
        self.counts.records += 1;
        let disclosures: Vec<&Disclosure> = verifier.disclosures().collect();
        let record = verified.record();
        let terms = find(&disclosures, DisclosedField::Contract);
        if let (Some(digest), Some(terms)) = (record.contract(), terms)
            && let Ok(terms) = Terms::parse(terms)
        {
            self.contracts.insert(digest, terms);
        }
        if let Err(detail) = self.balance(verified) {
            self.differs(verified, detail);
        }
        let decided = decided(record, disclosures);
        if let Some(decided) = decided {
            let policy_set = decided.evaluation.policy_set;
            self.named.insert(policy_set.to_string());
            for found in [
                self.decide_again(verified.kid(), &decided),
                self.under_contract(verified.issuer(), &decided),
            ] {
                if let Err(detail) = found {
                    self.differs(verified, detail);
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> (Counts, Vec<Difference>) {
        self.counts.balances += self
            .streams
            .values()
            .map(|stream| stream.balances.checked())
            .sum::<u64>();
        (self.counts, self.differences)
    }

    fn differs(&mut self, record: &VerifiedRecord, detail: String) {
        if self.differences.len() < MAX_NAMED {
            self.differences.push(Difference {
                operator: record.issuer().clone(),
                sequence: record.record().sequence,
                id: record.id(),
                detail,
            });
        }
    }

    /// Follows the balances and the policy set of the record's stream.
    fn balance(&mut self, verified: &VerifiedRecord) -> Result<(), String> {
        let stream = self.streams.entry(verified.kid()).or_default();
        let record = verified.record();
        match &record.body {
            Body::Control(Event::Started { policy_set, .. }) => {
                stream.policy_set = Some(*policy_set);
            }
            Body::Control(Event::StreamOpened { .. }) => stream.policy_set = None,
            _ => {}
        }
        let Err(mistake) = stream.balances.take(verified.id(), record) else {
            return Ok(());
        };
        // What comes after is not to be blamed for it.
        self.counts.balances += stream.balances.checked();
        stream.balances = Recompute::default();
        if mistake.id == verified.id() {
            Err(mistake.detail)
        } else {
            Err(format!(
                "record {} before it: {}",
                mistake.sequence, mistake.detail
            ))
        }
    }

    fn decide_again(&mut self, kid: KeyThumbprint, decided: &Decided<'_>) -> Result<(), String> {
        let evaluation = decided.evaluation;
        if evaluation.input.is_none() {
            self.counts.before_policy += 1;
            return if evaluation.verdict == Verdict::Deny && evaluation.policies.is_empty() {
                Ok(())
            } else {
                Err("it says that no policy was asked, and yet what policies decided".to_owned())
            };
        }
        let started = self.streams.get(&kid).and_then(|stream| stream.policy_set);
        if let Some(started) = started
            && started != evaluation.policy_set
        {
            return Err(format!(
                "it was decided with policy set {}, and the enforcer started with {started}",
                evaluation.policy_set
            ));
        }
        let Some(input) = find(&decided.disclosures, DisclosedField::EvaluationInput) else {
            self.counts.closed += 1;
            return Ok(());
        };
        let input = DisclosedInput::parse(input)
            .map_err(|failure| format!("its evaluation input cannot be read: {failure}"))?;
        is_about_the_record(&input, decided)?;
        let Some(set) = self.policies.get(&evaluation.policy_set.to_string()) else {
            self.counts.without_policy += 1;
            return Ok(());
        };
        self.counts.decided_again += 1;
        let again = set.evaluate(&input.as_input());
        let reason = evaluation.reason.as_str();
        if evaluation.verdict == Verdict::Deny && AFTER_POLICY.contains(&reason) {
            self.counts.after_policy += 1;
            return Ok(());
        }
        match (again, evaluation.verdict) {
            (policy::Evaluation::Allow(allowed), Verdict::Allow) => {
                follows("policy_allows", &allowed.policies, evaluation)?;
                priced(&allowed, decided)
            }
            // A contract's admission policy is asked before the own one, and names no policies.
            (policy::Evaluation::Deny(_), Verdict::Deny)
                if reason == "contract_admission"
                    && decided.record.contract().is_some()
                    && evaluation.policies.is_empty() =>
            {
                self.counts.after_policy += 1;
                Ok(())
            }
            (policy::Evaluation::Deny(denied), Verdict::Deny) => {
                follows(denied.reason.as_str(), &denied.policies, evaluation)
            }
            (policy::Evaluation::Deny(denied), Verdict::Allow) => Err(format!(
                "it allows, and the policy set denies it: {} ({})",
                denied.explanation, denied.reason
            )),
            (policy::Evaluation::Allow(allowed), Verdict::Deny) => {
                self.denied_all_the_same(kid, decided, &allowed)
            }
        }
    }

    /// What the policy set allows may be denied for other reasons.
    fn denied_all_the_same(
        &mut self,
        kid: KeyThumbprint,
        decided: &Decided<'_>,
        allowed: &policy::Allowed,
    ) -> Result<(), String> {
        let reason = decided.evaluation.reason.as_str();
        // A contract may hold stricter rules and smaller budgets than the policy set, and how many
        // budgets there are stands in no record.
        if decided.record.contract().is_some()
            || reason.starts_with("contract_")
            || reason == "too_many_budgets"
        {
            self.counts.after_policy += 1;
            return Ok(());
        }
        if reason != "budget_exhausted" {
            return Err(format!(
                "it denies ({reason}), and the policy set allows it"
            ));
        }
        let funds = self.streams.get(&kid).map_or(Funds::Unknown, |stream| {
            stream.balances.funds(
                &decided.actor.operator,
                &decided.actor.agent,
                &Unit::literal(RISK_POINTS),
                allowed.points,
                decided.record.time,
            )
        });
        match funds {
            Funds::Exhausted => Ok(()),
            Funds::Unknown => {
                self.counts.after_policy += 1;
                Ok(())
            }
            Funds::Enough => Err(format!(
                "it says that a budget is exhausted, and every one has the {} {RISK_POINTS} left \
                 that it needs",
                allowed.points
            )),
        }
    }

    /// Whether what was allowed under a contract is permitted by it.
    fn under_contract(
        &mut self,
        issuer: &OperatorName,
        decided: &Decided<'_>,
    ) -> Result<(), String> {
        let record = decided.record;
        let terms = record
            .contract()
            .and_then(|digest| self.contracts.get(&digest));
        let Some(terms) = terms.filter(|_| decided.evaluation.verdict == Verdict::Allow) else {
            return Ok(());
        };
        let counterparty = record.channel().map(|link| &link.counterparty);
        let (asking, asked) = match (&record.body, counterparty) {
            (Body::Request(_), Some(counterparty)) => (issuer, counterparty),
            _ => (&decided.actor.operator, issuer),
        };
        let parameters = find(&decided.disclosures, DisclosedField::Parameters);
        let call = Call {
            asking,
            asked,
            action: decided.action,
            parameters: parameters.unwrap_or(b"{}"),
            time: record.time,
        };
        let needed = match (terms.permits(&call), parameters) {
            (Ok(permitted), _) => permitted.level,
            (
                Err(
                    OutsideContract::Target
                    | OutsideContract::Parameters(_)
                    | OutsideContract::Unreadable { .. },
                ),
                None,
            ) => return Ok(()),
            (Err(outside), _) => {
                return Err(format!(
                    "it allows a call outside of the contract: {outside}"
                ));
            }
        };
        self.counts.under_contract += 1;
        match &record.body {
            Body::Decision(decision) => match decision.request {
                // Without the parameters another permission may have been the one.
                Some(request) if parameters.is_some() && request.evidence < needed => Err(format!(
                    "it allows on evidence at level {}, and the contract needs {needed}",
                    request.evidence
                )),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn decided<'a>(record: &'a Record, disclosures: Vec<&'a Disclosure>) -> Option<Decided<'a>> {
    Some(Decided {
        record,
        actor: record.actor()?,
        action: record.action()?,
        evaluation: record.evaluation()?,
        disclosures,
    })
}

fn find<'a>(disclosures: &[&'a Disclosure], field: DisclosedField) -> Option<&'a [u8]> {
    let found = disclosures
        .iter()
        .find(|disclosure| disclosure.field == field);
    found.map(|disclosure| disclosure.content.as_slice())
}

/// Whether an evaluation input is about what the record is about.
fn is_about_the_record(input: &DisclosedInput, decided: &Decided<'_>) -> Result<(), String> {
    let (actor, action) = (decided.actor, decided.action);
    let channel = decided.record.channel().map(|link| &link.counterparty);
    let name = |field| {
        let content = find(&decided.disclosures, field)?;
        core::str::from_utf8(content).ok()
    };
    let person = input.on_behalf_of.as_ref().map(|name| name.as_str());
    let session = input.session.as_ref().map(|name| name.as_str());
    let same = |known: Option<&str>, asked: Option<&str>| known.is_none() || known == asked;
    for (what, same) in [
        ("operator", input.operator == actor.operator),
        ("agent", input.agent == actor.agent),
        ("server", input.server == action.server),
        ("verb", input.verb == action.verb),
        ("tool", input.tool == action.tool),
        (
            "counterparty",
            channel.is_none() || channel == input.counterparty.as_ref(),
        ),
        ("person", same(name(DisclosedField::OnBehalfOf), person)),
        ("session", same(name(DisclosedField::Session), session)),
        // A record may be later: its time never goes back.
        ("time", input.time <= decided.record.time),
    ] {
        if !same {
            return Err(format!(
                "the policy was asked about another {what} than the record states"
            ));
        }
    }
    Ok(())
}

fn follows(
    reason: &str,
    policies: &[counterfoil_protocol::names::PolicyId],
    recorded: &Evaluation,
) -> Result<(), String> {
    if recorded.reason.as_str() != reason {
        return Err(format!(
            "its reason is {}, and the policy set says {reason}",
            recorded.reason
        ));
    }
    if recorded.policies != policies {
        let list = |policies: &[counterfoil_protocol::names::PolicyId]| {
            let names: Vec<&str> = policies.iter().map(|id| id.as_str()).collect();
            names.join(", ")
        };
        return Err(format!(
            "it says that {} determined it, and {} did",
            list(&recorded.policies),
            list(policies)
        ));
    }
    Ok(())
}

/// Whether an allowed call has the tier and sets aside what the policy says. Under a contract, the
/// contract says it.
fn priced(allowed: &policy::Allowed, decided: &Decided<'_>) -> Result<(), String> {
    if decided.record.contract().is_some() {
        return Ok(());
    }
    let (tier, recorded) = (&allowed.tier, &decided.action.tier);
    if tier != recorded {
        let shown = |tier: &Option<counterfoil_protocol::names::Tier>| {
            tier.as_ref()
                .map_or("none", |tier| tier.as_str())
                .to_owned()
        };
        return Err(format!(
            "its tier is {}, and the policy set says {}",
            shown(recorded),
            shown(tier)
        ));
    }
    for line in decided.record.reservations() {
        if line.unit.as_str() == RISK_POINTS && line.amount != allowed.points {
            return Err(format!(
                "it sets {} {RISK_POINTS} aside in `{}`, and the policy set says {}",
                line.amount, line.scope, allowed.points
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

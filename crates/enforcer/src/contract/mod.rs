//! Contracts in force: proposing, accepting and ending them, and holding calls against them.
//!
//! Who said what stands in the records of both sides; the terms lie beside them in the journal, in
//! clear, since calls are held against them. Spec: contracts §3 and §4.

pub(crate) mod evidence;
pub(crate) mod hold;
mod known;

use std::collections::BTreeSet;
use std::sync::Arc;

use counterfoil_protocol::Failure;
use counterfoil_protocol::contract::{Party, Terms};
use counterfoil_protocol::digest::{ContentDigest, RecordId};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::names::{OperatorName, ReasonCode, ServerName};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::record::{
    Body, ChannelControl, ChannelEvent, UnverifiedRecord, VerifiedRecord,
};
use counterfoil_protocol::trust::Trust;

pub use self::evidence::NotAttested;
pub use self::known::Standing;
pub(crate) use self::known::{By, Contracts, Said, Text};
use self::known::{Known, parties};
use crate::call::Envelope;
use crate::enforcer::{Core, Enforcer};
use crate::error::EnforcerError;
use crate::incoming;
use crate::journal::Item;
use crate::policy::Policy;
use crate::statements::check_room;
use crate::stream::Stream;

/// What the configuration says about contracts.
#[derive(Clone, Debug, Default)]
pub struct ContractSettings {
    /// The servers for which calls between operators need a contract, even where none was ever
    /// agreed on.
    pub required: BTreeSet<ServerName>,
    /// Whose root keys are believed when the receipt of a request is verified. Without it no
    /// receipt verifies.
    pub trust: Option<Trust>,
}

/// Who said something about a contract, and in which record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Who.
    pub by: OperatorName,
    /// The record.
    pub record: RecordId,
    /// When, by the clock of whoever said it.
    pub time: UnixMillis,
}

/// A contract as it stands.
#[derive(Clone, Debug)]
pub struct Contract {
    /// The salted digest of its terms, by which records refer to it.
    pub digest: ContentDigest,
    /// The other operator.
    pub counterparty: OperatorName,
    /// The terms; none if they have not come yet.
    pub terms: Option<Terms>,
    /// What opens the digest; none if the terms have not come yet.
    pub disclosure: Option<Disclosure>,
    /// How it stands now.
    pub standing: Standing,
    /// The proposal.
    pub proposal: Option<Statement>,
    /// The acceptance.
    pub acceptance: Option<Statement>,
    /// The end or withdrawal, and its reason.
    pub end: Option<(Statement, ReasonCode)>,
    /// From when on it is over, once a side has ended it.
    pub ends: Option<UnixMillis>,
    /// Why its admission policy cannot be applied here, if it cannot.
    pub admission_problem: Option<String>,
}

/// Reads the terms of a contract.
pub(crate) fn read(disclosure: &Disclosure, policy: &dyn Policy) -> Result<Arc<Text>, Failure> {
    let terms = Terms::parse(&disclosure.content)?;
    let admission = terms.clauses().admission.as_deref();
    Ok(Arc::new(Text {
        admission: admission.map(|text| policy.admission(text)),
        terms,
        salt: disclosure.salt,
    }))
}

/// Notes the terms of a contract.
pub(crate) fn open(
    stream: &mut Stream,
    counterparty: &OperatorName,
    digest: ContentDigest,
    text: Arc<Text>,
) {
    stream.ledger.add_contract(digest, text.terms.clauses());
    stream.contracts.open(counterparty, digest, text);
}

fn refused(code: &'static str, detail: impl Into<String>) -> EnforcerError {
    EnforcerError::Contract {
        code,
        detail: detail.into(),
    }
}

impl Enforcer {
    /// Proposes a contract to the other party. It is in force once that has accepted it.
    ///
    /// # Errors
    /// [`EnforcerError::Contract`] when it cannot be proposed, [`EnforcerError::Refused`] when too
    /// many of our records wait to be acknowledged, or the record cannot be written.
    pub fn propose_contract(&self, terms: Terms) -> Result<Contract, EnforcerError> {
        let core = &self.core;
        let own = &core.identity.operator;
        let party = terms
            .party(own)
            .ok_or_else(|| refused("contract_parties", format!("{own} is not a party to it")))?;
        let counterparty = terms.operator(other(party)).clone();
        if core.operators.manifests(&counterparty).is_empty() {
            return Err(refused(
                "operator_unknown",
                format!("no manifest of {counterparty} is known here"),
            ));
        }
        if terms.clauses().expires <= core.environment.clock.now() {
            return Err(refused("contract_expired", "it expires before it is made"));
        }
        let disclosure = terms.disclosure(core.environment.salt()?);
        let digest = disclosure.digest();
        let text = read(&disclosure, core.policy.as_ref())?;
        check_admission(&text, party)?;
        let event = ChannelEvent::ContractProposed { contract: digest };
        self.say_of_contract(&counterparty, event, Some((disclosure, text)))?;
        self.contract(digest)
    }

    /// Accepts the contract with this digest, which the other party has proposed. Accepting it
    /// again changes nothing.
    ///
    /// # Errors
    /// [`EnforcerError::NotFound`] when nobody proposed it to us, [`EnforcerError::Contract`] when
    /// it cannot be accepted any more, or the record cannot be written.
    pub fn accept_contract(&self, digest: ContentDigest) -> Result<Contract, EnforcerError> {
        let core = &self.core;
        let own = &core.identity.operator;
        let (counterparty, known) = self.known(digest, |known| known.proposed_to_us().is_some())?;
        let Some(proposal) = known.proposed_to_us() else {
            return Err(refused("contract_own", "it was proposed by this side"));
        };
        if let Some((By::Us, _)) = known.acceptance() {
            return self.contract(digest);
        }
        if known.end().is_some() {
            return Err(refused(
                "contract_withdrawn",
                "the proposal was taken back or refused",
            ));
        }
        let text = known
            .text()
            .ok_or_else(|| refused("contract_terms_missing", "its terms have not come yet"))?;
        let party = parties(&text.terms, own, &counterparty).ok_or_else(|| {
            refused(
                "contract_parties",
                format!("it is not one between {own} and {counterparty}"),
            )
        })?;
        if text.terms.clauses().expires <= core.environment.clock.now() {
            return Err(refused("contract_expired", "it has expired"));
        }
        check_admission(text, party)?;
        let event = ChannelEvent::ContractAccepted {
            contract: digest,
            proposal: proposal.id,
        };
        self.say_of_contract(&counterparty, event, None)?;
        self.contract(digest)
    }

    /// Ends a contract, takes a proposal back, or refuses one.
    ///
    /// # Errors
    /// [`EnforcerError::NotFound`] when there is no such contract, [`EnforcerError::Contract`]
    /// when it is over, or the record cannot be written.
    pub fn end_contract(
        &self,
        digest: ContentDigest,
        reason: ReasonCode,
    ) -> Result<Contract, EnforcerError> {
        let (counterparty, known) = self.known(digest, |_| true)?;
        if let Some((By::Us, _, _)) = known.end() {
            return self.contract(digest);
        }
        match known.standing(self.core.environment.clock.now()) {
            Standing::Withdrawn | Standing::Ended | Standing::Expired => {
                return Err(refused("contract_over", "it is over already"));
            }
            Standing::Proposed | Standing::NotBegun | Standing::InForce => {}
        }
        let event = ChannelEvent::ContractEnded {
            contract: digest,
            reason,
        };
        self.say_of_contract(&counterparty, event, None)?;
        self.contract(digest)
    }

    /// All contracts and proposals, by counterparty and digest.
    pub fn contracts(&self) -> Vec<Contract> {
        let now = self.core.environment.clock.now();
        let stream = self.core.stream();
        stream
            .contracts
            .all()
            .filter(|(_, _, known)| known.proposal().is_some())
            .map(|(counterparty, digest, known)| self.view(counterparty, digest, known, now))
            .collect()
    }

    /// The contract with this digest.
    ///
    /// # Errors
    /// [`EnforcerError::NotFound`].
    pub fn contract(&self, digest: ContentDigest) -> Result<Contract, EnforcerError> {
        let (counterparty, known) = self.known(digest, |known| known.text().is_some())?;
        let now = self.core.environment.clock.now();
        Ok(self.view(&counterparty, digest, &known, now))
    }

    /// The record of ours that proposes a contract to `counterparty`, with the terms.
    ///
    /// # Errors
    /// [`EnforcerError::NotFound`] when we have proposed no such contract to it.
    pub fn proposal_envelope(
        &self,
        counterparty: &OperatorName,
        digest: ContentDigest,
    ) -> Result<Envelope, EnforcerError> {
        let proposal = {
            let stream = self.core.stream();
            let known = stream.contracts.get(counterparty, digest);
            known.and_then(|known| {
                let said = known.proposed_by_us()?;
                // What an earlier stream proposed lies in another journal; its terms can be had.
                (said.stream == self.core.identity.kid)
                    .then_some((said.sequence, known.text()?.disclosure()))
            })
        };
        let (sequence, terms) = proposal.ok_or_else(|| {
            EnforcerError::NotFound(format!("no proposal {digest} to {counterparty}"))
        })?;
        self.core.flush()?;
        let reader = crate::journal::JournalReader::open(&self.core.journal)?;
        let (record, _) = reader.record(sequence)?;
        Ok(Envelope {
            records: vec![record.into()],
            disclosures: vec![terms],
            ..Envelope::default()
        })
    }

    /// What opens the digest of a contract with `counterparty`, for that counterparty alone.
    pub fn terms_for(
        &self,
        counterparty: &OperatorName,
        digest: ContentDigest,
    ) -> Option<Disclosure> {
        let stream = self.core.stream();
        let known = stream.contracts.get(counterparty, digest)?;
        // Not what it has proposed itself and we have not answered: it has that.
        known.proposed_by_us()?;
        Some(known.text()?.disclosure())
    }

    /// Takes in the terms of a contract that `counterparty` has proposed. They are durable when
    /// this returns.
    ///
    /// # Errors
    /// [`EnforcerError::Contract`] when they are not those of a proposal of it, or are no terms
    /// between it and us; or they cannot be written.
    pub fn take_terms(
        &self,
        counterparty: &OperatorName,
        disclosure: &Disclosure,
    ) -> Result<(), EnforcerError> {
        take_terms(&self.core, counterparty, disclosure)?;
        self.core.flush()
    }

    /// Says something about a contract to the other party. It is durable when this returns.
    fn say_of_contract(
        &self,
        counterparty: &OperatorName,
        event: ChannelEvent,
        terms: Option<(Disclosure, Arc<Text>)>,
    ) -> Result<(), EnforcerError> {
        let core = &self.core;
        let mut stream = core.stream();
        core.check_open(&stream)?;
        check_room(stream.channel(counterparty), counterparty)?;
        if let Some((disclosure, text)) = terms {
            keep_terms(core, &mut stream, counterparty, &disclosure, text)?;
        }
        let body = Body::Channel(ChannelControl {
            channel: stream.channel(counterparty).link(counterparty, None),
            event,
        });
        let appended = core.append(&mut stream, body, Vec::new())?;
        drop(stream);
        Ok(appended.sign(&core.identity)?.ticket.wait()?)
    }

    /// The contract with this digest, preferably one for which `prefer` holds.
    fn known(
        &self,
        digest: ContentDigest,
        prefer: impl Fn(&Known) -> bool,
    ) -> Result<(OperatorName, Known), EnforcerError> {
        let stream = self.core.stream();
        let found = stream.contracts.find(digest);
        let mut found: Vec<_> = found
            .filter(|(_, known)| known.proposal().is_some())
            .collect();
        found.sort_by_key(|(_, known)| !prefer(known));
        found
            .first()
            .map(|(operator, known)| ((*operator).clone(), (*known).clone()))
            .ok_or_else(|| EnforcerError::NotFound(format!("no contract {digest} is known here")))
    }

    fn view(
        &self,
        counterparty: &OperatorName,
        digest: ContentDigest,
        known: &Known,
        now: UnixMillis,
    ) -> Contract {
        let statement = |(by, said): (By, &Said)| Statement {
            by: match by {
                By::Us => self.core.identity.operator.clone(),
                By::Them => counterparty.clone(),
            },
            record: said.id,
            time: said.time,
        };
        let text = known.text();
        let admission = text.and_then(|text| text.admission.as_ref());
        Contract {
            digest,
            counterparty: counterparty.clone(),
            terms: text.map(|text| text.terms.clone()),
            disclosure: text.map(|text| text.disclosure()),
            standing: known.standing(now),
            proposal: known.proposal().map(statement),
            acceptance: known.acceptance().map(statement),
            end: known
                .end()
                .map(|(by, said, reason)| (statement((by, said)), reason.clone())),
            ends: known.ends(),
            admission_problem: admission.and_then(|compiled| compiled.as_ref().err().cloned()),
        }
    }
}

const fn other(party: Party) -> Party {
    match party {
        Party::Asking => Party::Asked,
        Party::Asked => Party::Asking,
    }
}

/// Whoever has to apply an admission policy must be able to.
fn check_admission(text: &Text, own: Party) -> Result<(), EnforcerError> {
    match (&text.admission, own) {
        (Some(Err(problem)), Party::Asked) => Err(refused(
            "contract_admission_invalid",
            format!("its admission policy does not fit this operator's schema: {problem}"),
        )),
        _ => Ok(()),
    }
}

fn keep_terms(
    core: &Core,
    stream: &mut Stream,
    counterparty: &OperatorName,
    disclosure: &Disclosure,
    text: Arc<Text>,
) -> Result<(), EnforcerError> {
    let digest = disclosure.digest();
    // Whoever needs to know waits for what is queued after it.
    drop(core.committer.submit(Item::Terms {
        operator: counterparty.clone(),
        digest,
        disclosure: disclosure.encode(),
    })?);
    open(stream, counterparty, digest, text);
    Ok(())
}

fn take_terms(
    core: &Core,
    counterparty: &OperatorName,
    disclosure: &Disclosure,
) -> Result<(), EnforcerError> {
    let digest = disclosure.digest();
    let wanted = |stream: &Stream| {
        let known = stream.contracts.get(counterparty, digest);
        known.is_some_and(|known| {
            known.proposed_to_us().is_some() && known.text().is_none() && !known.is_withdrawn()
        })
    };
    if disclosure.field != DisclosedField::Contract {
        return Err(refused("disclosure_mismatch", "it opens no contract"));
    }
    if !wanted(&core.stream()) {
        // Known already, over, or of no proposal: then the digest says nothing to us.
        return Ok(());
    }
    // It is what came that is malformed, and nothing of ours.
    let text = read(disclosure, core.policy.as_ref())
        .map_err(|failure| refused(failure.code().as_str(), failure.detail()))?;
    if parties(&text.terms, &core.identity.operator, counterparty).is_none() {
        return Err(refused(
            "contract_parties",
            format!("the terms are not between {counterparty} and this operator"),
        ));
    }
    let mut stream = core.stream();
    if !wanted(&stream) {
        return Ok(());
    }
    let now = core.environment.clock.now();
    if !stream.contracts.make_room(counterparty, now) {
        return Err(refused(
            "too_many_proposals",
            format!("too many proposals of {counterparty} wait to be accepted or refused"),
        ));
    }
    keep_terms(core, &mut stream, counterparty, disclosure, text)
}

/// Takes in what came with a record of `counterparty`, as far as it opens digests of it.
pub(crate) fn take_disclosures(
    core: &Core,
    counterparty: &OperatorName,
    record: &VerifiedRecord,
    disclosures: &[Disclosure],
) -> Result<(), EnforcerError> {
    let opened = incoming::opened(record, disclosures);
    let proposes = matches!(
        &record.record().body,
        Body::Channel(control) if matches!(control.event, ChannelEvent::ContractProposed { .. })
    );
    for disclosure in opened {
        if proposes && disclosure.field == DisclosedField::Contract {
            take_terms(core, counterparty, disclosure)?;
        }
    }
    Ok(())
}

/// The contract that a record of ours proposes, if it does.
pub(crate) fn proposed_in(bytes: &[u8]) -> Option<ContentDigest> {
    let record = UnverifiedRecord::parse(bytes).ok()?;
    match &record.unverified_content().body {
        Body::Channel(control) => match control.event {
            ChannelEvent::ContractProposed { contract } => Some(contract),
            _ => None,
        },
        _ => None,
    }
}

impl Enforcer {
    /// The contracts that these records of ours propose: their terms go along when the records are
    /// pushed.
    pub fn proposals_in<'a>(
        &self,
        records: impl IntoIterator<Item = &'a [u8]>,
    ) -> Vec<ContentDigest> {
        records.into_iter().filter_map(proposed_in).collect()
    }
}

//! Holding a call against the contracts in force. Spec: contracts §2 and §4.

use std::sync::Arc;

use counterfoil_protocol::contract::{Call, Permitted};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::record::Action;

use super::known::{Contracts, Known, Standing, Text};

/// A call, as contracts look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    pub(crate) asking: &'a OperatorName,
    pub(crate) asked: &'a OperatorName,
    pub(crate) action: &'a Action,
    pub(crate) parameters: &'a [u8],
    pub(crate) time: UnixMillis,
}

/// The contract that a call is made under, and what it says of it.
#[derive(Clone, Debug)]
pub(crate) struct Under {
    pub(crate) contract: ContentDigest,
    pub(crate) text: Arc<Text>,
    pub(crate) permitted: Permitted,
}

/// Why a call is outside of what the operators agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    /// The contract that it was held against, if there is one.
    pub(crate) contract: Option<ContentDigest>,
    pub(crate) reason: ReasonCode,
    pub(crate) explanation: String,
}

impl Outside {
    pub(crate) fn new(
        contract: Option<ContentDigest>,
        reason: &'static str,
        explanation: impl Into<String>,
    ) -> Self {
        Self {
            contract,
            reason: ReasonCode::literal(reason),
            explanation: explanation.into(),
        }
    }
}

/// The contracts in which one operator asks another, taken out of the state to be looked at
/// without holding its lock.
#[derive(Debug)]
pub(crate) struct Agreed {
    contracts: Vec<(ContentDigest, Known)>,
}

impl Agreed {
    /// Those between `counterparty` and us in which `asking` asks.
    pub(crate) fn of(
        contracts: &Contracts,
        counterparty: &OperatorName,
        asking: &OperatorName,
    ) -> Self {
        Self {
            contracts: contracts.agreed(counterparty, asking),
        }
    }

    /// Chooses the contract for a call of ours: the first in force that permits it, or the most
    /// telling reason why none does. None when the operators never agreed on any and none is
    /// `required`.
    pub(crate) fn choose(&self, call: &Held<'_>, required: bool) -> Result<Option<Under>, Outside> {
        let mut naming = None;
        let mut last = None;
        for (contract, known) in &self.contracts {
            match check(*contract, known, call) {
                Ok(under) => return Ok(Some(under)),
                Err(outside) => {
                    let text = known.text();
                    let names = text.is_some_and(|text| text.terms.names(call.action));
                    let current = known.standing(call.time) == Standing::InForce;
                    if names && (current || naming.is_none()) {
                        naming = Some(outside);
                    } else if current || last.is_none() {
                        last = Some(outside);
                    }
                }
            }
        }
        match naming.or(last) {
            Some(outside) => Err(outside),
            None if required => Err(missing(call)),
            None => Ok(None),
        }
    }

    /// Holds a call that came against the contract that its request names.
    pub(crate) fn named(
        &self,
        named: Option<ContentDigest>,
        call: &Held<'_>,
        required: bool,
    ) -> Result<Option<Under>, Outside> {
        match named {
            None if required || !self.contracts.is_empty() => Err(missing(call)),
            None => Ok(None),
            Some(digest) => {
                let known = self.contracts.iter().find(|(each, _)| *each == digest);
                let Some((_, known)) = known else {
                    return Err(Outside::new(
                        Some(digest),
                        "contract_unknown",
                        format!(
                            "{} and {} have not agreed that {} may ask under contract {digest}",
                            call.asking, call.asked, call.asking
                        ),
                    ));
                };
                check(digest, known, call).map(Some)
            }
        }
    }
}

fn missing(call: &Held<'_>) -> Outside {
    Outside::new(
        None,
        "contract_missing",
        format!(
            "calls of {} to {} need a contract in force, and this one is made under none",
            call.asking, call.asked
        ),
    )
}

/// Whether the contract is in force and permits the call.
fn check(contract: ContentDigest, known: &Known, call: &Held<'_>) -> Result<Under, Outside> {
    let Some(text) = known.text() else {
        return Err(Outside::new(
            Some(contract),
            "contract_unknown",
            format!("the terms of contract {contract} are not known here"),
        ));
    };
    let permitted = text.terms.permits(&Call {
        asking: call.asking,
        asked: call.asked,
        action: call.action,
        parameters: call.parameters,
        time: call.time,
    });
    if let Some(ended) = known.ends().filter(|ended| *ended <= call.time) {
        return Err(ended_at(contract, ended));
    }
    match permitted {
        Ok(permitted) => Ok(Under {
            contract,
            text: Arc::clone(text),
            permitted,
        }),
        Err(outside) => Err(Outside {
            contract: Some(contract),
            reason: outside.reason(),
            explanation: outside.to_string(),
        }),
    }
}

fn ended_at(contract: ContentDigest, ended: UnixMillis) -> Outside {
    Outside::new(
        Some(contract),
        "contract_ended",
        format!("the contract ended at {ended}"),
    )
}

impl Contracts {
    /// Whether a contract that permitted a call is still in force at the time that the record of
    /// it will state.
    pub(crate) fn still(
        &self,
        counterparty: &OperatorName,
        under: &Under,
        time: UnixMillis,
    ) -> Result<(), Outside> {
        let contract = under.contract;
        let ends = self
            .get(counterparty, contract)
            .and_then(Known::ends)
            .filter(|ended| *ended <= time);
        if let Some(ended) = ends {
            return Err(ended_at(contract, ended));
        }
        let expires = under.text.terms.clauses().expires;
        if expires <= time {
            return Err(Outside::new(
                Some(contract),
                "contract_expired",
                format!("the contract expired at {expires}"),
            ));
        }
        Ok(())
    }
}

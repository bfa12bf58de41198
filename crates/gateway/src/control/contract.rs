//! Operations on contracts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_enforcer::contract::{Contract, Statement};
use counterfoil_protocol::contract::Terms;
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use serde::{Deserialize, Serialize};

use super::{ControlError, Operated, Operation, blocking};
use crate::exchange::{contract_file, deliver, fetch_terms};

/// Proposes a contract to the other party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propose {
    /// The terms, encoded, in base64.
    pub terms: String,
}

/// Accepts a contract that another operator has proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// Its digest, in hex.
    pub contract: String,
}

/// Ends a contract, takes a proposal back, or refuses one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Its digest, in hex.
    pub contract: String,
    /// Why.
    pub reason: String,
}

/// All contracts and proposals, or one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contracts {
    /// The digest of the one, in hex.
    pub contract: Option<String>,
}

/// Puts a contract file together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The digest of the contract, in hex.
    pub contract: String,
}

/// A contract as it stands with this operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractReport {
    /// The salted digest of its terms, in hex.
    pub contract: String,
    /// The other operator.
    pub counterparty: String,
    /// How it stands now.
    pub standing: String,
    /// The terms, encoded, in base64; none if they have not come.
    pub terms: Option<String>,
    /// Who proposed it.
    pub proposal: Option<SaidReport>,
    /// Who accepted it.
    pub acceptance: Option<SaidReport>,
    /// Who ended it or took it back.
    pub end: Option<SaidReport>,
    /// Why it was ended.
    pub end_reason: Option<String>,
    /// From when on it is over, in milliseconds.
    pub ends: Option<u64>,
    /// Why its admission policy cannot be applied here, if it cannot.
    pub admission_problem: Option<String>,
    /// Why the other operator has not been told, if it has not: it is told with the next exchange.
    pub undelivered: Option<String>,
}

/// Who said something about a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidReport {
    /// Who.
    pub by: String,
    /// The record, in hex.
    pub record: String,
    /// When, by its clock, in milliseconds.
    pub time: u64,
}

impl Operation for Propose {
    type Answer = ContractReport;
    const NAME: &'static str = "contract/propose";

    async fn run(self, operated: &Operated) -> Result<ContractReport, ControlError> {
        let bytes = STANDARD
            .decode(&self.terms)
            .map_err(|_| ControlError::new("input_invalid", "the terms are not base64"))?;
        let terms = Terms::parse(&bytes)?;
        let enforcer = operated.enforcer.clone();
        let contract = blocking(move || enforcer.propose_contract(terms)).await?;
        tell(operated, contract).await
    }
}

impl Operation for Accept {
    type Answer = ContractReport;
    const NAME: &'static str = "contract/accept";

    async fn run(self, operated: &Operated) -> Result<ContractReport, ControlError> {
        let digest = digest(&self.contract)?;
        let known = operated.enforcer.contract(digest);
        match known {
            Ok(contract) if contract.terms.is_none() => {
                fetch_terms(&operated.enforcer, &contract.counterparty, digest).await?;
            }
            Ok(_) => {}
            // It may have been proposed and not have come yet.
            Err(_) => hear(operated, digest).await,
        }
        let enforcer = operated.enforcer.clone();
        let contract = blocking(move || enforcer.accept_contract(digest))
            .await
            .map_err(|error| match error.code.as_str() {
                "not_found" => error.next("counterfoil contract list shows what was proposed"),
                _ => error,
            })?;
        tell(operated, contract).await
    }
}

impl Operation for End {
    type Answer = ContractReport;
    const NAME: &'static str = "contract/end";

    async fn run(self, operated: &Operated) -> Result<ContractReport, ControlError> {
        let digest = digest(&self.contract)?;
        let reason = ReasonCode::new(self.reason)?;
        let enforcer = operated.enforcer.clone();
        let contract = blocking(move || enforcer.end_contract(digest, reason)).await?;
        tell(operated, contract).await
    }
}

impl Operation for Contracts {
    type Answer = Vec<ContractReport>;
    const NAME: &'static str = "contract/list";
    const WRITES: bool = false;

    async fn run(self, operated: &Operated) -> Result<Vec<ContractReport>, ControlError> {
        let enforcer = &operated.enforcer;
        let found = match self.contract {
            Some(contract) => vec![enforcer.contract(digest(&contract)?)?],
            None => enforcer.contracts(),
        };
        let reports = found.into_iter().map(|contract| report(contract, None));
        Ok(reports.collect())
    }
}

impl Operation for Export {
    /// The file, in base64.
    type Answer = String;
    const NAME: &'static str = "contract/export";
    const WRITES: bool = false;

    async fn run(self, operated: &Operated) -> Result<String, ControlError> {
        let file = contract_file(&operated.enforcer, digest(&self.contract)?).await?;
        Ok(STANDARD.encode(file.encode()))
    }
}

fn digest(hex: &str) -> Result<ContentDigest, ControlError> {
    ContentDigest::from_hex(hex).map_err(|_| {
        ControlError::new(
            "input_invalid",
            format!("`{hex}` is not the digest of a contract: 64 hexadecimal digits"),
        )
    })
}

/// Tells the other party at once, and says so if that fails: it is told with what is sent next.
async fn tell(operated: &Operated, contract: Contract) -> Result<ContractReport, ControlError> {
    let told = deliver(&operated.enforcer, &contract.counterparty).await;
    let undelivered = told.err().map(|error| error.to_string());
    let now = operated.enforcer.contract(contract.digest)?;
    Ok(report(now, undelivered))
}

/// Asks the other operators whether they have proposed a contract that is not known here.
async fn hear(operated: &Operated, wanted: ContentDigest) {
    let enforcer = &operated.enforcer;
    let others = |name: &OperatorName| name != enforcer.operator();
    for operator in enforcer.operators().names().into_iter().filter(others) {
        let heard = async {
            deliver(enforcer, &operator).await?;
            if enforcer.contract(wanted).is_ok() {
                fetch_terms(enforcer, &operator, wanted).await?;
            }
            Ok::<_, crate::error::GatewayError>(())
        };
        if let Err(error) = heard.await {
            tracing::warn!(%operator, %error, "it could not be asked for its proposals");
        }
    }
}

fn report(contract: Contract, undelivered: Option<String>) -> ContractReport {
    let said = |statement: Statement| SaidReport {
        by: statement.by.to_string(),
        record: statement.record.to_string(),
        time: statement.time.get(),
    };
    let (end, end_reason) = match contract.end {
        Some((statement, reason)) => (Some(said(statement)), Some(reason.to_string())),
        None => (None, None),
    };
    ContractReport {
        contract: contract.digest.to_string(),
        counterparty: contract.counterparty.to_string(),
        standing: contract.standing.as_str().to_owned(),
        terms: contract.terms.map(|terms| STANDARD.encode(terms.encoded())),
        proposal: contract.proposal.map(said),
        acceptance: contract.acceptance.map(said),
        end,
        end_reason,
        ends: contract
            .ends
            .map(counterfoil_protocol::numbers::UnixMillis::get),
        admission_problem: contract.admission_problem,
        undelivered,
    }
}

//! Contracts with other operators: delivering what we say about them, fetching terms, and putting a
//! contract file together.

use counterfoil_enforcer::contract::{Contract, Statement};
use counterfoil_enforcer::journal::JournalReader;
use counterfoil_enforcer::receipts::ReceiptBuilder;
use counterfoil_enforcer::{Enforcer, EnforcerError};
use counterfoil_protocol::contract::ContractFile;
use counterfoil_protocol::digest::{ContentDigest, RecordId};
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::names::OperatorName;

use super::errands::{client, push};
use crate::error::GatewayError;

/// Pushes to another operator what it has not acknowledged, with the terms of what we propose to
/// it, and takes in what it has sent.
///
/// # Errors
/// [`GatewayError::Exchange`] when it cannot be reached or refuses. It is sent again with whatever
/// is sent next.
pub async fn deliver(enforcer: &Enforcer, operator: &OperatorName) -> Result<(), GatewayError> {
    push(enforcer, operator).await
}

/// Fetches the terms of a contract that another operator has proposed to us, if they have not come
/// with the proposal.
///
/// # Errors
/// [`GatewayError::Exchange`], or what [`Enforcer::take_terms`] says.
pub async fn fetch_terms(
    enforcer: &Enforcer,
    operator: &OperatorName,
    contract: ContentDigest,
) -> Result<(), GatewayError> {
    let bytes = client(enforcer, operator)?.terms(contract).await?;
    let disclosure = Disclosure::parse(&bytes).map_err(EnforcerError::from)?;
    if disclosure.digest() != contract {
        return Err(GatewayError::Exchange {
            operator: operator.to_string(),
            detail: format!("what it sent are not the terms of contract {contract}"),
        });
    }
    let (enforcer, operator) = (enforcer.clone(), operator.clone());
    tokio::task::spawn_blocking(move || enforcer.take_terms(&operator, &disclosure))
        .await
        .map_err(|_| EnforcerError::Busy)??;
    Ok(())
}

/// Puts the file of a contract together, with the receipts as far as evidence goes today: ours from
/// the journal, the other side's from it.
///
/// # Errors
/// [`EnforcerError::NotFound`] when there is no such contract or a record of ours is in no batch
/// yet; [`GatewayError::Exchange`] when the other side does not give a receipt.
pub async fn contract_file(
    enforcer: &Enforcer,
    contract: ContentDigest,
) -> Result<ContractFile, GatewayError> {
    let Contract {
        counterparty,
        disclosure,
        proposal,
        acceptance,
        end,
        ..
    } = enforcer.contract(contract)?;
    let missing = |what: &str| EnforcerError::NotFound(format!("{what} of contract {contract}"));
    let terms = disclosure.ok_or_else(|| missing("no terms"))?;
    let proposal = proposal.ok_or_else(|| missing("no proposal"))?;
    let receipt = |statement: Option<Statement>| {
        let counterparty = counterparty.clone();
        async move {
            match statement {
                None => Ok(None),
                Some(statement) if statement.by == *enforcer.operator() => {
                    own_receipt(enforcer, statement.record).await.map(Some)
                }
                Some(statement) => {
                    let client = client(enforcer, &counterparty)?;
                    client.receipt(statement.record).await.map(Some)
                }
            }
        }
    };
    Ok(ContractFile {
        terms,
        proposal: receipt(Some(proposal))
            .await?
            .ok_or_else(|| missing("no proposal"))?,
        acceptance: receipt(acceptance).await?,
        end: receipt(end.map(|(statement, _)| statement)).await?,
    })
}

async fn own_receipt(enforcer: &Enforcer, id: RecordId) -> Result<Vec<u8>, GatewayError> {
    let enforcer = enforcer.clone();
    let built = tokio::task::spawn_blocking(move || {
        let reader = JournalReader::open(enforcer.journal_path())?;
        let manifests = enforcer.operators().manifests(enforcer.operator());
        let receipt = ReceiptBuilder::new(reader, manifests).build_by_id(id, &[])?;
        Ok::<_, EnforcerError>(receipt.encode())
    });
    Ok(built.await.map_err(|_| EnforcerError::Busy)??)
}

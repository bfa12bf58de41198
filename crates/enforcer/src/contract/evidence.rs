//! The level that the evidence of a request must reach before it is executed.
//!
//! The asking side has its request sealed, logged and witnessed before it sends it; the asked one
//! verifies the receipt that came along. Both against the logs and witnesses that the contract
//! names. Spec: contracts §4.

use std::time::Duration;

use counterfoil_protocol::contract::Party;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::record::Record;
use counterfoil_protocol::verify::verify;

use super::hold::{Outside, Under};
use crate::enforcer::{Core, Enforcer};
use crate::error::EnforcerError;
use crate::journal::JournalReader;
use crate::receipts::ReceiptBuilder;

/// How far our records have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The first record that is in no sealed batch.
    pub(crate) unsealed: Sequence,
    /// The first record that is in no logged batch.
    pub(crate) unlogged: Sequence,
}

/// Why a request is not sent: its evidence does not reach the level that it needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{explanation} ({reason})")]
pub struct NotAttested {
    /// Why, for machines: `evidence_late` or `evidence_too_low`.
    pub reason: ReasonCode,
    /// Why, for people.
    pub explanation: String,
}

impl NotAttested {
    fn new(reason: &'static str, explanation: impl Into<String>) -> Self {
        Self {
            reason: ReasonCode::literal(reason),
            explanation: explanation.into(),
        }
    }
}

/// Verifies that a receipt shows the record with this id at the level that a call needs.
pub(crate) fn check(
    core: &Core,
    under: &Under,
    id: RecordId,
    receipt: Option<&[u8]>,
) -> Result<Level, Outside> {
    let needed = under.permitted.level;
    if needed == Level::Signed {
        return Ok(Level::Signed);
    }
    let low = |detail: String| {
        Outside::new(
            Some(under.contract),
            "evidence_too_low",
            format!("the contract asks for evidence at level {needed} before the call: {detail}"),
        )
    };
    let receipt = receipt.ok_or_else(|| low("no receipt came with the request".to_owned()))?;
    let own = core
        .contracts
        .trust
        .as_ref()
        .ok_or_else(|| low("no trust file says whom to believe".to_owned()))?;
    let report = verify(receipt, &under.text.terms.trust(own), needed);
    if let Some(failure) = report.failure {
        return Err(low(failure.to_string()));
    }
    if report.facts.as_ref().map(|facts| facts.id) != Some(id) {
        return Err(low("the receipt is of another record".to_owned()));
    }
    Ok(report.level.unwrap_or(Level::Signed))
}

/// The first field that the asking side must disclose and that neither comes with the request nor
/// is absent from it. The parameters travel with the call, and the salt opens them.
pub(crate) fn undisclosed(
    under: &Under,
    request: &Record,
    opened: &[&Disclosure],
) -> Option<DisclosedField> {
    under.text.terms.discloses(Party::Asking).find(|field| {
        *field != DisclosedField::Parameters
            && request.disclosable(*field).is_some()
            && !opened.iter().any(|disclosure| disclosure.field == *field)
    })
}

impl Enforcer {
    /// Has the record sealed, logged and witnessed, and returns its receipt once it verifies at the
    /// level that the contract asks for. `limit` bounds the wait.
    pub(crate) async fn attest(
        &self,
        under: &Under,
        id: RecordId,
        sequence: Sequence,
        limit: Duration,
    ) -> Result<Vec<u8>, NotAttested> {
        let needed = under.permitted.level;
        let core = &self.core;
        if needed >= Level::Logged && core.backlog_limit.is_none() {
            return Err(NotAttested::new(
                "evidence_too_low",
                format!("the contract asks for level {needed}, and this operator has no log"),
            ));
        }
        let mut progress = core.progress.subscribe();
        // The batch is closed now, whatever its time.
        core.batch_full.notify_one();
        let reached = progress.wait_for(|progress| match needed {
            Level::Signed => true,
            Level::Committed => progress.unsealed > sequence,
            Level::Logged | Level::Witnessed => progress.unlogged > sequence,
        });
        let late = || {
            NotAttested::new(
                "evidence_late",
                format!(
                    "the request's evidence did not reach level {needed} within {} s",
                    limit.as_secs_f64()
                ),
            )
        };
        tokio::time::timeout(limit, reached)
            .await
            .map_err(|_| late())?
            .map_err(|_| late())?;
        let (enforcer, under) = (self.clone(), under.clone());
        let built = tokio::task::spawn_blocking(move || {
            let receipt = enforcer.receipt(sequence)?;
            Ok::<_, EnforcerError>(
                check(&enforcer.core, &under, id, Some(&receipt)).map(|_| receipt),
            )
        });
        let failed = |detail: String| NotAttested::new("evidence_too_low", detail);
        built
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?
            .map_err(|outside| failed(outside.explanation))
    }

    /// The receipt of a record of ours, as far as its evidence goes today.
    fn receipt(&self, sequence: Sequence) -> Result<Vec<u8>, EnforcerError> {
        let reader = JournalReader::open(&self.core.journal)?;
        let manifests = self.core.operators.manifests(&self.core.identity.operator);
        let mut builder = ReceiptBuilder::new(reader, manifests);
        Ok(builder.build(sequence, &[])?.encode())
    }
}

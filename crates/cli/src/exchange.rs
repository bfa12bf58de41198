//! What commands ask of another operator over its exchange API.

use std::sync::Arc;

use counterfoil_enforcer::environment::Environment;
use counterfoil_gateway::GatewayError;
use counterfoil_gateway::exchange::{ExchangeClient, Signer};
use counterfoil_gateway::home::{Home, read_key};
use counterfoil_protocol::digest::{KeyThumbprint, RecordId};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::Acknowledgement;
use counterfoil_protocol::trust::Trust;

use crate::answer::{OrProblem as _, Problem};
use crate::home::operators;

/// Another operator, asked in this operator's name.
#[derive(Debug)]
pub(crate) struct Peer {
    client: ExchangeClient,
}

impl Peer {
    /// The operator as the manifests kept in `home` describe it.
    pub(crate) fn new(
        home: &Home,
        trust: &Trust,
        operator: &OperatorName,
    ) -> Result<Self, Problem> {
        let endpoint = operators(home, trust)?
            .exchange(operator)
            .ok_or_else(|| Problem::new(format!("no exchange API of {operator} is known here")))
            .or_next(format!(
                "counterfoil operator fetch --home {} {operator}",
                home.directory().display()
            ))?;
        let key = read_key(&home.enforcer_key())?;
        let client = ExchangeClient::new(
            operator.clone(),
            &endpoint,
            Signer::Key(Arc::new(key)),
            Environment::system(),
        )?;
        Ok(Self { client })
    }

    /// The receipt of one of its records; none while that is in no sealed batch.
    pub(crate) async fn receipt(&self, id: RecordId) -> Result<Option<Vec<u8>>, Problem> {
        match self.client.receipt(id).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(GatewayError::NotSealed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The receipts of its records to us, from a place in the channel; at most `limit`.
    pub(crate) async fn receipts(&self, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, Problem> {
        Ok(self.client.receipts(from, limit).await?)
    }

    /// The last record of our stream `own` that it has received without a gap before it.
    pub(crate) async fn acknowledged(
        &self,
        own: KeyThumbprint,
    ) -> Result<Option<Acknowledgement>, Problem> {
        let heads = self.client.channel().await?;
        let mut received = Vec::new();
        for head in &heads.received {
            received.push(head.record().ok_or_else(|| {
                Problem::new(format!(
                    "its answer names a record `{}`, which is none",
                    head.id
                ))
            })?);
        }
        Ok(received.into_iter().find(|head| head.stream == own))
    }
}

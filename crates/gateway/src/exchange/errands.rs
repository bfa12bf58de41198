//! Work with other operators that no call waits for: pushing records that they have not
//! acknowledged, and fetching records of theirs that are missing here.

use std::collections::BTreeSet;
use std::time::Duration;

use counterfoil_enforcer::call::Envelope;
use counterfoil_enforcer::{ChannelHeads, Enforcer, EnforcerError};
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::names::OperatorName;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client::{ExchangeClient, Signer};
use super::wire::Head;
use crate::error::GatewayError;

/// From how many unacknowledged records on they are pushed.
pub(crate) const PUSH_FROM: usize = 64;
/// The most records of one push.
const PUSH_RECORDS: usize = 128;
/// The most records fetched at once.
const FETCH_RECORDS: usize = 256;
/// How often one errand fetches. What is left then is fetched when the next gap shows.
const FETCH_PAGES: usize = 64;
/// How long an errand may take. The operators whose errands come after it wait; what has been
/// pushed or fetched by then counts.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many errands may wait; more of them would be the same again.
const WAITING: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Errand {
    Push(OperatorName),
    Fetch(OperatorName),
}

/// Where errands are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Errands {
    sender: mpsc::Sender<Errand>,
}

impl Errands {
    /// Starts doing errands on the current runtime, until the last handle is dropped.
    pub fn start(enforcer: Enforcer) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let task = tokio::spawn(run(enforcer, receiver));
        (Self { sender }, task)
    }

    /// Too many of our records wait to be acknowledged by `operator`.
    pub(crate) fn push(&self, operator: &OperatorName) {
        // A full queue holds this errand already, or is worked off soon.
        let _ = self.sender.try_send(Errand::Push(operator.clone()));
    }

    /// Records of `operator` are missing here.
    pub(crate) fn fetch(&self, operator: &OperatorName) {
        let _ = self.sender.try_send(Errand::Fetch(operator.clone()));
    }
}

async fn run(enforcer: Enforcer, mut receiver: mpsc::Receiver<Errand>) {
    while let Some(first) = receiver.recv().await {
        let mut errands = BTreeSet::from([first]);
        while let Ok(more) = receiver.try_recv() {
            errands.insert(more);
        }
        for errand in errands {
            let work = async {
                match &errand {
                    Errand::Push(operator) => push(&enforcer, operator).await,
                    Errand::Fetch(operator) => fetch(&enforcer, operator).await,
                }
            };
            match timeout(PATIENCE, work).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(?errand, %error, "an exchange with another operator failed");
                }
                Err(_) => {
                    tracing::warn!(?errand, "an exchange with another operator took too long");
                }
            }
        }
    }
}

fn client(enforcer: &Enforcer, operator: &OperatorName) -> Result<ExchangeClient, GatewayError> {
    let endpoint =
        enforcer
            .operators()
            .exchange(operator)
            .ok_or_else(|| GatewayError::Exchange {
                operator: operator.to_string(),
                detail: "its manifest names no exchange API".to_owned(),
            })?;
    ExchangeClient::new(
        operator.clone(),
        &endpoint,
        Signer::Enforcer(enforcer.clone()),
        enforcer.environment().clone(),
    )
}

async fn heads(enforcer: &Enforcer, operator: &OperatorName) -> Result<ChannelHeads, GatewayError> {
    let (enforcer, operator) = (enforcer.clone(), operator.clone());
    let waited = tokio::task::spawn_blocking(move || enforcer.channel_heads(&operator)).await;
    Ok(waited.map_err(|_| EnforcerError::Busy)??)
}

/// Pushes our records that `operator` has not acknowledged, and fetches its own.
pub(crate) async fn push(enforcer: &Enforcer, operator: &OperatorName) -> Result<(), GatewayError> {
    let client = client(enforcer, operator)?;
    let waiting = {
        let (enforcer, operator) = (enforcer.clone(), operator.clone());
        tokio::task::spawn_blocking(move || enforcer.unacknowledged(&operator))
            .await
            .map_err(|error| GatewayError::Exchange {
                operator: String::new(),
                detail: error.to_string(),
            })??
    };
    for records in waiting.records.chunks(PUSH_RECORDS) {
        let envelope = Envelope {
            records: records.to_vec(),
            ..Envelope::default()
        };
        let heads = client.push(&envelope).await?;
        let own = enforcer.kid();
        let held = heads.received.iter().filter_map(Head::record);
        let held = held
            .filter(|head| head.stream == own)
            .max_by_key(|head| head.sequence);
        enforcer.note_held(operator, held.map(|head| head.sequence));
    }
    // Its acknowledgements are in its records.
    fetch(enforcer, operator).await
}

/// Fetches the records of `operator` that are missing here.
pub(crate) async fn fetch(enforcer: &Enforcer, operator: &OperatorName) -> Result<(), GatewayError> {
    let client = client(enforcer, operator)?;
    let failed = |detail: String| GatewayError::Exchange {
        operator: operator.to_string(),
        detail,
    };
    // The stream that answers; others of the operator's are fetched where they are served.
    let Some(stream) = client
        .channel()
        .await?
        .sent
        .and_then(|head| head.record())
        .map(|head| head.stream)
    else {
        return Ok(());
    };
    let mut from = missing_from(enforcer, operator, stream).await?;
    for _ in 0..FETCH_PAGES {
        let envelope = client.records(from, FETCH_RECORDS).await?;
        if envelope.records.is_empty() {
            return Ok(());
        }
        let ingesting = enforcer.clone();
        tokio::task::spawn_blocking(move || ingesting.ingest(&envelope))
            .await
            .map_err(|error| failed(error.to_string()))??;
        let next = missing_from(enforcer, operator, stream).await?;
        if next <= from {
            return Err(failed(format!(
                "its records from {from} of the channel were asked for, and others came"
            )));
        }
        from = next;
    }
    Ok(())
}

/// The number of the first record of a stream of `operator` that is missing here.
async fn missing_from(
    enforcer: &Enforcer,
    operator: &OperatorName,
    stream: KeyThumbprint,
) -> Result<u64, GatewayError> {
    let heads = heads(enforcer, operator).await?;
    let head = heads.received.iter().find(|head| head.stream == stream);
    Ok(head.map_or(0, |head| head.sequence.get().saturating_add(1)))
}

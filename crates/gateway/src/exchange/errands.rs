//! Work with other operators that no call waits for: pushing records that they have not
//! acknowledged, and fetching records of theirs that are missing here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use counterfoil_enforcer::call::Envelope;
use counterfoil_enforcer::{ChannelHeads, Enforcer, EnforcerError};
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::names::OperatorName;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

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
/// How long an errand may take. The next one to the same operator waits for it; what has been
/// pushed or fetched by then counts.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many errands may wait; more of them would be the same again.
const WAITING: usize = 64;

/// Until what became of a call is asked for again, at first; twice as long each time after.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The same, at last.
const LAST_RETRY: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Errand {
    /// Push what has not been acknowledged, and fetch the acknowledgements.
    Push,
    /// Fetch records that are missing here.
    Fetch,
    /// Both, and again until the other operator has said what became of the calls that ended here
    /// without its word.
    Resolve,
}

/// Where errands are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Errands {
    sender: mpsc::Sender<(OperatorName, Errand)>,
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
        let _ = self.sender.try_send((operator.clone(), Errand::Push));
    }

    /// Records of `operator` are missing here.
    pub(crate) fn fetch(&self, operator: &OperatorName) {
        let _ = self.sender.try_send((operator.clone(), Errand::Fetch));
    }

    /// A call to `operator` ended without its word.
    pub(crate) fn resolve(&self, operator: &OperatorName) {
        let _ = self.sender.try_send((operator.clone(), Errand::Resolve));
    }
}

/// The errands to one operator: one at a time, so that a slow one delays nobody else's.
#[derive(Debug)]
struct Round {
    queued: BTreeSet<Errand>,
    running: bool,
    retry: Option<Instant>,
    wait: Duration,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            queued: BTreeSet::new(),
            running: false,
            retry: None,
            wait: FIRST_RETRY,
        }
    }
}

async fn run(enforcer: Enforcer, mut receiver: mpsc::Receiver<(OperatorName, Errand)>) {
    let mut rounds: BTreeMap<OperatorName, Round> = BTreeMap::new();
    let mut tasks: JoinSet<OperatorName> = JoinSet::new();
    // What an earlier run left open is asked for as soon as records may be exchanged.
    let mut begun = false;
    loop {
        if !begun && enforcer.ready().is_ok() {
            begun = true;
            for operator in enforcer.to_resolve() {
                rounds
                    .entry(operator)
                    .or_default()
                    .queued
                    .insert(Errand::Resolve);
            }
        }
        let now = Instant::now();
        for (operator, round) in &mut rounds {
            if round.retry.is_some_and(|retry| retry <= now) {
                round.retry = None;
                round.queued.insert(Errand::Resolve);
            }
            if !round.running
                && let Some(errand) = round.queued.pop_first()
            {
                round.running = true;
                tasks.spawn(do_errand(enforcer.clone(), operator.clone(), errand));
            }
        }
        let retry = rounds.values().filter_map(|round| round.retry).min();
        let wake = if begun {
            retry
        } else {
            Some(now + FIRST_RETRY)
        };
        tokio::select! {
            handed_in = receiver.recv() => {
                let Some((operator, errand)) = handed_in else { return };
                let round = rounds.entry(operator).or_default();
                if errand == Errand::Resolve {
                    round.wait = FIRST_RETRY;
                }
                round.queued.insert(errand);
            }
            Some(Ok(operator)) = tasks.join_next() => {
                let left = enforcer.to_resolve().contains(&operator);
                let round = rounds.entry(operator).or_default();
                round.running = false;
                if left && round.retry.is_none() {
                    round.retry = Some(Instant::now() + round.wait);
                    round.wait = (round.wait * 2).min(LAST_RETRY);
                }
            }
            () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
        }
    }
}

async fn do_errand(enforcer: Enforcer, operator: OperatorName, errand: Errand) -> OperatorName {
    let work = async {
        match errand {
            Errand::Push | Errand::Resolve => push(&enforcer, &operator).await,
            Errand::Fetch => fetch(&enforcer, &operator).await,
        }
    };
    match timeout(PATIENCE, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(?errand, %error, "an exchange with another operator failed");
        }
        Err(_) => {
            tracing::warn!(?errand, %operator, "an exchange with another operator took too long");
        }
    }
    operator
}

pub(super) fn client(
    enforcer: &Enforcer,
    operator: &OperatorName,
) -> Result<ExchangeClient, GatewayError> {
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

/// Sends `operator` what it has not acknowledged, and fetches its records.
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
        push_envelope(enforcer, operator, &client, &envelope).await?;
    }
    // The terms of what we have proposed are disclosed with the record that proposes it.
    for digest in enforcer.proposals_in(waiting.records.iter().map(|record| &**record)) {
        let (enforcer, operator) = (enforcer.clone(), operator.clone());
        let envelope =
            tokio::task::spawn_blocking(move || enforcer.proposal_envelope(&operator, digest))
                .await
                .map_err(|_| EnforcerError::Busy)??;
        client.push(&envelope).await?;
    }
    // Its acknowledgements are in its records.
    fetch(enforcer, operator).await
}

/// Sends `operator` the request of a call that is about to be made, with its receipt where it needs
/// one: the call itself then only names it.
pub(crate) async fn push_request(
    enforcer: &Enforcer,
    operator: &OperatorName,
    envelope: &Envelope,
) -> Result<(), GatewayError> {
    let client = client(enforcer, operator)?;
    push_envelope(enforcer, operator, &client, envelope).await
}

/// Sends an envelope, and notes what is held there.
async fn push_envelope(
    enforcer: &Enforcer,
    operator: &OperatorName,
    client: &ExchangeClient,
    envelope: &Envelope,
) -> Result<(), GatewayError> {
    let heads = client.push(envelope).await?;
    let own = enforcer.kid();
    let held = heads.received.iter().filter_map(Head::record);
    let held = held
        .filter(|head| head.stream == own)
        .max_by_key(|head| head.sequence);
    enforcer.note_held(operator, held.map(|head| head.sequence));
    Ok(())
}

/// Fetches the records of `operator` that are missing here.
pub(crate) async fn fetch(
    enforcer: &Enforcer,
    operator: &OperatorName,
) -> Result<(), GatewayError> {
    let client = client(enforcer, operator)?;
    // All of the operator's streams: whoever answers at its address serves them.
    let answering = client.channel().await?.sent.and_then(|head| head.record());
    let mut streams = enforcer.operators().enforcer_keys(operator);
    if let Some(head) = answering
        && !streams.contains(&head.stream)
    {
        streams.push(head.stream);
    }
    for stream in streams {
        fetch_stream(enforcer, operator, &client, stream).await?;
    }
    Ok(())
}

async fn fetch_stream(
    enforcer: &Enforcer,
    operator: &OperatorName,
    client: &ExchangeClient,
    stream: KeyThumbprint,
) -> Result<(), GatewayError> {
    let failed = |detail: String| GatewayError::Exchange {
        operator: operator.to_string(),
        detail,
    };
    let mut from = missing_from(enforcer, operator, stream).await?;
    for _ in 0..FETCH_PAGES {
        let envelope = match client.records_of(stream, from, FETCH_RECORDS).await {
            Ok(envelope) => envelope,
            // Of a stream that is served nowhere, others are fetched all the same.
            Err(error) => {
                tracing::debug!(%operator, %stream, %error, "a stream is not served");
                return Ok(());
            }
        };
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

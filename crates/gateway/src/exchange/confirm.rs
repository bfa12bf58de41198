//! Asking counterparties, when a gateway starts, which of our records they hold.
//!
//! They know what was lost since the last logged batch. If one holds a record of our stream that
//! the journal does not, the journal is older than its past, and going on would fork the stream.
//! Spec: faults §6.

use std::time::Duration;

use counterfoil_enforcer::call::Envelope;
use counterfoil_enforcer::{Blocked, Enforcer};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::Acknowledgement;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::client::{ExchangeClient, Signer};
use super::index::ChannelIndex;
use super::streams;
use super::wire::{ChannelHeads, Head};

/// Between two attempts to ask the same operator.
const PAUSE: Duration = Duration::from_millis(100);
/// The same, once it has been silent for long.
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// How many records of a retired stream are pushed at once.
const RECORDS: usize = 128;

/// What is done about a counterparty that does not say which of our records it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Silent {
    /// It is waited for. Nothing is signed before: were the journal older than its past, that would
    /// fork the stream.
    #[default]
    Awaited,
    /// It is passed over after a while. The operator vouches for the journal itself.
    PassedOver,
}

/// Asks everybody who may hold records of our stream. An operator with whom the journal has no
/// channel is asked once; one with whom it has is asked until it answers, or for `patience` where
/// silent ones are passed over.
///
/// # Errors
/// Why the stream is not continued.
pub async fn ask_counterparties(
    enforcer: Enforcer,
    patience: Duration,
    silent: Silent,
) -> Result<(), Blocked> {
    let met: Vec<OperatorName> = enforcer
        .sent_heads()
        .into_iter()
        .map(|(counterparty, _)| counterparty)
        .collect();
    let mut names = enforcer.operators().names();
    names.extend(met.iter().cloned());
    names.sort();
    names.dedup();
    names.retain(|name| name != enforcer.operator());
    if names.is_empty() {
        return Ok(());
    }
    let list: Vec<&str> = names.iter().map(OperatorName::as_str).collect();
    enforcer.set_blocked(Some(Blocked::CounterpartiesUnconfirmed(format!(
        "asking {}",
        list.join(", ")
    ))));
    let until = Instant::now() + patience;
    let mut asking = JoinSet::new();
    for name in names {
        let persist = met.contains(&name);
        asking.spawn(ask(enforcer.clone(), name, persist, until, silent));
    }
    while let Some(asked) = asking.join_next().await {
        asked.map_err(|error| Blocked::Failed(error.to_string()))??;
    }
    Ok(())
}

async fn ask(
    enforcer: Enforcer,
    counterparty: OperatorName,
    persist: bool,
    until: Instant,
    silent: Silent,
) -> Result<(), Blocked> {
    let mut warned = false;
    let operators = enforcer.operators();
    if operators.exchange(&counterparty).is_none() && operators.names().contains(&counterparty) {
        if persist {
            tracing::warn!(%counterparty, "it has no exchange API and cannot be asked");
        }
        return Ok(());
    }
    loop {
        let left = until.saturating_duration_since(Instant::now()).max(PAUSE);
        let why = match timeout(left, heads(&enforcer, &counterparty)).await {
            Ok(Ok((client, heads))) => {
                compare(&enforcer, &counterparty, &heads)?;
                tokio::spawn(deliver(enforcer, counterparty, client, heads));
                return Ok(());
            }
            Ok(Err(why)) => why,
            Err(_) => "it does not answer".to_owned(),
        };
        if !persist {
            return Ok(());
        }
        if Instant::now() + PAUSE < until {
            sleep(PAUSE).await;
            continue;
        }
        if silent == Silent::PassedOver {
            tracing::warn!(
                %counterparty,
                "which of our records it holds is not known, it is passed over: {why}"
            );
            return Ok(());
        }
        if !warned {
            tracing::warn!(
                %counterparty,
                "nothing is signed before it says which of our records it holds: {why}"
            );
            warned = true;
        }
        enforcer.set_blocked(Some(Blocked::CounterpartiesUnconfirmed(format!(
            "{counterparty} does not say which of our records it holds: {why}"
        ))));
        sleep(LONG_PAUSE).await;
    }
}

async fn heads(
    enforcer: &Enforcer,
    counterparty: &OperatorName,
) -> Result<(ExchangeClient, ChannelHeads), String> {
    let endpoint = enforcer
        .operators()
        .exchange(counterparty)
        .ok_or("no exchange API of it is known")?;
    let client = ExchangeClient::new(
        counterparty.clone(),
        &endpoint,
        Signer::Enforcer(enforcer.clone()),
        enforcer.environment().clone(),
    )
    .map_err(|error| error.to_string())?;
    let heads = client.channel().await.map_err(|error| error.to_string())?;
    Ok((client, heads))
}

/// Pushes what a counterparty has not got of our retired streams: nobody sends it with calls any
/// more.
async fn deliver(
    enforcer: Enforcer,
    counterparty: OperatorName,
    client: ExchangeClient,
    heads: ChannelHeads,
) {
    let held: Vec<Acknowledgement> = heads.received.iter().filter_map(Head::record).collect();
    for (stream, journal) in streams::retired(enforcer.journal_path()) {
        let index = ChannelIndex::new(&journal);
        let head = held.iter().find(|head| head.stream == stream);
        let mut from = head.map_or(0, |head| head.sequence.get().saturating_add(1));
        let delivered: Result<(), String> = async {
            loop {
                let records = index
                    .records(&counterparty, from, RECORDS)
                    .map_err(|error| error.to_string())?;
                if records.is_empty() {
                    return Ok(());
                }
                from = from.saturating_add(records.len() as u64);
                let envelope = Envelope {
                    records: records.into_iter().map(|(_, bytes)| bytes.into()).collect(),
                    ..Envelope::default()
                };
                let pushed = client.push(&envelope).await;
                pushed.map_err(|error| error.to_string())?;
            }
        }
        .await;
        if let Err(error) = delivered {
            tracing::warn!(%counterparty, %stream, error, "a retired stream is not delivered");
        }
    }
}

fn compare(
    enforcer: &Enforcer,
    counterparty: &OperatorName,
    heads: &ChannelHeads,
) -> Result<(), Blocked> {
    let own = enforcer.kid();
    // What came early is held too, though it is acknowledged to nobody.
    let held = heads.received.iter().chain(&heads.waiting);
    let held = held.filter_map(Head::record);
    for head in held.filter(|head| head.stream == own) {
        if !enforcer.has_sent(counterparty, head) {
            return Err(Blocked::CounterpartyDisagrees(format!(
                "{counterparty} holds record {} of the channel, {}, which the journal does not",
                head.sequence, head.id
            )));
        }
    }
    Ok(())
}

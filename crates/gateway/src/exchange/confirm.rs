//! Asking counterparties, when a gateway starts, which of our records they hold.
//!
//! They know what was lost since the last logged batch. If one holds a record of our stream that
//! the journal does not, the journal is older than its past, and going on would fork the stream.
//! Spec: faults §6.

use std::time::Duration;

use counterfoil_enforcer::{Blocked, Enforcer};
use counterfoil_protocol::names::OperatorName;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::client::{ExchangeClient, Signer};
use super::wire::{ChannelHeads, Head};

/// Between two attempts to ask the same operator.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks everybody who may hold records of our stream. An operator with whom the journal has no
/// channel is asked once; one with whom it has is asked until it answers, at most for `patience`.
/// Whoever does not answer is passed over, and that is logged.
///
/// # Errors
/// Why the stream is not continued.
pub async fn ask_counterparties(enforcer: Enforcer, patience: Duration) -> Result<(), Blocked> {
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
        asking.spawn(ask(enforcer.clone(), name, persist, until));
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
) -> Result<(), Blocked> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let why = match timeout(left, heads(&enforcer, &counterparty)).await {
            Ok(Ok(heads)) => return compare(&enforcer, &counterparty, &heads),
            Ok(Err(why)) => why,
            Err(_) => "it does not answer".to_owned(),
        };
        if !persist || Instant::now() + PAUSE >= until {
            if persist {
                tracing::warn!(
                    %counterparty,
                    "which of our records it holds is not known, it is passed over: {why}"
                );
            }
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

async fn heads(enforcer: &Enforcer, counterparty: &OperatorName) -> Result<ChannelHeads, String> {
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
    client.channel().await.map_err(|error| error.to_string())
}

fn compare(
    enforcer: &Enforcer,
    counterparty: &OperatorName,
    heads: &ChannelHeads,
) -> Result<(), Blocked> {
    let own = enforcer.kid();
    let held = heads.received.iter().filter_map(Head::record);
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

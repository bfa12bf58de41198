//! The enforcer's work in the background: sealing batches and publishing them.

use std::time::Duration;

use counterfoil_protocol::trust::Trust;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::enforcer::Enforcer;
use crate::error::{Blocked, EnforcerError};
use crate::publish::{LogClient, Publisher};
use crate::seal::Sealer;

/// How often a batch is sealed, and where it goes.
#[derive(Debug)]
pub struct ServiceSettings {
    /// A batch is sealed this long after the one before it, if there is anything to seal.
    pub batch_interval: Duration,
    /// The log to publish to and whom to believe about it; none to seal only.
    pub log: Option<(LogClient, Trust)>,
}

/// The running background work.
#[derive(Debug)]
pub struct Service {
    stop: watch::Sender<bool>,
    sealing: JoinHandle<()>,
    publishing: Option<JoinHandle<()>>,
}

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How long the last batch may take to be published when stopping.
const LAST_PUBLISH: Duration = Duration::from_secs(3);

impl Service {
    /// Starts the work on the current runtime.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn start(enforcer: &Enforcer, settings: ServiceSettings) -> Result<Self, EnforcerError> {
        let (stop, stopped) = watch::channel(false);
        // One place: several sealed batches need one wake-up, and none may be lost.
        let (sealed, unpublished) = mpsc::channel(1);
        let sealer = Sealer::new(enforcer.clone())?;
        let mut publishing = None;
        if let Some((client, trust)) = settings.log {
            let publisher = Publisher::new(enforcer.clone(), client, trust)?;
            publishing = Some(tokio::spawn(publish(publisher, unpublished)));
        }
        let sealing = tokio::spawn(seal(sealer, settings.batch_interval, sealed, stopped));
        Ok(Self {
            stop,
            sealing,
            publishing,
        })
    }

    /// Seals what is left, tries for a moment to publish it, and stops. What is not published then
    /// goes on at the next start.
    pub async fn stop(self) {
        // Nobody listens any more if the sealer has ended by itself.
        let _ = self.stop.send(true);
        let _ = self.sealing.await;
        if let Some(mut publishing) = self.publishing
            && tokio::time::timeout(LAST_PUBLISH, &mut publishing)
                .await
                .is_err()
        {
            publishing.abort();
        }
    }
}

async fn seal(
    mut sealer: Sealer,
    interval: Duration,
    sealed: mpsc::Sender<()>,
    mut stopped: watch::Receiver<bool>,
) {
    let enforcer = sealer.enforcer().clone();
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let stop = tokio::select! {
            _ = ticks.tick() => false,
            () = sealer.full() => false,
            _ = stopped.changed() => true,
        };
        let work = tokio::task::spawn_blocking(move || {
            let result = sealer.seal();
            (sealer, result)
        });
        let Ok((returned, result)) = work.await else {
            stop_deciding(&enforcer, "sealing ended unexpectedly");
            return;
        };
        sealer = returned;
        match result {
            Ok(0) => {}
            // A wake-up that is already waiting is enough.
            Ok(_) => drop(sealed.try_send(())),
            Err(error) => {
                stop_deciding(&enforcer, &format!("a batch could not be sealed: {error}"));
                return;
            }
        }
        if stop {
            return;
        }
    }
}

/// Records that are never sealed must not go on piling up.
fn stop_deciding(enforcer: &Enforcer, why: &str) {
    tracing::error!(why, "nothing is decided any more");
    enforcer.set_blocked(Some(Blocked::Failed(why.to_owned())));
}

async fn publish(publisher: Publisher, mut unpublished: mpsc::Receiver<()>) {
    let mut retry = FIRST_RETRY;
    let mut confirmed = false;
    let mut last = false;
    loop {
        let work = async {
            // Once is enough: after that the log knows what this process has told it.
            if !confirmed {
                publisher.confirm().await?;
                tracing::info!("the log confirms the journal");
                confirmed = true;
            }
            publisher.publish().await
        };
        let wait = match work.await {
            Ok(_) => {
                retry = FIRST_RETRY;
                None
            }
            Err(error) => {
                tracing::warn!(%error, "batches wait to be published");
                retry = (retry * 2).min(LAST_RETRY);
                Some(retry)
            }
        };
        if last {
            return;
        }
        tokio::select! {
            // The sealer has ended when nobody can wake us any more: once more, for its last batch.
            woken = unpublished.recv() => last = woken.is_none(),
            () = async { tokio::time::sleep(wait.unwrap_or_default()).await }, if wait.is_some() => {}
        }
    }
}

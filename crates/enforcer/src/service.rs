//! The enforcer's work in the background: sealing batches and publishing them.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use counterfoil_protocol::trust::Trust;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::enforcer::Enforcer;
use crate::error::{Blocked, EnforcerError};
use crate::publish::{LogClient, Publisher, begin};
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
    publishing: JoinHandle<()>,
}

/// Asks the counterparties which of our records they hold, and says why the stream is not
/// continued, if it is not.
pub type Asking = Pin<Box<dyn Future<Output = Result<(), Blocked>> + Send>>;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How long the last batch may take to be published when stopping.
const LAST_PUBLISH: Duration = Duration::from_secs(3);

impl Service {
    /// Starts the work on the current runtime. Nobody is asked but the log.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn start(enforcer: &Enforcer, settings: ServiceSettings) -> Result<Self, EnforcerError> {
        Self::start_asking(enforcer, settings, Box::pin(async { Ok(()) }))
    }

    /// Starts the work on the current runtime. The stream is continued once the log has confirmed
    /// the journal and `counterparties` have been asked.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn start_asking(
        enforcer: &Enforcer,
        settings: ServiceSettings,
        counterparties: Asking,
    ) -> Result<Self, EnforcerError> {
        let (stop, stopped) = watch::channel(false);
        // One place: several sealed batches need one wake-up, and none may be lost.
        let (sealed, unpublished) = mpsc::channel(1);
        let sealer = Sealer::new(enforcer.clone())?;
        let publishing = match settings.log {
            Some((client, trust)) => {
                let publisher = Publisher::new(enforcer.clone(), client, trust)?;
                tokio::spawn(publish(publisher, counterparties, unpublished))
            }
            None => tokio::spawn(begin_without_log(enforcer.clone(), counterparties)),
        };
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
        let mut publishing = self.publishing;
        if tokio::time::timeout(LAST_PUBLISH, &mut publishing)
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

async fn begin_without_log(enforcer: Enforcer, counterparties: Asking) {
    match counterparties.await {
        Ok(()) => {
            if let Err(error) = begin(&enforcer).await {
                stop_deciding(&enforcer, &format!("the stream was not continued: {error}"));
            }
        }
        Err(blocked) => never_continue(&enforcer, blocked),
    }
}

fn never_continue(enforcer: &Enforcer, blocked: Blocked) {
    tracing::error!(
        code = blocked.code(),
        "the stream is not continued: {}",
        blocked.detail()
    );
    enforcer.set_blocked(Some(blocked));
}

/// How far the start of a stream has come.
enum Start {
    /// The log is to be asked, then the counterparties.
    Ask(Asking),
    /// It may be continued.
    Confirmed,
    /// Records are made.
    Begun,
    /// It is not continued. What is sealed can be published all the same.
    Refused,
}

impl Start {
    async fn go_on(self, publisher: &Publisher) -> (Self, Result<(), EnforcerError>) {
        match self {
            Self::Ask(counterparties) => match publisher.ask_log().await {
                Err(error) => (Self::Ask(counterparties), Err(error)),
                Ok(()) => {
                    tracing::info!("the log confirms the journal");
                    match counterparties.await {
                        Ok(()) => Box::pin(Self::Confirmed.go_on(publisher)).await,
                        Err(blocked) => {
                            never_continue(publisher.enforcer(), blocked);
                            (Self::Refused, Ok(()))
                        }
                    }
                }
            },
            Self::Confirmed => match publisher.begin().await {
                Ok(()) => (Self::Begun, Ok(())),
                Err(error) => (Self::Confirmed, Err(error)),
            },
            done => (done, Ok(())),
        }
    }
}

async fn publish(
    publisher: Publisher,
    counterparties: Asking,
    mut unpublished: mpsc::Receiver<()>,
) {
    let mut retry = FIRST_RETRY;
    let mut start = Start::Ask(counterparties);
    let mut last = false;
    loop {
        // Once is enough: after that the log knows what this process has told it.
        let (gone_on, begun) = start.go_on(&publisher).await;
        start = gone_on;
        let published = match begun {
            Ok(()) => publisher.publish().await,
            Err(error) => Err(error),
        };
        let wait = match published {
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

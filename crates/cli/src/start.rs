//! Starts an operator's enforcer for the commands that decide calls.
//!
//! What is wrong with the configuration ends the command. What is wrong with the journal, a key,
//! the policy or the trust file does not: the gate then refuses, so that every call is denied with
//! the reason, and nothing behind it is started.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use counterfoil_durable::lock::DirectoryLock;
use counterfoil_enforcer::contract::ContractSettings;
use counterfoil_enforcer::environment::Environment;
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::publish::{self, LogClient as PublishClient};
use counterfoil_enforcer::service::{Service, ServiceSettings};
use counterfoil_enforcer::{Blocked, Enforcer, EnforcerError, Settings};
use counterfoil_gateway::GatewayError;
use counterfoil_gateway::config::Config;
use counterfoil_gateway::control;
use counterfoil_gateway::exchange::ask_counterparties;
use counterfoil_gateway::home::{Home, read_key};
use counterfoil_gateway::proxy::Gate;
use counterfoil_policy::{PolicyError, PolicySet};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::trust::Trust;
use tokio::task::JoinHandle;

use crate::answer::{OrProblem as _, Problem};
use crate::refresh::Refresh;

/// How long starting waits for the log to confirm the journal.
const CONFIRM_LIMIT: Duration = Duration::from_secs(3);
/// Between two attempts to publish what is left of retired streams.
const RETIRED_PAUSE: Duration = Duration::from_secs(60);
/// Between two looks at whether it has.
const CONFIRM_PAUSE: Duration = Duration::from_millis(5);

/// A running enforcer, or the reason why there is none.
#[derive(Debug)]
pub(crate) struct Started {
    /// What calls go through.
    pub(crate) gate: Gate,
    control: Option<control::Server>,
    background: Option<Background>,
    /// How long the first answers of the log and the counterparties may take.
    patience: Duration,
    _lock: DirectoryLock,
}

/// What goes on beside the calls.
#[derive(Debug)]
struct Background {
    service: Service,
    refreshing: JoinHandle<()>,
    retired: JoinHandle<()>,
}

impl Started {
    /// Waits for what the log and the counterparties say of the journal, for a while: whoever is
    /// told that the gateway listens expects calls to be decided, or to be denied for a reason that
    /// lasts.
    pub(crate) async fn first_answers(&self) {
        let Some(enforcer) = self.gate.enforcer() else {
            return;
        };
        let begin = Instant::now();
        while begin.elapsed() < self.patience {
            match enforcer.ready() {
                Err(EnforcerError::Blocked(
                    Blocked::LogUnconfirmed(_) | Blocked::CounterpartiesUnconfirmed(_),
                )) => tokio::time::sleep(CONFIRM_PAUSE).await,
                _ => return,
            }
        }
    }

    /// Seals what is left and closes the journal.
    pub(crate) async fn stop(self) {
        if let Some(control) = self.control {
            control.stop().await;
        }
        if let Some(background) = self.background {
            background.refreshing.abort();
            background.retired.abort();
            background.service.stop().await;
        }
        if let Some(enforcer) = self.gate.enforcer()
            && let Err(error) = enforcer.close()
        {
            tracing::error!(%error, "the journal was not closed in order");
        }
    }
}

/// Why the gate refuses: a stable code, and a detail for people.
struct Refusal {
    code: &'static str,
    detail: String,
}

impl From<EnforcerError> for Refusal {
    fn from(error: EnforcerError) -> Self {
        Self {
            code: error.code(),
            detail: error.to_string(),
        }
    }
}

impl From<GatewayError> for Refusal {
    fn from(error: GatewayError) -> Self {
        Self {
            code: error.code(),
            detail: error.to_string(),
        }
    }
}

impl From<PolicyError> for Refusal {
    fn from(error: PolicyError) -> Self {
        Self {
            code: error.code(),
            detail: format!("policy: {error}"),
        }
    }
}

/// Takes the home and starts what decides its calls, and what does what commands ask for.
pub(crate) async fn start(home: &Home, config: &Config) -> Result<Started, Problem> {
    let lock = DirectoryLock::acquire(home.directory())
        .or_next("one process at a time writes a journal: stop the other one first")?;
    let mut started = start_locked(home, config, lock).await;
    started.control = match control::Server::start(home, &started.gate) {
        Ok(control) => Some(control),
        Err(error) => {
            tracing::warn!(%error, "commands that make records do not work while this runs");
            None
        }
    };
    Ok(started)
}

/// The same for a command, which does one thing and ends. It has taken the home already.
pub(crate) async fn start_locked(home: &Home, config: &Config, lock: DirectoryLock) -> Started {
    let (gate, background) = match open(home, config).await {
        Ok((enforcer, background)) => (Gate::Open(enforcer), Some(background)),
        Err(refusal) => {
            tracing::error!(
                code = refusal.code,
                "every call is denied: {}",
                refusal.detail
            );
            let gate = Gate::Refusing {
                code: ReasonCode::literal(refusal.code),
                detail: refusal.detail,
            };
            (gate, None)
        }
    };
    Started {
        gate,
        control: None,
        background,
        patience: CONFIRM_LIMIT + config.gateway.counterparty_limit,
        _lock: lock,
    }
}

/// Opens the enforcer only to look: nothing is decided, signed or asked of the log.
pub(crate) fn look(home: &Home, config: &Config) -> Result<Enforcer, Problem> {
    let trust = crate::home::trust(home)?;
    let operators = crate::home::operators(home, &trust)?;
    let settings = settings(
        home,
        config,
        read_key(&home.enforcer_key())?,
        PolicySet::load(&home.policy())?,
        Arc::new(operators),
        &trust,
    );
    Ok(Enforcer::open_unasked(settings)?.0)
}

fn settings(
    home: &Home,
    config: &Config,
    key: SigningKey,
    policy: PolicySet,
    operators: Arc<Operators>,
    trust: &Trust,
) -> Settings {
    Settings {
        operator: config.operator.clone(),
        key,
        policy: Arc::new(policy),
        budgets: config.budgets.clone(),
        journal: home.journal(),
        keep_clear_text: config.keep_clear_text,
        freshness_millis: u64::try_from(config.gateway.freshness.as_millis()).unwrap_or(u64::MAX),
        backlog_limit: config.log.as_ref().map(|log| log.backlog_records),
        batch_records: config.batch_records,
        operators,
        contracts: ContractSettings {
            required: config.contract_required(),
            trust: Some(trust.clone()),
        },
        environment: Environment::system(),
    }
}

async fn open(home: &Home, config: &Config) -> Result<(Enforcer, Background), Refusal> {
    if home.rotation().exists() {
        return Err(Refusal {
            code: "rotation_unfinished",
            detail: format!(
                "a rotation of the enforcer key was cut short: finish it with `counterfoil \
                 operator rotate --home {}`",
                home.directory().display()
            ),
        });
    }
    let key = read_key(&home.enforcer_key())?;
    let policy = PolicySet::load(&home.policy())?;
    let trust = crate::home::trust(home).map_err(|problem| Refusal {
        code: "trust_unusable",
        detail: problem.to_string(),
    })?;
    let refresh = Refresh::new(home, config, &trust);
    refresh.at_start().await;
    let client = config
        .log
        .as_ref()
        .map(|log| PublishClient::new(log.url.as_str()))
        .transpose()?;
    let operators = Arc::clone(refresh.operators());
    let (enforcer, report) =
        Enforcer::open_unasked(settings(home, config, key, policy, operators, &trust))?;
    tracing::info!(
        operator = %config.operator,
        key = %enforcer.kid(),
        records = report.records,
        "the journal is open"
    );
    if report.unresolved > 0 {
        tracing::warn!(
            calls = report.unresolved,
            "an earlier run left calls without an outcome; nobody knows what became of them"
        );
    }
    refresh.check_own_key(&enforcer);
    let log = client.map(|client| (client, trust));
    let retired = tokio::spawn(publish_retired(home.retired_journals()?, log.clone()));
    let settings = ServiceSettings {
        batch_interval: config.batch_interval,
        log,
    };
    let asking = ask_counterparties(
        enforcer.clone(),
        config.gateway.counterparty_limit,
        config.gateway.silent_counterparties,
    );
    let service = Service::start_asking(&enforcer, settings, Box::pin(asking))?;
    let refreshing = tokio::spawn(refresh.keep_up(enforcer.clone()));
    Ok((
        enforcer,
        Background {
            service,
            refreshing,
            retired,
        },
    ))
}

/// Publishes what is sealed and not logged of retired streams.
async fn publish_retired(mut journals: Vec<PathBuf>, log: Option<(PublishClient, Trust)>) {
    let Some((client, trust)) = log else { return };
    loop {
        let mut left = Vec::new();
        for journal in journals {
            match publish::publish_retired(&journal, &client, &trust).await {
                Ok(0) => {}
                Ok(batches) => tracing::info!(
                    journal = %journal.display(),
                    batches,
                    "batches of a retired stream are published"
                ),
                Err(error) => {
                    tracing::warn!(
                        journal = %journal.display(),
                        %error,
                        "batches of a retired stream wait to be published"
                    );
                    left.push(journal);
                }
            }
        }
        if left.is_empty() {
            return;
        }
        journals = left;
        tokio::time::sleep(RETIRED_PAUSE).await;
    }
}

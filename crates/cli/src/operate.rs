//! Commands that make records, or ask how things stand: through the running gateway, or without
//! one through the enforcer of the home itself.
//!
//! Both run the same function, an `Operation` of the gateway crate.

use std::time::{Duration, Instant};

use counterfoil_durable::lock::DirectoryLock;
use counterfoil_gateway::control::{Asked, ControlError, Operated, Operation, ask};
use counterfoil_gateway::home::Home;
use counterfoil_gateway::proxy::Gate;

use crate::answer::{OrProblem as _, Problem};
use crate::home::config;
use crate::serve::runtime;
use crate::start::{look, start_locked};

/// How long a command waits for another one that has the home, or for a gateway that starts.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Does one thing.
pub(crate) fn operate<O: Operation>(home: &Home, operation: O) -> Result<O::Answer, Problem> {
    runtime()?.block_on(operate_within(home, operation))
}

/// The same, where a runtime is there already.
pub(crate) async fn operate_within<O: Operation>(
    home: &Home,
    operation: O,
) -> Result<O::Answer, Problem> {
    let config = config(home)?;
    let begin = Instant::now();
    loop {
        if let Asked::Running(answer) = ask(home, &operation).await.map_err(problem)? {
            return Ok(answer);
        }
        let lock = match DirectoryLock::acquire(home.directory()) {
            Ok(lock) => lock,
            Err(counterfoil_durable::Error::InUse { .. }) if begin.elapsed() < LOCK_LIMIT => {
                tokio::time::sleep(LOCK_PAUSE).await;
                continue;
            }
            Err(error) => {
                return Err(error)
                    .or_next("it does not answer on `control.sock` of the home: stop it first");
            }
        };
        if !O::WRITES {
            let enforcer = look(home, &config)?;
            let operated = Operated {
                enforcer,
                home: home.clone(),
            };
            let answer = operation.run(&operated).await;
            operated.enforcer.close()?;
            drop(lock);
            return answer.map_err(problem);
        }
        let started = start_locked(home, &config, lock).await;
        started.first_answers().await;
        let answer = match &started.gate {
            Gate::Open(enforcer) => {
                let operated = Operated {
                    enforcer: enforcer.clone(),
                    home: home.clone(),
                };
                match enforcer.ready() {
                    Ok(()) => operation.run(&operated).await,
                    Err(error) => Err(error.into()),
                }
            }
            Gate::Refusing { code, detail } => Err(ControlError::new(code.as_str(), detail)),
        };
        // What was recorded is sealed and published before the command ends.
        started.stop().await;
        return answer.map_err(problem);
    }
}

fn problem(error: ControlError) -> Problem {
    let problem = Problem::new(format!("{} ({})", error.detail, error.code));
    match error.next {
        Some(next) => problem.next(next),
        None => problem,
    }
}

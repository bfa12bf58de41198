//! `counterfoil gateway`: decides calls and serves receipts over HTTP.

use clap::{Args, Subcommand};
use counterfoil_gateway::serve::{self as listener, STOP_LIMIT};

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::home::{HomeArgument, config};
use crate::{serve, start};

#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// Run the gateway.
    Serve(Serve),
}

/// Run the gateway: MCP at `/mcp/<server>`, HTTP APIs at `/http/<server>/`, A2A agents at
/// `/a2a/<server>`, and the exchange API for other operators.
///
/// Servers, agents and budgets are in operator.toml, policies in the folder `policy`. It prints one
/// line when it listens. If the journal, a key or the policy cannot be used it starts nevertheless,
/// and denies every call with the reason.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  counterfoil gateway serve --home acme")]
pub(crate) struct Serve {
    #[command(flatten)]
    home: HomeArgument,
}

pub(crate) fn run(command: &Gateway, json: bool) -> Result<Answer, Problem> {
    match command {
        Gateway::Serve(command) => serve::runtime()?.block_on(run_gateway(command, json)),
    }
}

async fn run_gateway(command: &Serve, json: bool) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let config = config(&home)?;
    let started = start::start(&home, &config).await?;
    let gateway = listener::Gateway::bind(&config, started.gate.clone(), Some(&home.manifests()))
        .await
        .or_next("change `listen` in operator.toml, or stop who listens there")?;
    let end = serve::asked_to_end()?;
    let address = gateway.address();
    // Answered from the start on: other operators that start at the same time ask us.
    let serving = gateway.serve(end, STOP_LIMIT);
    tokio::pin!(serving);
    let ended = tokio::select! {
        served = &mut serving => Some(served),
        () = started.first_answers() => None,
    };
    let served = match ended {
        Some(served) => served,
        None => {
            serve::announce(address, json)?;
            serving.await
        }
    };
    started.stop().await;
    served?;
    Ok(Answer::silent())
}

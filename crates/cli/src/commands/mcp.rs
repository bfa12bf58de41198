//! `counterfoil mcp`: the gateway in front of one MCP server, on standard input and output.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use counterfoil_gateway::config::{Config, Protocol, Server, Upstream};
use counterfoil_gateway::exchange::Errands;
use counterfoil_gateway::proxy::{Caller, Direction, Proxy};
use counterfoil_gateway::stdio::{Command, Limits, bridge, wrap};
use counterfoil_protocol::names::{AgentName, ServerName, SessionName};

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::home::{HomeArgument, config};
use crate::{serve, start};

/// How long a server may take to end after its input was closed.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// Put the gateway in front of an MCP server, on standard input and output.
///
/// This is the one line to change in an agent's configuration: it starts the server's own command,
/// decides every call of the agent, and records it. Without a command, the server is one of
/// operator.toml, which may stand behind another operator's gateway.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil mcp --home acme -- node server.js
  counterfoil mcp --home acme --agent support-bot --server desk")]
pub(crate) struct Mcp {
    #[command(flatten)]
    home: HomeArgument,
    /// Who the agent is. By default the only agent of operator.toml, or `agent`.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// What the server is called in policies and records. By default the only server of
    /// operator.toml, or `local` with a command.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// The command that runs the server.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(command: &Mcp) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let config = config(&home)?;
    let agent = agent(command, &config)?;
    let server = server(command, &config)?;
    let runtime = serve::runtime()?;
    let started = runtime.block_on(async {
        let started = start::start(&home, &config).await?;
        started.first_answers().await;
        Ok::<_, Problem>(started)
    })?;
    let proxy = Proxy::new(
        started.gate.clone(),
        server.name.clone(),
        server.direction.clone(),
        Caller {
            agent,
            session: Some(session()?),
        },
        config.gateway.message_bytes,
    )
    .with_evidence_limit(config.gateway.evidence_limit);
    let limits = Limits {
        call: config.gateway.call_limit,
        exit: EXIT_LIMIT,
    };
    let errands = match (&server.direction, started.gate.enforcer()) {
        (Direction::Outgoing(_), Some(enforcer)) => {
            let _inside = runtime.enter();
            Some(Errands::start(enforcer.clone()).0)
        }
        _ => None,
    };
    let proxy = Arc::new(proxy.with_errands(errands));
    let (agent_in, agent_out) = (io::stdin(), io::stdout());
    let ended = match &server.upstream {
        Upstream::Command(program) => wrap(proxy, program, agent_in, agent_out, limits)
            .or_next("check the command after `--`, or `command` in operator.toml"),
        Upstream::Url(url) => {
            let handle = runtime.handle();
            bridge(proxy, url, handle, agent_in, agent_out, limits)
                .or_next("check `url` in operator.toml")
        }
    };
    runtime.block_on(started.stop());
    ended.map(|_| Answer::silent())
}

fn agent(command: &Mcp, config: &Config) -> Result<AgentName, Problem> {
    let name = match (&command.agent, config.agents.as_slice()) {
        (Some(name), _) => name.as_str(),
        (None, [only]) => return Ok(only.name.clone()),
        (None, []) => "agent",
        (None, _) => {
            return Err(Problem::new("operator.toml lists several agents")
                .next("say which one this is with --agent"));
        }
    };
    Ok(AgentName::new(name)?)
}

fn server(command: &Mcp, config: &Config) -> Result<Server, Problem> {
    if let Some(program) = Command::new(command.command.iter().cloned()) {
        let name = command.server.as_deref().unwrap_or("local");
        return Ok(Server {
            contract_required: false,
            name: ServerName::new(name)?,
            direction: Direction::Local,
            protocol: Protocol::Mcp,
            upstream: Upstream::Command(program),
        });
    }
    let next = "name the command after `--`, or a server of operator.toml with --server";
    let server = match (&command.server, config.servers.as_slice()) {
        (Some(name), _) => config.server(name).or_next(next)?.clone(),
        (None, [only]) => only.clone(),
        (None, _) => return Err(Problem::new("which server?").next(next)),
    };
    if server.direction == Direction::Incoming {
        return Err(Problem::new(format!(
            "server `{}` is called by other operators, over HTTP",
            server.name
        ))
        .next("counterfoil gateway serve"));
    }
    if server.protocol != Protocol::Mcp {
        return Err(Problem::new(format!(
            "server `{}` does not speak MCP: agents call it over HTTP",
            server.name
        ))
        .next("counterfoil gateway serve"));
    }
    Ok(server)
}

/// A name for this run, so that its records can be told from those of others.
fn session() -> Result<SessionName, Problem> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).at("no randomness")?;
    let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(SessionName::new(name)?)
}

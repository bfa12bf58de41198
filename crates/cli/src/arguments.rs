//! The command line: a noun, then a verb.

use clap::{Parser, Subcommand};

use crate::commands;

/// Receipts for what AI agents do, that convince the other side.
///
/// Two operators, each with an enforcer in front of its agents or tools: every call is decided
/// before it runs, every decision leaves a signed record, and a public log fixes it in time. Start
/// with `counterfoil demo`.
#[derive(Debug, Parser)]
#[command(
    name = "counterfoil",
    version,
    max_term_width = 100,
    propagate_version = true
)]
#[command(after_help = "\
Exit codes: 0 done or verified, 1 not verified, 2 wrong usage or input.
RUST_LOG filters what is logged to standard error, for example RUST_LOG=debug.")]
pub(crate) struct Arguments {
    /// Print JSON for machines instead of text for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See everything at work: two operators, a log, witnesses, an agent, receipts.
    Demo(commands::demo::Demo),
    /// Make the home of an operator: keys, configuration, sample policy, journal, manifest.
    Init(commands::init::Init),
    /// This operator's manifest, and those of others.
    #[command(subcommand)]
    Operator(commands::operator::Operator),
    /// The gateway that decides calls and serves receipts over HTTP.
    #[command(subcommand)]
    Gateway(commands::gateway::Gateway),
    /// Put the gateway in front of an MCP server on standard input and output.
    Mcp(commands::mcp::Mcp),
    /// What passes between this operator and others.
    #[command(subcommand)]
    Channel(commands::channel::Channel),
    /// Contracts with other operators: what may be asked for, and with which evidence.
    #[command(subcommand)]
    Contract(commands::contract::Contract),
    /// Get receipts, and look into them.
    #[command(subcommand)]
    Receipt(commands::receipt::Receipt),
    /// Bundles of evidence: export, verify, reconcile, replay.
    #[command(subcommand)]
    Evidence(commands::evidence::Evidence),
    /// Faults: proofs that convict whoever signed what they are made of.
    #[command(subcommand)]
    Fault(commands::fault::Fault),
    /// Verify receipts against a trust file, offline, and explain every step.
    Verify(commands::verify::Verify),
    /// Evidence from elsewhere that records refer to.
    #[command(subcommand)]
    Attestation(commands::attestation::Attestation),
    /// The journal of an operator's enforcer.
    #[command(subcommand)]
    Journal(commands::journal::Journal),
    /// A transparency log.
    #[command(subcommand)]
    Log(commands::log::Log),
    /// A witness, which cosigns the checkpoints of logs.
    #[command(subcommand)]
    Witness(commands::witness::Witness),
    /// Print completions for a shell.
    Completions(commands::completions::Completions),
}

impl Command {
    /// Whether the command keeps running and is expected to log.
    pub(crate) const fn serves(&self) -> bool {
        matches!(
            self,
            Self::Gateway(_)
                | Self::Log(commands::log::Log::Serve(_))
                | Self::Witness(commands::witness::Witness::Serve(_))
        )
    }
}

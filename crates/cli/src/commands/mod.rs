//! The commands, one file each.

pub(crate) mod attestation;
pub(crate) mod channel;
pub(crate) mod completions;
pub(crate) mod contract;
pub(crate) mod demo;
pub(crate) mod evidence;
pub(crate) mod fault;
pub(crate) mod gateway;
pub(crate) mod init;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod mcp;
pub(crate) mod operator;
pub(crate) mod receipt;
pub(crate) mod verify;
pub(crate) mod witness;

use crate::answer::{Answer, Problem};
use crate::arguments::{Arguments, Command};

/// Runs the command that was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<Answer, Problem> {
    let json = arguments.json;
    match &arguments.command {
        Command::Attestation(command) => attestation::run(command),
        Command::Channel(command) => channel::run(command),
        Command::Completions(command) => completions::run(command),
        Command::Contract(command) => contract::run(command),
        Command::Demo(command) => demo::run(command, json),
        Command::Evidence(command) => evidence::run(command),
        Command::Fault(command) => fault::run(command),
        Command::Gateway(command) => gateway::run(command, json),
        Command::Init(command) => init::run(command),
        Command::Journal(command) => journal::run(command),
        Command::Log(command) => log::run(command, json),
        Command::Mcp(command) => mcp::run(command),
        Command::Operator(command) => operator::run(command),
        Command::Receipt(command) => receipt::run(command),
        Command::Verify(command) => verify::run(command),
        Command::Witness(command) => witness::run(command, json),
    }
}

//! The commands, one file each.

pub(crate) mod completions;
pub(crate) mod init;
pub(crate) mod journal;
pub(crate) mod log;
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
        Command::Completions(command) => completions::run(command),
        Command::Init(command) => init::run(command),
        Command::Journal(command) => journal::run(command),
        Command::Log(command) => log::run(command, json),
        Command::Operator(command) => operator::run(command),
        Command::Receipt(command) => receipt::run(command),
        Command::Verify(command) => verify::run(command),
        Command::Witness(command) => witness::run(command, json),
    }
}

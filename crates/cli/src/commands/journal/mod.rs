//! `counterfoil journal`: the records of an operator's enforcer.

mod list;
mod show;
mod verify;

use clap::Subcommand;

use crate::answer::{Answer, Problem};

#[derive(Debug, Subcommand)]
pub(crate) enum Journal {
    /// List the records, one line each.
    List(list::List),
    /// Show one record with everything that is known of it.
    Show(show::Show),
    /// Check that no record was changed, cut off or left out.
    Verify(verify::Verify),
}

pub(crate) fn run(command: &Journal) -> Result<Answer, Problem> {
    match command {
        Journal::List(command) => list::run(command),
        Journal::Show(command) => show::run(command),
        Journal::Verify(command) => verify::run(command),
    }
}

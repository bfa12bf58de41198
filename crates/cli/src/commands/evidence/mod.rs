//! `counterfoil evidence`: bundles of evidence, and what two of them say together.

mod export;
mod received;
mod reconcile;
mod replay;
mod verify;

use clap::Subcommand;

use crate::answer::{Answer, Problem};

#[derive(Debug, Subcommand)]
pub(crate) enum Evidence {
    /// Write many records with their shared proofs into one file.
    Export(export::Export),
    /// Verify a bundle against a trust file, offline.
    Verify(verify::Verify),
    /// Find out where the two halves of the evidence differ.
    Reconcile(reconcile::Reconcile),
    /// Decide again what was decided, and say whether the recorded verdicts follow.
    Replay(replay::Replay),
}

pub(crate) fn run(command: &Evidence) -> Result<Answer, Problem> {
    match command {
        Evidence::Export(command) => export::run(command),
        Evidence::Verify(command) => verify::run(command),
        Evidence::Reconcile(command) => reconcile::run(command),
        Evidence::Replay(command) => replay::run(command),
    }
}

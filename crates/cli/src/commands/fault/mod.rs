//! `counterfoil fault`: proofs that convict whoever signed what they are made of.

mod prove;
mod show;
mod verify;

use clap::Subcommand;

use crate::answer::{Answer, Problem};

#[derive(Debug, Subcommand)]
pub(crate) enum Fault {
    /// Look for faults in evidence, and write the proofs.
    Prove(prove::Prove),
    /// Verify a fault proof against a trust file, offline, and explain every step.
    Verify(verify::Verify),
    /// Look into a fault proof without verifying it.
    Show(show::Show),
}

pub(crate) fn run(command: &Fault) -> Result<Answer, Problem> {
    match command {
        Fault::Prove(command) => prove::run(command),
        Fault::Verify(command) => verify::run(command),
        Fault::Show(command) => show::run(command),
    }
}

//! `counterfoil attestation`: evidence from elsewhere that records refer to.

mod digest;
mod kind;

use clap::Subcommand;

use crate::answer::{Answer, Problem};

#[derive(Debug, Subcommand)]
pub(crate) enum Attestation {
    /// Print the member by which a call or a result refers to a file.
    Digest(digest::Digest),
}

pub(crate) fn run(command: &Attestation) -> Result<Answer, Problem> {
    match command {
        Attestation::Digest(command) => digest::run(command),
    }
}

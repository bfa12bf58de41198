//! `counterfoil receipt`: gets receipts and looks into them.

mod export;
mod get;
mod present;
mod redact;
mod show;

use clap::Subcommand;

use crate::answer::{Answer, Problem};

#[derive(Debug, Subcommand)]
pub(crate) enum Receipt {
    /// Get receipts of our own records, or of another operator's from that operator.
    Get(get::Get),
    /// Take disclosures out of a receipt.
    Redact(redact::Redact),
    /// Bind a receipt to one audience.
    Present(present::Present),
    /// Export a receipt for those who verify COSE receipts or SCITT statements.
    Export(export::Export),
    /// Look into a receipt without verifying it.
    Show(show::Show),
}

pub(crate) fn run(command: &Receipt) -> Result<Answer, Problem> {
    match command {
        Receipt::Export(command) => export::run(command),
        Receipt::Get(command) => get::run(command),
        Receipt::Redact(command) => redact::run(command),
        Receipt::Present(command) => present::run(command),
        Receipt::Show(command) => show::run(command),
    }
}

//! `counterfoil receipt show`: what a receipt says, not verified.

use std::path::PathBuf;

use clap::Args;
use counterfoil_durable::file;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_tlog::tlog_proof::TlogProof;
use serde_json::{Value, json};

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::show;

/// Look into a receipt without verifying it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  counterfoil receipt show 12.receipt")]
pub(crate) struct Show {
    /// The receipt.
    #[arg(value_name = "FILE")]
    receipt: PathBuf,
}

pub(crate) fn run(command: &Show) -> Result<Answer, Problem> {
    let path = command.receipt.display();
    let bytes = file::read(&command.receipt)?;
    let receipt = Receipt::parse(&bytes).at(format!("{path} is not a receipt"))?;
    let record = UnverifiedRecord::parse(&receipt.record).at(format!("{path}: the record"))?;
    let content = record.unverified_content();
    let proof = receipt
        .log_proof
        .as_deref()
        .and_then(|proof| TlogProof::parse(proof).ok());
    let disclosures: Vec<Value> = receipt
        .disclosures
        .iter()
        .map(|disclosure| {
            json!({
                "field": disclosure.field.name(),
                "bytes": disclosure.content.len(),
                "text": String::from_utf8(disclosure.content.clone()).ok(),
            })
        })
        .collect();
    let parts = json!({
        "bytes": bytes.len(),
        "manifests": receipt.manifests.len(),
        "manifests_logged": receipt.manifests.iter().filter(|m| m.log_proof.is_some()).count(),
        "commitment": receipt.batch.is_some(),
        "log_proof": proof.as_ref().map(|proof| json!({
            "log": proof.checkpoint().origin().as_str(),
            "index": proof.index(),
            "size": proof.checkpoint().size(),
        })),
        "beacon": receipt.beacon.is_some(),
        "disclosures": disclosures,
    });
    let value = json!({
        "verified": null,
        "record": show::record(record.id(), record.issuer(), record.kid(), content),
        "receipt": parts,
    });
    let text = format!(
        "{path}: NOT VERIFIED, this is only what the file says\n\
         record {} of {}: {}\n{}\nnext:\n  counterfoil verify {path} --trust <trust file>\n",
        content.sequence,
        record.issuer(),
        show::summary(content),
        show::lines(&value, 2),
    );
    Ok(Answer::good(value, text))
}

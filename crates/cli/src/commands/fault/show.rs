//! `counterfoil fault show`: what a fault proof says, not verified.

use std::path::PathBuf;

use clap::Args;
use counterfoil_durable::file;
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::contract::ContractFile;
use counterfoil_protocol::fault::{FaultProof, Statement};
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_tlog::checkpoint::Checkpoint;
use counterfoil_tlog::note::Note;
use counterfoil_tlog::tlog_proof::TlogProof;
use serde_json::{Value, json};

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::show;

/// Look into a fault proof without verifying it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  counterfoil fault show globex.example.stream_fork.fault")]
pub(crate) struct Show {
    /// The fault proof.
    #[arg(value_name = "FILE")]
    proof: PathBuf,
}

pub(crate) fn run(command: &Show) -> Result<Answer, Problem> {
    let path = command.proof.display();
    let bytes = file::read(&command.proof)?;
    let proof = FaultProof::parse(&bytes).at(format!("{path} is not a fault proof"))?;
    let statements = proof
        .statements
        .iter()
        .map(statement)
        .collect::<Result<Vec<_>, _>>()
        .at(path.to_string())?;
    let value = json!({
        "kind": proof.kind.as_str(),
        "number": proof.kind.number(),
        "class": proof.kind.class().as_str(),
        "says": proof.kind.sentence().trim(),
        "accused": proof.accused.to_string(),
        "bytes": bytes.len(),
        "manifests": proof.manifests.len(),
        "statements": statements,
    });
    let text = format!(
        "{}\nnot verified: counterfoil fault verify {path} --trust TRUST\n",
        show::lines(&value, 0)
    );
    Ok(Answer::good(value, text))
}

fn statement(statement: &Statement) -> Result<Value, Problem> {
    Ok(match statement {
        Statement::Record(receipt) => json!({ "record": record(&receipt.record)? }),
        Statement::Request(bytes) => json!({ "request": record(bytes)? }),
        Statement::Receipt(bytes) => {
            json!({ "receipt": record(&Receipt::parse(bytes)?.record)? })
        }
        Statement::Commitment(logged) => {
            let commitment = UnverifiedCommitment::parse(&logged.commitment)?;
            let content = commitment.unverified_content();
            json!({ "commitment": {
                "operator": commitment.issuer().as_str(),
                "key": commitment.kid().to_string(),
                "number": content.number.get(),
                "first": content.first.get(),
                "count": content.count,
                "root": content.root.to_string(),
                "logged": logged.log_proof.is_some(),
            }})
        }
        Statement::Leaf { hash, path } => json!({ "leaf": {
            "hash": hash.to_string(),
            "path": path.len(),
        }}),
        Statement::Manifest(bytes) => {
            let manifest = UnverifiedManifest::parse(bytes)?;
            json!({ "manifest": {
                "operator": manifest.operator().as_str(),
                "version": manifest.version().get(),
                "bytes": bytes.len(),
            }})
        }
        Statement::Checkpoint(note) => {
            json!({ "checkpoint": checkpoint(&Checkpoint::parse(Note::parse(note)?.text())?) })
        }
        Statement::Entry { entry, log_proof } => {
            let proof = TlogProof::parse(log_proof)?;
            json!({ "entry": {
                "bytes": entry.len(),
                "index": proof.index(),
                "checkpoint": checkpoint(proof.checkpoint()),
            }})
        }
        Statement::Contract(bytes) => {
            let contract = ContractFile::parse(bytes)?;
            json!({ "contract": {
                "digest": contract.terms.digest().to_string(),
                "accepted": contract.acceptance.is_some(),
                "ended": contract.end.is_some(),
            }})
        }
    })
}

fn record(bytes: &[u8]) -> Result<Value, Problem> {
    let record = UnverifiedRecord::parse(bytes)?;
    Ok(show::record(
        record.id(),
        record.issuer(),
        record.kid(),
        record.unverified_content(),
    ))
}

fn checkpoint(checkpoint: &Checkpoint) -> Value {
    json!({
        "log": checkpoint.origin().as_str(),
        "size": checkpoint.size(),
        "root": checkpoint.root().to_string(),
    })
}

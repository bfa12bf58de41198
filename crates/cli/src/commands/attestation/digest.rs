//! `counterfoil attestation digest`: how a record refers to a file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use counterfoil_durable::file;
use counterfoil_gateway::message::attestations::{self, ATTESTATIONS_KEY};
use counterfoil_protocol::attestation::{Attestation, DigestAlgorithm};
use serde_json::{Value, json};

use super::kind;
use crate::answer::{Answer, OrProblem as _, Problem};

/// Print the member by which a call or a result refers to a file.
///
/// Evidence of others stays with them: a record names its kind, its digest and where it can be had.
/// An agent puts what is printed into `params._meta` of its call, a tool into `_meta` of its result;
/// several files are several entries of the list. The gateway reads it there and puts it into the
/// record that it signs. Nobody verifies the file; `counterfoil verify --attestation` only compares
/// digests.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil attestation digest build.intoto.json --kind in-toto
  counterfoil attestation digest reserve.json --kind cycles-evidence \\
    --location https://cycles.example/v1/evidence/8403
  counterfoil attestation digest payment.pdf --kind application/pdf --algorithm sha-512")]
pub(crate) struct Digest {
    /// The evidence. Its bytes count exactly as they are.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is: `in-toto` (a DSSE envelope or a bare statement), `cycles-evidence` (a
    /// CyclesEvidence envelope), or any media type or URI. Of the first two the form is checked.
    #[arg(long, value_name = "KIND")]
    kind: String,
    /// Where others can get it.
    #[arg(long, value_name = "URI")]
    location: Option<String>,
    /// The digest algorithm.
    #[arg(long, value_name = "ALGORITHM", default_value = "sha-256")]
    algorithm: AlgorithmName,
}

/// The digest algorithms of attestations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AlgorithmName {
    /// SHA-256.
    #[value(name = "sha-256")]
    Sha256,
    /// SHA-384.
    #[value(name = "sha-384")]
    Sha384,
    /// SHA-512.
    #[value(name = "sha-512")]
    Sha512,
}

impl From<AlgorithmName> for DigestAlgorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Sha256 => Self::Sha256,
            AlgorithmName::Sha384 => Self::Sha384,
            AlgorithmName::Sha512 => Self::Sha512,
        }
    }
}

pub(crate) fn run(command: &Digest) -> Result<Answer, Problem> {
    let path = command.file.display();
    let evidence = file::read(&command.file)?;
    let attestation = Attestation {
        kind: kind::of(&command.kind, &evidence).at(path)?,
        digest: DigestAlgorithm::from(command.algorithm).digest(&evidence),
        location: command
            .location
            .as_deref()
            .map(attestations::location)
            .transpose()?,
    };
    let list = attestations::encode(&[attestation]);
    let value: Value = serde_json::from_str(&list)?;
    let text = format!("\"{ATTESTATIONS_KEY}\":{list}\n");
    Ok(Answer::good(json!({ ATTESTATIONS_KEY: value }), text))
}

//! `counterfoil receipt present`: binds a receipt to one audience.

use std::path::PathBuf;

use clap::Args;
use counterfoil_durable::file::{self, Access};
use counterfoil_enforcer::environment::Environment;
use counterfoil_gateway::home::read_key;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::presentation::Presentation;
use counterfoil_protocol::receipt::{PresentationPart, Receipt};
use counterfoil_protocol::record::UnverifiedRecord;
use serde_json::json;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::home::{HomeArgument, config, own_manifests};

/// Bind a receipt, with all that it discloses, to one audience.
///
/// The audience can then demand that what it is shown was meant for it, and whoever is shown it by
/// somebody else sees that it was not. Our enforcer key signs for it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil receipt present 12.receipt --home acme --audience auditor.example --out to.receipt
  counterfoil verify to.receipt --trust trust --audience auditor.example")]
pub(crate) struct Present {
    #[command(flatten)]
    home: HomeArgument,
    /// The receipt: one of our own records, or of another operator's.
    #[arg(value_name = "FILE")]
    receipt: PathBuf,
    /// The operator that it is presented to.
    #[arg(long, value_name = "OPERATOR")]
    audience: String,
    /// What the audience asked to be repeated: 32 hexadecimal digits.
    #[arg(long, value_name = "HEX", value_parser = nonce)]
    nonce: Option<[u8; 16]>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn nonce(text: &str) -> Result<[u8; 16], String> {
    let wrong = || "not 32 hexadecimal digits".to_owned();
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let number = u128::from_str_radix(text, 16).map_err(|_| wrong())?;
    Ok(number.to_be_bytes())
}

pub(crate) fn run(command: &Present) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let presenter = config(&home)?.operator;
    let audience = OperatorName::new(command.audience.as_str())?;
    let path = command.receipt.display();
    let bytes = file::read(&command.receipt).or_next("name a receipt")?;
    let mut receipt = Receipt::parse(&bytes).at(format!("{path} is not a receipt"))?;
    let record = UnverifiedRecord::parse(&receipt.record).at(format!("{path}: the record"))?;
    // The receipt has the manifests of the record's operator already.
    let manifests = if *record.issuer() == presenter {
        Vec::new()
    } else {
        own_manifests(&home)?
    };
    let key = read_key(&home.enforcer_key())?;
    let presentation = Presentation {
        presenter: presenter.clone(),
        audience: audience.clone(),
        receipt: receipt.digest(),
        time: Environment::system().clock.now(),
        nonce: command.nonce,
    };
    receipt.presentation = Some(PresentationPart {
        presentation: presentation.sign(&key),
        manifests,
    });
    file::replace(&command.out, &receipt.encode(), Access::Everyone)?;
    Ok(Answer::good(
        json!({
            "file": command.out,
            "presenter": presenter.as_str(),
            "audience": audience.as_str(),
        }),
        format!(
            "{}: presented by {presenter} to {audience}\n\nnext:\n  counterfoil verify {} --audience \
             {audience} --trust TRUST\n",
            command.out.display(),
            command.out.display()
        ),
    ))
}

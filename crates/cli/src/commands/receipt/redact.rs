//! `counterfoil receipt redact`: takes disclosures out of a receipt.

use std::path::PathBuf;

use clap::Args;
use counterfoil_durable::file::{self, Access};
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::receipt::Receipt;
use serde_json::json;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::disclosed::Field;

/// Take disclosures out of a receipt. What is left verifies as before, and says what is hidden.
///
/// Nothing that is left lets anybody guess what was taken out: the record holds digests with a salt
/// of 128 bits, and the salt goes with the disclosure. A presentation to an audience covers what was
/// disclosed, so it is taken out too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil receipt redact 12.receipt --hide on-behalf-of,session --out public.receipt
  counterfoil receipt redact 12.receipt --keep parameters --out public.receipt
  counterfoil receipt redact 12.receipt --hide all --out public.receipt")]
pub(crate) struct Redact {
    /// The receipt.
    #[arg(value_name = "FILE")]
    receipt: PathBuf,
    /// Hide everything but these fields.
    #[arg(
        long,
        value_name = "FIELDS",
        value_delimiter = ',',
        conflicts_with = "hide"
    )]
    keep: Vec<Field>,
    /// Hide these fields.
    #[arg(
        long,
        value_name = "FIELDS",
        value_delimiter = ',',
        required_unless_present = "keep"
    )]
    hide: Vec<Field>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(command: &Redact) -> Result<Answer, Problem> {
    let path = command.receipt.display();
    let bytes = file::read(&command.receipt).or_next("name a receipt")?;
    let receipt = Receipt::parse(&bytes).at(format!("{path} is not a receipt"))?;
    let hide = if command.keep.is_empty() {
        Field::list(&command.hide)
    } else {
        let keep = Field::list(&command.keep);
        let mut others = DisclosedField::ALL.to_vec();
        others.retain(|field| !keep.contains(field));
        others
    };
    let presented = receipt.presentation.is_some();
    let disclosed = receipt.disclosures.len();
    let redacted = receipt.redact(&hide);
    let names = |fields: Vec<DisclosedField>| -> Vec<&'static str> {
        fields.iter().map(|field| field.name()).collect()
    };
    let open = names(redacted.disclosures.iter().map(|one| one.field).collect());
    let hidden = names(redacted.hidden().at(format!("{path}: the record"))?);
    let taken = disclosed.saturating_sub(redacted.disclosures.len());
    let unbound = presented && redacted.presentation.is_none();
    file::replace(&command.out, &redacted.encode(), Access::Everyone)?;
    let list = |names: &[&str]| match names {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    };
    let mut text = format!(
        "{}: {taken} disclosures are taken out\n  disclosed  {}\n  hidden     {}\n",
        command.out.display(),
        list(&open),
        list(&hidden)
    );
    if unbound {
        text.push_str("  it was bound to an audience, and is not any more\n");
    }
    Ok(Answer::good(
        json!({
            "file": command.out,
            "taken_out": taken,
            "disclosed": open,
            "hidden": hidden,
            "presentation_taken_out": unbound,
        }),
        text,
    ))
}

//! `counterfoil journal show`: one record with everything that is known of it.

use clap::Args;
use counterfoil_enforcer::journal::Opening;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::record::UnverifiedRecord;
use serde_json::{Value, json};

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::home::{HomeArgument, StreamArgument};
use crate::show;

/// Show one record with everything that is known of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil journal show --home acme 12
  counterfoil journal show --home acme 5b1f3c… --json")]
pub(crate) struct Show {
    #[command(flatten)]
    home: HomeArgument,
    #[command(flatten)]
    stream: StreamArgument,
    /// The sequence of the record, or its id.
    #[arg(value_name = "RECORD")]
    record: String,
}

pub(crate) fn run(command: &Show) -> Result<Answer, Problem> {
    let next = "`counterfoil journal list` shows which records there are";
    let reader = command.stream.open(&command.home.layout())?;
    let sequence = match command.record.parse() {
        Ok(number) => Sequence::new(number),
        Err(_) => {
            let id = RecordId::from_hex(&command.record)
                .at("neither a sequence nor a record id")
                .or_next(next)?;
            reader.sequence_of(id).or_next(next)?
        }
    };
    let (bytes, openings) = reader.record(sequence).or_next(next)?;
    let record = UnverifiedRecord::parse(&bytes)?;
    let batch = reader.batch_of(sequence)?;
    let value = json!({
        "record": show::record(
            record.id(),
            record.issuer(),
            record.kid(),
            record.unverified_content(),
        ),
        "bytes": bytes.len(),
        "kept": openings.iter().map(opening).collect::<Vec<_>>(),
        "batch": batch.map(|batch| json!({
            "number": batch.number.get(),
            "first": batch.first.get(),
            "count": batch.count,
            "logged": batch.log_proof.is_some(),
        })),
    });
    let text = show::lines(&value, 0);
    Ok(Answer::good(value, text))
}

fn opening(opening: &Opening) -> Value {
    json!({
        "field": opening.field.name(),
        "content": opening
            .content
            .as_ref()
            .map_or("not kept in clear".into(), |content| {
                String::from_utf8_lossy(content)
            }),
    })
}

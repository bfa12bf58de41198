//! `counterfoil journal list`: the records, one line each.

use clap::Args;
use counterfoil_enforcer::journal::{BatchRow, JournalReader};
use counterfoil_protocol::numbers::{BatchNumber, Sequence};
use counterfoil_protocol::record::UnverifiedRecord;
use serde_json::{Value, json};

use crate::answer::{Answer, Problem};
use crate::home::{HomeArgument, StreamArgument};
use crate::show;

/// How much is read at once.
const PAGE: u64 = 1024;

/// List the records, one line each.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil journal list --home acme
  counterfoil journal list --home acme --first 100 --limit 20
  counterfoil journal list --home acme --received --json")]
pub(crate) struct List {
    #[command(flatten)]
    home: HomeArgument,
    #[command(flatten)]
    stream: StreamArgument,
    /// Begin with this sequence.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        conflicts_with = "received"
    )]
    first: u64,
    /// List at most so many.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// List the records that other operators have sent instead of ours.
    #[arg(long)]
    received: bool,
}

pub(crate) fn run(command: &List) -> Result<Answer, Problem> {
    let reader = command.stream.open(&command.home.layout())?;
    let list = if command.received {
        received(command, &reader)?
    } else {
        own(command, &reader)?
    };
    let mut text = String::new();
    for row in &list {
        let cell = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or("");
        let sequence = row.get("sequence").and_then(Value::as_u64).unwrap_or(0);
        let who = if command.received {
            format!("{}  ", cell("operator"))
        } else {
            String::new()
        };
        text.push_str(&format!(
            "{sequence:>6}  {}  {}  {:<9} {who}{:<9} {}\n",
            cell("time"),
            show::short(cell("id")),
            cell("evidence"),
            cell("kind"),
            cell("summary"),
        ));
    }
    if list.is_empty() {
        text.push_str("no records\n");
    }
    Ok(Answer::good(Value::Array(list), text))
}

fn own(command: &List, reader: &JournalReader) -> Result<Vec<Value>, Problem> {
    let batches = batches(reader)?;
    let mut list = Vec::new();
    let mut first = Sequence::new(command.first);
    let mut left = command.limit;
    while left > 0 {
        let page = reader.records(first, PAGE.min(left))?;
        let Some((last, _)) = page.last() else { break };
        let next = last.next();
        left = left.saturating_sub(page.len() as u64);
        for (sequence, bytes) in &page {
            let record = UnverifiedRecord::parse(bytes)?;
            let evidence = evidence(&batches, *sequence);
            list.push(row(&record, evidence));
        }
        match next {
            Some(next) => first = next,
            None => break,
        }
    }
    Ok(list)
}

fn received(command: &List, reader: &JournalReader) -> Result<Vec<Value>, Problem> {
    let mut list = Vec::new();
    let mut after = 0;
    let mut left = command.limit;
    while left > 0 {
        let page = reader.received(after, PAGE.min(left))?;
        let Some(last) = page.last() else { break };
        after = last.number;
        left = left.saturating_sub(page.len() as u64);
        for received in &page {
            list.push(row(&UnverifiedRecord::parse(&received.bytes)?, "received"));
        }
    }
    Ok(list)
}

fn row(record: &UnverifiedRecord, evidence: &str) -> Value {
    let content = record.unverified_content();
    json!({
        "sequence": content.sequence.get(),
        "id": record.id().to_string(),
        "operator": record.issuer().as_str(),
        "time": show::millis(content.time.get()),
        "kind": content.body.kind(),
        "evidence": evidence,
        "summary": show::summary(content),
    })
}

fn batches(reader: &JournalReader) -> Result<Vec<BatchRow>, Problem> {
    let mut all = Vec::new();
    let mut next = BatchNumber::new(0);
    loop {
        let page = reader.batches(next, PAGE)?;
        let Some(after) = page.last().and_then(|last| last.number.next()) else {
            return Ok(all);
        };
        next = after;
        all.extend(page);
    }
}

/// How far the evidence of a record has come, as the journal has it.
fn evidence(batches: &[BatchRow], sequence: Sequence) -> &'static str {
    let after = batches.partition_point(|batch| batch.first <= sequence);
    let batch = after
        .checked_sub(1)
        .and_then(|index| batches.get(index))
        .filter(|batch| sequence.get().saturating_sub(batch.first.get()) < batch.count);
    match batch {
        None => "signed",
        Some(batch) if batch.log_proof.is_some() => "logged",
        Some(_) => "committed",
    }
}

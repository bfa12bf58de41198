//! `counterfoil receipt get`: writes receipts to files.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use counterfoil_durable::file::{self, Access};
use counterfoil_enforcer::EnforcerError;
use counterfoil_enforcer::journal::JournalReader;
use counterfoil_enforcer::receipts::ReceiptBuilder;
use counterfoil_gateway::home::Home;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::receipt::FILE_EXTENSION;
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::{Level, verify};
use serde_json::{Value, json};

use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::commands::verify::LevelName;
use crate::disclosed::Field;
use crate::exchange::Peer;
use crate::home::{HomeArgument, StreamArgument, own_manifests, trust};
use crate::{explain, serve};

/// Between two looks at whether a receipt has come far enough.
const PAUSE: Duration = Duration::from_millis(200);

/// Get receipts of our own records, or of another operator's from that operator.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 all receipts are written, 1 the other operator has not sealed the batch of a record yet,
2 wrong usage or input.

Examples:
  counterfoil receipt get --home acme --sequence 12 --out 12.receipt
  counterfoil receipt get --home acme --all --wait witnessed --out receipts
  counterfoil receipt get --home acme --all --from globex.example --out theirs
  counterfoil receipt get --home acme --sequence 12 --disclose parameters,on-behalf-of
  counterfoil receipt get --home acme --sequence 12 --disclose all")]
pub(crate) struct Get {
    #[command(flatten)]
    home: HomeArgument,
    #[command(flatten)]
    stream: StreamArgument,
    /// The id of the record.
    #[arg(value_name = "RECORD_ID", required_unless_present_any = ["sequence", "all"])]
    id: Option<String>,
    /// The place of the record in its stream, instead of its id.
    #[arg(long, value_name = "N", conflicts_with_all = ["id", "all"])]
    sequence: Option<u64>,
    /// Every record: ours, or with --from every one that we have received from there.
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// Where to write: a file for one receipt, a folder for all. By default
    /// `<operator>-<sequence>.receipt`, in the folder `receipts` for all.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Another operator, whose receipts are asked for over its exchange API.
    #[arg(long, value_name = "OPERATOR")]
    from: Option<String>,
    /// Wait until the receipts verify at this level.
    #[arg(long, value_name = "LEVEL")]
    wait: Option<LevelName>,
    /// How long to wait at most, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Disclose these fields, as far as they are kept in clear.
    #[arg(
        long,
        value_name = "FIELDS",
        value_delimiter = ',',
        conflicts_with = "from"
    )]
    disclose: Vec<Field>,
}

/// Where receipts come from.
enum Source {
    Own(Box<ReceiptBuilder>),
    Peer(Box<Peer>),
}

/// A record whose receipt is wanted.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    id: RecordId,
    sequence: Sequence,
}

pub(crate) fn run(command: &Get) -> Result<Answer, Problem> {
    serve::runtime()?.block_on(get(command))
}

async fn get(command: &Get) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let trust = trust(&home)?;
    let reader = command.stream.open(&home)?;
    let (operator, wanted, mut source) = match &command.from {
        None => {
            let operator = reader.identity()?.operator;
            let wanted = own_records(command, &reader)?;
            let builder = ReceiptBuilder::new(reader, own_manifests(&home)?);
            (operator, wanted, Source::Own(Box::new(builder)))
        }
        Some(name) => {
            let operator = OperatorName::new(name.as_str())?;
            let wanted = received_records(command, &reader, &operator)?;
            let peer = Peer::new(&home, &trust, &operator)?;
            (operator, wanted, Source::Peer(Box::new(peer)))
        }
    };
    let deadline = Instant::now() + Duration::from_secs(command.timeout);
    let mut written = Vec::with_capacity(wanted.len());
    let mut missing = Vec::new();
    for record in wanted {
        let fetched = fetch(command, &mut source, record, &trust, &home, deadline).await?;
        let Some(bytes) = fetched else {
            missing.push(record);
            continue;
        };
        let path = path(command, &operator, record.sequence)?;
        file::replace(&path, &bytes, Access::Everyone)?;
        // What the receipt shows of itself, at whatever level it has reached.
        let report = verify(&bytes, &trust, Level::Signed);
        written.push((path, report));
    }
    let (mut text, mut list) = (String::new(), Vec::new());
    for (path, report) in &written {
        text.push_str(&format!(
            "{}: {}\n",
            path.display(),
            explain::verdict(report)
        ));
        list.push(json!({
            "file": path,
            "verified": report.is_verified(),
            "level": report.level.map(Level::as_str),
            "id": report.facts.as_ref().map(|facts| facts.id.to_string()),
            "sequence": report.facts.as_ref().map(|facts| facts.record.sequence.get()),
        }));
    }
    for record in &missing {
        text.push_str(&format!(
            "NOT SEALED record {} of {operator} is in no batch yet, and has no receipt: --wait \
             committed waits for it\n",
            record.sequence
        ));
        list.push(json!({
            "file": null,
            "verified": false,
            "level": null,
            "id": record.id.to_string(),
            "sequence": record.sequence.get(),
            "code": "not_sealed",
        }));
    }
    if let Some((path, _)) = written.last() {
        let shown = if command.all {
            path.with_file_name(format!("*.{FILE_EXTENSION}"))
        } else {
            path.clone()
        };
        text.push_str(&format!(
            "\nnext:\n  counterfoil verify {} --trust {}\n",
            shown.display(),
            home.trust().display()
        ));
    }
    Ok(Answer {
        json: Value::Array(list),
        text,
        exit: if missing.is_empty() {
            Exit::Good
        } else {
            Exit::NotVerified
        },
    })
}

/// Our own records that are asked for.
fn own_records(command: &Get, reader: &JournalReader) -> Result<Vec<Wanted>, Problem> {
    let next = "`counterfoil journal list` shows which records there are";
    if let Some(id) = &command.id {
        let id = RecordId::from_hex(id).or_next(next)?;
        // An index of ids is kept of sealed records only.
        let sequence = match reader.sequence_of(id) {
            Err(EnforcerError::NotFound(_)) => search(reader, id).or_next(next)?,
            other => other?,
        };
        return Ok(vec![Wanted { id, sequence }]);
    }
    let mut found = Vec::new();
    let mut first = Sequence::new(command.sequence.unwrap_or(0));
    let limit = if command.all { 4096 } else { 1 };
    loop {
        let page = reader.records(first, limit)?;
        for (sequence, bytes) in &page {
            let id = UnverifiedRecord::parse(bytes)?.id();
            found.push(Wanted {
                id,
                sequence: *sequence,
            });
        }
        match page.last().and_then(|(last, _)| last.next()) {
            Some(next) if command.all => first = next,
            _ => break,
        }
    }
    match (command.sequence, found.first()) {
        (Some(asked), Some(record)) if record.sequence.get() != asked => Err(()),
        (_, None) => Err(()),
        _ => Ok(found),
    }
    .map_err(|()| Problem::new("the journal has no such record").next(next))
}

fn search(reader: &JournalReader, id: RecordId) -> Result<Sequence, Problem> {
    let mut first = match reader.last_batch()? {
        Some(batch) => Sequence::new(batch.first.get().saturating_add(batch.count)),
        None => Sequence::new(0),
    };
    loop {
        let page = reader.records(first, 4096)?;
        for (sequence, bytes) in &page {
            if UnverifiedRecord::parse(bytes)?.id() == id {
                return Ok(*sequence);
            }
        }
        match page.last().and_then(|(last, _)| last.next()) {
            Some(next) => first = next,
            None => return Err(Problem::new(format!("the journal has no record {id}"))),
        }
    }
}

/// The records of another operator that are asked for: those that it has sent us.
fn received_records(
    command: &Get,
    reader: &JournalReader,
    operator: &OperatorName,
) -> Result<Vec<Wanted>, Problem> {
    let asked = command.id.as_deref().map(RecordId::from_hex).transpose()?;
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = reader.received(after, 4096)?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for row in page.iter().filter(|row| row.operator == *operator) {
            let record = UnverifiedRecord::parse(&row.bytes)?;
            let sequence = record.unverified_content().sequence;
            let wanted = command.all
                || asked == Some(record.id())
                || command.sequence == Some(sequence.get());
            if wanted {
                found.push(Wanted {
                    id: record.id(),
                    sequence,
                });
            }
        }
    }
    if found.is_empty() {
        return Err(
            Problem::new(format!("we have received no such record from {operator}"))
                .next("`counterfoil journal list --received` shows which there are"),
        );
    }
    Ok(found)
}

/// Gets one receipt, and waits until it has come as far as was asked for. None if the record is in
/// no batch yet, and nothing is waited for.
async fn fetch(
    command: &Get,
    source: &mut Source,
    record: Wanted,
    trust: &Trust,
    home: &Home,
    deadline: Instant,
) -> Result<Option<Vec<u8>>, Problem> {
    loop {
        let found = match source {
            Source::Own(builder) => Ok(Some(own(command, builder, record)?)),
            Source::Peer(peer) => peer.receipt(record.id).await,
        };
        let Some(wait) = command.wait.map(Level::from) else {
            return found;
        };
        let why = match found {
            Ok(Some(bytes)) => {
                let report = verify(&bytes, trust, wait);
                match report.failure {
                    None => return Ok(Some(bytes)),
                    Some(failure) => failure.to_string(),
                }
            }
            Ok(None) => "it is in no sealed batch yet".to_owned(),
            // It may be away.
            Err(problem) => problem.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(Problem::new(format!(
                "record {} has not become {wait} within {} seconds: {why}",
                record.sequence, command.timeout
            ))
            .next(format!(
                "is the gateway of {} running, and does it reach its log?",
                command
                    .from
                    .as_deref()
                    .map_or_else(|| home.directory().display().to_string(), str::to_owned)
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn own(command: &Get, builder: &mut ReceiptBuilder, record: Wanted) -> Result<Vec<u8>, Problem> {
    let mut disclose = Field::list(&command.disclose);
    if command.all || command.disclose.contains(&Field::All) {
        // Each record discloses what it has of it.
        let (bytes, openings) = builder.reader().record(record.sequence)?;
        // Terms are kept once, not beside each record that was made under them.
        let parsed = UnverifiedRecord::parse(&bytes)?;
        let terms = match parsed.unverified_content().contract() {
            Some(contract) => builder.reader().terms_of(contract)?.is_some(),
            None => false,
        };
        disclose.retain(|field| {
            let opened = openings
                .iter()
                .any(|opening| opening.field == *field && opening.content.is_some());
            opened || (*field == DisclosedField::Contract && terms)
        });
    }
    Ok(builder
        .build(record.sequence, &disclose)
        .or_next("set keep_clear_text = true in operator.toml to disclose later calls")?
        .encode())
}

fn path(command: &Get, operator: &OperatorName, sequence: Sequence) -> Result<PathBuf, Problem> {
    let name = format!("{operator}-{:06}.{FILE_EXTENSION}", sequence.get());
    match (&command.out, command.all) {
        (Some(file), false) if !file.is_dir() => Ok(file.clone()),
        (Some(folder), false) => Ok(folder.join(name)),
        (None, false) => Ok(PathBuf::from(name)),
        (folder, true) => {
            let folder = folder.clone().unwrap_or_else(|| PathBuf::from("receipts"));
            file::ensure_directory(&folder)?;
            Ok(folder.join(name))
        }
    }
}

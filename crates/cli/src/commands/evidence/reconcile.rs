//! `counterfoil evidence reconcile`: where the two halves of the evidence differ.

use std::path::PathBuf;

use clap::Args;
use counterfoil_durable::file::{self, Access};
use counterfoil_enforcer::environment::Environment;
use counterfoil_protocol::contract::verify_contract;
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{Millis, UnixMillis};
use counterfoil_protocol::reconcile::{
    Agreement, Class, Line, Options, Reconciler, RecordRef, Seen, Side, Subject, Totals,
};
use counterfoil_protocol::trust::Trust;
use serde_json::{Map, Value, json};

use super::export::time;
use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::commands::verify::{LevelName, read_trust};
use crate::evidence::{Piece, Read};
use crate::inquiry::Inquiry;
use crate::show;

/// Find out where the two halves of the evidence differ.
///
/// OURS and THEIRS are bundles, as both operators exported them. Every call between the two is put
/// together from both, and each line says what it amounts to: matched, missing here or there,
/// contradicting, late, outside of the contract, or of unknown outcome. It judges whether the halves
/// agree, not who is right; where a line may convict somebody, --faults writes the proofs.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 both halves are verified and match throughout, 1 they do not, 2 one cannot be read.

Examples:
  counterfoil evidence reconcile ours.evidence theirs.evidence --trust trust
  counterfoil evidence reconcile ours.evidence theirs.evidence --trust trust \\
      --contract desk.contract --faults faults
  counterfoil evidence reconcile ours.evidence theirs.evidence --trust trust --all --json")]
pub(crate) struct Reconcile {
    /// Our half: a bundle of our own records.
    #[arg(value_name = "OURS")]
    ours: PathBuf,
    /// Their half: a bundle of the other operator's records.
    #[arg(value_name = "THEIRS")]
    theirs: PathBuf,
    /// Whom to believe: a tlog-policy file with `operator` lines.
    #[arg(long, value_name = "FILE", env = "COUNTERFOIL_TRUST")]
    trust: PathBuf,
    /// More evidence that we hold, such as what the other side has sent us: bundles or receipts.
    #[arg(long, value_name = "FILE")]
    we_hold: Vec<PathBuf>,
    /// More evidence that the other side holds.
    #[arg(long, value_name = "FILE")]
    they_hold: Vec<PathBuf>,
    /// The contracts between the two. Without any, no call is outside of one.
    #[arg(long, value_name = "FILE")]
    contract: Vec<PathBuf>,
    /// Only calls made at this time (ISO 8601) or later.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<UnixMillis>,
    /// Only calls made before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<UnixMillis>,
    /// Late is what should have been logged by then, and is not. By default: now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<UnixMillis>,
    /// How long after it was made a record may be published, in seconds, where no contract says it.
    #[arg(long, value_name = "SECONDS")]
    publish_delay: Option<u64>,
    /// The level that every record must reach.
    #[arg(long, value_name = "LEVEL", default_value = "signed")]
    level: LevelName,
    /// Write a proof of every fault that the evidence shows into this folder.
    #[arg(long, value_name = "DIR")]
    faults: Option<PathBuf>,
    /// Print the lines that match too.
    #[arg(long)]
    all: bool,
}

/// What is said line by line.
#[derive(Debug, Default)]
struct Told {
    text: String,
    lines: Vec<Value>,
}

pub(crate) fn run(command: &Reconcile) -> Result<Answer, Problem> {
    let trust = read_trust(&command.trust)?;
    let mut inquiry = command.faults.as_ref().map(|_| Inquiry::new(&trust));
    let options = options(command, &trust, &mut inquiry)?;
    let pieces = pieces(command)?;
    let (ours, theirs) = operators(&pieces, &trust)?;
    let mut reconciler = Reconciler::new(ours.clone(), theirs.clone(), options);
    let mut reads = Vec::with_capacity(pieces.len());
    for (number, (side, piece)) in pieces.iter().enumerate() {
        let read = piece.read(&trust, command.level.into(), |entry, verifier| {
            if let Some(seen) = Seen::of_entry(&entry) {
                let parameters = verifier
                    .disclosures()
                    .find(|disclosure| disclosure.field == DisclosedField::Parameters)
                    .map(|disclosure| disclosure.content.as_slice());
                reconciler.add(*side, &Seen { parameters, ..seen });
            }
            if let Some(inquiry) = &mut inquiry {
                inquiry.take(number, &entry, verifier);
            }
        })?;
        reads.push((piece.place(), read));
    }
    let mut told = Told::default();
    let names = [&ours, &theirs];
    let totals = reconciler.finish(|line| told.tell(&line, names, command.all));
    let faults = match (inquiry, &command.faults) {
        (Some(inquiry), Some(folder)) => {
            let pieces: Vec<Piece> = pieces.into_iter().map(|(_, piece)| piece).collect();
            write_faults(inquiry, &pieces, folder)?
        }
        _ => Vec::new(),
    };
    Ok(answer(names, &reads, &totals, told, &faults))
}

fn options(
    command: &Reconcile,
    trust: &Trust,
    inquiry: &mut Option<Inquiry<'_>>,
) -> Result<Options, Problem> {
    let mut contracts = Vec::new();
    for path in &command.contract {
        let bytes = file::read(path).or_next("name contract files with --contract")?;
        let report = verify_contract(&bytes, trust, Level::Signed);
        if let Some(failure) = report.failure {
            return Err(Problem::new(format!("{}: {failure}", path.display()))
                .next("`counterfoil contract verify` explains every step"));
        }
        if let (Some(digest), Some(terms), true) =
            (report.digest, report.terms, report.acceptance.is_some())
        {
            contracts.push(Agreement { digest, terms });
        }
        if let Some(inquiry) = inquiry {
            inquiry.contract(bytes);
        }
    }
    Ok(Options {
        from: command.from,
        until: command.until,
        as_of: Some(
            command
                .as_of
                .unwrap_or_else(|| Environment::system().clock.now()),
        ),
        publish_delay: command
            .publish_delay
            .map(|seconds| Millis::new(seconds.saturating_mul(1000))),
        contracts,
    })
}

fn pieces(command: &Reconcile) -> Result<Vec<(Side, Piece)>, Problem> {
    let ours = std::iter::once(&command.ours).chain(&command.we_hold);
    let theirs = std::iter::once(&command.theirs).chain(&command.they_hold);
    let ours = ours.map(|path| (Side::Ours, path));
    let theirs = theirs.map(|path| (Side::Theirs, path));
    // The bundles of both come first: they say whose halves these are.
    let mut paths: Vec<_> = ours.chain(theirs).collect();
    let main = |path: &PathBuf| *path == command.ours || *path == command.theirs;
    paths.sort_by_key(|(_, path)| !main(path));
    paths
        .into_iter()
        .map(|(side, path)| Ok((side, Piece::open(path)?)))
        .collect()
}

/// Whose halves these are, as the first two pieces say.
fn operators(
    pieces: &[(Side, Piece)],
    trust: &Trust,
) -> Result<(OperatorName, OperatorName), Problem> {
    let mut names = Vec::new();
    for (_, piece) in pieces.iter().take(2) {
        let name = piece.operator(trust).at(piece.place()).or_next(
            "`counterfoil evidence export` writes bundles, and the trust file must name the \
             operator of each",
        )?;
        names.push(name);
    }
    match <[OperatorName; 2]>::try_from(names) {
        Ok([ours, theirs]) if ours != theirs => Ok((ours, theirs)),
        Ok([ours, _]) => Err(Problem::new(format!("both halves are of {ours}"))
            .next("give our bundle first, then the other operator's")),
        Err(_) => Err(Problem::new("two bundles are needed")),
    }
}

impl Told {
    fn tell(&mut self, line: &Line, names: [&OperatorName; 2], all: bool) {
        if line.class == Class::Matched && !all {
            return;
        }
        self.text
            .push_str(&format!("{:<16}  {}\n", line.class.as_str(), line.sentence));
        for record in &line.records {
            self.text
                .push_str(&format!("{:18}{}\n", "", record_text(record, names)));
        }
        for fault in line.findings.iter().filter_map(|finding| finding.fault) {
            self.text
                .push_str(&format!("{:18}these records may prove {fault}\n", ""));
        }
        self.lines.push(json!({
            "class": line.class.as_str(),
            "subject": subject(&line.subject),
            "sentence": line.sentence,
            "findings": line.findings.iter().map(|finding| json!({
                "class": finding.class.as_str(),
                "side": finding.side.map(Side::as_str),
                "fault": finding.fault.map(|kind| kind.as_str()),
                "text": finding.text,
            })).collect::<Vec<_>>(),
            "records": line.records.iter().map(|record| json!({
                "role": record.role.as_str(),
                "operator": name(record.signer, names).as_str(),
                "held_by_us": record.held_by.ours,
                "held_by_them": record.held_by.theirs,
                "id": record.id.to_string(),
                "stream": record.stream.to_string(),
                "sequence": record.sequence.get(),
                "channel_sequence": record.channel_sequence.get(),
                "time": show::millis(record.time.get()),
                "level": record.level.as_str(),
            })).collect::<Vec<_>>(),
        }));
    }
}

const fn name(side: Side, names: [&OperatorName; 2]) -> &OperatorName {
    let [ours, theirs] = names;
    match side {
        Side::Ours => ours,
        Side::Theirs => theirs,
    }
}

fn record_text(record: &RecordRef, names: [&OperatorName; 2]) -> String {
    let held = match (record.held_by.ours, record.held_by.theirs) {
        (true, true) => "both have it",
        (true, false) => "we have it",
        (false, true) => "they have it",
        (false, false) => "nobody has it",
    };
    format!(
        "{} {} of {}, {}, {}, {held}",
        record.role.as_str().replace('_', " "),
        record.sequence,
        name(record.signer, names),
        show::short(&record.id.to_string()),
        record.level
    )
}

fn subject(subject: &Subject) -> Value {
    match subject {
        Subject::Call { request, asking } => json!({
            "kind": "call",
            "request": request.to_string(),
            "asking": asking.as_str(),
        }),
        Subject::Gap {
            signer,
            stream,
            first,
            last,
        } => json!({
            "kind": "gap",
            "side": signer.as_str(),
            "stream": stream.to_string(),
            "first": first.get(),
            "last": last.get(),
        }),
        Subject::Record { id, signer } => json!({
            "kind": "record",
            "id": id.to_string(),
            "side": signer.as_str(),
        }),
    }
}

/// Writes the proofs of the faults that were found, and says what they are.
fn write_faults(
    inquiry: Inquiry<'_>,
    pieces: &[Piece],
    folder: &std::path::Path,
) -> Result<Vec<Value>, Problem> {
    let proven = inquiry.conclude(pieces)?;
    if !proven.is_empty() {
        file::ensure_directory(folder)?;
    }
    let mut written = Vec::new();
    for (one, more) in proven {
        let path = folder.join(one.proof.file_name());
        file::replace(&path, &one.proof.encode(), Access::Everyone)?;
        written.push(json!({
            "file": path,
            "kind": one.proof.kind.as_str(),
            "class": one.proof.kind.class().as_str(),
            "accused": one.proof.accused.to_string(),
            "finding": one.finding,
            "more": more,
        }));
    }
    Ok(written)
}

fn answer(
    names: [&OperatorName; 2],
    reads: &[(String, Read)],
    totals: &Totals,
    told: Told,
    faults: &[Value],
) -> Answer {
    let [ours, theirs] = names;
    let mut text = told.text;
    if !text.is_empty() {
        text.push('\n');
    }
    let bad: Vec<(&String, &Read)> = reads
        .iter()
        .filter(|(_, read)| !read.summary.is_good())
        .map(|(place, read)| (place, read))
        .collect();
    for (place, read) in &bad {
        let why = read
            .summary
            .failure()
            .map_or_else(|| "it is not read to its end".to_owned(), |f| f.to_string());
        text.push_str(&format!("NOT VERIFIED {place}: {why}\n"));
    }
    for fault in faults {
        text.push_str(&format!(
            "FAULT {} of {}: {}\n",
            fault["kind"].as_str().unwrap_or_default(),
            fault["accused"].as_str().unwrap_or_default(),
            fault["file"].as_str().unwrap_or_default(),
        ));
    }
    text.push_str(&format!(
        "{} calls between {ours} (ours) and {theirs} (theirs), {} records\n",
        totals.calls, totals.records
    ));
    let mut classes = Map::new();
    for class in Class::ALL {
        let count = totals.of(class);
        classes.insert(class.as_str().to_owned(), json!(count));
        if count > 0 {
            text.push_str(&format!(
                "{count:>8} {}\n",
                class.as_str().replace('_', " ")
            ));
        }
    }
    for (count, what) in [
        (
            totals.passed_over,
            "records concern somebody else, and were passed over",
        ),
        (
            totals.outside_period,
            "calls lie outside of the period, and were passed over",
        ),
    ] {
        if count > 0 {
            text.push_str(&format!("{count:>8} {what}\n"));
        }
    }
    let matched = totals.is_matched() && bad.is_empty();
    text.push_str(if matched {
        "\nMATCHED throughout.\n"
    } else {
        "\nNOT MATCHED.\n"
    });
    let readable = reads.iter().all(|(_, read)| read.is_readable());
    Answer {
        json: json!({
            "matched": matched,
            "ours": ours.as_str(),
            "theirs": theirs.as_str(),
            "calls": totals.calls,
            "lines": totals.lines,
            "records": totals.records,
            "passed_over": totals.passed_over,
            "outside_period": totals.outside_period,
            "classes": classes,
            "not_verified": bad.iter().map(|(place, read)| json!({
                "file": place,
                "failed": read.summary.failed,
                "code": read.summary.failure().map(|failure| failure.code().as_str()),
                "detail": read.summary.failure().map(|failure| failure.to_string()),
            })).collect::<Vec<_>>(),
            "told": told.lines,
            "faults": faults,
        }),
        text,
        exit: match (matched, readable) {
            (true, _) => Exit::Good,
            (false, true) => Exit::NotVerified,
            (false, false) => Exit::Input,
        },
    }
}

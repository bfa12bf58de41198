//! `counterfoil evidence verify`: checks a bundle offline.

use std::path::PathBuf;

use clap::Args;
use counterfoil_protocol::bundle::{Entry, Summary};
use counterfoil_protocol::level::Level;
use serde_json::{Value, json};

use crate::answer::{Answer, Exit, Problem};
use crate::commands::verify::{LevelName, most_that_can_be_shown, read_trust};
use crate::evidence::{Piece, Read};
use crate::show;

/// How many records that do not verify are named.
const MAX_NAMED: usize = 100;

/// Verify a bundle against a trust file, offline.
///
/// Every record must verify as its receipt would, and records and batches that follow each other
/// must name each other. That records were left out of the file it cannot show: `evidence
/// reconcile` can, with the evidence of the other side.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 every record is verified, 1 one is not, 2 the file cannot be read as a bundle.

Examples:
  counterfoil evidence verify theirs.evidence --trust trust
  counterfoil evidence verify theirs.evidence --trust trust --level logged --list
  counterfoil evidence verify theirs.evidence --trust trust --json")]
pub(crate) struct Verify {
    /// The bundle.
    #[arg(value_name = "FILE")]
    bundle: PathBuf,
    /// Whom to believe: a tlog-policy file with `operator` lines.
    #[arg(long, value_name = "FILE", env = "COUNTERFOIL_TRUST")]
    trust: PathBuf,
    /// The level that every record must reach. Without it, the most that the trust file can show.
    #[arg(long, value_name = "LEVEL")]
    level: Option<LevelName>,
    /// Name every record.
    #[arg(long)]
    list: bool,
}

/// What is said of single records.
#[derive(Debug, Default)]
struct Told {
    text: String,
    list: Vec<Value>,
    failures: Vec<Value>,
    referred: Vec<Value>,
}

pub(crate) fn run(command: &Verify) -> Result<Answer, Problem> {
    let trust = read_trust(&command.trust)?;
    let required = command
        .level
        .map_or_else(|| most_that_can_be_shown(&trust), Level::from);
    let piece = Piece::open(&command.bundle)?;
    let mut told = Told::default();
    let read = piece.read(&trust, required, |entry, _| told.tell(&entry, command.list))?;
    Ok(answer(&piece.place(), required, &read, told))
}

impl Told {
    fn tell(&mut self, entry: &Entry, list: bool) {
        let what = entry.record.as_ref().map_or_else(
            || "a record".to_owned(),
            |record| {
                let content = record.record();
                format!("record {}: {}", content.sequence, show::summary(content))
            },
        );
        let wrong: Vec<String> = entry
            .failure
            .iter()
            .map(ToString::to_string)
            .chain(
                entry
                    .broken_links
                    .iter()
                    .map(|broken| broken.failure().to_string()),
            )
            .collect();
        if !wrong.is_empty() && self.failures.len() < MAX_NAMED {
            self.text
                .push_str(&format!("FAIL  {what}: {}\n", wrong.join("; ")));
            self.failures.push(json!({
                "position": entry.position,
                "id": entry.id.map(|id| id.to_string()),
                "code": entry.failure.as_ref().map_or("link_broken", |failure| failure.code().as_str()),
                "detail": wrong,
            }));
        }
        let Some(record) = entry.record.as_ref().filter(|_| entry.is_verified()) else {
            return;
        };
        for attestation in record.record().attestations() {
            self.referred.push(json!({
                "record": record.id().to_string(),
                "kind": attestation.kind.as_str(),
                "digest": attestation.digest.to_string(),
                "location": attestation.location.as_ref().map(|location| location.as_str()),
                "verified": false,
            }));
        }
        if list {
            let level = entry.level.map_or("-", Level::as_str);
            if wrong.is_empty() {
                self.text.push_str(&format!("{level:<9}  {what}\n"));
            }
            self.list.push(json!({
                "level": level,
                "not_before": entry.not_before.map(|time| show::seconds(time.get())),
                "not_after": entry.not_after.map(|time| show::seconds(time.get())),
                "time_within_bounds": entry.time_within_bounds,
                "record": show::record(record.id(), record.issuer(), record.kid(), record.record()),
            }));
        }
    }
}

fn answer(file: &str, required: Level, read: &Read, told: Told) -> Answer {
    let Read { header, summary } = read;
    let operator = header.as_ref().map(|header| header.operator.to_string());
    let counterparty = header
        .as_ref()
        .and_then(|header| header.counterparty.as_ref())
        .map(ToString::to_string);
    let good = summary.is_good();
    let failure = summary.failure();
    let mut text = told.text;
    text.push_str(&format!("{file}\n  {} records", summary.records));
    if let Some(operator) = &operator {
        text.push_str(&format!(" of {operator}"));
    }
    if let Some(counterparty) = &counterparty {
        text.push_str(&format!(", of its channel to {counterparty}"));
    }
    text.push('\n');
    for (count, what) in counts(summary) {
        if count > 0 {
            text.push_str(&format!("  {count:>8} {what}\n"));
        }
    }
    if !told.referred.is_empty() {
        text.push_str(&format!(
            "  {:>8} attestations from elsewhere are referred to, not verified\n",
            told.referred.len()
        ));
    }
    text.push_str(&match &failure {
        None if good => format!("\nVERIFIED, {required} was asked for.\n"),
        None => "\nNOT VERIFIED. The file is not read to its end.\n".to_owned(),
        Some(failure) if read.is_readable() => format!("\nNOT VERIFIED, {failure}.\n"),
        Some(failure) => format!("\nNOT A BUNDLE, {failure}.\n"),
    });
    if good {
        text.push_str(
            "this does not show: that it is all there is; that what the operator stated is true\n",
        );
    }
    let levels: serde_json::Map<String, Value> = Level::ALL
        .iter()
        .map(|level| (level.as_str().to_owned(), json!(summary.at(*level))))
        .collect();
    Answer {
        json: json!({
            "verified": good,
            "readable": read.is_readable(),
            "file": file,
            "operator": operator,
            "counterparty": counterparty,
            "required": required.as_str(),
            "bytes": summary.bytes,
            "parts": summary.parts,
            "records": summary.records,
            "levels": levels,
            "failed": summary.failed,
            "broken_links": summary.broken_links,
            "outside_bounds": summary.outside_bounds,
            "failure": failure.map(|failure| json!({
                "code": failure.code().as_str(),
                "detail": failure.detail(),
                "meaning": failure.code().meaning().trim(),
            })),
            "failures": told.failures,
            "referred_to": told.referred,
            "list": told.list,
        }),
        text,
        exit: match (good, read.is_readable()) {
            (true, _) => Exit::Good,
            (false, true) => Exit::NotVerified,
            (false, false) => Exit::Input,
        },
    }
}

fn counts(summary: &Summary) -> [(u64, &'static str); 7] {
    [
        (summary.at(Level::Witnessed), "are witnessed"),
        (summary.at(Level::Logged), "are logged"),
        (summary.at(Level::Committed), "are committed"),
        (summary.at(Level::Signed), "are signed"),
        (summary.failed, "DO NOT VERIFY"),
        (summary.broken_links, "links ARE BROKEN"),
        (
            summary.outside_bounds,
            "claim a time OUTSIDE of what witnesses vouch for",
        ),
    ]
}

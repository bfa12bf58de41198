//! `counterfoil fault prove`: looks for faults in evidence, and writes the proofs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_durable::file::{self, Access};
use counterfoil_enforcer::journal::{JournalReader, ReceivedRow};
use counterfoil_protocol::bundle::{Header, Part};
use counterfoil_protocol::contract;
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::fault::FaultKind;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::note::Note;
use serde_json::{Value, json};

use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::commands::verify::read_trust;
use crate::evidence::Piece;
use crate::home::{self, HomeArgument};
use crate::inquiry::{Inquiry, Proven, kind};

/// Files that are not bundles are read as a whole, up to this size.
const MAX_SMALL: u64 = 1 << 20;

/// Look for faults in evidence, and write the proofs.
///
/// The evidence may be of any number of operators: receipts, bundles, contract files, manifests and
/// checkpoint notes, and with --home what an operator's gateway has received, what it has refused
/// among it. A proof is written only if it convicts.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 a fault is proven, 1 none is, 2 wrong usage or input.

Examples:
  counterfoil fault prove auto ours.evidence theirs.evidence --trust trust --out faults/
  counterfoil fault prove stream_fork 12.receipt other-12.receipt --trust trust --out fork.fault
  counterfoil fault prove auto theirs.evidence --home acme --out faults/
  counterfoil fault prove outside_contract 7.receipt desk.contract --trust trust --out it.fault")]
pub(crate) struct Prove {
    /// The kind of fault to look for, by name or number, or `auto` for any.
    #[arg(value_name = "KIND", value_parser = wanted)]
    kind: Wanted,
    /// The evidence.
    #[arg(value_name = "FILE", required_unless_present = "home")]
    files: Vec<PathBuf>,
    /// Whom to believe: a tlog-policy file with `operator` lines. With --home, the one in it.
    #[arg(
        long,
        value_name = "FILE",
        env = "COUNTERFOIL_TRUST",
        required_unless_present = "home"
    )]
    trust: Option<PathBuf>,
    /// An operator's home: what others have sent it, and what it has refused, is evidence too.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Only faults of this operator or log.
    #[arg(long, value_name = "NAME")]
    accused: Option<String>,
    /// A file for one proof, or a folder for all. A name that ends in `.fault` is a file.
    #[arg(long, value_name = "PATH", default_value = ".")]
    out: PathBuf,
}

/// Which faults are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Any,
    One(FaultKind),
}

fn wanted(text: &str) -> Result<Wanted, String> {
    if text == "auto" {
        return Ok(Wanted::Any);
    }
    kind(text).map(Wanted::One)
}

pub(crate) fn run(command: &Prove) -> Result<Answer, Problem> {
    let layout = command
        .home
        .clone()
        .map(|dir| HomeArgument { dir }.layout());
    let trust = match (&command.trust, &layout) {
        (Some(path), _) => read_trust(path)?,
        (None, Some(home)) => home::trust(home)?,
        (None, None) => return Err(Problem::new("no trust file")),
    };
    let mut inquiry = Inquiry::new(&trust);
    let mut pieces = Vec::new();
    for path in &command.files {
        pieces.extend(take_file(path, &mut inquiry)?);
    }
    if let Some(layout) = &layout {
        pieces.extend(from_home(layout, &trust)?);
    }
    let mut not_read = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let read = piece.read(&trust, Level::Signed, |entry, verifier| {
            inquiry.take(number, &entry, verifier);
        })?;
        if let Some(failure) = read.summary.failure() {
            not_read.push(format!("{}: {failure}", piece.place()));
        }
    }
    let found: Vec<(Proven, u64)> = inquiry
        .conclude(&pieces)?
        .into_iter()
        .filter(|(one, _)| {
            let accused = one.proof.accused.to_string();
            let kind = command.kind == Wanted::Any || command.kind == Wanted::One(one.proof.kind);
            kind && command.accused.as_ref().is_none_or(|name| *name == accused)
        })
        .collect();
    let written = write(&command.out, &found)?;
    Ok(answer(&found, &written, &not_read))
}

/// A file: evidence to be read record by record, or something that is taken in at once.
fn take_file(path: &Path, inquiry: &mut Inquiry<'_>) -> Result<Option<Piece>, Problem> {
    let size = fs::metadata(path)
        .at(path.display())
        .or_next("name files with evidence")?
        .len();
    if size <= MAX_SMALL {
        let bytes = file::read(path)?;
        let format = contract::FILE_FORMAT.as_bytes();
        let head = bytes.get(..64.min(bytes.len())).unwrap_or_default();
        if head.windows(format.len()).any(|window| window == format) {
            inquiry.contract(bytes);
            return Ok(None);
        }
        if Note::parse(&bytes).is_ok() {
            inquiry.checkpoint(&bytes);
            return Ok(None);
        }
        if UnverifiedManifest::parse(&bytes).is_ok() {
            inquiry.manifest(&bytes);
            return Ok(None);
        }
    }
    Piece::open(path).map(Some)
}

/// What the gateway of a home has received from others, and what it has refused.
fn from_home(
    layout: &counterfoil_gateway::home::Home,
    trust: &Trust,
) -> Result<Vec<Piece>, Problem> {
    let reader = home::journal(layout)?;
    let operators = home::operators(layout, trust)?;
    let mut pieces = Vec::new();
    for (operator, parts) in received(&reader)? {
        let header = Header {
            manifests: operators.manifests(&operator),
            operator: operator.clone(),
            counterparty: None,
        };
        let mut bytes = header.encode();
        for part in parts {
            bytes.extend(part.encode());
        }
        let place = format!("records of {operator} in {}", layout.journal().display());
        pieces.push(Piece::Bytes(place, bytes));
    }
    // Each alone: they do not continue anything.
    let mut after = 0;
    loop {
        let page = reader.refused(after, 4096)?;
        let Some(last) = page.last() else {
            return Ok(pieces);
        };
        after = last.number;
        for row in page {
            let place = format!(
                "refused record {} in {}",
                row.number,
                layout.journal().display()
            );
            let manifests = operators.manifests(&row.operator);
            pieces.push(Piece::signed(place, row.operator, manifests, row.bytes));
        }
    }
}

/// The records of others, by operator: a part for each stream.
fn received(reader: &JournalReader) -> Result<BTreeMap<OperatorName, Vec<Part>>, Problem> {
    type Streams = BTreeMap<KeyThumbprint, BTreeMap<Sequence, Vec<u8>>>;
    let mut operators: BTreeMap<OperatorName, Streams> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = reader.received(after, 4096)?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for ReceivedRow {
            operator, bytes, ..
        } in page
        {
            let record = UnverifiedRecord::parse(&bytes)?;
            let streams = operators.entry(operator).or_default();
            let stream = streams.entry(record.kid()).or_default();
            stream.insert(record.unverified_content().sequence, bytes);
        }
    }
    let parts = |streams: Streams| {
        let mut parts = Vec::new();
        for stream in streams.into_values() {
            let records: Vec<Vec<u8>> = stream.into_values().collect();
            parts.extend(records.chunks(1024).map(|records| Part {
                records: records.to_vec(),
                ..Part::default()
            }));
        }
        parts
    };
    Ok(operators
        .into_iter()
        .map(|(operator, streams)| (operator, parts(streams)))
        .collect())
}

/// Writes the proofs: one to a file, or all of them to a folder.
fn write(out: &Path, found: &[(Proven, u64)]) -> Result<Vec<PathBuf>, Problem> {
    let to_file = out
        .extension()
        .is_some_and(|extension| extension == "fault");
    let mut written = Vec::new();
    for (one, _) in found.iter().take(if to_file { 1 } else { usize::MAX }) {
        let path = if to_file {
            out.to_owned()
        } else {
            file::ensure_directory(out)?;
            out.join(one.proof.file_name())
        };
        file::replace(&path, &one.proof.encode(), Access::Everyone)?;
        written.push(path);
    }
    Ok(written)
}

fn answer(found: &[(Proven, u64)], written: &[PathBuf], not_read: &[String]) -> Answer {
    let mut text = String::new();
    for problem in not_read {
        text.push_str(&format!("NOT VERIFIED {problem}\n"));
    }
    let mut list: Vec<Value> = Vec::new();
    for (index, (one, more)) in found.iter().enumerate() {
        let path = written.get(index);
        text.push_str(&format!(
            "{} {} of {}: {}\n",
            one.proof.kind.class().as_str().to_uppercase(),
            one.proof.kind,
            one.proof.accused,
            one.finding
        ));
        if let Some(path) = path {
            text.push_str(&format!("  {}\n", path.display()));
        }
        if *more > 0 {
            text.push_str(&format!("  and {more} more like it\n"));
        }
        list.push(json!({
            "kind": one.proof.kind.as_str(),
            "number": one.proof.kind.number(),
            "class": one.proof.kind.class().as_str(),
            "accused": one.proof.accused.to_string(),
            "finding": one.finding,
            "file": path,
            "more": more,
        }));
    }
    if found.is_empty() {
        text.push_str("NO FAULT is shown by this evidence.\n");
    } else if let Some(path) = written.first() {
        text.push_str(&format!(
            "\nnext:\n  counterfoil fault verify {} --trust TRUST\n",
            path.display()
        ));
    }
    Answer {
        json: json!({
            "proven": !found.is_empty(),
            "faults": list,
            "not_verified": not_read,
        }),
        text,
        exit: if found.is_empty() {
            Exit::NotVerified
        } else {
            Exit::Good
        },
    }
}

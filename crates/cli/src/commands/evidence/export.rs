//! `counterfoil evidence export`: many records with their shared proofs in one file.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use counterfoil_durable::file;
use counterfoil_enforcer::EnforcerError;
use counterfoil_enforcer::export::{Exported, Exporter, Selection, Sink};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{Sequence, UnixMillis};
use serde_json::json;

use super::received;
use crate::answer::{Answer, OrProblem as _, Problem};
use crate::disclosed::Field;
use crate::home::{HomeArgument, journal, journals, own_manifests, trust};
use crate::progress::Progress;

/// Write many records with their shared proofs into one file.
///
/// The file is a bundle: `evidence verify` checks it offline, `evidence reconcile` compares two of
/// them, and every receipt can be made of it. It holds our own records; with --received those that
/// another operator has sent us, with the proofs that it gives us for them today.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil evidence export --home acme --out acme.evidence
  counterfoil evidence export --home acme --with globex.example --out ours.evidence
  counterfoil evidence export --home acme --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z \\
      --out november.evidence
  counterfoil evidence export --home acme --with globex.example --received --out theirs.evidence
  counterfoil evidence export --home acme --disclose evaluation-input --out audit.evidence")]
pub(crate) struct Export {
    #[command(flatten)]
    pub(super) home: HomeArgument,
    /// Only records of the channel to this operator.
    #[arg(long, value_name = "OPERATOR", required_if_eq("received", "true"))]
    pub(super) with: Option<String>,
    /// Only records from this sequence or time (ISO 8601, by the signer's clock) on.
    #[arg(long, value_name = "SEQUENCE|TIME")]
    pub(super) from: Option<Bound>,
    /// Only records up to this sequence, or before this time.
    #[arg(long, value_name = "SEQUENCE|TIME")]
    pub(super) to: Option<Bound>,
    /// Disclose these fields of every record, as far as they are kept in clear.
    #[arg(
        long,
        value_name = "FIELDS",
        value_delimiter = ',',
        conflicts_with = "received"
    )]
    disclose: Vec<Field>,
    /// The other operator's records that we hold, instead of our own.
    #[arg(long)]
    pub(super) received: bool,
    /// Do not ask the other operator for its proofs: what it has sent is signed, no more.
    #[arg(long, requires = "received")]
    pub(super) offline: bool,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

/// Where a selection begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Sequence(Sequence),
    Time(UnixMillis),
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Sequence(Sequence::new(number)));
        }
        time(text).map(Self::Time).map_err(|error| {
            format!("neither a sequence nor a time such as 2026-11-01T00:00:00Z: {error}")
        })
    }
}

/// Reads a time in ISO 8601.
pub(crate) fn time(text: &str) -> Result<UnixMillis, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|error: jiff::Error| error.to_string())?;
    u64::try_from(time.as_millisecond())
        .map(UnixMillis::new)
        .map_err(|_| "it is before 1970".to_owned())
}

impl Export {
    /// What the options select.
    pub(super) fn selection(&self, counterparty: Option<OperatorName>) -> Selection {
        let mut selection = Selection {
            counterparty,
            disclose: Field::list(&self.disclose),
            ..Selection::default()
        };
        match self.from {
            Some(Bound::Sequence(first)) => selection.first = Some(first),
            Some(Bound::Time(from)) => selection.from = Some(from),
            None => {}
        }
        match self.to {
            Some(Bound::Sequence(last)) => selection.last = Some(last),
            Some(Bound::Time(until)) => selection.until = Some(until),
            None => {}
        }
        selection
    }
}

pub(crate) fn run(command: &Export) -> Result<Answer, Problem> {
    let with = command.with.as_deref().map(OperatorName::new).transpose()?;
    if let Some(operator) = with.as_ref().filter(|_| command.received) {
        return received::run(command, operator);
    }
    let home = command.home.layout();
    let readers = journals(&home)?;
    let operator = journal(&home)?.identity()?.operator;
    let selection = command.selection(with);
    let mut output = Output::create(&command.out)?;
    let manifests = own_manifests(&home)?;
    let mut exporter = Exporter::begin(operator.clone(), manifests, &selection, &mut output)?;
    exporter.journals(&readers)?;
    let exported = exporter.finish();
    if exported.records == 0 {
        return Err(Problem::new("there is no such record")
            .next("`counterfoil journal list` shows which records there are"));
    }
    output.finish()?;
    let trust_file = home.trust();
    // A home without a trust file can export all the same.
    let verify = if trust(&home).is_ok() {
        trust_file.display().to_string()
    } else {
        "TRUST".to_owned()
    };
    Ok(answer(&operator, &command.out, &exported, &verify, None))
}

/// What there is to say of a bundle that was written.
pub(super) fn answer(
    operator: &OperatorName,
    out: &Path,
    exported: &Exported,
    trust: &str,
    missing: Option<&str>,
) -> Answer {
    let mut text = format!(
        "{}: {} records of {operator} in {} parts, {} bytes\n",
        out.display(),
        exported.records,
        exported.parts,
        exported.bytes
    );
    for (count, what) in [
        (exported.disclosed, "fields are disclosed"),
        (exported.unsealed, "records are signed, and in no batch yet"),
        (
            exported.unlogged,
            "records are in a batch that is not logged yet",
        ),
    ] {
        if count > 0 {
            text.push_str(&format!("{count} {what}\n"));
        }
    }
    if let Some(missing) = missing {
        text.push_str(&format!("NOT ASKED {missing}\n"));
    }
    // The most that the trust file can show is not there yet.
    let level = if exported.unsealed > 0 {
        " --level signed"
    } else if exported.unlogged > 0 {
        " --level committed"
    } else {
        ""
    };
    text.push_str(&format!(
        "\nnext:\n  counterfoil evidence verify {} --trust {trust}{level}\n",
        out.display()
    ));
    Answer::good(
        json!({
            "file": out,
            "operator": operator.as_str(),
            "records": exported.records,
            "parts": exported.parts,
            "bytes": exported.bytes,
            "disclosed": exported.disclosed,
            "unsealed": exported.unsealed,
            "unlogged": exported.unlogged,
            "not_asked": missing,
        }),
        text,
    )
}

/// A bundle that is being written. It gets its name when it is whole.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    partial: PathBuf,
    file: Option<BufWriter<File>>,
    progress: Progress,
}

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self, Problem> {
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let file = File::create(&partial)
            .at(partial.display())
            .or_next("name a file in a folder that exists with --out")?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file: Some(BufWriter::new(file)),
            progress: Progress::new(path.display().to_string()),
        })
    }

    /// Makes it durable, and gives it its name.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        let writer = self.file.take();
        let file = writer.map(|writer| writer.into_inner().map_err(|error| error.into_error()));
        if let Some(file) = file.transpose().at(self.partial.display())? {
            file.sync_all().at(self.partial.display())?;
        }
        fs::rename(&self.partial, &self.path).at(self.path.display())?;
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok(file::sync_directory(folder)?)
    }
}

impl Sink for Output {
    fn item(&mut self, bytes: &[u8]) -> Result<(), EnforcerError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(bytes).map_err(|error| {
            EnforcerError::Journal(format!("`{}`: {error}", self.partial.display()))
        })
    }

    fn seen(&mut self, records: u64) {
        self.progress.at(records, None, "records");
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // What could not be finished is of no use.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_sequence_or_a_time() {
        assert_eq!("12".parse(), Ok(Bound::Sequence(Sequence::new(12))));
        let time = UnixMillis::new(1_000);
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(Bound::Time(time)));
        for wrong in ["", "twelve", "2026-11-01", "1969-01-01T00:00:00Z", "-1"] {
            assert!(wrong.parse::<Bound>().is_err(), "{wrong}");
        }
    }
}

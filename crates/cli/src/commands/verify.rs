//! `counterfoil verify`: checks receipts offline and explains every step.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use counterfoil_durable::file;
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::{Level, verify};
use serde_json::{Value, json};

use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::explain;

/// Verify receipts against a trust file, offline, and explain every step.
///
/// Nothing but the receipt and the trust file is read, and no network is used. Get the trust file
/// from somebody you trust, never together with the receipts.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 every receipt is verified, 1 one is not, 2 one cannot be read as a receipt.

Examples:
  counterfoil verify 12.receipt --trust trust
  counterfoil verify receipts/*.receipt --trust trust --level witnessed
  counterfoil verify 12.receipt --trust trust --json")]
pub(crate) struct Verify {
    /// The receipts.
    #[arg(required = true, value_name = "FILE")]
    receipts: Vec<PathBuf>,
    /// Whom to believe: a tlog-policy file with `operator` lines.
    #[arg(long, value_name = "FILE", env = "COUNTERFOIL_TRUST")]
    trust: PathBuf,
    /// The level that every receipt must reach. Without it, the most that the trust file can show:
    /// witnessed if it asks for witnesses, else logged if it names a log, else signed.
    #[arg(long, value_name = "LEVEL")]
    level: Option<LevelName>,
    /// Explain every step of every receipt. One receipt is always explained, and so is every one
    /// that is not verified.
    #[arg(long)]
    explain: bool,
}

/// How far evidence goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelName {
    /// The operator signed the record.
    Signed,
    /// The record is in a signed batch.
    Committed,
    /// The batch is in a trusted log.
    Logged,
    /// Enough trusted witnesses cosigned the log.
    Witnessed,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Signed => Self::Signed,
            LevelName::Committed => Self::Committed,
            LevelName::Logged => Self::Logged,
            LevelName::Witnessed => Self::Witnessed,
        }
    }
}

pub(crate) fn run(command: &Verify) -> Result<Answer, Problem> {
    let trust = read_trust(&command.trust)?;
    let required = command
        .level
        .map_or_else(|| most_that_can_be_shown(&trust), Level::from);
    let mut text = String::new();
    let mut files = Vec::new();
    let (mut verified, mut unreadable) = (0_usize, 0_usize);
    for path in &command.receipts {
        let bytes = file::read(path).or_next("name the receipt files to verify")?;
        let report = verify(&bytes, &trust, required);
        let name = path.display();
        if command.explain || command.receipts.len() == 1 || !report.is_verified() {
            text.push_str(&format!("{name}\n{}\n", explain::text(&report)));
        } else {
            text.push_str(&format!("{name}: {}\n", explain::verdict(&report)));
        }
        verified += usize::from(report.is_verified());
        unreadable += usize::from(!report.readable);
        let mut value = explain::json(&report, required);
        if let Value::Object(object) = &mut value {
            object.insert("file".to_owned(), json!(path));
        }
        files.push(value);
    }
    let total = files.len();
    if total > 1 {
        text.push_str(&format!(
            "{verified} of {total} receipts verified at level {required}\n"
        ));
    }
    let exit = match (verified == total, unreadable) {
        (true, _) => Exit::Good,
        (false, 0) => Exit::NotVerified,
        (false, _) => Exit::Input,
    };
    Ok(Answer {
        json: json!({
            "verified": verified == total,
            "required": required.as_str(),
            "count": total,
            "receipts": files,
        }),
        text,
        exit,
    })
}

/// Reads and parses a trust file.
pub(crate) fn read_trust(path: &Path) -> Result<Trust, Problem> {
    let text = file::read(path)
        .or_next("give a trust file with --trust; the operator of the log has its first lines")?;
    Trust::parse(&text)
        .at(path.display())
        .or_next("a trust file has `log`, `witness`, `group`, `quorum` and `operator` lines")
}

fn most_that_can_be_shown(trust: &Trust) -> Level {
    if trust.policy().needs_witnesses() {
        Level::Witnessed
    } else if trust.policy().logs().is_empty() {
        Level::Signed
    } else {
        Level::Logged
    }
}

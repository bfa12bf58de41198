//! `counterfoil verify`: checks receipts offline and explains every step.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use counterfoil_durable::file;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::{Audience, Level, Request, verify};
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
  counterfoil verify 12.receipt --trust trust --audience auditor.example --presented
  counterfoil verify 12.receipt --trust trust --attestation payment.json
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
    /// For whom they are verified: a receipt that was presented to another operator does not
    /// verify. Without it, none that was presented to anybody does.
    #[arg(long, value_name = "OPERATOR")]
    audience: Option<String>,
    /// Every receipt must have been presented to the audience.
    #[arg(long, requires = "audience")]
    presented: bool,
    /// Explain every step of every receipt. One receipt is always explained, and so is every one
    /// that is not verified.
    #[arg(long)]
    explain: bool,
    /// Also check that the record refers to this file: that it names its digest. What the file
    /// says, and who signed it, is not verified. Needs a single receipt.
    #[arg(long = "attestation", value_name = "FILE")]
    attestations: Vec<PathBuf>,
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
    let audience = command
        .audience
        .as_deref()
        .map(OperatorName::new)
        .transpose()
        .or_next("name an operator with --audience, such as auditor.example")?;
    let audience = match &audience {
        None => Audience::Unnamed,
        Some(name) if command.presented => Audience::Presented(name),
        Some(name) => Audience::Named(name),
    };
    let request = Request {
        level: required,
        audience,
    };
    if !command.attestations.is_empty() {
        return with_attestations(command, &trust, &request);
    }
    // One at a time: a receipt may be large, and there may be many.
    let receipts = command.receipts.iter().map(|path| {
        let bytes = file::read(path).or_next("name the receipt files to verify")?;
        Ok((path.as_path(), bytes))
    });
    answer(receipts, &trust, &request, command.explain)
}

/// One receipt, and files that its record is said to refer to.
fn with_attestations(
    command: &Verify,
    trust: &Trust,
    request: &Request<'_>,
) -> Result<Answer, Problem> {
    let [path] = command.receipts.as_slice() else {
        return Err(Problem::new(
            "a file is compared with what one receipt refers to, and several are given",
        )
        .next("verify one receipt at a time with --attestation"));
    };
    let bytes = file::read(path).or_next("name the receipt file to verify")?;
    let report = verify(&bytes, trust, *request);
    let one = std::iter::once(Ok((path.as_path(), bytes)));
    let mut answer = answer(one, trust, request, command.explain)?;
    let named = report.facts.as_ref().filter(|_| report.is_verified());
    let named = named.map_or(&[][..], |facts| facts.record.attestations());
    let mut files = Vec::new();
    for file in &command.attestations {
        let evidence = file::read(file).or_next("name a file that the record refers to")?;
        let found = named.iter().find(|named| named.digest.is_of(&evidence));
        let name = file.display();
        answer.text.push_str(&match found {
            Some(named) => format!(
                "{name}: the record refers to this file, as `{}`, {}. Nothing else was checked\n",
                named.kind.as_str(),
                named.digest
            ),
            None if report.is_verified() => {
                format!("{name}: NOT REFERRED TO, the record names no digest of it\n")
            }
            None => format!("{name}: not compared, the receipt is not verified\n"),
        });
        if found.is_none() && answer.exit == Exit::Good {
            answer.exit = Exit::NotVerified;
        }
        files.push(json!({
            "file": file,
            "referred_to": found.is_some(),
            "kind": found.map(|named| named.kind.as_str()),
            "digest": found.map(|named| named.digest.to_string()),
        }));
    }
    if let Value::Object(object) = &mut answer.json {
        object.insert("attestations".to_owned(), Value::Array(files));
    }
    Ok(answer)
}

/// What there is to say of some receipts, and the exit code.
fn answer<'a>(
    receipts: impl ExactSizeIterator<Item = Result<(&'a Path, Vec<u8>), Problem>>,
    trust: &Trust,
    request: &Request<'_>,
    explain: bool,
) -> Result<Answer, Problem> {
    let required = request.level;
    let total = receipts.len();
    let mut text = String::new();
    let mut files = Vec::new();
    let (mut verified, mut unreadable) = (0_usize, 0_usize);
    for receipt in receipts {
        let (path, bytes) = receipt?;
        let report = verify(&bytes, trust, *request);
        let name = path.display();
        if explain || total == 1 || !report.is_verified() {
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

pub(crate) fn most_that_can_be_shown(trust: &Trust) -> Level {
    if trust.policy().needs_witnesses() {
        Level::Witnessed
    } else if trust.policy().logs().is_empty() {
        Level::Signed
    } else {
        Level::Logged
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    const THREADS: usize = 2;

    /// What a test vector holds, after its header.
    fn vector(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../test-vectors")
            .join(name);
        let bytes = fs::read(path).unwrap();
        let head = bytes.windows(2).position(|two| two == b"\n\n").unwrap();
        bytes[head + 2..].to_vec()
    }

    /// How the command ends for one receipt.
    fn exit(receipt: Vec<u8>, trust: &Trust) -> Exit {
        let required = most_that_can_be_shown(trust);
        let one = std::iter::once(Ok((Path::new("it"), receipt)));
        answer(one, trust, &required.into(), false).unwrap().exit
    }

    #[test]
    fn no_bit_of_a_receipt_can_be_flipped() {
        let receipt = vector("receipt/disclosed.vector");
        let trust = Trust::parse(&vector("trust/both-witnesses.vector")).unwrap();
        assert_eq!(exit(receipt.clone(), &trust), Exit::Good);
        let bits = receipt.len() * 8;
        let ends: Vec<(usize, Exit)> = thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|worker| {
                    let (receipt, trust) = (&receipt, &trust);
                    scope.spawn(move || {
                        let flipped = |bit: usize| {
                            let mut bytes = receipt.clone();
                            bytes[bit / 8] ^= 1 << (bit % 8);
                            (bit, exit(bytes, trust))
                        };
                        (worker..bits)
                            .step_by(THREADS)
                            .map(flipped)
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap())
                .collect()
        });
        assert_eq!(ends.len(), bits);
        let good: Vec<usize> = ends
            .iter()
            .filter(|(_, exit)| *exit == Exit::Good)
            .map(|(bit, _)| *bit)
            .collect();
        assert!(good.is_empty(), "bits {good:?} can be flipped");
        // Both kinds of refusal are among them: what still parses is not verified, what does not
        // is wrong input.
        for kind in [Exit::NotVerified, Exit::Input] {
            assert!(ends.iter().any(|(_, exit)| *exit == kind), "no {kind:?}");
        }
    }
}

//! `counterfoil fault verify`: checks a fault proof offline and explains every step.

use std::path::PathBuf;

use clap::Args;
use counterfoil_durable::file;
use counterfoil_protocol::fault::{Accused, FaultReport, FaultStepName, verify_fault};
use counterfoil_protocol::verify::StepOutcome;
use serde_json::json;

use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::commands::verify::read_trust;

/// Verify a fault proof against a trust file, offline, and explain every step.
///
/// A contradiction is made of statements of which nobody who runs the protocol honestly signs all;
/// a breach shows that agreed terms were not kept. Either way it is the accused's own signature that
/// convicts it. That its key was stolen, nobody can see in it.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the accused is convicted, 1 it is not, 2 the file cannot be read as a fault proof.

Examples:
  counterfoil fault verify globex.example.stream_fork.fault --trust trust
  counterfoil fault verify it.fault --trust trust --json")]
pub(crate) struct Verify {
    /// The fault proof.
    #[arg(value_name = "FILE")]
    proof: PathBuf,
    /// Whom to believe: a tlog-policy file with `operator` lines.
    #[arg(long, value_name = "FILE", env = "COUNTERFOIL_TRUST")]
    trust: PathBuf,
}

pub(crate) fn run(command: &Verify) -> Result<Answer, Problem> {
    let trust = read_trust(&command.trust)?;
    let bytes = file::read(&command.proof).or_next("name a fault proof")?;
    let report = verify_fault(&bytes, &trust);
    Ok(answer(&command.proof.display().to_string(), &report))
}

const fn title(step: FaultStepName) -> &'static str {
    match step {
        FaultStepName::Proof => "the file is a fault proof",
        FaultStepName::Manifests => "the accused's key lists go back to a root key you trust",
        FaultStepName::Statement => "the statement is genuine",
        FaultStepName::Keys => "no key was revoked before it signed",
        FaultStepName::Fault => "together they are the fault",
    }
}

fn answer(file: &str, report: &FaultReport) -> Answer {
    let mut text = format!("{file}\n");
    let mut steps = Vec::new();
    for step in &report.steps {
        let mark = match step.outcome {
            StepOutcome::Passed => "pass  ",
            StepOutcome::Absent => "absent",
            StepOutcome::Failed => "FAIL  ",
        };
        text.push_str(&format!(
            "  {mark} {} {}\n           {}\n",
            step.name.number(),
            title(step.name),
            step.detail
        ));
        steps.push(json!({
            "number": step.name.number(),
            "name": step.name.as_str(),
            "checks": title(step.name),
            "outcome": step.outcome.as_str(),
            "detail": step.detail,
        }));
    }
    let accused = report.accused.as_ref().map(ToString::to_string);
    let readable = report.kind.is_some();
    let who = accused.as_deref().unwrap_or("nobody");
    text.push_str(&match (&report.finding, &report.failure) {
        (Some(finding), None) => format!("\n  CONVICTED: {who}. {finding}\n"),
        (_, Some(failure)) if readable => format!("\n  NOT CONVICTED, {failure}. {who}\n"),
        (_, Some(failure)) => format!("\n  NOT A FAULT PROOF, {failure}\n"),
        (None, None) => format!("\n  NOT CONVICTED. {who}\n"),
    });
    if report.convicts() {
        if matches!(report.accused, Some(Accused::Operator(_))) {
            text.push_str(&match report.keys_known_to_size {
                Some(size) => format!(
                    "  this does not show: keys revoked after log size {size}; that the key was not \
                     stolen\n"
                ),
                None => "  this does not show: keys revoked since; that the key was not stolen\n"
                    .to_owned(),
            });
        }
        if !report.cosigned_both.is_empty() {
            text.push_str(&format!(
                "  these witnesses cosigned both: {}\n",
                report.cosigned_both.join(", ")
            ));
        }
    }
    Answer {
        json: json!({
            "file": file,
            "convicts": report.convicts(),
            "readable": readable,
            "kind": report.kind.map(|kind| kind.as_str()),
            "number": report.kind.map(|kind| kind.number()),
            "class": report.kind.map(|kind| kind.class().as_str()),
            "accused": accused,
            "finding": report.finding,
            "failure": report.failure.as_ref().map(|failure| json!({
                "code": failure.code().as_str(),
                "detail": failure.detail(),
                "meaning": failure.code().meaning().trim(),
            })),
            "steps": steps,
            "keys_known_to_size": report.keys_known_to_size,
            "cosigned_both": report.cosigned_both,
        }),
        text,
        exit: match (report.convicts(), readable) {
            (true, _) => Exit::Good,
            (false, true) => Exit::NotVerified,
            (false, false) => Exit::Input,
        },
    }
}

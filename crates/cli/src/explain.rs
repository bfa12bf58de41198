//! A verification report in plain words and as JSON.

use std::fmt::Write as _;

use counterfoil_protocol::attestation::Attestation;
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::verify::{Level, Report, StepName, StepOutcome};
use serde_json::{Value, json};

use crate::show;

/// Every step, in the order of the specification.
const STEPS: [StepName; 14] = [
    StepName::Receipt,
    StepName::Record,
    StepName::Manifests,
    StepName::Key,
    StepName::RecordSignature,
    StepName::Disclosures,
    StepName::Commitment,
    StepName::BatchPath,
    StepName::LogInclusion,
    StepName::Witnesses,
    StepName::ManifestLog,
    StepName::TimeBounds,
    StepName::Presentation,
    StepName::Level,
];

/// What a step checks, in plain words.
const fn title(step: StepName) -> &'static str {
    match step {
        StepName::Receipt => "the file is a receipt",
        StepName::Record => "the record in it is well formed",
        StepName::Manifests => "the operator's key lists go back to a root key you trust",
        StepName::Key => "the key that signed the record is on them",
        StepName::RecordSignature => "the record's signature holds",
        StepName::Disclosures => "what is disclosed is what the record committed to",
        StepName::Commitment => "the same key signed a batch that covers the record",
        StepName::BatchPath => "the record is in that batch",
        StepName::LogInclusion => "the batch is in a log you trust",
        StepName::Witnesses => "enough witnesses you trust cosigned the log",
        StepName::ManifestLog => "the key was in force when the batch was logged",
        StepName::TimeBounds => "witnesses bound the time of the record",
        StepName::Presentation => "it was presented to you, if it was presented to anybody",
        StepName::Level => "the level that was asked for is reached",
    }
}

/// The verdict in one line.
pub(crate) fn verdict(report: &Report) -> String {
    let what = report.facts.as_ref().map_or_else(
        || "no record".to_owned(),
        |facts| {
            format!(
                "record {} of {}: {}",
                facts.record.sequence,
                facts.issuer,
                show::summary(&facts.record)
            )
        },
    );
    match (&report.failure, report.level) {
        (None, Some(level)) => format!("VERIFIED, {level}. {what}"),
        (Some(failure), _) if report.readable => format!("NOT VERIFIED, {failure}. {what}"),
        (Some(failure), _) => format!("NOT A RECEIPT, {failure}"),
        (None, None) => format!("NOT VERIFIED. {what}"),
    }
}

/// The whole report for people.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    for step in STEPS {
        let found = report.steps.iter().find(|found| found.name == step);
        let mark = match found.map(|found| found.outcome) {
            Some(StepOutcome::Passed) => "pass  ",
            Some(StepOutcome::Absent) => "absent",
            Some(StepOutcome::Failed) => "FAIL  ",
            None => "-     ",
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {mark} {:>2} {}", step.number(), title(step));
        match found {
            Some(found) => drop(writeln!(
                text,
                "            {}",
                dated(report, step, &found.detail)
            )),
            None if report.failure.is_some() => {}
            None => drop(writeln!(
                text,
                "            the receipt holds nothing to check here"
            )),
        }
    }
    text.push('\n');
    let _ = writeln!(text, "  {}", verdict(report));
    if let Some(facts) = &report.facts {
        let bound = |bound: Option<u64>, unknown: &str| {
            bound.map_or_else(|| unknown.to_owned(), show::seconds)
        };
        let _ = writeln!(
            text,
            "  not before       {}\n  not after        {}\n  operator's clock {}{}\n  key state        {}",
            bound(
                report.not_before.map(|time| time.get()),
                "unknown: no witness bounds it from this side"
            ),
            bound(
                report.not_after.map(|time| time.get()),
                "unknown: no witness bounds it from this side"
            ),
            show::millis(facts.record.time.get()),
            match report.time_within_bounds {
                Some(true) => " (within the bounds)",
                Some(false) => " (OUTSIDE the bounds)",
                None => " (nothing to compare it with)",
            },
            match report.keys_known_to_size {
                Some(size) => format!("known up to log size {size}"),
                None => "not revoked by the newest manifest in the receipt".to_owned(),
            }
        );
    }
    if report.is_verified() {
        let names = |fields: &[DisclosedField]| -> String {
            let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
            names.join(", ")
        };
        for (label, fields) in [("disclosed", &report.disclosed), ("hidden", &report.hidden)] {
            if !fields.is_empty() {
                let _ = writeln!(text, "  {label:<16} {}", names(fields));
            }
        }
        if let Some(presented) = &report.presented {
            let _ = writeln!(
                text,
                "  presented        by {} to {}, {}",
                presented.presenter,
                presented.audience,
                show::millis(presented.time.get())
            );
        }
        for attestation in attestations(report) {
            let location = attestation.location.as_ref();
            let _ = writeln!(
                text,
                "  referred to      {} {}{}, not verified",
                attestation.kind,
                attestation.digest,
                location.map_or_else(String::new, |location| format!(" at {location}"))
            );
        }
    }
    let _ = writeln!(
        text,
        "  this does not show: {}",
        not_shown(report).join("; ")
    );
    text
}

/// The whole report for machines.
pub(crate) fn json(report: &Report, required: Level) -> Value {
    let steps: Vec<Value> = STEPS
        .iter()
        .map(|step| {
            let found = report.steps.iter().find(|found| found.name == *step);
            json!({
                "number": step.number(),
                "name": step.as_str(),
                "checks": title(*step),
                "outcome": found.map_or("not_run", |found| found.outcome.as_str()),
                "detail": found.map(|found| found.detail.clone()),
            })
        })
        .collect();
    json!({
        "verified": report.is_verified(),
        "readable": report.readable,
        "level": report.level.map(Level::as_str),
        "required": required.as_str(),
        "failure": report.failure.as_ref().map(|failure| json!({
            "code": failure.code().as_str(),
            "detail": failure.detail(),
            "meaning": failure.code().meaning().trim(),
        })),
        "steps": steps,
        "not_before": report.not_before.map(|time| show::seconds(time.get())),
        "not_after": report.not_after.map(|time| show::seconds(time.get())),
        "time_within_bounds": report.time_within_bounds,
        "keys_known_to_size": report.keys_known_to_size,
        "disclosed": report.disclosed.iter().map(|field| field.name()).collect::<Vec<_>>(),
        "hidden": report.hidden.iter().map(|field| field.name()).collect::<Vec<_>>(),
        "presented": report.presented.as_ref().map(|presented| json!({
            "presenter": presented.presenter.as_str(),
            "audience": presented.audience.as_str(),
            "time": show::millis(presented.time.get()),
        })),
        "referred_to": attestations(report).iter().map(|attestation| json!({
            "kind": attestation.kind.as_str(),
            "digest": attestation.digest.to_string(),
            "location": attestation.location.as_ref().map(|location| location.as_str()),
            "verified": false,
        })).collect::<Vec<_>>(),
        "record": report.facts.as_ref().map(|facts| {
            show::record(facts.id, &facts.issuer, facts.kid, &facts.record)
        }),
        "does_not_show": not_shown(report),
    })
}

/// The evidence from elsewhere that the record refers to.
fn attestations(report: &Report) -> &[Attestation] {
    report
        .facts
        .as_ref()
        .map_or(&[], |facts| facts.record.attestations())
}

/// What even a verified receipt leaves open.
fn not_shown(report: &Report) -> Vec<String> {
    if !report.is_verified() {
        return vec!["anything: do not rely on this file".to_owned()];
    }
    let mut open = vec!["that what the operator stated is true, only that it stated it".to_owned()];
    if report.level < Some(Level::Witnessed) {
        open.push("that everybody is shown the same log".to_owned());
    }
    let absent = |step| {
        report
            .steps
            .iter()
            .any(|found| found.name == step && found.outcome == StepOutcome::Absent)
    };
    if absent(StepName::Disclosures) {
        open.push("what was in the parameters or the result".to_owned());
    }
    if !attestations(report).is_empty() {
        open.push("whether the evidence from elsewhere that it refers to holds".to_owned());
    }
    open.push(match report.keys_known_to_size {
        Some(size) => format!("keys revoked after log size {size}"),
        None => "keys revoked since".to_owned(),
    });
    open
}

/// The details with times that people can read.
fn dated(report: &Report, step: StepName, detail: &str) -> String {
    if step != StepName::TimeBounds {
        return detail.to_owned();
    }
    let mut text = detail.to_owned();
    let claimed = report
        .facts
        .as_ref()
        .map(|facts| facts.record.time.seconds());
    for time in [report.not_before, report.not_after, claimed]
        .into_iter()
        .flatten()
    {
        text = text.replace(&time.to_string(), &show::seconds(time.get()));
    }
    text
}

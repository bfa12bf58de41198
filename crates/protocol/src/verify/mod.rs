//! Verifies a receipt and explains every step.
//!
//! The steps run in the order of spec verification §2 and stop at the first failure. What a
//! receipt does not contain is said to be absent, never passed over: an unwitnessed receipt is a
//! different thing from a witnessed one, and the level says which it is.

pub(crate) mod checks;
mod report;
mod steps;

pub use report::{Facts, Report, Step, StepName, StepOutcome};
pub(crate) use steps::LogPosition;

use crate::failure::{Failure, FailureCode};
use crate::manifest::VerifiedManifest;
use crate::names::OperatorName;
use crate::record::VerifiedRecord;
pub use crate::level::Level;
use crate::receipt::Receipt;
use crate::trust::Trust;

/// Verifies the bytes of a receipt against a trust file.
///
/// The receipt is verified if the report has no failure: every part that it contains holds, and it
/// reaches the `required` level.
pub fn verify(receipt: &[u8], trust: &Trust, required: Level) -> Report {
    let mut report = Report::default();
    if let Err(failure) = run(receipt, trust, required, &mut report) {
        report.fail(failure);
    }
    report
}

fn run(encoded: &[u8], trust: &Trust, required: Level, report: &mut Report) -> Result<(), Failure> {
    report.begin(StepName::Receipt);
    let receipt = Receipt::parse(encoded)?;
    report.readable = true;
    report.pass(format!("{} bytes, strictly encoded", encoded.len()));

    let record = steps::record(&receipt, report)?;
    let manifests = steps::manifests(&receipt, record.issuer(), trust, report)?;
    let key = steps::key(&manifests, record.issuer(), record.kid(), report)?;
    let record = steps::record_signature(record, &key, report)?;
    steps::disclosures(&receipt, &record, report)?;
    report.level = Some(Level::Signed);

    let commitment = steps::commitment(&receipt, &record, &key, report)?;
    if let (Some(commitment), Some(batch)) = (&commitment, &receipt.batch) {
        steps::batch_path(&receipt.record, &record, commitment, &batch.path, report)?;
        report.level = Some(Level::Committed);
    }

    let logged = steps::log(&receipt, trust, report)?;
    steps::manifest_log(
        &receipt,
        &manifests,
        record.kid(),
        logged.as_ref(),
        trust,
        report,
    )?;
    if let Some(logged) = &logged {
        report.level = Some(if logged.witnessed {
            Level::Witnessed
        } else {
            Level::Logged
        });
    }
    steps::time_bounds(&receipt, &record, logged.as_ref(), trust, report)?;

    report.begin(StepName::Level);
    let reached = report.level.unwrap_or(Level::Signed);
    if reached < required {
        return Err(Failure::new(
            if reached == Level::Logged {
                FailureCode::QuorumNotMet
            } else {
                FailureCode::LevelNotReached
            },
            format!("the receipt is {reached}, and {required} was asked for"),
        ));
    }
    report.pass(format!("{reached}; {required} was asked for"));
    Ok(())
}

/// Checks a record of `operator` that stands in a file which has the operator's manifests elsewhere:
/// the record, its disclosures, and its places in a batch and in the log as far as they are shown.
/// Says where its commitment is logged. Whether the key was revoked is for the caller to judge.
pub(crate) fn statement(
    receipt: &Receipt,
    operator: &OperatorName,
    manifests: &[VerifiedManifest],
    trust: &Trust,
) -> Result<(VerifiedRecord, Option<LogPosition>), Failure> {
    // The steps explain themselves to a report that nobody reads: the caller says it shorter.
    let mut report = Report::default();
    let record = steps::record(receipt, &mut report)?;
    if record.issuer() != operator {
        return Err(Failure::new(
            FailureCode::FaultAccusedMismatch,
            format!("it is of {}, not of {operator}", record.issuer()),
        ));
    }
    let key = steps::key(manifests, operator, record.kid(), &mut report)?;
    let record = steps::record_signature(record, &key, &mut report)?;
    steps::disclosures(receipt, &record, &mut report)?;
    let commitment = steps::commitment(receipt, &record, &key, &mut report)?;
    if let (Some(commitment), Some(batch)) = (&commitment, &receipt.batch) {
        let path = &batch.path;
        steps::batch_path(&receipt.record, &record, commitment, path, &mut report)?;
    }
    let place = steps::log(receipt, trust, &mut report)?;
    Ok((record, place))
}

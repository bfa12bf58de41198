//! Verifies a receipt and explains every step.
//!
//! The steps run in the order of spec verification §2 and stop at the first failure. What a
//! receipt does not contain is said to be absent, never passed over: an unwitnessed receipt is a
//! different thing from a witnessed one, and the level says which it is.

pub(crate) mod checks;
mod presentation;
mod report;
mod steps;

pub use report::{Facts, Report, Step, StepName, StepOutcome};
pub(crate) use steps::LogPosition;

use crate::failure::{Failure, FailureCode};
pub use crate::level::Level;
use crate::manifest::VerifiedManifest;
use crate::names::OperatorName;
use crate::receipt::Receipt;
use crate::record::VerifiedRecord;
use crate::trust::Trust;

/// What a verifier asks of a receipt. A level alone asks for that level, for no audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// How far the evidence must go.
    pub level: Level,
    /// Whom the receipt is verified for.
    pub audience: Audience<'a>,
}

/// Whom a receipt is verified for. Spec: receipts §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    /// Nobody in particular: a receipt that was presented to somebody does not verify.
    Unnamed,
    /// This operator: a receipt that was presented to another one does not verify.
    Named(&'a OperatorName),
    /// This operator, and the receipt must have been presented to it.
    Presented(&'a OperatorName),
}

impl From<Level> for Request<'_> {
    fn from(level: Level) -> Self {
        Self {
            level,
            audience: Audience::Unnamed,
        }
    }
}

/// Verifies the bytes of a receipt against a trust file.
///
/// The receipt is verified if the report has no failure: every part that it contains holds, and it
/// is all that the request asks for.
pub fn verify<'a>(receipt: &[u8], trust: &Trust, request: impl Into<Request<'a>>) -> Report {
    let mut report = Report::default();
    if let Err(failure) = run(receipt, trust, &request.into(), &mut report) {
        report.fail(failure);
    }
    report
}

fn run(
    encoded: &[u8],
    trust: &Trust,
    request: &Request<'_>,
    report: &mut Report,
) -> Result<(), Failure> {
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

    presentation::presentation(&receipt, &record, &manifests, trust, request, report)?;

    report.begin(StepName::Level);
    let required = request.level;
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

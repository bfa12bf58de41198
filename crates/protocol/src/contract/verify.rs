//! Verifies a contract file and explains every step. Spec: contracts §6.

use super::{ContractFile, Party, Terms};
use crate::digest::ContentDigest;
use crate::failure::{Failure, FailureCode};
use crate::numbers::{UnixMillis, UnixSeconds};
use crate::record::{Body, ChannelControl, ChannelEvent};
use crate::trust::Trust;
use crate::verify::{self, Facts, Report, Request, StepOutcome};

/// The steps, in the order they run. Spec: contracts §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContractStepName {
    /// 1: the file is a contract file.
    File,
    /// 2: the terms are well formed.
    Terms,
    /// 3: a party proposed them to the other.
    Proposal,
    /// 4: the other accepted that proposal.
    Acceptance,
    /// 5: a party ended the contract, or took the proposal back.
    End,
}

impl ContractStepName {
    /// The step's number in the specification.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The step's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Terms => "terms",
            Self::Proposal => "proposal",
            Self::Acceptance => "acceptance",
            Self::End => "end",
        }
    }
}

/// One step and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractStep {
    /// Which step.
    pub name: ContractStepName,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What was checked, for people.
    pub detail: String,
}

/// How far a contract has come, as its file shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContractState {
    /// One side has proposed it.
    Proposed,
    /// Both sides have agreed.
    Accepted,
    /// A side has ended it, or taken its proposal back. It may go on until the notice is over.
    Ended,
}

impl ContractState {
    /// The state's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Accepted => "accepted",
            Self::Ended => "ended",
        }
    }
}

/// The report of the verification of one contract file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContractReport {
    /// The steps that ran, in order.
    pub steps: Vec<ContractStep>,
    /// Why the file does not verify; none if it does.
    pub failure: Option<Failure>,
    /// The salted digest of the terms, by which records refer to the contract.
    pub digest: Option<ContentDigest>,
    /// The terms.
    pub terms: Option<Terms>,
    /// The report on the receipt of the proposal; its bounds say when it was made.
    pub proposal: Option<Report>,
    /// The report on the receipt of the acceptance.
    pub acceptance: Option<Report>,
    /// The report on the receipt of the end.
    pub end: Option<Report>,
    /// How far the contract has come; none if the file does not verify.
    pub state: Option<ContractState>,
    current: Option<ContractStepName>,
}

impl ContractReport {
    /// Whether the file is verified.
    pub const fn is_verified(&self) -> bool {
        self.failure.is_none() && self.state.is_some()
    }

    /// From when on the contract is in force, and from when on it is not any more, by the clocks of
    /// those who agreed to it and ended it; none if there is no such time.
    pub fn in_force(&self) -> Option<(UnixMillis, UnixMillis)> {
        let clauses = self.terms.as_ref()?.clauses();
        let time = |report: &Option<Report>| {
            let facts = report.as_ref()?.facts.as_ref()?;
            Some(facts.record.time)
        };
        self.state?;
        let from = clauses.begins.max(time(&self.acceptance)?);
        let ended = time(&self.end).map(|end| end.saturating_add(clauses.notice.get()));
        let to = ended.map_or(clauses.expires, |end| end.min(clauses.expires));
        (from < to).then_some((from, to))
    }

    /// When the contract was agreed on, as witnesses bound it: not before, and not after.
    pub fn agreed(&self) -> (Option<UnixSeconds>, Option<UnixSeconds>) {
        self.acceptance
            .as_ref()
            .map_or((None, None), |report| (report.not_before, report.not_after))
    }

    fn begin(&mut self, name: ContractStepName) {
        self.current = Some(name);
    }

    fn close(&mut self, outcome: StepOutcome, detail: String) {
        if let Some(name) = self.current.take() {
            self.steps.push(ContractStep {
                name,
                outcome,
                detail,
            });
        }
    }
}

/// Verifies the bytes of a contract file against a trust file. Each receipt in it must be all that
/// `request` asks for.
pub fn verify_contract<'a>(
    file: &[u8],
    trust: &Trust,
    request: impl Into<Request<'a>>,
) -> ContractReport {
    let mut report = ContractReport::default();
    if let Err(failure) = run(file, trust, request.into(), &mut report) {
        report.close(StepOutcome::Failed, failure.to_string());
        report.failure = Some(failure);
    }
    report
}

/// A record of one of the parties to the other about these terms, as verified.
struct Said {
    by: Party,
    facts: Facts,
    control: ChannelControl,
}

fn run(
    encoded: &[u8],
    trust: &Trust,
    request: Request<'_>,
    report: &mut ContractReport,
) -> Result<(), Failure> {
    report.begin(ContractStepName::File);
    let file = ContractFile::parse(encoded)?;
    let size = encoded.len();
    report.close(
        StepOutcome::Passed,
        format!("{size} bytes, strictly encoded"),
    );

    report.begin(ContractStepName::Terms);
    let terms = Terms::parse(&file.terms.content)?;
    let digest = file.terms.digest();
    let detail = format!(
        "{} asks, {} is asked, contract {digest}",
        terms.clauses().asking,
        terms.clauses().asked
    );
    report.digest = Some(digest);
    report.terms = Some(terms.clone());
    report.close(StepOutcome::Passed, detail);

    let check = Check {
        terms: &terms,
        digest,
        trust,
        request,
    };
    report.begin(ContractStepName::Proposal);
    let proposal = check.said(&file.proposal, &mut report.proposal)?;
    if !matches!(
        proposal.control.event,
        ChannelEvent::ContractProposed { .. }
    ) {
        return Err(wrong("a record that does not propose the contract"));
    }
    let detail = format!("{} proposed it", proposal.facts.issuer);
    report.close(StepOutcome::Passed, detail);

    let acceptance = acceptance(&check, &file, &proposal, report)?;
    let end = end(&check, &file, &proposal, acceptance.as_ref(), report)?;
    report.state = Some(if end {
        ContractState::Ended
    } else if acceptance.is_some() {
        ContractState::Accepted
    } else {
        ContractState::Proposed
    });
    Ok(())
}

fn acceptance(
    check: &Check<'_>,
    file: &ContractFile,
    proposal: &Said,
    report: &mut ContractReport,
) -> Result<Option<Said>, Failure> {
    report.begin(ContractStepName::Acceptance);
    let Some(receipt) = &file.acceptance else {
        report.close(StepOutcome::Absent, "it was not accepted".to_owned());
        return Ok(None);
    };
    let said = check.said(receipt, &mut report.acceptance)?;
    match &said.control.event {
        ChannelEvent::ContractAccepted { proposal: id, .. } if *id == proposal.facts.id => {}
        ChannelEvent::ContractAccepted { .. } => {
            return Err(wrong("an acceptance of another proposal"));
        }
        _ => return Err(wrong("a record that does not accept the contract")),
    }
    if said.by == proposal.by {
        return Err(wrong("an acceptance by the side that proposed"));
    }
    let detail = format!("{} accepted it", said.facts.issuer);
    report.close(StepOutcome::Passed, detail);
    Ok(Some(said))
}

fn end(
    check: &Check<'_>,
    file: &ContractFile,
    proposal: &Said,
    acceptance: Option<&Said>,
    report: &mut ContractReport,
) -> Result<bool, Failure> {
    report.begin(ContractStepName::End);
    let Some(receipt) = &file.end else {
        report.close(StepOutcome::Absent, "nobody has ended it".to_owned());
        return Ok(false);
    };
    let said = check.said(receipt, &mut report.end)?;
    let ChannelEvent::ContractEnded { reason, .. } = &said.control.event else {
        return Err(wrong("a record that does not end the contract"));
    };
    let earlier = [Some(proposal), acceptance];
    for before in earlier.into_iter().flatten() {
        if before.facts.kid == said.facts.kid
            && before.facts.record.sequence >= said.facts.record.sequence
        {
            return Err(wrong("an end that comes before what it ends"));
        }
    }
    if let Some(acceptance) = acceptance
        && acceptance.has_seen(&said)
    {
        return Err(wrong("an acceptance of what was known to be taken back"));
    }
    let detail = format!("{} ended it, reason `{reason}`", said.facts.issuer);
    report.close(StepOutcome::Passed, detail);
    Ok(true)
}

impl Said {
    /// Whether whoever said this acknowledged the other record in doing so.
    fn has_seen(&self, other: &Self) -> bool {
        self.control.channel.acknowledged.is_some_and(|seen| {
            seen.stream == other.facts.kid && seen.sequence >= other.control.channel.sequence
        })
    }
}

struct Check<'a> {
    terms: &'a Terms,
    digest: ContentDigest,
    trust: &'a Trust,
    request: Request<'a>,
}

impl Check<'_> {
    /// Verifies a receipt, whose record must be one of a party to the other about these terms.
    fn said(&self, receipt: &[u8], report: &mut Option<Report>) -> Result<Said, Failure> {
        let verified = report.insert(verify::verify(receipt, self.trust, self.request));
        if let Some(failure) = &verified.failure {
            let step = verified.steps.last().map_or("", |step| step.name.as_str());
            return Err(failure.clone().at(&format!("receipt, step {step}")));
        }
        let facts = verified.facts.clone();
        let facts = facts.ok_or_else(|| wrong("a receipt without a record"))?;
        let Body::Channel(control) = facts.record.body.clone() else {
            return Err(wrong("a record that says nothing to a counterparty"));
        };
        let by = self.terms.party(&facts.issuer);
        let to = self.terms.party(&control.channel.counterparty);
        let by = match (by, to) {
            (Some(by), Some(to)) if by != to => by,
            _ => return Err(wrong("a record that is not of one party to the other")),
        };
        match control.event.contract() {
            Some(digest) if digest == self.digest => {}
            Some(_) => {
                return Err(Failure::new(
                    FailureCode::DisclosureMismatch,
                    "the record is about other terms, or these with another salt",
                ));
            }
            None => return Err(wrong("a record that is about no contract")),
        }
        Ok(Said { by, facts, control })
    }
}

fn wrong(detail: &str) -> Failure {
    Failure::new(FailureCode::ContractMismatch, detail)
}

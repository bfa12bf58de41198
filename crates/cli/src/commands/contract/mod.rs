//! `counterfoil contract`: what this operator has agreed on with others.

mod terms;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use counterfoil_durable::file::{self, Access};
use counterfoil_enforcer::environment::{Clock as _, SystemClock};
use counterfoil_gateway::control::{Accept, ContractReport, Contracts, End, Export, Propose};
use counterfoil_protocol::contract::{ContractReport as Verified, Terms, verify_contract};
use counterfoil_protocol::verify::{Level, StepOutcome};
use serde_json::{Value, json};

use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::commands::verify::{LevelName, most_that_can_be_shown, read_trust};
use crate::home::HomeArgument;
use crate::operate::operate;
use crate::show;

#[derive(Debug, Subcommand)]
pub(crate) enum Contract {
    /// Propose a contract to another operator, from terms in a TOML file.
    Propose(ProposeContract),
    /// Accept a contract that another operator has proposed.
    Accept(Named),
    /// List all contracts and proposals.
    List(HomeArgument),
    /// Show one contract: its clauses, and how it stands.
    Show(Named),
    /// Write a contract file: the terms, with the receipts of who proposed, accepted and ended it.
    Export(ExportContract),
    /// End a contract, take a proposal back, or refuse one.
    End(EndContract),
    /// Verify a contract file against a trust file, offline.
    Verify(VerifyContract),
}

#[derive(Debug, Args)]
#[command(after_help = propose_help())]
pub(crate) struct ProposeContract {
    #[command(flatten)]
    home: HomeArgument,
    /// The terms.
    #[arg(value_name = "FILE")]
    terms: PathBuf,
}

fn propose_help() -> String {
    format!(
        "Example:\n  counterfoil contract propose --home acme terms.toml\n\nA terms file:\n\n{}",
        terms::EXAMPLE
    )
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil contract list --home globex
  counterfoil contract show --home globex 7f3a...
  counterfoil contract accept --home globex 7f3a...")]
pub(crate) struct Named {
    #[command(flatten)]
    home: HomeArgument,
    /// The contract's digest, or as much of its beginning as no other one has.
    #[arg(value_name = "CONTRACT")]
    contract: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil contract end --home acme 7f3a... --reason no_longer_needed")]
pub(crate) struct EndContract {
    #[command(flatten)]
    named: Named,
    /// Why, in lower-case letters, digits and `_`. The other side sees it.
    #[arg(long, value_name = "REASON", default_value = "ended")]
    reason: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil contract export --home acme 7f3a... --out with-globex.contract")]
pub(crate) struct ExportContract {
    #[command(flatten)]
    named: Named,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 verified, 1 not verified, 2 it cannot be read.

Example:
  counterfoil contract verify with-globex.contract --trust trust")]
pub(crate) struct VerifyContract {
    /// The contract file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whom to believe: a tlog-policy file with `operator` lines.
    #[arg(long, value_name = "FILE", env = "COUNTERFOIL_TRUST")]
    trust: PathBuf,
    /// The level that every receipt in it must reach. Without it, the most that the trust file can
    /// show.
    #[arg(long, value_name = "LEVEL")]
    level: Option<LevelName>,
}

pub(crate) fn run(command: &Contract) -> Result<Answer, Problem> {
    match command {
        Contract::Propose(command) => propose(command),
        Contract::Accept(command) => accept(command),
        Contract::List(home) => list(home),
        Contract::Show(command) => show_one(command),
        Contract::Export(command) => export(command),
        Contract::End(command) => end(command),
        Contract::Verify(command) => verify(command),
    }
}

fn propose(command: &ProposeContract) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let text = file::read_text(&command.terms)
        .or_next("counterfoil contract propose --help shows a complete terms file")?;
    let trust = file::read_text(&home.trust())?;
    let terms = terms::read(&text, &command.terms, &trust, SystemClock.now())?;
    let operation = Propose {
        terms: STANDARD.encode(terms.encoded()),
    };
    let report = operate(&home, operation)?;
    let next = format!(
        "\nnext, by {}:\n  counterfoil contract accept --home DIR {}\n",
        report.counterparty, report.contract
    );
    Ok(answer(&report, &next))
}

fn accept(command: &Named) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let contract = match command.full() {
        Ok(contract) => contract,
        // In full it may be one that has not come yet.
        Err(_) if command.contract.len() == 64 => command.contract.clone(),
        Err(problem) => return Err(problem),
    };
    Ok(answer(&operate(&home, Accept { contract })?, ""))
}

fn list(home: &HomeArgument) -> Result<Answer, Problem> {
    let reports = operate(&home.layout(), Contracts { contract: None })?;
    let mut text = String::new();
    for report in &reports {
        text.push_str(&format!(
            "{}  {:<10} {}\n",
            report.contract,
            report.standing,
            direction(report)
        ));
    }
    if reports.is_empty() {
        text.push_str("no contracts\n");
    }
    Ok(Answer::good(reports.iter().map(as_json).collect(), text))
}

fn direction(report: &ContractReport) -> String {
    match terms_of(report) {
        Some(terms) => format!("{} asks {}", terms.clauses().asking, terms.clauses().asked),
        None => format!("with {}, its terms have not come", report.counterparty),
    }
}

fn show_one(command: &Named) -> Result<Answer, Problem> {
    let report = command.find()?;
    let mut text = standing(&report);
    if let Some(terms) = terms_of(&report) {
        text.push('\n');
        text.push_str(&terms::text(&terms));
    }
    Ok(Answer::good(as_json(&report), text))
}

fn export(command: &ExportContract) -> Result<Answer, Problem> {
    let contract = command.named.full()?;
    let exported = operate(
        &command.named.home.layout(),
        Export {
            contract: contract.clone(),
        },
    )?;
    let bytes = STANDARD
        .decode(exported)
        .map_err(|_| Problem::new("the gateway's answer is no contract file"))?;
    file::replace(&command.out, &bytes, Access::Owner)?;
    let path = command.out.display();
    Ok(Answer::good(
        json!({ "contract": contract, "file": command.out, "bytes": bytes.len() }),
        format!(
            "{path}: {} bytes. Whoever has it can read the terms.\n",
            bytes.len()
        ),
    ))
}

fn end(command: &EndContract) -> Result<Answer, Problem> {
    let operation = End {
        contract: command.named.full()?,
        reason: command.reason.clone(),
    };
    let report = operate(&command.named.home.layout(), operation)?;
    Ok(answer(&report, ""))
}

impl Named {
    fn find(&self) -> Result<ContractReport, Problem> {
        let all = operate(&self.home.layout(), Contracts { contract: None })?;
        let mut found = all.into_iter().filter(|report| {
            report
                .contract
                .starts_with(self.contract.trim_end_matches('.'))
        });
        match (found.next(), found.next()) {
            (Some(report), None) => Ok(report),
            (None, _) => Err(Problem::new(format!("no contract `{}`", self.contract))
                .next("counterfoil contract list shows them all")),
            (Some(_), Some(_)) => Err(Problem::new(format!(
                "several contracts begin with `{}`",
                self.contract
            ))
            .next("give more digits")),
        }
    }

    fn full(&self) -> Result<String, Problem> {
        Ok(self.find()?.contract)
    }
}

fn terms_of(report: &ContractReport) -> Option<Terms> {
    let bytes = STANDARD.decode(report.terms.as_ref()?).ok()?;
    Terms::parse(&bytes).ok()
}

fn answer(report: &ContractReport, next: &str) -> Answer {
    Answer::good(as_json(report), format!("{}{next}", standing(report)))
}

fn as_json(report: &ContractReport) -> Value {
    let mut value = json!(report);
    if let Value::Object(object) = &mut value {
        let terms = terms_of(report).map(|terms| terms::json(&terms));
        object.insert("terms".to_owned(), json!(terms));
    }
    value
}

fn standing(report: &ContractReport) -> String {
    let mut text = format!("contract {} is {}\n", report.contract, report.standing);
    text.push_str(&format!("{}\n", direction(report)));
    for (said, what) in [
        (&report.proposal, "proposed"),
        (&report.acceptance, "accepted"),
        (&report.end, "ended"),
    ] {
        if let Some(said) = said {
            text.push_str(&format!(
                "{what} by {} at {}, record {}\n",
                said.by,
                show::millis(said.time),
                said.record
            ));
        }
    }
    if let (Some(reason), Some(ends)) = (&report.end_reason, report.ends) {
        text.push_str(&format!(
            "reason {reason}; it is over at {}\n",
            show::millis(ends)
        ));
    }
    if let Some(problem) = &report.admission_problem {
        text.push_str(&format!(
            "its admission policy cannot be applied here: {problem}\n"
        ));
    }
    if let Some(why) = &report.undelivered {
        text.push_str(&format!(
            "{} has not been told yet: {why}. It is told with the next call or exchange.\n",
            report.counterparty
        ));
    }
    text
}

fn verify(command: &VerifyContract) -> Result<Answer, Problem> {
    let trust = read_trust(&command.trust)?;
    let required = command
        .level
        .map_or_else(|| most_that_can_be_shown(&trust), Level::from);
    let bytes = file::read(&command.file).or_next("counterfoil contract export writes one")?;
    let report = verify_contract(&bytes, &trust, required);
    let unreadable = report
        .steps
        .first()
        .is_none_or(|step| step.outcome == StepOutcome::Failed);
    let exit = match (report.is_verified(), unreadable) {
        (true, _) => Exit::Good,
        (false, false) => Exit::NotVerified,
        (false, true) => Exit::Input,
    };
    Ok(Answer {
        json: verified_json(&report, required),
        text: verified_text(&report, required),
        exit,
    })
}

fn verified_json(report: &Verified, required: Level) -> Value {
    let bound = |time: Option<counterfoil_protocol::numbers::UnixSeconds>| {
        time.map(counterfoil_protocol::numbers::UnixSeconds::get)
    };
    let (not_before, not_after) = report.agreed();
    json!({
        "verified": report.is_verified(),
        "required": required.as_str(),
        "contract": report.digest.map(|digest| digest.to_string()),
        "state": report.state.map(|state| state.as_str()),
        "in_force": report.in_force().map(|(from, to)| json!({ "from": from.get(), "to": to.get() })),
        "agreed": { "not_before": bound(not_before), "not_after": bound(not_after) },
        "failure": report.failure.as_ref().map(|failure| json!({
            "code": failure.code().as_str(),
            "detail": failure.detail(),
        })),
        "steps": report.steps.iter().map(|step| json!({
            "number": step.name.number(),
            "name": step.name.as_str(),
            "outcome": step.outcome.as_str(),
            "detail": step.detail,
        })).collect::<Vec<_>>(),
        "terms": report.terms.as_ref().map(terms::json),
    })
}

fn verified_text(report: &Verified, required: Level) -> String {
    let mut text = match (&report.failure, report.state) {
        (None, Some(state)) => format!("VERIFIED at level {required}: {}\n", state.as_str()),
        _ => "NOT VERIFIED\n".to_owned(),
    };
    for step in &report.steps {
        let outcome = match step.outcome {
            StepOutcome::Passed => "ok",
            StepOutcome::Absent => "absent",
            StepOutcome::Failed => "FAILED",
        };
        text.push_str(&format!(
            "  {} {:<10} {outcome:<6} {}\n",
            step.name.number(),
            step.name.as_str(),
            step.detail
        ));
    }
    if let Some((from, to)) = report.in_force() {
        text.push_str(&format!(
            "in force from {} to {}, by the clocks of those who agreed\n",
            show::millis(from.get()),
            show::millis(to.get())
        ));
    }
    if let Some(terms) = report.terms.as_ref().filter(|_| report.is_verified()) {
        text.push('\n');
        text.push_str(&terms::text(terms));
        text.push_str("\nThat it was not ended since, no file can show.\n");
    }
    text
}

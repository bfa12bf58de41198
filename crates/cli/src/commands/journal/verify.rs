//! `counterfoil journal verify`: whether a journal is whole and unchanged.

use clap::Args;
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::publish::{LogClient, LoggedStream};
use counterfoil_enforcer::verify::{self, JournalReport, Others};
use counterfoil_gateway::home::{Home, read_key};
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::Acknowledgement;
use counterfoil_protocol::trust::Trust;
use serde_json::{Value, json};

use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::exchange::Peer;
use crate::home::{HomeArgument, config, journal, operators, trust};
use crate::serve;

/// Check that no record was changed, cut off or left out.
///
/// Alone, a journal can show only that it holds together. So the log is asked what it has of this
/// stream, and the other operators what they have received last. With --offline nobody is asked,
/// and a cut-off end can go unnoticed.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the journal is whole, 1 it is not or nobody could confirm it, 2 it cannot be read.

Example:
  counterfoil journal verify --home acme")]
pub(crate) struct Verify {
    #[command(flatten)]
    home: HomeArgument,
    /// Ask neither the log nor other operators.
    #[arg(long)]
    offline: bool,
}

/// What others said of the journal.
#[derive(Debug, Default)]
struct Asked {
    log: Option<LoggedStream>,
    counterparties: Vec<(OperatorName, Option<Acknowledgement>)>,
    /// Who could not be asked, and why.
    missing: Vec<String>,
}

pub(crate) fn run(command: &Verify) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let trust = trust(&home)?;
    let operators = operators(&home, &trust)?;
    let identity = journal(&home)?.identity()?;
    let key = operators
        .enforcer_key(&identity.operator, identity.kid)
        .at("the journal is of another operator or key")
        .or_next("put the right journal in its place, or look who swapped it")?;
    if let Ok(own) = read_key(&home.enforcer_key())
        && own.public().thumbprint() != identity.kid
    {
        return Err(Problem::new(format!(
            "the journal belongs to key {}, this home's key is {}",
            identity.kid,
            own.public().thumbprint()
        ))
        .next("put the right journal in its place, or look who swapped it"));
    }
    let asked = if command.offline {
        Asked::default()
    } else {
        serve::runtime()?.block_on(ask(&home, &trust, &operators, identity.kid))?
    };
    let others = Others {
        log: asked.log.as_ref(),
        counterparties: &asked.counterparties,
    };
    let report = verify::verify(
        &home.journal(),
        &key,
        &operators,
        &trust,
        &others,
        &mut |_| {},
    )?;
    Ok(answer(command, &report, &asked))
}

async fn ask(
    home: &Home,
    trust: &Trust,
    operators: &Operators,
    kid: KeyThumbprint,
) -> Result<Asked, Problem> {
    let mut asked = Asked::default();
    let config = config(home)?;
    if let Some(log) = &config.log {
        let client = LogClient::new(log.url.as_str())?;
        match client.stream(kid).await {
            Ok(stream) => asked.log = Some(stream),
            Err(error) => asked.missing.push(format!("the log: {error}")),
        }
    }
    for operator in operators.names() {
        if operator == config.operator {
            continue;
        }
        let acknowledged = match Peer::new(home, trust, &operator) {
            Ok(peer) => peer.acknowledged().await,
            Err(problem) => Err(problem),
        };
        match acknowledged {
            Ok(acknowledged) => asked.counterparties.push((operator, acknowledged)),
            Err(problem) => asked.missing.push(format!("{operator}: {problem}")),
        }
    }
    Ok(asked)
}

fn answer(command: &Verify, report: &JournalReport, asked: &Asked) -> Answer {
    let confirmed = asked.missing.is_empty();
    let verified = report.is_verified() && confirmed;
    let mut text = format!(
        "journal of {}, key {}\n\
         {} records, {} of them not sealed yet, {} not logged yet\n\
         {} records of other operators, {} calls open\n",
        report.operator,
        report.kid,
        report.records,
        report.unsealed,
        report.unlogged,
        report.received,
        report.open_calls,
    );
    for finding in &report.findings {
        text.push_str(&format!("WRONG ({}) {}\n", finding.code, finding.detail));
    }
    for missing in &asked.missing {
        text.push_str(&format!("NOT ASKED {missing}\n"));
    }
    let mut confirmers: Vec<String> = asked
        .counterparties
        .iter()
        .map(|(operator, _)| operator.to_string())
        .collect();
    if let Some(stream) = &asked.log {
        confirmers.insert(0, format!("the log ({} batches)", stream.batches));
    }
    text.push_str(&match (report.is_verified(), confirmed) {
        (true, true) if confirmers.is_empty() => {
            "\nHOLDS TOGETHER. Nobody was asked whether its end was cut off.\n".to_owned()
        }
        (true, true) => format!("\nWHOLE, as far as {} know.\n", confirmers.join(", ")),
        (true, false) => "\nNOT CONFIRMED. It holds together, but its end may have been cut off; \
                          ask again when everybody answers.\n"
            .to_owned(),
        (false, _) => {
            "\nNOT WHOLE. Stop the gateway, keep a copy, and find out what happened.\n".to_owned()
        }
    });
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| json!({ "code": finding.code, "detail": finding.detail }))
        .collect();
    Answer {
        json: json!({
            "verified": verified,
            "offline": command.offline,
            "operator": report.operator.as_str(),
            "key": report.kid.to_string(),
            "records": report.records,
            "unsealed": report.unsealed,
            "unlogged": report.unlogged,
            "received": report.received,
            "open_calls": report.open_calls,
            "findings": findings,
            "confirmed_by": confirmers,
            "not_asked": asked.missing,
        }),
        text,
        exit: if verified {
            Exit::Good
        } else {
            Exit::NotVerified
        },
    }
}

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
use crate::home::{HomeArgument, StreamArgument, config, operators, trust};
use crate::serve;

/// Check that no record was changed, cut off or left out.
///
/// Alone, a journal can show only that it holds together; records that were cut off its end leave no
/// trace in it. So the log is asked what it has of this stream, and the other operators what they
/// have received last. A journal that nobody confirms is not verified, not even where there is
/// nobody to ask. With --offline nobody is asked: the answer is then only whether it holds together.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the journal is whole (with --offline: it holds together, and nobody has confirmed its
end), 1 it is not whole or nobody could confirm it, 2 it cannot be read.

Examples:
  counterfoil journal verify --home acme
  counterfoil journal verify --home acme --offline")]
pub(crate) struct Verify {
    #[command(flatten)]
    home: HomeArgument,
    #[command(flatten)]
    stream: StreamArgument,
    /// Ask neither the log nor other operators, and leave open whether the end was cut off.
    #[arg(long)]
    offline: bool,
}

/// How often the log is asked while a running gateway moves on.
const ATTEMPTS: u32 = 4;

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
    let identity = command.stream.open(&home)?.identity()?;
    let key = operators
        .listed_key(&identity.operator, identity.kid)
        .at("the journal is of another operator or key")
        .or_next("put the right journal in its place, or look who swapped it")?;
    if command.stream.is_present()
        && let Ok(own) = read_key(&home.enforcer_key())
        && own.public().thumbprint() != identity.kid
    {
        return Err(Problem::new(format!(
            "the journal belongs to key {}, this home's key is {}",
            identity.kid,
            own.public().thumbprint()
        ))
        .next("put the right journal in its place, or look who swapped it"));
    }
    let mut attempt = 1;
    loop {
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
            &command.stream.journal(&home)?,
            &key,
            &operators,
            &trust,
            &others,
            &mut |_| {},
        )?;
        // A gateway that runs beside this may have published since the log was asked.
        let moved = report.findings.iter().any(|finding| finding.code == "log");
        if !moved || attempt == ATTEMPTS {
            return Ok(answer(command, &report, &asked));
        }
        attempt += 1;
    }
}

async fn ask(
    home: &Home,
    trust: &Trust,
    operators: &Operators,
    kid: KeyThumbprint,
) -> Result<Asked, Problem> {
    let mut asked = Asked::default();
    let config = config(home)?;
    for operator in operators.names() {
        if operator == config.operator {
            continue;
        }
        let acknowledged = match Peer::new(home, trust, &operator) {
            Ok(peer) => peer.acknowledged(kid).await,
            Err(problem) => Err(problem),
        };
        match acknowledged {
            Ok(acknowledged) => asked.counterparties.push((operator, acknowledged)),
            Err(problem) => asked.missing.push(format!("{operator}: {problem}")),
        }
    }
    // Last: what it says is compared with the journal as it is then.
    if let Some(log) = &config.log {
        let client = LogClient::new(log.url.as_str())?;
        match client.stream(kid).await {
            Ok(stream) => asked.log = Some(stream),
            Err(error) => asked.missing.push(format!("the log: {error}")),
        }
    }
    Ok(asked)
}

/// What the verification comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It holds together, and everybody who was asked confirms its end.
    Whole,
    /// It holds together, and nobody was to be asked.
    HoldsTogether,
    /// It holds together, but nobody confirms its end, or not everybody does.
    NotConfirmed,
    /// Something in it is wrong.
    NotWhole,
}

impl Verdict {
    fn new(command: &Verify, report: &JournalReport, asked: &Asked) -> Self {
        let confirmed = asked.missing.is_empty() && !asked.confirmers().is_empty();
        match (report.is_verified(), command.offline, confirmed) {
            (false, _, _) => Self::NotWhole,
            (true, true, _) => Self::HoldsTogether,
            (true, false, true) => Self::Whole,
            (true, false, false) => Self::NotConfirmed,
        }
    }

    const fn exit(self) -> Exit {
        match self {
            Self::Whole | Self::HoldsTogether => Exit::Good,
            Self::NotConfirmed | Self::NotWhole => Exit::NotVerified,
        }
    }

    fn text(self, asked: &Asked) -> String {
        match self {
            Self::Whole => format!("WHOLE, as far as {} know.\n", asked.confirmers().join(", ")),
            Self::HoldsTogether => {
                "HOLDS TOGETHER. Nobody has confirmed its end: records that were \
                                    cut off there would not be missed.\n"
                    .to_owned()
            }
            Self::NotConfirmed if asked.missing.is_empty() => {
                "NOT CONFIRMED. It holds together, but there is nobody who could say whether its \
                 end was cut off: no log is configured, and no other operator has acknowledged a \
                 record. With --offline, only what can be checked alone is checked.\n"
                    .to_owned()
            }
            Self::NotConfirmed => {
                "NOT CONFIRMED. It holds together, but its end may have been cut \
                                   off; ask again when everybody answers.\n"
                    .to_owned()
            }
            Self::NotWhole => "NOT WHOLE. Stop the gateway, keep a copy, and find out what \
                               happened.\n"
                .to_owned(),
        }
    }
}

impl Asked {
    /// Who confirms the end of the journal: the log, and whoever has acknowledged a record.
    fn confirmers(&self) -> Vec<String> {
        let log = self.log.as_ref();
        let operators = self.counterparties.iter();
        log.map(|stream| format!("the log ({} batches)", stream.batches))
            .into_iter()
            .chain(
                operators
                    .filter(|(_, acknowledged)| acknowledged.is_some())
                    .map(|(operator, _)| operator.to_string()),
            )
            .collect()
    }
}

fn answer(command: &Verify, report: &JournalReport, asked: &Asked) -> Answer {
    let verdict = Verdict::new(command, report, asked);
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
    text.push_str(&format!("\n{}", verdict.text(asked)));
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| json!({ "code": finding.code, "detail": finding.detail }))
        .collect();
    Answer {
        json: json!({
            "verified": verdict == Verdict::Whole,
            "holds_together": report.is_verified(),
            "offline": command.offline,
            "operator": report.operator.as_str(),
            "key": report.kid.to_string(),
            "records": report.records,
            "unsealed": report.unsealed,
            "unlogged": report.unlogged,
            "received": report.received,
            "open_calls": report.open_calls,
            "findings": findings,
            "confirmed_by": asked.confirmers(),
            "not_asked": asked.missing,
        }),
        text,
        exit: verdict.exit(),
    }
}

//! `counterfoil channel`: what passes between this operator and others.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use counterfoil_durable::file;
use counterfoil_gateway::control::{self, ChannelReport, Delivery, Status};
use counterfoil_gateway::exchange::Head;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use serde_json::json;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::home::HomeArgument;
use crate::operate::operate;
use crate::show;

#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// Show both heads of every channel, and what is waiting.
    #[command(after_help = "\
Examples:
  counterfoil channel status --home acme
  counterfoil channel status --home acme --json")]
    Status(HomeArgument),
    /// Close a period with a signed statement: what was sent, what was received, what is open.
    Statement(MakeStatement),
    /// Deny that a record, which another operator says is ours, is ours.
    Deny(Deny),
}

/// Close a period with a signed statement: what was sent, what was received, what is open.
///
/// The statement is a record like any other. The other operator takes it in, at once if it can be
/// reached, and refuses it if it names records that it never sent.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil channel statement --home acme --with globex.example")]
pub(crate) struct MakeStatement {
    #[command(flatten)]
    home: HomeArgument,
    /// The other operator.
    #[arg(long, value_name = "OPERATOR")]
    with: String,
}

/// Deny that a record, which another operator says is ours, is ours.
///
/// Only a record that cannot be ours is denied: it names a key that no manifest of ours lists, or
/// our journal holds another record in its place. An operator that denies a record of its own can
/// be convicted with the record and the denial.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil channel deny --home globex --with acme.example forged.receipt --reason forged")]
pub(crate) struct Deny {
    #[command(flatten)]
    home: HomeArgument,
    /// The operator that says it is ours.
    #[arg(long, value_name = "OPERATOR")]
    with: String,
    /// The record, or a receipt of it.
    #[arg(value_name = "FILE")]
    record: PathBuf,
    /// Why, as one word of a-z, 0-9 and `_`.
    #[arg(long, value_name = "CODE")]
    reason: String,
}

pub(crate) fn run(command: &Channel) -> Result<Answer, Problem> {
    match command {
        Channel::Status(home) => status(home),
        Channel::Statement(command) => statement(command),
        Channel::Deny(command) => deny(command),
    }
}

fn statement(command: &MakeStatement) -> Result<Answer, Problem> {
    let asked = control::MakeStatement {
        with: command.with.clone(),
    };
    let made = operate(&command.home.layout(), asked)?;
    let mut text = format!(
        "statement {} to {}: our records {} to {}, {} open\n",
        show::short(&made.record),
        command.with,
        made.from,
        made.sequence.saturating_sub(1),
        made.open
    );
    for received in &made.received {
        text.push_str(&format!(
            "received up to record {} of stream {}\n",
            received.sequence,
            show::short(&received.stream)
        ));
    }
    text.push_str(&delivery(&made.delivery, &command.with));
    Ok(Answer::good(json!(made), text))
}

fn deny(command: &Deny) -> Result<Answer, Problem> {
    let path = command.record.display();
    let bytes = file::read(&command.record)?;
    let record = Receipt::parse(&bytes).map_or(bytes, |receipt| receipt.record);
    UnverifiedRecord::parse(&record).at(format!("{path} is neither a record nor a receipt"))?;
    let asked = control::Deny {
        with: command.with.clone(),
        record: STANDARD.encode(record),
        reason: command.reason.clone(),
    };
    let made = operate(&command.home.layout(), asked)?;
    let mut text = format!(
        "denied {} in record {}\n",
        show::short(&made.denied),
        show::short(&made.record)
    );
    text.push_str(&delivery(&made.delivery, &command.with));
    Ok(Answer::good(json!(made), text))
}

fn delivery(delivery: &Delivery, with: &str) -> String {
    match &delivery.detail {
        None => format!("{with} has it\n"),
        Some(detail) => format!("{with} does not have it yet: {detail}\n"),
    }
}

fn status(home: &HomeArgument) -> Result<Answer, Problem> {
    let channels = operate(&home.layout(), Status {})?;
    let mut text = String::new();
    for channel in &channels {
        text.push_str(&describe(channel));
    }
    if channels.is_empty() {
        text.push_str("nothing has passed between this operator and others\n");
    }
    Ok(Answer::good(json!(channels), text))
}

fn describe(channel: &ChannelReport) -> String {
    let mut text = format!("{}\n", channel.counterparty);
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<15}{value}\n"));
    let head = |head: &Head| format!("record {}, {}", head.sequence, show::short(&head.id));
    line(
        "sent",
        channel.sent.as_ref().map_or("nothing".to_owned(), head),
    );
    if channel.received.is_empty() {
        line("received", "nothing".to_owned());
    }
    for received in &channel.received {
        let stream = show::short(&received.stream);
        line("received", format!("{}, stream {stream}", head(received)));
    }
    line(
        "unacknowledged",
        match (channel.unacknowledged, channel.to_send) {
            (0, _) => "0".to_owned(),
            (all, send) => format!("{all}, of which {send} travel with the next call"),
        },
    );
    for (name, count) in [
        ("asked", channel.asked),
        ("undecided", channel.undecided),
        ("executing", channel.executing),
        ("waiting", channel.waiting),
    ] {
        line(name, count.to_string());
    }
    for gap in &channel.gaps {
        line(
            "gap",
            format!(
                "record {} of stream {} is missing, {} later ones are here",
                gap.expected,
                show::short(&gap.stream),
                gap.ahead
            ),
        );
    }
    for request in &channel.unresolved {
        let said = match (&request.verdict, &request.status) {
            (None, _) => "nothing".to_owned(),
            (Some(verdict), None) => verdict.clone(),
            (Some(verdict), Some(status)) => format!("{verdict}, {status}"),
        };
        line(
            "unresolved",
            format!(
                "request {}: {} says {said}",
                show::short(&request.request),
                channel.counterparty
            ),
        );
    }
    line("period", format!("since our record {}", channel.period));
    line(
        "statement",
        channel.statement.as_ref().map_or("none".to_owned(), head),
    );
    text
}

//! `counterfoil channel`: what passes between this operator and others.

use clap::Subcommand;
use counterfoil_gateway::control::{ChannelReport, Status};
use counterfoil_gateway::exchange::Head;
use serde_json::json;

use crate::answer::{Answer, Problem};
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
}

pub(crate) fn run(command: &Channel) -> Result<Answer, Problem> {
    match command {
        Channel::Status(home) => status(home),
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
    ] {
        line(name, count.to_string());
    }
    text
}

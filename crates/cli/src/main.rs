//! The `counterfoil` command: receipts for what AI agents do, that convince the other side.
//!
//! Every command lives in its own file under `commands`. A command returns an `Answer`, which is
//! printed as text or, with `--json`, as one JSON value; or a `Problem`, which goes to standard
//! error with what to do next. Exit codes: 0 done or verified, 1 not verified, 2 wrong usage or
//! input.

mod answer;
mod arguments;
mod commands;
mod disclosed;
mod evidence;
mod exchange;
mod explain;
mod home;
mod inquiry;
mod log_client;
mod manifests;
mod operate;
mod progress;
mod refresh;
mod serve;
mod show;
mod start;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(arguments.command.serves());
    let json = arguments.json;
    let exit = match commands::run(arguments) {
        Ok(answer) => answer.print(json),
        Err(problem) => problem.print(json),
    };
    exit.into()
}

/// Logs to standard error, which `RUST_LOG` filters. A command that only answers stays quiet
/// unless something is wrong.
fn start_logging(serves: bool) {
    let fallback = if serves { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(fallback));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
}

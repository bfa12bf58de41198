//! `counterfoil demo`: two operators under a contract, a log, two witnesses, an agent, receipts, and
//! a dispute.
//!
//! It runs the commands that users run, as processes of their own; nothing here reaches into the
//! crates behind them.

mod agent;
mod calls;
mod contract;
mod dispute;
mod lines;
mod processes;
mod programs;
mod reconciliation;
mod redaction;
mod relay;
mod report;
mod session;
mod text;
mod victim;
mod witnessed;
mod world;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use self::dispute::Quarrel;
use self::processes::Processes;
use self::report::Report;
use self::victim::Victim;
use self::witnessed::Witnessed;
use crate::answer::{Answer, OrProblem as _, Problem};
use crate::serve;

/// See everything at work: two operators under a contract, a log, witnesses, an agent, receipts, a
/// dispute.
///
/// All processes run on loopback and end with the demo.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 everything came out as it must, 1 something did not, 2 it could not run.

Examples:
  counterfoil demo
  counterfoil demo --dir demo
  counterfoil demo --kill log")]
pub(crate) struct Demo {
    /// Where everything is put, and stays; must not exist yet. Without it a temporary directory is
    /// used and removed.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep the temporary directory.
    #[arg(long)]
    keep: bool,
    /// In the middle of the session, end this process as `kill -9` does, and start it again. All
    /// must come out the same.
    #[arg(long, value_name = "NAME")]
    kill: Option<Victim>,
}

pub(crate) fn run(command: &Demo, _json: bool) -> Result<Answer, Problem> {
    let directory = match &command.dir {
        Some(path) => {
            std::fs::create_dir(path)
                .at(path.display())
                .or_next("give a directory that does not exist yet")?;
            std::fs::canonicalize(path).at(path.display())?
        }
        None => temporary()?,
    };
    let keep = command.keep || command.dir.is_some();
    let result = serve::runtime()?.block_on(async {
        let end = serve::asked_to_end()?;
        tokio::select! {
            result = demo(&directory, keep, command.kill) => result,
            () = end => Err(Problem::new("the demo was interrupted")),
        }
    });
    if !keep {
        // What cannot be removed is in a temporary directory anyway.
        let _ = std::fs::remove_dir_all(&directory);
    }
    result
}

async fn demo(directory: &Path, keep: bool, kill: Option<Victim>) -> Result<Answer, Problem> {
    let programs = programs::find().await?;
    let started = Instant::now();
    let mut processes = Processes::new(directory)?;
    processes.note(format!("cd {}", directory.display()));
    if let Some(line) = &programs.built {
        processes.note(line);
    }
    processes.note("# a log, two witnesses, two operators");
    let world = world::set_up(directory, &programs, &mut processes).await?;
    processes.note("# the agent calls acme's own desk");
    let mut made = session::over_pipes(&world, &mut processes).await?;
    world.start_acme(&mut processes).await?;
    processes.note("# the contract");
    let agreed = contract::agree(&world, &mut processes).await?;
    made.extend(session::over_http(&world, &mut processes, kill).await?);
    processes.note("# the receipts of both sides, after the agent has called globex");
    let receipts = session::receipts(&mut processes).await?;
    let lines = lines::lines(&made, &receipts);
    processes.note("# the contract as a file");
    let contract = agreed.look_back(&lines, &mut processes).await?;
    let refund = lines
        .iter()
        .find(|line| line.is_witnessed())
        .ok_or_else(|| Problem::new("no refund was made between the two"))?;
    processes.note("# both halves");
    let reconciliation = reconciliation::reconcile(&mut processes).await?;
    processes.note("# a redacted receipt");
    let redaction = redaction::redact(refund, &world, &mut processes).await?;
    processes.note("# the dispute; first globex tries what its own software does not do");
    let quarrel = Quarrel::begin(refund, &mut processes).await?;
    processes.note("# every journal is whole");
    let journals = session::journals(&mut processes).await?;
    processes.end().await;
    processes.note("# all processes have ended; globex takes its key elsewhere");
    let dispute = quarrel.end(&world, &mut processes).await?;
    let (log, _) = processes.run_any(&["log", "check", "--dir", "log"]).await?;
    let report = Report {
        directory,
        kept: keep,
        seconds: started.elapsed().as_secs_f64(),
        witnessed: Witnessed::of(refund, &lines),
        lines: &lines,
        receipts: &receipts,
        contract: &contract,
        reconciliation: &reconciliation,
        redaction: &redaction,
        dispute: &dispute,
        journals: &journals,
        log: &log,
        killed: kill.map(Victim::name),
        did: &read_lines(&directory.join("globex-did.txt"))?,
        tampered: world.relay.has_tampered(),
        commands: processes.transcript(),
    };
    Ok(report.answer())
}

fn read_lines(path: &Path) -> Result<Vec<String>, Problem> {
    let text = std::fs::read_to_string(path).at(path.display())?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// A new directory for this run alone.
fn temporary() -> Result<PathBuf, Problem> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).at("no randomness")?;
    let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = std::env::temp_dir().join(format!("counterfoil-demo-{name}"));
    counterfoil_durable::file::create_directory(&path)?;
    Ok(path)
}

//! `counterfoil demo`: two operators, a log, two witnesses, an agent, and receipts.
//!
//! It runs the commands that users run, as processes of their own; nothing here reaches into the
//! crates behind them.

mod agent;
mod calls;
mod desk;
mod processes;
mod relay;
mod report;
mod victim;
mod world;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::Value;

use self::agent::{CallResult, StdioAgent};
use self::calls::PlannedCall;
use self::processes::Processes;
use self::report::Report;
use self::victim::Victim;
use self::world::World;
use crate::answer::{Answer, OrProblem as _, Problem};
use crate::serve;

/// See everything at work: two operators, a log, witnesses, an agent, receipts.
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

/// One call and what became of it.
#[derive(Clone, Debug)]
struct MadeCall {
    planned: PlannedCall,
    result: CallResult,
    /// Over pipes to a desk of acme's own, instead of over HTTP to globex.
    local: bool,
}

/// The receipts of both sides, as `verify --json` explains them.
#[derive(Debug)]
struct Receipts {
    /// Of all of acme's records.
    acme: Vec<Value>,
    /// Of all of globex's records.
    globex: Vec<Value>,
    /// Of the records that globex sent to acme, as acme got them from globex.
    globex_from_globex: Vec<Value>,
    /// How many receipt files there are, and how many of them verified.
    files: usize,
    verified: usize,
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
    let (desk, built) = desk::find().await?;
    let started = Instant::now();
    let mut processes = Processes::new(directory)?;
    processes.note(format!("cd {}", directory.display()));
    if let Some(line) = built {
        processes.note(line);
    }
    let world = world::set_up(directory, &desk, &mut processes).await?;
    let mut made = over_pipes(&world, &mut processes).await?;
    world.start_acme(&mut processes).await?;
    made.extend(over_http(&world, &mut processes, kill).await?);
    let receipts = receipts(&mut processes).await?;
    let journals = journals(&mut processes).await?;
    processes.end().await;
    let (log, _) = processes.run_any(&["log", "check", "--dir", "log"]).await?;
    let report = Report {
        directory,
        kept: keep,
        seconds: started.elapsed().as_secs_f64(),
        calls: &made,
        receipts: &receipts,
        journals: &journals,
        log: &log,
        killed: kill.map(Victim::name),
        did: &read_lines(&directory.join("globex-did.txt"))?,
        tampered: world.relay.has_tampered(),
        commands: processes.transcript(),
    };
    Ok(report.answer())
}

async fn over_pipes(world: &World, processes: &mut Processes) -> Result<Vec<MadeCall>, Problem> {
    let desk = world.desk.display().to_string();
    let did = world.directory.join("acme-did.txt").display().to_string();
    let child = processes.piped(
        &[
            "mcp",
            "--home",
            "acme",
            "--agent",
            "support-bot",
            "--",
            &desk,
            "--did",
            &did,
        ],
        "acme-mcp.txt",
    )?;
    let mut agent = StdioAgent::connect(child).await?;
    let mut made = Vec::new();
    for planned in calls::over_pipes() {
        let result = agent.call(planned.tool, &planned.arguments).await?;
        made.push(MadeCall {
            planned,
            result,
            local: true,
        });
    }
    agent.end().await?;
    Ok(made)
}

async fn over_http(
    world: &World,
    processes: &mut Processes,
    kill: Option<Victim>,
) -> Result<Vec<MadeCall>, Problem> {
    let planned = calls::over_http();
    let dies_before = planned.len() / 2;
    let mut agent = world.agent().await?;
    let mut made = Vec::new();
    for (number, planned) in planned.into_iter().enumerate() {
        if let Some(victim) = kill {
            if number == dies_before {
                victim.kill(processes).await?;
            }
            if number == dies_before + victim.calls_without() {
                victim.restart(world, processes, &mut agent).await?;
            }
        }
        if let Some((from, to)) = planned.tampered {
            world.relay.tamper(from, to);
        }
        let result = agent.call(planned.tool, &planned.arguments).await?;
        made.push(MadeCall {
            planned,
            result,
            local: false,
        });
    }
    Ok(made)
}

/// Gets all receipts, each from its own operator and from the other one, and verifies them.
async fn receipts(processes: &mut Processes) -> Result<Receipts, Problem> {
    let mut explained = Vec::new();
    let (mut files, mut verified) = (0, 0);
    for (home, from, folder) in [
        ("acme", None, "receipts/acme"),
        ("globex", None, "receipts/globex"),
        ("globex", Some("acme.example"), "receipts/acme-from-acme"),
        (
            "acme",
            Some("globex.example"),
            "receipts/globex-from-globex",
        ),
    ] {
        let mut arguments = vec!["receipt", "get", "--home", home, "--all"];
        if let Some(operator) = from {
            arguments.extend(["--from", operator]);
        }
        arguments.extend(["--wait", "witnessed", "--out", folder]);
        let got = processes.run(&arguments).await?;
        let paths: Vec<&str> = got
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|receipt| receipt.get("file").and_then(Value::as_str))
            .collect();
        let mut arguments = vec!["verify", "--trust", "trust", "--level", "witnessed"];
        arguments.extend(&paths);
        let (report, _) = processes.run_any(&arguments).await?;
        let list = report
            .get("receipts")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        files += list.len();
        verified += list
            .iter()
            .filter(|receipt| receipt.get("verified") == Some(&Value::Bool(true)))
            .count();
        explained.push(list);
    }
    let mut explained = explained.into_iter();
    let mut next = || explained.next().unwrap_or_default();
    let (acme, globex, _, globex_from_globex) = (next(), next(), next(), next());
    Ok(Receipts {
        acme,
        globex,
        globex_from_globex,
        files,
        verified,
    })
}

async fn journals(processes: &mut Processes) -> Result<Vec<Value>, Problem> {
    let mut found = Vec::new();
    for home in ["acme", "globex"] {
        let (report, _) = processes
            .run_any(&["journal", "verify", "--home", home])
            .await?;
        found.push(report);
    }
    Ok(found)
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

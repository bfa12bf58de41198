//! The agent's session: its calls, and the receipts of both sides for them.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::agent::{CallResult, StdioAgent};
use super::calls::{self, PlannedCall};
use super::processes::Processes;
use super::victim::Victim;
use super::world::World;
use crate::answer::Problem;

/// One call and what became of it.
#[derive(Clone, Debug)]
pub(super) struct MadeCall {
    pub(super) planned: PlannedCall,
    pub(super) result: CallResult,
    /// From the question to the answer, as the agent sees it.
    pub(super) took: Duration,
    /// Over pipes to a desk of acme's own, instead of over HTTP to globex.
    pub(super) local: bool,
}

/// The receipts of both sides, as `verify --json` explains them.
#[derive(Debug)]
pub(super) struct Receipts {
    /// Of all of acme's records.
    pub(super) acme: Vec<Value>,
    /// Of all of globex's records.
    pub(super) globex: Vec<Value>,
    /// Of the records that globex sent to acme, as acme got them from globex.
    pub(super) globex_from_globex: Vec<Value>,
    /// How many receipt files there are, and how many of them verified.
    pub(super) files: usize,
    pub(super) verified: usize,
}

pub(super) async fn over_pipes(
    world: &World,
    processes: &mut Processes,
) -> Result<Vec<MadeCall>, Problem> {
    let desk = world.desk.display().to_string();
    let did = world.directory.join("acme-did.txt").display().to_string();
    let command = ["mcp", "--home", "acme", "--agent", "support-bot", "--"];
    let child = processes.piped(
        &[&command[..], &[&desk, "--did", &did]].concat(),
        "acme-mcp.txt",
    )?;
    let mut agent = StdioAgent::connect(child).await?;
    let mut made = Vec::new();
    for planned in calls::over_pipes() {
        let begin = Instant::now();
        let result = agent.call(planned.tool, &planned.arguments).await?;
        made.push(MadeCall {
            planned,
            result,
            took: begin.elapsed(),
            local: true,
        });
    }
    agent.end().await?;
    Ok(made)
}

pub(super) async fn over_http(
    world: &World,
    processes: &mut Processes,
    kill: Option<Victim>,
) -> Result<Vec<MadeCall>, Problem> {
    let planned = calls::over_http();
    let without = kill.map_or(0, Victim::calls_without);
    let dies_before = calls::quiet_stretch(&planned, without);
    let mut agent = world.agent().await?;
    let mut made = Vec::new();
    for (number, planned) in planned.into_iter().enumerate() {
        if let Some(victim) = kill {
            if number == dies_before {
                victim.kill(processes).await?;
            }
            if number == dies_before + without {
                victim.restart(world, processes, &mut agent).await?;
            }
        }
        if let Some((from, to)) = planned.tampered {
            world.relay.tamper(from, to);
        }
        let begin = Instant::now();
        let result = agent.call(planned.tool, &planned.arguments).await?;
        made.push(MadeCall {
            planned,
            result,
            took: begin.elapsed(),
            local: false,
        });
    }
    Ok(made)
}

/// Gets all receipts, each from its own operator and from the other one, and verifies them.
pub(super) async fn receipts(processes: &mut Processes) -> Result<Receipts, Problem> {
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

pub(super) async fn journals(processes: &mut Processes) -> Result<Vec<Value>, Problem> {
    let mut found = Vec::new();
    for home in ["acme", "globex"] {
        let (report, _) = processes
            .run_any(&["journal", "verify", "--home", home])
            .await?;
        found.push(report);
    }
    Ok(found)
}

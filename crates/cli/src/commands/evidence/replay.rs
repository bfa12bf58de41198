//! `counterfoil evidence replay`: decides again what was decided.

mod judge;

use std::path::PathBuf;

use clap::Args;
use counterfoil_durable::file;
use counterfoil_enforcer::EnforcerError;
use counterfoil_enforcer::export::{Exporter, Selection, Sink};
use counterfoil_enforcer::policy::Policy as _;
use counterfoil_policy::PolicySet;
use counterfoil_protocol::bundle::{Summary, Verifier};
use counterfoil_protocol::contract::verify_contract;
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::trust::Trust;
use serde_json::json;

use self::judge::{Counts, Difference, Judge};
use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::commands::verify::{LevelName, read_trust};
use crate::evidence::{Piece, is_about_form};
use crate::home;
use crate::progress::Progress;
use crate::show;

/// Decide again what was decided, and say whether the recorded verdicts follow.
///
/// Where a record discloses its evaluation input, the policy set that it names is asked again, and
/// verdict, reason, policies, tier and amounts must come out the same. Balances are computed again
/// from the records, whatever is disclosed. Where the terms of a contract are known, what was
/// allowed under it must be permitted by it. The first record that does not follow is named.
///
/// The evaluation input is kept only with keep_clear_text = true in operator.toml. What is not
/// disclosed cannot be decided again, and is counted.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 everything that could be decided again follows, 1 something does not, the evidence does
not verify, or no record names a policy set that was given, 2 wrong usage or input.

Examples:
  counterfoil evidence replay --home acme
  counterfoil evidence replay audit.evidence --trust trust --policy acme/policy
  counterfoil evidence replay audit.evidence --trust trust --policy old/ --policy new/")]
pub(crate) struct Replay {
    /// Bundles that disclose the evaluation input, as `evidence export --disclose` writes them.
    #[arg(value_name = "FILE", required_unless_present = "home")]
    bundles: Vec<PathBuf>,
    /// An operator's home, whose journal is replayed, with the policy set in it.
    #[arg(long, value_name = "DIR", conflicts_with = "bundles")]
    home: Option<PathBuf>,
    /// Whom to believe: a tlog-policy file with `operator` lines. With --home, the one in it.
    #[arg(
        long,
        value_name = "FILE",
        env = "COUNTERFOIL_TRUST",
        required_unless_present = "home"
    )]
    trust: Option<PathBuf>,
    /// Folders with policy sets. Each record says by its digest which one it was decided with.
    #[arg(long, value_name = "DIR")]
    policy: Vec<PathBuf>,
    /// Contracts whose terms the records do not disclose.
    #[arg(long, value_name = "FILE")]
    contract: Vec<PathBuf>,
    /// The level that every record must reach.
    #[arg(long, value_name = "LEVEL", default_value = "signed")]
    level: LevelName,
}

pub(crate) fn run(command: &Replay) -> Result<Answer, Problem> {
    let layout = command
        .home
        .as_deref()
        .map(counterfoil_gateway::home::Home::new);
    let trust = match (&command.trust, &layout) {
        (Some(path), _) => read_trust(path)?,
        (None, Some(home)) => home::trust(home)?,
        (None, None) => return Err(Problem::new("no trust file")),
    };
    let mut folders = command.policy.clone();
    if folders.is_empty() {
        folders.extend(layout.iter().map(|home| home.policy()));
    }
    let policies = policies(&folders)?;
    // The home's own set may have changed since. One that somebody names is meant to be used.
    let mut given: Vec<(PathBuf, String)> = Vec::new();
    for (folder, set) in folders.iter().zip(&policies) {
        if command.policy.contains(folder) {
            given.push((folder.clone(), set.digest().to_string()));
        }
    }
    let mut judge = Judge::new(policies);
    for path in &command.contract {
        let bytes = file::read(path).or_next("name contract files with --contract")?;
        let report = verify_contract(&bytes, &trust, Level::Signed);
        match (report.digest, report.terms, report.failure) {
            (Some(digest), Some(terms), None) => judge.contract(digest, terms),
            (_, _, failure) => {
                let why = failure.map_or_else(String::new, |failure| failure.to_string());
                return Err(Problem::new(format!("{}: {why}", path.display())));
            }
        }
    }
    let mut summaries = Vec::new();
    match &layout {
        Some(layout) => {
            let summary = replay_home(layout, &trust, command.level.into(), &mut judge)?;
            summaries.push((layout.journal().display().to_string(), summary));
        }
        None => {
            for path in &command.bundles {
                let piece = Piece::open(path)?;
                let read = piece.read(&trust, command.level.into(), |entry, verifier| {
                    judge.take(&entry, verifier);
                })?;
                summaries.push((piece.place(), read.summary));
            }
        }
    }
    given.retain(|(_, digest)| !judge.names(digest));
    let (counts, differences) = judge.finish();
    Ok(answer(&summaries, &counts, &differences, &given))
}

fn policies(folders: &[PathBuf]) -> Result<Vec<PolicySet>, Problem> {
    let load = |folder: &PathBuf| {
        PolicySet::load(folder)
            .at(folder.display())
            .or_next("name the folder of a policy set with --policy")
    };
    folders.iter().map(load).collect()
}

/// Verifies a bundle while it is being made.
struct Feed<'f, 't> {
    verifier: &'f mut Verifier<'t>,
    judge: &'f mut Judge,
    progress: Progress,
}

impl Sink for Feed<'_, '_> {
    fn item(&mut self, bytes: &[u8]) -> Result<(), EnforcerError> {
        self.verifier.push(bytes);
        while let Some(entry) = self.verifier.next_entry()? {
            self.judge.take(&entry, self.verifier);
        }
        Ok(())
    }

    fn seen(&mut self, records: u64) {
        self.progress.at(records, None, "records");
    }
}

fn replay_home(
    layout: &counterfoil_gateway::home::Home,
    trust: &Trust,
    required: Level,
    judge: &mut Judge,
) -> Result<Summary, Problem> {
    let readers = home::journals(layout)?;
    let operator = home::journal(layout)?.identity()?.operator;
    let selection = Selection {
        disclose: DisclosedField::ALL.to_vec(),
        ..Selection::default()
    };
    let mut verifier = Verifier::new(trust, required);
    let mut feed = Feed {
        verifier: &mut verifier,
        judge,
        progress: Progress::new("replay"),
    };
    let manifests = home::own_manifests(layout)?;
    let mut exporter = Exporter::begin(operator, manifests, &selection, &mut feed)?;
    exporter.journals(&readers)?;
    drop(feed);
    // A refusal stands in the summary.
    let _ = verifier.finish();
    Ok(verifier.summary().clone())
}

fn answer(
    summaries: &[(String, Summary)],
    counts: &Counts,
    differences: &[Difference],
    not_named: &[(PathBuf, String)],
) -> Answer {
    let mut text = String::new();
    let mut not_verified = Vec::new();
    let mut unreadable = false;
    for (place, summary) in summaries {
        if summary.is_good() {
            continue;
        }
        let failure = summary.failure();
        unreadable |= summary.records == 0 && failure.as_ref().is_some_and(is_about_form);
        let why = failure.map_or_else(
            || "it is not read to its end".to_owned(),
            |failure| failure.to_string(),
        );
        text.push_str(&format!("NOT VERIFIED {place}: {why}\n"));
        not_verified.push(json!({ "file": place, "detail": why }));
    }
    for difference in differences {
        text.push_str(&format!(
            "DOES NOT FOLLOW record {} of {} ({}): {}\n",
            difference.sequence,
            difference.operator,
            show::short(&difference.id.to_string()),
            difference.detail
        ));
    }
    for (folder, digest) in not_named {
        text.push_str(&format!(
            "NOT NAMED {}: no record was decided with this policy set ({})\n",
            folder.display(),
            show::short(digest)
        ));
    }
    for (count, what) in counts.lines() {
        if count > 0 {
            text.push_str(&format!("{count:>8} {what}\n"));
        }
    }
    let contradicted = !differences.is_empty() || !not_verified.is_empty();
    let good = !contradicted && not_named.is_empty();
    text.push_str(match (good, counts.decided_again) {
        (false, _) if contradicted => "\nDOES NOT FOLLOW.\n",
        (false, _) => {
            "\nNOT SHOWN TO FOLLOW: a policy set that was given is not that of the records.\n"
        }
        (true, 0) => "\nFOLLOWS, as far as the records go: no verdict could be decided again.\n",
        (true, _) => "\nFOLLOWS.\n",
    });
    let shown: Vec<_> = differences.iter().map(Difference::json).collect();
    Answer {
        json: json!({
            "follows": good,
            "first": shown.first(),
            "differences": shown,
            "not_verified": not_verified,
            "policy_sets_not_named": not_named.iter().map(|(folder, digest)| {
                json!({ "folder": folder, "policy_set": digest })
            }).collect::<Vec<_>>(),
            "records": counts.records,
            "decided_again": counts.decided_again,
            "input_not_disclosed": counts.closed,
            "policy_set_not_given": counts.without_policy,
            "refused_before_policy": counts.before_policy,
            "refused_after_policy": counts.after_policy,
            "balances": counts.balances,
            "under_contract": counts.under_contract,
        }),
        text,
        exit: match (good, unreadable) {
            (true, _) => Exit::Good,
            (false, false) => Exit::NotVerified,
            (false, true) => Exit::Input,
        },
    }
}

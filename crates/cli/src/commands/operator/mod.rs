//! `counterfoil operator`: this operator's manifest, and those of others.

mod add_enforcer;
mod revoke;
mod rotate;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_durable::file;
use counterfoil_gateway::home::Home;
use counterfoil_protocol::manifest::{UnverifiedManifest, VerifiedManifest};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::trust::operator_vkey;
use serde_json::json;
use zeroize::Zeroizing;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::home::{HomeArgument, config, own_manifests, trust};
use crate::log_client::LogClient;
use crate::refresh::{fetch_verified, keep};
use crate::{manifests, serve};

#[derive(Debug, Subcommand)]
pub(crate) enum Operator {
    /// Have this operator's manifest logged, so that others find its keys.
    Register(Register),
    /// Get the manifests of another operator from the log, verify and keep them.
    Fetch(Fetch),
    /// Show operators: their keys with their states, their manifests, and whether we trust them.
    Show(show::Show),
    /// Replace the key of this enforcer, or the root key, by a new one.
    Rotate(rotate::Rotate),
    /// Revoke a key: nothing that it signs counts once the log holds the revocation.
    Revoke(revoke::Revoke),
    /// Make a further enforcer of this operator, with a home of its own.
    AddEnforcer(add_enforcer::AddEnforcer),
    /// Print the line that others need in their trust file.
    TrustLine(HomeArgument),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil operator register --home acme --token-file log/admission.token")]
pub(crate) struct Register {
    #[command(flatten)]
    home: HomeArgument,
    /// The log; by default the one in operator.toml.
    #[arg(long, value_name = "URL")]
    log: Option<String>,
    /// The token that the log asks of new operators.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "COUNTERFOIL_ADMISSION_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// A file with that token.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil operator fetch --home acme globex.example")]
pub(crate) struct Fetch {
    #[command(flatten)]
    home: HomeArgument,
    /// The log; by default the one in operator.toml.
    #[arg(long, value_name = "URL")]
    log: Option<String>,
    /// The operator.
    #[arg(value_name = "NAME")]
    operator: String,
}

pub(crate) fn run(command: &Operator) -> Result<Answer, Problem> {
    match command {
        Operator::Register(command) => serve::runtime()?.block_on(register(command)),
        Operator::Fetch(command) => serve::runtime()?.block_on(fetch(command)),
        Operator::Show(command) => show::show(command),
        Operator::Rotate(command) => serve::runtime()?.block_on(rotate::rotate(command)),
        Operator::Revoke(command) => serve::runtime()?.block_on(revoke::revoke(command)),
        Operator::AddEnforcer(command) => serve::runtime()?.block_on(add_enforcer::add(command)),
        Operator::TrustLine(home) => trust_line(&home.layout()),
    }
}

async fn register(command: &Register) -> Result<Answer, Problem> {
    let home = &command.home.layout();
    let trust = trust(home)?;
    let url = log_url(home, command.log.as_deref())?;
    let client = LogClient::new(&url)?;
    let token = match (&command.token, &command.token_file) {
        (Some(token), _) => Some(Zeroizing::new(token.clone())),
        (None, Some(path)) => Some(Zeroizing::new(file::read_text(path)?.trim().to_owned())),
        (None, None) => None,
    };
    let mut registered = Vec::new();
    for (version, part) in (1_u64..).zip(own_manifests(home)?) {
        let manifest = UnverifiedManifest::parse(&part.manifest)?;
        let checked = manifests::register(
            home,
            &client,
            &trust,
            version,
            &part.manifest,
            token.as_ref(),
        )
        .await?;
        registered.push((manifest.operator().clone(), version, checked));
    }
    let mut text = String::new();
    let mut list = Vec::new();
    for (operator, version, (index, size)) in &registered {
        text.push_str(&format!(
            "manifest {version} of {operator} is entry {index} of the log at {url}, proved at size {size}\n"
        ));
        list.push(json!({ "operator": operator.as_str(), "version": version, "index": index, "size": size }));
    }
    text.push_str(&format!(
        "\nnext:\n  counterfoil gateway serve --home {}\n",
        home.directory().display()
    ));
    Ok(Answer::good(json!({ "log": url, "manifests": list }), text))
}

async fn fetch(command: &Fetch) -> Result<Answer, Problem> {
    let home = &command.home.layout();
    let trust = trust(home)?;
    let operator = OperatorName::new(command.operator.as_str())?;
    trust.roots(&operator).or_next(format!(
        "put the operator's line into {}: {operator} prints it with `counterfoil operator trust-line`",
        home.trust().display()
    ))?;
    let client = LogClient::new(&log_url(home, command.log.as_deref())?)?;
    let fetched = fetch_verified(&client, &operator, &trust).await?;
    keep(home, &operator, &fetched)?;
    let count = fetched.len();
    Ok(Answer::good(
        json!({ "operator": operator.as_str(), "versions": count, "folder": home.peer(&operator) }),
        format!(
            "{count} manifest(s) of {operator} verified and kept in {}\n",
            home.peer(&operator).display()
        ),
    ))
}

fn trust_line(home: &Home) -> Result<Answer, Problem> {
    let chain = manifests::chain(&own_manifests(home)?)?;
    let first = chain
        .first()
        .map(VerifiedManifest::manifest)
        .ok_or_else(|| Problem::new("there is no manifest"))?;
    let lines: Vec<String> = first
        .roots
        .iter()
        .map(|root| {
            Ok(format!(
                "operator {}",
                operator_vkey(&first.operator, root)?
            ))
        })
        .collect::<Result<_, Problem>>()?;
    Ok(Answer::good(
        json!({ "operator": first.operator.as_str(), "trust_lines": lines }),
        format!("{}\n", lines.join("\n")),
    ))
}

fn log_url(home: &Home, given: Option<&str>) -> Result<String, Problem> {
    if let Some(url) = given {
        return Ok(url.to_owned());
    }
    let log = config(home)?.log;
    log.map(|log| log.url.to_string()).ok_or_else(|| {
        Problem::new(format!("`{}` names no log", home.config().display()))
            .next("give it with --log, or write [log] with its url into operator.toml")
    })
}

//! `counterfoil operator`: this operator's manifest, and those of others.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use counterfoil_durable::file::{self, Access};
use counterfoil_gateway::home::{Home, manifest_files, read_manifests};
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::manifest::{UnverifiedManifest, VerifiedManifest};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::ManifestVersion;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::operator_vkey;
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::leaf_hash;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::home::{HomeArgument, config, own_manifests, trust};
use crate::log_client::LogClient;
use crate::refresh::{fetch_verified, keep};
use crate::{serve, show};

#[derive(Debug, Subcommand)]
pub(crate) enum Operator {
    /// Have this operator's manifest logged, so that others find its keys.
    Register(Register),
    /// Get the manifests of another operator from the log, verify and keep them.
    Fetch(Fetch),
    /// Show this operator's manifests, and those of others that are kept here.
    Show(HomeArgument),
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
        Operator::Show(home) => show(&home.layout()),
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
        let proof = client
            .register(&part.manifest, token.as_ref())
            .await
            .or_next("give the token with --token-file; the operator of the log has it")?;
        let checked = TlogProof::parse(&proof)
            .at("the log's proof")
            .and_then(|checked| {
                let quorum = checked
                    .verify(&leaf_hash(&part.manifest), trust.policy())
                    .at("the log's proof does not verify")?;
                Ok((checked.index(), quorum.checkpoint().size()))
            })
            .or_next(format!(
                "check the lines `log` and `witness` of {}",
                home.trust().display()
            ))?;
        let (_, path) = manifest_files(&home.manifests(), ManifestVersion::new(version));
        file::replace(&path, &proof, Access::Everyone)?;
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

fn show(home: &Home) -> Result<Answer, Problem> {
    let mut list = manifest_list(&home.manifests())?;
    for operator in trust(home)?.operators() {
        list.extend(manifest_list(&home.peer(operator))?);
    }
    let text: String = list
        .iter()
        .map(|manifest| format!("{}\n", show::lines(manifest, 0)))
        .collect();
    Ok(Answer::good(Value::Array(list), text))
}

fn manifest_list(folder: &Path) -> Result<Vec<Value>, Problem> {
    let parts = read_manifests(folder)?;
    let chain = chain(&parts).at(folder.display())?;
    Ok(chain
        .iter()
        .zip(&parts)
        .map(|(manifest, part)| {
            let content = manifest.manifest();
            let keys = |keys: &[PublicKey]| -> Vec<String> {
                keys.iter()
                    .map(|key| key.thumbprint().to_string())
                    .collect()
            };
            let index = part
                .log_proof
                .as_deref()
                .and_then(|proof| TlogProof::parse(proof).ok())
                .map(|proof| proof.index());
            json!({
                "operator": content.operator.as_str(),
                "version": content.version.get(),
                "time": show::millis(content.time.get()),
                "root_keys": keys(&content.roots),
                "enforcer_keys": keys(&content.enforcers),
                "exchange": content.exchange,
                "revoked": content.revoked.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "log_index": index,
            })
        })
        .collect())
}

/// Checks the manifests against each other only: whoever shows them need not trust them.
fn chain(parts: &[LoggedManifest]) -> Result<Vec<VerifiedManifest>, Problem> {
    let mut chain: Vec<VerifiedManifest> = Vec::with_capacity(parts.len());
    for part in parts {
        let manifest = UnverifiedManifest::parse(&part.manifest)?;
        chain.push(match chain.last() {
            None => manifest.verify_first(|_| true)?,
            Some(before) => manifest.verify_next(before)?,
        });
    }
    Ok(chain)
}

fn trust_line(home: &Home) -> Result<Answer, Problem> {
    let chain = chain(&own_manifests(home)?)?;
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

//! `counterfoil init`: makes the home of an operator.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use counterfoil_durable::file::{self, Access};
use counterfoil_enforcer::environment::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use counterfoil_enforcer::journal;
use counterfoil_gateway::config::Config;
use counterfoil_gateway::home::manifest_files;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::manifest::Manifest;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::ManifestVersion;
use counterfoil_protocol::trust::operator_vkey;
use serde_json::json;
use zeroize::Zeroizing;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::commands::verify::read_trust;
use crate::home::HomeArgument;

/// Make the home of an operator: keys, configuration, sample policy, journal, manifest.
///
/// Nothing is ever overwritten: a home that exists is left as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil init --home acme --operator acme.example
  counterfoil init --home acme --operator acme.example --listen 127.0.0.1:7100 \\
      --log http://127.0.0.1:7001 --trust trust --sample agent")]
pub(crate) struct Init {
    #[command(flatten)]
    home: HomeArgument,
    /// The operator's name: a lower-case DNS name that is yours.
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// Address and port of the gateway.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7100")]
    listen: String,
    /// How other operators reach the gateway; by default `http://` and the address above. It
    /// stands in the manifest.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The log to publish to. Without one, evidence ends at the level `committed`.
    #[arg(long, value_name = "URL")]
    log: Option<String>,
    /// A trust file to start with. Without it the home's trust file names only this operator.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Which sample policy to start with.
    #[arg(long, default_value = "tools")]
    sample: Sample,
}

/// The sample policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sample {
    /// For whoever has the tools: what others' agents may do at a support desk.
    Tools,
    /// For whoever has the agent: what our `support-bot` may ask of a support desk.
    Agent,
}

pub(crate) fn run(command: &Init) -> Result<Answer, Problem> {
    let operator = OperatorName::new(command.operator.as_str())
        .or_next("an operator is named by a lower-case DNS name, such as acme.example")?;
    let trust = command.trust.as_deref().map(trust_text).transpose()?;
    let url = match &command.url {
        Some(url) => url.clone(),
        None if command.listen.ends_with(":0") => {
            return Err(
                Problem::new("a gateway on port 0 has no address of its own")
                    .next("say how others reach it with --url"),
            );
        }
        None => format!("http://{}", command.listen),
    };
    let home = command.home.layout();
    let text = config_text(&operator, &command.listen, &url, command.log.as_deref());
    let config = Config::parse(&text, &home.config())
        .or_next("check the values of --listen, --url and --log")?;
    let (root, enforcer) = (new_key()?, new_key()?);
    let vkey = operator_vkey(&operator, root.public())?.to_string();
    let manifest = Manifest {
        operator: operator.clone(),
        version: ManifestVersion::new(1),
        previous: None,
        time: SystemClock.now(),
        roots: vec![root.public().clone()],
        enforcers: vec![enforcer.public().clone()],
        exchange: Some(config.exchange_url()),
        revoked: Vec::new(),
    }
    .sign(&root);

    let dir = home.directory();
    file::create_directory(dir)
        .or_next("a home is never made twice; give a directory that does not exist yet")?;
    for folder in [home.keys(), home.manifests(), home.peers(), home.policy()] {
        file::create_directory(&folder)?;
    }
    for (path, key) in [(home.root_key(), &root), (home.enforcer_key(), &enforcer)] {
        file::create(&path, key.to_pem()?.as_bytes(), Access::Owner)?;
    }
    let public = |path: &Path, content: &[u8]| file::create(path, content, Access::Everyone);
    for (name, policy) in sample(command.sample, &operator) {
        public(&home.policy().join(name), policy.as_bytes())?;
    }
    let (manifest_path, _) = manifest_files(&home.manifests(), ManifestVersion::new(1));
    public(&manifest_path, &manifest)?;
    let trust = trust.unwrap_or_else(|| own_trust(&vkey));
    public(&home.trust(), trust.as_bytes())?;
    public(&home.config(), text.as_bytes())?;
    // Last, because a home without a journal is one that nothing starts from.
    journal::create(&home.journal(), &operator, &enforcer, SystemClock.now())?;

    let dir = dir.display();
    let mut text = format!(
        "made the home of {operator} in {dir}\n\
         \n\
         the line that others need in their trust file:\n  operator {vkey}\n\
         what may be called, and by whom, is in {dir}/policy\n\
         which servers and agents there are is in {dir}/operator.toml\n\
         keep {dir}/keys secret; back up {dir}/keys/root.pem elsewhere\n\
         \n\
         next:\n"
    );
    if command.log.is_some() {
        text.push_str(&format!(
            "  counterfoil operator register --home {dir} --token-file <the log's admission.token>\n"
        ));
    }
    text.push_str(&format!(
        "  counterfoil mcp --home {dir} -- <command of your MCP server>\n  \
         counterfoil gateway serve --home {dir}\n"
    ));
    let value = json!({
        "home": command.home.dir,
        "operator": operator.as_str(),
        "trust_line": format!("operator {vkey}"),
        "key": enforcer.public().thumbprint().to_string(),
    });
    Ok(Answer::good(value, text))
}

fn trust_text(path: &Path) -> Result<String, Problem> {
    read_trust(path)?;
    Ok(file::read_text(path)?)
}

/// A new key from the system's randomness.
pub(crate) fn new_key() -> Result<SigningKey, Problem> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemEntropy.fill(seed.as_mut_slice())?;
    Ok(SigningKey::from_seed(&seed)?)
}

fn sample(which: Sample, operator: &OperatorName) -> Vec<(&'static str, String)> {
    let files = match which {
        Sample::Tools => counterfoil_policy::sample(),
        Sample::Agent => counterfoil_policy::calling_sample(),
    };
    files
        .iter()
        .map(|(name, text)| {
            let text = match which {
                Sample::Tools => (*text).to_owned(),
                // There the agent is named in full.
                Sample::Agent => text.replace("acme.example", operator.as_str()),
            };
            (*name, text)
        })
        .collect()
}

fn own_trust(vkey: &str) -> String {
    format!(
        "# Whom this operator believes: a log, its witnesses and their quorum, and the root keys of\n\
         # operators. `counterfoil log init` writes the lines of a log and its witnesses to its file\n\
         # `trust`, `counterfoil operator trust-line` prints the line of an operator. Take them from\n\
         # people you trust.\n\
         quorum none\n\
         operator {vkey}\n"
    )
}

fn config_text(operator: &OperatorName, listen: &str, url: &str, log: Option<&str>) -> String {
    let log = match log {
        Some(url) => format!("[log]\nurl = {url:?}\n"),
        None => "# [log]\n# url = \"http://127.0.0.1:7001\"\n".to_owned(),
    };
    format!(
        r#"# The operator, its gateway and its enforcer. A key that is not known here is an error.
operator = "{operator}"

[journal]
# Whether parameters, results and evaluation inputs are kept in clear beside the records, so that
# receipts can disclose them. Records themselves hold salted digests only.
keep_clear_text = false

[batch]
# A batch is sealed after this time or with this many records, whichever comes first.
interval_millis = 1000
records = 1024

# The log that commitments are published to. Without one, evidence ends at the level `committed`.
{log}# How many records may wait to be logged before every call is denied.
# backlog_records = 100000

[gateway]
# MCP over streamable HTTP at /mcp/<server>, HTTP APIs at /http/<server>/, A2A agents at
# /a2a/<server>, and the exchange API for other operators.
listen = {listen:?}
# How others reach it.
url = {url:?}

# What agents may spend. The policy says what a call costs: `@points("20")`.
# [[budgets]]
# agent = "support-bot"
# risk_points = 500
# period_seconds = 86400

# Who may call over HTTP.
# [[agents]]
# name = "support-bot"
# token_file = "keys/support-bot.token"

# An MCP server of ours, on standard input and output, for our own agents ...
# [[servers]]
# name = "desk"
# callers = "agents"
# command = ["node", "server.js"]

# ... or for other operators' agents: callers = "operators".

# A server of another operator. The policies of both sides must allow a call.
# [[servers]]
# name = "desk"
# callers = "agents"
# url = "http://127.0.0.1:7200/mcp/desk"
# operator = "globex.example"

# An HTTP API, or with `protocol = "a2a"` an agent that speaks A2A.
# [[servers]]
# name = "orders"
# callers = "agents"
# protocol = "http"
# url = "http://127.0.0.1:9000/v1"
"#
    )
}

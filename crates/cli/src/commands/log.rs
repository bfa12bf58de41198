//! `counterfoil log`: a transparency log.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_durable::file::{self, Access};
use counterfoil_log::{InitOptions, Server, fsck, init, system_clock};
use counterfoil_tlog::note::VerifierKey;
use serde_json::json;

use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::serve;

/// What the log's part of a trust file is called in a log directory.
const TRUST_FILE_NAME: &str = "trust";

#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Make the directory of a new log: key, admission token, configuration, empty tree.
    Init(Init),
    /// Run the log.
    Serve(Serve),
    /// Read the whole log and check that its files, its tree and its checkpoints tell one story.
    Check(Check),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil log init --dir log --origin log.example/one --listen 127.0.0.1:7001 \\
      --witness \"$W1\" http://127.0.0.1:7011 --witness \"$W2\" http://127.0.0.1:7012 --quorum 2")]
pub(crate) struct Init {
    /// The directory to make.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The log's identity for all time, by convention its address without the scheme.
    #[arg(long, value_name = "NAME")]
    origin: String,
    /// Address and port to answer on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7001")]
    listen: String,
    /// A witness: its public key, and where it answers. May be given several times.
    #[arg(long, num_args = 2, value_names = ["VKEY", "URL"])]
    witness: Vec<String>,
    /// How many of the witnesses must cosign before a checkpoint is published; all by default.
    #[arg(long, value_name = "N", requires = "witness")]
    quorum: Option<usize>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  counterfoil log serve --dir log")]
pub(crate) struct Serve {
    /// The directory that `counterfoil log init` made.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  counterfoil log check --dir log")]
pub(crate) struct Check {
    /// The directory that `counterfoil log init` made.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(command: &Log, json: bool) -> Result<Answer, Problem> {
    match command {
        Log::Init(command) => new(command),
        Log::Serve(command) => serve(command, json),
        Log::Check(command) => check(command),
    }
}

fn new(command: &Init) -> Result<Answer, Problem> {
    let witnesses = witness_policy(&command.witness, command.quorum)?;
    let identity = init(
        &command.dir,
        &InitOptions {
            origin: command.origin.clone(),
            listen: command.listen.clone(),
            witness_policy: witnesses.clone().map(String::into_bytes),
        },
    )
    .or_next("a log is never made twice; give a directory that does not exist yet")?;
    let vkey = identity.verifier_key.to_string();
    let trust = format!(
        "log {vkey}\n{}",
        witnesses.unwrap_or_else(|| "quorum none\n".to_owned())
    );
    let trust_path = command.dir.join(TRUST_FILE_NAME);
    file::create(&trust_path, trust.as_bytes(), Access::Everyone)?;
    let dir = command.dir.display();
    let text = format!(
        "made the log {origin} in {dir}\n\
         \n\
         its public key, which its witnesses need:\n  {vkey}\n\
         what everybody's trust file begins with is in {trust}\n\
         the token that new operators register with is in {dir}/admission.token; keep it secret\n\
         \n\
         next:\n  counterfoil log serve --dir {dir}\n",
        origin = command.origin,
        trust = trust_path.display(),
    );
    let value = json!({
        "dir": command.dir,
        "origin": command.origin,
        "verifier_key": vkey,
        "trust": trust,
        "trust_file": trust_path,
        "admission_token_file": command.dir.join("admission.token"),
    });
    Ok(Answer::good(value, text))
}

/// The tlog-policy of the witnesses; none without any.
fn witness_policy(arguments: &[String], quorum: Option<usize>) -> Result<Option<String>, Problem> {
    if arguments.is_empty() {
        return Ok(None);
    }
    let mut lines = String::new();
    let mut names = Vec::new();
    for pair in arguments.chunks(2) {
        let [vkey, url] = pair else {
            return Err(Problem::new("a witness is a key and an address"));
        };
        let key = VerifierKey::parse(vkey)
            .at(format!("witness `{vkey}`"))
            .or_next("give the key that `counterfoil witness init` printed")?;
        let name = key.name().as_str().to_owned();
        lines.push_str(&format!("witness {name} {vkey} {url}\n"));
        names.push(name);
    }
    let count = quorum.unwrap_or(names.len());
    if count == 0 || count > names.len() {
        return Err(Problem::new(format!(
            "a quorum of {count} among {} witnesses",
            names.len()
        ))
        .next("give a number from 1 to the number of witnesses"));
    }
    Ok(Some(format!(
        "{lines}group witnesses {count} {}\nquorum witnesses\n",
        names.join(" ")
    )))
}

fn serve(command: &Serve, json: bool) -> Result<Answer, Problem> {
    serve::runtime()?.block_on(async {
        let server = Server::bind(&command.dir, system_clock)
            .await
            .or_next("`counterfoil log init` makes the directory of a log")?;
        let end = serve::asked_to_end()?;
        serve::announce(server.address(), json)?;
        server
            .run(end)
            .await
            .or_next("start the log again: it finds out how far it came")?;
        Ok(Answer::silent())
    })
}

fn check(command: &Check) -> Result<Answer, Problem> {
    match fsck(&command.dir) {
        Ok(report) => {
            let published = report.published.map_or_else(
                || "nothing is published yet".to_owned(),
                |size| format!("published up to {size}"),
            );
            let text = format!(
                "the log in {} holds together: {} entries, root {}, {published}\n",
                command.dir.display(),
                report.size,
                report.root
            );
            let value = json!({
                "ok": true,
                "size": report.size,
                "root": report.root.to_string(),
                "published": report.published,
            });
            Ok(Answer::good(value, text))
        }
        Err(error @ counterfoil_log::Error::Durable(_)) => {
            Err(error).or_next("`counterfoil log init` makes the directory of a log")
        }
        Err(error) => Ok(Answer {
            json: json!({ "ok": false, "found": error.to_string() }),
            text: format!(
                "the log in {} does NOT hold together: {error}\n\
                 do not start it before you know why\n",
                command.dir.display()
            ),
            exit: Exit::NotVerified,
        }),
    }
}

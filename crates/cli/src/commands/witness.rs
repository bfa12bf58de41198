//! `counterfoil witness`: cosigns the checkpoints of logs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_durable::file::{self, Access};
use counterfoil_tlog::note::VerifierKey;
use counterfoil_witness::config::{Config, FILE_NAME};
use counterfoil_witness::{InitOptions, Server, init, system_clock};
use serde_json::json;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::serve;

#[derive(Debug, Subcommand)]
pub(crate) enum Witness {
    /// Make the directory of a new witness: key, configuration, empty state.
    Init(Init),
    /// Let a witness cosign one more log; it takes effect when the witness starts.
    AddLog(AddLog),
    /// Run the witness.
    Serve(Serve),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil witness init --dir w1 --name witness.example/w1 --listen 127.0.0.1:7011")]
pub(crate) struct Init {
    /// The directory to make.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The name it signs under.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Address and port to answer on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7011")]
    listen: String,
    /// The public key of a log to cosign. May be given several times.
    #[arg(long, value_name = "VKEY")]
    log: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  counterfoil witness add-log --dir w1 \"$LOG\"")]
pub(crate) struct AddLog {
    /// The directory that `counterfoil witness init` made.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The public key of the log, as `counterfoil log init` printed it.
    #[arg(value_name = "VKEY")]
    log: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  counterfoil witness serve --dir w1")]
pub(crate) struct Serve {
    /// The directory that `counterfoil witness init` made.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(command: &Witness, json: bool) -> Result<Answer, Problem> {
    match command {
        Witness::Init(command) => new(command),
        Witness::AddLog(command) => add_log(command),
        Witness::Serve(command) => serve(command, json),
    }
}

fn new(command: &Init) -> Result<Answer, Problem> {
    let logs = command
        .log
        .iter()
        .map(|log| log_key(log))
        .collect::<Result<_, _>>()?;
    let identity = init(
        &command.dir,
        &InitOptions {
            name: command.name.clone(),
            listen: command.listen.clone(),
            logs,
        },
    )
    .or_next("a witness is never made twice; give a directory that does not exist yet")?;
    let vkey = identity.verifier_key.to_string();
    let dir = command.dir.display();
    let next = if command.log.is_empty() {
        format!(
            "  counterfoil witness add-log --dir {dir} <key of the log>\n  \
             counterfoil witness serve --dir {dir}\n"
        )
    } else {
        format!("  counterfoil witness serve --dir {dir}\n")
    };
    let text = format!(
        "made the witness {} in {dir}\n\nits public key, which logs and trust files need:\n  \
         {vkey}\n\nnext:\n{next}",
        command.name
    );
    Ok(Answer::good(
        json!({ "dir": command.dir, "name": command.name, "verifier_key": vkey }),
        text,
    ))
}

fn add_log(command: &AddLog) -> Result<Answer, Problem> {
    let key = log_key(&command.log)?;
    let config = Config::read(&command.dir)
        .or_next("`counterfoil witness init` makes the directory of a witness")?;
    let path = command.dir.join(FILE_NAME);
    if config.logs.contains(&key) {
        return Err(Problem::new(format!(
            "{} names this log already",
            path.display()
        )));
    }
    let by_hand = || {
        Problem::new(format!("{} has a form of its own", path.display()))
            .next(format!("write \"{key}\" into its list `logs`"))
    };
    let text = file::read_text(&path)?;
    // The list is the last thing in the file, as `init` writes it. What comes out must read as
    // the old list and the new key; anything else is left to its owner.
    let (head, tail) = text.rsplit_once(']').ok_or_else(by_hand)?;
    let head = head.trim_end();
    let comma = if head.ends_with(['[', ',']) { "" } else { "," };
    let changed = format!("{head}{comma}\n    \"{key}\",\n]{tail}");
    let mut expected = config;
    expected.logs.push(key.clone());
    file::replace(&path, changed.as_bytes(), Access::Everyone)?;
    if Config::read(&command.dir).ok() != Some(expected) {
        file::replace(&path, text.as_bytes(), Access::Everyone)?;
        return Err(by_hand());
    }
    let dir = command.dir.display();
    Ok(Answer::good(
        json!({ "dir": command.dir, "log": key.to_string() }),
        format!(
            "the witness in {dir} cosigns {} from its next start on\n\nnext:\n  \
             counterfoil witness serve --dir {dir}\n",
            key.name().as_str()
        ),
    ))
}

fn serve(command: &Serve, json: bool) -> Result<Answer, Problem> {
    serve::runtime()?.block_on(async {
        let server = Server::bind(&command.dir, system_clock)
            .await
            .or_next("`counterfoil witness init` makes the directory of a witness")?;
        let end = serve::asked_to_end()?;
        serve::announce(server.address(), json)?;
        server.run(end).await.or_next("start the witness again")?;
        Ok(Answer::silent())
    })
}

fn log_key(text: &str) -> Result<VerifierKey, Problem> {
    VerifierKey::parse(text)
        .at(format!("log key `{text}`"))
        .or_next("give the key that `counterfoil log init` printed")
}

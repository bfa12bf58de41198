//! `counterfoil completions`: shell completions.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::answer::{Answer, Problem};
use crate::arguments::Arguments;

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  counterfoil completions bash > ~/.local/share/bash-completion/completions/counterfoil")]
pub(crate) struct Completions {
    /// Which shell.
    shell: Shell,
}

pub(crate) fn run(command: &Completions) -> Result<Answer, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(
        command.shell,
        &mut Arguments::command(),
        "counterfoil",
        &mut script,
    );
    let script = String::from_utf8(script)?;
    Ok(Answer::good(
        serde_json::json!({ "shell": command.shell.to_string(), "script": script }),
        script.clone(),
    ))
}

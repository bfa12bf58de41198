//! Finds the tool server of the demo, or builds it where its source is.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::answer::{OrProblem as _, Problem};

const NAME: &str = "support-desk";

/// The path of the support desk. Returns the command that built it, if one did.
pub(super) async fn find() -> Result<(PathBuf, Option<String>), Problem> {
    let binary = std::env::current_exe().at("cannot find this program")?;
    let folder = binary.parent().unwrap_or(Path::new("."));
    let beside = [folder.join(NAME), folder.join("examples").join(NAME)];
    if let Some(found) = beside.iter().find(|path| path.is_file()) {
        return Ok((found.clone(), None));
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let next = format!(
        "run it in the source tree with `cargo run --release -- demo`, or put {NAME} beside {}",
        binary.display()
    );
    if !source.join("examples/support-desk.rs").is_file() {
        return Err(Problem::new(format!("{NAME} is not there")).next(next));
    }
    let mut arguments = vec!["build", "-p", "counterfoil", "--example", NAME];
    if !folder.ends_with("debug") {
        arguments.push("--release");
    }
    let line = format!("cargo {}", arguments.join(" "));
    eprintln!("building the demo's tool server, once: {line}");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(&arguments)
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(source)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .at(&line)
        .or_next(&next)?;
    let built = executable(&output.stdout).filter(|_| output.status.success());
    match built {
        Some(path) => Ok((path, Some(line))),
        None => Err(Problem::new(format!("`{line}` has not made {NAME}")).next(next)),
    }
}

/// Where cargo says that it has put the program.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    String::from_utf8_lossy(messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message.pointer("/target/name").and_then(Value::as_str) == Some(NAME))
        .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
}

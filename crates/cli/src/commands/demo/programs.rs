//! Finds the programs of the demo that are not `counterfoil` itself, or builds them where their
//! source is.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::answer::{OrProblem as _, Problem};

/// The tool server, which knows nothing of Counterfoil.
const DESK: &str = "support-desk";
/// What takes globex's key and denies what globex has signed.
const DISHONEST: &str = "dishonest-globex";

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) desk: PathBuf,
    pub(super) dishonest_globex: PathBuf,
    /// The command that built them, if one did.
    pub(super) built: Option<String>,
}

/// Finds the programs beside this one, or builds them.
pub(super) async fn find() -> Result<Programs, Problem> {
    let binary = std::env::current_exe().at("cannot find this program")?;
    let folder = binary.parent().unwrap_or(Path::new("."));
    let beside = |name: &str| {
        [folder.join(name), folder.join("examples").join(name)]
            .into_iter()
            .find(|path| path.is_file())
    };
    if let (Some(desk), Some(dishonest_globex)) = (beside(DESK), beside(DISHONEST)) {
        return Ok(Programs {
            desk,
            dishonest_globex,
            built: None,
        });
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let next = format!(
        "run it in the source tree with `cargo run --release -- demo`, or put {DESK} and \
         {DISHONEST} beside {}",
        binary.display()
    );
    let there = |name: &str| source.join(format!("examples/{name}.rs")).is_file();
    if !there(DESK) || !there(DISHONEST) {
        return Err(Problem::new(format!("{DESK} or {DISHONEST} is not there")).next(next));
    }
    let mut arguments = vec!["build", "-p", "counterfoil", "--example", DESK];
    arguments.extend(["--example", DISHONEST]);
    if !folder.ends_with("debug") {
        arguments.push("--release");
    }
    let line = format!("cargo {}", arguments.join(" "));
    eprintln!("building the demo's own programs, once: {line}");
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
    let built = |name| executable(&output.stdout, name).filter(|_| output.status.success());
    match (built(DESK), built(DISHONEST)) {
        (Some(desk), Some(dishonest_globex)) => Ok(Programs {
            desk,
            dishonest_globex,
            built: Some(line),
        }),
        _ => Err(Problem::new(format!("`{line}` has not made them")).next(next)),
    }
}

/// Where cargo says that it has put a program.
fn executable(messages: &[u8], name: &str) -> Option<PathBuf> {
    String::from_utf8_lossy(messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message.pointer("/target/name").and_then(Value::as_str) == Some(name))
        .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
}

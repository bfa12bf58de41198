//! Finds the tool server of the demo, or builds it where its source is.

use std::path::{Path, PathBuf};
use std::process::Stdio;

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
    let release = !folder.ends_with("debug");
    let mut arguments = vec!["build", "--quiet", "-p", "counterfoil", "--example", NAME];
    if release {
        arguments.push("--release");
    }
    let line = format!("cargo {}", arguments.join(" "));
    eprintln!("building the demo's tool server: {line}");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(&arguments)
        .current_dir(source)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .await
        .at(&line)
        .or_next(&next)?;
    match beside.iter().find(|path| path.is_file()) {
        Some(found) if status.success() => Ok((found.clone(), Some(line))),
        _ => Err(Problem::new(format!("`{line}` has not made {NAME}")).next(next)),
    }
}

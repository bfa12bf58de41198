//! Where the programs under test are, and how they are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The binary under test.
pub(crate) fn counterfoil() -> PathBuf {
    std::env::var_os("COUNTERFOIL_BIN")
        .map_or_else(|| beside_the_tests("counterfoil"), PathBuf::from)
}

/// The tool server of the demo.
pub(crate) fn support_desk() -> PathBuf {
    let built = counterfoil().with_file_name("examples/support-desk");
    if built.is_file() {
        return built;
    }
    beside_the_tests("examples/support-desk")
}

/// A program of others that `cargo xtask setup` installs.
pub(crate) fn third_party(name: &str) -> PathBuf {
    let path = target().join("third-party").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask setup`",
        path.display()
    );
    path
}

/// A file beside these tests.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A command of the binary under test, in `directory`, with no setting of whoever runs the tests.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(counterfoil());
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .env_remove("COUNTERFOIL_HOME")
        .env_remove("COUNTERFOIL_TRUST")
        .env_remove("RUST_LOG");
    command
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Said {
    said(
        &command(directory, arguments)
            .arg("--json")
            .output()
            .unwrap(),
    )
}

/// Runs a command that must succeed.
pub(crate) fn good(directory: &Path, arguments: &[&str]) -> Value {
    let said = run(directory, arguments);
    assert_eq!(
        said.code,
        Some(0),
        "{arguments:?}: {} {:#}",
        said.stderr,
        said.json
    );
    said.json
}

pub(crate) fn said(output: &Output) -> Said {
    Said {
        code: output.status.code(),
        json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn beside_the_tests(name: &str) -> PathBuf {
    let path = profile().join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p counterfoil --bins --examples`",
        path.display()
    );
    path
}

/// `target/debug` or `target/release`: the tests are in its folder `deps`.
fn profile() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().to_owned()
}

fn target() -> PathBuf {
    profile().parent().unwrap().to_owned()
}

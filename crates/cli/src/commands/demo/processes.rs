//! The processes of the demo: this binary, run as any user runs it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::answer::{OrProblem as _, Problem};

/// How long a process may take to say that it listens.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// Runs commands in one directory and remembers them.
#[derive(Debug)]
pub(super) struct Processes {
    binary: PathBuf,
    directory: PathBuf,
    transcript: Vec<String>,
    running: Vec<Running>,
}

/// A process that keeps running.
#[derive(Debug)]
struct Running {
    name: String,
    arguments: Vec<String>,
    child: Child,
}

impl Processes {
    pub(super) fn new(directory: &Path) -> Result<Self, Problem> {
        Ok(Self {
            binary: std::env::current_exe().at("cannot find this program")?,
            directory: directory.to_owned(),
            transcript: Vec::new(),
            running: Vec::new(),
        })
    }

    /// The command lines so far, to be run in the demo's directory.
    pub(super) fn transcript(&self) -> &[String] {
        &self.transcript
    }

    /// Adds a line that the demo did itself, as a user would do it.
    pub(super) fn note(&mut self, line: impl Into<String>) {
        self.transcript.push(line.into());
    }

    /// Runs a command to its end and returns its JSON.
    pub(super) async fn run(&mut self, arguments: &[&str]) -> Result<Value, Problem> {
        let (value, status) = self.run_any(arguments).await?;
        if status == Some(0) {
            return Ok(value);
        }
        Err(Problem::new(format!(
            "`{}` ended with {status:?}: {value}",
            line(arguments)
        )))
    }

    /// Runs a command to its end and returns its JSON and its exit code.
    pub(super) async fn run_any(
        &mut self,
        arguments: &[&str],
    ) -> Result<(Value, Option<i32>), Problem> {
        self.transcript.push(line(arguments));
        self.answer(self.command(arguments), arguments).await
    }

    /// The same in a folder of the demo's directory, by somebody who has nothing but what lies there.
    pub(super) async fn run_in(
        &mut self,
        folder: &str,
        arguments: &[&str],
    ) -> Result<(Value, Option<i32>), Problem> {
        self.transcript
            .push(format!("(cd {folder} && {})", line(arguments)));
        let mut command = self.command(arguments);
        command.current_dir(self.directory.join(folder));
        self.answer(command, arguments).await
    }

    /// Runs a command that must refuse, and returns what it says.
    pub(super) async fn run_refused(&mut self, arguments: &[&str]) -> Result<String, Problem> {
        self.transcript.push(format!("{} || true", line(arguments)));
        let output = self.output(self.command(arguments), arguments).await?;
        let said: Value = serde_json::from_slice(&output.stderr).unwrap_or_default();
        match said.get("error").and_then(Value::as_str) {
            Some(error) if output.status.code() == Some(2) => Ok(error.to_owned()),
            _ => Err(Problem::new(format!(
                "`{}` was to refuse, and ended with {:?}",
                line(arguments),
                output.status.code()
            ))),
        }
    }

    /// Runs another program to its end.
    pub(super) async fn run_program(
        &mut self,
        program: &Path,
        arguments: &[&str],
    ) -> Result<(), Problem> {
        let line = format!("{} {}", program.display(), words(arguments));
        self.transcript.push(line.clone());
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .at(&line)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Problem::new(format!("`{line}` failed: {}", said.trim())))
    }

    async fn answer(
        &self,
        command: Command,
        arguments: &[&str],
    ) -> Result<(Value, Option<i32>), Problem> {
        let output = self.output(command, arguments).await?;
        if output.stdout.is_empty() {
            return Err(Problem::new(format!(
                "`{}` failed: {}",
                line(arguments),
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        let value = serde_json::from_slice(&output.stdout)
            .at(format!("the answer of `{}`", line(arguments)))?;
        Ok((value, output.status.code()))
    }

    async fn output(&self, mut command: Command, arguments: &[&str]) -> Result<Output, Problem> {
        let ended = command.arg("--json").stdin(Stdio::null()).output().await;
        ended.at(line(arguments))
    }

    /// Starts a command that keeps running, and waits until it listens.
    pub(super) async fn serve(&mut self, name: &str, arguments: &[&str]) -> Result<(), Problem> {
        self.transcript.push(format!("{} &", line(arguments)));
        let logs = self.directory.join(format!("{name}.txt"));
        // A process that is started again goes on where it left off.
        let log = File::options()
            .create(true)
            .append(true)
            .open(&logs)
            .at(logs.display())?;
        let mut child = self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .at(line(arguments))?;
        let stdout = child.stdout.take().ok_or_else(|| Problem::new("no pipe"))?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(READY_LIMIT, lines.next_line())
            .await
            .at(format!("{name} does not listen"))
            .or_next(format!("look into {}", logs.display()))??;
        if !first.is_some_and(|line| line.starts_with("listening on ")) {
            let said = std::fs::read_to_string(&logs).unwrap_or_default();
            return Err(Problem::new(format!(
                "`{}` does not start: {}",
                line(arguments),
                said.trim()
            )));
        }
        self.running.push(Running {
            name: name.to_owned(),
            arguments: arguments.iter().copied().map(str::to_owned).collect(),
            child,
        });
        Ok(())
    }

    /// Ends a process as `kill -9` does: it has no time for anything.
    pub(super) async fn kill(&mut self, name: &str) -> Result<(), Problem> {
        let running = self.running(name)?;
        let line = format!("kill -9 '%{}'", line(&running.arguments()));
        running.child.kill().await.at(&line)?;
        self.transcript.push(line);
        Ok(())
    }

    /// Ends the processes that a process has started, as `kill -9` does.
    pub(super) async fn kill_children_of(&mut self, name: &str) -> Result<(), Problem> {
        let running = self.running(name)?;
        let parent = running
            .child
            .id()
            .ok_or_else(|| Problem::new(format!("{name} has ended")))?;
        let line = format!(
            "pkill -9 -P \"$(jobs -p '%{}')\"",
            line(&running.arguments())
        );
        let status = Command::new("pkill")
            .args(["-9", "-P", &parent.to_string()])
            .status()
            .await
            .at(&line)
            .or_next("pkill is in the package procps")?;
        if !status.success() {
            return Err(Problem::new(format!("`{line}` has found no process")));
        }
        self.transcript.push(line);
        Ok(())
    }

    /// Starts a process again that was killed, and waits until it listens.
    pub(super) async fn serve_again(&mut self, name: &str) -> Result<(), Problem> {
        let place = self.running.iter().position(|other| other.name == name);
        let killed = place
            .map(|place| self.running.remove(place))
            .ok_or_else(|| Problem::new(format!("{name} was never started")))?;
        self.serve(name, &killed.arguments()).await
    }

    fn running(&mut self, name: &str) -> Result<&mut Running, Problem> {
        self.running
            .iter_mut()
            .find(|running| running.name == name)
            .ok_or_else(|| Problem::new(format!("{name} does not run")))
    }

    /// A command whose standard input and output are an MCP session.
    pub(super) fn piped(&mut self, arguments: &[&str], log: &str) -> Result<Child, Problem> {
        self.transcript.push(line(arguments));
        let logs = self.directory.join(log);
        let log = File::create(&logs).at(logs.display())?;
        self.command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .at(line(arguments))
    }

    /// Ends everything that runs.
    pub(super) async fn end(&mut self) {
        for running in &mut self.running {
            // It may have ended by itself.
            let _ = running.child.kill().await;
        }
        self.running.clear();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env_remove("COUNTERFOIL_HOME")
            .env_remove("COUNTERFOIL_TRUST")
            .env_remove("COUNTERFOIL_ADMISSION_TOKEN")
            .kill_on_drop(true);
        command
    }
}

impl Running {
    fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }
}

/// A command line as a user types it.
fn line(arguments: &[&str]) -> String {
    format!("counterfoil {}", words(arguments))
}

fn words(arguments: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:+=@*,".contains(c);
    let words: Vec<String> = arguments
        .iter()
        .map(|word| match !word.is_empty() && word.chars().all(plain) {
            true => (*word).to_owned(),
            false => format!("'{word}'"),
        })
        .collect();
    words.join(" ")
}

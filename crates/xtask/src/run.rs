//! Running programs, so that what was run can be shown and repeated.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A program with its arguments and what it adds to the environment.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Program {
    pub(crate) fn new(program: &str) -> Self {
        Self::at(Path::new(program))
    }

    pub(crate) fn at(program: &Path) -> Self {
        Self {
            program: program.as_os_str().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn cargo() -> Self {
        Self::new("cargo")
    }

    pub(crate) fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(OsString::from));
        self
    }

    pub(crate) fn path(mut self, path: &Path) -> Self {
        self.arguments.push(path.as_os_str().to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null());
        command
    }
}

/// As one would type it.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}='{value}' ")?;
        }
        write!(f, "{}", self.program.display())?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {}", argument.display()))
    }
}

/// Runs a program in the workspace's root, its output on ours.
///
/// # Errors
/// Names the command, to be repeated, when it cannot be run or fails.
pub(crate) fn run(program: &Program) -> Result<()> {
    println!("$ {program}");
    let status = program
        .command()
        .status()
        .with_context(|| format!("cannot run `{program}`"))?;
    if !status.success() {
        bail!("`{program}` failed: {status}");
    }
    Ok(())
}

/// Runs a program and returns what it prints.
///
/// # Errors
/// As [`run`].
pub(crate) fn output(program: &Program) -> Result<String> {
    println!("$ {program}");
    let output = program
        .command()
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    if !output.status.success() {
        bail!(
            "`{program}` failed: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

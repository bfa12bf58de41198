//! Starting a server as a child process.

use std::ffi::OsString;
use std::process::Stdio;

/// Variables with this prefix stay in the gateway: they configure it, and may hold its secrets.
const OWN_PREFIX: &[u8] = b"COUNTERFOIL_";

/// A command line: the program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Command {
    /// A command from its words; none without a program.
    pub fn new<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Option<Self> {
        let mut words = words.into_iter().map(Into::into);
        Some(Self {
            program: words.next().filter(|program| !program.is_empty())?,
            arguments: words.collect(),
        })
    }

    /// The program, for messages.
    pub fn program(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// The process to start: pipes for input and output, our standard error, our environment
    /// without what belongs to the gateway.
    pub fn prepare(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(OWN_PREFIX) {
                command.env_remove(name);
            }
        }
        command
    }
}

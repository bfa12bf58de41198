//! What commands return, and how it reaches the user.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or verified.
    Good,
    /// What was to be verified is not.
    NotVerified,
    /// Wrong usage or input.
    Input,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::NotVerified => 1,
            Exit::Input => 2,
        })
    }
}

/// What a command has to say, for people and for machines.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// For machines.
    pub(crate) json: Value,
    /// For people; lines end in a newline.
    pub(crate) text: String,
    /// How the command ended.
    pub(crate) exit: Exit,
}

impl Answer {
    /// An answer of a command that did what it was asked.
    pub(crate) fn good(json: Value, text: impl Into<String>) -> Self {
        Self {
            json,
            text: text.into(),
            exit: Exit::Good,
        }
    }

    /// The answer of a command that has said everything already.
    pub(crate) fn silent() -> Self {
        Self::good(Value::Null, "")
    }

    pub(crate) fn print(&self, json: bool) -> Exit {
        let printed = if !json {
            io::stdout().write_all(self.text.as_bytes())
        } else if self.json.is_null() {
            Ok(())
        } else {
            writeln!(io::stdout(), "{:#}", self.json)
        };
        match printed {
            // Whoever reads has seen enough, as in `counterfoil journal list | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.exit,
            Err(_) => Exit::Input,
            Ok(()) => self.exit,
        }
    }
}

/// Why a command could not do what it was asked, and what to do next.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    what: String,
    next: Option<String>,
}

impl Problem {
    /// What was wrong: lower case, no trailing period.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: None,
        }
    }

    /// With what to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    pub(crate) fn print(&self, json: bool) -> Exit {
        // There is nowhere left to report that standard error is closed.
        let _ = if json {
            writeln!(
                io::stderr(),
                "{:#}",
                json!({ "error": self.what, "next": self.next })
            )
        } else {
            match &self.next {
                Some(next) => writeln!(io::stderr(), "error: {}\nnext:  {next}", self.what),
                None => writeln!(io::stderr(), "error: {}", self.what),
            }
        };
        Exit::Input
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl<E: std::error::Error> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

/// Says where an error happened and what to do next.
pub(crate) trait OrProblem<T> {
    /// Puts the place in front of the error.
    fn at(self, place: impl fmt::Display) -> Result<T, Problem>;

    /// Adds what to do next.
    fn or_next(self, next: impl Into<String>) -> Result<T, Problem>;
}

impl<T, E: Into<Problem>> OrProblem<T> for Result<T, E> {
    fn at(self, place: impl fmt::Display) -> Result<T, Problem> {
        self.map_err(|error| {
            let problem = error.into();
            Problem {
                what: format!("{place}: {}", problem.what),
                next: problem.next,
            }
        })
    }

    fn or_next(self, next: impl Into<String>) -> Result<T, Problem> {
        self.map_err(|error| {
            let problem = error.into();
            match problem.next {
                Some(_) => problem,
                None => problem.next(next),
            }
        })
    }
}

//! How far a long command is, on standard error, if somebody looks at it.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the line is written anew.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line on standard error that says how far a command is. Nothing if that is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    shown: bool,
    next: Option<Instant>,
}

impl Progress {
    /// Of a command that does this.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            shown: false,
            next: io::stderr()
                .is_terminal()
                .then(|| Instant::now() + INTERVAL),
        }
    }

    /// Says how far it is: how much is done, of how much if that is known.
    pub(crate) fn at(&mut self, done: u64, total: Option<u64>, unit: &str) {
        let Some(next) = self.next else { return };
        let now = Instant::now();
        if now < next {
            return;
        }
        self.next = Some(now + INTERVAL);
        self.shown = true;
        let how_far = match total {
            Some(total) if total > 0 => {
                let percent = u128::from(done) * 100 / u128::from(total);
                format!("{done} of {total} {unit}, {percent} %")
            }
            _ => format!("{done} {unit}"),
        };
        // Nobody is harmed if this is not seen.
        let _ = write!(io::stderr(), "\r\x1b[K{}: {how_far}", self.what);
        let _ = io::stderr().flush();
    }
}

/// The line is gone when the command has something to say.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
            let _ = io::stderr().flush();
        }
    }
}

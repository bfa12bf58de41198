//! The process that the demo kills in the middle of the agent's session, and what comes after.

use clap::ValueEnum;

use super::agent::HttpAgent;
use super::processes::Processes;
use super::world::World;
use crate::answer::Problem;

/// A process of the demo, as it is called on the command line and in the demo's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Victim {
    /// The log.
    Log,
    /// The first witness.
    W1,
    /// The second witness.
    W2,
    /// The gateway of acme, which the agent talks to.
    Acme,
    /// The gateway of globex.
    Globex,
    /// The tool servers behind globex, which globex starts itself.
    Tools,
}

impl Victim {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::W1 => "w1",
            Self::W2 => "w2",
            Self::Acme => "acme",
            Self::Globex => "globex",
            Self::Tools => "tools",
        }
    }

    /// How many calls the agent makes before the process is back. Calls do not need the log or its
    /// witnesses at once: what they miss is published later. Without a gateway or a tool there is
    /// nobody to call.
    pub(super) const fn calls_without(self) -> usize {
        match self {
            Self::Log | Self::W1 | Self::W2 => 5,
            Self::Acme | Self::Globex | Self::Tools => 0,
        }
    }

    pub(super) async fn kill(self, processes: &mut Processes) -> Result<(), Problem> {
        match self {
            Self::Tools => processes.kill_children_of("globex").await,
            process => processes.kill(process.name()).await,
        }
    }

    /// Starts the process again. An agent whose session ended with it opens another one.
    pub(super) async fn restart(
        self,
        world: &World,
        processes: &mut Processes,
        agent: &mut HttpAgent,
    ) -> Result<(), Problem> {
        if self != Self::Tools {
            processes.serve_again(self.name()).await?;
        }
        if self.calls_without() == 0 {
            *agent = world.agent().await?;
        }
        Ok(())
    }
}

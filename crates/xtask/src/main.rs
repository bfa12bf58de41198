//! Project automation: `cargo xtask test`, `cargo xtask vectors`, `cargo xtask setup`.

mod dependencies;
mod run;
mod steps;
mod third_party;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use steps::Place;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Project automation")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Installs the programs of others that the end-to-end tests talk to
    Setup,
    /// Checks everything: what a change must pass
    Test {
        /// Run only this step
        #[arg(long, value_name = "STEP")]
        only: Option<String>,
    },
    /// Writes the test vectors and the fuzz corpus
    Vectors {
        /// Write nothing; fail if a file differs
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let root = root()?;
    env::set_current_dir(&root).context("the workspace's root")?;
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |target| root.join(target));
    match arguments.command {
        Command::Setup => {
            third_party::set_up(&target).map(|folder| println!("{}", folder.display()))
        }
        Command::Test { only } => steps::run_all(&Place { root, target }, only.as_deref()),
        Command::Vectors { check } => vectors(&root, check),
    }
}

/// Writes the generated files, or checks them.
fn vectors(root: &Path, check: bool) -> Result<()> {
    let (vectors, seeds) = (xtask::vectors::files()?, xtask::corpus::files()?);
    println!("{} vectors, {} seeds", vectors.len(), seeds.len());
    for (folder, files) in [("test-vectors", vectors), ("fuzz/corpus", seeds)] {
        let folder = root.join(folder);
        if check {
            xtask::generated::check(&folder, &files)?;
        } else {
            xtask::generated::write(&folder, &files)?;
        }
    }
    Ok(())
}

/// The root of the workspace.
fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .context("the workspace has no root")
}

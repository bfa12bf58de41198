//! Project automation: `cargo xtask test`, `cargo xtask vectors`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Project automation")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes the test vectors
    Vectors {
        /// Write nothing; fail if a file differs
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Vectors { check } => {
            let root = root()?;
            let (vectors, seeds) = (xtask::vectors::files()?, xtask::corpus::files()?);
            let count = vectors.len();
            for (folder, files) in [("test-vectors", vectors), ("fuzz/corpus", seeds)] {
                let folder = root.join(folder);
                if check {
                    xtask::generated::check(&folder, &files)?;
                } else {
                    xtask::generated::write(&folder, &files)?;
                }
            }
            println!("{count} vectors");
            Ok(())
        }
    }
}

/// The root of the workspace.
fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .context("the workspace has no root")
}

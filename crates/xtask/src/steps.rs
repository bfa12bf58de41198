//! The steps of `cargo xtask test`, in the order they run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::run::{Program, output, run};
use crate::{dependencies, third_party, vectors};

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The root of the workspace.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Place) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step {
        name: "setup",
        about: "programs of others for the end-to-end tests",
        run: set_up,
    },
    Step {
        name: "format",
        about: "formatting",
        run: format,
    },
    Step {
        name: "clippy",
        about: "lints, warnings denied",
        run: clippy,
    },
    Step {
        name: "docs",
        about: "documentation, warnings denied",
        run: docs,
    },
    Step {
        name: "wasm",
        about: "the protocol builds for WebAssembly, without getrandom",
        run: wasm,
    },
    Step {
        name: "dependencies",
        about: "licences, bans, sources",
        run: check_dependencies,
    },
    Step {
        name: "vectors",
        about: "generated files are up to date",
        run: check_vectors,
    },
    Step {
        name: "build",
        about: "the programs that the tests run",
        run: build,
    },
    Step {
        name: "tests",
        about: "all tests",
        run: tests,
    },
    Step {
        name: "demo",
        about: "the demo",
        run: demo,
    },
];

/// Runs all steps, or only one.
///
/// # Errors
/// The first failure, with the command that repeats it.
pub(crate) fn run_all(place: &Place, only: Option<&str>) -> Result<()> {
    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    if let Some(only) = only {
        ensure!(
            names.contains(&only),
            "no step `{only}`; there are: {}",
            names.join(", ")
        );
    }
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|step| only.is_none_or(|only| only == step.name))
        .collect();
    let begin = Instant::now();
    let mut times = Vec::new();
    for (number, step) in chosen.iter().enumerate() {
        println!(
            "\n== {}/{} {}: {}",
            number + 1,
            chosen.len(),
            step.name,
            step.about
        );
        let start = Instant::now();
        (step.run)(place).with_context(|| {
            format!(
                "step `{0}` failed; `cargo xtask test --only {0}` repeats it",
                step.name
            )
        })?;
        times.push((step.name, start.elapsed()));
        println!(
            "-- {} passed in {:.1} s",
            step.name,
            start.elapsed().as_secs_f64()
        );
    }
    println!("\n== all passed in {:.1} s", begin.elapsed().as_secs_f64());
    for (name, time) in times {
        println!("   {name:<14}{:>8.1} s", time.as_secs_f64());
    }
    Ok(())
}

fn set_up(place: &Place) -> Result<()> {
    third_party::set_up(&place.target).map(|folder| println!("{}", folder.display()))
}

fn format(_: &Place) -> Result<()> {
    run(&Program::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy(_: &Place) -> Result<()> {
    run(&Program::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs(_: &Place) -> Result<()> {
    run(&Program::cargo()
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

/// The verifier runs in browsers: no I/O, and no source of randomness that needs one.
fn wasm(_: &Place) -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let library =
        output(&Program::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    if !Path::new(library.trim()).exists() {
        println!("target {TARGET} is missing: adding it through rustup");
        run(&Program::new("rustup").args(["target", "add", TARGET]))?;
    }
    run(&Program::cargo().args(["build", "-p", "counterfoil-protocol", "--target", TARGET]))?;
    let tree = output(&Program::cargo().args([
        "tree",
        "-p",
        "counterfoil-protocol",
        "-e",
        "normal",
        "--target",
        TARGET,
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    ensure!(
        tree.contains("counterfoil-tlog "),
        "the tree is not that of the protocol"
    );
    let random: Vec<&str> = tree
        .lines()
        .filter(|line| line.starts_with("getrandom "))
        .collect();
    ensure!(
        random.is_empty(),
        "the protocol depends on {}",
        random.join(", ")
    );
    Ok(())
}

fn check_dependencies(place: &Place) -> Result<()> {
    dependencies::check(&place.root).map(|summary| println!("{summary}"))
}

fn check_vectors(place: &Place) -> Result<()> {
    vectors(&place.root, true)
}

/// Everything the next step needs, by the same features: nothing is compiled twice.
fn build(_: &Place) -> Result<()> {
    run(&Program::cargo().args(["build", "--workspace", "--bins", "--examples", "--tests"]))
}

fn tests(_: &Place) -> Result<()> {
    run(&Program::cargo().args(["test", "--workspace", "--no-fail-fast"]))
}

/// The built binary, as a user runs it.
fn demo(place: &Place) -> Result<()> {
    let counterfoil = place.target.join("debug").join("counterfoil");
    let report = output(&Program::at(&counterfoil).args(["demo", "--json"]))?;
    let report: serde_json::Value =
        serde_json::from_str(&report).context("what the demo prints")?;
    println!("{report:#}");
    Ok(())
}

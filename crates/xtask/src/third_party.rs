//! The programs of others that the end-to-end tests talk to: `target/third-party/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::run::{Program, run};

/// The official Python SDKs of MCP and A2A, an HTTP client, and what checks our keys, signatures and
/// receipts independently.
const PYTHON: &[&str] = &[
    "mcp==2.3.0",
    "a2a-sdk==1.3.0",
    "httpx==0.28.1",
    "cryptography==50.0.2",
    // Verifiers of COSE receipts and of COSE signatures.
    "scitt-cose==0.5.0",
    "cwt==3.3.0",
    "cbor2==5.9.0",
];
/// The official reference servers of MCP.
const NODE: &[&str] = &[
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
];

/// Installs what is missing, at the versions named here, and nothing if all is there.
///
/// # Errors
/// When python3, pip or npm is missing or fails.
pub(crate) fn set_up(target: &Path) -> Result<PathBuf> {
    let folder = target.join("third-party");
    fs::create_dir_all(&folder).context("target/third-party")?;

    let venv = folder.join("venv");
    once(&venv, PYTHON, || {
        run(&Program::new("python3").args(["-m", "venv"]).path(&venv))?;
        let python = venv.join("bin").join("python");
        run(&Program::at(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(PYTHON.iter().copied()))
    })?;

    let modules = folder.join("node_modules");
    once(&modules, NODE, || {
        run(&Program::new("npm")
            .args([
                "install",
                "--no-save",
                "--no-package-lock",
                "--no-audit",
                "--no-fund",
            ])
            .args(["--loglevel", "error", "--prefix"])
            .path(&folder)
            .args(NODE.iter().copied()))
    })?;
    Ok(folder)
}

/// Makes a folder anew unless it was finished with these very versions.
fn once(folder: &Path, versions: &[&str], make: impl FnOnce() -> Result<()>) -> Result<()> {
    let mark = folder.join(".versions");
    let wanted = versions.join("\n");
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    make()?;
    // Last, so that what was interrupted is made again.
    fs::write(&mark, wanted).with_context(|| mark.display().to_string())
}

//! Programs in Python, with libraries of others: what an agent or an API is made of elsewhere.

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binaries::{source, third_party};
use crate::world::{LIMIT, free_port};

fn python(script: &str) -> Command {
    let mut command = Command::new(third_party("venv/bin/python"));
    command
        .arg(source("third-party").join(script))
        .env_remove("COUNTERFOIL_HOME");
    command
}

/// Runs a script with a plan against an address; what it prints.
pub(crate) fn ask(script: &str, plan: &Value, url: &str) -> Vec<Value> {
    let output = python(script)
        .args([&plan.to_string(), url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{script}: {said}"))
}

/// A server in Python that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a script that listens on the port which is its first argument, and notes in the file
    /// which is its second what it did.
    pub(crate) fn start(script: &str, did: &Path) -> Self {
        let port = free_port();
        let log = File::create(did.with_extension("log")).unwrap();
        let mut child = python(script)
            .arg(port.to_string())
            .arg(did)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().unwrap();
            let said = || std::fs::read_to_string(did.with_extension("log")).unwrap_or_default();
            assert!(ended.is_none(), "{script} ended: {}", said());
            assert!(
                begin.elapsed() < LIMIT,
                "{script} does not listen: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a server noted, line by line.
pub(crate) fn noted(did: &Path) -> Vec<Value> {
    std::fs::read_to_string(did)
        .unwrap_or_default()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

//! Two operators, a log and two witnesses as real processes: acme calls `echo` of globex.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::echo::{self, Client, SERVER};

/// A world without its gateways, whose log and witnesses run until it is dropped.
#[derive(Debug)]
pub(crate) struct World {
    directory: PathBuf,
    running: Vec<Serving>,
}

impl World {
    /// Sets everything up with the commands that users run. Both witnesses must cosign.
    pub(crate) fn set_up(directory: &Path) -> Self {
        let mut world = Self {
            directory: directory.to_owned(),
            running: Vec::new(),
        };
        let [log, w1, w2, acme, globex] = free_ports().map(|address| address.to_string());
        let mut witnesses = Vec::new();
        for (name, listen) in [("w1", &w1), ("w2", &w2)] {
            let key_name = format!("witness.example/{name}");
            let made = world.run(&format!(
                "witness init --dir {name} --name {key_name} --listen {listen}"
            ));
            witnesses.push(format!("--witness {} http://{listen}", text(&made)));
        }
        let made = world.run(&format!(
            "log init --dir log --origin log.example/bench --listen {log} --quorum 2 {}",
            witnesses.join(" ")
        ));
        for name in ["w1", "w2"] {
            world.run(&format!("witness add-log --dir {name} {}", text(&made)));
            world.keep(&format!("witness serve --dir {name}"));
        }
        world.keep("log serve --dir log");
        let mut trust = fs::read_to_string(world.path("log/trust")).unwrap();
        for (home, listen) in [("acme", &acme), ("globex", &globex)] {
            let made = world.run(&format!(
                "init --home {home} --operator {home}.example --listen {listen} --log http://{log}"
            ));
            trust.push_str(&format!("{}\n", made["trust_line"].as_str().unwrap()));
        }
        for home in ["acme", "globex"] {
            fs::write(world.path(home).join("trust"), &trust).unwrap();
            world.run(&format!(
                "operator register --home {home} --token-file log/admission.token"
            ));
            echo::allow_echo(&world.path(home));
        }
        let own = std::env::current_exe().unwrap();
        world.configure(
            "globex",
            &format!(
                "callers = \"operators\"\ncommand = [\"env\", \"{SERVER}=1\", {:?}]\n",
                own.display().to_string()
            ),
        );
        world.configure(
            "acme",
            &format!(
                "callers = \"agents\"\nurl = \"http://{globex}/mcp/echo\"\n\
                 operator = \"globex.example\"\n"
            ),
        );
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Has both operators seal a batch this often.
    pub(crate) fn set_interval(&self, from_millis: u64, to_millis: u64) {
        for home in ["acme", "globex"] {
            let path = self.path(home).join("operator.toml");
            let before = fs::read_to_string(&path).unwrap();
            let line = |millis| format!("\ninterval_millis = {millis}\n");
            assert!(before.contains(&line(from_millis)), "{before}");
            let after = before.replace(&line(from_millis), &line(to_millis));
            fs::write(&path, after).unwrap();
        }
    }

    /// Runs a command to its end; its words are parted by single spaces.
    pub(crate) fn run(&self, line: &str) -> Value {
        let output = self.command(line).arg("--json").output().unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts a command that keeps running, and waits until it listens.
    pub(crate) fn serve(&self, line: &str) -> Serving {
        let mut child = self
            .command(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut first).unwrap();
        assert!(first.starts_with("listening on "), "{line}: {first}");
        Serving(child)
    }

    /// An agent of acme in a session with globex's tool.
    pub(crate) fn agent(&self) -> Client {
        let mut command = self.command("mcp --home acme --agent bot --server echo");
        Client::start(command.stderr(Stdio::null()))
    }

    fn keep(&mut self, line: &str) {
        let serving = self.serve(line);
        self.running.push(serving);
    }

    fn configure(&self, home: &str, server: &str) {
        let path = self.path(home).join("operator.toml");
        let before = fs::read_to_string(&path).unwrap();
        // The agents' side is there only while its agent is, and no disk is set back here.
        let before = before.replace(
            "[gateway]\n",
            "[gateway]\nsilent_counterparties = \"pass_over\"\ncounterparty_seconds = 0\n",
        );
        let after = format!("{before}\n[[servers]]\nname = \"echo\"\n{server}");
        fs::write(&path, after).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = echo::counterfoil();
        command
            .args(line.split(' '))
            .current_dir(&self.directory)
            .env_remove("RUST_LOG");
        command
    }
}

/// A process that serves until this is dropped.
#[derive(Debug)]
pub(crate) struct Serving(Child);

impl Serving {
    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_ports<const N: usize>() -> [SocketAddr; N] {
    // All are held until all are known, so that none is given twice.
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// The public key of what was made.
fn text(made: &Value) -> &str {
    made["verifier_key"].as_str().unwrap()
}

//! A whole world of real processes: a log, two witnesses, acme with an agent, globex with a tool.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::agent::HttpAgent;
use crate::binaries::{Said, command, good, run, support_desk};

/// How long something may take that happens by itself.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What acme allows its agent.
const ACME_POLICY: &str = r#"
@id("bot")
@points("1")
permit (principal == Agent::"acme.example/support-bot", action, resource);
"#;

/// The processes, each with the arguments that start it.
const PROCESSES: [(&str, &[&str]); 5] = [
    ("w1", &["witness", "serve", "--dir", "w1"]),
    ("w2", &["witness", "serve", "--dir", "w2"]),
    ("log", &["log", "serve", "--dir", "log"]),
    ("globex", &["gateway", "serve", "--home", "globex"]),
    ("acme", &["gateway", "serve", "--home", "acme"]),
];

/// The world: its directory, and what runs in it.
#[derive(Debug)]
pub(crate) struct World {
    directory: TempDir,
    acme: SocketAddr,
    globex: SocketAddr,
    running: BTreeMap<&'static str, Child>,
}

impl World {
    /// Sets everything up with the commands that users run, and starts everything.
    pub(crate) fn start() -> Self {
        let mut world = Self::set_up();
        for name in ["globex", "acme"] {
            world.start_process(name);
        }
        world
    }

    /// Sets everything up; the log and its witnesses run, the gateways do not.
    pub(crate) fn set_up() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().to_owned();
        let [log, w1, w2, globex, acme] = free_ports();
        let mut world = Self {
            directory,
            acme,
            globex,
            running: BTreeMap::new(),
        };
        let mut witnesses = Vec::new();
        for (name, address) in [("w1", w1), ("w2", w2)] {
            let key_name = format!("witness.example/{name}");
            let listen = address.to_string();
            let made = good(
                &dir,
                &[
                    "witness", "init", "--dir", name, "--name", &key_name, "--listen", &listen,
                ],
            );
            witnesses.push((text(&made["verifier_key"]), format!("http://{address}")));
        }
        let listen = log.to_string();
        let mut arguments = vec![
            "log",
            "init",
            "--dir",
            "log",
            "--origin",
            "log.example/test",
        ];
        arguments.extend(["--listen", &listen]);
        for (key, url) in &witnesses {
            arguments.extend(["--witness", key, url]);
        }
        let log_key = text(&good(&dir, &arguments)["verifier_key"]);
        for name in ["w1", "w2"] {
            good(&dir, &["witness", "add-log", "--dir", name, &log_key]);
            world.start_process(name);
        }
        world.start_process("log");

        let url = format!("http://{log}");
        let mut trust = fs::read_to_string(dir.join("log/trust")).unwrap();
        for (home, listen) in [("acme", acme), ("globex", globex)] {
            let operator = format!("{home}.example");
            let listen = listen.to_string();
            let made = good(
                &dir,
                &[
                    "init",
                    "--home",
                    home,
                    "--operator",
                    &operator,
                    "--listen",
                    &listen,
                    "--log",
                    &url,
                ],
            );
            trust.push_str(&format!("{}\n", text(&made["trust_line"])));
        }
        fs::write(dir.join("trust"), &trust).unwrap();
        for home in ["acme", "globex"] {
            fs::write(dir.join(home).join("trust"), &trust).unwrap();
            good(
                &dir,
                &[
                    "operator",
                    "register",
                    "--home",
                    home,
                    "--token-file",
                    "log/admission.token",
                ],
            );
        }
        for file in ["read.cedar", "refund.cedar", "send_mail.cedar"] {
            fs::remove_file(dir.join("acme/policy").join(file)).unwrap();
        }
        fs::write(dir.join("acme/policy/bot.cedar"), ACME_POLICY).unwrap();
        world.configure(
            "globex",
            &format!(
                "[[servers]]\nname = \"desk\"\ncallers = \"operators\"\ncommand = [{:?}, \"--did\", {:?}]\n",
                support_desk(),
                dir.join("did.txt")
            ),
        );
        world.configure(
            "acme",
            &format!(
                "[[agents]]\nname = \"support-bot\"\n\
                 [[servers]]\nname = \"desk\"\ncallers = \"agents\"\n\
                 url = \"http://{globex}/mcp/desk\"\noperator = \"globex.example\"\n"
            ),
        );
        world
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Adds to the configuration of an operator, and keeps clear text so that tests can read it.
    pub(crate) fn configure(&self, home: &str, more: &str) {
        let path = self.path(home).join("operator.toml");
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("keep_clear_text = false", "keep_clear_text = true");
        // Nobody who is down is waited for, and what changes is heard of soon.
        let soon = "[gateway]\ncounterparty_seconds = 1\nmanifest_seconds = 2\n";
        let text = if text.contains(soon) {
            text
        } else {
            text.replace("[gateway]\n", soon)
        };
        fs::write(&path, format!("{text}\n{more}")).unwrap();
    }

    /// Starts a process and waits until it listens.
    pub(crate) fn start_process(&mut self, name: &str) {
        let (name, arguments) = PROCESSES.iter().find(|process| process.0 == name).unwrap();
        let log = self.path(&format!("{name}.txt"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut child = command(self.directory(), arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        self.running.insert(name, child);
        assert!(
            line.starts_with("listening on "),
            "{name}: {line:?}\n{}",
            self.said(name)
        );
    }

    /// Starts the gateway of a further enforcer and waits until it listens.
    pub(crate) fn start_further(&mut self, home: &'static str) {
        let log = File::create(self.path(&format!("{home}.txt"))).unwrap();
        let mut child = command(self.directory(), &["gateway", "serve", "--home", home])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        self.running.insert(home, child);
        assert!(line.starts_with("listening on "), "{}", self.said(home));
    }

    /// An address that nobody listens on.
    pub(crate) fn free_address(&self) -> String {
        let [address] = free_ports();
        address.to_string()
    }

    /// What a process wrote to standard error.
    pub(crate) fn said(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.txt"))).unwrap_or_default()
    }

    /// Ends a process as `kill -9` does.
    pub(crate) fn kill(&mut self, name: &str) {
        let mut child = self.running.remove(name).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends the tool servers of this world as `kill -9` does. They are children of globex's
    /// gateway. Returns how many there were.
    pub(crate) fn kill_tool_servers(&self) -> usize {
        let gateway = self.running["globex"].id();
        let children = format!("/proc/{gateway}/task/{gateway}/children");
        let mut killed = 0;
        // Of every thread of the gateway: any of them may have started one.
        for thread in fs::read_dir(format!("/proc/{gateway}/task")).unwrap() {
            let listed = thread.unwrap().path().join("children");
            for child in fs::read_to_string(listed)
                .unwrap_or_default()
                .split_whitespace()
            {
                let status = std::process::Command::new("kill")
                    .args(["-9", child])
                    .status();
                killed += usize::from(status.unwrap().success());
            }
        }
        assert!(
            fs::exists(&children).unwrap(),
            "the kernel lists no children"
        );
        killed
    }

    /// Asks a process to end, and waits until it has.
    pub(crate) fn stop(&mut self, name: &str) {
        let mut child = self.running.remove(name).unwrap();
        let asked = std::process::Command::new("kill")
            .arg(child.id().to_string())
            .status();
        assert!(asked.unwrap().success());
        let ended = child.wait().unwrap();
        assert!(
            ended.success(),
            "{name} ended with {ended}\n{}",
            self.said(name)
        );
    }

    /// Where acme's agents call.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp/desk", self.acme)
    }

    /// Where the gateway of an operator answers.
    pub(crate) fn gateway(&self, home: &str) -> SocketAddr {
        if home == "acme" {
            self.acme
        } else {
            self.globex
        }
    }

    /// An agent of acme in a session with globex's desk.
    pub(crate) fn agent(&self) -> HttpAgent {
        HttpAgent::connect(&self.url()).unwrap()
    }

    /// Runs a command here.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        run(self.directory(), arguments)
    }

    /// Runs a command here that must succeed.
    pub(crate) fn good(&self, arguments: &[&str]) -> Value {
        good(self.directory(), arguments)
    }

    /// What the tool really did, line by line.
    pub(crate) fn did(&self) -> Vec<String> {
        fs::read_to_string(self.path("did.txt"))
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// All records of an operator, as `journal list` shows them.
    pub(crate) fn records(&self, home: &str) -> Vec<Value> {
        self.good(&["journal", "list", "--home", home])
            .as_array()
            .unwrap()
            .clone()
    }

    /// Gets every receipt of an operator, from itself and from the other one, and verifies them.
    /// Returns how many there are.
    pub(crate) fn verify_all_receipts(&self) -> usize {
        let mut count = 0;
        for (home, from, folder) in [
            ("acme", None, "receipts/acme"),
            ("globex", None, "receipts/globex"),
            ("acme", Some("globex.example"), "receipts/to-acme"),
            ("globex", Some("acme.example"), "receipts/to-globex"),
        ] {
            let mut arguments = vec!["receipt", "get", "--home", home, "--all"];
            arguments.extend(["--wait", "witnessed", "--out", folder]);
            if let Some(operator) = from {
                arguments.extend(["--from", operator]);
            }
            let got = self.good(&arguments);
            let files: Vec<&str> = got
                .as_array()
                .unwrap()
                .iter()
                .map(|receipt| receipt["file"].as_str().unwrap())
                .collect();
            let mut arguments = vec!["verify", "--trust", "trust", "--level", "witnessed"];
            arguments.extend(&files);
            let report = self.good(&arguments);
            assert_eq!(report["verified"], true);
            count += files.len();
        }
        count
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for (name, _) in PROCESSES {
                eprintln!("== {name}\n{}", self.said(name));
            }
        }
    }
}

/// Tries again and again until it succeeds. A try takes as long as it takes, such as a call over
/// HTTP; there is no pause between two.
pub(crate) fn retry<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begin.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
    }
}

/// A home of an operator that stands alone: no log, no other operators.
pub(crate) fn solo(directory: &Path) {
    good(
        directory,
        &["init", "--home", "solo", "--operator", "solo.example"],
    );
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let [address] = free_ports();
    address.port()
}

fn free_ports<const N: usize>() -> [SocketAddr; N] {
    // All are held until all are known, so that none is given twice.
    let listeners: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap())
        .collect();
    addresses.try_into().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

//! Two operators, a log and two witnesses, set up with the commands that users run.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::agent::HttpAgent;
use super::calls::BUDGET;
use super::processes::Processes;
use super::programs::Programs;
use super::relay::Relay;
use crate::answer::{OrProblem as _, Problem};

/// Where everything listens.
#[derive(Debug)]
pub(super) struct World {
    pub(super) directory: PathBuf,
    pub(super) desk: PathBuf,
    pub(super) dishonest_globex: PathBuf,
    pub(super) acme: SocketAddr,
    pub(super) relay: Relay,
}

/// Sets everything up and starts the log, the witnesses and globex.
pub(super) async fn set_up(
    directory: &Path,
    programs: &Programs,
    processes: &mut Processes,
) -> Result<World, Problem> {
    let [log, w1, w2, acme, globex] = free_ports()?;
    let relay = Relay::start(globex).await?;
    let world = World {
        directory: directory.to_owned(),
        desk: programs.desk.clone(),
        dishonest_globex: programs.dishonest_globex.clone(),
        acme,
        relay,
    };

    let mut witnesses = Vec::new();
    for (dir, address) in [("w1", w1), ("w2", w2)] {
        let name = format!("witness.example/{dir}");
        let listen = address.to_string();
        let made = processes
            .run(&[
                "witness", "init", "--dir", dir, "--name", &name, "--listen", &listen,
            ])
            .await?;
        witnesses.push((text(&made, "verifier_key")?, format!("http://{address}")));
    }
    let listen = log.to_string();
    let mut arguments = vec![
        "log",
        "init",
        "--dir",
        "log",
        "--origin",
        "log.example/demo",
        "--listen",
        &listen,
    ];
    for (key, url) in &witnesses {
        arguments.extend(["--witness", key, url]);
    }
    arguments.extend(["--quorum", "2"]);
    let made = processes.run(&arguments).await?;
    let log_key = text(&made, "verifier_key")?;
    for dir in ["w1", "w2"] {
        processes
            .run(&["witness", "add-log", "--dir", dir, &log_key])
            .await?;
        processes
            .serve(dir, &["witness", "serve", "--dir", dir])
            .await?;
    }
    processes
        .serve("log", &["log", "serve", "--dir", "log"])
        .await?;

    let log_url = format!("http://{log}");
    let mut trust = fs::read_to_string(directory.join("log/trust")).at("log/trust")?;
    processes.note("cp log/trust trust");
    for (home, operator, address, sample) in [
        ("acme", "acme.example", acme, "agent"),
        ("globex", "globex.example", globex, "tools"),
    ] {
        let listen = address.to_string();
        let made = processes
            .run(&[
                "init",
                "--home",
                home,
                "--operator",
                operator,
                "--listen",
                &listen,
                "--log",
                &log_url,
                "--sample",
                sample,
            ])
            .await?;
        trust.push_str(&format!("{}\n", text(&made, "trust_line")?));
        processes.note(format!(
            "counterfoil operator trust-line --home {home} >> trust"
        ));
    }
    world.write("trust", &trust)?;
    for home in ["acme", "globex"] {
        world.write(&format!("{home}/trust"), &trust)?;
        processes.note(format!("cp trust {home}/trust"));
        processes
            .run(&[
                "operator",
                "register",
                "--home",
                home,
                "--token-file",
                "log/admission.token",
            ])
            .await?;
    }
    world.configure(processes)?;
    processes
        .serve("globex", &["gateway", "serve", "--home", "globex"])
        .await?;
    Ok(world)
}

impl World {
    /// An agent of acme in a session with globex's desk.
    pub(super) async fn agent(&self) -> Result<HttpAgent, Problem> {
        HttpAgent::connect(&format!("http://{}/mcp/desk", self.acme)).await
    }

    /// Starts the agent's side.
    pub(super) async fn start_acme(&self, processes: &mut Processes) -> Result<(), Problem> {
        processes
            .serve("acme", &["gateway", "serve", "--home", "acme"])
            .await
    }

    /// Adds servers, agents and budgets to both configurations.
    fn configure(&self, processes: &mut Processes) -> Result<(), Problem> {
        let desk = format!("{:?}", self.desk.display().to_string());
        self.append(
            "globex/operator.toml",
            &format!(
                "\n[[servers]]\nname = \"desk\"\ncallers = \"operators\"\n\
                 command = [{desk}, \"--did\", {:?}]\n",
                self.directory.join("globex-did.txt").display().to_string()
            ),
            processes,
        )?;
        self.append(
            "acme/operator.toml",
            &format!(
                "\n[[agents]]\nname = \"support-bot\"\n\
                 \n[[budgets]]\nagent = \"support-bot\"\nrisk_points = {BUDGET}\n\
                 period_seconds = 86400\n\
                 \n# The relay of the demo, which stands for the network between the two.\n\
                 [[servers]]\nname = \"desk\"\ncallers = \"agents\"\n\
                 url = \"http://{}/mcp/desk\"\noperator = \"globex.example\"\n",
                self.relay.address()
            ),
            processes,
        )?;
        // So that receipts can disclose what parameters and results were.
        for home in ["acme", "globex"] {
            self.edit(&format!("{home}/operator.toml"), |text| {
                text.replace("keep_clear_text = false", "keep_clear_text = true")
            })?;
        }
        processes
            .note("sed -i 's/^keep_clear_text = false/keep_clear_text = true/' */operator.toml");
        Ok(())
    }

    fn edit(&self, path: &str, change: impl FnOnce(String) -> String) -> Result<(), Problem> {
        let text = fs::read_to_string(self.directory.join(path)).at(path)?;
        self.write(path, &change(text))
    }

    fn append(&self, path: &str, text: &str, processes: &mut Processes) -> Result<(), Problem> {
        let before = fs::read_to_string(self.directory.join(path)).at(path)?;
        self.write(path, &format!("{before}{text}"))?;
        processes.note(format!("cat >> {path} <<'END'{text}END"));
        Ok(())
    }

    /// Writes a file that a user would write.
    pub(super) fn put(
        &self,
        path: &str,
        text: &str,
        processes: &mut Processes,
    ) -> Result<(), Problem> {
        processes.note(format!("cat > {path} <<'END'\n{text}END"));
        self.write(path, text)
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Problem> {
        fs::write(self.directory.join(path), text).at(path)
    }
}

/// Ports of loopback that nobody uses now.
fn free_ports<const N: usize>() -> Result<[SocketAddr; N], Problem> {
    // All are held until all are known, so that none is given twice.
    let listeners: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .at("no free port")?;
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()
        .at("no free port")?;
    addresses
        .try_into()
        .map_err(|_| Problem::new("no free port"))
}

/// A text of a command's answer.
pub(super) fn text(value: &Value, name: &str) -> Result<String, Problem> {
    value
        .get(name)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| Problem::new(format!("no `{name}` in {value}")))
}

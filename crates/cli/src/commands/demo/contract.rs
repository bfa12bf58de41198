//! The contract of the two operators: how it is made, and what it means for the calls.

use serde_json::{Value, json};

use super::calls::WITNESSED_TOOL;
use super::lines::{Line, field};
use super::processes::Processes;
use super::world::{World, text};
use crate::answer::Problem;

/// Where the contract file is, for whoever verifies it or compares both halves.
pub(super) const FILE: &str = "desk.contract";

/// What both have agreed on.
#[derive(Debug)]
pub(super) struct Agreed {
    digest: String,
    /// How it stands for each side.
    acme: String,
    globex: String,
    levels: Value,
}

/// The contract after the calls.
#[derive(Debug)]
pub(super) struct Contract {
    agreed: Agreed,
    /// What `contract verify` says of the file.
    verified: Value,
    /// The calls that crossed, and those whose request and decision both name the contract.
    crossed: usize,
    under: usize,
    outside: Vec<Outside>,
}

/// A call that the contract does not allow.
#[derive(Debug)]
struct Outside {
    number: usize,
    asks: String,
    code: String,
    /// Whether acme's record of the refusal names the contract.
    names_it: bool,
}

/// What the two want of each other's calls.
fn terms() -> String {
    format!(
        r#"# What acme's agents may ask of globex's support desk.
asking = "acme.example"
asked = "globex.example"
expires = 2100-01-01T00:00:00Z
publish_delay_seconds = 60

# What the evidence of a request must reach before it is executed.
[levels]
low = "signed"
money = "witnessed"

[[permissions]]
server = "desk"
tool = "{WITNESSED_TOOL}"
targets = {{ "/arguments/ticket" = "T-*" }}
tier = "money"

[[permissions]]
server = "desk"
tool = "read_ticket"
tier = "low"

[[permissions]]
server = "desk"
tool = "search"
tier = "low"

[[permissions]]
server = "desk"
tool = "send_mail"
tier = "low"
"#
    )
}

/// Acme proposes, globex looks at it and accepts.
pub(super) async fn agree(world: &World, processes: &mut Processes) -> Result<Agreed, Problem> {
    world.put("terms.toml", &terms(), processes)?;
    let propose = ["contract", "propose", "--home", "acme", "terms.toml"];
    let proposed = processes.run(&propose).await?;
    let digest = text(&proposed, "contract")?;
    let shown = processes
        .run(&["contract", "show", "--home", "globex", &digest])
        .await?;
    if shown.get("terms") != proposed.get("terms") {
        return Err(Problem::new("globex is shown other terms than acme"));
    }
    let accepted = processes
        .run(&["contract", "accept", "--home", "globex", &digest])
        .await?;
    let listed = processes
        .run(&["contract", "list", "--home", "acme"])
        .await?;
    let known = listed
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one.get("contract").and_then(Value::as_str) == Some(&digest));
    Ok(Agreed {
        acme: text(known.unwrap_or(&Value::Null), "standing")?,
        globex: text(&accepted, "standing")?,
        levels: shown
            .pointer("/terms/levels")
            .cloned()
            .unwrap_or(Value::Null),
        digest,
    })
}

impl Agreed {
    /// Writes the contract file, verifies it, and holds the calls against what was agreed.
    pub(super) async fn look_back(
        self,
        lines: &[Line<'_>],
        processes: &mut Processes,
    ) -> Result<Contract, Problem> {
        let export = ["contract", "export", "--home", "acme", &self.digest];
        processes
            .run(&[&export[..], &["--out", FILE]].concat())
            .await?;
        let verify = ["contract", "verify", FILE, "--trust", "trust"];
        let (verified, _) = processes.run_any(&verify).await?;
        let names = |receipt: &Option<Value>| {
            receipt
                .as_ref()
                .and_then(|receipt| field(receipt, "contract"))
                == Some(&self.digest)
        };
        let crossed: Vec<&Line<'_>> = lines.iter().filter(|line| line.crosses()).collect();
        let under = crossed
            .iter()
            .filter(|line| names(&line.acme) && names(&line.globex));
        let outside = lines.iter().filter_map(|line| {
            let code = line.call.result.refused.as_deref()?;
            let by_contract = code.starts_with("contract_");
            by_contract.then(|| Outside {
                number: line.number,
                asks: line.call.planned.about.clone(),
                code: code.to_owned(),
                names_it: names(&line.acme) && line.globex.is_none(),
            })
        });
        Ok(Contract {
            verified,
            under: under.count(),
            crossed: crossed.len(),
            outside: outside.collect(),
            agreed: self,
        })
    }
}

impl Contract {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (operator, standing) in [("acme", &self.agreed.acme), ("globex", &self.agreed.globex)] {
            if standing != "in_force" {
                problems.push(format!("the contract is {standing} for {operator}"));
            }
        }
        let state = self.verified.get("state").and_then(Value::as_str);
        if !self.is_verified() || state != Some("accepted") {
            problems.push(format!(
                "the contract file is not verified: {}",
                self.verified
            ));
        }
        if self.under != self.crossed || self.under == 0 {
            problems.push(format!(
                "{} of {} calls between the two name the contract on both sides",
                self.under, self.crossed
            ));
        }
        if self.outside.is_empty() || self.outside.iter().any(|one| !one.names_it) {
            problems.push(format!("calls outside of the contract: {:?}", self.outside));
        }
        problems
    }

    fn is_verified(&self) -> bool {
        self.verified.get("verified") == Some(&Value::Bool(true))
    }

    pub(super) fn json(&self) -> Value {
        let outside: Vec<Value> = self
            .outside
            .iter()
            .map(|one| json!({ "call": one.number, "refused": one.code, "left_acme": false }))
            .collect();
        json!({
            "contract": self.agreed.digest,
            "standing": { "acme": self.agreed.acme, "globex": self.agreed.globex },
            "levels": self.agreed.levels,
            "file": FILE,
            "verified": self.is_verified(),
            "state": self.verified.get("state"),
            "calls_between": self.crossed,
            "calls_under_it": self.under,
            "outside": outside,
        })
    }

    pub(super) fn text(&self) -> String {
        let digest: String = self.agreed.digest.chars().take(12).collect();
        let outside: String = self
            .outside
            .iter()
            .map(|one| format!("  call {}: {} ({})\n", one.number, one.asks, one.code))
            .collect();
        format!(
            "THE CONTRACT. Before the agent called globex, acme proposed contract {digest} and \
             globex accepted it. The agent may read, search and send mail if acme has signed the \
             request; it gets a refund only once witnesses vouch for the request. The text stays \
             between the two. All {} calls that went from one to the other name it on both sides. \
             What is outside of it never left acme:\n{outside}",
            self.under
        )
    }
}

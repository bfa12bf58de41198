//! Terms of a contract as people write them, in TOML, and as they are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use counterfoil_protocol::contract::{Clauses, Party, Pattern, Permission, Pointer, Target, Terms};
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{Contact, OperatorName, ServerName, Tier, Unit, Verb};
use counterfoil_protocol::numbers::{Amount, Millis, UnixMillis};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{OrProblem as _, Problem};
use crate::show::millis;

/// What a terms file looks like; `contract propose --help` shows it.
pub(super) const EXAMPLE: &str = r#"# Who asks, and whose tools are asked for.
asking = "acme.example"
asked = "globex.example"
# When it begins and expires. Without a beginning it begins when it is proposed.
begins = 2026-12-01T00:00:00Z
expires = 2027-12-01T00:00:00Z
# How long after it was made a record is logged at the latest.
publish_delay_seconds = 60
# How long it goes on after a party has ended it.
notice_seconds = 86400
# The logs and witnesses that evidence is verified against: `log`, `witness`, `group` and `quorum`
# lines of a trust file. Without it those of the trust file in the home.
# trust = """..."""

# What the evidence of a request must reach before it is executed, by risk tier: "signed",
# "committed", "logged" or "witnessed".
[levels]
low = "signed"
high = "witnessed"

# What may be asked for; the first permission that applies decides. `*` in a pattern stands for
# anything. `targets` are texts in the parameters and what they must look like.
[[permissions]]
server = "desk"
verb = "tools/call"
tool = "read_*"
tier = "low"
points = 1

[[permissions]]
server = "desk"
verb = "tools/call"
tool = "refund"
targets = { "/arguments/ticket" = "T-*" }
tier = "high"
points = 10

# What each party discloses to the other with its records: "evaluation_input", "on_behalf_of",
# "session", "parameters", "result".
[disclose]
asking = ["on_behalf_of"]
asked = ["result"]

# Cedar policies that the asked side applies before its own. They must allow a call too.
# admission = """permit (principal, action, resource);"""

# What all calls together may use in each period.
[[budgets]]
unit = "RISK_POINTS"
amount = 500
period_seconds = 86400

# Who may be asked when agents or tools may not decide alone.
[escalation]
asking = ["ops@acme.example"]
asked = ["desk@globex.example"]
"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    asking: String,
    asked: String,
    begins: Option<toml::value::Datetime>,
    expires: toml::value::Datetime,
    publish_delay_seconds: u64,
    #[serde(default)]
    notice_seconds: u64,
    trust: Option<String>,
    levels: BTreeMap<String, String>,
    permissions: Vec<PermissionTable>,
    #[serde(default)]
    disclose: Sides,
    admission: Option<String>,
    #[serde(default)]
    budgets: Vec<BudgetTable>,
    #[serde(default)]
    escalation: Sides,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PermissionTable {
    server: String,
    #[serde(default = "tools_call")]
    verb: String,
    tool: String,
    #[serde(default)]
    targets: BTreeMap<String, String>,
    tier: String,
    #[serde(default)]
    points: u64,
}

fn tools_call() -> String {
    "tools/call".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetTable {
    unit: String,
    amount: u64,
    period_seconds: u64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sides {
    #[serde(default)]
    asking: Vec<String>,
    #[serde(default)]
    asked: Vec<String>,
}

impl Sides {
    fn each(&self) -> impl Iterator<Item = (Party, &String)> {
        let asking = self.asking.iter().map(|item| (Party::Asking, item));
        asking.chain(self.asked.iter().map(|item| (Party::Asked, item)))
    }
}

/// Reads terms; `trust` is the text of the home's trust file.
pub(super) fn read(
    text: &str,
    path: &Path,
    trust: &str,
    now: UnixMillis,
) -> Result<Terms, Problem> {
    let file: File = toml::from_str(text)
        .at(path.display())
        .or_next("counterfoil contract propose --help shows a complete terms file")?;
    let clauses = clauses(file, trust, now)
        .map_err(|problem| Problem::new(format!("{}: {problem}", path.display())))?;
    Terms::new(clauses).at(path.display())
}

fn clauses(file: File, trust: &str, now: UnixMillis) -> Result<Clauses, Problem> {
    let mut levels = BTreeMap::new();
    for (tier, level) in file.levels {
        let tier = Tier::new(tier)?;
        levels.insert(tier, level_named(&level)?);
    }
    let mut permissions = Vec::new();
    for table in file.permissions {
        permissions.push(permission(table)?);
    }
    let mut disclosures = BTreeSet::new();
    for (party, name) in file.disclose.each() {
        disclosures.insert((party, field_named(name)?));
    }
    let mut budgets = BTreeMap::new();
    for table in file.budgets {
        let key = (Unit::new(table.unit)?, seconds(table.period_seconds));
        if budgets.insert(key, Amount::new(table.amount)).is_some() {
            return Err(Problem::new("two budgets for one unit and period"));
        }
    }
    let mut escalation = BTreeSet::new();
    for (party, contact) in file.escalation.each() {
        escalation.insert((party, Contact::new(contact.as_str())?));
    }
    Ok(Clauses {
        asking: OperatorName::new(file.asking)?,
        asked: OperatorName::new(file.asked)?,
        begins: match file.begins {
            Some(begins) => time(begins, "begins")?,
            None => now,
        },
        expires: time(file.expires, "expires")?,
        permissions,
        levels,
        publish_delay: seconds(file.publish_delay_seconds),
        policy: file.trust.unwrap_or_else(|| without_operators(trust)),
        disclosures,
        admission: file.admission,
        budgets,
        escalation,
        notice: seconds(file.notice_seconds),
    })
}

fn permission(table: PermissionTable) -> Result<Permission, Problem> {
    let mut targets = Vec::new();
    for (pointer, pattern) in table.targets {
        targets.push(Target {
            pointer: Pointer::new(pointer)?,
            pattern: Pattern::new(pattern)?,
        });
    }
    Ok(Permission {
        server: ServerName::new(table.server)?,
        verb: Verb::new(table.verb)?,
        tool: Pattern::new(table.tool)?,
        targets,
        tier: Tier::new(table.tier)?,
        points: Amount::new(table.points),
    })
}

fn time(datetime: toml::value::Datetime, key: &str) -> Result<UnixMillis, Problem> {
    let text = datetime.to_string();
    let wrong = || {
        Problem::new(format!(
            "{key}: `{text}` is not a time with its offset, such as 2027-01-01T00:00:00Z"
        ))
    };
    let timestamp: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    let millis = u64::try_from(timestamp.as_millisecond()).map_err(|_| wrong())?;
    Ok(UnixMillis::new(millis))
}

fn seconds(seconds: u64) -> Millis {
    Millis::new(seconds.saturating_mul(1_000))
}

/// The lines of a trust file about logs and witnesses.
fn without_operators(trust: &str) -> String {
    let lines = trust.lines().filter(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && !line.starts_with("operator")
    });
    lines.map(|line| format!("{line}\n")).collect()
}

fn level_named(name: &str) -> Result<Level, Problem> {
    Level::ALL
        .into_iter()
        .find(|level| level.as_str() == name)
        .ok_or_else(|| {
            Problem::new(format!(
                "levels: `{name}` is none of signed, committed, logged, witnessed"
            ))
        })
}

fn key_of(field: DisclosedField) -> String {
    field.name().replace(' ', "_")
}

fn field_named(name: &str) -> Result<DisclosedField, Problem> {
    DisclosedField::ALL
        .into_iter()
        .find(|field| key_of(*field) == name)
        .ok_or_else(|| Problem::new(format!("disclose: a record has no `{name}` to disclose")))
}

/// The clauses for machines.
pub(super) fn json(terms: &Terms) -> Value {
    let clauses = terms.clauses();
    let sides = |wanted: Party| -> Vec<String> { terms.discloses(wanted).map(key_of).collect() };
    let contacts = |wanted: Party| -> Vec<&str> {
        let all = clauses.escalation.iter();
        all.filter(|(party, _)| *party == wanted)
            .map(|(_, contact)| contact.as_str())
            .collect()
    };
    json!({
        "asking": clauses.asking.as_str(),
        "asked": clauses.asked.as_str(),
        "begins": clauses.begins.get(),
        "expires": clauses.expires.get(),
        "publish_delay_millis": clauses.publish_delay.get(),
        "notice_millis": clauses.notice.get(),
        "trust": clauses.policy,
        "levels": clauses.levels.iter()
            .map(|(tier, level)| (tier.to_string(), json!(level.as_str())))
            .collect::<serde_json::Map<_, _>>(),
        "permissions": clauses.permissions.iter().map(|permission| json!({
            "server": permission.server.as_str(),
            "verb": permission.verb.as_str(),
            "tool": permission.tool.as_str(),
            "targets": permission.targets.iter()
                .map(|target| (target.pointer.to_string(), json!(target.pattern.as_str())))
                .collect::<serde_json::Map<_, _>>(),
            "tier": permission.tier.as_str(),
            "points": permission.points.get(),
        })).collect::<Vec<_>>(),
        "disclose": { "asking": sides(Party::Asking), "asked": sides(Party::Asked) },
        "admission": clauses.admission,
        "budgets": clauses.budgets.iter().map(|((unit, period), amount)| json!({
            "unit": unit.as_str(),
            "amount": amount.get(),
            "period_millis": period.get(),
        })).collect::<Vec<_>>(),
        "escalation": { "asking": contacts(Party::Asking), "asked": contacts(Party::Asked) },
    })
}

/// The clauses for people.
pub(super) fn text(terms: &Terms) -> String {
    let clauses = terms.clauses();
    let mut text = format!(
        "{} asks, {} is asked\nfrom {} to {}, {} s notice\nevery record logged within {} s\n",
        clauses.asking,
        clauses.asked,
        millis(clauses.begins.get()),
        millis(clauses.expires.get()),
        clauses.notice.get() / 1_000,
        clauses.publish_delay.get() / 1_000,
    );
    text.push_str("allowed, the first that applies:\n");
    for permission in &clauses.permissions {
        let level = terms
            .level(&permission.tier)
            .map_or("?", |level| level.as_str());
        text.push_str(&format!(
            "  {} {} {}: tier {}, {} points, evidence {level} before the call\n",
            permission.server, permission.verb, permission.tool, permission.tier, permission.points
        ));
        for target in &permission.targets {
            text.push_str(&format!(
                "    where {} is {}\n",
                target.pointer, target.pattern
            ));
        }
    }
    for ((unit, period), amount) in &clauses.budgets {
        text.push_str(&format!(
            "at most {amount} {unit} in {} s\n",
            period.get() / 1_000
        ));
    }
    for (party, field) in &clauses.disclosures {
        text.push_str(&format!(
            "{} discloses the {}\n",
            terms.operator(*party),
            field.name()
        ));
    }
    for (party, contact) in &clauses.escalation {
        text.push_str(&format!(
            "{} answers at {contact}\n",
            terms.operator(*party)
        ));
    }
    if let Some(admission) = &clauses.admission {
        text.push_str("admission policy:\n");
        for line in admission.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text.push_str("logs and witnesses:\n");
    for line in clauses.policy.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_complete_and_right() {
        let trust = "# of a log\nlog log.example/x+0+AAAA https://x\nquorum none\noperator x\n";
        assert_eq!(
            without_operators(trust),
            "log log.example/x+0+AAAA https://x\nquorum none\n"
        );
        let example = EXAMPLE.replace("\"witnessed\"\n", "\"committed\"\n");
        let now = UnixMillis::new(1);
        let terms = read(&example, Path::new("terms.toml"), "quorum none\n", now)
            .unwrap_or_else(|problem| panic!("{problem}"));
        let clauses = terms.clauses();
        assert_eq!(clauses.begins.get(), 1_796_083_200_000);
        assert_eq!(clauses.notice.get(), 86_400_000);
        assert_eq!(clauses.permissions.len(), 2);
        assert_eq!(clauses.permissions[1].targets.len(), 1);
        assert_eq!(clauses.policy, "quorum none\n");
        assert_eq!(
            json(&terms)["permissions"][1]["targets"]["/arguments/ticket"],
            "T-*"
        );
        assert!(text(&terms).contains("acme.example asks, globex.example is asked"));
        let wrong = example.replace("notice_seconds", "notise_seconds");
        assert!(read(&wrong, Path::new("t"), "quorum none\n", now).is_err());
    }
}

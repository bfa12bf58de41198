//! Policies as written: parsed one by one, named by their annotations, validated against the schema.

use std::collections::BTreeMap;

use cedar_policy::{
    Effect, Policy, PolicyId as CedarId, PolicySet as CedarSet, ValidationMode, Validator,
};
use counterfoil_protocol::names::{PolicyId, ReasonCode, Tier};
use counterfoil_protocol::numbers::Amount;
use miette::Diagnostic;

use crate::error::{Place, PolicyError, cedar_detail, cedar_offset};
use crate::reserved::is_reserved;
use crate::schema::LoadedSchema;
use crate::sources::{SourceFile, Sources};
use crate::statements::Statement;

/// The risk tiers a policy may name, lowest first.
const TIERS: [&str; 4] = ["low", "medium", "high", "critical"];

/// One policy: its condition for Cedar, and what its annotations say.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: PolicyId,
    pub(crate) cedar: Policy,
    /// The rank of the tier in [`TIERS`].
    pub(crate) tier: Option<RankedTier>,
    pub(crate) points: Amount,
    pub(crate) reason: Option<ReasonCode>,
    pub(crate) instead: Option<String>,
}

/// A tier with its place in the order of tiers, which comes first when two are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RankedTier {
    rank: usize,
    pub(crate) tier: Tier,
}

/// Reads all policies of `sources`, by id.
pub(crate) fn load(
    sources: &Sources,
    schema: &LoadedSchema,
) -> Result<BTreeMap<String, Rule>, PolicyError> {
    let mut rules = BTreeMap::new();
    let mut origins: BTreeMap<String, Origin<'_>> = BTreeMap::new();
    for file in sources.policies() {
        let file = file?;
        for (statement, policy) in parse(file)? {
            let rule = read(file, &statement, policy)?;
            let id = rule.id.as_str().to_owned();
            if let Some(first) = origins.get(&id) {
                let first = first.file.place(first.statement.annotation_offset("id"));
                let at = file.place(statement.annotation_offset("id"));
                return Err(PolicyError::DuplicateId { at, id, first });
            }
            origins.insert(id.clone(), Origin { file, statement });
            rules.insert(id, rule);
        }
    }
    if rules.is_empty() {
        return Err(PolicyError::NoPolicies);
    }
    validate(&rules, &origins, schema)?;
    Ok(rules)
}

/// Where a policy comes from.
struct Origin<'a> {
    file: SourceFile<'a>,
    statement: Statement,
}

impl Origin<'_> {
    fn place(&self, diagnostic: &dyn Diagnostic) -> Place {
        let offset = cedar_offset(diagnostic).unwrap_or(0);
        self.file
            .place(self.statement.range.start.saturating_add(offset))
    }
}

/// Parses the file as a whole, for errors with their true place, and then each policy by itself.
fn parse(file: SourceFile<'_>) -> Result<Vec<(Statement, Policy)>, PolicyError> {
    let syntax = |error: &dyn Diagnostic, start: usize| PolicyError::Syntax {
        at: file.place(start.saturating_add(cedar_offset(error).unwrap_or(0))),
        detail: cedar_detail(error),
    };
    let statements = file.statements()?;
    let whole: CedarSet = file.text.parse().map_err(|error| syntax(&error, 0))?;
    if let Some(template) = statements.iter().find(|statement| statement.has_slot()) {
        return Err(PolicyError::Template {
            at: file.place(template.range.start),
        });
    }
    if whole.num_of_templates() != 0 || whole.num_of_policies() != statements.len() {
        let detail = format!(
            "{}: Cedar and this crate count its policies differently",
            file.name
        );
        return Err(PolicyError::Unusable { detail });
    }
    let mut policies = Vec::with_capacity(statements.len());
    for statement in statements {
        let text = file.text.get(statement.range.clone()).unwrap_or_default();
        let policy =
            Policy::parse(None, text).map_err(|error| syntax(&error, statement.range.start))?;
        policies.push((statement, policy));
    }
    Ok(policies)
}

/// Reads the annotations of one policy.
fn read(file: SourceFile<'_>, statement: &Statement, policy: Policy) -> Result<Rule, PolicyError> {
    let wrong = |name: &str, detail: String| PolicyError::Annotation {
        at: file.place(statement.annotation_offset(name)),
        detail,
    };
    let is_permit = policy.effect() == Effect::Permit;
    let mut annotations: Vec<_> = policy.annotations().collect();
    annotations.sort_by_key(|(name, _)| statement.annotation_offset(name));
    let mut id = None;
    let (mut tier, mut points, mut reason, mut instead) = (None, Amount::new(0), None, None);
    for (name, value) in annotations {
        match name {
            "id" => {
                let parsed = PolicyId::new(value).map_err(|error| {
                    wrong(
                        name,
                        format!("{}; use a short printable name", error.detail()),
                    )
                })?;
                id = Some(parsed);
            }
            "tier" if is_permit => tier = Some(parse_tier(value).map_err(|e| wrong(name, e))?),
            "points" if is_permit => points = parse_points(value).map_err(|e| wrong(name, e))?,
            "reason" if !is_permit => {
                reason = Some(parse_reason(value).map_err(|e| wrong(name, e))?);
            }
            "instead" if !is_permit => {
                instead = Some(parse_instead(value).map_err(|e| wrong(name, e))?);
            }
            "tier" | "points" => {
                let detail = format!("`@{name}` has no effect on a forbid; remove it");
                return Err(wrong(name, detail));
            }
            "reason" | "instead" => {
                let detail = format!("`@{name}` has no effect on a permit; remove it");
                return Err(wrong(name, detail));
            }
            _ => {
                let detail = format!(
                    "unknown annotation `@{name}`; known are `@id`, `@tier`, `@points`, `@reason` \
                     and `@instead`"
                );
                return Err(wrong(name, detail));
            }
        }
    }
    let id = id.ok_or_else(|| PolicyError::MissingId {
        at: file.place(statement.range.start),
    })?;
    let cedar = policy.new_id(CedarId::new(id.as_str()));
    Ok(Rule {
        id,
        cedar,
        tier,
        points,
        reason,
        instead,
    })
}

fn parse_tier(value: &str) -> Result<RankedTier, String> {
    let unknown = || {
        format!(
            "`{value}` is not a risk tier; the tiers are `{}`",
            TIERS.join("`, `")
        )
    };
    let rank = TIERS
        .iter()
        .position(|tier| *tier == value)
        .ok_or_else(unknown)?;
    let tier = Tier::new(value).map_err(|_| unknown())?;
    Ok(RankedTier { rank, tier })
}

fn parse_points(value: &str) -> Result<Amount, String> {
    let is_plain = value == "0" || !value.starts_with('0');
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value
        .parse()
        .ok()
        .filter(|_| is_plain && digits)
        .map(Amount::new)
        .ok_or_else(|| {
            format!(
                "`{value}` is not a number of points; write a whole number such as `@points(\"5\")`"
            )
        })
}

fn parse_reason(value: &str) -> Result<ReasonCode, String> {
    if is_reserved(value) {
        return Err(format!(
            "the reason code `{value}` is reserved for the gateway itself; choose another"
        ));
    }
    ReasonCode::new(value)
        .map_err(|error| format!("{}; use lower-case letters, digits and `_`", error.detail()))
}

fn parse_instead(value: &str) -> Result<String, String> {
    const MAX_BYTES: usize = 1024;
    if value.trim().is_empty() || value.len() > MAX_BYTES || value.contains(char::is_control) {
        return Err(format!(
            "`@instead` must be one line of text, at most {MAX_BYTES} bytes"
        ));
    }
    Ok(value.to_owned())
}

/// Validates all policies against the schema. Warnings count: each means that a policy never
/// applies, or that its text does not say what it looks like.
fn validate(
    rules: &BTreeMap<String, Rule>,
    origins: &BTreeMap<String, Origin<'_>>,
    schema: &LoadedSchema,
) -> Result<(), PolicyError> {
    let mut set = CedarSet::new();
    for rule in rules.values() {
        set.add(rule.cedar.clone())
            .map_err(|error| PolicyError::Invalid {
                at: origins
                    .get(rule.id.as_str())
                    .map_or_else(unknown_place, |o| o.place(&error)),
                id: rule.id.to_string(),
                detail: cedar_detail(&error),
            })?;
    }
    let result = Validator::new(schema.cedar.clone()).validate(&set, ValidationMode::Strict);
    let describe = |(id, diagnostic): (&CedarId, &dyn Diagnostic)| {
        let id: &str = id.as_ref();
        let at = origins
            .get(id)
            .map_or_else(unknown_place, |o| o.place(diagnostic));
        (at, id.to_owned(), without_id(cedar_detail(diagnostic), id))
    };
    // A misspelt name also makes the policy impossible, which would be the lesser explanation.
    let errors = result
        .validation_errors()
        .map(|e| (e.policy_id(), e as &dyn Diagnostic));
    let warnings = result
        .validation_warnings()
        .map(|w| (w.policy_id(), w as &dyn Diagnostic));
    match errors
        .map(describe)
        .min()
        .or_else(|| warnings.map(describe).min())
    {
        Some((at, id, detail)) => Err(PolicyError::Invalid { at, id, detail }),
        None => Ok(()),
    }
}

/// Cedar puts the policy's id in front of its messages; ours has it already.
fn without_id(detail: String, id: &str) -> String {
    match detail.strip_prefix(&format!("for policy `{id}`, ")) {
        Some(rest) => rest.to_owned(),
        None => detail,
    }
}

fn unknown_place() -> Place {
    Place {
        file: "*.cedar".to_owned(),
        line: 1,
        column: 1,
    }
}

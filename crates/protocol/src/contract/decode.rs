//! Reads terms. Every map is closed, every set in its one order. Spec: contracts §1.

use std::collections::{BTreeMap, BTreeSet};

use ciborium::Value;

use super::terms::{
    Clauses, FORMAT, LIMITS, MAX_BUDGETS, MAX_CONTACTS, MAX_PERMISSIONS, MAX_TARGETS, Party,
    Permission, Target,
};
use super::{Pattern, Pointer};
use crate::cbor::fields::{array, row, text, unsigned};
use crate::cbor::{Fields, decode};
use crate::disclosure::DisclosedField;
use crate::failure::{Failure, FailureCode};
use crate::level::Level;
use crate::names::{Contact, OperatorName, ServerName, Tier, Unit, Verb};
use crate::numbers::{Amount, Millis, UnixMillis};

/// The most disclosures: of either party every field but the contract itself.
const MAX_DISCLOSURES: usize = 2 * (DisclosedField::ALL.len() - 1);

pub(super) fn terms(bytes: &[u8]) -> Result<Clauses, Failure> {
    let mut fields = Fields::of(decode(bytes, &LIMITS)?, "the contract")?;
    if text(fields.required(1)?, "the format")? != FORMAT {
        return Err(range(format!("the format is not `{FORMAT}`")));
    }
    let clauses = Clauses {
        asking: OperatorName::new(text(fields.required(2)?, "the asking operator")?)?,
        asked: OperatorName::new(text(fields.required(3)?, "the asked operator")?)?,
        begins: UnixMillis::new(unsigned(&fields.required(4)?, "begins")?),
        expires: UnixMillis::new(unsigned(&fields.required(5)?, "expires")?),
        permissions: list(
            fields.required(6)?,
            MAX_PERMISSIONS,
            "permissions",
            permission,
        )?,
        levels: map(fields.required(7)?, MAX_PERMISSIONS, "levels", level)?,
        publish_delay: Millis::new(unsigned(&fields.required(8)?, "publish delay")?),
        policy: text(fields.required(9)?, "logs and witnesses")?,
        disclosures: set(
            fields.required(10)?,
            MAX_DISCLOSURES,
            "disclosures",
            |value| {
                let [party, field] = row(value, "a disclosure")?;
                let party = by(&party)?;
                let field = unsigned(&field, "a disclosed field")?;
                Ok((party, DisclosedField::from_key(field)?))
            },
        )?,
        admission: fields
            .optional(11)
            .map(|value| text(value, "the admission policy"))
            .transpose()?,
        budgets: map(fields.required(12)?, MAX_BUDGETS, "budgets", budget)?,
        escalation: set(fields.required(13)?, MAX_CONTACTS, "escalation", |value| {
            let [party, contact] = row(value, "a contact")?;
            Ok((by(&party)?, Contact::new(text(contact, "a contact")?)?))
        })?,
        notice: Millis::new(unsigned(&fields.required(14)?, "notice")?),
    };
    fields.finish()?;
    Ok(clauses)
}

fn permission(value: Value) -> Result<Permission, Failure> {
    let mut fields = Fields::of(value, "a permission")?;
    let permission = Permission {
        server: ServerName::new(text(fields.required(1)?, "server")?)?,
        verb: Verb::new(text(fields.required(2)?, "verb")?)?,
        tool: Pattern::new(text(fields.required(3)?, "tool")?)?,
        targets: fields
            .optional(4)
            .map(targets)
            .transpose()?
            .unwrap_or_default(),
        tier: Tier::new(text(fields.required(5)?, "tier")?)?,
        points: Amount::new(unsigned(&fields.required(6)?, "risk points")?),
    };
    fields.finish()?;
    Ok(permission)
}

fn targets(value: Value) -> Result<Vec<Target>, Failure> {
    let targets = list(value, MAX_TARGETS, "targets", |value| {
        let [pointer, pattern] = row(value, "a target")?;
        Ok(Target {
            pointer: Pointer::new(text(pointer, "a pointer")?)?,
            pattern: Pattern::new(text(pattern, "a pattern")?)?,
        })
    })?;
    if targets.is_empty() {
        return Err(range("an empty array of targets".to_owned()));
    }
    Ok(targets)
}

fn level(value: Value) -> Result<(Tier, Level), Failure> {
    let [tier, number] = row(value, "a level")?;
    let tier = Tier::new(text(tier, "tier")?)?;
    let number = unsigned(&number, "level")?;
    let level = Level::from_number(number)
        .ok_or_else(|| range(format!("evidence level {number} does not exist")))?;
    Ok((tier, level))
}

fn budget(value: Value) -> Result<((Unit, Millis), Amount), Failure> {
    let [unit, amount, period] = row(value, "a budget")?;
    let unit = Unit::new(text(unit, "unit")?)?;
    let amount = Amount::new(unsigned(&amount, "amount")?);
    let period = Millis::new(unsigned(&period, "period")?);
    Ok(((unit, period), amount))
}

fn by(value: &Value) -> Result<Party, Failure> {
    let number = unsigned(value, "party")?;
    Party::from_number(number).ok_or_else(|| range(format!("party {number} does not exist")))
}

fn list<T>(
    value: Value,
    most: usize,
    place: &'static str,
    read: impl Fn(Value) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    array(value, most, place)?
        .into_iter()
        .map(|value| read(value).map_err(|failure| failure.at(place)))
        .collect()
}

fn map<K: Ord, V>(
    value: Value,
    most: usize,
    place: &'static str,
    read: impl Fn(Value) -> Result<(K, V), Failure>,
) -> Result<BTreeMap<K, V>, Failure> {
    let entries = list(value, most, place, read)?;
    ascending(entries.is_sorted_by(|(a, _), (b, _)| a < b), place)?;
    Ok(entries.into_iter().collect())
}

fn set<T: Ord>(
    value: Value,
    most: usize,
    place: &'static str,
    read: impl Fn(Value) -> Result<T, Failure>,
) -> Result<BTreeSet<T>, Failure> {
    let entries = list(value, most, place, read)?;
    ascending(entries.is_sorted_by(|a, b| a < b), place)?;
    Ok(entries.into_iter().collect())
}

fn ascending(sorted: bool, place: &str) -> Result<(), Failure> {
    if sorted {
        Ok(())
    } else {
        Err(range(format!("{place} are not in ascending order")))
    }
}

fn range(detail: String) -> Failure {
    Failure::new(FailureCode::StructureOutOfRange, detail)
}

//! Turns a call's arguments into Cedar values of exactly the types that the schema declares.
//!
//! Cedar checks the whole request against the schema once more. The check here comes first so that
//! the agent is told which argument is wrong, and so that nothing in the JSON can choose what kind
//! of Cedar value it becomes.

use std::collections::BTreeMap;

use cedar_policy::RestrictedExpression;

use crate::json::Json;

/// The type that the schema declares for an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueType {
    Boolean,
    Long,
    Record(BTreeMap<String, MemberType>),
    Set(Box<ValueType>),
    Text,
}

/// The type of a record's member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberType {
    pub(crate) value: ValueType,
    pub(crate) required: bool,
}

impl ValueType {
    /// Converts `json`, or says what is wrong with it, naming members but never values.
    pub(crate) fn convert(&self, json: Json) -> Result<RestrictedExpression, String> {
        self.convert_at("", json)
    }

    fn convert_at(&self, path: &str, json: Json) -> Result<RestrictedExpression, String> {
        match (self, json) {
            (Self::Boolean, Json::Boolean(value)) => Ok(RestrictedExpression::new_bool(value)),
            (Self::Long, Json::Integer(value)) => Ok(RestrictedExpression::new_long(value)),
            (Self::Text, Json::Text(value)) => Ok(RestrictedExpression::new_string(value)),
            (Self::Set(element), Json::List(items)) => {
                let path = format!("{path}[]");
                let items: Result<Vec<_>, _> = items
                    .into_iter()
                    .map(|item| element.convert_at(&path, item))
                    .collect();
                Ok(RestrictedExpression::new_set(items?))
            }
            (Self::Record(members), Json::Object(object)) => convert_record(members, path, object),
            (_, json) => Err(format!(
                "{} must be {}, not {}",
                subject(path),
                self.kind(),
                json.kind()
            )),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Long => "an integer",
            Self::Record(_) => "an object",
            Self::Set(_) => "a list",
            Self::Text => "a string",
        }
    }
}

fn convert_record(
    members: &BTreeMap<String, MemberType>,
    path: &str,
    object: BTreeMap<String, Json>,
) -> Result<RestrictedExpression, String> {
    let missing = members
        .iter()
        .find(|(name, member)| member.required && !object.contains_key(*name));
    if let Some((name, _)) = missing {
        return Err(format!("argument `{}` is missing", join(path, name)));
    }
    let mut converted = Vec::with_capacity(object.len());
    for (name, json) in object {
        let path = join(path, &name);
        let member = members
            .get(&name)
            .ok_or_else(|| format!("argument `{}` is not one the policy knows", shorten(&path)))?;
        converted.push((name, member.value.convert_at(&path, json)?));
    }
    RestrictedExpression::new_record(converted)
        .map_err(|_| format!("{} has a member twice", subject(path)))
}

fn subject(path: &str) -> String {
    if path.is_empty() {
        "the call's arguments".to_owned()
    } else {
        format!("argument `{}`", shorten(path))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The beginning of a text that an agent chose, without control characters.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(80)
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(value: ValueType, required: bool) -> MemberType {
        MemberType { value, required }
    }

    fn order() -> ValueType {
        let line = ValueType::Record(BTreeMap::from([
            ("sku".to_owned(), member(ValueType::Text, true)),
            ("count".to_owned(), member(ValueType::Long, false)),
        ]));
        ValueType::Record(BTreeMap::from([
            (
                "lines".to_owned(),
                member(ValueType::Set(Box::new(line)), true),
            ),
            ("express".to_owned(), member(ValueType::Boolean, false)),
        ]))
    }

    #[test]
    fn what_fits_is_converted() {
        for good in [
            r#"{"lines":[]}"#,
            r#"{"lines":[{"sku":"a"},{"sku":"b","count":-3}],"express":true}"#,
        ] {
            order()
                .convert(Json::parse(good.as_bytes()).unwrap())
                .unwrap();
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (bad, expected) in [
            ("[]", "the call's arguments must be an object, not a list"),
            ("{}", "argument `lines` is missing"),
            (
                r#"{"lines":{}}"#,
                "argument `lines` must be a list, not an object",
            ),
            (
                r#"{"lines":["a"]}"#,
                "argument `lines[]` must be an object, not a string",
            ),
            (
                r#"{"lines":[{"sku":null}]}"#,
                "argument `lines[].sku` must be a string, not null",
            ),
            (
                r#"{"lines":[{"count":1}]}"#,
                "argument `lines[].sku` is missing",
            ),
            (
                r#"{"lines":[{"sku":"a","count":1.5}]}"#,
                "argument `lines[].count` must be an integer, not a fraction or an integer outside 64 bits",
            ),
            (
                r#"{"lines":[],"express":null}"#,
                "argument `express` must be a boolean, not null",
            ),
            (
                r#"{"lines":[],"expres":true}"#,
                "argument `expres` is not one the policy knows",
            ),
        ] {
            let json = Json::parse(bad.as_bytes()).unwrap();
            assert_eq!(order().convert(json).unwrap_err(), expected, "{bad}");
        }
    }

    #[test]
    fn foreign_text_is_shortened_and_cleaned() {
        assert_eq!(shorten("a\nb"), "a\u{fffd}b");
        assert_eq!(shorten(&"é".repeat(81)), format!("{}…", "é".repeat(80)));
        assert_eq!(shorten(&"é".repeat(80)), "é".repeat(80));
    }
}

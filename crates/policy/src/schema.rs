//! The schema: the built-in part, the operator's part, and what the two say about each action.

use std::collections::BTreeMap;

use cedar_policy::{Schema, SchemaFragment, schema_str_to_json_with_resolved_types};
use miette::Diagnostic;
use serde_json::Value;

use crate::arguments::{MemberType, ValueType};
use crate::error::{PolicyError, cedar_detail, cedar_offset};
use crate::http;
use crate::json::is_reserved_name;
use crate::sources::SourceFile;
use crate::statements::Statement;

/// The part of every policy schema that is built in: who acts, where, and what is known of every
/// call. It is part of every policy set's digest.
pub const BUILT_IN_SCHEMA: &str = include_str!("built_in.cedarschema");

/// The name of the built-in part in the digest. It has a `/`, so that no file can have it.
pub(crate) const BUILT_IN_NAME: &str = "built-in/schema.cedarschema";

/// The verb whose action is the tool that it calls.
pub(crate) const TOOL_VERB: &str = "tools/call";

/// Whether an action of this name stands for a verb. All others stand for tools.
pub(crate) fn is_verb(action: &str) -> bool {
    action.contains('/') || http::is_method(action)
}

/// A schema as loaded.
#[derive(Debug)]
pub(crate) struct LoadedSchema {
    /// Both parts together, for Cedar.
    pub(crate) cedar: Schema,
    /// The declared actions that can be asked for, and the types of their arguments. Groups of
    /// actions are not among them.
    pub(crate) actions: BTreeMap<String, ValueType>,
}

impl LoadedSchema {
    /// Loads the operator's schema together with the built-in part.
    pub(crate) fn load(file: SourceFile<'_>) -> Result<Self, PolicyError> {
        let statements = file.statements()?;
        // Alone first, so that an unfinished declaration is found where it stands and cannot reach
        // into the built-in part.
        let _: SchemaFragment = file.text.parse().map_err(|error| syntax(file, &error))?;
        refuse_other_declarations(file, &statements)?;

        let both = format!("{}\n{BUILT_IN_SCHEMA}", file.text);
        let (cedar, warnings) =
            Schema::from_cedarschema_str(&both).map_err(|error| syntax(file, &error))?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(syntax(file, &warning));
        }
        let (json, _) =
            schema_str_to_json_with_resolved_types(&both).map_err(|error| syntax(file, &error))?;
        let types = Types {
            common: field(field(&json, ""), "commonTypes"),
        };
        let mut actions = BTreeMap::new();
        for (name, declaration) in field(field(&json, ""), "actions")
            .as_object()
            .into_iter()
            .flatten()
        {
            let offset = statements
                .iter()
                .find_map(|statement| statement.action_offset(name));
            let arguments =
                types
                    .of_action(name, declaration)
                    .map_err(|detail| PolicyError::Schema {
                        at: file.place(offset.unwrap_or(0)),
                        detail: format!("action `{name}` {detail}"),
                    })?;
            actions.extend(arguments.map(|arguments| (name.clone(), arguments)));
        }
        Ok(Self { cedar, actions })
    }
}

fn syntax(file: SourceFile<'_>, error: &dyn Diagnostic) -> PolicyError {
    PolicyError::Syntax {
        at: file.place(cedar_offset(error).unwrap_or(0)),
        detail: cedar_detail(error),
    }
}

/// Entity types, namespaces and external actions would not be part of any request we build.
fn refuse_other_declarations(
    file: SourceFile<'_>,
    statements: &[Statement],
) -> Result<(), PolicyError> {
    for statement in statements {
        match statement.keyword() {
            Some(("action" | "type", _)) => {}
            keyword => {
                let (word, offset) = keyword.unwrap_or(("", statement.range.start));
                return Err(PolicyError::Schema {
                    at: file.place(offset),
                    detail: format!(
                        "`{word}` may not be declared here, only `action` and `type`; the entity \
                         types `Agent` and `Server` are built in"
                    ),
                });
            }
        }
    }
    Ok(())
}

/// Cedar's JSON form of the schema's types, with all names resolved.
struct Types<'a> {
    common: &'a Value,
}

impl Types<'_> {
    /// The type of an action's arguments, or none for a group of actions; or what is wrong with
    /// its declaration.
    fn of_action(&self, name: &str, declaration: &Value) -> Result<Option<ValueType>, String> {
        let applies_to = field(declaration, "appliesTo");
        let principals = names(field(applies_to, "principalTypes"));
        let resources = names(field(applies_to, "resourceTypes"));
        if principals.is_empty() && resources.is_empty() {
            return Ok(None);
        }
        if name == TOOL_VERB {
            return Err(format!(
                "would never be asked for: `{TOOL_VERB}` becomes an action named like the tool"
            ));
        }
        if principals != ["Agent"] || resources != ["Server"] {
            return Err("must apply to `principal: Agent, resource: Server`".to_owned());
        }
        let form = "must have `context: { arguments: { ... }, call: Call }`";
        let context = self.attributes(field(applies_to, "context")).ok_or(form)?;
        let (Some(arguments), Some(call), 2) =
            (context.get("arguments"), context.get("call"), context.len())
        else {
            return Err(form.to_owned());
        };
        if !is_required(arguments) || !is_required(call) || field(call, "type") != "Call" {
            return Err(form.to_owned());
        }
        let arguments = self.value_type(arguments, "arguments")?;
        match &arguments {
            ValueType::Record(members) if http::path_pattern(name).is_some() => {
                if members.get("path") == Some(&required_text()) {
                    Ok(Some(arguments))
                } else {
                    Err(
                        "is a request to an HTTP API, so its arguments must have `path: String`"
                            .to_owned(),
                    )
                }
            }
            ValueType::Record(members) if is_verb(name) && !is_name_alone(members) => Err(
                "has the name of a verb and not of a tool: its arguments must be \
                 `{ name: String }`"
                    .to_owned(),
            ),
            ValueType::Record(_) => Ok(Some(arguments)),
            _ => Err(form.to_owned()),
        }
    }

    /// The members of a record type, or none if it is of another type.
    fn attributes<'b>(&'b self, json: &'b Value) -> Option<&'b serde_json::Map<String, Value>> {
        match field(json, "type").as_str()? {
            "Record" => field(json, "attributes").as_object(),
            common => self.attributes(self.common.get(common)?),
        }
    }

    /// Reads a type; `path` says for which argument.
    fn value_type(&self, json: &Value, path: &str) -> Result<ValueType, String> {
        match field(json, "type").as_str().unwrap_or_default() {
            // Names declared in the schema come first: Cedar resolves them so, too.
            common if self.common.get(common).is_some() => {
                self.value_type(field(self.common, common), path)
            }
            "Bool" | "Boolean" | "__cedar::Bool" => Ok(ValueType::Boolean),
            "Long" | "__cedar::Long" => Ok(ValueType::Long),
            "String" | "__cedar::String" => Ok(ValueType::Text),
            "Set" => {
                let element = self.value_type(field(json, "element"), &format!("{path}[]"))?;
                Ok(ValueType::Set(Box::new(element)))
            }
            "Record" => {
                let mut members = BTreeMap::new();
                for (name, member) in field(json, "attributes").as_object().into_iter().flatten() {
                    let path = format!("{path}.{name}");
                    if is_reserved_name(name) {
                        return Err(format!(
                            "declares `{path}`, but no name may begin with `__`"
                        ));
                    }
                    let value = self.value_type(member, &path)?;
                    let required = is_required(member);
                    members.insert(name.clone(), MemberType { value, required });
                }
                Ok(ValueType::Record(members))
            }
            _ => Err(format!(
                "declares `{path}` with a type that JSON arguments cannot have; use `Bool`, \
                 `Long`, `String`, `Set` or a record"
            )),
        }
    }
}

/// The member `name` of a JSON object, or null.
fn field<'a>(json: &'a Value, name: &str) -> &'a Value {
    static NULL: Value = Value::Null;
    json.get(name).unwrap_or(&NULL)
}

/// Whether a record's member is required, which Cedar says by saying nothing.
fn is_required(member: &Value) -> bool {
    *field(member, "required") != Value::Bool(false)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn is_name_alone(members: &BTreeMap<String, MemberType>) -> bool {
    members.len() == 1 && members.get("name") == Some(&required_text())
}

const fn required_text() -> MemberType {
    MemberType {
        value: ValueType::Text,
        required: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<LoadedSchema, PolicyError> {
        LoadedSchema::load(SourceFile {
            name: "schema.cedarschema",
            text,
        })
    }

    fn action(name: &str, context: &str) -> String {
        format!("action {name} appliesTo {{ principal: Agent, resource: Server, {context} }};")
    }

    #[test]
    fn tools_verbs_groups_and_types_are_read() {
        let text = [
            "type Money = { cents: Long, currency?: String };",
            "type Rest = Call;",
            "action reads;",
            "@doc(\"looks\") action \"search\", look in [reads] appliesTo {
               principal: [Agent], resource: [Server],
               context: { arguments: { query: String, tags?: Set<String> }, call: Call } };",
            &action(
                "pay",
                "context: { arguments: { amount: Money, urgent: Bool }, call: Call }",
            ),
            &action(
                "\"resources/read\"",
                "context: { arguments: { name: String }, call: Call }",
            ),
        ]
        .join("\n");
        let schema = load(&text).unwrap();
        let names: Vec<_> = schema.actions.keys().map(String::as_str).collect();
        assert_eq!(names, ["look", "pay", "resources/read", "search"]);
        let ValueType::Record(pay) = &schema.actions["pay"] else {
            panic!("a record")
        };
        let ValueType::Record(money) = &pay["amount"].value else {
            panic!("a record")
        };
        assert_eq!(
            money["cents"],
            MemberType {
                value: ValueType::Long,
                required: true
            }
        );
        assert_eq!(
            money["currency"],
            MemberType {
                value: ValueType::Text,
                required: false
            }
        );
        assert_eq!(pay["urgent"].value, ValueType::Boolean);
    }

    #[test]
    fn an_empty_schema_declares_nothing() {
        assert!(load("").unwrap().actions.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let context = "context: { arguments: { a: Long }, call: Call }";
        for (text, place, part) in [
            (
                "\n  acton \"a\";".to_owned(),
                "2:3",
                "unexpected token `acton`",
            ),
            (
                "action a appliesTo { principle: Agent };".to_owned(),
                "1:22",
                "unexpected token `principle`; expected",
            ),
            (
                action("a", "context: { arguments: { a: Strng }, call: Call }"),
                "1:85",
                "`Strng` has not been declared",
            ),
            (
                "action a; // x".to_owned() + "\naction a;",
                "1:8",
                "declared twice",
            ),
            ("type Call = {};".to_owned(), "1:6", "declared twice"),
            ("type A = A;".to_owned(), "1:1", "cycle"),
            ("action a in [b];".to_owned(), "1:1", "undeclared action"),
            (
                "\nentity Person;".to_owned(),
                "2:1",
                "`entity` may not be declared here",
            ),
            (
                "namespace X { action a; }".to_owned(),
                "1:1",
                "`namespace` may not",
            ),
            ("external action a;".to_owned(), "1:1", "`external` may not"),
            ("type Agent = Long;".to_owned(), "1:6", "Agent"),
            (
                "action ok;\naction a appliesTo { principal: Server, resource: Server, ".to_owned()
                    + context
                    + "};",
                "2:8",
                "action `a` must apply to",
            ),
            (action("a", "context: {}"), "1:8", "must have `context:"),
            (
                "action a appliesTo { principal: Agent, resource: Server };".to_owned(),
                "1:8",
                "must have `context:",
            ),
            (action("a", "context: Call"), "1:8", "must have `context:"),
            (
                action("a", "context: { arguments: {}, call: { now: Long } }"),
                "1:8",
                "must have",
            ),
            (
                action("a", "context: { arguments?: {}, call: Call }"),
                "1:8",
                "must have",
            ),
            (
                action("a", "context: { arguments: {}, call?: Call }"),
                "1:8",
                "must have",
            ),
            (
                action("a", "context: { arguments: Long, call: Call }"),
                "1:8",
                "must have",
            ),
            (
                action("a", "context: { arguments: {}, call: Call, x?: Long }"),
                "1:8",
                "must have",
            ),
            (
                action(
                    "a",
                    "context: { arguments: { w: { who: Agent } }, call: Call }",
                ),
                "1:8",
                "declares `arguments.w.who` with a type that JSON",
            ),
            (
                action(
                    "a",
                    "context: { arguments: { \"__entity\": Long }, call: Call }",
                ),
                "1:8",
                "__entity",
            ),
            (
                action("\"tools/call\"", context),
                "1:8",
                "would never be asked for",
            ),
            (action("GET", context), "1:8", "must be `{ name: String }`"),
            (
                action("\"POST /refunds/*\"", context),
                "1:8",
                "must have `path: String`",
            ),
            (
                action("\"resources/read\"", context),
                "1:8",
                "must be `{ name: String }`",
            ),
        ] {
            let error = load(&text).map(|_| text.clone()).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(part), "{text}\n{message}");
            assert!(
                message.starts_with(&format!("schema.cedarschema:{place}: ")),
                "{text}\n{message}"
            );
            assert!(!message.contains('\n'), "{message}");
        }
    }
}

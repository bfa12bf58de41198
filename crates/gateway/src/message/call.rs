//! What a message asks for, in the terms a policy decides in.

use super::envelope::{Body, Message};
use super::id::Id;
use super::json::{Kind, Span};
use super::methods::{Method, Revision, Sender, Use, Verb, is_notification_name};

/// The `_meta` member in which a request of 2026-07-28 names its protocol revision.
pub const PROTOCOL_VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
/// The `_meta` member in which a request of 2026-07-28 states the client's capabilities.
pub const CLIENT_CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// The notification that takes a request back.
pub const CANCELLED: &str = "notifications/cancelled";

/// What a message is to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Classified {
    /// A request that a policy decides.
    Action(Action),
    /// A request that opens, describes or keeps up a session.
    Lifecycle(&'static Method),
    /// A notification of the table.
    Notification(&'static Method),
    /// A response.
    Response,
    /// A request of the server to the client: sampling, elicitation, roots, its tasks.
    ServerRequest(&'static Method),
    /// A request that no supported revision has, or not from this side: to be refused.
    Unknown(String),
    /// A notification outside the table. Its method starts with `notifications/`.
    UnknownNotification(String),
}

/// A request that a policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What it does.
    pub verb: Verb,
    /// The name of the tool or prompt. For [`Verb::Complete`] there is none.
    pub name: Option<String>,
    /// The resource's URI or the task's id.
    pub target: Option<String>,
    /// The object that is the value of `arguments`; absent is the same as empty.
    pub arguments: Option<Span>,
    /// Whether the request asks to run as a task (2025-11-25): the answer then is a handle.
    pub as_task: bool,
    /// Whether the request continues an earlier one with `inputResponses` or `requestState`
    /// (2026-07-28).
    pub continues: bool,
}

impl Action {
    /// The tool, prompt, resource or task acted on; empty if there is none.
    pub fn subject(&self) -> &str {
        self.name
            .as_deref()
            .or(self.target.as_deref())
            .unwrap_or_default()
    }

    /// The bytes of `arguments` in the message this action was read from, `{}` if absent.
    pub fn arguments_bytes<'m>(&self, message: &'m Message) -> &'m [u8] {
        self.arguments
            .map_or(b"{}", |span| span.of(message.bytes()))
    }
}

/// Why an action's parameters cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`params.{member}` of `{method}` is not {expected}")]
pub struct CallError {
    method: &'static str,
    member: &'static str,
    expected: &'static str,
    id: Id,
}

impl CallError {
    /// A stable code for peers and users.
    pub fn code(&self) -> &'static str {
        "invalid_params"
    }

    /// The id to answer to.
    pub fn id(&self) -> &Id {
        &self.id
    }
}

/// Says what `message` is when it comes from `sender`.
///
/// The revision is left out on purpose: a server that speaks several may obey a method of any of
/// them, so every action of every revision is an action.
pub fn classify(message: &Message, sender: Sender) -> Result<Classified, CallError> {
    let (name, id) = match message.body() {
        Body::Request { id, method, .. } => (method.as_str(), Some(id)),
        Body::Notification { method, .. } => (method.as_str(), None),
        Body::Result { .. } | Body::Error { .. } => return Ok(Classified::Response),
    };
    let known = Method::find(name);
    let used = known.and_then(|method| method.used_by(sender));
    Ok(match (known, used, id) {
        (Some(method), Some(Use::Action(verb)), Some(id)) => Classified::Action(
            Parameters {
                message,
                method,
                id,
            }
            .action(verb)?,
        ),
        (Some(method), Some(Use::Lifecycle), Some(_)) => Classified::Lifecycle(method),
        (Some(method), Some(Use::ServerRequest), Some(_)) => Classified::ServerRequest(method),
        (Some(method), Some(Use::Notification), None) => Classified::Notification(method),
        (_, None, None) if is_notification_name(name) => {
            Classified::UnknownNotification(name.to_owned())
        }
        _ => Classified::Unknown(name.to_owned()),
    })
}

/// The protocol revision a request of 2026-07-28 states in its `_meta`, as written.
pub fn stated_version(message: &Message) -> Option<String> {
    message.text_at(&["params", "_meta", PROTOCOL_VERSION_KEY])
}

/// Whether a request states its client's capabilities, which 2026-07-28 requires.
pub fn states_capabilities(message: &Message) -> bool {
    message
        .at(&["params", "_meta", CLIENT_CAPABILITIES_KEY])
        .is_some_and(|value| value.kind == Kind::Object)
}

/// The id of the request that a `notifications/cancelled` takes back.
pub fn cancelled_id(message: &Message) -> Option<Id> {
    let value = message.at(&["params", "requestId"])?;
    Id::read(value, message.bytes())
}

/// The revision asked for by an `initialize` request or chosen in its result, as written.
pub fn handshake_version(message: &Message) -> Option<String> {
    match message.body() {
        Body::Request { method, .. } if method == "initialize" => {
            message.text_at(&["params", "protocolVersion"])
        }
        Body::Result { .. } => message.text_at(&["result", "protocolVersion"]),
        _ => None,
    }
}

/// The revision of a request: the stated one, else the session's; `Err` holds an unknown one.
pub fn revision_of(message: &Message, session: Revision) -> Result<Revision, String> {
    match stated_version(message) {
        Some(text) => Revision::parse(&text).ok_or(text),
        None => Ok(session),
    }
}

struct Parameters<'m> {
    message: &'m Message,
    method: &'static Method,
    id: &'m Id,
}

impl Parameters<'_> {
    fn action(&self, verb: Verb) -> Result<Action, CallError> {
        let (mut name, mut target, mut arguments) = (None, None, None);
        match verb {
            Verb::CallTool | Verb::GetPrompt => {
                name = Some(self.text("name")?);
                arguments = self.object("arguments")?;
            }
            Verb::ReadResource | Verb::SubscribeResource | Verb::UnsubscribeResource => {
                target = Some(self.text("uri")?);
            }
            Verb::CancelTask | Verb::GetTask | Verb::GetTaskResult | Verb::UpdateTask => {
                target = Some(self.text("taskId")?);
            }
            Verb::Complete => {
                if self.object("ref")?.is_none() {
                    return Err(self.wrong("ref", "an object"));
                }
                arguments = self.object("argument")?;
            }
        }
        Ok(Action {
            verb,
            name,
            target,
            arguments,
            as_task: self.has("task"),
            continues: self.has("inputResponses") || self.has("requestState"),
        })
    }

    fn text(&self, member: &'static str) -> Result<String, CallError> {
        self.message
            .text_at(&["params", member])
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.wrong(member, "a string that is not empty"))
    }

    fn object(&self, member: &'static str) -> Result<Option<Span>, CallError> {
        match self.message.at(&["params", member]) {
            None => Ok(None),
            Some(value) if value.kind == Kind::Object => Ok(Some(value.span)),
            Some(_) => Err(self.wrong(member, "an object")),
        }
    }

    fn has(&self, member: &str) -> bool {
        self.message.at(&["params", member]).is_some()
    }

    fn wrong(&self, member: &'static str, expected: &'static str) -> CallError {
        CallError {
            method: self.method.name(),
            member,
            expected,
            id: self.id.clone(),
        }
    }
}

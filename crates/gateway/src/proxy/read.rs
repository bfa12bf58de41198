//! Reading a message: what it is, or why it goes no further.

use bytes::Bytes;
use counterfoil_enforcer::call::Envelope;
use counterfoil_protocol::attestation::Attestation;
use counterfoil_protocol::names::{ToolName, Verb};

use super::answer::{Asked, Refused};
use super::{Direction, Gate, Proxy};
use crate::evidence;
use crate::message::a2a::A2aMethod;
use crate::message::call::{Action, revision_of};
use crate::message::framing::LineTooLong;
use crate::message::json::Span;
use crate::message::refusal::{
    INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, Refusal, UNSUPPORTED_PROTOCOL_VERSION,
    answer_to_bad_call, answer_to_bad_message, answer_to_unknown_method,
};
use crate::message::{
    Body, Classified, Dialect, Id, Message, Revision, Sender, Verb as MethodVerb, attestations,
    classify,
};

/// What came from the client's side.
#[derive(Debug)]
pub enum ClientMessage {
    /// It goes no further. Record it with [`Proxy::record`].
    Refused(Refused),
    /// It is forwarded as it is.
    Pass(Message),
    /// It acts, and must be decided.
    Request(Box<Request>),
}

/// What came from the server's side.
#[derive(Debug)]
pub enum ServerMessage {
    /// The answer to a request.
    Answer(Message),
    /// A notification or a request of the server: forwarded as it is.
    Pass(Message),
    /// It is dropped.
    Dropped {
        /// Why, for machines.
        code: &'static str,
        /// Why, for people.
        reason: String,
    },
}

/// A request that acts, as it goes on to the server if it is allowed.
#[derive(Debug)]
pub struct Request {
    pub(super) message: Message,
    pub(super) id: Id,
    /// Where the arguments are that a policy is given; none are the same as `{}`.
    pub(super) arguments: Option<Span>,
    /// Tool calls are refused with a result that a model can read.
    pub(super) is_tool_call: bool,
    pub(super) dialect: Dialect,
    pub(super) verb: Verb,
    pub(super) tool: ToolName,
    pub(super) revision: Revision,
    /// What came along, where other operators call.
    pub(super) envelope: Option<Envelope>,
    /// The evidence from elsewhere that the parameters refer to.
    pub(super) attestations: Vec<Attestation>,
}

impl Request {
    /// Its id.
    pub const fn id(&self) -> &Id {
        &self.id
    }

    /// Its revision.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The arguments that a policy is given.
    pub(super) fn arguments(&self) -> &[u8] {
        self.arguments
            .map_or(b"{}", |span| span.of(self.message.bytes()))
    }

    /// The message as the server will get it, but for evidence that is added.
    pub const fn message(&self) -> &Message {
        &self.message
    }
}

impl Proxy {
    /// Reads a line or body from the client's side.
    pub fn read(&self, received: Result<Bytes, LineTooLong>) -> ClientMessage {
        let revision = self.revision();
        let bytes = match received {
            Ok(bytes) => bytes,
            Err(error) => {
                let answer = refuse_unread(error.code(), &error.to_string(), revision);
                return ClientMessage::Refused(Refused {
                    answer: Some(answer),
                    code: error.code(),
                    status: 413,
                });
            }
        };
        match Message::from_bytes(bytes, self.client_bytes()) {
            Ok(message) => self.understand(message),
            Err(error) => ClientMessage::Refused(Refused {
                answer: Some(answer_to_bad_message(&error, revision).into()),
                code: error.code(),
                status: 400,
            }),
        }
    }

    fn understand(&self, message: Message) -> ClientMessage {
        let revision = match (self.dialect, revision_of(&message, self.revision())) {
            (Dialect::Mcp, Ok(revision)) => revision,
            (Dialect::Mcp, Err(stated)) => {
                return unsupported_version(&message, &stated, self.revision());
            }
            (Dialect::A2a, _) => self.revision(),
        };
        if let (Gate::Refusing { code, detail }, Body::Request { id, method, .. }) =
            (&self.gate, message.body())
        {
            let asked = Asked {
                id: id.clone(),
                revision,
                is_tool_call: self.dialect == Dialect::Mcp && method == "tools/call",
                dialect: self.dialect,
            };
            return ClientMessage::Refused(Refused {
                answer: Some(self.refused_by_gate(&asked, code.as_str(), detail)),
                code: "gate_closed",
                status: 200,
            });
        }
        let (message, envelope) = match self.take_evidence(message) {
            Ok(taken) => taken,
            Err(message) => return forged(&message, revision),
        };
        if self.dialect == Dialect::A2a {
            return self.understand_a2a(message, revision, envelope);
        }
        let classified = match classify(&message, Sender::Client) {
            Ok(classified) => classified,
            Err(error) => {
                return ClientMessage::Refused(Refused {
                    answer: Some(answer_to_bad_call(&error, revision).into()),
                    code: error.code(),
                    status: 400,
                });
            }
        };
        match classified {
            Classified::Action(action) => {
                let verb = message.method().and_then(|method| Verb::new(method).ok());
                let read = Read {
                    verb,
                    tool: subject(&message, &action)
                        .and_then(|subject| ToolName::new(subject).ok()),
                    arguments: action.arguments,
                    is_tool_call: action.verb == MethodVerb::CallTool,
                };
                self.request(message, read, revision, envelope)
            }
            _ if envelope.is_some() => forged(&message, revision),
            Classified::Lifecycle(_) | Classified::Notification(_) => ClientMessage::Pass(message),
            Classified::Response => ClientMessage::Pass(message),
            Classified::UnknownNotification(_) => {
                // By its name it asks for nothing; who does not know it ignores it.
                ClientMessage::Pass(message)
            }
            Classified::ServerRequest(_) | Classified::Unknown(_) => unknown(&message, revision),
        }
    }

    /// In A2A every request is decided, and there is nothing else.
    fn understand_a2a(
        &self,
        message: Message,
        revision: Revision,
        envelope: Option<Envelope>,
    ) -> ClientMessage {
        let method = match message.body() {
            Body::Request { method, .. } => A2aMethod::find(method),
            _ => None,
        };
        let Some(method) = method else {
            return unknown(&message, revision);
        };
        let arguments = match message.body() {
            Body::Request { params, .. } => *params,
            _ => None,
        };
        let read = Read {
            verb: Verb::new(method.verb()).ok(),
            // Whom the request goes to: it names no skill.
            tool: ToolName::new(self.server.as_str()).ok(),
            arguments,
            is_tool_call: false,
        };
        self.request(message, read, revision, envelope)
    }

    /// Takes out the evidence where other operators call. Nobody else may send any: the message
    /// comes back as an error then.
    #[allow(
        clippy::result_large_err,
        reason = "the message goes back to the caller, once"
    )]
    fn take_evidence(&self, message: Message) -> Result<(Message, Option<Envelope>), Message> {
        if !self.dialect.is_present(&message) {
            return Ok((message, None));
        }
        if self.direction != Direction::Incoming {
            return Err(message);
        }
        // What is present and cannot be read is an envelope without records, which the enforcer
        // refuses and records as malformed evidence.
        match self.dialect.take(message.clone()) {
            Ok(taken) => {
                let envelope = taken
                    .evidence
                    .map(|value| evidence::decode(&value).unwrap_or_default());
                Ok((taken.message, envelope))
            }
            Err(_) => Ok((message, Some(Envelope::default()))),
        }
    }

    fn request(
        &self,
        message: Message,
        read: Read,
        revision: Revision,
        envelope: Option<Envelope>,
    ) -> ClientMessage {
        let Some(id) = message.id().cloned() else {
            return unknown(&message, revision);
        };
        let (Some(verb), Some(tool)) = (read.verb, read.tool) else {
            let reason = "what it acts on is not named, or by a name that is too long or has \
                          control characters. Nothing was forwarded.";
            return refuse(&id, "invalid_params", reason, INVALID_PARAMS, revision);
        };
        if self.direction != Direction::Local
            && let Err(error) = self.dialect.check_room(&message)
            && envelope.is_none()
        {
            let reason = format!("{error}. Nothing was forwarded.");
            return refuse(&id, error.code(), &reason, INVALID_PARAMS, revision);
        }
        let attestations = match attestations::of_parameters(&message) {
            Ok(attestations) => attestations,
            Err(error) => {
                let reason = format!("{error}. Nothing was forwarded.");
                return refuse(&id, error.code(), &reason, INVALID_PARAMS, revision);
            }
        };
        ClientMessage::Request(Box::new(Request {
            id,
            arguments: read.arguments,
            is_tool_call: read.is_tool_call,
            dialect: self.dialect,
            verb,
            tool,
            revision,
            envelope,
            attestations,
            message,
        }))
    }

    /// Reads a line, body or event from the server's side.
    pub fn read_from_server(&self, received: Result<Bytes, LineTooLong>) -> ServerMessage {
        let dropped = |code, reason: String| ServerMessage::Dropped { code, reason };
        let bytes = match received {
            Ok(bytes) => bytes,
            Err(error) => return dropped(error.code(), error.to_string()),
        };
        let message = match Message::from_bytes(bytes, self.server_bytes()) {
            Ok(message) => message,
            Err(error) => return dropped(error.code(), error.to_string()),
        };
        match classify(&message, Sender::Server) {
            Ok(Classified::Response) => ServerMessage::Answer(message),
            _ if self.dialect == Dialect::A2a => dropped(
                "not_an_answer",
                "an agent sends something that is no answer".to_owned(),
            ),
            Ok(Classified::Notification(_) | Classified::UnknownNotification(_))
            | Ok(Classified::ServerRequest(_) | Classified::Lifecycle(_))
                if !self.dialect.is_present(&message) =>
            {
                ServerMessage::Pass(message)
            }
            Ok(Classified::Unknown(method)) => {
                dropped("unknown_method", format!("the server asks for `{method}`"))
            }
            Ok(_) => dropped(
                "evidence_member_present",
                "the server sends evidence outside of an answer".to_owned(),
            ),
            Err(error) => dropped(error.code(), error.to_string()),
        }
    }
}

/// What a request says, in the terms of records.
struct Read {
    verb: Option<Verb>,
    tool: Option<ToolName>,
    arguments: Option<Span>,
    is_tool_call: bool,
}

/// What the action is about, as records name it.
fn subject(message: &Message, action: &Action) -> Option<String> {
    if action.verb != MethodVerb::Complete {
        return Some(action.subject().to_owned());
    }
    // The strict scan has refused names that occur twice.
    let span = message.at(&["params", "ref"])?.span;
    let reference: Reference = serde_json::from_slice(span.of(message.bytes())).ok()?;
    reference.name.or(reference.uri)
}

#[derive(serde::Deserialize)]
struct Reference {
    name: Option<String>,
    uri: Option<String>,
}

fn refuse_unread(code: &'static str, what: &str, revision: Revision) -> Bytes {
    let reason = format!("{what}. Nothing was forwarded.");
    let refusal = Refusal {
        code,
        reason: &reason,
        rules: &[],
        instead: None,
    };
    refusal.error(None, PARSE_ERROR, revision).into()
}

fn refuse(
    id: &Id,
    code: &'static str,
    reason: &str,
    error_code: i64,
    revision: Revision,
) -> ClientMessage {
    let refusal = Refusal {
        code,
        reason,
        rules: &[],
        instead: None,
    };
    ClientMessage::Refused(Refused {
        answer: Some(refusal.error(Some(id), error_code, revision).into()),
        code,
        status: 400,
    })
}

fn forged(message: &Message, revision: Revision) -> ClientMessage {
    let code = "evidence_member_present";
    let reason = "only a gateway may write the member that carries evidence, and only in \
                  calls. Nothing was forwarded.";
    match message.body() {
        Body::Request { id, .. } => refuse(id, code, reason, INVALID_REQUEST, revision),
        _ => ClientMessage::Refused(Refused {
            answer: None,
            code,
            status: 400,
        }),
    }
}

fn unknown(message: &Message, revision: Revision) -> ClientMessage {
    let code = "unknown_method";
    match message.body() {
        Body::Request { id, method, .. } => ClientMessage::Refused(Refused {
            answer: Some(answer_to_unknown_method(id, method, revision).into()),
            code,
            status: if revision.is_stateless() { 404 } else { 200 },
        }),
        _ => ClientMessage::Refused(Refused {
            answer: None,
            code,
            status: 400,
        }),
    }
}

fn unsupported_version(message: &Message, stated: &str, session: Revision) -> ClientMessage {
    let code = "unsupported_protocol_version";
    let shown: String = stated
        .chars()
        .take(32)
        .flat_map(char::escape_default)
        .collect();
    let reason = format!(
        "the protocol revision `{shown}` is not spoken here; 2025-06-18, 2025-11-25 and \
         2026-07-28 are. Nothing was forwarded."
    );
    match message.body() {
        Body::Request { id, .. } => {
            refuse(id, code, &reason, UNSUPPORTED_PROTOCOL_VERSION, session)
        }
        _ => ClientMessage::Refused(Refused {
            answer: None,
            code,
            status: 400,
        }),
    }
}

impl Proxy {
    /// A refusal for a message whose request is known, decided by the transport.
    pub fn refuse(&self, message: &Message, code: &'static str, reason: &str) -> Refused {
        self.refuse_as(message, code, reason, INVALID_REQUEST)
    }

    /// As [`Proxy::refuse`], with a JSON-RPC error code of its own.
    pub fn refuse_as(
        &self,
        message: &Message,
        code: &'static str,
        reason: &str,
        error_code: i64,
    ) -> Refused {
        let revision = revision_of(message, self.revision()).unwrap_or(self.revision());
        let refusal = Refusal {
            code,
            reason,
            rules: &[],
            instead: None,
        };
        let id = match message.body() {
            Body::Request { id, .. } => Some(id),
            _ => None,
        };
        Refused {
            answer: Some(refusal.error(id, error_code, revision).into()),
            code,
            status: 400,
        }
    }

    /// A refusal of a body that could not be read at all.
    pub fn refuse_unread(&self, code: &'static str, reason: &str, status: u16) -> Refused {
        Refused {
            answer: Some(refuse_unread(code, reason, self.revision())),
            code,
            status,
        }
    }
}

//! The JSON-RPC 2.0 envelope of a message, as MCP restricts it.

use bytes::Bytes;

use super::id::Id;
use super::json::{
    self, DEFAULT_MAX_BYTES, Descend, JsonError, Kind, Outline, Parent, Span, Value,
};
use super::methods;

/// Members of these objects are recorded; deeper ones are only checked.
const DESCEND: Descend = &[
    &["params", "result", "error"],
    &[
        "_meta",
        "data",
        "metadata",
        // What the results of A2A are about.
        "artifactUpdate",
        "message",
        "statusUpdate",
        "task",
        // And of its version 0.3, where the result is the task or the update itself.
        "status",
    ],
    &["metadata", "status"],
];

/// One message: its bytes as received, and what they say.
///
/// Members that MCP does not know are kept, since the bytes are forwarded as they are.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    outline: Outline,
    body: Body,
}

impl Message {
    /// Parses a copy of `bytes`, at most [`DEFAULT_MAX_BYTES`] long.
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        Self::from_bytes(Bytes::copy_from_slice(bytes), DEFAULT_MAX_BYTES)
    }

    /// Parses `bytes`, at most `max_bytes` long, without copying them.
    pub fn from_bytes(bytes: Bytes, max_bytes: usize) -> Result<Self, MessageError> {
        let outline = json::scan(&bytes, max_bytes, DESCEND)?;
        match outline.top().kind {
            Kind::Array => return Err(MessageError::Batch),
            Kind::Object => {}
            _ => return Err(MessageError::NotAnObject),
        }
        let body = Envelope::of(&bytes, &outline).body(&bytes)?;
        Ok(Self {
            bytes,
            outline,
            body,
        })
    }

    /// What the message is.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The bytes as received.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The id of a request or of the request that a response answers.
    pub fn id(&self) -> Option<&Id> {
        match &self.body {
            Body::Request { id, .. } | Body::Result { id, .. } => Some(id),
            Body::Error { id, .. } => id.as_ref(),
            Body::Notification { .. } => None,
        }
    }

    /// The unescaped method of a request or notification.
    pub fn method(&self) -> Option<&str> {
        match &self.body {
            Body::Request { method, .. } | Body::Notification { method, .. } => Some(method),
            Body::Result { .. } | Body::Error { .. } => None,
        }
    }

    /// The exact bytes of the value of `params`, which parameter commitments cover.
    pub fn params_bytes(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Request { params, .. } | Body::Notification { params, .. } => {
                params.map(|span| span.of(&self.bytes))
            }
            Body::Result { .. } | Body::Error { .. } => None,
        }
    }

    /// The exact bytes of the value of `result` or `error`, which result commitments cover.
    pub fn result_bytes(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Result { result, .. } => Some(result.of(&self.bytes)),
            Body::Error { error, .. } => Some(error.of(&self.bytes)),
            Body::Request { .. } | Body::Notification { .. } => None,
        }
    }

    /// The value at a path of member names.
    ///
    /// Reaches the top-level members, those of `params`, `result` and `error`, those of `_meta`,
    /// `data`, `metadata` and of what A2A results are about in these, and the `metadata` and
    /// `status` of the latter.
    pub fn at(&self, path: &[&str]) -> Option<Value> {
        self.outline.at(&self.bytes, path)
    }

    /// The unescaped string at a path of member names; `None` if there is none or no string.
    pub fn text_at(&self, path: &[&str]) -> Option<String> {
        self.at(path)?
            .as_text(&self.bytes)
            .map(|text| text.into_owned())
    }

    pub(super) fn outline(&self) -> &Outline {
        &self.outline
    }
}

/// What a message is, by its members.
#[derive(Clone, Debug)]
pub enum Body {
    /// An answer that says what went wrong.
    Error {
        /// The request answered; absent where it could not be read (JSON-RPC 2.0 section 5).
        id: Option<Id>,
        /// The object that is the value of `error`.
        error: Span,
    },
    /// A message that asks for no answer.
    Notification {
        /// The unescaped method.
        method: String,
        /// The object that is the value of `params`, if there is one.
        params: Option<Span>,
    },
    /// A message that asks for an answer.
    Request {
        /// The id that the answer will carry.
        id: Id,
        /// The unescaped method.
        method: String,
        /// The object that is the value of `params`, if there is one.
        params: Option<Span>,
    },
    /// An answer with a result.
    Result {
        /// The request answered.
        id: Id,
        /// The value of `result`; MCP wants an object, but that is not checked here.
        result: Span,
    },
}

/// Why some bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A batch array, which MCP removed with revision 2025-06-18.
    #[error("batches are not supported")]
    Batch,
    /// A method that acts, or wants an answer, in a message without an id.
    #[error("a `{method}` message has no `id`")]
    CallWithoutId {
        /// The unescaped method.
        method: String,
    },
    /// Neither a request nor a notification nor exactly one kind of response.
    #[error("not a request, a notification or a response: {detail}")]
    Envelope {
        /// What does not fit.
        detail: &'static str,
        /// The id, if it could be read.
        id: Option<Id>,
    },
    /// An id that is not a string or a canonical integer.
    #[error("`id` is neither a string nor a canonical integer of at most 64 bits")]
    InvalidId,
    /// `params` is not an object.
    #[error("`params` is not an object")]
    InvalidParams {
        /// The id, if there is one.
        id: Option<Id>,
    },
    /// Not JSON, or JSON that two parsers could read in two ways.
    #[error("not a message: {0}")]
    Json(#[from] JsonError),
    /// A JSON text that is no object.
    #[error("not an object")]
    NotAnObject,
    /// A notification's method in a message with an id.
    #[error("a `{method}` message has an `id`")]
    NotificationWithId {
        /// The unescaped method.
        method: String,
        /// The id.
        id: Id,
    },
    /// `jsonrpc` is not `"2.0"`.
    #[error("`jsonrpc` is not `2.0`")]
    Version {
        /// The id, if it could be read.
        id: Option<Id>,
    },
}

impl MessageError {
    /// A stable code for peers and users.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Batch => "batch_not_supported",
            Self::CallWithoutId { .. } => "call_without_id",
            Self::Envelope { .. } => "invalid_message",
            Self::InvalidId => "invalid_id",
            Self::InvalidParams { .. } => "invalid_params",
            Self::Json(error) => error.code(),
            Self::NotAnObject => "not_an_object",
            Self::NotificationWithId { .. } => "notification_with_id",
            Self::Version { .. } => "unsupported_jsonrpc_version",
        }
    }

    /// The id to answer to, where it could be read without doubt.
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Envelope { id, .. } | Self::InvalidParams { id } | Self::Version { id } => {
                id.as_ref()
            }
            Self::NotificationWithId { id, .. } => Some(id),
            Self::Batch
            | Self::CallWithoutId { .. }
            | Self::InvalidId
            | Self::Json(_)
            | Self::NotAnObject => None,
        }
    }
}

/// The top-level members that JSON-RPC knows.
#[derive(Default)]
struct Envelope {
    error: Option<Value>,
    id: Option<Value>,
    jsonrpc: Option<Value>,
    method: Option<Value>,
    params: Option<Value>,
    result: Option<Value>,
}

impl Envelope {
    fn of(bytes: &[u8], outline: &Outline) -> Self {
        let mut envelope = Self::default();
        for member in outline.members_of(Parent::TOP) {
            let place = match member.unescaped_name(bytes).as_ref() {
                b"error" => &mut envelope.error,
                b"id" => &mut envelope.id,
                b"jsonrpc" => &mut envelope.jsonrpc,
                b"method" => &mut envelope.method,
                b"params" => &mut envelope.params,
                b"result" => &mut envelope.result,
                _ => continue,
            };
            *place = Some(member.value());
        }
        envelope
    }

    fn body(self, bytes: &[u8]) -> Result<Body, MessageError> {
        let id = self.id.and_then(|value| Id::read(value, bytes));
        let version = self.jsonrpc.and_then(|value| value.as_text(bytes));
        if version.as_deref() != Some("2.0") {
            return Err(MessageError::Version { id });
        }
        let error_without_id = self.id.is_some_and(|value| value.kind == Kind::Null)
            && self.error.is_some()
            && self.method.is_none();
        if self.id.is_some() && id.is_none() && !error_without_id {
            return Err(MessageError::InvalidId);
        }
        let detail = match (self.method, self.result, self.error) {
            (Some(method), None, None) => match method.as_text(bytes) {
                Some(method) => return self.request_or_notification(method.into_owned(), id),
                None => "`method` is not a string",
            },
            (None, Some(result), None) => match id {
                Some(id) => {
                    return Ok(Body::Result {
                        id,
                        result: result.span,
                    });
                }
                None => "a result without an id",
            },
            (None, None, Some(error)) if error.kind == Kind::Object => {
                return Ok(Body::Error {
                    id,
                    error: error.span,
                });
            }
            (None, None, Some(_)) => "`error` is not an object",
            (None, None, None) => "no `method`, no `result`, no `error`",
            _ => "more than one of `method`, `result` and `error`",
        };
        Err(MessageError::Envelope { detail, id })
    }

    fn request_or_notification(
        &self,
        method: String,
        id: Option<Id>,
    ) -> Result<Body, MessageError> {
        let params = match self.params {
            None => None,
            Some(params) if params.kind == Kind::Object => Some(params.span),
            Some(_) => return Err(MessageError::InvalidParams { id }),
        };
        match id {
            Some(id) if methods::is_notification_name(&method) => {
                Err(MessageError::NotificationWithId { method, id })
            }
            Some(id) => Ok(Body::Request { id, method, params }),
            None if methods::is_request(&method) => Err(MessageError::CallWithoutId { method }),
            None => Ok(Body::Notification { method, params }),
        }
    }
}

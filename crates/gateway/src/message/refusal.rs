//! What a caller gets instead of an answer when its message goes no further.
//!
//! A denied tool call is answered with a tool result that the model can read (`isError`, text
//! that says what was refused, by which rule, and what it may do instead). Everything else is
//! answered with a JSON-RPC error.

use serde::Serialize;

use super::call::CallError;
use super::envelope::MessageError;
use super::id::Id;
use super::methods::Revision;

/// The `_meta` and `data` member in which a refusal states its code and rule.
pub const REFUSAL_KEY: &str = "dev.counterfoil/refusal";

/// JSON-RPC: the bytes are not JSON.
pub const PARSE_ERROR: i64 = -32_700;
/// JSON-RPC: not a valid message.
pub const INVALID_REQUEST: i64 = -32_600;
/// JSON-RPC: the method does not exist.
pub const METHOD_NOT_FOUND: i64 = -32_601;
/// JSON-RPC: the parameters are invalid.
pub const INVALID_PARAMS: i64 = -32_602;
/// JSON-RPC: the gateway itself cannot work now.
pub const INTERNAL_ERROR: i64 = -32_603;
/// MCP 2026-07-28: header and body disagree.
pub const HEADER_MISMATCH: i64 = -32_020;
/// MCP 2026-07-28: the protocol revision is not supported.
pub const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32_022;
/// Denied by policy. MCP asks for own codes outside -32768 to -32000.
pub const DENIED: i64 = -31_403;

/// Why something was refused, in words for the caller.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal<'r> {
    /// A stable code.
    pub code: &'r str,
    /// What was refused and why, as a sentence.
    #[serde(skip)]
    pub reason: &'r str,
    /// The rules that decided.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub rules: &'r [&'r str],
    /// What the caller may do instead, as a sentence.
    #[serde(skip)]
    pub instead: Option<&'r str>,
}

impl Refusal<'_> {
    /// The refusal as text for people and models.
    pub fn text(&self) -> String {
        let mut text = format!("Refused ({}): {}", self.code, self.reason);
        if let [first, rest @ ..] = self.rules {
            text.push_str(if rest.is_empty() {
                " Rule: "
            } else {
                " Rules: "
            });
            text.push_str(first);
            for rule in rest {
                text.push_str(", ");
                text.push_str(rule);
            }
            text.push('.');
        }
        if let Some(instead) = self.instead {
            text.push(' ');
            text.push_str(instead);
        }
        text
    }

    /// The answer to a denied `tools/call`: a result with `isError` and the text.
    pub fn tool_result(&self, id: &Id, revision: Revision) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.reason.len());
        out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        out.extend_from_slice(id.as_json().as_bytes());
        out.extend_from_slice(b",\"result\":{\"_meta\":{\"");
        out.extend_from_slice(REFUSAL_KEY.as_bytes());
        out.extend_from_slice(b"\":");
        push_json(&mut out, self);
        out.extend_from_slice(b"},\"content\":[{\"type\":\"text\",\"text\":");
        push_json(&mut out, &self.text());
        out.extend_from_slice(b"}],\"isError\":true");
        if revision.is_stateless() {
            out.extend_from_slice(b",\"resultType\":\"complete\"");
        }
        out.extend_from_slice(b"}}");
        out
    }

    /// The answer to any other message: a JSON-RPC error with this `error_code`.
    ///
    /// Without an id the answer says `"id":null`, as JSON-RPC 2.0 wants it, up to revision
    /// 2025-06-18; later revisions want the member left out.
    pub fn error(&self, id: Option<&Id>, error_code: i64, revision: Revision) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.reason.len());
        out.extend_from_slice(b"{\"jsonrpc\":\"2.0\"");
        match id {
            Some(id) => {
                out.extend_from_slice(b",\"id\":");
                out.extend_from_slice(id.as_json().as_bytes());
            }
            None if revision <= Revision::V2025_06_18 => out.extend_from_slice(b",\"id\":null"),
            None => {}
        }
        out.extend_from_slice(b",\"error\":{\"code\":");
        push_json(&mut out, &error_code);
        out.extend_from_slice(b",\"message\":");
        push_json(&mut out, &self.text());
        out.extend_from_slice(b",\"data\":{\"");
        out.extend_from_slice(REFUSAL_KEY.as_bytes());
        out.extend_from_slice(b"\":");
        push_json(&mut out, self);
        out.extend_from_slice(b"}}}");
        out
    }
}

/// The answer to bytes that are not a message.
///
/// JSON-RPC forbids to answer a notification, so a call without an id gets this only over HTTP,
/// where some answer must be given, and on stdio as an error without an id.
pub fn answer_to_bad_message(error: &MessageError, revision: Revision) -> Vec<u8> {
    let error_code = match error {
        MessageError::Json(_) => PARSE_ERROR,
        MessageError::InvalidParams { .. } => INVALID_PARAMS,
        _ => INVALID_REQUEST,
    };
    let reason = format!("{error}. Nothing was forwarded.");
    let refusal = Refusal {
        code: error.code(),
        reason: &reason,
        rules: &[],
        instead: None,
    };
    refusal.error(error.id(), error_code, revision)
}

/// The answer to an action whose parameters cannot be understood.
pub fn answer_to_bad_call(error: &CallError, revision: Revision) -> Vec<u8> {
    let reason = format!("{error}. Nothing was forwarded.");
    let refusal = Refusal {
        code: error.code(),
        reason: &reason,
        rules: &[],
        instead: None,
    };
    refusal.error(Some(error.id()), INVALID_PARAMS, revision)
}

/// The answer to a request whose method no supported revision has.
pub fn answer_to_unknown_method(id: &Id, method: &str, revision: Revision) -> Vec<u8> {
    let reason = format!("the method `{method}` is not known here. Nothing was forwarded.");
    let refusal = Refusal {
        code: "unknown_method",
        reason: &reason,
        rules: &[],
        instead: None,
    };
    refusal.error(Some(id), METHOD_NOT_FOUND, revision)
}

fn push_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        // Writing strings and integers into memory does not fail; stay valid if it ever does.
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

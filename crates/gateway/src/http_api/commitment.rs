//! The bytes that records commit to: the parameters of a request, and the result of a response.
//!
//! ```text
//! {"method":"POST","path":"/refunds","query":"dry=1","headers":{"content-type":"application/json"},"body":{"amount":5}}
//! {"status":201,"headers":{"content-type":"text/plain"},"body_sha256":"<hex>","body_bytes":3}
//! ```
//!
//! A JSON body stands in them as it was sent, so that policies and contracts can look into it; any
//! other body stands for itself by its digest. Spec: http §5.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::headers::{Committed, is_json};
use super::target::Target;
use crate::message::json;

/// The most bytes of a body that stands in the parameters or the result as it is.
const MAX_INLINE: usize = 8 * 1024 * 1024;

/// The parameters of a request.
pub(crate) fn parameters(target: &Target, headers: &Committed, body: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(body.len() + target.path.len() + 128);
    out.push_str("{\"method\":");
    push_text(&mut out, target.method.as_str());
    out.push_str(",\"path\":");
    push_text(&mut out, &target.path);
    if let Some(query) = &target.query {
        out.push_str(",\"query\":");
        push_text(&mut out, query);
    }
    out.push(',');
    finish(out, headers, body)
}

/// The result of a response.
pub(crate) fn result(status: u16, headers: &Committed, body: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(body.len() + 128);
    let _ = write!(out, "{{\"status\":{status},");
    finish(out, headers, body)
}

fn finish(mut out: String, headers: &Committed, body: &[u8]) -> Vec<u8> {
    out.push_str("\"headers\":{");
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_text(&mut out, name);
        out.push(':');
        push_text(&mut out, value);
    }
    out.push('}');
    if body.is_empty() {
        out.push('}');
        return out.into_bytes();
    }
    let inline = is_json(headers) && json::scan(body, MAX_INLINE, &[]).is_ok();
    if inline {
        out.push_str(",\"body\":");
        let mut out = out.into_bytes();
        out.extend_from_slice(body);
        out.push(b'}');
        return out;
    }
    out.push_str(",\"body_sha256\":\"");
    for byte in Sha256::digest(body) {
        let _ = write!(out, "{byte:02x}");
    }
    let _ = write!(out, "\",\"body_bytes\":{}}}", body.len());
    out.into_bytes()
}

/// A JSON string of visible ASCII and blanks.
fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

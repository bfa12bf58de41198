//! The header `A2A-Extensions`: which extensions a request activates.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::message::splice::A2A_EXTENSION;

/// The header's name.
const HEADER: HeaderName = HeaderName::from_static("a2a-extensions");

/// The extensions that a message lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extensions(BTreeSet<String>);

impl Extensions {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let listed = headers
            .get_all(HEADER)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|uri| uri.trim().to_owned())
            .filter(|uri| !uri.is_empty());
        Self(listed.collect())
    }

    /// Whether ours is among them.
    pub(super) fn is_activated(&self) -> bool {
        self.0.contains(A2A_EXTENSION)
    }

    /// Writes the others, and ours if it is `activated`.
    pub(super) fn write(mut self, activated: bool, headers: &mut HeaderMap) {
        self.0.remove(A2A_EXTENSION);
        if activated {
            self.0.insert(A2A_EXTENSION.to_owned());
        }
        let list: Vec<&str> = self.0.iter().map(String::as_str).collect();
        if let (false, Ok(value)) = (list.is_empty(), HeaderValue::from_str(&list.join(","))) {
            headers.insert(HEADER, value);
        }
    }

    /// Says in an answer that ours was activated.
    pub(super) fn confirm(headers: &mut HeaderMap) {
        headers.insert(HEADER, HeaderValue::from_static(A2A_EXTENSION));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(values: &[&'static str], activated: bool) -> Option<String> {
        let mut received = HeaderMap::new();
        for value in values {
            received.append(HEADER, HeaderValue::from_static(value));
        }
        let mut headers = HeaderMap::new();
        Extensions::of(&received).write(activated, &mut headers);
        Some(headers.get(HEADER)?.to_str().unwrap().to_owned())
    }

    #[test]
    fn ours_is_added_and_taken_out_and_others_stay() {
        const OURS: &str = "https://counterfoil.dev/a2a/evidence/v1";
        assert_eq!(written(&[], true).as_deref(), Some(OURS));
        assert_eq!(written(&[OURS], false), None);
        let both = written(&["urn:b, urn:a", "urn:a"], true).unwrap();
        assert_eq!(both, format!("{OURS},urn:a,urn:b"));
        let others = written(&["urn:b", "https://counterfoil.dev/a2a/evidence/v1"], false);
        assert_eq!(others.as_deref(), Some("urn:b"));
        let mut headers = HeaderMap::new();
        assert!(!Extensions::of(&headers).is_activated());
        Extensions::confirm(&mut headers);
        assert!(Extensions::of(&headers).is_activated());
    }
}

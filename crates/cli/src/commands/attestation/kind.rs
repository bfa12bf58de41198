//! The kinds of evidence that are known by name, and their outer form.

use counterfoil_protocol::names::AttestationKind;
use serde_json::Value;

use crate::answer::{OrProblem as _, Problem};

/// An in-toto statement in a DSSE envelope.
const IN_TOTO_ENVELOPE: &str = "application/vnd.in-toto+dsse";
/// An in-toto statement, and what DSSE envelopes say that they hold.
const IN_TOTO_STATEMENT: &str = "application/vnd.in-toto+json";
/// What the type of every in-toto statement begins with.
const IN_TOTO_TYPE: &str = "https://in-toto.io/Statement/";
/// What the schema version of every CyclesEvidence envelope begins with.
const CYCLES_EVIDENCE: &str = "cycles-evidence/";

/// The kind that is named, of a file that has its form. The form says nothing about signatures.
pub(super) fn of(name: &str, evidence: &[u8]) -> Result<AttestationKind, Problem> {
    let kind = match name {
        "in-toto" => in_toto(&json(evidence)?)?,
        "cycles-evidence" => cycles_evidence(&json(evidence)?)?,
        other => other.to_owned(),
    };
    AttestationKind::new(kind).or_next("a kind is a media type or a URI, without blanks")
}

fn in_toto(document: &Value) -> Result<String, Problem> {
    let signed = document["payload"].is_string()
        && document["signatures"]
            .as_array()
            .is_some_and(|signatures| !signatures.is_empty());
    if signed && document["payloadType"] == IN_TOTO_STATEMENT {
        return Ok(IN_TOTO_ENVELOPE.to_owned());
    }
    let is_statement = document["_type"]
        .as_str()
        .is_some_and(|name| name.starts_with(IN_TOTO_TYPE));
    if is_statement && document["subject"].is_array() && document["predicateType"].is_string() {
        return Ok(IN_TOTO_STATEMENT.to_owned());
    }
    Err(
        Problem::new("neither a DSSE envelope of an in-toto statement nor such a statement")
            .next("give the kind by its media type if it is something else"),
    )
}

fn cycles_evidence(document: &Value) -> Result<String, Problem> {
    let version = document["schema_version"]
        .as_str()
        .filter(|version| version.starts_with(CYCLES_EVIDENCE));
    let artifact = document["artifact_type"].as_str().unwrap_or_default();
    let complete = ["evidence_id", "signature", "signer_did"]
        .iter()
        .all(|member| document.get(member).is_some_and(Value::is_string));
    match version {
        Some(version)
            if complete
                && document["payload"]
                    .get(artifact)
                    .is_some_and(Value::is_object) =>
        {
            Ok(version.to_owned())
        }
        _ => Err(Problem::new("not a CyclesEvidence envelope")
            .next("give the kind by its media type if it is something else")),
    }
}

fn json(evidence: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(evidence).at("not JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(name: &str, document: &Value) -> Result<String, String> {
        of(name, document.to_string().as_bytes())
            .map(|kind| kind.as_str().to_owned())
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn known_kinds_have_their_form() {
        let envelope = json!({
            "payloadType": "application/vnd.in-toto+json",
            "payload": "e30=",
            "signatures": [{ "sig": "AA==" }],
        });
        assert_eq!(kind("in-toto", &envelope).unwrap(), IN_TOTO_ENVELOPE);
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [],
            "predicateType": "https://slsa.dev/provenance/v1",
        });
        assert_eq!(kind("in-toto", &statement).unwrap(), IN_TOTO_STATEMENT);
        let cycles = json!({
            "schema_version": "cycles-evidence/v0.1",
            "artifact_type": "reserve",
            "signer_did": "b1",
            "payload": { "reserve": {} },
            "evidence_id": "84",
            "signature": "4b",
        });
        assert_eq!(
            kind("cycles-evidence", &cycles).unwrap(),
            "cycles-evidence/v0.1"
        );

        let mut unsigned = envelope.clone();
        unsigned["signatures"] = json!([]);
        let mut other = envelope.clone();
        other["payloadType"] = json!("text/plain");
        for wrong in [&unsigned, &other, &cycles, &json!([]), &json!({})] {
            assert!(kind("in-toto", wrong).is_err(), "{wrong}");
        }
        let mut mixed = cycles.clone();
        mixed["artifact_type"] = json!("commit");
        let mut unsigned = cycles.clone();
        unsigned["signature"] = json!(null);
        for wrong in [&mixed, &unsigned, &envelope] {
            assert!(kind("cycles-evidence", wrong).is_err(), "{wrong}");
        }
        assert!(of("in-toto", b"%PDF").is_err());
        // Anything else is what its name says.
        assert_eq!(
            kind("application/pdf", &json!({})).unwrap(),
            "application/pdf"
        );
        assert!(kind("a paper", &json!({})).is_err());
    }
}

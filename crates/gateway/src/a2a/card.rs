//! The agent card: an agent as it is reached through the gateway.

use axum::http::{HeaderMap, StatusCode};
use reqwest::{Client, Method, Url};
use serde_json::{Map, Value, json};

use super::Served;
use crate::http::upstream::{Reply, bare};
use crate::message::splice::A2A_EXTENSION;
use crate::proxy::Direction;

/// Where a card is, below the agent's origin or the gateway's address of it.
const WELL_KNOWN: &str = ".well-known/agent-card.json";

/// Fetches the card of the agent.
pub(super) async fn fetch(
    client: &Client,
    served: &Served,
    max_bytes: usize,
) -> Result<Vec<u8>, String> {
    let url = match served.config.direction {
        // Another gateway answers for many agents at one origin.
        Direction::Outgoing(_) => {
            let base = served.url.as_str().trim_end_matches('/');
            Url::parse(&format!("{base}/{WELL_KNOWN}"))
        }
        Direction::Local | Direction::Incoming => served.url.join(&format!("/{WELL_KNOWN}")),
    };
    let url = url.map_err(|error| error.to_string())?;
    match bare(client, Method::GET, &url, HeaderMap::new(), max_bytes).await {
        Ok(Reply::Whole {
            status: StatusCode::OK,
            body,
            ..
        }) => Ok(body.to_vec()),
        Ok(Reply::Whole { status, .. } | Reply::Events { status, .. }) => {
            Err(format!("the agent answers with status {status}"))
        }
        Err(lost) => Err(lost.reason()),
    }
}

/// The card with the gateway's address in place of the agent's. Only JSON-RPC is spoken here, and
/// the agent's signature does not hold for what is changed.
pub(super) fn rewrite(card: &[u8], served: &Served, own: &Url) -> Result<Vec<u8>, String> {
    let card: Value = serde_json::from_slice(card).map_err(|error| error.to_string())?;
    let Value::Object(mut card) = card else {
        return Err("the card is not an object".to_owned());
    };
    let address = format!(
        "{}/a2a/{}",
        own.as_str().trim_end_matches('/'),
        served.config.name
    );
    card.remove("signatures");
    if let Some(Value::Array(interfaces)) = card.get_mut("supportedInterfaces") {
        interfaces.retain(|one| {
            one.get("protocolBinding")
                .is_none_or(|name| name == "JSONRPC")
        });
        for interface in interfaces.iter_mut() {
            if let Value::Object(interface) = interface {
                interface.insert("url".to_owned(), json!(address));
            }
        }
    }
    // The form of 0.3.
    if card.contains_key("url") {
        card.insert("url".to_owned(), json!(address));
        card.insert("preferredTransport".to_owned(), json!("JSONRPC"));
        card.remove("additionalInterfaces");
    }
    advertise(&mut card, served.config.direction == Direction::Incoming)?;
    serde_json::to_vec(&card).map_err(|error| error.to_string())
}

/// Lists the extension where others call, who must use it, and nowhere else.
fn advertise(card: &mut Map<String, Value>, required: bool) -> Result<(), String> {
    let malformed = || "the card's capabilities are malformed".to_owned();
    let capabilities = card
        .entry("capabilities")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(malformed)?;
    let extensions = capabilities
        .entry("extensions")
        .or_insert_with(|| json!([]))
        .as_array_mut()
        .ok_or_else(malformed)?;
    extensions.retain(|extension| extension.get("uri") != Some(&json!(A2A_EXTENSION)));
    if required {
        extensions.push(json!({
            "uri": A2A_EXTENSION,
            "description": "Requests and answers carry signed records of both operators.",
            "required": true,
        }));
    }
    Ok(())
}

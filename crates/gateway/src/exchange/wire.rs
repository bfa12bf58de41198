//! The JSON of the exchange API.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_protocol::digest::{KeyThumbprint, RecordId};
use counterfoil_protocol::numbers::ChannelSequence;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::Acknowledgement;
use serde::{Deserialize, Serialize};

/// What passes between two operators, as the answering one knows it. Spec: mcp §8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelHeads {
    /// Its last record to the asking operator.
    pub sent: Option<Head>,
    /// The last record of each of the asking operator's streams without a gap before it.
    pub received: Vec<Head>,
    /// The last record of each that came early and waits for those before it.
    #[serde(default)]
    pub waiting: Vec<Head>,
}

/// One record of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The stream that it is of: the thumbprint of its key, in hex.
    pub stream: String,
    /// Its place in the channel.
    pub sequence: u64,
    /// Its id, in hex.
    pub id: String,
}

impl Head {
    pub(crate) fn of(head: Acknowledgement) -> Self {
        Self {
            stream: head.stream.to_string(),
            sequence: head.sequence.get(),
            id: head.id.to_string(),
        }
    }

    /// The record that it names, if it names one.
    pub fn record(&self) -> Option<Acknowledgement> {
        Some(Acknowledgement {
            stream: KeyThumbprint::from_hex(&self.stream).ok()?,
            sequence: ChannelSequence::new(self.sequence),
            id: RecordId::from_hex(&self.id).ok()?,
        })
    }
}

/// A page of records.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Records {
    pub(super) records: Vec<String>,
}

/// A page of receipts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipts {
    pub(super) receipts: Vec<String>,
}

/// An operator's manifests.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifests {
    pub(super) manifests: Vec<ManifestEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManifestEntry {
    manifest: String,
    log_proof: Option<String>,
}

impl ManifestEntry {
    pub(super) fn of(logged: &LoggedManifest) -> Self {
        Self {
            manifest: encode(&logged.manifest),
            log_proof: logged.log_proof.as_deref().map(encode),
        }
    }

    pub(super) fn into_logged(self) -> Option<LoggedManifest> {
        Some(LoggedManifest {
            manifest: decode(&self.manifest)?,
            log_proof: match self.log_proof {
                Some(proof) => Some(decode(&proof)?),
                None => None,
            },
        })
    }
}

/// What is wrong.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) detail: String,
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

//! Asking other operators.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use counterfoil_enforcer::Enforcer;
use counterfoil_enforcer::call::Envelope;
use counterfoil_enforcer::environment::Environment;
use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, RecordId};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::receipt::LoggedManifest;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::authenticate::REQUEST_STALE;
use super::signature::{BodyDigest, Covered, Parameters, sign};
use super::wire::{ChannelHeads, Manifests, Problem, Receipts, Records, decode};
use crate::error::GatewayError;
use crate::evidence;
use crate::http::upstream;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Signatures state whole seconds: after one, a new one differs from one made now.
const SECOND: Duration = Duration::from_secs(1);

/// An answer that is no success.
struct Refused {
    status: StatusCode,
    problem: Option<Problem>,
}

impl Refused {
    fn code(&self) -> Option<&str> {
        self.problem.as_ref().map(|problem| problem.code.as_str())
    }
}

/// Who signs requests.
#[derive(Clone)]
pub enum Signer {
    /// A running enforcer.
    Enforcer(Enforcer),
    /// An enforcer key, where no enforcer runs in this process.
    Key(Arc<SigningKey>),
}

impl Signer {
    fn kid(&self) -> KeyThumbprint {
        match self {
            Self::Enforcer(enforcer) => enforcer.kid(),
            Self::Key(key) => key.public().thumbprint(),
        }
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        match self {
            Self::Enforcer(enforcer) => enforcer.sign_message(message),
            Self::Key(key) => key.sign(message),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.kid())
    }
}

/// Asks the exchange API of one operator, at the address in its manifest, such as
/// `https://globex.example/exchange/v1`.
#[derive(Clone, Debug)]
pub struct ExchangeClient {
    http: Client,
    operator: OperatorName,
    endpoint: Url,
    signer: Signer,
    environment: Environment,
}

impl ExchangeClient {
    /// A client for the operator at `endpoint`.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`] when the address is none, [`GatewayError::Client`].
    pub fn new(
        operator: OperatorName,
        endpoint: &str,
        signer: Signer,
        environment: Environment,
    ) -> Result<Self, GatewayError> {
        let parsed = Url::parse(endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(endpoint) = parsed else {
            return Err(GatewayError::Exchange {
                operator: operator.to_string(),
                detail: format!("`{endpoint}` is not an http or https address"),
            });
        };
        Ok(Self {
            http: upstream::client()?,
            operator,
            endpoint,
            signer,
            environment,
        })
    }

    /// The operator's manifests. They are not verified.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`].
    pub async fn manifests(&self) -> Result<Vec<LoggedManifest>, GatewayError> {
        let answer: Manifests = self.json(Method::GET, "manifests", "", None).await?;
        answer
            .manifests
            .into_iter()
            .map(|entry| entry.into_logged())
            .collect::<Option<_>>()
            .ok_or_else(|| self.error("a manifest is not strict base64".to_owned()))
    }

    /// Both heads of the channel between us, as the operator knows them.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`].
    pub async fn channel(&self) -> Result<ChannelHeads, GatewayError> {
        self.json(Method::GET, "channel", "", None).await
    }

    /// The operator's records to us, from a place in the channel. They are not verified.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`].
    pub async fn records(&self, from: u64, limit: usize) -> Result<Envelope, GatewayError> {
        self.records_by(format!("from={from}&limit={limit}")).await
    }

    /// As [`ExchangeClient::records`], of one of the operator's streams.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`], also when that stream is not served there.
    pub async fn records_of(
        &self,
        stream: KeyThumbprint,
        from: u64,
        limit: usize,
    ) -> Result<Envelope, GatewayError> {
        self.records_by(format!("stream={stream}&from={from}&limit={limit}"))
            .await
    }

    async fn records_by(&self, query: String) -> Result<Envelope, GatewayError> {
        let answer: Records = self.json(Method::GET, "records", &query, None).await?;
        let records = answer
            .records
            .iter()
            .map(|text| decode(text).map(Into::into))
            .collect::<Option<_>>()
            .ok_or_else(|| self.error("a record is not strict base64".to_owned()))?;
        Ok(Envelope {
            records,
            ..Envelope::default()
        })
    }

    /// Sends records of ours; the heads of the channel after.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`].
    pub async fn push(&self, envelope: &Envelope) -> Result<ChannelHeads, GatewayError> {
        let body = evidence::encode(envelope);
        self.json(Method::POST, "records", "", Some(body)).await
    }

    /// The disclosure of the terms of a contract that the operator has proposed to us. It is not
    /// verified.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`].
    pub async fn terms(&self, contract: ContentDigest) -> Result<Vec<u8>, GatewayError> {
        self.send(Method::GET, &format!("terms/{contract}"), "", None)
            .await
    }

    /// The receipt of one record of the operator's. It is not verified.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`].
    pub async fn receipt(&self, id: RecordId) -> Result<Vec<u8>, GatewayError> {
        self.send(Method::GET, &format!("receipts/{id}"), "", None)
            .await
    }

    /// The receipts of the operator's records to us, from a place in the channel. They are not
    /// verified.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`].
    pub async fn receipts(&self, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, GatewayError> {
        self.receipts_by(format!("from={from}&limit={limit}")).await
    }

    /// As [`ExchangeClient::receipts`], of one of the operator's streams.
    ///
    /// # Errors
    /// [`GatewayError::Exchange`], also when that stream is not served there.
    pub async fn receipts_of(
        &self,
        stream: KeyThumbprint,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, GatewayError> {
        self.receipts_by(format!("stream={stream}&from={from}&limit={limit}"))
            .await
    }

    async fn receipts_by(&self, query: String) -> Result<Vec<Vec<u8>>, GatewayError> {
        let answer: Receipts = self.json(Method::GET, "receipts", &query, None).await?;
        answer
            .receipts
            .iter()
            .map(|text| decode(text))
            .collect::<Option<_>>()
            .ok_or_else(|| self.error("a receipt is not strict base64".to_owned()))
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        name: &str,
        query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, GatewayError> {
        let answer = self.send(method, name, query, body).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| self.error(format!("its answer is malformed: {error}")))
    }

    /// Sends a request, and once more if the other side has started since it was signed.
    async fn send(
        &self,
        method: Method,
        name: &str,
        query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, GatewayError> {
        let body = body.map(Bytes::from);
        let mut refused = match self.send_once(&method, name, query, body.clone()).await? {
            Ok(answer) => return Ok(answer),
            Err(refused) => refused,
        };
        if refused.code() == Some(REQUEST_STALE) {
            tokio::time::sleep(SECOND).await;
            refused = match self.send_once(&method, name, query, body).await? {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
        }
        if refused.code() == Some("not_sealed") {
            return Err(GatewayError::NotSealed {
                operator: self.operator.to_string(),
            });
        }
        let Refused { status, problem } = refused;
        Err(self.error(match problem {
            Some(problem) => format!("{} ({}, status {status})", problem.detail, problem.code),
            None => format!("status {status}"),
        }))
    }

    async fn send_once(
        &self,
        method: &Method,
        name: &str,
        query: &str,
        body: Option<Bytes>,
    ) -> Result<Result<Vec<u8>, Refused>, GatewayError> {
        let mut url = self.endpoint.clone();
        url.set_path(&format!(
            "{}/{name}",
            self.endpoint.path().trim_end_matches('/')
        ));
        url.set_query((!query.is_empty()).then_some(query));
        let authority = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let mut nonce = [0; 16];
        self.environment.entropy.fill(&mut nonce)?;
        let covered = Covered {
            method: method.as_str(),
            authority: &authority,
            path: url.path(),
            query,
            body: body.as_deref().map(BodyDigest::of),
        };
        let parameters = Parameters {
            created: self.environment.clock.now().seconds().get(),
            kid: self.signer.kid(),
            nonce: nonce.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let signed = sign(&covered, &parameters, |base| self.signer.sign(base));
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("signature-input", Some(signed.input)),
            ("signature", Some(signed.signature)),
            ("content-digest", signed.content_digest),
        ] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let mut request = self
            .http
            .request(method.clone(), url)
            .headers(headers)
            .timeout(LIMIT);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut response = request
            .send()
            .await
            .map_err(|error| self.error(error.to_string()))?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.error(error.to_string()))?
        {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(self.error(format!("its answer is longer than {MAX_ANSWER} bytes")));
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Ok(answer));
        }
        Ok(Err(Refused {
            status,
            problem: serde_json::from_slice(&answer).ok(),
        }))
    }

    fn error(&self, detail: String) -> GatewayError {
        GatewayError::Exchange {
            operator: self.operator.to_string(),
            detail,
        }
    }
}

//! What commands ask of a log: to register manifests, and for those of others.

use std::error::Error as _;
use std::time::Duration;

use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::stock::Algorithm;
use counterfoil_tlog::text::base64_decode;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::answer::{OrProblem as _, Problem};

/// How long one request to the log may take; it waits for witnesses.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer of the log.
const MAX_ANSWER: usize = 64 << 20;

/// A client of a log node.
#[derive(Clone, Debug)]
pub(crate) struct LogClient {
    url: String,
    http: reqwest::Client,
}

/// A manifest as the log lists it.
#[derive(Debug, Deserialize)]
struct Listed {
    version: u64,
    index: u64,
    manifest: String,
}

/// An error as the log words it.
#[derive(Debug, Deserialize)]
struct Refusal {
    code: String,
    detail: String,
}

impl LogClient {
    /// A client of the log at `url`, which has no path.
    pub(crate) fn new(url: &str) -> Result<Self, Problem> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unreachable_log(url, &error))?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            http,
        })
    }

    /// Has a manifest logged; a name that is not registered yet needs the admission token.
    /// Returns the log's proof.
    pub(crate) async fn register(
        &self,
        manifest: &[u8],
        token: Option<&Zeroizing<String>>,
    ) -> Result<Vec<u8>, Problem> {
        let mut request = self
            .http
            .post(format!("{}/v1/operators", self.url))
            .body(manifest.to_vec());
        if let Some(token) = token {
            request = request.bearer_auth(token.as_str());
        }
        self.answer(request).await?.ok_or_else(|| {
            Problem::new(format!("{} is not a log: it knows no operators", self.url))
        })
    }

    /// The manifests of an operator with their proofs, oldest first, none of them verified; empty
    /// when the log knows no such operator.
    pub(crate) async fn manifests(
        &self,
        operator: &OperatorName,
    ) -> Result<Vec<LoggedManifest>, Problem> {
        let malformed = format!("the log at {} answers out of form", self.url);
        let mut manifests = Vec::new();
        let mut from = 1;
        // The log lists a bounded number at a time; the last answer is an empty one.
        loop {
            let list = format!("{}/v1/operators/{operator}?from={from}", self.url);
            let Some(list) = self.answer(self.http.get(list)).await? else {
                return Ok(Vec::new());
            };
            let list: Vec<Listed> = serde_json::from_slice(&list).at(&malformed)?;
            if list.is_empty() {
                return Ok(manifests);
            }
            for listed in list {
                if listed.version < from {
                    return Err(Problem::new(format!("{malformed}: versions go backwards")));
                }
                from = listed.version.saturating_add(1);
                let manifest = base64_decode(&listed.manifest).ok_or_else(|| {
                    Problem::new(format!("{malformed}: a manifest is not base64"))
                })?;
                let proof = format!("{}/v1/proof?index={}", self.url, listed.index);
                manifests.push(LoggedManifest {
                    manifest,
                    log_proof: self.answer(self.http.get(proof)).await?,
                });
            }
        }
    }

    /// The log's COSE receipt for the entry at `index` in its tree of `size`, not verified.
    pub(crate) async fn cose_receipt(
        &self,
        index: u64,
        size: u64,
        algorithm: Algorithm,
    ) -> Result<Vec<u8>, Problem> {
        let url = format!(
            "{}/entries/{index}?size={size}&alg={}",
            self.url,
            algorithm.number()
        );
        self.answer(self.http.get(url)).await?.ok_or_else(|| {
            Problem::new(format!(
                "the log at {} signs no COSE receipt for entry {index} in its tree of {size}",
                self.url
            ))
            .next("is it the log of this receipt? `counterfoil receipt show` names it")
        })
    }

    /// The body of an answer; none when there is nothing at that address.
    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Option<Vec<u8>>, Problem> {
        let failed = |error: reqwest::Error| unreachable_log(&self.url, &error);
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Problem::new(format!(
                    "the log at {} answers with too much",
                    self.url
                )));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Some(body));
        }
        if status == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Err(match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => {
                let problem = Problem::new(format!(
                    "the log at {} refuses: {} ({})",
                    self.url, refusal.detail, refusal.code
                ));
                match next(&refusal.code) {
                    Some(next) => problem.next(next),
                    None => problem,
                }
            }
            Err(_) => Problem::new(format!("the log at {} answers {status}", self.url)),
        })
    }
}

/// What to do about what a log answers. Spec: registries §9.
fn next(code: &str) -> Option<&'static str> {
    Some(match code {
        "admission_token" => "give the token with --token-file; the operator of the log has it",
        "timeout" => {
            "the log has taken it and waits, for its witnesses as a rule: run it again, and if it \
             stays so ask the operator of the log whether they run"
        }
        "busy" | "pool_full" | "backlog_full" | "fork_unconfirmed" | "stopping" => {
            "run it again in half a minute"
        }
        "fork_suspected" => "this log signs nothing any more: ask its operator why",
        "key_taken" => "each operator and each enforcer has a key of its own: make a new home",
        _ => return None,
    })
}

fn unreachable_log(url: &str, error: &reqwest::Error) -> Problem {
    // The error's own text hides its cause, which is what one wants to know.
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Problem::new(format!("the log at {url} cannot be reached: {text}"))
        .next("is it running? `counterfoil log serve` says where it listens")
}

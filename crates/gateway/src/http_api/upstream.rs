//! Sending a request on, and reading what comes back.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::WWW_AUTHENTICATE;
use bytes::{Bytes, BytesMut};
use reqwest::{Client, Url};
use tokio::time::timeout;

use super::reply::Reply;
use super::target::Target;
use crate::http::upstream::causes;
use crate::proxy::Executed;

/// Where the requests of one server go.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    client: Client,
    /// Without a slash at its end.
    base: String,
    /// The path in `base`, the same way.
    base_path: String,
    limit: Duration,
    max_bytes: usize,
}

/// Why there is no reply.
#[derive(Clone, Debug)]
pub(crate) struct NoReply {
    pub(crate) executed: Executed,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

impl Upstream {
    pub(crate) fn new(client: Client, url: &Url, limit: Duration, max_bytes: usize) -> Self {
        Self {
            client,
            base: url.as_str().trim_end_matches('/').to_owned(),
            base_path: url.path().trim_end_matches('/').to_owned(),
            limit,
            max_bytes,
        }
    }

    /// The address of a target, which must come out as it was asked for: what a URL parser changes
    /// is no longer what the records are about.
    pub(crate) fn url(&self, target: &Target) -> Option<Url> {
        let mut text = format!("{}{}", self.base, target.path);
        if let Some(query) = &target.query {
            text.push('?');
            text.push_str(query);
        }
        let url = Url::parse(&text).ok()?;
        let same = url.path().strip_prefix(&self.base_path) == Some(&target.path)
            && url.query() == target.query.as_deref();
        same.then_some(url)
    }

    /// Sends a request and reads the whole reply.
    pub(crate) async fn send(
        &self,
        target: &Target,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, NoReply> {
        let mut request = self
            .client
            .request(target.method.clone(), url)
            .headers(headers);
        if !body.is_empty() || matches!(target.method.as_str(), "PATCH" | "POST" | "PUT") {
            request = request.body(body);
        }
        match timeout(self.limit, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(NoReply {
                executed: Executed::Maybe,
                status: 504,
                code: "call_timed_out",
                reason: format!("the server has not answered for {} s", self.limit.as_secs()),
            }),
        }
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Reply, NoReply> {
        let mut response = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                NoReply {
                    executed: Executed::No,
                    status: 502,
                    code: "upstream_unreachable",
                    reason: format!("the server cannot be reached: {}", causes(&error)),
                }
            } else {
                lost(&error)
            }
        })?;
        let status = response.status().as_u16();
        let mut headers = response.headers().clone();
        // What the server wants to know of the gateway is not the caller's business.
        headers.remove(WWW_AUTHENTICATE);
        let too_large = || NoReply {
            executed: Executed::Maybe,
            status: 502,
            code: "upstream_answer_too_large",
            reason: format!(
                "the server's answer is longer than {} bytes",
                self.max_bytes
            ),
        };
        if response
            .content_length()
            .is_some_and(|length| length > self.max_bytes as u64)
        {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
            if body.len() + chunk.len() > self.max_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status,
            headers,
            body: body.freeze(),
        })
    }
}

fn lost(error: &reqwest::Error) -> NoReply {
    NoReply {
        executed: Executed::Maybe,
        status: 502,
        code: "upstream_lost",
        reason: format!("the connection to the server was lost: {}", causes(error)),
    }
}

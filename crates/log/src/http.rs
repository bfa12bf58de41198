//! The log over HTTP: c2sp.org/tlog-tiles to read, our own few endpoints to write.

use std::{net::SocketAddr, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use axum::{
    Json, Router,
    extract::{Path as UrlPath, Query, State, rejection::QueryRejection},
    http::{
        HeaderMap,
        header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
    },
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use counterfoil_protocol::{digest::KeyThumbprint, manifest::UnverifiedManifest};
use counterfoil_tlog::{
    note::VerifierKey,
    text::{base64_encode, parse_decimal},
    tile::ResourcePath,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    Clock, Error, Refusal,
    config::Config,
    database::SqliteLock,
    door::{self, EntryBody},
    fork,
    lock::SignedHead,
    node::{FailOnPanic, Node},
    pool::{Place, internal},
    publish, read, scrapi,
    sequencer::Sequencer,
    store::{self, FileStore},
    witnesses::{self, Witness},
};

const PLAIN: &str = "text/plain; charset=utf-8";

/// How long a stopping log waits for requests that do not end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A log that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    node: Arc<Node>,
    sequencer: Sequencer<FileStore, SqliteLock>,
    witnesses: Vec<Witness>,
}

impl Server {
    /// Opens the log in `directory`, finishes what a crash has cut short, and listens where its
    /// configuration says.
    ///
    /// # Errors
    ///
    /// [`Error`] naming what is missing, wrong, in use or contradictory.
    pub async fn bind(directory: &Path, clock: Clock) -> Result<Self, Error> {
        let config = Config::read(directory)?;
        let (node, sequencer) = Node::open(directory, &config, clock)?;
        let witnesses =
            witnesses::of_policy(&node.policy, config.limits.witness()).map_err(Error::System)?;
        let signed = node.signed.borrow().clone();
        if witnesses.is_empty() && node.published.borrow().as_ref() != Some(&signed) {
            // Nobody to wait for: whoever connects finds a checkpoint.
            node.publish(signed)?;
        }
        let failed = |source| Error::Listen {
            address: config.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            node,
            sequencer,
            witnesses,
        })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The public key of the log. Its name is the origin.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.node.key
    }

    /// Runs until `shutdown` resolves. Then it takes nothing more, sequences what it has taken,
    /// and answers whoever still waits.
    ///
    /// # Errors
    ///
    /// The fault that stopped the log, if one did. The process must end then and start again.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let Self {
            listener,
            address: _,
            node,
            sequencer,
            witnesses,
        } = self;
        let work = tokio::spawn({
            let node = Arc::clone(&node);
            async move {
                let _guard = FailOnPanic(Arc::clone(&node));
                work(node, sequencer, witnesses).await
            }
        });
        let stop = {
            let node = Arc::clone(&node);
            async move {
                tokio::select! {
                    () = shutdown => {}
                    () = node.failed() => {}
                }
                node.pool.stop(Refusal::Stopping);
                node.stopping.send_replace(true);
            }
        };
        tokio::spawn(stop);
        let serve = counterfoil_listener::serve(
            listener,
            router(Arc::clone(&node)),
            door::CONNECTIONS,
            node.stopping.subscribe(),
        );
        let mut stopping = node.stopping.subscribe();
        let patience = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            () = serve => {}
            () = patience => {}
        }
        if let Ok(Some(sequencer)) = work.await {
            // Ends when the pool is empty.
            let _ = tokio::task::spawn_blocking(move || sequencer.join()).await;
        }
        // Of what was given up, some may still be at its file. The directory is free after this.
        node.blocking.close();
        node.blocking.wait().await;
        node.failure().map_or(Ok(()), Err)
    }
}

/// Asks the witnesses what they have seen, then publishes, and sequences once they have confirmed
/// that there is nothing newer, until the log stops. Returns the sequencer's thread, if it was
/// started.
async fn work(
    node: Arc<Node>,
    sequencer: Sequencer<FileStore, SqliteLock>,
    witnesses: Vec<Witness>,
) -> Option<JoinHandle<()>> {
    if let Some(contradiction) = fork::ask_all(&node, &witnesses).await {
        node.suspect_fork(contradiction);
        return None;
    }
    let publish = publish::run(Arc::clone(&node), witnesses);
    tokio::pin!(publish);
    let mut confirmed = node.confirmed.subscribe();
    let confirmed = tokio::select! {
        biased;
        _ = confirmed.wait_for(|confirmed| *confirmed) => true,
        () = &mut publish => false,
    };
    if !confirmed {
        // Nothing of what is pooled will be logged.
        node.pool.abandon(Refusal::Stopping);
        return None;
    }
    let thread = match node.spawn_sequencer(sequencer) {
        Ok(thread) => thread,
        Err(error) => {
            node.fail(error);
            return None;
        }
    };
    publish.await;
    Some(thread)
}

fn router(node: Arc<Node>) -> Router {
    let places = Arc::new(Semaphore::new(
        node.limits.requests.min(Semaphore::MAX_PERMITS),
    ));
    Router::new()
        .route("/add", post(add))
        .route("/v1/entries", post(entries))
        .route("/v1/operators", post(operators))
        .merge(scrapi::writing())
        .route_layer(middleware::from_fn_with_state(places, door::enter))
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .route("/v1/proof", get(proof))
        .route("/v1/operators/{name}", get(operator))
        .route("/v1/streams/{kid}", get(stream))
        .merge(scrapi::reading())
        .with_state(node)
}

/// What a request for a proof waits for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wait {
    Integrated,
    #[default]
    Published,
    Witnessed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryQuery {
    #[serde(default)]
    wait: Wait,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofQuery {
    index: String,
}

/// Most manifests in one answer; each can be as large as an entry.
const LIST_LIMIT: u64 = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// The first version that is wanted.
    from: Option<String>,
    limit: Option<String>,
}

type Shared = State<Arc<Node>>;

async fn checkpoint(State(node): Shared) -> Result<Response, Refusal> {
    let note = node
        .published
        .borrow()
        .as_ref()
        .map(|published| published.note.to_string());
    let note = note.ok_or(Refusal::NotFound("published checkpoint"))?;
    Ok(([(CONTENT_TYPE, PLAIN), (CACHE_CONTROL, "max-age=1")], note).into_response())
}

async fn tile(State(node): Shared, UrlPath(path): UrlPath<String>) -> Result<Response, Refusal> {
    let resource =
        ResourcePath::parse(&format!("tile/{path}")).map_err(|_| Refusal::NotFound("tile"))?;
    let found = blocking(&node, move |node| match resource {
        ResourcePath::Tile(id) => store::tile(&node.store, id).map_err(internal),
        ResourcePath::Bundle(id) => store::bundle(&node.store, id).map_err(internal),
    });
    let content = found.await?.ok_or(Refusal::NotFound("tile"))?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, content).into_response())
}

async fn add(State(node): Shared, EntryBody(body): EntryBody) -> Result<Response, Refusal> {
    let deadline = Instant::now() + node.limits.wait();
    let index = take_in(&node, body, false, deadline).await?;
    check_shown(&node, index + 1)?;
    Ok(([(CONTENT_TYPE, PLAIN)], format!("{index}\n")).into_response())
}

async fn entries(
    State(node): Shared,
    query: Result<Query<EntryQuery>, QueryRejection>,
    EntryBody(body): EntryBody,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::Request(error.body_text()))?;
    if matches!(query.wait, Wait::Witnessed) && !node.policy.needs_witnesses() {
        return Err(Refusal::NoWitnesses);
    }
    submit(&node, body, false, query.wait).await
}

async fn operators(
    State(node): Shared,
    headers: HeaderMap,
    EntryBody(body): EntryBody,
) -> Result<Response, Refusal> {
    UnverifiedManifest::parse(&body).map_err(Refusal::Malformed)?;
    let token = match headers.get(AUTHORIZATION).map(|value| value.to_str()) {
        None => false,
        Some(Ok(value))
            if value
                .strip_prefix("Bearer ")
                .is_some_and(|t| node.is_token(t)) =>
        {
            true
        }
        Some(_) => return Err(Refusal::Unauthorized),
    };
    submit(&node, body, token, Wait::Published).await
}

async fn proof(
    State(node): Shared,
    query: Result<Query<ProofQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::Request(error.body_text()))?;
    let index = parse_decimal(&query.index)
        .ok_or_else(|| Refusal::Request(format!("`{}` is not an index", query.index)))?;
    let published = node.published.borrow().clone();
    let size = published
        .as_ref()
        .map_or(0, |published| published.head.size);
    match published.filter(|_| index < size) {
        Some(published) => inclusion(&node, index, published).await,
        None => Err(Refusal::NotCovered { index, size }),
    }
}

async fn operator(
    State(node): Shared,
    UrlPath(name): UrlPath<String>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::Request(error.body_text()))?;
    let number = |text: Option<String>, default| match text {
        None => Ok(default),
        Some(text) => parse_decimal(&text)
            .ok_or_else(|| Refusal::Request(format!("`{text}` is not a number"))),
    };
    let (from, limit) = (number(query.from, 0)?, number(query.limit, LIST_LIMIT)?);
    if limit == 0 || limit > LIST_LIMIT {
        return Err(Refusal::Request(format!("the limit is 1 to {LIST_LIMIT}")));
    }
    let rows = blocking(&node, move |node| {
        let reader = node.reader();
        let rows = reader.manifests_of(&name, from, limit).map_err(internal)?;
        // Nothing after the last version is an answer, an operator that is not there is not.
        let known = !rows.is_empty()
            || !reader
                .manifests_of(&name, 0, 1)
                .map_err(internal)?
                .is_empty();
        known.then_some(rows).ok_or(Refusal::NotFound("operator"))
    })
    .await?;
    let list: Vec<_> = rows
        .iter()
        .map(|row| {
            let manifest = base64_encode(&row.content);
            json!({ "version": row.version, "index": row.index, "manifest": manifest })
        })
        .collect();
    Ok(Json(list).into_response())
}

async fn stream(State(node): Shared, UrlPath(kid): UrlPath<String>) -> Result<Response, Refusal> {
    let kid = KeyThumbprint::from_hex(&kid).map_err(|error| Refusal::Request(error.to_string()))?;
    let row = blocking(&node, move |node| {
        node.reader().stream(&kid).map_err(internal)
    })
    .await?;
    let row = row.ok_or(Refusal::NotFound("stream"))?;
    let answer = json!({
        "operator": row.operator,
        "batches": row.batches,
        "records": row.records,
        "last_commitment": row.last_commitment.map(|digest| digest.to_string()),
        "last_index": row.last_index,
    });
    Ok(Json(answer).into_response())
}

/// Takes an entry in, waits as long as asked, and answers with a proof.
async fn submit(
    node: &Arc<Node>,
    content: Vec<u8>,
    token: bool,
    wait: Wait,
) -> Result<Response, Refusal> {
    let deadline = Instant::now() + node.limits.wait();
    let index = take_in(node, content, token, deadline).await?;
    let covering = match wait {
        Wait::Integrated => node.signed.borrow().clone(),
        Wait::Published => covering(node, &node.published, index, deadline, "published").await?,
        Wait::Witnessed => covering(node, &node.witnessed, index, deadline, "witnessed").await?,
    };
    let answer = inclusion(node, index, covering.clone()).await?;
    // Looked at last, so that nothing was signed or found out since.
    check_shown(node, covering.head.size)?;
    Ok(answer)
}

/// Once a fork is suspected only what was published before is shown.
pub(crate) fn check_shown(node: &Node, size: u64) -> Result<(), Refusal> {
    let Some(reason) = node.fork.borrow().clone() else {
        return Ok(());
    };
    let published = node.published.borrow();
    if published.as_ref().is_some_and(|it| it.head.size >= size) {
        Ok(())
    } else {
        Err(Refusal::ForkSuspected(reason))
    }
}

/// Has an entry logged, or finds that it is. Returns its index.
pub(crate) async fn take_in(
    node: &Arc<Node>,
    content: Vec<u8>,
    token: bool,
    deadline: Instant,
) -> Result<u64, Refusal> {
    match blocking(node, move |node| node.pool.submit(content, token)).await? {
        Place::Logged(index) => Ok(index),
        Place::Pooled(logged) => match tokio::time::timeout_at(deadline, logged).await {
            Ok(Ok(index)) => Ok(index),
            // Dropped without an answer: the log has stopped before the entry was logged.
            Ok(Err(_)) => Err(node.pool.stopped().unwrap_or(Refusal::Stopping)),
            Err(_) if !*node.confirmed.borrow() => Err(Refusal::ForkUnconfirmed),
            Err(_) => Err(Refusal::NotLogged),
        },
    }
}

/// Waits for a checkpoint that covers an entry.
pub(crate) async fn covering(
    node: &Node,
    checkpoints: &watch::Sender<Option<SignedHead>>,
    index: u64,
    deadline: Instant,
    what: &'static str,
) -> Result<SignedHead, Refusal> {
    let mut checkpoints = checkpoints.subscribe();
    let mut stopping = node.stopping.subscribe();
    let mut fork = node.fork.subscribe();
    let covers = |checkpoint: &Option<SignedHead>| {
        checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.head.size > index)
    };
    let waited = tokio::select! {
        biased;
        covering = checkpoints.wait_for(covers) => covering.ok().and_then(|covering| covering.clone()),
        () = tokio::time::sleep_until(deadline) => {
            return Err(Refusal::Timeout { index, what });
        }
        fork = fork.wait_for(Option::is_some) => {
            let reason = fork.ok().and_then(|fork| fork.clone()).unwrap_or_default();
            return Err(Refusal::ForkSuspected(reason));
        }
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    waited.ok_or(Refusal::Stopping)
}

async fn inclusion(
    node: &Arc<Node>,
    index: u64,
    covering: SignedHead,
) -> Result<Response, Refusal> {
    let found = blocking(node, move |node| {
        read::inclusion(&node.store, index, &covering).map_err(internal)
    });
    Ok(([(CONTENT_TYPE, PLAIN)], found.await?.to_string()).into_response())
}

/// As [`Node::blocking`], for a request.
pub(crate) async fn blocking<T: Send + 'static>(
    node: &Arc<Node>,
    task: impl FnOnce(&Arc<Node>) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    node.blocking(task)
        .await
        .unwrap_or_else(|error| Err(internal(error)))
}

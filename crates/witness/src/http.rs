//! The two endpoints of c2sp.org/tlog-witness.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path as UrlPath, Request, State},
    http::{
        StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use counterfoil_listener::{BodyError, Full, Limits, receive};
use counterfoil_tlog::witness;
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore, watch},
};
use tokio_util::task::TaskTracker;

use crate::{Clock, Error, Refusal, Witness, config::Config};

/// Bounds of connections. Every request ends soon, so that whoever finds no room gets some.
const CONNECTIONS: Limits = Limits::new(256, Full::Wait);

/// Largest request: room for 63 proof lines and many signatures that are not ours.
const BODY_LIMIT: usize = 128 * 1024;

/// Most requests to cosign at the same time; a log has one under way. Beyond it the answer is 503.
const REQUESTS: usize = 64;

/// How long the body of a request may take to arrive before the answer is 408.
const BODY_PATIENCE: Duration = Duration::from_secs(5);

/// How long a stopping witness waits for requests that do not end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A witness that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    witness: Witness,
    clock: Clock,
    storage_failed: Notify,
    places: Arc<Semaphore>,
    blocking: TaskTracker,
}

impl Server {
    /// Opens the witness in `directory` and listens where its configuration says.
    ///
    /// # Errors
    ///
    /// [`Error`] naming the file that is missing, wrong or in use, or the address.
    pub async fn bind(directory: &Path, clock: Clock) -> Result<Self, Error> {
        let config = Config::read(directory)?;
        let witness = Witness::open(directory, &config)?;
        let failed = |source| Error::Listen {
            address: config.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Shared {
            witness,
            clock,
            storage_failed: Notify::new(),
            places: Arc::new(Semaphore::new(REQUESTS)),
            blocking: TaskTracker::new(),
        };
        Ok(Self {
            listener,
            address,
            shared: Arc::new(shared),
        })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The witness that answers.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.shared.witness
    }

    /// Answers requests until `shutdown` resolves, then finishes those that are under way.
    ///
    /// # Errors
    ///
    /// [`Error::Commit`] if a checkpoint could not be stored: the process must end and start
    /// again, because only then it is known what is on the disk.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let (stopping, mut stopped) = watch::channel(false);
        let stop = async move {
            tokio::select! {
                () = shutdown => {}
                () = shared.storage_failed.notified() => {}
            }
            stopping.send_replace(true);
        };
        let serving = stopped.clone();
        let patience = async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
            tokio::time::sleep(PATIENCE).await;
        };
        let router = Router::new()
            .route("/add-checkpoint", post(add_checkpoint))
            .route("/{origin_hash}/checkpoint", get(checkpoint))
            .with_state(Arc::clone(&self.shared));
        tokio::spawn(stop);
        let serve = counterfoil_listener::serve(self.listener, router, CONNECTIONS, serving);
        tokio::select! {
            () = serve => {}
            () = patience => {}
        }
        // A client that hung up does not wait for what it has had stored; the directory does.
        self.shared.blocking.close();
        self.shared.blocking.wait().await;
        self.shared.witness.failure().map_or(Ok(()), Err)
    }
}

async fn add_checkpoint(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    // Held until the checkpoint is stored, even if the client hangs up before.
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        let body = "busy: too many requests at the same time\n".to_owned();
        let answer = text(StatusCode::SERVICE_UNAVAILABLE, body);
        return ([(RETRY_AFTER, "1")], answer).into_response();
    };
    let body = match receive(request.into_body(), BODY_LIMIT, BODY_PATIENCE).await {
        Ok(body) => body,
        Err(error) => return refuse_body(&error),
    };
    // On a thread of its own, which also keeps going when the client hangs up: what is being
    // stored must reach the witness's memory too.
    let task = Arc::clone(&shared).blocking.spawn_blocking(move || {
        let _place = place;
        let result = shared.witness.add_checkpoint(&body, (shared.clock)());
        if matches!(result, Err(Refusal::Storage(_))) {
            shared.storage_failed.notify_one();
        }
        result
    });
    match task.await {
        Ok(Ok(cosigned)) => {
            tracing::debug!(origin = %cosigned.origin, size = cosigned.size, "cosigned");
            text(StatusCode::OK, cosigned.cosignature.to_string())
        }
        Ok(Err(refusal)) => refuse(&refusal),
        Err(error) => {
            tracing::error!(%error, "request failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn checkpoint(
    State(shared): State<Arc<Shared>>,
    UrlPath(origin_hash): UrlPath<String>,
) -> Response {
    match shared.witness.latest(&format!("{origin_hash}/checkpoint")) {
        Some(note) => text(StatusCode::OK, note.to_string()),
        None => text(
            StatusCode::NOT_FOUND,
            "not_found: no checkpoint of such a log\n".into(),
        ),
    }
}

fn refuse(refusal: &Refusal) -> Response {
    let status =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match refusal {
        Refusal::Rule(rule) => {
            if matches!(rule, witness::Refusal::Inconsistent(_)) {
                tracing::warn!(%rule, "a log may show two histories");
            }
            (status, [(CONTENT_TYPE, rule.content_type())], rule.body()).into_response()
        }
        other => {
            if status.is_server_error() {
                tracing::error!(refusal = %other, "checkpoint not cosigned");
            }
            text(status, format!("{other}\n"))
        }
    }
}

fn refuse_body(error: &BodyError) -> Response {
    let (status, code) = match error {
        BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        BodyError::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "slow_body"),
        BodyError::Broken(_) => (StatusCode::BAD_REQUEST, "malformed_request"),
    };
    text(status, format!("{code}: {error}\n"))
}

fn text(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

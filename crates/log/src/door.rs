//! What keeps strangers from filling the log with requests, connections and bodies that never end.
//!
//! Proofs and tiles are cheap and can be cached by whoever stands in front of the log. A submission
//! holds an entry in memory and waits, so there is a bound on how many do at the same time. It is
//! checked before the body is read.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequest, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{Refusal, node::Node};

/// Most connections at the same time; more wait to be accepted.
const CONNECTIONS: usize = 1_024;

/// How long a connection may take to send the head of its next request.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait after a connection could not be accepted, which is for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Answers connections until `stopping` becomes true, then finishes the requests under way.
pub(crate) async fn serve(listener: TcpListener, router: Router, stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = until_true(stopping.clone()) => break,
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = answer(stream, router.clone(), stopping.clone());
                    connections.spawn(async move {
                        let _place = place;
                        connection.await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn until_true(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|flag| *flag).await;
}

async fn answer(stream: TcpStream, router: Router, stopping: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // What goes wrong on a connection is the client's to notice.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = until_true(stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Lets a request in if there is room, and holds its place until it is answered.
pub(crate) async fn enter(
    State(places): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Response {
    match places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => Refusal::Busy.into_response(),
    }
}

/// The body of a request, read within a bounded time.
#[derive(Debug)]
pub(crate) struct EntryBody(pub(crate) Vec<u8>);

impl FromRequest<Arc<Node>> for EntryBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, node: &Arc<Node>) -> Result<Self, Refusal> {
        let body = Bytes::from_request(request, node);
        match tokio::time::timeout(node.limits.body(), body).await {
            Ok(Ok(bytes)) => Ok(Self(bytes.into())),
            Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Refusal::TooLarge)
            }
            Ok(Err(error)) => Err(Refusal::Request(error.body_text())),
            Err(_) => Err(Refusal::SlowBody),
        }
    }
}

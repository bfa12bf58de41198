//! The loop that accepts connections, and what becomes of each.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use crate::stall::Stalling;

/// How long to wait after a connection could not be accepted, which is for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Most connections at the same time that are only told that there is no room.
const TURNED_AWAY: usize = 64;

/// How long a connection that is turned away may take to send the head of its request.
const TURNED_AWAY_HEAD: Duration = Duration::from_secs(5);

/// What the clients of a listener may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at the same time.
    pub connections: usize,
    /// What happens to those beyond.
    pub full: Full,
    /// How long a connection may take until it has sent the head of its next request, idle or not.
    pub head: Duration,
    /// How long a client may read nothing of what is written to it.
    pub stall: Duration,
}

impl Limits {
    /// So many connections, and 30 s each for a head and for a client that does not read.
    #[must_use]
    pub const fn new(connections: usize, full: Full) -> Self {
        Self {
            connections,
            full,
            head: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}

/// What happens to connections for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// They wait to be accepted. Right where every request ends soon.
    Wait,
    /// Their request is answered with 503 and `Retry-After`. Right where answers may stay open
    /// for hours, and a client would not learn why it waits.
    Refuse,
}

/// Answers connections until `stopping` becomes true, then finishes the requests under way.
/// Dropping the future cuts them off.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stopping: watch::Receiver<bool>,
) {
    let doors = Doors::new(limits);
    let away = Router::new().fallback(no_room);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = until_true(stopping.clone()) => break,
            accepted = doors.accept(&listener) => match accepted {
                Ok((stream, place)) => {
                    let (router, head) = match place {
                        Place::Inside(_) => (router.clone(), limits.head),
                        Place::Outside(_) => (away.clone(), limits.head.min(TURNED_AWAY_HEAD)),
                    };
                    let keep_alive = matches!(place, Place::Inside(_));
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new())
                        .header_read_timeout(head)
                        .keep_alive(keep_alive);
                    let stream = Stalling::new(stream, limits.stall);
                    let connection = answer(http, stream, router, stopping.clone());
                    connections.spawn(async move {
                        let _place = place;
                        connection.await;
                    });
                }
                // The client has hung up already.
                Err(error) if is_of_one_connection(&error) => {}
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

/// Room for connections.
struct Doors {
    inside: Arc<Semaphore>,
    outside: Option<Arc<Semaphore>>,
}

/// A connection's place, which is free again when it ends.
enum Place {
    Inside(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit),
    Outside(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit),
}

impl Doors {
    fn new(limits: Limits) -> Self {
        let room = |places| Arc::new(Semaphore::new(places));
        Self {
            inside: room(limits.connections.min(Semaphore::MAX_PERMITS)),
            outside: (limits.full == Full::Refuse).then(|| room(TURNED_AWAY)),
        }
    }

    /// The next connection for which there is a place. Loses none when cancelled.
    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, Place)> {
        let closed = |_| io::Error::other("the listener is closed");
        let inside = || Arc::clone(&self.inside);
        let place = match &self.outside {
            None => Place::Inside(inside().acquire_owned().await.map_err(closed)?),
            Some(outside) => tokio::select! {
                biased;
                place = inside().acquire_owned() => Place::Inside(place.map_err(closed)?),
                place = Arc::clone(outside).acquire_owned() => {
                    Place::Outside(place.map_err(closed)?)
                }
            },
        };
        let (stream, _) = listener.accept().await?;
        // Answers are small; none waits for another to fill a packet.
        let _ = stream.set_nodelay(true);
        // There may be room by now.
        Ok(match (place, inside().try_acquire_owned()) {
            (Place::Outside(_), Ok(place)) => (stream, Place::Inside(place)),
            (place, _) => (stream, place),
        })
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

async fn answer(
    http: http1::Builder,
    stream: Stalling,
    router: Router,
    stopping: watch::Receiver<bool>,
) {
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // What goes wrong on a connection is the client's to notice.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = until_true(stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn no_room() -> Response {
    let reason = "busy: too many connections at the same time\n";
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(RETRY_AFTER, "5")],
        reason,
    )
        .into_response()
}

async fn until_true(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|flag| *flag).await;
}

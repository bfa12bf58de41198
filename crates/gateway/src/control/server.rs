//! Answering over the socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use tokio::net::{UnixListener, UnixSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{
    Accept, Contracts, ControlError, Deny, End, Export, MAX_BODY, MakeStatement, Operated,
    Operation, Propose, Status,
};
use crate::error::GatewayError;
use crate::home::Home;
use crate::proxy::Gate;

/// How many may wait to be taken in.
const BACKLOG: u32 = 64;
/// How long operations under way may take when the gateway stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// All operations.
fn routes() -> Routes {
    Routes::default()
        .with::<Status>()
        .with::<MakeStatement>()
        .with::<Deny>()
        .with::<Propose>()
        .with::<Accept>()
        .with::<End>()
        .with::<Contracts>()
        .with::<Export>()
}

/// The socket of a running gateway. Only its owner may use it.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers on the socket of `home` from now on. The caller holds the lock of the home, so that
    /// a socket that lies there already is one that nobody serves.
    ///
    /// # Errors
    /// [`GatewayError::Listen`].
    pub fn start(home: &Home, gate: &Gate) -> Result<Self, GatewayError> {
        let path = home.control_socket();
        let listener = bind(&path).map_err(|error| GatewayError::Listen {
            address: path.display().to_string(),
            error: error.to_string(),
        })?;
        let served = match gate {
            Gate::Open(enforcer) => Ok(Operated {
                enforcer: enforcer.clone(),
                home: home.clone(),
            }),
            Gate::Refusing { code, detail } => Err(ControlError::new(code.as_str(), detail)),
        };
        let router = routes().0.with_state(Arc::new(served));
        let (stop, mut stopped) = watch::channel(false);
        let stopping = async move {
            // Whoever dropped the sender wants it to end too.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let task = tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(stopping);
            if let Err(error) = serving.await {
                tracing::error!(%error, "the control socket has ended");
            }
        });
        Ok(Self { path, stop, task })
    }

    /// Takes nothing new, lets what is under way finish for a while, and removes the socket.
    pub async fn stop(mut self) {
        // Nobody can connect any more; who is connected still gets an answer.
        let _ = fs::remove_file(&self.path);
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_LIMIT, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}

/// Binds the socket so that nobody else can connect to it at any time.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("there is a file of this name")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Before it listens: nobody has connected yet.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)
}

type Served = Arc<Result<Operated, ControlError>>;

#[derive(Default)]
struct Routes(Router<Served>);

impl Routes {
    fn with<O: Operation>(self) -> Self {
        let route = post(answer::<O>).layer(DefaultBodyLimit::max(MAX_BODY));
        Self(self.0.route(&format!("/v1/{}", O::NAME), route))
    }
}

async fn answer<O: Operation>(State(served): State<Served>, Json(operation): Json<O>) -> Response {
    // Whoever asked may go away: what was begun is finished all the same.
    let work = tokio::spawn(async move {
        match served.as_ref() {
            Ok(operated) => operation.run(operated).await,
            Err(refusing) => Err(refusing.clone()),
        }
    });
    match work.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error)) => (StatusCode::CONFLICT, Json(error)).into_response(),
        Err(error) => {
            let error = ControlError::new("internal_error", error.to_string());
            (StatusCode::INTERNAL_SERVER_ERROR, Json(error)).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Asked, ask};
    use counterfoil_protocol::names::ReasonCode;

    fn refusing() -> Gate {
        Gate::Refusing {
            code: ReasonCode::literal("journal_unavailable"),
            detail: "the journal is gone".to_owned(),
        }
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_goes_when_the_gateway_goes() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        assert!(matches!(ask(&home, &Status {}).await, Ok(Asked::Nobody)));
        let server = Server::start(&home, &refusing()).unwrap();
        let path = home.control_socket();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = ask(&home, &Status {}).await.unwrap_err();
        assert_eq!(error.code, "journal_unavailable");
        assert_eq!(error.detail, "the journal is gone");
        server.stop().await;
        assert!(!path.exists());
        assert!(matches!(ask(&home, &Status {}).await, Ok(Asked::Nobody)));
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_gateway_left_is_replaced_and_any_other_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let path = home.control_socket();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(matches!(ask(&home, &Status {}).await, Ok(Asked::Nobody)));
        let server = Server::start(&home, &refusing()).unwrap();
        assert!(ask(&home, &Status {}).await.is_err());
        server.stop().await;

        fs::write(&path, "precious").unwrap();
        assert!(Server::start(&home, &refusing()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}

//! The listener: MCP, HTTP APIs, A2A agents and the exchange API on one address.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use counterfoil_listener::{Full, Limits};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::a2a;
use crate::config::Config;
use crate::error::GatewayError;
use crate::exchange::{self, Errands, Exchange, Pushed};
use crate::http::{self, Addresses, Service};
use crate::http_api::{self, Api};
use crate::proxy::Gate;

/// How long calls in flight may take when the gateway is told to stop.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Bounds of connections. Streams of events stay open for as long as an agent listens, so that
/// whoever finds no room is told so.
const CONNECTIONS: Limits = Limits::new(1_024, Full::Refuse);

/// How long clients get to read the last answers, once the calls in flight were cut off.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// A gateway that listens and does not answer yet.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    service: Arc<Service>,
    router: Router,
}

impl Gateway {
    /// Reads the agents' tokens and binds the listener. Port 0 takes a free one.
    ///
    /// With the directory of our `manifests`, and a gate that is open, other operators can use
    /// the exchange API.
    ///
    /// # Errors
    /// [`GatewayError::Listen`], and what reading the tokens says.
    pub async fn bind(
        config: &Config,
        gate: Gate,
        manifests: Option<&Path>,
    ) -> Result<Self, GatewayError> {
        let failed = |error: std::io::Error| GatewayError::Listen {
            address: config.gateway.listen.to_string(),
            error: error.to_string(),
        };
        let listener = TcpListener::bind(config.gateway.listen)
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let errands = gate
            .enforcer()
            .map(|enforcer| Errands::start(enforcer.clone()).0);
        let enforcer = gate.enforcer().cloned();
        let addresses = Addresses::new(&config.gateway, address.port());
        let pushed = Pushed::default();
        let api = Api::new(
            config,
            gate.clone(),
            errands.clone(),
            addresses.clone(),
            pushed.clone(),
        )?;
        let others = a2a::Service::new(config, gate.clone(), errands.clone(), addresses.clone())?;
        let service = Arc::new(Service::new(config, gate, errands, addresses.clone())?);
        let mut router = http::router(Arc::clone(&service))
            .merge(http_api::router(Arc::new(api)))
            .merge(a2a::router(Arc::new(others)));
        if let (Some(enforcer), Some(manifests)) = (enforcer, manifests) {
            router = router.merge(exchange::router(Arc::new(Exchange::new(
                enforcer,
                manifests.to_owned(),
                addresses,
                config.gateway.freshness,
                pushed,
            ))));
        }
        Ok(Self {
            listener,
            address,
            service,
            router,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is done; then takes nothing new, lets calls in flight finish for at
    /// most `limit`, and ends the servers it runs. Calls that are cut off have an outcome.
    ///
    /// # Errors
    /// [`GatewayError::Listen`] when the listener ends by itself.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
        limit: Duration,
    ) -> Result<(), GatewayError> {
        let (stopping, stopped) = watch::channel(false);
        let serving = counterfoil_listener::serve(self.listener, self.router, CONNECTIONS, stopped);
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {
                return Err(GatewayError::Listen {
                    address: self.address.to_string(),
                    error: "the listener has ended".to_owned(),
                });
            }
            () = stop => {}
        }
        stopping.send_replace(true);
        self.service.stop_listening();
        let finished = tokio::time::timeout(limit, &mut serving).await.is_ok();
        self.service.close();
        if !finished {
            tracing::warn!("calls were still in flight at the end");
            let _ = tokio::time::timeout(LAST_ANSWERS, serving).await;
        }
        Ok(())
    }
}

/// Done when the process is asked to stop: ctrl-c or SIGTERM.
pub async fn asked_to_stop() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

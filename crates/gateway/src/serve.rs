//! The listener: MCP and the exchange API on one address.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::error::GatewayError;
use crate::exchange::{self, Errands, Exchange};
use crate::http::{self, Service};
use crate::proxy::Gate;

/// How long calls in flight may take when the gateway is told to stop.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);

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
        let service = Arc::new(Service::new(config, gate, errands, address.port())?);
        let mut router = http::router(Arc::clone(&service));
        if let (Some(enforcer), Some(manifests)) = (enforcer, manifests) {
            router = router.merge(exchange::router(Arc::new(Exchange::new(
                enforcer,
                manifests.to_owned(),
                service.addresses().clone(),
                config.gateway.freshness,
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
    /// [`GatewayError::Listen`] when the listener fails.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
        limit: Duration,
    ) -> Result<(), GatewayError> {
        let failed = |error: std::io::Error| GatewayError::Listen {
            address: self.address.to_string(),
            error: error.to_string(),
        };
        let (stopping, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(self.listener, self.router).with_graceful_shutdown(async move {
            stop.await;
            let _ = stopping.send(());
        });
        let mut serving = tokio::spawn(async move { serving.await });
        let early = tokio::select! {
            ended = &mut serving => Some(ended),
            _ = stopped => None,
        };
        if early.is_none() {
            self.service.stop_listening();
        }
        let ended = match early {
            Some(ended) => Ok(ended),
            None => tokio::time::timeout(limit, &mut serving).await,
        };
        let result = match ended {
            Ok(Ok(result)) => result.map_err(failed),
            Ok(Err(_)) => Ok(()),
            Err(_) => {
                tracing::warn!("calls were still in flight at the end");
                serving.abort();
                Ok(())
            }
        };
        self.service.close();
        result
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

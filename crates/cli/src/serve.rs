//! What all commands that keep running have in common.

use std::io::{self, Write as _};
use std::net::SocketAddr;

use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use crate::answer::{OrProblem as _, Problem};

/// A runtime for commands that need one.
pub(crate) fn runtime() -> Result<Runtime, Problem> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .at("cannot start")
}

/// Tells whoever started us that requests are answered now, and where.
pub(crate) fn announce(address: SocketAddr, json: bool) -> Result<(), Problem> {
    let mut out = io::stdout();
    if json {
        writeln!(
            out,
            "{}",
            json!({ "listening": format!("http://{address}") })
        )?;
    } else {
        writeln!(out, "listening on {address}")?;
    }
    Ok(out.flush()?)
}

/// Resolves when the process is asked to end: by ctrl-c or by SIGTERM.
pub(crate) async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

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

/// Resolves when the process is asked to end: by ctrl-c or by SIGTERM. From this call on neither
/// ends it by itself, so it must be made before anybody is told that the process is ready.
pub(crate) fn asked_to_end() -> Result<impl Future<Output = ()> + Send + 'static, Problem> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).at("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).at("cannot listen for signals")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

//! Asking a running gateway over its socket.

use std::io;
use std::time::Duration;

use reqwest::Client;
use tokio::net::UnixStream;

use super::{ControlError, MAX_BODY, Operation};
use crate::home::Home;

/// How long an answer may take: operations that talk to other operators or wait for witnesses take
/// a while.
const LIMIT: Duration = Duration::from_secs(300);

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<T> {
    /// A running gateway.
    Running(T),
    /// None runs in this home.
    Nobody,
}

/// Asks the gateway that runs in `home`, if one does.
///
/// # Errors
/// What the gateway says, or that it did not answer.
pub async fn ask<O: Operation>(
    home: &Home,
    operation: &O,
) -> Result<Asked<O::Answer>, ControlError> {
    let path = home.control_socket();
    match UnixStream::connect(&path).await {
        Ok(_) => {}
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    // The path is longer than a socket's may be: nobody can have bound it.
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            return Ok(Asked::Nobody);
        }
        Err(error) => {
            return Err(ControlError::new(
                "control_unavailable",
                format!("`{}`: {error}", path.display()),
            )
            .next("run the command as the user whose gateway it is"));
        }
    }
    let lost = |error: reqwest::Error| {
        ControlError::new(
            "control_lost",
            format!("the running gateway did not answer: {error}"),
        )
        .next("it may have been done: look at the journal before you repeat it")
    };
    let client = Client::builder()
        .unix_socket(path)
        .timeout(LIMIT)
        .build()
        .map_err(lost)?;
    let response = client
        .post(format!("http://localhost/v1/{}", O::NAME))
        .json(operation)
        .send()
        .await;
    let mut response = match response {
        Ok(response) => response,
        // It went away in between.
        Err(error) if error.is_connect() => return Ok(Asked::Nobody),
        Err(error) => return Err(lost(error)),
    };
    let good = response.status().is_success();
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(ControlError::new("control_lost", "the answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    let malformed = |error: serde_json::Error| {
        ControlError::new(
            "control_malformed",
            format!("the running gateway's answer (status {status}) is not understood: {error}"),
        )
        .next("restart the gateway with the same version as the command")
    };
    if good {
        return serde_json::from_slice(&body)
            .map(Asked::Running)
            .map_err(malformed);
    }
    Err(serde_json::from_slice(&body).unwrap_or_else(malformed))
}

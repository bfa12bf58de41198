//! A relay between the two gateways that can change a message on its way: the attacker on the
//! network, for the one call that is tampered with.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The most bytes of a request; more is none of the demo's.
const MAX_REQUEST: usize = 16 << 20;

/// A running relay.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    change: Arc<Mutex<Option<Change>>>,
    task: JoinHandle<()>,
}

/// What to replace in the next request that contains it. Both texts have the same length.
#[derive(Clone, Debug)]
struct Change {
    from: String,
    to: String,
}

impl Relay {
    /// Relays whatever comes to a free port on to `target`.
    pub(super) async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let change = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&change);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let change = Arc::clone(&shared);
                // A connection that breaks is the caller's to notice.
                tokio::spawn(async move { relay(client, target, &change).await });
            }
        });
        Ok(Self {
            address,
            change,
            task,
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has the next request that contains `from` say `to` instead.
    pub(super) fn tamper(&self, from: &str, to: &str) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(Change {
            from: from.to_owned(),
            to: to.to_owned(),
        });
    }

    /// Whether the request to be changed has passed.
    pub(super) fn has_tampered(&self) -> bool {
        let change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        change.is_none()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request and its answer; then the connection ends.
async fn relay(
    mut client: TcpStream,
    target: SocketAddr,
    change: &Mutex<Option<Change>>,
) -> io::Result<()> {
    let Some((head, body)) = read_request(&mut client).await? else {
        return Ok(());
    };
    let body = changed(body, change);
    let mut server = TcpStream::connect(target).await?;
    server.write_all(&head_for(&head, target)).await?;
    server.write_all(&body).await?;
    tokio::io::copy(&mut server, &mut client).await?;
    client.shutdown().await
}

/// The head of a request up to its empty line, and its body.
async fn read_request(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > MAX_REQUEST || client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0_usize);
    while body.len() < length {
        if length > MAX_REQUEST || client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, body)))
}

/// The same head, addressed to the target and for this one request.
fn head_for(head: &str, target: SocketAddr) -> Vec<u8> {
    let mut lines: Vec<String> = Vec::new();
    for line in head.trim_end().lines() {
        match line.split_once(':') {
            Some((name, _)) if name.eq_ignore_ascii_case("host") => {
                lines.push(format!("host: {target}"));
            }
            Some((name, _)) if name.eq_ignore_ascii_case("connection") => {}
            _ => lines.push(line.to_owned()),
        }
    }
    lines.push("connection: close".to_owned());
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

fn changed(body: Vec<u8>, change: &Mutex<Option<Change>>) -> Vec<u8> {
    let mut change = change.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&body);
    match change.as_ref().filter(|change| text.contains(&change.from)) {
        Some(found) => {
            let text = text.replace(&found.from, &found.to);
            *change = None;
            text.into_bytes()
        }
        None => body,
    }
}

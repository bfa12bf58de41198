//! What clients cannot take from each other, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test helpers"
)]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use counterfoil_listener::{BodyError, Full, Limits, receive, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};

/// Longer than any of these tests takes.
const LONG: Duration = Duration::from_secs(600);

fn limits(connections: usize, full: Full) -> Limits {
    Limits {
        connections,
        full,
        head: LONG,
        stall: LONG,
    }
}

struct Running {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Running {
    async fn start(limits: Limits, router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stopping, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, router, limits, stopped));
        Self {
            address,
            stopping,
            serving,
        }
    }

    async fn client(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    async fn get_once(&self) -> Answer {
        let mut client = self.client().await;
        client.send("/").await;
        client.answer().await.unwrap()
    }

    async fn stop(self) {
        self.stopping.send_replace(true);
        self.serving.await.unwrap();
    }
}

struct Client(TcpStream);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Client {
    async fn send(&mut self, path: &str) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.0.write_all(head.as_bytes()).await.unwrap();
    }

    /// The next answer; none if the connection ends before.
    async fn answer(&mut self) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        Some(Answer {
            status: head[9..12].parse().unwrap(),
            head,
            body: String::from_utf8(body).unwrap(),
        })
    }

    async fn ask(&mut self, path: &str) -> Answer {
        self.send(path).await;
        self.answer().await.unwrap()
    }

    /// Whether the server has ended the connection.
    fn is_closed(&self) -> bool {
        match self.0.try_read(&mut [0; 1]) {
            Ok(0) => true,
            Ok(_) => panic!("an answer to nothing"),
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_wait_until_one_ends() {
    let order = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&order);
    let router = Router::new().fallback(move |request: Request| {
        let noted = Arc::clone(&noted);
        async move { noted.lock().unwrap().push_str(request.uri().path()) }
    });
    let server = Running::start(limits(1, Full::Wait), router).await;
    let mut first = server.client().await;
    assert_eq!(first.ask("/a").await.status, 200);
    let mut second = server.client().await;
    second.send("/b").await;
    // Idle or not, the first one has the place.
    for _ in 0..50 {
        assert_eq!(first.ask("/a").await.status, 200);
    }
    drop(first);
    assert_eq!(second.answer().await.unwrap().status, 200);
    assert_eq!(*order.lock().unwrap(), format!("{}/b", "/a".repeat(51)));
    drop(second);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_are_told_to_come_back() {
    let server = Running::start(limits(2, Full::Refuse), hello()).await;
    let mut inside = [server.client().await, server.client().await];
    for client in &mut inside {
        assert_eq!(client.ask("/").await.body, "hello");
    }
    // Also more of them than are answered at the same time.
    for _ in 0..200 {
        let refused = server.get_once().await;
        assert_eq!(refused.status, 503);
        assert!(refused.head.contains("retry-after: 5"), "{}", refused.head);
        assert!(
            refused.head.contains("connection: close"),
            "{}",
            refused.head
        );
    }
    let [first, mut second] = inside;
    assert_eq!(second.ask("/").await.body, "hello");
    drop(first);
    // Until the server has seen it.
    while server.get_once().await.status != 200 {}
    assert_eq!(second.ask("/").await.body, "hello");
    drop(second);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_not_waited_for() {
    let limits = Limits {
        head: Duration::from_secs(1),
        ..limits(2, Full::Wait)
    };
    let server = Running::start(limits, hello()).await;
    let mut slow = server.client().await;
    slow.0.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    // Others are answered, for as long as it lasts. It sends a little each time.
    let mut answered = 0;
    while !slow.is_closed() {
        assert_eq!(server.get_once().await.body, "hello");
        answered += 1;
        let _ = slow.0.write_all(b"x").await;
    }
    assert!(answered > 0);
    // A connection on which nothing more comes is ended too.
    let mut idle = server.client().await;
    assert_eq!(idle.ask("/").await.body, "hello");
    assert!(idle.answer().await.is_none());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_loses_its_place() {
    let limits = Limits {
        stall: Duration::from_millis(300),
        ..limits(1, Full::Wait)
    };
    let large = || async { vec![b' '; 64 * 1024 * 1024] };
    let server = Running::start(limits, hello().route("/large", get(large))).await;
    let mut stalled = server.client().await;
    stalled.send("/large").await;
    let mut next = server.client().await;
    assert_eq!(next.ask("/").await.body, "hello");
    assert!(stalled.answer().await.is_none(), "cut off");
    drop(next);
    // Slow is not stalled: whoever takes something now and then gets all of it.
    let mut reader = server.client().await;
    assert_eq!(reader.ask("/large").await.body.len(), 64 * 1024 * 1024);
    drop(reader);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_is_under_way() {
    let (entered, mut entering) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    let held = move || {
        let (entered, released) = (entered.clone(), Arc::clone(&released));
        async move {
            entered.send(()).unwrap();
            released.notified().await;
            "at last"
        }
    };
    let server = Running::start(limits(8, Full::Wait), hello().route("/held", get(held))).await;
    let mut idle = server.client().await;
    assert_eq!(idle.ask("/").await.body, "hello");
    let mut silent = server.client().await;
    let mut busy = server.client().await;
    busy.send("/held").await;
    entering.recv().await.unwrap();
    server.stopping.send_replace(true);
    // Nobody is waited for who has asked nothing.
    assert!(idle.answer().await.is_none());
    assert!(silent.answer().await.is_none());
    assert!(!server.serving.is_finished());
    release.notify_one();
    assert_eq!(busy.answer().await.unwrap().body, "at last");
    assert!(busy.answer().await.is_none());
    server.serving.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

async fn count(body: Body) -> Response {
    match receive(body, 10, Duration::from_millis(300)).await {
        Ok(bytes) => bytes.len().to_string().into_response(),
        Err(error) => {
            let status = match error {
                BodyError::TooLarge { max_bytes: 10 } => StatusCode::PAYLOAD_TOO_LARGE,
                BodyError::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
                _ => StatusCode::BAD_REQUEST,
            };
            (status, error.to_string()).into_response()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_in_bytes_and_time() {
    let router = Router::new().route("/", post(count));
    let server = Running::start(limits(8, Full::Wait), router).await;
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";
    for (rest, status, body) in [
        ("Content-Length: 10\r\n\r\n0123456789".to_owned(), 200, "10"),
        (format!("{CHUNKED}a\r\n0123456789\r\n0\r\n\r\n"), 200, "10"),
        // Refused for what it says, before any of it has come.
        (
            "Content-Length: 11\r\n\r\n".to_owned(),
            413,
            "the body is longer than 10 bytes",
        ),
        (
            format!("{CHUNKED}b\r\n01234567890\r\n"),
            413,
            "the body is longer than 10 bytes",
        ),
        (
            "Content-Length: 10\r\n\r\n012345678".to_owned(),
            408,
            "the body took longer than 0.3 s",
        ),
        (format!("{CHUNKED}x\r\n"), 400, "the body broke off"),
    ] {
        let mut client = server.client().await;
        let head = format!("POST / HTTP/1.1\r\nHost: test\r\n{rest}");
        client.0.write_all(head.as_bytes()).await.unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, status, "{rest}");
        assert!(answer.body.starts_with(body), "{rest}: {}", answer.body);
    }
    server.stop().await;
}

//! An MCP server over HTTP that notes what it saw, something that sits on a line and changes what
//! passes, and a client of raw requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::any;
use serde_json::{Value, json};

pub const BOTH: &str = "application/json, text/event-stream";

/// What a server saw, body by body.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, body: &[u8]) {
        let text = String::from_utf8(body.to_vec()).unwrap();
        self.0.lock().unwrap().push(text);
    }
}

async fn listen(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// Starts an MCP server over HTTP.
pub async fn tool_server() -> (String, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let answer = move |headers: HeaderMap, body: Bytes| {
        let noted = noted.clone();
        async move { serve(&noted, &headers, &body) }
    };
    let router = Router::new().route("/mcp", any(answer));
    let address = listen(router).await;
    (format!("http://{address}/mcp"), seen)
}

fn serve(noted: &Seen, headers: &HeaderMap, body: &[u8]) -> Response {
    assert!(
        !headers.contains_key("authorization"),
        "the token was passed on"
    );
    if body.is_empty() {
        let resumed = headers.get("last-event-id").map(|id| id.to_str().unwrap());
        return match resumed {
            Some(event) => reply(
                200,
                "text/event-stream",
                format!(
                    "id: {event}-2\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{event},\"result\":{{\"content\":[],\"late\":true}}}}\n\n"
                ),
            ),
            None => reply(405, "", String::new()),
        };
    }
    noted.note(body);
    let message: Value = serde_json::from_slice(body).unwrap();
    let Some(id) = message.get("id") else {
        return reply(202, "", String::new());
    };
    let json_answer = |result: &str| {
        reply(
            200,
            "application/json",
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        )
    };
    if message["method"] == "initialize" {
        let mut response = json_answer(&format!(
            r#"{{"protocolVersion":{},"capabilities":{{}},"serverInfo":{{"name":"t","version":"1"}}}}"#,
            message["params"]["protocolVersion"]
        ));
        let session = "s-1".parse().unwrap();
        response.headers_mut().insert("mcp-session-id", session);
        return response;
    }
    match message["params"]["name"].as_str().unwrap_or_default() {
        "stream" => reply(
            200,
            "text/event-stream",
            format!(
                ": hello\r\n\r\nid: 1\r\ndata:\r\n\r\nevent: message\r\ndata: {{\"jsonrpc\":\"2.0\",\r\ndata: \"method\":\"notifications/message\",\"params\":{{\"level\":\"info\",\"data\":1}}}}\r\n\r\ndata: {{\"jsonrpc\":\"2.0\",\"id\":424242,\"result\":{{}}}}\r\n\r\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"x-odd\":1.0 ,\"content\":[]}}}}\r\n\r\n"
            ),
        ),
        "resumable" => reply(
            200,
            "text/event-stream",
            format!("id: {id}\nretry: 1\ndata:\n\n"),
        ),
        "broken-stream" => reply(200, "text/event-stream", ": nothing\n\n".to_owned()),
        "status" => reply(500, "text/html", "<h1>no</h1>".to_owned()),
        "redirect" => {
            let mut response = reply(307, "", String::new());
            let elsewhere = "http://127.0.0.1:1/".parse().unwrap();
            response.headers_mut().insert("location", elsewhere);
            response
        }
        "wrong-id" => reply(
            200,
            "application/json",
            r#"{"jsonrpc":"2.0","id":424242,"result":{"content":[]}}"#.to_owned(),
        ),
        "list-result" => json_answer("[1]"),
        "fail" => json_answer(r#"{"content":[],"isError":true}"#),
        _ => json_answer(&format!(
            "{{ \"x-odd\":1.0,\"content\":[{{\"type\":\"text\",\"text\":\"\\u0041 {}\"}}] }}",
            message["params"]["arguments"]["text"]
                .as_str()
                .unwrap_or_default()
        )),
    }
}

fn reply(status: u16, kind: &str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if !kind.is_empty() {
        let kind = kind.parse().unwrap();
        response.headers_mut().insert("content-type", kind);
    }
    response
}

/// What is done to a request body, or to an answer's.
pub type Change = Arc<dyn Fn(String) -> String + Send + Sync>;

/// Starts something that passes requests on to `target` and changes bodies on the way. Returns
/// its address and every request body as it came.
pub async fn tamper(target: String, request: Change, answer: Change) -> (String, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let pass = move |headers: HeaderMap, body: Bytes| {
        let (noted, target) = (noted.clone(), target.clone());
        let (request, answer) = (Arc::clone(&request), Arc::clone(&answer));
        async move {
            noted.note(&body);
            let body = request(String::from_utf8(body.to_vec()).unwrap());
            let mut sending = reqwest::Client::new().post(target).body(body);
            for name in [
                "content-type",
                "accept",
                "mcp-session-id",
                "mcp-protocol-version",
            ] {
                if let Some(value) = headers.get(name) {
                    sending = sending.header(name, value);
                }
            }
            let response = sending.send().await.unwrap();
            let status = response.status().as_u16();
            let session = response.headers().get("mcp-session-id").cloned();
            let text = answer(response.text().await.unwrap());
            let mut response = reply(status, "application/json", text);
            if let Some(session) = session {
                response.headers_mut().insert("mcp-session-id", session);
            }
            response
        }
    };
    let address = listen(Router::new().route("/mcp", any(pass))).await;
    (format!("http://{address}/mcp"), seen)
}

pub fn unchanged() -> Change {
    Arc::new(|body| body)
}

/// What came back from a raw request.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub session: Option<String>,
    pub is_stream: bool,
    pub text: String,
}

impl Got {
    /// The last message in it.
    pub fn last(&self) -> Value {
        let text = if self.is_stream {
            self.text
                .lines()
                .filter_map(|line| line.strip_prefix("data: "))
                .next_back()
                .unwrap()
        } else {
            &self.text
        };
        serde_json::from_str(text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub fn code(&self) -> String {
        code(&self.last())
    }
}

pub fn code(answer: &Value) -> String {
    let meta = if answer.get("error").is_some() {
        &answer["error"]["data"]
    } else {
        &answer["result"]["_meta"]
    };
    meta["dev.counterfoil/refusal"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no refusal: {answer}"))
        .to_owned()
}

pub async fn send(request: reqwest::RequestBuilder) -> Got {
    let response = request.send().await.unwrap();
    let headers = response.headers();
    let header = |name: &str| Some(headers.get(name)?.to_str().unwrap().to_owned());
    Got {
        status: response.status().as_u16(),
        session: header("mcp-session-id"),
        is_stream: header("content-type").is_some_and(|kind| kind == "text/event-stream"),
        text: response.text().await.unwrap(),
    }
}

pub async fn post(url: &str, body: impl Into<reqwest::Body>) -> Got {
    post_in(url, None, body).await
}

pub async fn post_in(url: &str, session: Option<&str>, body: impl Into<reqwest::Body>) -> Got {
    let mut request = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/json")
        .header("accept", BOTH)
        .body(body);
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    send(request).await
}

/// Opens a session and returns its id.
pub async fn initialize(url: &str) -> String {
    let body = json!({
        "jsonrpc": "2.0",
        "id": "init",
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    });
    let got = post(url, body.to_string()).await;
    assert_eq!(got.last()["result"]["protocolVersion"], json!("2025-11-25"));
    let session = got.session.unwrap();
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(post_in(url, Some(&session), ready).await.status, 202);
    session
}

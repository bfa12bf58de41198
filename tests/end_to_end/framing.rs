//! No message that is denied, or that cannot be understood in exactly one way, reaches the tool in
//! any framing. Every one here would have the tool search for `evil`, or refund too much, if
//! anybody along the way read it more generously than the gateway.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::agent::{Ended, StdioAgent};
use crate::binaries::{command, support_desk};
use crate::world::{World, solo};

const EVIL: &str = r#""params":{"name":"search","arguments":{"query":"evil"}}"#;
const TOO_MUCH: &str =
    r#""params":{"name":"refund","arguments":{"ticket":"T-1003","amount_cents":9000}}"#;

/// Messages of one line each, and why they are bad.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let call = |middle: &str| format!(r#"{{"jsonrpc":"2.0",{middle}}}"#);
    let good = call(&format!(r#""id":7,"method":"tools/call",{EVIL}"#));
    let mut messages: Vec<(&'static str, Vec<u8>)> = vec![
        ("a batch of one", format!("[{good}]").into()),
        ("a batch behind a ping", format!(r#"[{{"jsonrpc":"2.0","id":8,"method":"ping"}},{good}]"#).into()),
        ("an empty batch", "[]".into()),
        ("no id", call(&format!(r#""method":"tools/call",{EVIL}"#)).into()),
        ("a null id", call(&format!(r#""id":null,"method":"tools/call",{EVIL}"#)).into()),
        ("an object as id", call(&format!(r#""id":{{}},"method":"tools/call",{EVIL}"#)).into()),
        ("two ids", call(&format!(r#""id":7,"id":8,"method":"tools/call",{EVIL}"#)).into()),
        ("two methods", call(&format!(r#""id":7,"method":"ping","method":"tools/call",{EVIL}"#)).into()),
        ("two methods, one escaped", call(&format!(r#""id":7,"method":"ping","m\u0065thod":"tools/call",{EVIL}"#)).into()),
        ("two methods, the other first", call(&format!(r#""id":7,"method":"tools/call","method":"ping",{EVIL}"#)).into()),
        ("two params", call(&format!(r#""id":7,"method":"tools/call","params":{{"name":"none","arguments":{{}}}},{EVIL}"#)).into()),
        ("two names", call(r#""id":7,"method":"tools/call","params":{"name":"none","name":"search","arguments":{"query":"evil"}}"#).into()),
        ("two names, one escaped", call(r#""id":7,"method":"tools/call","params":{"name":"none","n\u0061me":"search","arguments":{"query":"evil"}}"#).into()),
        ("two arguments", call(r#""id":7,"method":"tools/call","params":{"name":"search","arguments":{"query":"evil"},"arguments":{"query":"evil2"}}"#).into()),
        ("two queries", call(r#""id":7,"method":"tools/call","params":{"name":"search","arguments":{"query":"evil","query":"evil2"}}"#).into()),
        ("a trailing comma", call(&format!(r#""id":7,"method":"tools/call",{EVIL},"#)).into()),
        ("a comment", call(&format!(r#""id":7,/* */"method":"tools/call",{EVIL}"#)).into()),
        ("single quotes", good.replace('"', "'").into()),
        ("two messages on one line", format!("{good}{good}").into()),
        ("text behind the message", format!("{good} x").into()),
        ("cut off", good[..good.len() - 1].into()),
        ("another version", good.replace("2.0", "1.0").into()),
        ("no version", good.replace(r#""jsonrpc":"2.0","#, "").into()),
        ("a method of another case", good.replace("tools/call", "Tools/Call").into()),
        ("a method with a blank", good.replace("tools/call", "tools/call ").into()),
        ("a method with a zero", good.replace("tools/call", "tools/call\\u0000").into()),
        ("a method nobody knows", good.replace("tools/call", "tools/execute").into()),
        ("a tool with a blank", good.replace("\"search\"", "\"search \"").into()),
        ("a tool as a list", good.replace("\"search\"", "[\"search\"]").into()),
        ("params as a list", call(r#""id":7,"method":"tools/call","params":["search",{"query":"evil"}]"#).into()),
        ("a result beside the method", call(&format!(r#""id":7,"method":"tools/call",{EVIL},"result":{{}}"#)).into()),
        ("a lone surrogate", good.replace("evil", "evil\\ud800").into()),
        ("denied, an escaped method", call(&format!(r#""id":7,"method":"tools\/call",{TOO_MUCH}"#)).into()),
        ("denied, escaped letters", call(&format!(r#""id":7,"method":"\u0074ools/call",{TOO_MUCH}"#)).into()),
        ("denied, escaped names", call(r#""id":7,"m\u0065thod":"tools/call","p\u0061rams":{"n\u0061me":"\u0072efund","arguments":{"ticket":"T-1003","amount_cents":9000}}"#).into()),
        ("denied, an exponent", call(r#""id":7,"method":"tools/call","params":{"name":"refund","arguments":{"ticket":"T-1003","amount_cents":9e3}}"#).into()),
        ("nested too deeply", call(&format!(r#""id":7,"method":"tools/call","params":{{"name":"search","arguments":{{"query":"evil","x":{}1{}}}}}"#, "[".repeat(5000), "]".repeat(5000))).into()),
        ("too long", good.replace("evil", &format!("evil{}", "x".repeat(5 << 20))).into()),
    ];
    let mut mark = vec![0xef, 0xbb, 0xbf];
    mark.extend(good.as_bytes());
    messages.push(("a byte order mark", mark));
    let mut broken = good.clone().into_bytes();
    let at = good.find("evil").unwrap();
    broken[at] = 0xff;
    messages.push(("bytes that are not UTF-8", broken));
    let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    messages.push(("UTF-16", wide));
    messages
}

#[test]
fn over_pipes() {
    let directory = tempfile::tempdir().unwrap();
    solo(directory.path());
    let mut agent = StdioAgent::start(&mut desk(directory.path()));
    for (_, message) in messages() {
        agent.send_bytes(&message);
    }
    // Whoever sent all that can still do what is allowed; and this is all that was done.
    let ended = agent.call("search", json!({ "query": "lamp" }));
    assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
    agent.end();
    assert_eq!(did(directory.path()), ["searched for \"lamp\""]);
    let report = crate::binaries::good(
        directory.path(),
        &["journal", "verify", "--home", "solo", "--offline"],
    );
    assert_eq!(report["holds_together"], true);
}

#[test]
fn over_pipes_one_by_one() {
    for (why, message) in messages() {
        let directory = tempfile::tempdir().unwrap();
        solo(directory.path());
        let mut agent = StdioAgent::start(&mut desk(directory.path()));
        agent.send_bytes(&message);
        agent.end();
        assert!(did(directory.path()).is_empty(), "{why}");
    }
}

#[test]
fn over_http_and_across_operators() {
    let world = World::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |message: Vec<u8>, headers: &[(&str, &str)]| {
        let mut request = http
            .post(world.url())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(message);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // A connection that is closed on us is a refusal too.
        let _ = runtime.block_on(async { request.send().await?.text().await });
    };
    let mut agent = world.agent();
    let session = agent.session().to_owned();
    for (_, message) in messages() {
        post(message.clone(), &[("mcp-session-id", &session)]);
        post(message, &[]);
    }
    // Headers that say another thing than the body, each with a call that is denied, or that
    // would be allowed if the headers were right.
    let good = concat!(
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"search","#,
        r#""arguments":{"query":"evil"},"#,
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#
    );
    for headers in [
        &[
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/list"),
            ("mcp-name", "search"),
        ][..],
        &[
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "read_ticket"),
        ],
        &[
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "ping"),
        ],
        &[
            ("mcp-protocol-version", "1999-01-01"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "search"),
        ],
        &[("content-encoding", "gzip")],
    ] {
        post(good.into(), headers);
    }
    let ended = agent.call("search", json!({ "query": "lamp" })).unwrap();
    assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
    assert_eq!(world.did(), ["searched for \"lamp\""]);
    world.verify_all_receipts();
}

fn desk(directory: &Path) -> std::process::Command {
    let mut command = command(directory, &["mcp", "--home", "solo", "--"]);
    command
        .arg(support_desk())
        .arg("--did")
        .arg(directory.join("did.txt"));
    command.stderr(fs::File::create(directory.join("mcp.txt")).unwrap());
    command
}

fn did(directory: &Path) -> Vec<String> {
    fs::read_to_string(directory.join("did.txt"))
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

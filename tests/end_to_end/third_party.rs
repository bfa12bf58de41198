//! Programs that others wrote work through the gateway unchanged: the official Python SDK as the
//! agent, the reference servers of npm as tools. `cargo xtask setup` installs them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::agent::{Ended, StdioAgent};
use crate::binaries::{command, counterfoil, good, source, support_desk, third_party};
use crate::world::{World, solo};

/// How the Python SDK negotiates the revision: the handshake of 2025, asking first, and 2026-07-28
/// at once.
const MODES: [&str; 3] = ["legacy", "auto", "2026-07-28"];

/// Runs the Python SDK as an agent.
fn python(mode: &str, plan: &Value, target: &[&str]) -> Vec<Value> {
    let output = Command::new(third_party("venv/bin/python"))
        .arg(source("third-party/client.py"))
        .args([mode, &plan.to_string()])
        .args(target)
        .env_remove("COUNTERFOIL_HOME")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mode}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{mode}: {said}"))
}

/// What the agent asks of the support desk, directly and through the gateway.
fn plan() -> Value {
    json!([
        ["tools"],
        ["call", "read_ticket", { "id": "T-1001" }],
        ["call", "search", { "query": "lamp" }],
        ["call", "refund", { "ticket": "T-1001", "amount_cents": 1000 }],
        ["call", "read_ticket", { "id": "T-9999" }],
    ])
}

#[test]
fn the_python_sdk_over_pipes() {
    let desk = support_desk().display().to_string();
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        solo(directory.path());
        let home = directory.path().join("solo").display().to_string();
        let binary = counterfoil().display().to_string();
        let direct = python(mode, &plan(), &[&desk]);
        let through = python(
            mode,
            &plan(),
            &[&binary, "mcp", "--home", &home, "--", &desk],
        );
        assert_eq!(through, direct, "{mode}");
        assert_eq!(through[1]["is_error"], false);

        // Denied: a result that the model can read, with the rule and what to do instead.
        let denied = json!([["call", "refund", { "ticket": "T-1001", "amount_cents": 9000 }]]);
        let through = python(
            mode,
            &denied,
            &[&binary, "mcp", "--home", &home, "--", &desk],
        );
        assert_eq!(through[0]["is_error"], true);
        let text = through[0]["text"].as_str().unwrap();
        assert!(
            text.contains("refund-limit") && text.contains("at most 50.00"),
            "{text}"
        );
        let report = good(
            directory.path(),
            &["journal", "verify", "--home", "solo", "--offline"],
        );
        assert_eq!(report["holds_together"], true);
    }
}

#[test]
fn the_python_sdk_over_http_and_across_operators() {
    let world = World::start();
    let desk = support_desk().display().to_string();
    for mode in MODES {
        let direct = python(mode, &plan(), &[&desk]);
        let through = python(mode, &plan(), &[&world.url()]);
        // Another run of the server counts refunds on; the rest is the same to the last byte.
        assert_eq!(through[0], direct[0], "{mode}");
        assert_eq!(through[2], direct[2], "{mode}");
        assert_eq!(through[3], direct[3], "{mode}");
        assert_eq!(through[4], direct[4], "{mode}");
        assert_eq!(through[1]["is_error"], false);
        // The evidence between the operators is taken out again.
        assert_eq!(through[1]["meta"], direct[1]["meta"], "{mode}");
    }
    world.verify_all_receipts();
}

#[test]
fn an_agent_over_pipes_of_a_server_behind_another_operator() {
    let mut world = World::start();
    world.stop("acme");
    let home = world.path("acme").display().to_string();
    let binary = counterfoil().display().to_string();
    for mode in MODES {
        let target = [binary.as_str(), "mcp", "--home", &home, "--server", "desk"];
        let through = python(mode, &plan(), &target);
        assert_eq!(through[1]["is_error"], false, "{mode}: {through:?}");
        assert_eq!(through[2]["is_error"], false, "{mode}: {through:?}");
        assert_eq!(through[4]["is_error"], true, "{mode}: {through:?}");
    }
    world.start_process("acme");
    world.verify_all_receipts();
}

#[test]
fn server_everything_behind_the_gateway() {
    let directory = tempfile::tempdir().unwrap();
    solo(directory.path());
    policy(
        directory.path(),
        r#"
        action "echo" appliesTo { principal: Agent, resource: Server,
          context: { arguments: { message: String }, call: Call } };
        action "get-sum" appliesTo { principal: Agent, resource: Server,
          context: { arguments: { a: Long, b: Long }, call: Call } };
        action "get-structured-content" appliesTo { principal: Agent, resource: Server,
          context: { arguments: { location: String }, call: Call } };
        action "get-tiny-image" appliesTo { principal: Agent, resource: Server,
          context: { arguments: {}, call: Call } };
        action "prompts/get" appliesTo { principal: Agent, resource: Server,
          context: { arguments: { name: String }, call: Call } };
        action "resources/read" appliesTo { principal: Agent, resource: Server,
          context: { arguments: { name: String }, call: Call } };
        "#,
    );
    let server = third_party("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let direct = ["node", server.to_str().unwrap(), "stdio"];
    let plan = json!([
        ["tools"],
        ["call", "echo", { "message": "h\u{e9}llo \u{1f600}" }],
        ["call", "get-sum", { "a": 17, "b": 25 }],
        ["call", "get-structured-content", { "location": "Chicago" }],
        ["call", "get-tiny-image", {}],
        ["prompt", "simple-prompt", {}],
        ["read", "demo://resource/static/document/architecture.md"],
    ]);
    let expected = python("legacy", &plan, &direct);
    let home = directory.path().join("solo").display().to_string();
    let binary = counterfoil().display().to_string();
    let mut wrapped = vec![binary.as_str(), "mcp", "--home", &home, "--"];
    wrapped.extend(direct);
    let through = python("legacy", &plan, &wrapped);
    assert_eq!(through, expected);
    assert!(through[2]["text"].as_str().unwrap().contains("42"));

    // What the policy does not know stays out of reach, though the server has it.
    let through = python("legacy", &json!([["call", "get-env", {}]]), &wrapped);
    assert_eq!(through[0]["is_error"], true);
    assert!(
        through[0]["text"]
            .as_str()
            .unwrap()
            .contains("unknown_tool")
    );
    let records = good(directory.path(), &["journal", "list", "--home", "solo"]);
    let allowed = records
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["summary"].as_str().unwrap().starts_with("allow"))
        .count();
    assert_eq!(allowed, 6);
}

#[test]
fn server_filesystem_behind_the_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    solo(dir);
    fs::create_dir(dir.join("files")).unwrap();
    let files = fs::canonicalize(dir.join("files")).unwrap();
    fs::write(files.join("a.txt"), "alpha").unwrap();
    let schema = ["read_text_file", "list_directory"].map(|tool| {
        format!(
            "action \"{tool}\" appliesTo {{ principal: Agent, resource: Server,
               context: {{ arguments: {{ path: String }}, call: Call }} }};"
        )
    });
    let write = r#"action "write_file" appliesTo { principal: Agent, resource: Server,
        context: { arguments: { path: String, content: String }, call: Call } };"#;
    policy(dir, &format!("{}{write}", schema.concat()));
    fs::write(
        dir.join("solo/policy/startup.cedar"),
        r#"@id("no-startup-files") @instead("write to a file that no shell runs")
           forbid (principal, action == Action::"write_file", resource)
           when { context.arguments.path like "*/.bashrc" };"#,
    )
    .unwrap();
    let server = third_party("node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    let mut wrapped = command(dir, &["mcp", "--home", "solo", "--", "node"]);
    wrapped
        .arg(server)
        .arg(&files)
        .stderr(fs::File::create(dir.join("mcp.txt")).unwrap());
    let mut agent = StdioAgent::start(&mut wrapped);
    let path = |name: &str| files.join(name).display().to_string();
    assert_eq!(
        agent.call("read_text_file", json!({ "path": path("a.txt") })),
        Ended::Done("alpha".to_owned())
    );
    let wrote = agent.call(
        "write_file",
        json!({ "path": path("b.txt"), "content": "beta" }),
    );
    assert!(matches!(wrote, Ended::Done(_)), "{wrote:?}");
    assert_eq!(fs::read_to_string(files.join("b.txt")).unwrap(), "beta");
    let listed = agent.call("list_directory", json!({ "path": files }));
    assert!(
        matches!(&listed, Ended::Done(text) if text.contains("b.txt")),
        "{listed:?}"
    );

    let denied = agent.call(
        "write_file",
        json!({ "path": path(".bashrc"), "content": "x" }),
    );
    assert_eq!(denied.code(), "policy_forbids");
    assert!(!files.join(".bashrc").exists());
    let unknown = agent.call(
        "move_file",
        json!({ "source": path("a.txt"), "destination": path("c") }),
    );
    assert_eq!(unknown.code(), "unknown_tool");
    assert!(files.join("a.txt").exists());
    // The server itself refuses what is outside of its folder: its error passes through.
    let outside = agent.call("read_text_file", json!({ "path": "/etc/hostname" }));
    assert!(matches!(outside, Ended::Failed(_)), "{outside:?}");
    assert!(agent.end().success());
}

/// A policy that allows whatever its schema declares.
fn policy(directory: &Path, schema: &str) {
    let folder = directory.join("solo/policy");
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("schema.cedarschema"), schema).unwrap();
    fs::write(
        folder.join("all.cedar"),
        "@id(\"all\") permit (principal is Agent, action, resource);",
    )
    .unwrap();
}

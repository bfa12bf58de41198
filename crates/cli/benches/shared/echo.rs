//! A tiny MCP server over pipes that answers every call with what it was sent, a policy that allows
//! it, and a client. The server is the benchmark's own program, run with [`SERVER`] set.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Set for the process that is to be the server.
pub(crate) const SERVER: &str = "BENCH_ECHO_SERVER";

/// The gateway under measurement.
pub(crate) fn counterfoil() -> Command {
    Command::new(env!("CARGO_BIN_EXE_counterfoil"))
}

/// A new directory beside what is built, so on the disk of whoever runs this.
pub(crate) fn directory() -> tempfile::TempDir {
    // A benchmark runs from `target/<profile>/deps`.
    let own = std::env::current_exe().unwrap();
    tempfile::tempdir_in(own.ancestors().nth(3).unwrap()).unwrap()
}

/// Replaces the sample policy of a home by one that allows the call `echo`.
pub(crate) fn allow_echo(home: &Path) {
    let policy = home.join("policy");
    let files: Vec<PathBuf> = std::fs::read_dir(&policy)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for file in files {
        std::fs::remove_file(file).unwrap();
    }
    std::fs::write(
        policy.join("schema.cedarschema"),
        "action echo appliesTo { principal: Agent, resource: Server, \
         context: { arguments: { text: String }, call: Call } };\n",
    )
    .unwrap();
    std::fs::write(
        policy.join("echo.cedar"),
        "@id(\"echo\")\npermit (principal, action == Action::\"echo\", resource);\n",
    )
    .unwrap();
}

/// Is the server: answers every request at once.
pub(crate) fn serve() {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        if !line.contains("\"id\"") {
            continue;
        }
        let id = id_of(&line);
        let result = if line.contains("\"initialize\"") {
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}"#
        } else {
            r#"{"content":[{"type":"text","text":"12345678901234567890123456789012"}]}"#
        };
        writeln!(output, r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).unwrap();
        output.flush().unwrap();
    }
}

/// A client in a session with a server over pipes.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    line: String,
}

impl Client {
    /// Starts the server, or the gateway in front of it, and opens a session.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut client = Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            line: String::new(),
        };
        let initialize = r#"{"jsonrpc":"2.0","id":999999999,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let handshake = format!("{initialize}\n{initialized}\n");
        client.input.write_all(handshake.as_bytes()).unwrap();
        client.output.read_line(&mut client.line).unwrap();
        client
    }

    /// Makes a call and does not wait for its answer.
    pub(crate) fn send(&mut self, id: usize) {
        let call = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\"arguments\":{{\"text\":\"12345678901234567890123456789012\"}}}}}}\n"
        );
        self.input.write_all(call.as_bytes()).unwrap();
    }

    /// The id of the next call that is answered.
    pub(crate) fn answered(&mut self) -> usize {
        self.line.clear();
        let read = self.output.read_line(&mut self.line).unwrap();
        assert_ne!(read, 0, "the server went away");
        assert!(
            !self.line.contains("isError\":true") && !self.line.contains("\"error\""),
            "a call was denied: {}",
            self.line
        );
        id_of(&self.line)
    }

    /// Hangs up, and waits until the server has ended.
    pub(crate) fn end(mut self) {
        drop(self.input);
        self.child.wait().unwrap();
    }
}

fn id_of(line: &str) -> usize {
    let rest = line.split_once("\"id\":").unwrap().1;
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

//! Disk full, journal gone, key missing or exposed, policy unreadable, log out of reach: every
//! call is denied with the reason, and nothing runs. Over pipes and over HTTP alike.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::agent::{Ended, HttpAgent, StdioAgent};
use crate::binaries::{command, source, support_desk};
use crate::world::{World, retry, solo};

/// Breaks a home in one way.
struct Fault {
    name: &'static str,
    code: &'static str,
    /// Words that the agent is told.
    says: &'static str,
    cause: fn(&Path),
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "journal gone",
        code: "journal_unavailable",
        says: "journal.sqlite",
        cause: |home| fs::remove_file(home.join("journal.sqlite")).unwrap(),
    },
    Fault {
        name: "journal is something else",
        code: "journal_unavailable",
        says: "journal.sqlite",
        cause: |home| {
            fs::write(
                home.join("journal.sqlite"),
                "a shopping list, not a database, and long enough",
            )
            .unwrap()
        },
    },
    Fault {
        name: "key missing",
        code: "file_unreadable",
        says: "enforcer.pem",
        cause: |home| fs::remove_file(home.join("keys/enforcer.pem")).unwrap(),
    },
    Fault {
        name: "key exposed",
        code: "key_exposed",
        says: "chmod 600",
        cause: |home| {
            fs::set_permissions(
                home.join("keys/enforcer.pem"),
                Permissions::from_mode(0o644),
            )
            .unwrap();
        },
    },
    Fault {
        name: "key is no key",
        code: "file_unreadable",
        says: "enforcer.pem",
        cause: |home| fs::write(home.join("keys/enforcer.pem"), "no key").unwrap(),
    },
    Fault {
        name: "another key",
        code: "journal_foreign",
        says: "key",
        cause: |home| {
            fs::copy(home.join("keys/root.pem"), home.join("keys/enforcer.pem")).unwrap();
        },
    },
    Fault {
        name: "policy gone",
        code: "policy_unreadable",
        says: "policy",
        cause: |home| fs::remove_dir_all(home.join("policy")).unwrap(),
    },
    Fault {
        name: "policy misspelt",
        code: "policy_syntax",
        says: "read.cedar:",
        cause: |home| replace(&home.join("policy/read.cedar"), "permit (", "permti ("),
    },
    Fault {
        name: "annotation misspelt",
        code: "policy_annotation",
        says: "read.cedar:",
        cause: |home| {
            replace(
                &home.join("policy/read.cedar"),
                "@points(\"1\")",
                "@point(\"1\")",
            )
        },
    },
    Fault {
        name: "policy file misspelt",
        code: "policy_unexpected_file",
        says: "read.ceder",
        cause: |home| {
            fs::rename(
                home.join("policy/read.cedar"),
                home.join("policy/read.ceder"),
            )
            .unwrap()
        },
    },
    Fault {
        name: "trust file misspelt",
        code: "trust_unusable",
        says: "line",
        cause: |home| replace(&home.join("trust"), "none\noperator ", "none\noperater "),
    },
];

#[test]
fn over_pipes_every_call_is_denied_with_the_reason() {
    for fault in FAULTS {
        let directory = tempfile::tempdir().unwrap();
        solo(directory.path());
        (fault.cause)(&directory.path().join("solo"));
        let mut agent = StdioAgent::start(&mut wrapped(directory.path()));
        for _ in 0..2 {
            denied(fault, &agent.call("search", json!({ "query": "lamp" })));
        }
        agent.end();
        assert!(
            !directory.path().join("did.txt").exists(),
            "{}: the tool was started",
            fault.name
        );
    }
}

#[test]
fn over_http_every_call_is_denied_with_the_reason() {
    for fault in FAULTS {
        let directory = tempfile::tempdir().unwrap();
        solo(directory.path());
        let home = directory.path().join("solo");
        serve_desk(&home, &directory.path().join("did.txt"));
        (fault.cause)(&home);
        let gateway = Gateway::start(directory.path());
        // Without a session: the handshake may be refused too.
        match HttpAgent::connect(&gateway.url) {
            Ok(mut agent) => denied(
                fault,
                &agent.call("search", json!({ "query": "lamp" })).unwrap(),
            ),
            Err(error) => assert!(error.contains(fault.code), "{}: {error}", fault.name),
        }
        assert!(
            !directory.path().join("did.txt").exists(),
            "{}: the tool was started",
            fault.name
        );
    }
}

fn denied(fault: &Fault, ended: &Ended) {
    let Ended::Refused { code, text } = ended else {
        panic!("{}: {ended:?}", fault.name);
    };
    assert_eq!(code, fault.code, "{}: {text}", fault.name);
    assert!(text.contains(fault.says), "{}: {text}", fault.name);
}

#[test]
fn over_pipes_with_the_disk_full_nothing_runs() {
    let directory = tempfile::tempdir().unwrap();
    solo(directory.path());
    let mut agent = StdioAgent::start(&mut on_a_small_disk(&wrapped(directory.path())));
    until_the_disk_is_full(directory.path(), |query| {
        agent.call("search", json!({ "query": query }))
    });
    drop(agent);

    // With space again, it finds out what is on the disk, and goes on.
    let mut agent = StdioAgent::start(&mut wrapped(directory.path()));
    let ended = agent.call("search", json!({ "query": "again" }));
    assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
    agent.end();
    is_whole(directory.path());
}

#[test]
fn over_http_with_the_disk_full_nothing_runs() {
    let directory = tempfile::tempdir().unwrap();
    solo(directory.path());
    serve_desk(
        &directory.path().join("solo"),
        &directory.path().join("did.txt"),
    );
    let gateway = Gateway::run(&mut on_a_small_disk(&serving(directory.path())));
    let mut agent = HttpAgent::connect(&gateway.url).unwrap();
    until_the_disk_is_full(directory.path(), |query| {
        agent.call("search", json!({ "query": query })).unwrap()
    });
    // Nor in another session.
    let before = did(directory.path());
    match HttpAgent::connect(&gateway.url) {
        Ok(mut other) => {
            let ended = other.call("search", json!({ "query": "other" })).unwrap();
            assert!(FULL.contains(&ended.code()), "{ended:?}");
        }
        Err(error) => assert!(FULL.iter().any(|code| error.contains(code)), "{error}"),
    }
    assert_eq!(did(directory.path()), before);
    drop(gateway);

    let gateway = Gateway::start(directory.path());
    let mut agent = HttpAgent::connect(&gateway.url).unwrap();
    let ended = agent.call("search", json!({ "query": "again" })).unwrap();
    assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
    drop((agent, gateway));
    is_whole(directory.path());
}

/// The same command with a disk of 80 KiB: no file of it may grow beyond that, and a write that
/// would fails, as on a full disk.
fn on_a_small_disk(command: &Command) -> Command {
    let mut limited = Command::new("bash");
    limited
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 80; exec \"$@\"")
        .arg("bash")
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .stderr(Stdio::null());
    limited
}

/// What a full disk is called once it was met: by a call, or by the batch that was being sealed.
const FULL: [&str; 2] = ["journal_write_failed", "enforcer_failed"];

/// Calls until the disk is full: the call that meets it is refused with the reason, and so is every
/// one after it, with nothing done.
fn until_the_disk_is_full(directory: &Path, mut call: impl FnMut(String) -> Ended) {
    let mut done = 0;
    let refused = loop {
        match call(format!("lamp {done}")) {
            Ended::Done(_) => done += 1,
            refused => break refused,
        }
        assert!(done < 10_000, "the limit is never met");
    };
    let Ended::Refused { code, .. } = &refused else {
        panic!("{refused:?}");
    };
    // The call that met the full disk may have been decided and done, and its outcome unwritten;
    // from then on nothing is even tried.
    let after = did(directory);
    assert!(
        after == done || after == done + 1,
        "{after} things done, {done} answered"
    );
    assert!(
        FULL.contains(&code.as_str())
            || ["journal_unavailable", "outcome_unrecorded"].contains(&code.as_str()),
        "{refused:?}"
    );
    for number in 0..3 {
        let Ended::Refused { code, text } = call(format!("full {number}")) else {
            panic!("something ran with the disk full");
        };
        assert!(FULL.contains(&code.as_str()), "{code}: {text}");
        assert!(text.contains("could not be written"), "{text}");
    }
    assert_eq!(did(directory), after, "something was done with a full disk");
}

/// How many things the tool has done.
fn did(directory: &Path) -> usize {
    let lines = fs::read_to_string(directory.join("did.txt")).unwrap();
    lines.lines().count()
}

/// Nothing in the journal contradicts the rest. There is nobody to ask for its end.
fn is_whole(directory: &Path) {
    let arguments = ["journal", "verify", "--home", "solo", "--offline"];
    let said = crate::binaries::run(directory, &arguments);
    assert_eq!(said.code, Some(0), "{:#}", said.json);
    assert_eq!(said.json["holds_together"], true);
}

#[test]
fn a_second_process_on_one_home_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    solo(directory.path());
    let did = directory.path().join("did.txt");
    serve_desk(&directory.path().join("solo"), &did);
    let _gateway = Gateway::start(directory.path());
    for mut second in [wrapped(directory.path()), serving(directory.path())] {
        let output = second.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{second:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("error: `solo` is in use by process"),
            "{said}"
        );
        // The README shows what it says.
        let next = said.lines().find(|line| line.starts_with("next:")).unwrap();
        let readme = fs::read_to_string(source("../README.md")).unwrap();
        assert!(readme.contains(next), "{next}");
    }
    assert!(!did.exists());
}

#[test]
fn without_a_log_to_confirm_the_journal_nothing_runs() {
    let mut world = World::start();
    world.stop("acme");
    world.stop("log");
    world.start_process("acme");
    // The handshake is no call: it passes to globex, which has its own gate.
    let mut agent = world.agent();
    let search = || ("search", json!({ "query": "lamp" }));
    let (tool, arguments) = search();
    assert_eq!(
        agent.call(tool, arguments).unwrap().code(),
        "log_unconfirmed"
    );
    assert_eq!(world.did().len(), 0);
    // As soon as the log answers, calls are decided again, without a restart.
    world.start_process("log");
    retry("calls are decided", || {
        let (tool, arguments) = search();
        matches!(agent.call(tool, arguments), Ok(Ended::Done(_))).then_some(())
    });
}

#[test]
fn a_backlog_beyond_the_configured_one_denies_and_then_drains() {
    let mut world = World::start();
    world.stop("acme");
    replace(
        &world.path("acme/operator.toml"),
        "# backlog_records = 100000",
        "backlog_records = 20",
    );
    world.start_process("acme");
    let mut agent = world.agent();
    agent.call("search", json!({ "query": "lamp" })).unwrap();
    world.kill("log");
    let mut done = 0;
    let refused = loop {
        match agent
            .call("search", json!({ "query": format!("lamp {done}") }))
            .unwrap()
        {
            Ended::Done(_) => done += 1,
            refused => break refused,
        }
        assert!(done < 100, "the backlog has no bound");
    };
    assert_eq!(refused.code(), "log_backlog");
    let did = world.did().len();
    assert_eq!(
        agent
            .call("search", json!({ "query": "x" }))
            .unwrap()
            .code(),
        "log_backlog"
    );
    assert_eq!(world.did().len(), did);
    world.start_process("log");
    retry("the backlog drains", || {
        match agent.call("search", json!({ "query": "lamp" })) {
            Ok(Ended::Done(_)) => Some(()),
            _ => None,
        }
    });
    world.verify_all_receipts();
}

/// `counterfoil mcp` in front of the support desk.
fn wrapped(directory: &Path) -> Command {
    let mut command = command(directory, &["mcp", "--home", "solo", "--"]);
    command
        .arg(support_desk())
        .arg("--did")
        .arg(directory.join("did.txt"));
    command.stderr(fs::File::create(directory.join("mcp.txt")).unwrap());
    command
}

/// Puts the support desk behind the gateway of a home.
fn serve_desk(home: &Path, did: &Path) {
    let path = home.join("operator.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("127.0.0.1:7100", "127.0.0.1:0");
    let more = format!(
        "[[agents]]\nname = \"bot\"\n[[servers]]\nname = \"desk\"\ncallers = \"agents\"\n\
         command = [{:?}, \"--did\", {did:?}]\n",
        support_desk()
    );
    fs::write(&path, format!("{text}\n{more}")).unwrap();
}

/// `counterfoil gateway serve` of a home that stands alone.
fn serving(directory: &Path) -> Command {
    command(directory, &["gateway", "serve", "--home", "solo"])
}

/// A gateway of a home that stands alone.
struct Gateway {
    child: Child,
    url: String,
}

impl Gateway {
    fn start(directory: &Path) -> Self {
        Self::run(&mut serving(directory))
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        Self {
            child,
            url: format!("http://{address}/mcp/desk"),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}: {text}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

//! The vectors cover what they should: codes, states, reasons. And the conversations say what the
//! enforcers do.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use ciborium::Value;
use xtask::vectors::conversation;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// A vector as it lies in its folder.
struct Vector {
    name: String,
    lines: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("test-vectors")).unwrap();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

fn vectors() -> Vec<Vector> {
    let files = folders()
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    files
        .map(|entry| {
            let path = entry.unwrap().path();
            let file = fs::read(&path).unwrap();
            let end = file.windows(2).position(|pair| pair == b"\n\n").unwrap();
            let header = std::str::from_utf8(&file[..end]).unwrap();
            Vector {
                name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
                lines: header
                    .lines()
                    .map(|line| line.split_once(": ").unwrap())
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                body: file[end + 2..].to_vec(),
            }
        })
        .collect()
}

fn conversations() -> Vec<Vector> {
    let mut found = vectors();
    found.retain(|vector| vector.lines["object"] == conversation::OBJECT);
    assert!(found.len() > 50, "only {} conversations", found.len());
    found
}

/// The first cells of the rows of the tables between two places of a text.
fn first_cells(text: &str, from: &str, to: &str) -> BTreeSet<String> {
    let section = text.split(from).nth(1).unwrap().split(to).next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('`').nth(1).unwrap().to_owned())
        .collect()
}

/// Those of our own list are looked at where they are verified, in the protocol crate.
#[test]
fn every_code_of_the_c2sp_objects_has_a_vector() {
    let named: BTreeSet<String> = vectors()
        .into_iter()
        .filter_map(|vector| vector.lines.get("code").cloned())
        .collect();
    let index = read("test-vectors/INDEX.md");
    let listed = first_cells(&index, "## Codes of the C2SP objects", "## Running them");
    assert!(listed.len() > 20, "{listed:?}");
    let without: Vec<&String> = listed
        .iter()
        .filter(|code| !named.contains(*code))
        .collect();
    assert!(without.is_empty(), "no vector names {without:?}");
}

#[test]
fn every_folder_is_in_the_index_and_in_the_readme() {
    let (index, readme) = (
        read("test-vectors/INDEX.md"),
        read("test-vectors/README.md"),
    );
    let names: Vec<String> = folders()
        .iter()
        .map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    for name in &names {
        assert!(index.contains(&format!("| `{name}` |")), "INDEX.md: {name}");
        assert!(
            readme.contains(&format!("| `{name}` |")),
            "README.md: {name}"
        );
    }
    let described = first_cells(&readme, "## The folders", "\n## ");
    assert_eq!(described.into_iter().collect::<Vec<_>>(), names);
}

/// What the steps of all conversations say under one key.
fn said(key: i64) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for vector in conversations() {
        for step in steps(&decode(&vector.body)) {
            for (name, value) in step.as_map().unwrap() {
                if *name != Value::from(key) {
                    continue;
                }
                match value {
                    Value::Text(text) => drop(found.insert(text.clone())),
                    Value::Array(states) => found.extend(
                        states
                            .iter()
                            .filter_map(|state| Some(state.as_array()?[1].as_text()?.to_owned())),
                    ),
                    _ => {}
                }
            }
        }
    }
    found
}

fn decode(bytes: &[u8]) -> Value {
    ciborium::from_reader(bytes).unwrap()
}

fn steps(conversation: &Value) -> &Vec<Value> {
    let entries = conversation.as_map().unwrap();
    let (_, steps) = entries
        .iter()
        .find(|(key, _)| *key == Value::from(6))
        .unwrap();
    steps.as_array().unwrap()
}

#[test]
fn every_event_state_and_reason_occurs_in_a_conversation() {
    let text = read("spec/17-conversations.md");
    assert_eq!(said(3), first_cells(&text, "## 3. Steps", "## 4."));
    let mut states = first_cells(&text, "## 4. States", "## 5.");
    // One row tells two.
    states.insert("refused".to_owned());
    assert_eq!(said(15), states);

    let reasons = said(11);
    let mcp = read("spec/6-mcp.md");
    let answers = mcp
        .split("| what is wrong with the answer, in this order | reason |")
        .nth(1);
    let answers = answers.unwrap().split("\n\n").next().unwrap();
    let checks = mcp.split("## 5. Checks on arrival").nth(1).unwrap();
    let checks = checks.split("\n## 6.").next().unwrap();
    // What stands in the last cell of a row, and in the text after the table of checks.
    let last_cells = answers
        .lines()
        .chain(checks.lines().filter(|line| line.starts_with('|')))
        .filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let mut wanted: BTreeSet<&str> = last_cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    wanted.extend(["too_many_refusals", "channel_unacknowledged"]);
    // A conversation is of records: what a result says of itself is read in the message.
    wanted.remove("attestations_malformed");
    assert!(wanted.len() > 18, "{wanted:?}");
    let without: Vec<&&str> = wanted
        .iter()
        .filter(|reason| !reasons.contains(**reason))
        .collect();
    assert!(without.is_empty(), "no conversation shows {without:?}");
}

#[test]
fn real_enforcers_do_what_every_conversation_says() {
    for vector in conversations() {
        let line = |name: &str| vector.lines.get(name).map(String::as_str);
        let steps = line("steps").unwrap();
        let expected = match (line("code"), line("refused-at")) {
            (Some(code), Some(at)) => format!("failure code={code} refused-at={at} steps={steps}"),
            (None, None) => format!("success steps={steps}"),
            other => panic!("{}: {other:?}", vector.name),
        };
        let answer = conversation::answer(&vector.body).unwrap();
        assert_eq!(answer, expected, "{}", vector.name);
        let replayed = conversation::replay(&vector.body).unwrap();
        assert_eq!(replayed.encode(), vector.body, "{}", vector.name);
    }
}

/// Otherwise the test above could not fail.
#[test]
fn a_conversation_that_says_otherwise_is_found() {
    let mut found = 0;
    for vector in conversations() {
        if vector.body.len() > 9_000 {
            continue;
        }
        let count = steps(&decode(&vector.body)).len();
        // The last step comes to something else; the step before it moves no request, or another.
        for (at, key) in [(count - 1, 10), (count - 2, 15)] {
            let mut changed = decode(&vector.body);
            let Value::Map(entries) = &mut changed else {
                panic!("{}", vector.name);
            };
            let steps = entries[5].1.as_array_mut().unwrap();
            let fields = steps[at].as_map_mut().unwrap();
            let field = fields
                .iter_mut()
                .find(|(name, _)| *name == Value::from(key));
            let (_, value) = field.unwrap();
            *value =
                match (key, &value) {
                    (10, Value::Text(word)) if word == "done" => Value::from("refused"),
                    (10, _) => Value::from("done"),
                    (_, Value::Array(states)) if states.is_empty() => Value::Array(vec![
                        Value::Array(vec![Value::Bytes(vec![7; 32]), Value::from("sent")]),
                    ]),
                    _ => Value::Array(Vec::new()),
                };
            let mut bytes = Vec::new();
            ciborium::into_writer(&changed, &mut bytes).unwrap();
            let answer = conversation::answer(&bytes).unwrap();
            let differs = format!("failure code=step_differs step={at}");
            assert_eq!(answer, differs, "{}", vector.name);
            found += 1;
        }
    }
    assert!(found > 90, "only {found}");
}

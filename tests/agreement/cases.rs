//! The vectors, as seeds, and the form in which a case goes to the other verifier.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::tree::{Node, Wrapped, sequence};
use super::{repair, text};

/// A vector, or a mutation of one.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The header lines, each with its LF.
    pub(crate) header: String,
    fields: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Case {
    fn parse(file: &[u8]) -> Self {
        let end = file.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let header = std::str::from_utf8(&file[..=end]).unwrap().to_owned();
        let fields = header
            .lines()
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            header,
            fields,
            body: file[end + 2..].to_vec(),
        }
    }

    pub(crate) fn optional(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    pub(crate) fn get(&self, field: &str) -> &str {
        self.optional(field).unwrap()
    }

    /// The same with other bytes.
    pub(crate) fn with(&self, body: Vec<u8>) -> Self {
        Self {
            body,
            ..self.clone()
        }
    }

    /// The same with another value in a line that it has.
    pub(crate) fn with_line(&self, field: &str, value: &str) -> Self {
        let mut case = self.clone();
        let line = |value: &str| format!("{field}: {value}\n");
        case.header = case.header.replace(&line(self.get(field)), &line(value));
        case.fields.insert(field.to_owned(), value.to_owned());
        case
    }

    /// The case as a file.
    pub(crate) fn file(&self) -> Vec<u8> {
        [self.header.as_bytes(), b"\n", &self.body].concat()
    }
}

/// All vectors.
pub(crate) struct Seeds {
    cases: BTreeMap<String, Case>,
    /// The names by object.
    pub(crate) names: BTreeMap<String, Vec<String>>,
    /// Those that are CBOR, taken apart.
    pub(crate) trees: BTreeMap<String, Vec<Node>>,
    /// Items of all objects, to put elsewhere.
    pub(crate) pool: Pool,
}

/// Items of good objects.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) all: Vec<Node>,
    /// Those that are the value of a key, by its encoding.
    pub(crate) of: BTreeMap<Vec<u8>, Vec<Node>>,
    known: BTreeSet<(Vec<u8>, Vec<u8>)>,
}

impl Pool {
    /// Keeps what stands in an object.
    fn gather(&mut self, node: &Node) {
        let mut node = node.clone();
        node.walk(&mut |node| {
            self.add(Vec::new(), node);
            if let Node::Map(entries) = node {
                for (key, value) in entries {
                    self.add(key.encode(), value);
                }
            }
            false
        });
    }

    fn add(&mut self, key: Vec<u8>, node: &Node) {
        let encoded = node.encode();
        if encoded.len() > 4_000 || !self.known.insert((key.clone(), encoded)) {
            return;
        }
        if key.is_empty() {
            self.all.push(node.clone());
        } else {
            self.of.entry(key).or_default().push(node.clone());
        }
    }
}

/// Larger ones would take the time of many others.
const LARGEST: usize = 12_000;
/// A conversation is replayed by enforcers with journals on disk, and a changed one says nothing
/// that its first changed step does not: they are compared as they are, and not changed.
const UNCHANGED: &str = "conversation";

impl Seeds {
    pub(crate) fn read() -> Self {
        let mut seeds = Self {
            cases: BTreeMap::new(),
            names: BTreeMap::new(),
            trees: BTreeMap::new(),
            pool: Pool::default(),
        };
        for path in below(&folder()) {
            let case = Case::parse(&fs::read(&path).unwrap());
            let name = format!("{}/{}", case.get("object"), stem(&path));
            if case.body.len() <= LARGEST && case.get("object") != UNCHANGED {
                let known = seeds.names.entry(case.get("object").to_owned());
                known.or_default().push(name.clone());
                if let Some(tree) = tree(&case) {
                    if case.get("expect") == "success" {
                        tree.iter().for_each(|node| seeds.pool.gather(node));
                    }
                    seeds.trees.insert(name.clone(), tree);
                }
            }
            seeds.cases.insert(name, case);
        }
        seeds
    }

    pub(crate) fn case(&self, name: &str) -> &Case {
        &self.cases[name]
    }

    /// All vectors, in the order of their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Case)> {
        self.cases.iter().map(|(name, case)| (name.as_str(), case))
    }
}

/// A case whose object is CBOR, taken apart; one object is treated as a byte string would be.
fn tree(case: &Case) -> Option<Vec<Node>> {
    if text::is_note(&case.body) && !case.body.starts_with(&[0xa0]) && case.body[0] < 0x80 {
        return None;
    }
    let mut items = sequence(&case.body)?;
    if let ([_], true) = (&items[..], case.get("object") != "cbor") {
        let whole = items.remove(0);
        items.push(Node::Wrapped(Box::new(Wrapped::new(whole))));
    }
    repair::remember(&mut items);
    Some(items)
}

/// The bytes of a case that was taken apart.
pub(crate) fn written(tree: &[Node]) -> Vec<u8> {
    match tree {
        [Node::Wrapped(whole)] => whole.node.encode(),
        items => items.iter().flat_map(Node::encode).collect(),
    }
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../test-vectors"))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The files in the folders of a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let folders = entries(folder).into_iter().filter(|path| path.is_dir());
    folders.flat_map(|folder| entries(&folder)).collect()
}

//! Reads vector files: header lines, an empty line, raw bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

pub(crate) struct Vector {
    /// `<object>/<name>`, as other vectors refer to it.
    pub(crate) name: String,
    fields: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Vector {
    pub(crate) fn optional(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    pub(crate) fn get(&self, field: &str) -> &str {
        self.optional(field)
            .unwrap_or_else(|| panic!("{} has no line `{field}`", self.name))
    }

    fn parse(name: String, file: &[u8]) -> Self {
        let end = file
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .unwrap_or_else(|| panic!("{name} has no empty line"));
        let mut fields = BTreeMap::new();
        for line in std::str::from_utf8(&file[..end]).unwrap().lines() {
            let (field, value) = line.split_once(": ").unwrap();
            let before = fields.insert(field.to_owned(), value.to_owned());
            assert!(before.is_none(), "{name} has two lines `{field}`");
        }
        assert_eq!(fields["object"], name.split('/').next().unwrap(), "{name}");
        Self {
            name,
            fields,
            body: file[end + 2..].to_vec(),
        }
    }
}

/// The vector with this name.
pub(crate) fn named(name: &str) -> Vector {
    let path = folder().join(format!("{name}.vector"));
    let file = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Vector::parse(name.to_owned(), &file)
}

/// What takes channels, which this crate does not keep: xtask replays it with real enforcers.
const ELSEWHERE: &str = "conversation";

/// All vectors of objects, in the order of their names.
pub(crate) fn all() -> Vec<Vector> {
    let mut names = Vec::new();
    for object in fs::read_dir(folder()).unwrap() {
        let object = object.unwrap().path();
        if object.is_dir() && !object.ends_with(ELSEWHERE) {
            for file in fs::read_dir(&object).unwrap() {
                let path = file.unwrap().path();
                let part =
                    |path: &std::path::Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
                names.push(format!("{}/{}", part(&object), part(&path)));
            }
        }
    }
    names.sort();
    names.iter().map(|name| named(name)).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-vectors"))
}

/// Bytes from lower-case hexadecimal digits.
pub(crate) fn hex<const N: usize>(digits: &str) -> [u8; N] {
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2).unwrap(), 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

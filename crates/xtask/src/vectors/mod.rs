//! The test vectors: one file a case, a text header and raw bytes, one fault each.
//!
//! `test-vectors/INDEX.md` describes the form for those who run them from other languages.

mod cbor;
mod commitments;
mod edit;
mod manifests;
mod receipts;
mod records;
mod scene;
mod transparency;
mod trust;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use counterfoil_protocol::failure::FailureCode;

use crate::world::World;

const EXTENSION: &str = "vector";

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    object: &'static str,
    name: String,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Case {
    /// A case in which `body` is what it should be.
    pub fn success(
        object: &'static str,
        name: &str,
        comment: &str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            object,
            name: name.to_owned(),
            fields: vec![
                ("expect", "success".to_owned()),
                ("comment", comment.to_owned()),
            ],
            body: body.into(),
        }
    }

    /// A case in which `body` has one fault, refused with `code`.
    pub fn failure(
        object: &'static str,
        name: &str,
        code: &str,
        comment: &str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            object,
            name: name.to_owned(),
            fields: vec![
                ("expect", "failure".to_owned()),
                ("code", code.to_owned()),
                ("comment", comment.to_owned()),
            ],
            body: body.into(),
        }
    }

    /// The same with a code of the protocol.
    pub fn refused(
        object: &'static str,
        name: &str,
        code: FailureCode,
        comment: &str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        Self::failure(object, name, code.as_str(), comment, body)
    }

    /// The same case with one more header line.
    #[must_use]
    pub fn with(mut self, field: &'static str, value: impl ToString) -> Self {
        self.fields.push((field, value.to_string()));
        self
    }

    /// The same case with another value for a header line that it has.
    #[must_use]
    pub fn replacing(mut self, field: &'static str, value: impl ToString) -> Self {
        self.fields.retain(|(present, _)| *present != field);
        self.with(field, value)
    }

    fn path(&self) -> String {
        format!("{}/{}.{EXTENSION}", self.object, self.name)
    }

    fn file(&self) -> Vec<u8> {
        let mut file = format!("object: {}\n", self.object).into_bytes();
        for (field, value) in &self.fields {
            file.extend_from_slice(format!("{field}: {value}\n").as_bytes());
        }
        file.push(b'\n');
        file.extend_from_slice(&self.body);
        file
    }
}

/// All vector files, by their paths below `test-vectors/`.
///
/// # Errors
/// When the world cannot be made, or two cases have one name.
pub fn files() -> Result<BTreeMap<String, Vec<u8>>> {
    let world = World::build()?;
    let mut files = BTreeMap::new();
    for cases in [
        cbor::cases()?,
        records::cases(&world)?,
        commitments::cases(&world)?,
        manifests::cases(&world)?,
        trust::cases(&world)?,
        transparency::cases(&world)?,
        receipts::cases(&world)?,
    ] {
        for case in cases {
            let path = case.path();
            if files.insert(path.clone(), case.file()).is_some() {
                bail!("two cases are named {path}");
            }
        }
    }
    Ok(files)
}

/// Writes the vectors below `root`, and removes vector files that are no case any more.
///
/// # Errors
/// When a file cannot be written.
pub fn write(root: &Path) -> Result<usize> {
    let wanted = files()?;
    for path in existing(root)?
        .keys()
        .filter(|path| !wanted.contains_key(*path))
    {
        fs::remove_file(root.join(path)).with_context(|| path.clone())?;
    }
    for (path, bytes) in &wanted {
        let file = root.join(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&file, bytes).with_context(|| path.clone())?;
    }
    Ok(wanted.len())
}

/// Checks that the files below `root` are exactly the vectors.
///
/// # Errors
/// Names the first file that is missing, superfluous or different.
pub fn check(root: &Path) -> Result<usize> {
    let wanted = files()?;
    let found = existing(root)?;
    for (path, bytes) in &wanted {
        match found.get(path) {
            None => bail!("test-vectors/{path} is missing; `cargo xtask vectors` writes it"),
            Some(found) if found != bytes => {
                bail!("test-vectors/{path} differs; `cargo xtask vectors` writes it")
            }
            Some(_) => {}
        }
    }
    if let Some(path) = found.keys().find(|path| !wanted.contains_key(*path)) {
        bail!("test-vectors/{path} belongs to no case");
    }
    Ok(wanted.len())
}

fn existing(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for folder in entries(root)?.into_iter().filter(|path| path.is_dir()) {
        for file in entries(&folder)? {
            if file
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                let path = file
                    .strip_prefix(root)?
                    .to_string_lossy()
                    .replace('\\', "/");
                files.insert(path, fs::read(&file)?);
            }
        }
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

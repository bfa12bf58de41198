//! The test vectors: one file a case, a text header and raw bytes, one fault each.
//!
//! `test-vectors/INDEX.md` describes the form for those who run them from other languages.

mod bundles;
mod cbor;
mod commitments;
mod contracts;
pub mod conversation;
mod edit;
mod faults;
mod manifests;
mod receipts;
mod records;
mod scene;
mod stock;
mod transparency;
mod trust;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
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

    /// What the bytes are.
    pub const fn object(&self) -> &'static str {
        self.object
    }

    /// The case's name among those of its object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the bytes are what they should be.
    pub fn is_good(&self) -> bool {
        self.fields.contains(&("expect", "success".to_owned()))
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

/// All cases.
///
/// # Errors
/// When the world cannot be made.
pub fn cases() -> Result<Vec<Case>> {
    let world = World::build()?;
    Ok([
        cbor::cases()?,
        records::cases(&world)?,
        commitments::cases(&world)?,
        manifests::cases(&world)?,
        trust::cases(&world)?,
        transparency::cases(&world)?,
        receipts::cases(&world)?,
        contracts::cases(&world)?,
        bundles::cases(&world)?,
        faults::cases(&world)?,
        stock::cases(&world)?,
        conversation::cases()?,
    ]
    .concat())
}

/// All vector files, by their paths below `test-vectors/`.
///
/// # Errors
/// When the world cannot be made, or two cases have one name.
pub fn files() -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for case in cases()? {
        if files.insert(case.path(), case.file()).is_some() {
            bail!("two cases are named {}", case.path());
        }
    }
    Ok(files)
}

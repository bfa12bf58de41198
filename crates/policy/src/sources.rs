//! The files of a policy set: which there may be, how they are read, and their digest.

use std::fs;
use std::io;
use std::path::Path;

use counterfoil_protocol::cbor::Encoder;
use counterfoil_protocol::digest::ContentDigest;

use crate::error::{Place, PolicyError};
use crate::schema::{BUILT_IN_NAME, BUILT_IN_SCHEMA};
use crate::statements::{self, Statement, TooComplex};

const SCHEMA_NAME: &str = "schema.cedarschema";
const README_NAME: &str = "README.md";

/// All files of a set may have this many bytes together. Hundreds of policies fit.
const MAX_TOTAL_BYTES: usize = 4 << 20;

/// The files of a policy set, sorted by the bytes of their names.
#[derive(Debug)]
pub(crate) struct Sources {
    files: Vec<(String, Vec<u8>)>,
}

/// One file as text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceFile<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl SourceFile<'_> {
    pub(crate) fn place(&self, offset: usize) -> Place {
        Place::of(self.name, self.text, offset)
    }

    /// The statements of the file. Nothing may be given to Cedar before.
    pub(crate) fn statements(&self) -> Result<Vec<Statement>, PolicyError> {
        statements::split(self.text).map_err(|TooComplex(offset)| PolicyError::TooComplex {
            at: self.place(offset),
        })
    }
}

impl Sources {
    /// Reads the files in the folder `dir`. Hidden files and the README are not part of the set;
    /// anything else unknown is refused.
    pub(crate) fn read(dir: &Path) -> Result<Self, PolicyError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            |source: io::Error| PolicyError::Unreadable { path, source }
        };
        let mut files = Vec::new();
        let mut total = 0_u64;
        for entry in fs::read_dir(dir).map_err(unreadable(dir))? {
            let path = entry.map_err(unreadable(dir))?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let hidden = name.starts_with('.');
            if !is_policy_file(&name) && (hidden || name == README_NAME) {
                continue;
            }
            let metadata = fs::metadata(&path).map_err(unreadable(&path))?;
            if hidden || !is_policy_file(&name) || !metadata.is_file() {
                return Err(PolicyError::UnexpectedFile { file: name });
            }
            total = total.saturating_add(metadata.len());
            if total > MAX_TOTAL_BYTES as u64 {
                return Err(PolicyError::TooLarge {
                    file: name,
                    limit: MAX_TOTAL_BYTES,
                });
            }
            files.push((name, fs::read(&path).map_err(unreadable(&path))?));
        }
        Self::new(files)
    }

    /// Checks the names and sizes of `files`, in any order.
    pub(crate) fn new(mut files: Vec<(String, Vec<u8>)>) -> Result<Self, PolicyError> {
        files.sort();
        let mut total = 0_usize;
        let mut previous = None;
        for (name, content) in &files {
            if name.starts_with('.') || name.contains(['/', '\\']) || !is_policy_file(name) {
                return Err(PolicyError::UnexpectedFile { file: name.clone() });
            }
            if previous == Some(name) {
                return Err(PolicyError::DuplicateFile { file: name.clone() });
            }
            previous = Some(name);
            total = total.saturating_add(content.len());
            if total > MAX_TOTAL_BYTES {
                return Err(PolicyError::TooLarge {
                    file: name.clone(),
                    limit: MAX_TOTAL_BYTES,
                });
            }
        }
        Ok(Self { files })
    }

    /// The schema the operator wrote.
    pub(crate) fn schema(&self) -> Result<SourceFile<'_>, PolicyError> {
        let file = self.files.iter().find(|(name, _)| name == SCHEMA_NAME);
        as_text(file.ok_or(PolicyError::MissingSchema)?)
    }

    /// The policy files, sorted by the bytes of their names.
    pub(crate) fn policies(&self) -> impl Iterator<Item = Result<SourceFile<'_>, PolicyError>> {
        self.files
            .iter()
            .filter(|(name, _)| name != SCHEMA_NAME)
            .map(as_text)
    }

    /// The names and contents, sorted by the bytes of their names.
    pub(crate) fn files(&self) -> &[(String, Vec<u8>)] {
        &self.files
    }

    /// BLAKE3 over the CBOR array of [name, content] pairs, sorted by the bytes of the names. The
    /// built-in schema stands among them under a name that no file can have.
    pub(crate) fn digest(&self) -> ContentDigest {
        let mut pairs: Vec<(&str, &[u8])> = self
            .files
            .iter()
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect();
        pairs.push((BUILT_IN_NAME, BUILT_IN_SCHEMA.as_bytes()));
        pairs.sort_unstable();
        let mut encoder = Encoder::default();
        encoder.array(pairs.len());
        for (name, content) in pairs {
            encoder.array(2).text(name).bytes(content);
        }
        ContentDigest::of(&encoder.into_bytes())
    }
}

fn is_policy_file(name: &str) -> bool {
    name == SCHEMA_NAME
        || Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "cedar")
        || name == ".cedar"
}

fn as_text((name, content): &(String, Vec<u8>)) -> Result<SourceFile<'_>, PolicyError> {
    match core::str::from_utf8(content) {
        Ok(text) => Ok(SourceFile { name, text }),
        Err(error) => {
            let valid = String::from_utf8_lossy(content);
            let at = Place::of(name, &valid, error.valid_up_to());
            Err(PolicyError::NotText { at })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(files: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn only_policy_files_are_taken() {
        for good in ["schema.cedarschema", "a.cedar", "a.b.cedar", "schema.cedar"] {
            assert!(Sources::new(owned(&[(good, "")])).is_ok(), "{good}");
        }
        for bad in [
            "a.ceder",
            "a.CEDAR",
            "cedar",
            ".cedar",
            ".a.cedar",
            "other.cedarschema",
            "schema.cedarschema.bak",
            "README.md",
            "b/a.cedar",
            "..\\a.cedar",
            "",
        ] {
            let error = Sources::new(owned(&[(bad, "")])).unwrap_err();
            assert_eq!(error.code(), "policy_unexpected_file", "{bad}");
        }
        let error = Sources::new(owned(&[("a.cedar", "1"), ("a.cedar", "2")])).unwrap_err();
        assert_eq!(error.code(), "policy_duplicate_file");
    }

    #[test]
    fn a_folder_may_hold_a_readme_and_hidden_files_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "schema.cedarschema",
            "a.cedar",
            "README.md",
            ".a.cedar.swp",
            ".gitignore",
        ] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("..data")).unwrap();
        let names: Vec<_> = Sources::read(dir.path())
            .unwrap()
            .files
            .into_iter()
            .map(|file| file.0)
            .collect();
        assert_eq!(names, ["a.cedar", "schema.cedarschema"]);

        for bad in [
            "b.ceder",
            "notes.txt",
            ".hidden.cedar",
            "schema.cedarschema~",
        ] {
            let path = dir.path().join(bad);
            fs::write(&path, "").unwrap();
            let error = Sources::read(dir.path()).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("{bad}: not a policy file")),
                "{error}"
            );
            fs::remove_file(path).unwrap();
        }
        fs::create_dir(dir.path().join("folder.cedar")).unwrap();
        assert_eq!(
            Sources::read(dir.path()).unwrap_err().code(),
            "policy_unexpected_file"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Sources::read(&dir.path().join("absent")).unwrap_err();
        assert_eq!(error.code(), "policy_unreadable");
        assert!(error.to_string().contains("absent"));
    }

    #[test]
    fn text_that_is_not_utf8_is_located() {
        let files = vec![(
            "schema.cedarschema".to_owned(),
            b"// \xc3\xa9\n ab\xff".to_vec(),
        )];
        let error = Sources::new(files).unwrap().schema().unwrap_err();
        assert_eq!(error.place().unwrap().to_string(), "schema.cedarschema:2:4");
    }

    #[test]
    fn too_much_is_refused() {
        let files = vec![("a.cedar".to_owned(), vec![b' '; MAX_TOTAL_BYTES + 1])];
        assert_eq!(Sources::new(files).unwrap_err().code(), "policy_too_large");
    }

    #[test]
    fn the_digest_is_of_the_documented_bytes() {
        let sources =
            Sources::new(owned(&[("schema.cedarschema", "s"), ("a.cedar", "p")])).unwrap();
        let mut bytes = vec![0x83, 0x82, 0x67];
        bytes.extend(b"a.cedar\x41p\x82\x78\x1b");
        bytes.extend(BUILT_IN_NAME.as_bytes());
        bytes.push(0x59);
        bytes.extend(u16::try_from(BUILT_IN_SCHEMA.len()).unwrap().to_be_bytes());
        bytes.extend(BUILT_IN_SCHEMA.as_bytes());
        bytes.extend(b"\x82\x72schema.cedarschema\x41s");
        assert_eq!(sources.digest(), ContentDigest::of(&bytes));
    }

    #[test]
    fn the_digest_depends_on_every_byte_and_not_on_the_order() {
        let digest = |files: &[(&str, &str)]| Sources::new(owned(files)).unwrap().digest();
        let base = digest(&[("a.cedar", "p"), ("b.cedar", "q")]);
        assert_eq!(base, digest(&[("b.cedar", "q"), ("a.cedar", "p")]));
        for other in [
            &[("a.cedar", "q"), ("b.cedar", "p")][..],
            &[("a.cedar", "p "), ("b.cedar", "q")],
            &[("a.cedar", "p"), ("c.cedar", "q")],
            &[("a.cedar", "pq"), ("b.cedar", "")],
            &[("a.cedar", "p")],
        ] {
            assert_ne!(base, digest(other), "{other:?}");
        }
    }
}

//! Why a policy folder is refused.

use core::fmt;
use std::io;
use std::path::PathBuf;

/// A place in a policy file. Prints as `file:line:column`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The name of the file, without its folder.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset` of `text`; the end of the text if there is none.
    pub(crate) fn of(file: &str, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before.chars().count() - before.get(..line_start).unwrap_or("").chars().count()
                + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a policy folder is refused: where, what, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// An annotation is unknown, misplaced or has a malformed value.
    #[error("{at}: {detail}")]
    Annotation {
        /// Where the annotation stands.
        at: Place,
        /// What is wrong with it.
        detail: String,
    },
    /// Two files have one name.
    #[error("{file}: given twice; a file name may stand only once in a policy set")]
    DuplicateFile {
        /// The name.
        file: String,
    },
    /// Two policies have one id.
    #[error("{at}: the policy id `{id}` is already taken at {first}; give one of them another id")]
    DuplicateId {
        /// Where the second stands.
        at: Place,
        /// The id.
        id: String,
        /// Where the first stands.
        first: Place,
    },
    /// The policies do not fit the schema, or could never apply.
    #[error("{at}: policy `{id}`: {detail}")]
    Invalid {
        /// Where it is wrong.
        at: Place,
        /// The id of the policy.
        id: String,
        /// What does not fit.
        detail: String,
    },
    /// A policy has no id.
    #[error("{at}: this policy has no id; write `@id(\"a-name\")` in front of it")]
    MissingId {
        /// Where the policy begins.
        at: Place,
    },
    /// The folder has no schema.
    #[error("schema.cedarschema: not found; a policy folder needs it to declare its actions")]
    MissingSchema,
    /// There is not a single policy, so every call would be denied.
    #[error("no policies: no `*.cedar` file has one, so every call would be denied; write one")]
    NoPolicies,
    /// A file is not UTF-8 text.
    #[error("{at}: not UTF-8 text; save the file as UTF-8")]
    NotText {
        /// Where the first invalid byte stands.
        at: Place,
    },
    /// The schema declares something it may not, or not in the form that is needed.
    #[error("{at}: {detail}")]
    Schema {
        /// Where it is declared.
        at: Place,
        /// What is wrong and what is needed.
        detail: String,
    },
    /// Cedar cannot read a file.
    #[error("{at}: {detail}")]
    Syntax {
        /// Where it stops making sense.
        at: Place,
        /// What Cedar says about it.
        detail: String,
    },
    /// A policy is a template, which nothing here could fill in.
    #[error("{at}: templates (`?principal`, `?resource`) are not supported; name the entity")]
    Template {
        /// Where the policy begins.
        at: Place,
    },
    /// A statement is too long or too deeply nested to be given to Cedar.
    #[error("{at}: too deeply nested or too long; write several policies instead")]
    TooComplex {
        /// Where it becomes so.
        at: Place,
    },
    /// The files are larger than any policy set should be.
    #[error("{file}: with this file the policy set is larger than {limit} bytes")]
    TooLarge {
        /// The file that is too much.
        file: String,
        /// The most bytes that all files may have together.
        limit: usize,
    },
    /// The folder holds something that is not part of a policy set.
    #[error(
        "{file}: not a policy file, so it would have no effect; only `schema.cedarschema`, \
         `*.cedar` and `README.md` may be here: rename it or move it elsewhere"
    )]
    UnexpectedFile {
        /// The name of the file or folder.
        file: String,
    },
    /// The folder or a file in it cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Cedar accepted the set and could not prepare it, which is a defect of this crate.
    #[error("the policy set cannot be used: {detail}; please report this")]
    Unusable {
        /// What Cedar says.
        detail: String,
    },
}

impl PolicyError {
    /// A stable code for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Annotation { .. } => "policy_annotation",
            Self::DuplicateFile { .. } => "policy_duplicate_file",
            Self::DuplicateId { .. } => "policy_duplicate_id",
            Self::Invalid { .. } => "policy_invalid",
            Self::MissingId { .. } => "policy_missing_id",
            Self::MissingSchema => "policy_missing_schema",
            Self::NoPolicies => "policy_none",
            Self::NotText { .. } => "policy_not_text",
            Self::Schema { .. } => "policy_schema",
            Self::Syntax { .. } => "policy_syntax",
            Self::Template { .. } => "policy_template",
            Self::TooComplex { .. } => "policy_too_complex",
            Self::TooLarge { .. } => "policy_too_large",
            Self::UnexpectedFile { .. } => "policy_unexpected_file",
            Self::Unreadable { .. } => "policy_unreadable",
            Self::Unusable { .. } => "policy_unusable",
        }
    }

    /// Where in the files it is wrong, when it is at one place.
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::Annotation { at, .. }
            | Self::DuplicateId { at, .. }
            | Self::Invalid { at, .. }
            | Self::MissingId { at }
            | Self::NotText { at }
            | Self::Schema { at, .. }
            | Self::Syntax { at, .. }
            | Self::Template { at }
            | Self::TooComplex { at } => Some(at),
            Self::DuplicateFile { .. }
            | Self::MissingSchema
            | Self::NoPolicies
            | Self::TooLarge { .. }
            | Self::UnexpectedFile { .. }
            | Self::Unreadable { .. }
            | Self::Unusable { .. } => None,
        }
    }
}

/// What Cedar says is wrong, in one line: message, label and help, without repetition.
pub(crate) fn cedar_detail(diagnostic: &dyn miette::Diagnostic) -> String {
    let mut detail = diagnostic.to_string();
    let label = diagnostic
        .labels()
        .and_then(|mut labels| labels.next()?.label().map(String::from));
    let help = diagnostic.help().map(|help| help.to_string());
    for part in [label, help].into_iter().flatten() {
        if !detail.contains(&part) {
            detail = format!("{detail}; {part}");
        }
    }
    detail.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where Cedar says it is wrong, as a byte offset in the text it was given.
pub(crate) fn cedar_offset(diagnostic: &dyn miette::Diagnostic) -> Option<usize> {
    diagnostic.labels()?.map(|label| label.offset()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "é\n  x\r\ny";
        let place = |offset| Place::of("f", text, offset).to_string();
        assert_eq!(place(0), "f:1:1");
        assert_eq!(place(2), "f:1:2");
        assert_eq!(place(5), "f:2:3");
        assert_eq!(place(8), "f:3:1");
        assert_eq!(place(99), "f:3:2");
    }
}

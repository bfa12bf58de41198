//! Reading policy files (tlog-policy, section "Policy file syntax and structure").
//!
//! The file is octets, not text: names are compared byte for byte and only tab and space separate.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Definition, Group, LineProblem, MAX_POLICY_BYTES, Policy, PolicyError, PolicyLog, PolicyWitness,
};
use crate::note::{Algorithm, VerifierKey};
use crate::text::parse_decimal;

/// The predefined name that means "no witness needed".
pub(super) const NONE: &[u8] = b"none";

pub(super) fn parse(bytes: &[u8]) -> Result<Policy, PolicyError> {
    if bytes.len() > MAX_POLICY_BYTES {
        return Err(PolicyError::TooLarge);
    }
    let mut parser = Parser::default();
    for (position, line) in bytes.split_inclusive(|octet| *octet == b'\n').enumerate() {
        let number = position + 1;
        let line = line
            .strip_suffix(b"\n")
            .ok_or(PolicyError::UnterminatedLine(number))?;
        parser.line(line).map_err(|problem| PolicyError::Line {
            line: number,
            problem,
        })?;
    }
    let quorum = parser.quorum.ok_or(PolicyError::NoQuorum)?;
    Ok(Policy {
        logs: parser.logs,
        definitions: parser.definitions,
        quorum,
    })
}

#[derive(Default)]
struct Parser {
    logs: Vec<PolicyLog>,
    definitions: Vec<Definition>,
    quorum: Option<Option<usize>>,
    positions: BTreeMap<Vec<u8>, usize>,
    members: BTreeSet<usize>,
    log_keys: BTreeSet<[u8; 32]>,
    witness_keys: BTreeSet<[u8; 32]>,
}

impl Parser {
    fn line(&mut self, line: &[u8]) -> Result<(), LineProblem> {
        let control = |octet: &&u8| !matches!(**octet, b'\t' | 0x20..=0x7e | 0x80..);
        if let Some(octet) = line.iter().find(control) {
            return Err(LineProblem::ControlCharacter(*octet));
        }
        let words: Vec<&[u8]> = line
            .split(|octet| matches!(octet, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", rest @ ..] => self.log(rest),
            [b"witness", rest @ ..] => self.witness(rest),
            [b"group", rest @ ..] => self.group(rest),
            [b"quorum", rest @ ..] => self.quorum(rest),
            [other, ..] => Err(LineProblem::UnknownKeyword(lossy(other))),
        }
    }

    fn log(&mut self, words: &[&[u8]]) -> Result<(), LineProblem> {
        let (key, url) = match words {
            [key] => (key, None),
            [key, url] => (key, Some(url.to_vec())),
            _ => return Err(LineProblem::Words("log <vkey> [<url>]")),
        };
        let key = verifier_key(key, Algorithm::Ed25519)?;
        if !self.log_keys.insert(*key.public_key()) {
            return Err(LineProblem::DuplicateKey);
        }
        self.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn witness(&mut self, words: &[&[u8]]) -> Result<(), LineProblem> {
        let (name, key, url) = match words {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(url.to_vec())),
            _ => return Err(LineProblem::Words("witness <name> <vkey> [<url>]")),
        };
        let key = verifier_key(key, Algorithm::CosignatureEd25519)?;
        if !self.witness_keys.insert(*key.public_key()) {
            return Err(LineProblem::DuplicateKey);
        }
        self.define(
            name,
            Definition::Witness(Box::new(PolicyWitness {
                name: name.to_vec(),
                key,
                url,
            })),
        )
    }

    fn group(&mut self, words: &[&[u8]]) -> Result<(), LineProblem> {
        let [name, threshold, names @ ..] = words else {
            return Err(LineProblem::Words("group <name> <all|any|k> <member>..."));
        };
        if names.is_empty() {
            return Err(LineProblem::Words("group <name> <all|any|k> <member>..."));
        }
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            let position = self.position(member)?;
            if !self.members.insert(position) {
                return Err(LineProblem::DuplicateMember(lossy(member)));
            }
            members.push(position);
        }
        let threshold = match *threshold {
            b"any" => 1,
            b"all" => members.len(),
            number => core::str::from_utf8(number)
                .ok()
                .and_then(parse_decimal)
                .and_then(|k| usize::try_from(k).ok())
                .filter(|k| (1..=members.len()).contains(k))
                .ok_or_else(|| LineProblem::Threshold(lossy(number)))?,
        };
        self.define(
            name,
            Definition::Group(Group {
                name: name.to_vec(),
                threshold,
                members,
            }),
        )
    }

    fn quorum(&mut self, words: &[&[u8]]) -> Result<(), LineProblem> {
        let [name] = words else {
            return Err(LineProblem::Words("quorum <name>"));
        };
        if self.quorum.is_some() {
            return Err(LineProblem::SecondQuorum);
        }
        let position = if *name == NONE {
            None
        } else {
            Some(self.position(name)?)
        };
        self.quorum = Some(position);
        Ok(())
    }

    fn define(&mut self, name: &[u8], definition: Definition) -> Result<(), LineProblem> {
        if name == NONE {
            return Err(LineProblem::ReservedName);
        }
        if self
            .positions
            .insert(name.to_vec(), self.definitions.len())
            .is_some()
        {
            return Err(LineProblem::DuplicateName(lossy(name)));
        }
        self.definitions.push(definition);
        Ok(())
    }

    fn position(&self, name: &[u8]) -> Result<usize, LineProblem> {
        if name == NONE {
            return Err(LineProblem::ReservedName);
        }
        let position = self.positions.get(name).copied();
        position.ok_or_else(|| LineProblem::UnknownName(lossy(name)))
    }
}

fn verifier_key(word: &[u8], algorithm: Algorithm) -> Result<VerifierKey, LineProblem> {
    let text =
        core::str::from_utf8(word).map_err(|_| LineProblem::Key(crate::note::KeyError::Form))?;
    let key = VerifierKey::parse(text).map_err(LineProblem::Key)?;
    if key.algorithm() == algorithm {
        Ok(key)
    } else {
        Err(LineProblem::KeyType)
    }
}

fn lossy(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

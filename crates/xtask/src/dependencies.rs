//! Checks `deny.toml`: licences, bans and sources of every dependency.
//!
//! It reads the same file as cargo-deny and what `cargo metadata` says, so that a fresh clone
//! needs nothing installed. Advisories need a database from the network and are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// The parts of `deny.toml` that are checked here.
#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bans {
    multiple_versions: String,
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    unknown_registry: String,
    unknown_git: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: String,
}

/// Checks every dependency of the workspace, and says how many there are.
///
/// # Errors
/// Names every dependency that breaks a rule.
pub(crate) fn check(root: &Path) -> Result<String> {
    let file = root.join("deny.toml");
    let text = std::fs::read_to_string(&file).context("deny.toml")?;
    let rules: Rules = toml::from_str(&text).context("deny.toml")?;
    ensure!(
        rules.sources.unknown_registry == "deny" && rules.sources.unknown_git == "deny",
        "deny.toml: only `deny` is known for unknown sources"
    );
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;

    let mut complaints = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let (mut foreign, mut own) = (0, 0);
    for package in &metadata.packages {
        let name = format!("{} {}", package.name, package.version);
        match package.source.as_deref() {
            // A path, which must be one of ours.
            None if Path::new(&package.manifest_path).starts_with(root) => {
                own += 1;
                continue;
            }
            Some(source) if is_default_registry(source) => foreign += 1,
            other => complaints.push(format!(
                "{name}: comes from {}",
                other.unwrap_or("a path outside the workspace")
            )),
        }
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
        if let Some(ban) = rules.bans.deny.iter().find(|ban| ban.name == package.name) {
            complaints.push(format!("{name}: banned: {}", ban.reason));
        }
        match package
            .license
            .as_deref()
            .map(|text| (text, is_allowed(text, &rules.licenses.allow)))
        {
            Some((_, Ok(true))) => {}
            Some((text, Ok(false))) => {
                complaints.push(format!("{name}: licence `{text}` is not allowed"))
            }
            Some((text, Err(error))) => {
                complaints.push(format!("{name}: licence `{text}`: {error}"))
            }
            None => complaints.push(format!("{name}: names no licence")),
        }
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    let several: Vec<String> = versions
        .iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| {
            format!(
                "{name} ({})",
                versions.iter().copied().collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    match rules.bans.multiple_versions.as_str() {
        "warn" if !several.is_empty() => println!("several versions: {}", several.join("; ")),
        "deny" => ensure!(
            several.is_empty(),
            "several versions: {}",
            several.join("; ")
        ),
        _ => {}
    }
    Ok(format!(
        "{foreign} dependencies of {own} crates, all allowed"
    ))
}

/// Whether a source is cargo's own default registry.
fn is_default_registry(source: &str) -> bool {
    source.starts_with("registry+") && source.ends_with("/crates.io-index")
}

/// Whether one of the ways an SPDX expression can be met uses allowed licences only.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> Result<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        // The old spelling of a choice.
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = either(&mut words, allowed)?;
    match words.next() {
        None => Ok(met),
        Some(word) => bail!("`{word}` is not expected"),
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> Result<bool> {
    let mut met = both(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed)?;
    }
    Ok(met)
}

fn both(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> Result<bool> {
    let mut met = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed)?;
    }
    Ok(met)
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> Result<bool> {
    let word = words.next().context("it ends too early")?;
    if word == "(" {
        let met = either(words, allowed)?;
        ensure!(words.next() == Some(")"), "a parenthesis is not closed");
        return Ok(met);
    }
    let mut licence = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{word} WITH {}", words.next().context("it ends too early")?);
    }
    Ok(allowed.contains(&licence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_as_spdx_says() {
        let allowed: BTreeSet<String> = ["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]
            .map(str::to_owned)
            .into();
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(GPL-3.0-only OR Apache-2.0) AND Unicode-3.0", false),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0 WITH Other-exception", false),
            ("GPL-3.0-only AND MIT OR MIT", true),
        ] {
            assert_eq!(
                is_allowed(expression, &allowed).unwrap(),
                met,
                "{expression}"
            );
        }
        for malformed in ["", "(MIT", "MIT)", "MIT OR", "MIT MIT"] {
            assert!(is_allowed(malformed, &allowed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn only_the_default_registry_is_known() {
        assert!(is_default_registry(
            "registry+https://host.example/crates.io-index"
        ));
        assert!(!is_default_registry("registry+https://host.example/index"));
        assert!(!is_default_registry(
            "git+https://host.example/crates.io-index"
        ));
    }
}

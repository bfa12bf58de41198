//! The texts: codes, steps and section numbers are those of the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use counterfoil_protocol::FailureCode;
use counterfoil_protocol::fault::FaultKind;
use counterfoil_protocol::verify::StepName;

use super::root;

const TEXTS: [(&str, &str); 18] = [
    ("overview", "0-overview.md"),
    ("records", "1-records.md"),
    ("batches", "2-batches.md"),
    ("receipts", "3-receipts.md"),
    ("verification", "4-verification.md"),
    ("manifests", "5-manifests.md"),
    ("mcp", "6-mcp.md"),
    ("contracts", "7-contracts.md"),
    ("faults", "8-faults.md"),
    ("bundles", "9-bundles.md"),
    ("reconciliation", "10-reconciliation.md"),
    ("http", "11-http.md"),
    ("a2a", "12-a2a.md"),
    ("stock receipts", "13-stock-receipts.md"),
    ("replay", "14-replay.md"),
    ("security", "15-security.md"),
    ("registries", "16-registries.md"),
    ("conversations", "17-conversations.md"),
];

fn text(file: &str) -> String {
    fs::read_to_string(root().join("spec").join(file)).unwrap()
}

/// The rows of the table under a heading, without its head, as trimmed cells.
fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    text.split(heading)
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn the_registry_of_codes_is_the_crate_s() {
    let written: Vec<(String, String)> = rows(&text("4-verification.md"), "## 5. Failure codes")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let known: Vec<(String, String)> = FailureCode::ALL
        .iter()
        .map(|code| (code.to_string(), code.meaning().trim().to_owned()))
        .collect();
    assert_eq!(written, known);
}

#[test]
fn the_steps_are_the_crate_s() {
    use StepName::{
        BatchPath, Commitment, Disclosures, Key, Level, LogInclusion, ManifestLog, Manifests,
        Presentation, Receipt, Record, RecordSignature, TimeBounds, Witnesses,
    };
    let known: Vec<(String, String)> = [
        Receipt,
        Record,
        Manifests,
        Key,
        RecordSignature,
        Disclosures,
        Commitment,
        BatchPath,
        LogInclusion,
        Witnesses,
        ManifestLog,
        TimeBounds,
        Presentation,
        Level,
    ]
    .iter()
    .map(|step| (step.number().to_string(), step.as_str().to_owned()))
    .collect();
    let written: Vec<(String, String)> = rows(&text("4-verification.md"), "## 2. Steps")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    assert_eq!(written, known);
}

#[test]
fn every_code_in_the_texts_exists() {
    let known: BTreeSet<&str> = FailureCode::ALL.iter().map(|code| code.as_str()).collect();
    let families = [
        "cbor_",
        "structure_",
        "cose_",
        "record_",
        "commitment_",
        "manifest_",
        "key_",
        "bundle_",
        "fault_",
        "presentation_",
    ];
    // Names of steps and header fields that look like codes.
    let others = [
        "record_signature",
        "manifest_log",
        // Codes of enforcer and commands, not of verification.
        "key_taken",
        "key_exposed",
        "record_is_ours",
        "record_may_be_ours",
    ];
    let faults: BTreeSet<&str> = FaultKind::ALL.iter().map(|kind| kind.as_str()).collect();
    for (_, file) in TEXTS {
        for word in text(file).split('`').skip(1).step_by(2) {
            let code = families.iter().any(|family| word.starts_with(family))
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(
                !code
                    || word.ends_with('_')
                    || known.contains(word)
                    || others.contains(&word)
                    || faults.contains(word),
                "{file}: `{word}`"
            );
        }
    }
}

/// What the registries list is written by some crate.
#[test]
fn every_name_in_the_registries_is_in_the_code() {
    let mut files = Vec::new();
    collect(&root().join("crates"), "rs", &mut files);
    let code: String = files
        .iter()
        .filter(|file| file.components().any(|part| part.as_os_str() == "src"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let mut found = 0;
    for word in text("16-registries.md").split('`').skip(1).step_by(2) {
        let is_code = word.contains('_')
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && word.starts_with(|first: char| first.is_ascii_lowercase());
        if is_code {
            assert!(code.contains(&format!("\"{word}\"")), "`{word}`");
            found += 1;
        }
    }
    assert!(found > 150, "only {found} names");
}

/// `records §3`, `batches §2` and so on, wherever they stand, name a section that there is.
#[test]
fn every_section_that_is_referred_to_exists() {
    let mut sections = BTreeSet::new();
    for (name, file) in TEXTS {
        for line in text(file).lines() {
            if let Some(number) = line.strip_prefix("## ").and_then(|l| l.split('.').next()) {
                sections.insert((name, number.parse::<u32>().unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    collect(&root().join("crates"), "rs", &mut files);
    collect(&root().join("tests"), "rs", &mut files);
    collect(&root().join("spec"), "md", &mut files);
    collect(&root().join("spec"), "cddl", &mut files);
    collect(&root().join("test-vectors"), "md", &mut files);
    let mut found = 0;
    for file in files {
        let content = fs::read_to_string(&file).unwrap();
        for (name, _) in TEXTS {
            for part in content.split(&format!("{name} §")).skip(1) {
                let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
                let number = digits.parse().unwrap();
                assert!(
                    sections.contains(&(name, number)),
                    "{}: {name} §{number} does not exist",
                    file.display()
                );
                found += 1;
            }
        }
    }
    assert!(found > 30, "only {found} references");
}

fn collect(folder: &Path, extension: &str, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
}

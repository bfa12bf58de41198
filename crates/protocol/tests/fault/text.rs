//! The kinds that the specification lists are those of the crate.

use counterfoil_protocol::fault::{FaultClass, FaultKind, FaultStepName};

fn section(heading: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/8-faults.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, from) = text.split_once(heading).unwrap();
    from.split("\n## ").next().unwrap().to_owned()
}

/// The first two cells of each row of the table in a section, as number and name.
fn rows(heading: &str) -> Vec<(String, String)> {
    let cell = |cell: Option<&str>| cell.unwrap().trim().trim_matches('`').to_owned();
    section(heading)
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let mut cells = line.split('|').skip(1);
            (cell(cells.next()), cell(cells.next()))
        })
        .collect()
}

#[test]
fn every_kind_is_specified() {
    for (class, heading) in [
        (FaultClass::Contradiction, "\n## 3. Contradictions"),
        (FaultClass::Breach, "\n## 4. Breaches"),
    ] {
        let kinds = FaultKind::ALL.iter().filter(|kind| kind.class() == class);
        let known: Vec<_> = kinds
            .map(|kind| (kind.number().to_string(), kind.as_str().to_owned()))
            .collect();
        assert_eq!(rows(heading), known);
    }
}

#[test]
fn every_step_is_specified() {
    let known: Vec<_> = [
        FaultStepName::Proof,
        FaultStepName::Manifests,
        FaultStepName::Statement,
        FaultStepName::Keys,
        FaultStepName::Fault,
    ]
    .iter()
    .map(|step| (step.number().to_string(), step.as_str().to_owned()))
    .collect();
    assert_eq!(rows("\n## 5. Verification"), known);
}

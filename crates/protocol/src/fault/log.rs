//! The case against a log: trees that cannot both be its own. Spec: faults §5.

use counterfoil_tlog::note::Note;
use counterfoil_tlog::policy::Quorum;
use counterfoil_tlog::tree::leaf_hash;

use super::conflict::{ascending, not_shown};
use super::proof::{FaultProof, Statement};
use super::report::{FaultReport, FaultStepName};
use crate::failure::{Failure, FailureCode};
use crate::trust::Trust;
use crate::verify::checks::{check_log_proof, policy_failure};

/// Hears the case against the log with this origin.
pub(super) fn hear(
    proof: &FaultProof,
    origin: &str,
    trust: &Trust,
    report: &mut FaultReport,
) -> Result<(), Failure> {
    report.begin(FaultStepName::Manifests);
    report.absent("a log has none: the trust file names its key");
    let mut trees = Vec::with_capacity(proof.statements.len());
    for (number, statement) in proof.statements.iter().enumerate() {
        report.begin(FaultStepName::Statement);
        let place = format!("statement {}", number + 1);
        let tree = tree(statement, origin, trust).map_err(|failure| failure.at(&place))?;
        report.pass(format!(
            "{place}: the tree of size {} with root {}, signed by {origin}",
            tree.quorum.checkpoint().size(),
            tree.quorum.checkpoint().root()
        ));
        trees.push(tree);
    }
    report.begin(FaultStepName::Keys);
    report.absent("keys of logs are not revoked");
    report.begin(FaultStepName::Fault);
    let [a, b] = trees.as_slice() else {
        return Err(not_shown("there are not two trees"));
    };
    let finding = trees_contradict(a, b, origin)?;
    report.cosigned_both = a
        .quorum
        .cosignatures()
        .iter()
        .filter(|one| {
            b.quorum
                .cosignatures()
                .iter()
                .any(|other| other.key() == one.key())
        })
        .map(|one| String::from_utf8_lossy(one.witness()).into_owned())
        .collect();
    let finding = match report.cosigned_both.as_slice() {
        [] => finding,
        names => format!("{finding}; both cosigned by {}", names.join(", ")),
    };
    report.finding = Some(finding.clone());
    report.pass(finding);
    Ok(())
}

/// A tree that a log signed, and one entry of it.
struct Tree {
    quorum: Quorum,
    entry: Option<(u64, [u8; 32])>,
}

fn tree(statement: &Statement, origin: &str, trust: &Trust) -> Result<Tree, Failure> {
    let tree = match statement {
        Statement::Checkpoint(note) => Tree {
            quorum: checkpoint(note, trust)?,
            entry: None,
        },
        Statement::Entry { entry, log_proof } => {
            let (proof, quorum) = check_log_proof(log_proof, entry, trust)?;
            Tree {
                quorum,
                entry: Some((proof.index(), *leaf_hash(entry).as_bytes())),
            }
        }
        _ => return Err(not_shown("it is not a statement of a log")),
    };
    let signed_by = tree.quorum.checkpoint().origin().as_str();
    if signed_by == origin {
        Ok(tree)
    } else {
        Err(Failure::new(
            FailureCode::FaultAccusedMismatch,
            format!("it is of log {signed_by}, not of {origin}"),
        ))
    }
}

/// Checks that a trusted log signed a checkpoint note. The quorum may not be met.
pub(super) fn checkpoint(note: &[u8], trust: &Trust) -> Result<Quorum, Failure> {
    let note = Note::parse(note)
        .map_err(|error| Failure::new(FailureCode::LogProofMalformed, error.to_string()))?;
    let quorum = trust.policy().check(&note);
    quorum.map_err(|error| policy_failure(error, trust))
}

fn trees_contradict(a: &Tree, b: &Tree, origin: &str) -> Result<String, Failure> {
    let mut keys = a.quorum.log_keys().iter();
    if !keys.any(|key| b.quorum.log_keys().contains(key)) {
        return Err(not_shown("the trees are signed with different keys"));
    }
    let (one, other) = (a.quorum.checkpoint(), b.quorum.checkpoint());
    match (a.entry, b.entry) {
        (Some((index, first)), Some((at, second))) => {
            if index != at {
                return Err(not_shown("the entries are at different indexes"));
            }
            ascending(&first, &second)?;
            Ok(format!(
                "{origin} holds different entries at index {index} of its trees of size {} and {}",
                one.size(),
                other.size()
            ))
        }
        _ => {
            if one.size() != other.size() {
                return Err(not_shown("the trees have different sizes"));
            }
            ascending(one.root().as_bytes(), other.root().as_bytes())?;
            Ok(format!(
                "{origin} signed two trees of size {}, with roots {} and {}",
                one.size(),
                one.root(),
                other.root()
            ))
        }
    }
}

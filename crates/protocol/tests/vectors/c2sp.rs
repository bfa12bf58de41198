//! The objects that C2SP specifies, read by the tlog crate.

use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::checkpoint::Checkpoint;
use counterfoil_tlog::note::{Note, VerifierKey};
use counterfoil_tlog::tile::ResourcePath;
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::leaf_hash;
use counterfoil_tlog::witness::AddCheckpoint;

use super::file::{self, Vector};
use super::{Outcome, Refusal};

fn refusal(code: &str, error: &impl ToString) -> Refusal {
    Refusal {
        code: code.to_owned(),
        step: None,
        detail: error.to_string(),
    }
}

/// What was read must print to the bytes it was read from.
fn same(vector: &Vector, printed: &impl ToString) {
    assert_eq!(
        printed.to_string().into_bytes(),
        vector.body,
        "{}: written again",
        vector.name
    );
}

pub(crate) fn note(vector: &Vector) -> Outcome {
    let note = Note::parse(&vector.body).map_err(|error| refusal(error.code(), &error))?;
    same(vector, &note);
    let known =
        [vector.get("key"), vector.get("witness-key")].map(|key| VerifierKey::parse(key).unwrap());
    note.verify(&known)
        .map_err(|error| refusal(error.code(), &error))?;
    Ok(Vec::new())
}

pub(crate) fn checkpoint(vector: &Vector) -> Outcome {
    let text = std::str::from_utf8(&vector.body).unwrap();
    let checkpoint = Checkpoint::parse(text).map_err(|error| refusal(error.code(), &error))?;
    same(vector, &checkpoint);
    Ok(Vec::new())
}

pub(crate) fn tlog_proof(vector: &Vector) -> Outcome {
    let trust = Trust::parse(&file::named(vector.get("trust")).body).unwrap();
    let entry = file::named(vector.get("entry")).body;
    let proof = TlogProof::parse(&vector.body).map_err(|error| refusal(error.code(), &error))?;
    same(vector, &proof);
    let quorum = proof
        .verify(&leaf_hash(&entry), trust.policy())
        .map_err(|error| refusal(error.code(), &error))?;
    assert!(quorum.is_met());
    Ok(Vec::new())
}

pub(crate) fn add_checkpoint(vector: &Vector) -> Outcome {
    let request =
        AddCheckpoint::parse(&vector.body).map_err(|error| refusal(error.code(), &error))?;
    same(vector, &request);
    Ok(Vec::new())
}

pub(crate) fn tile_path(vector: &Vector) -> Outcome {
    let path = std::str::from_utf8(&vector.body).unwrap();
    let path = ResourcePath::parse(path).map_err(|error| refusal(error.code(), &error))?;
    same(vector, &path);
    Ok(Vec::new())
}

//! C2SP objects: notes, checkpoints, proofs, requests to witnesses, tile paths.

mod notes;
mod proofs;
mod requests;

use anyhow::{Context as _, Result};
use counterfoil_tlog::cosignature::cosign;
use counterfoil_tlog::note::{Note, NoteSignature, SignerKey};

use super::Case;
use crate::world::{START, World};

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let mut cases = notes::notes(world)?;
    cases.extend(notes::checkpoints(world)?);
    cases.extend(proofs::proofs(world)?);
    cases.extend(requests::requests(world)?);
    cases.extend(requests::tile_paths());
    Ok(cases)
}

fn text(bytes: &impl ToString) -> String {
    bytes.to_string()
}

/// The same base64 with an unused bit set.
pub(super) fn loose(base64: &str) -> Result<String> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = base64.trim_end_matches('=');
    let last = body.chars().last().context("no digits")?;
    let next = DIGITS
        .chars()
        .skip_while(|digit| *digit != last)
        .nth(1)
        .context("no next digit")?;
    Ok(format!(
        "{}{next}{}",
        body.strip_suffix(last).unwrap_or_default(),
        "=".repeat(base64.len() - body.len())
    ))
}

/// The note with a cosignature line under `shown`'s name, made with `signer`'s key.
pub(super) fn swapped(note: &Note, shown: &SignerKey, signer: &SignerKey) -> Result<Note> {
    let made = cosign(note.text(), signer, START + 5)?;
    let line = NoteSignature::new(
        shown.name().clone(),
        shown.verifier().id(),
        made.signature().to_vec(),
    )
    .context("no signature")?;
    let kept = note
        .clone()
        .retain_signatures(|s| s.name() != shown.name())
        .context("no signature left")?;
    Ok(kept.with_signatures(vec![line])?)
}

/// The note with another time in one cosignature.
pub(super) fn with_time(note: &Note, witness: &SignerKey, at: u64) -> Result<Note> {
    let line = note
        .signatures()
        .iter()
        .find(|s| s.name() == witness.name())
        .context("no such signature")?;
    let signature = line.signature().get(8..).unwrap_or_default();
    let line = NoteSignature::new(
        witness.name().clone(),
        line.key_id(),
        [&at.to_be_bytes(), signature].concat(),
    )
    .context("no signature")?;
    let kept = note
        .clone()
        .retain_signatures(|s| s.name() != witness.name())
        .context("no signature left")?;
    Ok(kept.with_signatures(vec![line])?)
}

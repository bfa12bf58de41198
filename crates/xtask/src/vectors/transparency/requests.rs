//! Requests to a witness, and tile paths.

use anyhow::{Context as _, Result};
use counterfoil_tlog::proof::{LeafSlice, prove_consistency};
use counterfoil_tlog::tree::leaf_hash;
use counterfoil_tlog::witness::AddCheckpoint;

use super::super::Case;
use crate::world::World;

/// Requests to a witness.
pub(super) fn requests(world: &World) -> Result<Vec<Case>> {
    const OBJECT: &str = "add-checkpoint";
    let note = world.log.checkpoint(6, &[])?;
    let leaves: Vec<_> = (0..6_u8).map(|leaf| leaf_hash(&[leaf])).collect();
    let path =
        prove_consistency(2, 6, &LeafSlice(&leaves)).map_err(|error| anyhow::anyhow!("{error}"))?;
    let whole = AddCheckpoint::new(2, path.clone(), note.clone())?.to_string();
    let hash = path.first().context("no path")?.to_string();
    let mut cases = vec![
        Case::success(
            OBJECT,
            "from-two",
            "with a consistency proof",
            whole.clone(),
        ),
        Case::success(
            OBJECT,
            "from-nothing",
            "no proof is needed",
            AddCheckpoint::new(0, Vec::new(), note)?.to_string(),
        ),
    ];
    let mut bad = |name: &str, code: &str, comment: &str, body: String| {
        cases.push(Case::failure(OBJECT, name, code, comment, body));
    };
    bad(
        "old-leading-zero",
        "request_old_size",
        "`02`",
        whole.replacen("old 2", "old 02", 1),
    );
    bad(
        "old-missing",
        "request_old_size",
        "no first line",
        whole.replacen("old 2\n", "", 1),
    );
    bad(
        "hash-not-padded",
        "request_proof_hash",
        "base64 without its padding",
        whole.replacen(&hash, hash.trim_end_matches('='), 1),
    );
    bad(
        "proof-too-long",
        "request_proof_too_long",
        "64 hashes",
        whole.replacen(&format!("{hash}\n"), &format!("{hash}\n").repeat(64), 1),
    );
    bad(
        "separator-missing",
        "request_form",
        "no empty line at all",
        whole.replace("\n\n", "\n"),
    );
    Ok(cases)
}

/// Paths below a log's prefix.
pub(super) fn tile_paths() -> Vec<Case> {
    const OBJECT: &str = "tile-path";
    let good = [
        ("full", "tile/0/000", "the first full tile"),
        (
            "partial",
            "tile/0/x001/x234/067.p/8",
            "the example of tlog-tiles, eight hashes of it",
        ),
        ("highest-level", "tile/7/000", "eight levels of 2^8"),
        ("bundle", "tile/entries/x001/000", "256 entries"),
        ("bundle-partial", "tile/entries/000.p/255", "255 entries"),
    ];
    let bad = [
        (
            "width-zero",
            "tile/0/000.p/0",
            "an empty tile is never served",
        ),
        ("width-256", "tile/0/000.p/256", "a full tile has no width"),
        ("width-leading-zero", "tile/0/000.p/08", "one spelling"),
        ("level-leading-zero", "tile/00/000", "one spelling"),
        ("level-64", "tile/64/000", "no tree is that high"),
        ("group-short", "tile/0/67", "three digits"),
        (
            "group-without-x",
            "tile/0/001/234",
            "all but the last begin with x",
        ),
        ("group-zero-first", "tile/0/x000/001", "one spelling"),
        ("last-with-x", "tile/0/x001", "the last has no x"),
        ("leading-slash", "/tile/0/000", "below the prefix"),
        ("dots", "tile/0/../000", "no way out of the folder"),
        (
            "bundle-width-zero",
            "tile/entries/000.p/0",
            "an empty bundle is never served",
        ),
        ("data", "tile/data/000", "the word of another standard"),
    ];
    let good = good.map(|(name, path, comment)| Case::success(OBJECT, name, comment, path));
    let bad =
        bad.map(|(name, path, comment)| Case::failure(OBJECT, name, "tile_path", comment, path));
    good.into_iter().chain(bad).collect()
}

//! Proofs that an entry is in the log.

use anyhow::{Context as _, Result};
use counterfoil_tlog::note::Note;
use counterfoil_tlog::tree::leaf_hash;

use super::super::Case;
use super::{loose, swapped, text};
use crate::world::{START, Signing, World, both};

/// Proofs of acme's first commitment, verified against a trust file.
pub(super) fn proofs(world: &World) -> Result<Vec<Case>> {
    const OBJECT: &str = "tlog-proof";
    let [one, two] = &world.witnesses;
    let index = world.commitments.acme;
    let proof = |note: &Note| -> Result<String> { Ok(world.log.proof(index, note)?.to_string()) };
    let six = &world.checkpoints.six;
    let whole = proof(six)?;
    let signed_by = |cosigners: &[Signing<'_>]| -> Result<String> {
        proof(&world.log.checkpoint(6, cosigners)?)
    };
    let mut cases = Vec::new();
    let mut add = |case: Case| {
        cases.push(
            case.with("entry", "commitment/first")
                .with("trust", "trust/both-witnesses"),
        );
    };
    let good = |name: &str, comment: &str, body: String| Case::success(OBJECT, name, comment, body);
    add(good("six", "entry 2 of 6", whole.clone()));
    add(good(
        "eight",
        "the same entry in the later tree",
        proof(&world.checkpoints.eight)?,
    ));
    add(good(
        "extra-line",
        "extra data, which nothing authenticates",
        whole.replacen("index", "extra AAECAw==\nindex", 1),
    ));
    add(good(
        "cosigned-twice",
        "a witness may cosign again",
        signed_by(&[
            Signing {
                witness: one,
                at: START + 9,
            },
            Signing {
                witness: two,
                at: START + 5,
            },
            Signing {
                witness: one,
                at: START + 5,
            },
        ])?,
    ));

    let mut bad = |name: &str, code: &str, comment: &str, body: String| {
        add(Case::failure(OBJECT, name, code, comment, body));
    };
    let first_hash = world
        .log
        .path(index, 6)?
        .first()
        .context("no path")?
        .to_string();
    bad(
        "header-other-version",
        "tlog_proof_header",
        "`@v2`",
        whole.replacen("@v1", "@v2", 1),
    );
    bad(
        "index-leading-zero",
        "tlog_proof_index",
        "`02`",
        whole.replacen("index 2", "index 02", 1),
    );
    bad(
        "index-missing",
        "tlog_proof_index",
        "no index line",
        whole.replacen("index 2\n", "", 1),
    );
    bad(
        "extra-empty",
        "tlog_proof_extra",
        "an extra line without data",
        whole.replacen("index", "extra \nindex", 1),
    );
    bad(
        "hash-trailing-bits",
        "tlog_proof_path_hash",
        "unused bits of a hash that are not zero",
        whole.replacen(&first_hash, &loose(&first_hash)?, 1),
    );
    bad(
        "hash-not-padded",
        "tlog_proof_path_hash",
        "base64 without its padding",
        whole.replacen(&first_hash, first_hash.trim_end_matches('='), 1),
    );
    bad(
        "hash-url-safe",
        "tlog_proof_path_hash",
        "`_` for `/`",
        whole.replacen(
            &first_hash,
            &format!("_{}", first_hash.get(1..).unwrap_or_default()),
            1,
        ),
    );
    bad(
        "hash-trailing",
        "proof_wrong_length",
        "a hash too many, which rs_merkle accepts",
        whole.replacen("\n\n", &format!("\n{first_hash}\n\n"), 1),
    );
    bad(
        "hash-missing",
        "proof_wrong_length",
        "a hash too few",
        whole.replacen(&format!("{first_hash}\n"), "", 1),
    );
    bad(
        "hash-other",
        "root_mismatch",
        "the first hash is another",
        whole.replacen(&first_hash, &leaf_hash(b"other").to_string(), 1),
    );
    bad(
        "index-aliased",
        "index_out_of_range",
        "entry 2 + 8, which rs_merkle accepts in some trees",
        whole.replacen("index 2", "index 10", 1),
    );
    bad(
        "index-neighbour",
        "root_mismatch",
        "entry 3 has as long a path",
        whole.replacen("index 2", "index 3", 1),
    );
    bad(
        "path-too-long",
        "tlog_proof_path_too_long",
        "64 hashes",
        whole.replacen(
            &format!("{first_hash}\n"),
            &format!("{first_hash}\n").repeat(64),
            1,
        ),
    );
    bad(
        "separator-missing",
        "tlog_proof_form",
        "no empty line at all",
        whole.replace("\n\n", "\n"),
    );
    bad(
        "checkpoint-unsigned",
        "note_no_separator",
        "a checkpoint without signatures",
        format!(
            "{}\n",
            whole.rsplit_once("\n\n").context("no signatures")?.0
        ),
    );
    bad(
        "quorum-missing",
        "quorum_not_met",
        "one of two cosignatures",
        signed_by(&[Signing {
            witness: one,
            at: START,
        }])?,
    );
    bad(
        "quorum-one-twice",
        "quorum_not_met",
        "two cosignatures of one witness",
        signed_by(&[
            Signing {
                witness: one,
                at: START,
            },
            Signing {
                witness: one,
                at: START + 1,
            },
        ])?,
    );
    bad(
        "quorum-stranger",
        "quorum_not_met",
        "an unknown witness does not count",
        signed_by(&[
            Signing {
                witness: one,
                at: START,
            },
            Signing {
                witness: &world.stranger,
                at: START,
            },
        ])?,
    );
    bad(
        "witness-key-swapped",
        "note_bad_signature",
        "the second witness's name, the first one's key",
        text(&world.log.proof(index, &swapped(six, two, one)?)?),
    );
    let unsigned = six
        .clone()
        .retain_signatures(|s| s.name() != world.log.key().name())
        .context("no signature left")?;
    bad(
        "log-signature-missing",
        "no_log_signature",
        "witnesses alone do not make a checkpoint",
        proof(&unsigned)?,
    );
    let stray = world.other_log.checkpoint_with_root(
        6,
        world.log.root(6)?,
        &both(&world.witnesses, START + 5),
    )?;
    bad(
        "log-unknown",
        "unknown_origin",
        "signed by a log that is not trusted",
        proof(&stray)?,
    );
    let lie = world.log.checkpoint_with_root(
        6,
        leaf_hash(b"other"),
        &both(&world.witnesses, START + 5),
    )?;
    bad(
        "root-other",
        "root_mismatch",
        "signed and cosigned, but another tree",
        proof(&lie)?,
    );

    let one_entry = world.log.proof(0, &world.checkpoints.one)?.to_string();
    cases.push(
        Case::success(
            OBJECT,
            "size-one",
            "a tree of one leaf: no path line at all",
            one_entry,
        )
        .with("entry", "manifest/first")
        .with("trust", "trust/both-witnesses"),
    );
    Ok(cases)
}

//! C2SP objects: notes, checkpoints, proofs, requests to witnesses, tile paths.

use anyhow::{Context as _, Result};
use counterfoil_tlog::cosignature::cosign;
use counterfoil_tlog::note::{KeyId, KeyName, Note, NoteSignature};
use counterfoil_tlog::proof::{LeafSlice, prove_consistency};
use counterfoil_tlog::text::base64_encode;
use counterfoil_tlog::tree::{EMPTY_ROOT, leaf_hash};
use counterfoil_tlog::witness::AddCheckpoint;

use super::Case;
use super::edit::replaced;
use crate::world::{START, Signing, World, both};

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let mut cases = notes(world)?;
    cases.extend(checkpoints(world)?);
    cases.extend(proofs(world)?);
    cases.extend(requests(world)?);
    cases.extend(tile_paths());
    Ok(cases)
}

fn text(bytes: &impl ToString) -> String {
    bytes.to_string()
}

/// Notes, verified with the log's and the first witness's keys.
fn notes(world: &World) -> Result<Vec<Case>> {
    const OBJECT: &str = "note";
    let [one, _] = &world.witnesses;
    let log_key = world.log.key().verifier().to_string();
    let note = &world.checkpoints.six;
    let whole = text(note);
    let log_line = whole.lines().nth(4).context("no log signature")?.to_owned();
    let mut cases = Vec::new();
    let with_keys = |case: Case| {
        case.with("key", log_key.clone())
            .with("witness-key", one.verifier())
    };

    let grease = NoteSignature::new(
        KeyName::parse("grease.example")?,
        KeyId::from_bytes([1, 2, 3, 4]),
        vec![7; 40],
    )
    .context("no signature")?;
    let by_stranger = cosign(note.text(), &world.stranger, START)?;
    for (name, comment, body) in [
        (
            "cosigned",
            "signed by the log, cosigned by two witnesses, one of them known",
            whole.clone(),
        ),
        (
            "unknown-signatures",
            "a signature of a type nobody knows and one by a stranger are ignored",
            text(&note.clone().with_signatures(vec![grease, by_stranger])?),
        ),
        ("empty-lines-in-text", "the last empty line separates", {
            let signed = world.log.key().sign("one\n\ntwo\n")?;
            text(&Note::new("one\n\ntwo\n".to_owned(), vec![signed])?)
        }),
        ("extension-lines", "a checkpoint with a line more", {
            let body = format!("{}extension\n", note.text());
            let signed = world.log.key().sign(&body)?;
            text(&Note::new(body, vec![signed])?)
        }),
    ] {
        cases.push(with_keys(Case::success(OBJECT, name, comment, body)));
    }

    let mut bad = |name: &str, code: &str, comment: &str, body: Vec<u8>| {
        cases.push(with_keys(Case::failure(OBJECT, name, code, comment, body)));
    };
    let swap = |from: &str, to: &str| replaced(whole.as_bytes(), from.as_bytes(), to.as_bytes());
    let unknown = Note::new(
        note.text().to_owned(),
        vec![cosign(note.text(), &world.stranger, START)?],
    )?;
    bad(
        "no-known-signature",
        "note_no_known_signature",
        "signed by a stranger only",
        text(&unknown).into_bytes(),
    );
    bad(
        "text-changed",
        "note_bad_signature",
        "another size under the same signatures",
        swap("log.example/2026\n6\n", "log.example/2026\n7\n")?,
    );
    bad(
        "cosignature-changed",
        "note_bad_signature",
        "another time in the witness's cosignature",
        text(&shifted(note, one.name())?).into_bytes(),
    );
    bad(
        "cosignature-time-zero",
        "note_bad_signature",
        "a cosignature must claim a time",
        text(&with_time(note, one, 0)?).into_bytes(),
    );
    bad(
        "key-name-other",
        "note_no_known_signature",
        "the log's key id under another name",
        text(&Note::new(
            note.text().to_owned(),
            vec![
                NoteSignature::new(
                    KeyName::parse("log.example/2027")?,
                    world.log.key().verifier().id(),
                    vec![7; 64],
                )
                .context("no signature")?,
            ],
        )?)
        .into_bytes(),
    );
    bad(
        "separator-missing",
        "note_no_separator",
        "no empty line",
        swap("\n\n", "\n")?,
    );
    bad(
        "signatures-missing",
        "note_no_signatures",
        "nothing after the empty line",
        format!("{}\n", note.text()).into_bytes(),
    );
    bad(
        "hyphen-for-dash",
        "note_malformed_signature",
        "the line begins with a hyphen",
        swap(&log_line, &log_line.replacen('\u{2014}', "-", 1))?,
    );
    bad(
        "two-blanks",
        "note_malformed_signature",
        "two blanks before the name",
        swap(&log_line, &log_line.replacen(' ', "  ", 1))?,
    );
    bad(
        "padding-missing",
        "note_malformed_signature",
        "base64 without its padding",
        swap(&log_line, log_line.trim_end_matches('='))?,
    );
    bad(
        "trailing-bits",
        "note_malformed_signature",
        "unused bits that are not zero",
        swap(&log_line, &loose(&log_line)?)?,
    );
    bad(
        "final-newline-missing",
        "note_malformed_signature",
        "the last line is cut",
        whole.trim_end().as_bytes().to_vec(),
    );
    bad(
        "carriage-return",
        "note_control_character",
        "CR LF",
        swap("\n\n", "\r\n\n")?,
    );
    bad(
        "not-utf8",
        "note_not_utf8",
        "a broken character",
        replaced(
            whole.as_bytes(),
            b"log.example/2026\n6",
            b"log.example/\xc3\x28\n6",
        )?,
    );
    let many = log_line.clone() + "\n";
    bad(
        "too-many-signatures",
        "note_too_many_signatures",
        "101 lines",
        format!("{}\n{}", note.text(), many.repeat(101)).into_bytes(),
    );
    Ok(cases)
}

/// The texts of checkpoints, without signatures.
fn checkpoints(world: &World) -> Result<Vec<Case>> {
    const OBJECT: &str = "checkpoint";
    let whole = world.checkpoints.six.text();
    let root = world.log.root(6)?.to_string();
    let good = |name: &str, comment: &str, body: String| Case::success(OBJECT, name, comment, body);
    let mut cases = vec![
        good("six", "six entries", whole.to_owned()),
        good(
            "empty-tree",
            "size 0 and the hash of nothing",
            format!("log.example/2026\n0\n{EMPTY_ROOT}\n"),
        ),
        good(
            "extension-line",
            "kept, and covered by the signature",
            format!("{whole}extension\n"),
        ),
        good(
            "largest-size",
            "2^64 - 1",
            format!("log.example/2026\n18446744073709551615\n{root}\n"),
        ),
    ];
    let mut bad = |name: &str, code: &str, comment: &str, body: String| {
        cases.push(Case::failure(OBJECT, name, code, comment, body));
    };
    bad(
        "size-leading-zero",
        "checkpoint_size",
        "`06`",
        whole.replacen("\n6\n", "\n06\n", 1),
    );
    bad(
        "size-signed",
        "checkpoint_size",
        "`+6`",
        whole.replacen("\n6\n", "\n+6\n", 1),
    );
    bad(
        "size-overflow",
        "checkpoint_size",
        "2^64",
        whole.replacen("\n6\n", "\n18446744073709551616\n", 1),
    );
    bad(
        "root-short",
        "checkpoint_root",
        "31 bytes",
        format!("log.example/2026\n6\n{}\n", base64_encode(&[7; 31])),
    );
    bad(
        "root-not-padded",
        "checkpoint_root",
        "the padding is missing",
        whole.replacen(&root, root.trim_end_matches('='), 1),
    );
    bad(
        "root-missing",
        "checkpoint_lines",
        "two lines",
        "log.example/2026\n6\n".to_owned(),
    );
    bad(
        "origin-with-plus",
        "checkpoint_origin",
        "a plus cannot be in a key name",
        whole.replacen("log.example", "log+example", 1),
    );
    bad(
        "origin-empty",
        "checkpoint_origin",
        "an empty first line",
        format!("\n6\n{root}\n"),
    );
    bad(
        "extension-empty",
        "checkpoint_extension",
        "an empty extension line",
        format!("{whole}\n"),
    );
    bad(
        "final-newline-missing",
        "checkpoint_lines",
        "the last line is cut",
        whole.trim_end().to_owned(),
    );
    Ok(cases)
}

/// Proofs of acme's first commitment, verified against a trust file.
fn proofs(world: &World) -> Result<Vec<Case>> {
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

/// Requests to a witness.
fn requests(world: &World) -> Result<Vec<Case>> {
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
fn tile_paths() -> Vec<Case> {
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
pub(super) fn swapped(
    note: &Note,
    shown: &counterfoil_tlog::note::SignerKey,
    signer: &counterfoil_tlog::note::SignerKey,
) -> Result<Note> {
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

/// The note with the time in one cosignature one second later.
fn shifted(note: &Note, name: &KeyName) -> Result<Note> {
    let line = note
        .signatures()
        .iter()
        .find(|s| s.name() == name)
        .context("no such signature")?;
    let mut signature = line.signature().to_vec();
    if let Some(digit) = signature.get_mut(7) {
        *digit = digit.wrapping_add(1);
    }
    let line =
        NoteSignature::new(name.clone(), line.key_id(), signature).context("no signature")?;
    let kept = note
        .clone()
        .retain_signatures(|s| s.name() != name)
        .context("no signature left")?;
    Ok(kept.with_signatures(vec![line])?)
}

/// The note with another time in one cosignature.
pub(super) fn with_time(
    note: &Note,
    witness: &counterfoil_tlog::note::SignerKey,
    at: u64,
) -> Result<Note> {
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

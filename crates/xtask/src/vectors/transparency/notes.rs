//! Notes and the texts of checkpoints.

use anyhow::{Context as _, Result};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_tlog::cosignature::cosign;
use counterfoil_tlog::note::{KeyId, KeyName, MAX_NOTE_BYTES, Note, NoteSignature};
use counterfoil_tlog::text::base64_encode;
use counterfoil_tlog::tree::EMPTY_ROOT;
use zeroize::Zeroizing;

use super::super::Case;
use super::super::edit::replaced;
use super::{loose, text, with_time};
use crate::world::keys::seed;
use crate::world::{START, World};

/// A note of a byte more than a note may have, signed by the log.
fn too_large(world: &World) -> Result<String> {
    let log = world.log.key().verifier();
    // What signs notes refuses to sign this one.
    let key = signing_key_of(log.name().as_str())?;
    let signed = |text: &str| {
        let signature = key.sign(text.as_bytes()).to_vec();
        NoteSignature::new(log.name().clone(), log.id(), signature).context("no signature")
    };
    // A blank line and the signature's follow the text.
    let line = signed("\n")?.to_string();
    let text = "x".repeat(MAX_NOTE_BYTES - line.len() - 1) + "\n";
    Ok(format!("{text}\n{}", signed(&text)?))
}

/// The key of a log or witness, as it is made from its name.
fn signing_key_of(name: &str) -> Result<SigningKey> {
    Ok(SigningKey::from_seed(&Zeroizing::new(seed(name)))?)
}

/// Notes, verified with the log's and the first witness's keys.
pub(super) fn notes(world: &World) -> Result<Vec<Case>> {
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
    bad(
        "too-large",
        "note_too_large",
        "the log signed it, and it is a byte longer than 1 MiB",
        too_large(world)?.into_bytes(),
    );
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
pub(super) fn checkpoints(world: &World) -> Result<Vec<Case>> {
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

/// The note with the time in one cosignature one second later.
pub(super) fn shifted(note: &Note, name: &KeyName) -> Result<Note> {
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

//! Trust files. The good ones are also what receipts are verified against.

use anyhow::Result;
use counterfoil_protocol::failure::FailureCode::TrustMalformed;
use counterfoil_protocol::trust::operator_vkey;
use counterfoil_tlog::text::base64_encode;

use super::Case;
use super::edit::replaced;
use crate::world::World;

const OBJECT: &str = "trust";

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let [one, two] = &world.witnesses;
    let (log, operators) = (world.log_line(), world.operator_lines()?);
    let whole = world.trust()?;
    let witnesses = format!(
        "witness one {}\nwitness two {}\n",
        one.verifier(),
        two.verifier()
    );
    let acme = operator_vkey(&world.acme.name, world.acme.root.public())?;
    let acme_next = operator_vkey(&world.acme.name, world.acme.next_root.public())?;

    let mut cases = Vec::new();
    let mut good = |name: &str, comment: &str, file: String| {
        cases.push(Case::success(OBJECT, name, comment, file));
    };
    good(
        "both-witnesses",
        "both operators, one log, quorum of both witnesses",
        whole.clone(),
    );
    good(
        "any-witness",
        "one of two witnesses is enough",
        format!("{log}{witnesses}group any any one two\nquorum any\n{operators}"),
    );
    good(
        "no-witnesses",
        "the log alone is believed",
        format!("{log}quorum none\n{operators}"),
    );
    good(
        "no-operators",
        "a plain tlog-policy: no record verifies under it",
        format!("{log}quorum none\n"),
    );
    good(
        "two-roots",
        "two root keys of one operator",
        format!("{log}quorum none\noperator {acme}\noperator {acme_next}\n"),
    );
    good(
        "only-globex",
        "names no root key of acme",
        format!(
            "{log}{witnesses}group both all one two\nquorum both\noperator {}\n",
            operator_vkey(&world.globex.name, world.globex.root.public())?
        ),
    );
    good(
        "other-root",
        "another root key of acme",
        format!("{log}{witnesses}group both all one two\nquorum both\noperator {acme_next}\n"),
    );
    good(
        "other-log",
        "another log",
        format!(
            "log {}\n{witnesses}group both all one two\nquorum both\n{operators}",
            world.other_log.key().verifier()
        ),
    );
    good(
        "two-logs",
        "both logs",
        format!("log {}\n{whole}", world.other_log.key().verifier()),
    );
    good(
        "comments-and-blanks",
        "tabs, runs of blanks, comments, empty lines",
        format!(
            "# whom we believe\n\n  # indented\n\tlog\t {}  \nquorum none\n \toperator\t{acme}\n",
            world.log.key().verifier()
        ),
    );

    let mut bad = |name: &str, comment: &str, file: Vec<u8>| {
        cases.push(Case::refused(OBJECT, name, TrustMalformed, comment, file));
    };
    let line = |extra: String| format!("{whole}{extra}\n").into_bytes();
    bad("empty", "no quorum line", Vec::new());
    bad(
        "quorum-missing",
        "no quorum line",
        format!("{log}{operators}").into_bytes(),
    );
    bad(
        "quorum-twice",
        "a second quorum line",
        line("quorum none".to_owned()),
    );
    bad(
        "quorum-undefined",
        "names what no line defines",
        format!("{log}quorum both\n").into_bytes(),
    );
    bad(
        "keyword-unknown",
        "`operators`",
        line(format!("operators {acme}")),
    );
    bad(
        "operator-without-key",
        "a word is missing",
        line("operator".to_owned()),
    );
    bad(
        "operator-with-name",
        "a word too many",
        line(format!("operator acme {acme_next}")),
    );
    bad(
        "operator-key-twice",
        "the same line again",
        line(format!("operator {acme}")),
    );
    bad(
        "operator-key-id-wrong",
        "the key id belongs to another key",
        line(format!(
            "operator {}",
            swap_id(&acme_next.to_string(), &acme.to_string())
        )),
    );
    bad(
        "operator-key-cosignature",
        "type 0x04 is a witness's",
        line(format!("operator {}", one.verifier())),
    );
    bad(
        "operator-name-upper-case",
        "`Acme.example`",
        line(format!("operator {}", upper_case(world)?)),
    );
    bad(
        "operator-key-small-order",
        "the identity",
        line(format!("operator {}", small_order())),
    );
    bad(
        "operator-line-carriage-return",
        "a line that ends in CR LF",
        format!("{whole}operator {acme_next}\r\n").into_bytes(),
    );
    bad(
        "operator-line-form-feed",
        "a form feed is no blank",
        format!("{whole}operator\x0c{acme_next}\n").into_bytes(),
    );
    bad(
        "operator-line-unterminated",
        "the file may have been cut",
        format!("{whole}operator {acme_next}").into_bytes(),
    );
    bad(
        "line-unterminated",
        "the file may have been cut",
        format!("{log}quorum none").into_bytes(),
    );
    bad("control-character", "a NUL", line("# \0".to_owned()));
    bad(
        "threshold-zero",
        "a quorum of nobody",
        format!("{log}{witnesses}group g 0 one two\nquorum g\n").into_bytes(),
    );
    bad(
        "threshold-too-large",
        "three of two",
        format!("{log}{witnesses}group g 3 one two\nquorum g\n").into_bytes(),
    );
    bad(
        "threshold-leading-zero",
        "`02`",
        format!("{log}{witnesses}group g 02 one two\nquorum g\n").into_bytes(),
    );
    bad(
        "witness-key-twice",
        "one witness under two names",
        format!(
            "{log}witness one {0}\nwitness two {0}\nquorum one\n",
            one.verifier()
        )
        .into_bytes(),
    );
    bad(
        "witness-key-not-cosignature",
        "type 0x01 is a log's",
        format!(
            "{log}witness one {}\nquorum one\n",
            world.other_log.key().verifier()
        )
        .into_bytes(),
    );
    bad(
        "member-twice",
        "one witness in two groups",
        format!("{log}{witnesses}group a all one\ngroup b all one two\nquorum b\n").into_bytes(),
    );
    bad(
        "name-none",
        "`none` is reserved",
        format!("{log}witness none {}\nquorum none\n", one.verifier()).into_bytes(),
    );
    bad("log-key-not-base64", "the padding is missing", {
        let vkey = world.log.key().verifier().to_string();
        replaced(
            whole.as_bytes(),
            vkey.as_bytes(),
            format!("{vkey}=").as_bytes(),
        )?
    });
    Ok(cases)
}

/// `vkey` with the key id of `other`.
fn swap_id(vkey: &str, other: &str) -> String {
    let mut parts: Vec<&str> = vkey.splitn(3, '+').collect();
    if let (Some(id), Some(other)) = (parts.get_mut(1), other.split('+').nth(1)) {
        *id = other;
    }
    parts.join("+")
}

/// A correct vkey whose name is no operator name.
fn upper_case(world: &World) -> Result<String> {
    use counterfoil_tlog::note::{Algorithm, KeyName, VerifierKey};
    let name = KeyName::parse("Acme.example")?;
    Ok(VerifierKey::new(
        name,
        Algorithm::Ed25519,
        world.acme.next_root.public().as_bytes(),
    )?
    .to_string())
}

/// A vkey that is right but for its key.
fn small_order() -> String {
    use counterfoil_tlog::note::{Algorithm, KeyId, KeyName};
    let mut identity = [0_u8; 32];
    identity[0] = 1;
    KeyName::parse("acme.example").map_or_else(
        |_| String::new(),
        |name| {
            let id = KeyId::compute(&name, Algorithm::Ed25519, &identity);
            format!(
                "{name}+{id}+{}",
                base64_encode(&[&[1_u8][..], &identity].concat())
            )
        },
    )
}

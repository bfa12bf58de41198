//! Policy files and quorums.

use counterfoil_tlog::note::{Algorithm, KeyError, Note, SignerKey};
use counterfoil_tlog::policy::{LineProblem, Policy, PolicyCheckError, PolicyError};
use proptest::prelude::*;

use crate::model;

fn log() -> String {
    model::log_key().verifier().to_string()
}

fn witness(number: u8) -> String {
    model::witness_key(number).verifier().to_string()
}

/// Six witnesses in two groups, as the example of tlog-policy has them.
fn example() -> String {
    let mut file = format!("log {}\n\n", log());
    for number in 1..=3 {
        file += &format!("witness X{number} {}\n", witness(number));
    }
    file += "group X-witnesses 2 X1 X2 X3\n\n";
    for number in 4..=6 {
        file += &format!("witness Y{} {}\n", number - 3, witness(number));
    }
    file += "group Y-witnesses any Y1 Y2 Y3\n\n";
    file += "group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n";
    file
}

fn parse(file: &str) -> Policy {
    Policy::parse(file.as_bytes()).unwrap()
}

fn problem(file: &[u8]) -> (usize, LineProblem) {
    match Policy::parse(file) {
        Err(PolicyError::Line { line, problem }) => (line, problem),
        other => panic!("{other:?} for {}", String::from_utf8_lossy(file)),
    }
}

#[test]
fn the_example_parses_and_prints() {
    let policy = parse(&example());
    assert_eq!(policy.logs().len(), 1);
    assert_eq!(policy.witnesses().count(), 6);
    assert!(policy.needs_witnesses());
    assert_eq!(Policy::parse(&policy.to_bytes()), Ok(policy));
}

#[test]
fn blanks_comments_urls_and_odd_octets_are_allowed() {
    let mut file = format!(
        "# first\n \t # second\n\n \t \n\tlog \t{} https://log.example/ \nwitness ",
        log()
    )
    .into_bytes();
    file.extend_from_slice(b"\xff\xfe ");
    file.extend_from_slice(witness(1).as_bytes());
    file.extend_from_slice(b" https://\xc3\xa9.example\nwitness K ");
    file.extend_from_slice(witness(2).as_bytes());
    // U+212A KELVIN SIGN is another name than K.
    file.extend_from_slice("\nwitness \u{212a} ".as_bytes());
    file.extend_from_slice(witness(3).as_bytes());
    file.extend_from_slice(b"\nquorum \xff\xfe\n");
    let policy = Policy::parse(&file).unwrap();
    assert_eq!(policy.logs()[0].url(), Some(&b"https://log.example/"[..]));
    let names: Vec<&[u8]> = policy.witnesses().map(|witness| witness.name()).collect();
    assert_eq!(names, [&b"\xff\xfe"[..], b"K", "\u{212a}".as_bytes()]);
    let first = policy.witnesses().next().unwrap();
    assert_eq!(first.url(), Some("https://é.example".as_bytes()));
    assert_eq!(Policy::parse(&policy.to_bytes()), Ok(policy));
}

#[test]
fn faults_are_named_with_their_line() {
    let (log, w1, w2) = (log(), witness(1), witness(2));
    let name = |text: &str| text.to_owned();
    let cases: Vec<(String, usize, LineProblem)> = vec![
        (
            "logs x\nquorum none\n".into(),
            1,
            LineProblem::UnknownKeyword(name("logs")),
        ),
        (
            "\nQUORUM none\n".into(),
            2,
            LineProblem::UnknownKeyword(name("QUORUM")),
        ),
        ("quorum\n".into(), 1, LineProblem::Words("quorum <name>")),
        (
            "quorum none # why\n".into(),
            1,
            LineProblem::Words("quorum <name>"),
        ),
        ("log\n".into(), 1, LineProblem::Words("log <vkey> [<url>]")),
        (
            format!("log {log} a b\n"),
            1,
            LineProblem::Words("log <vkey> [<url>]"),
        ),
        (
            "witness a\n".into(),
            1,
            LineProblem::Words("witness <name> <vkey> [<url>]"),
        ),
        (
            format!("witness a {w1} b c\n"),
            1,
            LineProblem::Words("witness <name> <vkey> [<url>]"),
        ),
        (
            "group g any\n".into(),
            1,
            LineProblem::Words("group <name> <all|any|k> <member>..."),
        ),
        (
            "group g\n".into(),
            1,
            LineProblem::Words("group <name> <all|any|k> <member>..."),
        ),
        ("log nonsense\n".into(), 1, LineProblem::Key(KeyError::Form)),
        (format!("log {w1}\n"), 1, LineProblem::KeyType),
        (format!("witness a {log}\n"), 1, LineProblem::KeyType),
        (
            format!("log {log}\nlog {log}\n"),
            2,
            LineProblem::DuplicateKey,
        ),
        (
            format!("witness a {w1}\nwitness b {w1}\n"),
            2,
            LineProblem::DuplicateKey,
        ),
        (
            format!("witness a {w1}\nwitness a {w2}\n"),
            2,
            LineProblem::DuplicateName(name("a")),
        ),
        (
            format!("witness a {w1}\ngroup a any a\n"),
            2,
            LineProblem::DuplicateName(name("a")),
        ),
        (format!("witness none {w1}\n"), 1, LineProblem::ReservedName),
        (
            format!("witness a {w1}\ngroup none any a\n"),
            2,
            LineProblem::ReservedName,
        ),
        (
            format!("witness a {w1}\ngroup g any none\n"),
            2,
            LineProblem::ReservedName,
        ),
        (
            "group g any g\n".into(),
            1,
            LineProblem::UnknownName(name("g")),
        ),
        (
            "group g any a\n".into(),
            1,
            LineProblem::UnknownName(name("a")),
        ),
        (
            format!("group g any a\nwitness a {w1}\nquorum g\n"),
            1,
            LineProblem::UnknownName(name("a")),
        ),
        (
            format!("quorum a\nwitness a {w1}\n"),
            1,
            LineProblem::UnknownName(name("a")),
        ),
        (
            format!("witness a {w1}\nquorum A\n"),
            2,
            LineProblem::UnknownName(name("A")),
        ),
        (
            format!("witness a {w1}\ngroup g any a a\n"),
            2,
            LineProblem::DuplicateMember(name("a")),
        ),
        (
            format!("witness a {w1}\ngroup g any a\ngroup h any a\n"),
            3,
            LineProblem::DuplicateMember(name("a")),
        ),
        (
            "quorum none\nquorum none\n".into(),
            2,
            LineProblem::SecondQuorum,
        ),
        (
            "quorum none\r\n".into(),
            1,
            LineProblem::ControlCharacter(0x0d),
        ),
        (
            "# \u{0}\nquorum none\n".into(),
            1,
            LineProblem::ControlCharacter(0),
        ),
        (
            "# \u{7f}\nquorum none\n".into(),
            1,
            LineProblem::ControlCharacter(0x7f),
        ),
        (
            "quorum\u{b}none\n".into(),
            1,
            LineProblem::ControlCharacter(0x0b),
        ),
    ];
    for (file, line, expected) in cases {
        assert_eq!(problem(file.as_bytes()), (line, expected), "{file:?}");
    }
    for threshold in [
        "0",
        "3",
        "01",
        "-1",
        "+1",
        "ALL",
        "2.0",
        "18446744073709551616",
    ] {
        let file = format!("witness a {w1}\nwitness b {w2}\ngroup g {threshold} a b\nquorum g\n");
        assert_eq!(
            problem(file.as_bytes()),
            (3, LineProblem::Threshold(name(threshold)))
        );
    }
    // A no-break space does not separate words.
    let file = "quorum\u{a0}none\n";
    assert!(matches!(
        problem(file.as_bytes()),
        (1, LineProblem::UnknownKeyword(_))
    ));
    assert_eq!(Policy::parse(b""), Err(PolicyError::NoQuorum));
    assert_eq!(
        Policy::parse(b"# only a comment\n"),
        Err(PolicyError::NoQuorum)
    );
    assert_eq!(
        Policy::parse(b"\nquorum none"),
        Err(PolicyError::UnterminatedLine(2))
    );
    assert_eq!(
        Policy::parse(&vec![b'\n'; (1 << 20) + 1]),
        Err(PolicyError::TooLarge)
    );
}

#[test]
fn the_same_key_under_another_name_is_a_duplicate() {
    let renamed = SignerKey::from_seed(
        model::name("other.example"),
        Algorithm::CosignatureEd25519,
        &[101; 32],
    );
    assert_eq!(
        renamed.verifier().public_key(),
        model::witness_key(1).verifier().public_key()
    );
    let file = format!(
        "witness a {}\nwitness b {}\n",
        witness(1),
        renamed.verifier()
    );
    assert_eq!(problem(file.as_bytes()), (2, LineProblem::DuplicateKey));
}

#[test]
fn thirty_two_of_each_are_supported() {
    let mut file = String::new();
    for number in 0..32u8 {
        let seed = [200 - number; 32];
        let name = model::name(&format!("log.example/{number}"));
        let log = SignerKey::from_seed(name, Algorithm::Ed25519, &seed);
        file += &format!("log {}\n", log.verifier());
        file += &format!("witness w{number} {}\n", witness(number));
        file += &format!("group g{number} all w{number}\n");
    }
    let groups: Vec<String> = (0..32).map(|number| format!("g{number}")).collect();
    file += &format!("group top 17 {}\nquorum top\n", groups.join(" "));
    let policy = parse(&file);
    assert_eq!((policy.logs().len(), policy.witnesses().count()), (32, 32));
}

#[test]
fn thresholds_count_members_of_nested_groups() {
    let policy = parse(&example());
    let checkpoint = model::checkpoint(&model::leaves(5));
    for (witnesses, met) in [
        (&[][..], false),
        (&[1][..], false),
        (&[1, 2][..], false),
        (&[1, 2, 3][..], false),
        (&[4, 5, 6][..], false),
        (&[1, 4, 5, 6][..], false),
        (&[1, 2, 4][..], true),
        (&[2, 3, 6][..], true),
        (&[1, 2, 3, 4, 5, 6][..], true),
    ] {
        let times: Vec<(u8, u64)> = witnesses.iter().map(|w| (*w, 1000)).collect();
        let note = model::cosigned(&checkpoint, &times);
        let quorum = policy.check(&note).unwrap();
        assert_eq!(quorum.is_met(), met, "{witnesses:?}");
        assert_eq!(quorum.cosignatures().len(), witnesses.len());
        assert_eq!(quorum.checkpoint(), &checkpoint);
        assert_eq!(quorum.log_keys(), [model::log_key().verifier().clone()]);
        assert_eq!(quorum.not_after(), met.then_some(1000));
        let required = policy.verify(&note);
        assert_eq!(required.is_ok(), met);
        if !met {
            assert_eq!(required, Err(PolicyCheckError::QuorumNotMet));
        }
    }
}

#[test]
fn times_are_those_at_which_the_quorum_becomes_met() {
    let policy = parse(&example());
    let checkpoint = model::checkpoint(&model::leaves(5));
    // X1..X3 are witnesses 1..3 (two needed), Y1..Y3 are 4..6 (one needed).
    let times = [(1, 100), (2, 300), (3, 200), (4, 50), (6, 900)];
    let quorum = policy
        .verify(&model::cosigned(&checkpoint, &times))
        .unwrap();
    // At 200 two X (100, 200) and one Y (50) have signed.
    assert_eq!(quorum.not_after(), Some(200));
    // From 200 on, two X (300, 200) and one Y (900) have signed.
    assert_eq!(quorum.not_before(), Some(200));
    let named: Vec<(&[u8], u64, u64)> = quorum
        .cosignatures()
        .iter()
        .map(|c| (c.witness(), c.earliest(), c.latest()))
        .collect();
    assert_eq!(
        named,
        [
            (&b"X1"[..], 100, 100),
            (b"X2", 300, 300),
            (b"X3", 200, 200),
            (b"Y1", 50, 50),
            (b"Y3", 900, 900)
        ]
    );

    // A witness that cosigned twice counts with its earliest time for one bound and with its latest
    // for the other.
    let twice = [(1, 100), (1, 700), (2, 300), (4, 50), (4, 800)];
    let quorum = policy
        .verify(&model::cosigned(&checkpoint, &twice))
        .unwrap();
    assert_eq!(quorum.not_after(), Some(300));
    assert_eq!(quorum.not_before(), Some(300));
    assert_eq!(
        (
            quorum.cosignatures()[0].earliest(),
            quorum.cosignatures()[0].latest()
        ),
        (100, 700)
    );
}

#[test]
fn a_quorum_may_be_one_witness_or_none() {
    let checkpoint = model::checkpoint(&model::leaves(5));
    let alone = model::cosigned(&checkpoint, &[]);
    let with = model::cosigned(&checkpoint, &[(1, 77)]);

    let one = parse(&format!(
        "log {}\nwitness a {}\nquorum a\n",
        log(),
        witness(1)
    ));
    assert!(!one.check(&alone).unwrap().is_met());
    assert_eq!(one.verify(&with).unwrap().not_after(), Some(77));

    let none = parse(&format!(
        "log {}\nwitness a {}\nquorum none\n",
        log(),
        witness(1)
    ));
    assert!(!none.needs_witnesses());
    let quorum = none.verify(&alone).unwrap();
    assert_eq!((quorum.not_after(), quorum.not_before()), (None, None));
    assert_eq!(none.verify(&with).unwrap().cosignatures().len(), 1);

    let built = Policy::of_logs(vec![]).with_log(model::log_key().verifier().clone());
    assert_eq!(
        built,
        built.clone().with_log(model::log_key().verifier().clone())
    );
    assert!(built.verify(&alone).unwrap().is_met());
}

#[test]
fn the_log_of_the_origin_must_sign() {
    let policy = parse(&example());
    let checkpoint = model::checkpoint(&model::leaves(5));
    let signed = model::cosigned(&checkpoint, &[(1, 1), (2, 1), (4, 1)]);

    // Cosigned by everyone, but not by the log.
    let unsigned = signed
        .clone()
        .retain_signatures(|line| line.name().as_str() != model::ORIGIN)
        .unwrap();
    assert_eq!(
        policy.verify(&unsigned),
        Err(PolicyCheckError::NoLogSignature(model::origin()))
    );
    // Signed by nobody the policy knows.
    let stranger = SignerKey::from_seed(model::name(model::ORIGIN), Algorithm::Ed25519, &[9; 32]);
    let foreign = checkpoint.sign(&stranger).unwrap();
    assert_eq!(
        policy.verify(&foreign),
        Err(PolicyCheckError::NoLogSignature(model::origin()))
    );
    // Another origin.
    let other = parse(&example()).with_log(
        SignerKey::from_seed(
            model::name("other.example/log"),
            Algorithm::Ed25519,
            &[8; 32],
        )
        .verifier()
        .clone(),
    );
    assert!(other.verify(&signed).is_ok());
    let elsewhere = signed
        .to_string()
        .replace(model::ORIGIN, "third.example/log");
    let elsewhere = Note::parse(elsewhere.as_bytes()).unwrap();
    assert!(matches!(
        other.verify(&elsewhere),
        Err(PolicyCheckError::UnknownOrigin(_))
    ));
    // Another accepted log's signature does not stand in for this log's.
    let other_log = SignerKey::from_seed(
        model::name("other.example/log"),
        Algorithm::Ed25519,
        &[8; 32],
    );
    let line = other_log.sign(unsigned.text()).unwrap();
    let swapped = unsigned.with_signatures(vec![line]).unwrap();
    assert_eq!(
        other.verify(&swapped),
        Err(PolicyCheckError::NoLogSignature(model::origin()))
    );
    // Not a checkpoint at all.
    let text = "just a note\n";
    let note = Note::new(text.to_owned(), vec![model::log_key().sign(text).unwrap()]).unwrap();
    assert!(matches!(
        policy.verify(&note),
        Err(PolicyCheckError::Checkpoint(_))
    ));
}

#[test]
fn a_bad_cosignature_of_a_listed_witness_rejects_the_checkpoint() {
    let policy = parse(&example());
    let checkpoint = model::checkpoint(&model::leaves(5));
    let good = model::cosigned(&checkpoint, &[(1, 1), (2, 1), (4, 1)]);
    let other = model::cosigned(&model::checkpoint(&model::leaves(6)), &[(3, 1)]);
    let foreign = other
        .signatures()
        .iter()
        .filter(|line| line.name().as_str().ends_with("w3"));
    let note = good.with_signatures(foreign.cloned().collect()).unwrap();
    assert!(matches!(
        policy.verify(&note),
        Err(PolicyCheckError::Note(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// The bounds against their definition, by trying every time.
    #[test]
    fn bounds_agree_with_their_definition(
        times in proptest::collection::vec(proptest::option::of(1u64..12), 6),
        k in 1usize..=3,
    ) {
        let file = example().replace("group X-witnesses 2", &format!("group X-witnesses {k}"));
        let policy = parse(&file);
        let signed: Vec<(u8, u64)> =
            (1u8..).zip(&times).filter_map(|(w, time)| Some((w, (*time)?))).collect();
        let met = |keep: &dyn Fn(u64) -> bool| {
            let count = |range: std::ops::RangeInclusive<u8>| {
                signed.iter().filter(|(w, time)| range.contains(w) && keep(*time)).count()
            };
            count(1..=3) >= k && count(4..=6) >= 1
        };
        let note = model::cosigned(&model::checkpoint(&model::leaves(2)), &signed);
        let quorum = policy.check(&note).unwrap();
        prop_assert_eq!(quorum.is_met(), met(&|_| true));
        prop_assert_eq!(quorum.not_after(), (0..20).find(|t| met(&|time| time <= *t)));
        prop_assert_eq!(quorum.not_before(), (0..20).rev().find(|t| met(&|time| time >= *t)));
    }
}

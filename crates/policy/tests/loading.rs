//! What a policy folder may not hold, and how that is said.

#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod call;

use std::fs;

use call::{Call, load};
use counterfoil_enforcer::policy::Policy as _;
use counterfoil_policy::{PolicyError, PolicySet, sample};
use counterfoil_protocol::failure::FailureCode;

const SCHEMA: &str = r#"
action "refund" appliesTo {
  principal: Agent,
  resource: Server,
  context: { arguments: { ticket: String, amount_cents: Long, note?: String }, call: Call },
};
action "search" appliesTo {
  principal: Agent,
  resource: Server,
  context: { arguments: { query: String }, call: Call },
};
"#;

const PERMIT: &str = "@id(\"all\")\npermit (principal, action, resource);\n";

fn load_policy(text: &str) -> Result<PolicySet, PolicyError> {
    load(&[
        ("schema.cedarschema", SCHEMA),
        ("a.cedar", PERMIT),
        ("b.cedar", text),
    ])
}

/// Loads a policy that must be refused: the code, the place, and a part of the message.
#[track_caller]
fn refused(text: &str, code: &str, place: &str, part: &str) {
    let error = load_policy(text).map(|_| text.to_owned()).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.code(), code, "{message}");
    assert_eq!(
        error.place().unwrap().to_string(),
        format!("b.cedar:{place}"),
        "{message}"
    );
    assert!(
        message.starts_with(&format!("b.cedar:{place}: ")),
        "{message}"
    );
    assert!(message.contains(part), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn misspelt_keywords() {
    refused(
        "\n\nfrobid (principal, action, resource);",
        "policy_syntax",
        "3:1",
        "frobid",
    );
    refused(
        "@id(\"x\")\npermit (principle, action, resource);",
        "policy_syntax",
        "2:9",
        "principle",
    );
    refused(
        "@id(\"x\")\npermit (principal, action, resource)\nwen { true };",
        "policy_syntax",
        "3:1",
        "wen",
    );
    refused(
        "@id(\"x\")\npermit (principal, action, resource)",
        "policy_syntax",
        "2:37",
        "end of",
    );
    refused(
        "@id(\"x\") @id(\"y\")\npermit (principal, action, resource);",
        "policy_syntax",
        "1:10",
        "id",
    );
}

#[test]
fn misspelt_annotations() {
    let with = |annotation: &str| {
        format!("// first\n@id(\"x\")\n  {annotation}\npermit (principal, action, resource);")
    };
    for annotation in [
        "@teir(\"low\")",
        "@Tier(\"low\")",
        "@approval",
        "@doc(\"text\")",
    ] {
        refused(
            &with(annotation),
            "policy_annotation",
            "3:3",
            "unknown annotation `@",
        );
    }
    for tier in ["hihg", "High", "", "5"] {
        let annotation = format!("@tier(\"{tier}\")");
        refused(
            &with(&annotation),
            "policy_annotation",
            "3:3",
            "the tiers are `low`, `medium`",
        );
    }
    for points in [
        "-1",
        "+1",
        "1.5",
        "01",
        "",
        " 1",
        "five",
        "18446744073709551616",
    ] {
        let annotation = format!("@points(\"{points}\")");
        refused(
            &with(&annotation),
            "policy_annotation",
            "3:3",
            "is not a number of points",
        );
    }
    refused(
        &with("@reason(\"x\")"),
        "policy_annotation",
        "3:3",
        "no effect on a permit",
    );
    refused(
        &with("@instead(\"x\")"),
        "policy_annotation",
        "3:3",
        "no effect on a permit",
    );

    let with = |annotation: &str| {
        format!(
            "@id(\"x\")\n{annotation}\nforbid (principal, action == Action::\"search\", resource);"
        )
    };
    refused(
        &with("@tier(\"low\")"),
        "policy_annotation",
        "2:1",
        "no effect on a forbid",
    );
    refused(
        &with("@points(\"1\")"),
        "policy_annotation",
        "2:1",
        "no effect on a forbid",
    );
    refused(
        &with("@reason(\"Too Much\")"),
        "policy_annotation",
        "2:1",
        "lower-case letters",
    );
    refused(
        &with("@reason"),
        "policy_annotation",
        "2:1",
        "lower-case letters",
    );
    refused(
        &with("@reason(\"policy_error\")"),
        "policy_annotation",
        "2:1",
        "reserved",
    );
    refused(
        &with("@instead(\" \")"),
        "policy_annotation",
        "2:1",
        "one line of text",
    );
    refused(
        &with("@instead(\"a\\nb\")"),
        "policy_annotation",
        "2:1",
        "one line of text",
    );
}

/// The words in backticks of one section of the registries that can be reasons.
fn registered(section: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/16-registries.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {section}. ")).unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let is_reason = |word: &&str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let words = section.split('`').skip(1).step_by(2);
    words.filter(is_reason).map(str::to_owned).collect()
}

#[test]
fn reasons_that_are_the_gateways_own_are_no_policys() {
    let mut reserved = registered("6");
    reserved.extend(registered("7"));
    assert!(reserved.len() > 150, "{}", reserved.len());
    for code in [
        "channel_gap",
        "policy_allows",
        "log_backlog",
        "header_repeated",
    ] {
        assert!(reserved.iter().any(|one| one == code), "{code}");
    }
    reserved.extend(FailureCode::ALL.iter().map(|code| code.as_str().to_owned()));
    for code in reserved {
        // The form of a reason is described there, and the words for its alphabet are none.
        if code == "_" {
            continue;
        }
        refused(
            &format!(
                "@id(\"x\")\n@reason(\"{code}\")\nforbid (principal, action == \
                 Action::\"search\", resource);"
            ),
            "policy_annotation",
            "2:1",
            "reserved",
        );
    }
}

#[test]
fn ids_are_required_and_unique() {
    let scope = "permit (principal, action, resource);";
    refused(
        &format!("\n {scope}"),
        "policy_missing_id",
        "2:2",
        "write `@id(",
    );
    refused(
        &format!("@id(\"b\") {scope}\n{scope}"),
        "policy_missing_id",
        "2:1",
        "no id",
    );
    refused(
        &format!("@id(\"\") {scope}"),
        "policy_annotation",
        "1:1",
        "policy id",
    );
    refused(
        &format!("@id {scope}"),
        "policy_annotation",
        "1:1",
        "policy id",
    );
    refused(
        &format!("@id(\"a\\tb\") {scope}"),
        "policy_annotation",
        "1:1",
        "policy id",
    );
    refused(
        &format!("@id(\"b\") {scope}\n@tier(\"low\") @id(\"all\") {scope}"),
        "policy_duplicate_id",
        "2:14",
        "already taken at a.cedar:1:1",
    );
}

#[test]
fn policies_that_do_not_fit_the_schema() {
    let with = |scope: &str, condition: &str| {
        format!("@id(\"x\")\nforbid ({scope})\nwhen {{ {condition} }};")
    };
    let refund = "principal, action == Action::\"refund\", resource";
    let invalid = |scope: &str, condition: &str, place: &str, part: &str| {
        refused(&with(scope, condition), "policy_invalid", place, part);
    };
    invalid(
        refund,
        "context.arguments.amount_cent > 5",
        "3:8",
        "amount_cent",
    );
    invalid(
        refund,
        "context.argument.amount_cents > 5",
        "3:8",
        "argument",
    );
    invalid(
        refund,
        "context.arguments.amount_cents > \"5\"",
        "3:41",
        "Long",
    );
    invalid(refund, "context.call.nwo > 5", "3:8", "nwo");
    invalid(refund, "principal.operater == \"x\"", "3:8", "operater");
    // May be absent, so that reading it could fail.
    invalid(refund, "principal.session == \"x\"", "3:8", "session");
    invalid(refund, "context.arguments.note == \"x\"", "3:8", "note");
    invalid(
        "principal, action == Action::\"refnd\", resource",
        "true",
        "2:30",
        "refnd",
    );
    invalid(
        "principal is Agnt, action, resource",
        "true",
        "2:22",
        "Agnt",
    );
    // Other actions have no such argument.
    invalid(
        "principal, action, resource",
        "context.arguments.amount_cents > 5",
        "3:8",
        "amount_cents",
    );
    // Never applies.
    invalid(refund, "false", "1:1", "impossible");
    invalid(
        "principal is Server, action, resource",
        "true",
        "1:1",
        "impossible",
    );
    invalid(refund, "resource.name == \"x\"", "3:8", "name");
    // Looks like another text: the `о` is Cyrillic.
    invalid(
        refund,
        "context.arguments.ticket == \"custоmer\"",
        "3:36",
        "mixed script",
    );
}

#[test]
fn the_message_for_a_misspelt_attribute_reads_well() {
    let error = load_policy(
        "@id(\"limit\")\nforbid (principal, action == Action::\"refund\", resource)\n\
         when { context.arguments.amount_cent > 5000 };",
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "b.cedar:3:8: policy `limit`: attribute `arguments.amount_cent` in context for \
         Action::\"refund\" not found; did you mean `amount_cents`?"
    );
}

#[test]
fn templates_are_refused() {
    refused(
        "@id(\"x\")\npermit (principal == ?principal, action, resource);",
        "policy_template",
        "1:1",
        "templates",
    );
}

#[test]
fn nesting_that_would_end_the_process_is_refused() {
    let nested = |n: usize| {
        let condition = "(".repeat(n) + "true" + &")".repeat(n);
        format!("@id(\"x\")\npermit (principal, action, resource)\nwhen {{ {condition} }};")
    };
    load_policy(&nested(60)).unwrap();
    refused(
        &nested(100_000),
        "policy_too_complex",
        "3:71",
        "too deeply nested",
    );
    let chained = |n: usize| {
        let condition = "true".to_owned() + &" && true".repeat(n);
        format!("@id(\"x\")\npermit (principal, action, resource)\nwhen {{ {condition} }};")
    };
    load_policy(&chained(3000)).unwrap();
    assert_eq!(
        load_policy(&chained(100_000)).unwrap_err().code(),
        "policy_too_complex"
    );
    let schema = format!(
        "type A = {}Long{};",
        "Set<".repeat(100_000),
        ">".repeat(100_000)
    );
    let error = load(&[("schema.cedarschema", &schema), ("a.cedar", PERMIT)]).unwrap_err();
    assert_eq!(error.code(), "policy_too_complex");
}

#[test]
fn a_set_without_policies_is_refused() {
    for files in [
        &[("schema.cedarschema", SCHEMA)][..],
        &[("schema.cedarschema", SCHEMA), ("a.cedar", "")],
        &[
            ("schema.cedarschema", SCHEMA),
            ("a.cedar", "// permit (principal, action, resource);"),
        ],
    ] {
        assert_eq!(load(files).unwrap_err().code(), "policy_none");
    }
    assert_eq!(
        load(&[("a.cedar", PERMIT)]).unwrap_err().code(),
        "policy_missing_schema"
    );
    assert_eq!(load(&[]).unwrap_err().code(), "policy_missing_schema");
}

#[test]
fn a_folder_loads_like_its_files() {
    let dir = tempfile::tempdir().unwrap();
    // Written in reverse, so that a folder listed in order of creation is not sorted by name.
    for (name, text) in sample().iter().rev() {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::write(dir.path().join("README.md"), "not part of the set").unwrap();
    let from_folder = PolicySet::load(dir.path()).unwrap();
    let from_files = load(sample()).unwrap();
    assert_eq!(from_folder.digest(), from_files.digest());
    let again = PolicySet::from_sources(from_folder.sources().to_vec()).unwrap();
    assert_eq!(again.digest(), from_folder.digest());

    fs::rename(
        dir.path().join("refund.cedar"),
        dir.path().join("refund.ceder"),
    )
    .unwrap();
    let error = PolicySet::load(dir.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("refund.ceder: not a policy file"),
        "{error}"
    );
}

#[test]
fn the_digest_changes_with_every_byte_of_every_file() {
    let base: Vec<(String, Vec<u8>)> = sample()
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
        .collect();
    let digest = PolicySet::from_sources(base.clone()).unwrap().digest();
    let mut seen = std::collections::BTreeSet::from([digest]);
    for index in 0..base.len() {
        // A comment changes nothing but the digest.
        let mut files = base.clone();
        files[index].1.extend_from_slice(b"// .\n");
        assert!(seen.insert(PolicySet::from_sources(files.clone()).unwrap().digest()));
        let dot = files[index].1.len() - 2;
        files[index].1[dot] = b',';
        assert!(seen.insert(PolicySet::from_sources(files).unwrap().digest()));
    }
    let mut reversed = base;
    reversed.reverse();
    assert_eq!(PolicySet::from_sources(reversed).unwrap().digest(), digest);
}

#[test]
fn windows_line_ends_are_fine() {
    let files: Vec<_> = sample()
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.replace('\n', "\r\n").into_bytes()))
        .collect();
    let policies = PolicySet::from_sources(files).unwrap();
    Call::of("search", "{\"query\":\"x\"}").allowed(&policies);
}

//! Terms: what is written reads back, and what is not in the one form is refused.

use ciborium::Value;
use counterfoil_protocol::FailureCode::{
    self, CborFloat, CborTooLarge, NameInvalid, StructureMissingField, StructureOutOfRange,
    StructureUnknownField, StructureWrongType, TrustMalformed,
};
use counterfoil_protocol::contract::{Clauses, Party, Terms};
use counterfoil_protocol::digest::{ContentDigest, Salt};
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{Tier, Unit};
use counterfoil_protocol::numbers::{Amount, Millis};
use proptest::prelude::*;

use super::operators::{DAY, LOGS, clauses, permission, terms};

#[test]
fn terms_read_back_as_they_were_written() {
    let terms = terms();
    assert_eq!(Terms::parse(terms.encoded()).unwrap(), terms);
    let mut small = clauses();
    small.admission = None;
    small.disclosures.clear();
    small.budgets.clear();
    small.escalation.clear();
    let small = Terms::new(small).unwrap();
    assert_eq!(Terms::parse(small.encoded()).unwrap(), small);
    assert_ne!(small, terms);
}

#[test]
fn what_a_party_must_do_can_be_asked() {
    let terms = terms();
    assert_eq!(terms.party(&clauses().asking), Some(Party::Asking));
    assert_eq!(terms.party(&clauses().asked), Some(Party::Asked));
    assert_eq!(terms.party(&"other.example".parse().unwrap()), None);
    assert_eq!(*terms.operator(Party::Asked), clauses().asked);
    let asking: Vec<_> = terms.discloses(Party::Asking).collect();
    assert_eq!(asking, [DisclosedField::Parameters]);
    assert_eq!(terms.level(&Tier::literal("high")), Some(Level::Witnessed));
    assert_eq!(terms.level(&Tier::literal("none")), None);
    let salt = Salt::from_bytes([1; 16]);
    let disclosure = terms.disclosure(salt);
    assert_eq!(disclosure.digest(), ContentDigest::of(&disclosure.encode()));
}

/// Breaks one clause; the refusal has the code and begins with the clause's name.
fn refused(code: FailureCode, clause: &str, change: impl Fn(&mut Clauses)) {
    let mut changed = clauses();
    change(&mut changed);
    let refused = Terms::new(changed).unwrap_err();
    assert_eq!(refused.code(), code, "{refused}");
    assert!(refused.detail().starts_with(clause), "{refused}");
}

#[test]
fn a_broken_clause_is_named() {
    refused(StructureOutOfRange, "parties", |c| {
        c.asked = c.asking.clone();
    });
    refused(StructureOutOfRange, "expires", |c| c.expires = c.begins);
    refused(StructureOutOfRange, "permissions", |c| {
        c.permissions.clear()
    });
    refused(StructureOutOfRange, "permissions", |c| {
        c.permissions = vec![permission("x", &[], "low"); 257];
    });
    refused(StructureOutOfRange, "permissions: number 2", |c| {
        c.permissions[1].tier = Tier::literal("medium");
    });
    refused(StructureOutOfRange, "permissions: number 1: targets", |c| {
        c.permissions[0] = permission("x", &[("/a", "b"); 17], "low");
    });
    refused(StructureOutOfRange, "levels", |c| {
        c.policy = LOGS.lines().next().unwrap().to_owned() + "\nquorum none\n";
    });
    refused(StructureOutOfRange, "levels", |c| {
        c.levels = [("low", Level::Signed), ("high", Level::Logged)]
            .map(|(tier, level)| (Tier::literal(tier), level))
            .into();
        c.policy = "quorum none\n".to_owned();
    });
    refused(StructureOutOfRange, "publish delay", |c| {
        c.publish_delay = Millis::new(0);
    });
    refused(TrustMalformed, "logs and witnesses", |c| {
        c.policy.push_str("nonsense\n");
    });
    refused(TrustMalformed, "logs and witnesses", |c| c.policy.clear());
    refused(TrustMalformed, "logs and witnesses", |c| {
        c.policy.push_str(
            "operator example.com+5ff55eeb+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
        );
    });
    refused(StructureOutOfRange, "disclosures", |c| {
        c.disclosures
            .insert((Party::Asked, DisclosedField::Contract));
    });
    refused(StructureOutOfRange, "admission", |c| {
        c.admission = Some(String::new());
    });
    refused(StructureOutOfRange, "budgets", |c| {
        let free = (Unit::literal("TOKENS"), Millis::new(0));
        c.budgets.insert(free, Amount::new(1));
    });
    refused(StructureOutOfRange, "budgets", |c| {
        for period in 1..=17 {
            let budget = (Unit::literal("TOKENS"), Millis::new(period * DAY));
            c.budgets.insert(budget, Amount::new(1));
        }
    });
    refused(StructureOutOfRange, "escalation", |c| {
        for number in 0..=64 {
            let contact = format!("tel:{number}").parse().unwrap();
            c.escalation.insert((Party::Asking, contact));
        }
    });
    refused(CborTooLarge, "the terms", |c| {
        c.admission = Some("x".repeat(256 << 10));
    });
    // 256 permissions with 16 targets each are more items than an object may have.
    refused(CborTooLarge, "the terms", |c| {
        c.permissions = vec![permission("x", &[("/a", "b"); 16], "low"); 256];
    });
}

/// Changes the value of one field of the encoded terms, or takes it out.
fn edited(key: i64, value: Option<Value>) -> Vec<u8> {
    edit(|entries| {
        entries.retain(|(found, _)| *found != Value::from(key));
        entries.extend(value.map(|value| (Value::from(key), value)));
        entries.sort_by_key(|(key, _)| i128::from(key.as_integer().unwrap()));
    })
}

fn edit(change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let mut value: Value = ciborium::from_reader(terms().encoded()).unwrap();
    change(value.as_map_mut().unwrap());
    let mut bytes = Vec::new();
    ciborium::into_writer(&value, &mut bytes).unwrap();
    bytes
}

fn array(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(items.into_iter().collect())
}

fn pair(first: impl Into<Value>, second: impl Into<Value>) -> Value {
    array([first.into(), second.into()])
}

fn map(entries: &[(i64, Value)]) -> Value {
    Value::Map(
        entries
            .iter()
            .map(|(key, value)| (Value::from(*key), value.clone()))
            .collect(),
    )
}

#[test]
fn bytes_in_another_form_are_refused() {
    let allowed = |targets: Option<Value>| {
        let mut entries = vec![
            (1, Value::from("desk")),
            (2, Value::from("tools/call")),
            (3, Value::from("x")),
        ];
        entries.extend(targets.map(|targets| (4, targets)));
        entries.extend([(5, Value::from("low")), (6, Value::from(1))]);
        map(&entries)
    };
    for (code, key, value) in [
        (
            StructureOutOfRange,
            1,
            Some("counterfoil/contract/v2".into()),
        ),
        (StructureMissingField, 1, None),
        (NameInvalid, 2, Some("Acme".into())),
        (StructureOutOfRange, 3, Some("acme.example".into())),
        (StructureWrongType, 4, Some("soon".into())),
        (CborFloat, 4, Some(1.5.into())),
        (StructureOutOfRange, 5, Some(0.into())),
        (StructureMissingField, 6, None),
        (StructureOutOfRange, 6, Some(array([]))),
        (
            StructureOutOfRange,
            6,
            Some(array([allowed(Some(array([])))])),
        ),
        (
            NameInvalid,
            6,
            Some(array([allowed(Some(array([pair("a", "b")])))])),
        ),
        (
            NameInvalid,
            6,
            Some(array([allowed(Some(array([pair("/a", "")])))])),
        ),
        (
            StructureWrongType,
            6,
            Some(array([allowed(Some(array(["/a".into()])))])),
        ),
        (
            StructureWrongType,
            6,
            Some(array([allowed(Some("/a".into()))])),
        ),
        (
            StructureOutOfRange,
            7,
            Some(array([pair("high", 5), pair("low", 1)])),
        ),
        (
            StructureOutOfRange,
            7,
            Some(array([pair("low", 1), pair("high", 1)])),
        ),
        (
            StructureOutOfRange,
            7,
            Some(array([pair("low", 1), pair("low", 1)])),
        ),
        (StructureOutOfRange, 7, Some(array([pair("low", 1)]))),
        (StructureOutOfRange, 8, Some(0.into())),
        (TrustMalformed, 9, Some("quorum none".into())),
        (StructureOutOfRange, 10, Some(array([pair(1, 19)]))),
        (StructureOutOfRange, 10, Some(array([pair(1, 11)]))),
        (StructureOutOfRange, 10, Some(array([pair(3, 9)]))),
        (
            StructureOutOfRange,
            10,
            Some(array([pair(2, 9), pair(1, 9)])),
        ),
        (StructureWrongType, 10, Some(array([array([1.into()])]))),
        (StructureOutOfRange, 11, Some("".into())),
        (StructureWrongType, 11, Some(Value::Null)),
        (
            NameInvalid,
            12,
            Some(array([array(["points".into(), 1.into(), 1.into()])])),
        ),
        (
            StructureOutOfRange,
            12,
            Some(array([array(["A".into(), 1.into(), 0.into()])])),
        ),
        (NameInvalid, 13, Some(array([pair(1, "")]))),
        (StructureMissingField, 14, None),
        (StructureUnknownField, 15, Some(1.into())),
        (StructureUnknownField, 0, Some(1.into())),
    ] {
        let refused = Terms::parse(&edited(key, value.clone())).unwrap_err();
        assert_eq!(refused.code(), code, "field {key} {value:?}: {refused}");
    }
    assert!(Terms::parse(&edited(6, Some(array([allowed(None)])))).is_ok());
    let with_target = array([allowed(Some(array([pair("/a", "b*")])))]);
    assert!(Terms::parse(&edited(6, Some(with_target))).is_ok());
}

proptest! {
    /// Whatever parses is in its one form, and nothing makes the parser panic.
    #[test]
    fn flipped_bytes_parse_to_themselves_or_not_at_all(at in 0_usize..700, byte: u8) {
        let mut bytes = terms().encoded().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(parsed) = Terms::parse(&bytes) {
            let again = Terms::new(parsed.clauses().clone()).unwrap();
            prop_assert_eq!(again.encoded(), bytes.as_slice());
        }
    }

    #[test]
    fn any_bytes_are_refused_quietly(bytes: Vec<u8>) {
        prop_assert!(Terms::parse(&bytes).is_err());
    }
}

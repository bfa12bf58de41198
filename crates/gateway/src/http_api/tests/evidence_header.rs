use axum::http::{HeaderMap, HeaderValue};
use counterfoil_enforcer::call::Envelope;
use counterfoil_protocol::digest::{RecordId, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};

use crate::http_api::evidence_header::{EVIDENCE, Evidence};

fn envelope() -> Envelope {
    Envelope {
        records: vec![vec![0xff, 0x00, 0x10].into(), vec![1].into()],
        salt: Some(Salt::from_bytes([7; 16])),
        disclosures: vec![Disclosure {
            field: DisclosedField::Session,
            salt: Salt::from_bytes([0; 16]),
            content: b"s".to_vec(),
        }],
        receipt: Some(vec![0xa1, 0x00]),
    }
}

fn read(values: &[&str]) -> Result<Option<Evidence>, String> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(EVIDENCE, HeaderValue::from_str(value).unwrap());
    }
    Evidence::of(&headers).map_err(|error| error.to_string())
}

#[test]
fn an_envelope_survives_the_header() {
    let whole = Evidence::Records(envelope());
    let text = whole.encode().unwrap();
    assert_eq!(
        text,
        "records=(:/wAQ: :AQ==:), salt=:BwcHBwcHBwcHBwcHBwcHBw==:, \
         disclosures=(:g1AAAAAAAAAAAAAAAAAAAAAAQXMW:), receipt=:oQA=:"
    );
    assert_eq!(read(&[text.to_str().unwrap()]), Ok(Some(whole)));

    let id = RecordId::from_bytes([3; 32]);
    let rest = Envelope {
        records: vec![],
        disclosures: vec![],
        receipt: None,
        ..envelope()
    };
    let reference = Evidence::Reference(id, rest);
    let text = reference.encode().unwrap();
    assert_eq!(
        text,
        "ref=:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=:, salt=:BwcHBwcHBwcHBwcHBwcHBw==:"
    );
    assert_eq!(read(&[text.to_str().unwrap()]), Ok(Some(reference)));
    assert_eq!(read(&[]), Ok(None));
}

#[test]
fn what_is_too_long_for_a_header_is_not_written() {
    let mut envelope = envelope();
    envelope.records = vec![vec![0; 3_000].into(); 2];
    let at_the_limit = Evidence::Records(envelope.clone());
    let length = at_the_limit.encode().unwrap().len();
    envelope.records[0] = vec![0; 3_000 + (8_192 - length) / 4 * 3].into();
    let fits = Evidence::Records(envelope.clone());
    assert!(fits.encode().unwrap().len() > 8_188);
    envelope.records[1] = vec![0; 3_003].into();
    assert_eq!(Evidence::Records(envelope).encode(), None);
}

#[test]
fn anything_else_is_refused() {
    for bad in [
        "",
        "records",
        "records=",
        "records=:/wAQ:",
        "records=(:/wAQ:)x",
        "records=(:/wAQ:  :AQ==:)",
        "records=(:/wAQ:,:AQ==:)",
        "records=(/wAQ)",
        "records=(:/wA:)",
        "records=(:_wAQ:)",
        "records=(:/wAQ:),salt=:BwcHBwcHBwcHBwcHBwcHBw==:",
        "records=(:/wAQ:), salt=:BwcH:",
        "records=(:/wAQ:), more=1",
        "records=(:/wAQ:), records=(:/wAQ:)",
        "records=(:/wAQ:), disclosures=()",
        "records=(:/wAQ:), disclosures=(:AQ==:)",
        "records=(:/wAQ:), disclosures=(:g1AAAAAAAAAAAAAAAAAAAAAAQXMW:), salt=:BwcHBwcHBwcHBwcHBwcHBw==:",
        "salt=:BwcHBwcHBwcHBwcHBwcHBw==:, records=(:/wAQ:)",
        "ref=:AwMD:",
        "ref=:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=:, records=()",
        // What is named by reference brings its receipt with it.
        "ref=:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=:, receipt=:oQA=:",
        "records=(:/wAQ:), receipt=(:oQA=:)",
        "records=(:/wAQ:), receipt=::",
        "records=(:/wAQ:), receipt=:oQA=:, salt=:BwcHBwcHBwcHBwcHBwcHBw==:",
        "Records=(:/wAQ:)",
    ] {
        assert!(read(&[bad]).is_err(), "{bad}");
    }
    let long = format!("records=({})", vec![":AAAA:"; 2_000].join(" "));
    assert!(read(&[&long]).is_err());
    assert!(read(&["records=(:/wAQ:)", "records=(:/wAQ:)"]).is_err());
}

//! The sample policies decide as their comments say.

#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod call;

use call::{Call, load};
use counterfoil_policy::{calling_sample, sample};
use counterfoil_protocol::numbers::Amount;

fn mail(to: &str) -> Call {
    Call::of(
        "send_mail",
        &format!("{{\"to\":\"{to}\",\"subject\":\"s\",\"body\":\"b\"}}"),
    )
}

fn refund(cents: i64) -> Call {
    Call::of(
        "refund",
        &format!("{{\"ticket\":\"T-1\",\"amount_cents\":{cents}}}"),
    )
}

#[test]
fn the_support_desk_lets_every_agent_read() {
    let policies = load(sample()).unwrap();
    let read = Call::of("read_ticket", "{\"id\":\"T-1\"}");
    for call in [
        read.clone(),
        Call {
            operator: "other.example".to_owned(),
            agent: "x".to_owned(),
            ..read
        },
        Call::of("search", "{\"query\":\"late\"}"),
    ] {
        let allowed = call.allowed(&policies);
        assert_eq!(allowed.tier.unwrap().as_str(), "low");
        assert_eq!(allowed.points, Amount::new(1));
        assert_eq!(allowed.policies, ["read".parse().unwrap()]);
    }
}

#[test]
fn the_support_desk_sends_mail_to_customers_only() {
    let policies = load(sample()).unwrap();
    let allowed = mail("ann@customer.example").allowed(&policies);
    assert_eq!(allowed.tier.unwrap().as_str(), "medium");
    assert_eq!(allowed.points, Amount::new(5));
    for to in [
        "eve@elsewhere.example",
        "eve@notcustomer.example",
        "eve@elsewhere.example, ann@customer.example",
        "ann@customer.example, eve@elsewhere.example",
        "ann@customer.example ",
        "ann@CUSTOMER.EXAMPLE",
        "",
    ] {
        let denied = mail(to).denied(&policies);
        assert_eq!(denied.reason.as_str(), "mail_outside", "{to}");
        assert_eq!(denied.policies, ["mail-outside".parse().unwrap()]);
        assert_eq!(
            denied.instead.as_deref(),
            Some("send to one address that ends in @customer.example")
        );
    }
}

#[test]
fn the_support_desk_refunds_up_to_its_limit() {
    let policies = load(sample()).unwrap();
    for cents in [1, 5000] {
        let allowed = refund(cents).allowed(&policies);
        assert_eq!(allowed.tier.unwrap().as_str(), "high");
        assert_eq!(allowed.points, Amount::new(20));
    }
    for cents in [5001, i64::MAX] {
        let denied = refund(cents).denied(&policies);
        assert_eq!(denied.reason.as_str(), "policy_forbids");
        assert_eq!(denied.policies, ["refund-limit".parse().unwrap()]);
        assert_eq!(denied.explanation, "refused by policy `refund-limit`");
        assert_eq!(
            denied.instead.as_deref(),
            Some("refund at most 50.00, or ask a person to do it")
        );
    }
    for cents in [0, -1, i64::MIN] {
        assert_eq!(refund(cents).reason(&policies), "no_policy_allows");
    }
}

#[test]
fn the_support_bot_asks_for_its_own_operator_only() {
    let policies = load(calling_sample()).unwrap();
    let read = Call::of("read_ticket", "{\"id\":\"T-1\"}");
    assert_eq!(read.allowed(&policies).points, Amount::new(1));
    let search = Call::of("search", "{\"query\":\"late\"}");
    assert_eq!(search.allowed(&policies).tier.unwrap().as_str(), "low");
    for other in [
        Call {
            agent: "sales-bot".to_owned(),
            ..read.clone()
        },
        Call {
            operator: "other.example".to_owned(),
            ..read
        },
    ] {
        assert_eq!(other.reason(&policies), "no_policy_allows");
    }
}

#[test]
fn the_support_bot_acts_within_limits() {
    let policies = load(calling_sample()).unwrap();
    assert_eq!(
        mail("ann@customer.example").allowed(&policies).points,
        Amount::new(5)
    );
    assert_eq!(
        mail("eve@elsewhere.example").reason(&policies),
        "mail_outside"
    );
    assert_eq!(
        refund(100).allowed(&policies).tier.unwrap().as_str(),
        "medium"
    );
}

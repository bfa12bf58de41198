//! Reconciliation: each class by an example, and all of them against a naive model.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod channels;
mod contracts;
mod examples;
mod model;

use counterfoil_protocol::reconcile::{Class, Line, Options, Reconciler, Side, Totals};
use support::conversation::{Said, add, name};

/// What comes of records each of which stands in its signer's evidence.
fn reconcile(said: &[Said], options: Options) -> (Vec<Line>, Totals) {
    let each: Vec<(Side, Said)> = said
        .iter()
        .map(|said| (said.signer, said.clone()))
        .collect();
    reconcile_held(&each, options)
}

fn reconcile_held(said: &[(Side, Said)], options: Options) -> (Vec<Line>, Totals) {
    let mut reconciler = Reconciler::new(name(Side::Ours), name(Side::Theirs), options);
    for (holder, said) in said {
        assert!(add(&mut reconciler, *holder, said));
    }
    let mut lines = Vec::new();
    let totals = reconciler.finish(|line| lines.push(line));
    assert_eq!(totals.lines, lines.len() as u64);
    for class in Class::ALL {
        let of_class = lines.iter().filter(|line| line.class == class).count();
        assert_eq!(totals.of(class), of_class as u64);
    }
    for line in &lines {
        assert!(!line.sentence.is_empty());
        let gravest = line.findings.iter().map(|finding| finding.class).min();
        assert_eq!(line.class, gravest.unwrap_or(Class::Matched));
    }
    (lines, totals)
}

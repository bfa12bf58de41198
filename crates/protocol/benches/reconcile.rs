//! How long it takes to reconcile 100,000 calls: `cargo bench -p counterfoil-protocol --bench
//! reconcile`. The records have been verified before; see the benchmark of bundles for that.

#![allow(missing_docs, reason = "a benchmark")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark stops on any error"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use counterfoil_protocol::reconcile::{Class, Options, Reconciler, Side};
use support::conversation::{Conversation, Said, add, name};

const CALLS: usize = 100_000;

fn main() {
    let mut conversation = Conversation::default();
    let said: Vec<Said> = (0..CALLS)
        .flat_map(|call| {
            let asking = if call % 2 == 0 {
                Side::Ours
            } else {
                Side::Theirs
            };
            conversation.call(asking)
        })
        .collect();
    // One in a hundred calls lacks a record.
    let dropped = |at: usize| at % 400 == 399 - (at / 400 % 4);

    for _ in 0..5 {
        let mut reconciler =
            Reconciler::new(name(Side::Ours), name(Side::Theirs), Options::default());
        let begun = Instant::now();
        for (at, said) in said.iter().enumerate() {
            if !dropped(at) {
                add(&mut reconciler, said.signer, said);
            }
        }
        let taken = begun.elapsed();
        let mut characters = 0;
        let totals = reconciler.finish(|line| characters += line.sentence.len());
        let all = begun.elapsed();
        println!(
            "{} calls, {} records: {:.2} s ({:.2} s to take them in); {} lines, {} matched, {} \
             characters",
            totals.calls,
            totals.records,
            all.as_secs_f64(),
            taken.as_secs_f64(),
            totals.lines,
            totals.of(Class::Matched),
            characters
        );
        assert_eq!(totals.of(Class::Matched), (CALLS - CALLS / 100) as u64);
    }
}

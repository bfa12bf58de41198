//! Two verifiers that were written apart from each other agree: the one in Rust, and the one in
//! Python (`tests/second-verifier`), on all vectors and on many mutations of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test stops at the first thing that goes wrong"
)]

mod cases;
mod edits;
mod keys;
mod mutations;
mod ours;
mod random;
mod repair;
mod text;
mod theirs;
mod tree;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Instant;

use cases::{Case, Seeds};
use keys::Keys;
use ours::Ours;
use theirs::Theirs;

/// How many mutations there are. `COUNTERFOIL_MUTATIONS` gives another number and
/// `COUNTERFOIL_FIRST_MUTATION` that of the first one, `COUNTERFOIL_SHOWN` how many disagreements are
/// printed.
const MUTATIONS: u64 = 100_000;
/// How many cases are asked about at once: see `Theirs::ask`.
const TOGETHER: u64 = 64;
const PROCESSES: u64 = 2;
const SHOWN: u64 = 20;

/// A number from the environment.
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |number| number.parse().unwrap())
}

/// A case that the verifiers do not answer alike.
struct Disagreement {
    name: String,
    case: Case,
    ours: String,
    theirs: String,
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            case,
            ours,
            theirs,
        } = self;
        let hex: String = case.body.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(
            out,
            "{name}\n{}rust:   {ours}\npython: {theirs}\n{hex}",
            case.header
        )
    }
}

/// Asks both about some cases; `found` is told each answer of ours.
fn compare(
    cases: Vec<(String, Case)>,
    ours: impl Fn(&Case) -> String,
    theirs: &mut Theirs,
    mut found: impl FnMut(&Case, &str),
) -> Vec<Disagreement> {
    let (names, cases): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    theirs.ask(&cases);
    // While they work, so do we. A panic is an answer too, so that its case is printed.
    let answer = |case: &Case| {
        catch_unwind(AssertUnwindSafe(|| ours(case))).unwrap_or_else(|_| "panic".to_owned())
    };
    let answers: Vec<String> = cases.iter().map(answer).collect();
    let mut disagreements = Vec::new();
    for ((name, case), ours) in names.into_iter().zip(cases).zip(answers) {
        let theirs = theirs.answer();
        found(&case, &ours);
        if ours != theirs {
            disagreements.push(Disagreement {
                name,
                case,
                ours,
                theirs,
            });
        }
    }
    disagreements
}

fn assert_none(disagreements: &[Disagreement]) {
    let shown = setting("COUNTERFOIL_SHOWN", SHOWN) as usize;
    for disagreement in disagreements.iter().take(shown) {
        println!("{disagreement}\n");
    }
    assert!(
        disagreements.is_empty(),
        "{} disagreements",
        disagreements.len()
    );
}

#[test]
fn both_answer_every_vector_alike() {
    let seeds = Seeds::read();
    let ours = Ours::new(&seeds);
    let mut theirs = Theirs::start();
    let mut disagreements = Vec::new();
    for (name, case) in seeds.all() {
        let cases = vec![(name.to_owned(), case.clone())];
        disagreements.extend(compare(
            cases,
            |case| ours.answer(case),
            &mut theirs,
            |_, _| {},
        ));
    }
    assert_none(&disagreements);
}

#[test]
fn both_answer_mutations_alike() {
    let begin = Instant::now();
    let count = setting("COUNTERFOIL_MUTATIONS", MUTATIONS);
    let first = setting("COUNTERFOIL_FIRST_MUTATION", 0);
    let (seeds, keys) = (Seeds::read(), Keys::new());
    let worker = |which: u64| {
        let ours = Ours::new(&seeds);
        let mut theirs = Theirs::start();
        let (mut disagreements, mut codes) = (Vec::new(), BTreeMap::new());
        let starts = (0..count).step_by(TOGETHER as usize);
        for start in starts.filter(|start| start / TOGETHER % PROCESSES == which) {
            let numbers = first + start..first + (start + TOGETHER).min(count);
            let cases = numbers
                .map(|number| {
                    (
                        format!("mutation {number}"),
                        mutations::mutation(number, &seeds, &keys),
                    )
                })
                .collect();
            let found = |case: &Case, answer: &str| {
                let key = (case.get("object").to_owned(), verdict(answer));
                *codes.entry(key).or_insert(0_u64) += 1;
            };
            disagreements.extend(compare(cases, |case| ours.answer(case), &mut theirs, found));
        }
        (disagreements, codes)
    };
    let (mut disagreements, mut codes) = (Vec::new(), BTreeMap::new());
    thread::scope(|scope| {
        let worker = &worker;
        let workers: Vec<_> = (0..PROCESSES)
            .map(|which| scope.spawn(move || worker(which)))
            .collect();
        for worker in workers {
            let (theirs, counts) = worker.join().unwrap();
            disagreements.extend(theirs);
            for (key, count) in counts {
                *codes.entry(key).or_insert(0) += count;
            }
        }
    });
    report(&codes);
    println!(
        "{count} mutations in {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    assert_none(&disagreements);
}

/// `success`, or the step and code of a failure.
fn verdict(answer: &str) -> String {
    let fact = |name: &str| {
        answer
            .split(' ')
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    match (fact("code"), fact("step")) {
        (Some(code), Some(step)) => format!("{step}: {code}"),
        (Some(code), None) => code.to_owned(),
        _ => "success".to_owned(),
    }
}

/// How often each object ended how.
fn report(codes: &BTreeMap<(String, String), u64>) {
    let mut object = "";
    for ((of, verdict), count) in codes {
        if of != object {
            println!("{of}");
            object = of;
        }
        println!("  {count:>7} {verdict}");
    }
}

#[test]
fn a_verifier_that_leaves_out_a_check_is_found() {
    let seeds = Seeds::read();
    let keys = Keys::new();
    let ours = Ours::new(&seeds);
    // It believes whatever is not signed rightly.
    let careless = |case: &Case| {
        let answer = ours.answer(case);
        match answer.contains("code=signature_invalid") {
            true => "success".to_owned(),
            false => answer,
        }
    };
    let mut theirs = Theirs::start();
    let cases: Vec<_> = (0..TOGETHER * 8)
        .map(|number| {
            (
                number.to_string(),
                mutations::mutation(number, &seeds, &keys),
            )
        })
        .collect();
    let mut disagreements = Vec::new();
    for cases in cases.chunks(TOGETHER as usize) {
        disagreements.extend(compare(cases.to_vec(), careless, &mut theirs, |_, _| {}));
    }
    assert!(!disagreements.is_empty());
    for disagreement in disagreements {
        assert!(disagreement.theirs.contains("code=signature_invalid"));
    }
}

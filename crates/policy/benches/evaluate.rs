//! What one evaluation costs, and that it does not grow with policies for other actions.

#![allow(missing_docs, reason = "benchmarks")]
#![allow(clippy::unwrap_used, reason = "a benchmark stops by panicking")]

use std::hint::black_box;

use counterfoil_enforcer::policy::{Evaluation, EvaluationInput, Policy};
use counterfoil_policy::{PolicySet, sample};
use counterfoil_protocol::numbers::UnixMillis;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn sample_files() -> Vec<(String, Vec<u8>)> {
    let files = sample().iter();
    files
        .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

/// The sample with further policies, each about an action of its own or all about `refund`.
fn with_more(policies: usize, action: impl Fn(usize) -> String) -> PolicySet {
    let mut files = sample_files();
    let mut text = String::new();
    let mut declared = String::new();
    for index in 0..policies.saturating_sub(5) {
        let action = action(index);
        if action != "refund" {
            declared.push_str(&format!(
                "action \"{action}\" appliesTo {{ principal: Agent, resource: Server,
                 context: {{ arguments: {{ ticket: String, amount_cents: Long }}, call: Call }} }};"
            ));
        }
        text.push_str(&format!(
            "@id(\"more-{index}\") forbid (principal, action == Action::\"{action}\", resource)
             when {{ context.arguments.amount_cents > {} }};",
            index + 6000
        ));
    }
    files.push(("more.cedar".to_owned(), text.into_bytes()));
    let schema = files
        .iter_mut()
        .find(|(name, _)| name == "schema.cedarschema")
        .unwrap();
    schema.1.extend(declared.into_bytes());
    PolicySet::from_sources(files).unwrap()
}

fn evaluate(bench: &mut Criterion) {
    let operator = "acme.example".parse().unwrap();
    let agent = "support-bot".parse().unwrap();
    let (on_behalf_of, session) = ("ann".parse().unwrap(), "s-1".parse().unwrap());
    let (server, verb) = ("desk".parse().unwrap(), "tools/call".parse().unwrap());
    let (tool, counterparty) = ("refund".parse().unwrap(), "desk.example".parse().unwrap());
    let input = EvaluationInput {
        operator: &operator,
        agent: &agent,
        on_behalf_of: Some(&on_behalf_of),
        session: Some(&session),
        server: &server,
        verb: &verb,
        tool: &tool,
        arguments: br#"{"ticket":"T-1042","amount_cents":4200}"#,
        counterparty: Some(&counterparty),
        time: UnixMillis::new(1_780_000_000_000),
    };
    let mut group = bench.benchmark_group("evaluate");
    for policies in [5, 20, 100, 1000] {
        let spread = with_more(policies, |index| format!("tool_{index}"));
        assert!(matches!(spread.evaluate(&input), Evaluation::Allow(_)));
        group.bench_function(
            BenchmarkId::new("policies for many actions", policies),
            |bench| {
                bench.iter(|| black_box(spread.evaluate(black_box(&input))));
            },
        );
    }
    let one = with_more(20, |_| "refund".to_owned());
    group.bench_function("20 policies, all but 3 for one action", |bench| {
        bench.iter(|| black_box(one.evaluate(black_box(&input))));
    });
    let denied = EvaluationInput {
        arguments: br#"{"ticket":"T-1042","amount_cents":9900}"#,
        ..input
    };
    group.bench_function("a deny, 5 policies", |bench| {
        let policies = PolicySet::from_sources(sample_files()).unwrap();
        bench.iter(|| black_box(policies.evaluate(black_box(&denied))));
    });
    group.finish();
    bench.bench_function("load/the sample", |bench| {
        bench.iter(|| PolicySet::from_sources(black_box(sample_files())).unwrap());
    });
}

criterion_group!(benches, evaluate);
criterion_main!(benches);

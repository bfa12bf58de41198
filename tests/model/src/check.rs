//! Runs the checker, and says how much it has seen.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

/// Visits every state: whatever must hold always does, and all that must be possible is.
///
/// # Panics
/// When it is not so, with the steps that lead there.
pub fn exhaust<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let start = Instant::now();
    let checker = model.checker().threads(2).spawn_bfs().join();
    report(name, start, &checker);
    checker.assert_properties();
}

/// Looks for a state in which what must always hold does not, and returns the model, the steps that
/// lead there, and the state.
///
/// # Panics
/// When there is no such state.
pub fn refute<M>(name: &str, model: M, property: &'static str) -> (Vec<M::Action>, M::State)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let start = Instant::now();
    let enough = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().finish_when(enough).spawn_bfs().join();
    report(name, start, &checker);
    let path = checker.assert_any_discovery(property);
    let state = path.last_state().clone();
    (path.into_actions(), state)
}

fn report<M: Model>(name: &str, start: Instant, checker: &impl Checker<M>) {
    println!(
        "{name}: {} states, {} steps deep, {:.1?}",
        checker.unique_state_count(),
        checker.max_depth(),
        start.elapsed()
    );
}

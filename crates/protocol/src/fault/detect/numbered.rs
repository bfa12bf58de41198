//! What has numbers: the records of a stream or of a channel, or the batches.

use std::collections::{BTreeMap, HashMap};

/// How many statements of one number are kept to be compared with those beside it.
const MOST: usize = 8;

#[derive(Debug)]
pub(super) struct Numbered<S> {
    /// The first of each number that was seen.
    first: HashMap<u64, S>,
    /// What else was seen under a number: nothing, of an honest operator.
    others: HashMap<u64, Vec<S>>,
    /// Those that have room for each other: a new one need only be compared with its neighbours.
    ordered: BTreeMap<u64, S>,
}

/// What something that was taken in contradicts.
#[derive(Debug)]
pub(super) struct Taken<S> {
    /// What has the same number.
    pub(super) same: Option<S>,
    /// What it cannot come after.
    pub(super) before: Vec<S>,
    /// What cannot come after it.
    pub(super) after: Vec<S>,
}

impl<S> Default for Numbered<S> {
    fn default() -> Self {
        Self {
            first: HashMap::new(),
            others: HashMap::new(),
            ordered: BTreeMap::new(),
        }
    }
}

impl<S: Clone> Numbered<S> {
    /// The first statement with this number.
    pub(super) fn get(&self, number: u64) -> Option<&S> {
        self.first.get(&number)
    }

    /// Takes in what has this number, where `follows` says whether one can come after another.
    pub(super) fn take(
        &mut self,
        number: u64,
        new: &S,
        follows: impl Fn((u64, &S), (u64, &S)) -> bool,
    ) -> Taken<S> {
        let before = number.checked_sub(1);
        let after = number.checked_add(1);
        let fits_after = |at, seen: &S| follows((at, seen), (number, new));
        let fits_before = |at, seen: &S| follows((number, new), (at, seen));
        let mut taken = Taken {
            same: self.first.get(&number).cloned(),
            before: self.beside(before, fits_after),
            after: self.beside(after, fits_before),
        };
        // Those beside it have been compared; others may leave too little room.
        let below = self.ordered.range(..number).next_back();
        if let Some((at, seen)) = below
            && Some(*at) != before
            && !fits_after(*at, seen)
        {
            taken.before.push(seen.clone());
        }
        let above = after.and_then(|after| self.ordered.range(after..).next());
        if let Some((at, seen)) = above
            && Some(*at) != after
            && !fits_before(*at, seen)
        {
            taken.after.push(seen.clone());
        }
        if taken.same.is_some() {
            let others = self.others.entry(number).or_default();
            if others.len() < MOST {
                others.push(new.clone());
            }
        } else {
            self.first.insert(number, new.clone());
            if taken.before.is_empty() && taken.after.is_empty() {
                self.ordered.insert(number, new.clone());
            }
        }
        taken
    }

    /// What was seen under a number and does not fit.
    fn beside(&self, number: Option<u64>, fits: impl Fn(u64, &S) -> bool) -> Vec<S> {
        let Some(number) = number else {
            return Vec::new();
        };
        let others = self.others.get(&number).into_iter().flatten();
        let seen = self.first.get(&number).into_iter().chain(others);
        seen.filter(|seen| !fits(number, seen)).cloned().collect()
    }
}

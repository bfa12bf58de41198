//! Reconciliation: where the two halves of the evidence of a pair of operators differ.
//!
//! Both sides' records go in, in any order; out come lines in plain words, one for each call and
//! one for whatever else does not fit: a gap in the numbers, two records with one number, an
//! acknowledgement of a record that is not there. It is pure: it believes the records, which have
//! been verified before, and judges nothing but whether they agree.
//!
//! Reading order: [`Reconciler`] takes records; [`Line`] is what it finds; [`Class`] says what a
//! line amounts to.
//!
//! Spec: reconciliation.

mod calls;
mod channels;
mod collect;
mod judge;
mod kept;
mod line;
mod words;

pub use collect::{Agreement, Options, Reconciler, Seen};
pub use line::{Class, Finding, HeldBy, Line, RecordRef, Role, Side, Subject, Totals};

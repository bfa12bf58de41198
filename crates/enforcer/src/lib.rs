//! Decide, journal, batch, publish: the policy decision point and its evidence.

pub mod policy;

//! A model of the exchange between two operators, for a checker that visits every state within
//! bounds. It is written from `spec/`, and calls nothing of what it is a model of.

pub mod byzantine;
pub mod check;
pub mod enforcer;
pub mod evidence;
pub mod exchange;
pub mod faults;
pub mod properties;
pub mod receive;
pub mod recovery;
pub mod rules;
pub mod statements;
mod steps;

//! Decides actions with Cedar policies: strict at load, deny on any error afterwards.
//!
//! An operator's home has a folder `policy/` with `schema.cedarschema`, which declares the actions,
//! and any number of `*.cedar` files with policies. [`PolicySet::load`] reads it and refuses
//! whatever could silently mean less than its author thinks: a misspelt attribute, annotation or
//! file name, a policy without an id, a policy that can never apply, an empty set. The loaded set
//! implements [`Policy`](counterfoil_enforcer::policy::Policy).
//!
//! # What a policy sees
//!
//! The built-in part of the schema ([`BUILT_IN_SCHEMA`]) declares the principal (`Agent`), the
//! resource (`Server`) and the type `Call`. The operator's schema declares one action for each
//! tool, always in this form:
//!
//! ```text
//! action "refund" appliesTo {
//!   principal: Agent,
//!   resource: Server,
//!   context: { arguments: { ticket: String, amount_cents: Long }, call: Call },
//! };
//! ```
//!
//! - `principal` is `Agent::"<operator>/<agent>"`, such as `Agent::"acme.example/support-bot"`, so
//!   that two operators' agents of one name are never confused.
//! - `resource` is `Server::"<server>"`.
//! - `action` is the tool's name for `tools/call`, and the verb itself for every other verb. **An
//!   action with a `/` in its name, or with the name of a method of HTTP, is a verb, any other is a
//!   tool**: a tool whose name contains a `/` cannot be declared and is denied, as is another verb
//!   without one. So neither can pass for the other.
//! - A request to an HTTP API is the action of its method and path, such as `"POST /refunds/*"`,
//!   where `*` stands for any run of characters; of several that match it is the one with the
//!   longest name. Where none matches, it is the action of its method, such as `GET`.
//! - `context.arguments` are a tool's arguments, of exactly the declared types: a call with a
//!   missing, mistyped or undeclared argument is denied, because a policy could not judge it. For
//!   other verbs it is `{ name: String }`: the name of the prompt, the address of the resource, or
//!   the path. What else such a call carries is not shown to the policy.
//! - For an action by method and path it is what the request consists of: `path: String`, and as
//!   far as they are declared, `query?: String`, `body?`, which is JSON, and for any other body
//!   `body_sha256?: String` and `body_bytes?: Long`. A request with what is not declared is denied.
//! - `context.call` is `{ counterparty?: String, now: Long }`.
//!
//! # Annotations
//!
//! `@id("…")` is required and unique. On a `permit`, `@tier("low" | "medium" | "high" |
//! "critical")` and `@points("20")` say what an allowed action means and costs; of several
//! determining policies the highest counts. On a `forbid`, `@reason("…")` replaces the reason code
//! `policy_forbids` by one that is no gateway's own, and `@instead("…")` tells the agent what to do instead; of several
//! determining policies the first by id counts.
//!
//! # Example
//!
//! ```
//! use counterfoil_enforcer::policy::Policy as _;
//! use counterfoil_policy::{PolicySet, sample};
//!
//! let files = sample().iter().map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()));
//! let policies = PolicySet::from_sources(files.collect())?;
//! assert_eq!(policies.tools().collect::<Vec<_>>(), ["read_ticket", "refund", "search", "send_mail"]);
//! println!("policy set {}", policies.digest());
//! # Ok::<(), counterfoil_policy::PolicyError>(())
//! ```

mod arguments;
mod error;
mod evaluate;
mod http;
mod json;
mod reserved;
mod rules;
mod sample;
mod schema;
mod set;
mod sources;
mod statements;

pub use error::{Place, PolicyError};
pub use sample::{calling_sample, sample};
pub use schema::BUILT_IN_SCHEMA;
pub use set::PolicySet;

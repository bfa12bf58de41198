//! A loaded policy set, indexed by action.

use core::fmt;
use std::collections::BTreeMap;
use std::path::Path;

use cedar_policy::{
    ActionConstraint, Authorizer, Entities, EntityId, EntityTypeName, EntityUid,
    PolicySet as CedarSet, Schema,
};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::names::PolicyId;

use crate::arguments::ValueType;
use crate::error::PolicyError;
use crate::evaluate::ReasonCodes;
use crate::http;
use crate::rules::{self, Rule};
use crate::schema::{LoadedSchema, is_verb};
use crate::sources::Sources;

/// A policy set as loaded and validated. It never changes: load again to use changed files.
pub struct PolicySet {
    sources: Sources,
    digest: ContentDigest,
    pub(crate) rules: BTreeMap<String, Rule>,
    pub(crate) actions: BTreeMap<String, Action>,
    pub(crate) schema: Schema,
    pub(crate) types: EntityTypes,
    pub(crate) authorizer: Authorizer,
    pub(crate) reason_codes: ReasonCodes,
}

/// What is prepared for each action, so that an evaluation costs what its own action's policies
/// cost, however many others there are.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) uid: EntityUid,
    pub(crate) arguments: ValueType,
    /// Whether it is a request to an HTTP API by method and path.
    pub(crate) is_route: bool,
    /// The policies whose scope includes the action.
    pub(crate) policies: CedarSet,
    /// The action and the groups it is in.
    pub(crate) hierarchy: Entities,
}

/// The names of the built-in entity types, parsed once.
#[derive(Debug)]
pub(crate) struct EntityTypes {
    pub(crate) agent: EntityTypeName,
    pub(crate) server: EntityTypeName,
}

impl PolicySet {
    /// Loads the files in the folder `dir`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file and line: see [`PolicyError`].
    pub fn load(dir: &Path) -> Result<Self, PolicyError> {
        Self::new(Sources::read(dir)?)
    }

    /// Loads files given as (name, content), in any order, without I/O.
    ///
    /// # Errors
    /// As [`PolicySet::load`]; every file must be part of a policy set.
    pub fn from_sources(files: Vec<(String, Vec<u8>)>) -> Result<Self, PolicyError> {
        Self::new(Sources::new(files)?)
    }

    /// A set of other policies over the same schema.
    pub(crate) fn with_policies(&self, name: &str, text: &str) -> Result<Self, PolicyError> {
        let schema = self.sources.schema()?;
        Self::from_sources(vec![
            (schema.name.to_owned(), schema.text.as_bytes().to_vec()),
            (name.to_owned(), text.as_bytes().to_vec()),
        ])
    }

    /// The files it was loaded from, sorted by the bytes of their names. Loaded again with
    /// [`PolicySet::from_sources`] by the same version of this crate, they give the same digest
    /// and the same evaluations.
    pub fn sources(&self) -> &[(String, Vec<u8>)] {
        self.sources.files()
    }

    /// The ids of all policies, sorted.
    pub fn policy_ids(&self) -> impl Iterator<Item = &PolicyId> {
        self.rules.values().map(|rule| &rule.id)
    }

    /// The names of the declared tools, sorted.
    pub fn tools(&self) -> impl Iterator<Item = &str> {
        self.actions
            .keys()
            .map(String::as_str)
            .filter(|name| !is_verb(name))
    }

    /// The declared verbs other than `tools/call`, sorted.
    pub fn verbs(&self) -> impl Iterator<Item = &str> {
        self.actions
            .keys()
            .map(String::as_str)
            .filter(|name| is_verb(name))
    }

    pub(crate) const fn set_digest(&self) -> ContentDigest {
        self.digest
    }

    fn new(sources: Sources) -> Result<Self, PolicyError> {
        let schema = LoadedSchema::load(sources.schema()?)?;
        let rules = rules::load(&sources, &schema)?;
        let types = EntityTypes {
            agent: type_name("Agent")?,
            server: type_name("Server")?,
        };
        let action_type = type_name("Action")?;
        let all_actions = schema.cedar.action_entities().map_err(internal)?;
        let mut actions = BTreeMap::new();
        for (name, arguments) in schema.actions {
            let uid = EntityUid::from_type_name_and_id(action_type.clone(), EntityId::new(&name));
            let groups: Vec<_> = all_actions.ancestors(&uid).into_iter().flatten().collect();
            let policies = rules
                .values()
                .filter(|rule| applies(&rule.cedar.action_constraint(), &uid, &groups))
                .map(|rule| rule.cedar.clone());
            let policies = CedarSet::from_policies(policies).map_err(internal)?;
            let is_route = http::path_pattern(&name).is_some();
            let own = groups.into_iter().chain([&uid]);
            let own = own.filter_map(|uid| all_actions.get(uid)).cloned();
            let hierarchy = Entities::from_entities(own, None).map_err(internal)?;
            actions.insert(
                name,
                Action {
                    uid,
                    arguments,
                    is_route,
                    policies,
                    hierarchy,
                },
            );
        }
        let digest = sources.digest();
        Ok(Self {
            sources,
            digest,
            rules,
            actions,
            schema: schema.cedar,
            types,
            authorizer: Authorizer::new(),
            reason_codes: ReasonCodes::new().map_err(internal)?,
        })
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("digest", &self.digest)
            .field("policies", &self.rules.len())
            .field("actions", &self.actions.len())
            .finish_non_exhaustive()
    }
}

/// Whether a policy with this scope can apply to the action, which is in these groups.
fn applies(scope: &ActionConstraint, action: &EntityUid, groups: &[&EntityUid]) -> bool {
    let includes = |uid: &EntityUid| uid == action || groups.contains(&uid);
    match scope {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => uid == action,
        ActionConstraint::In(uids) => uids.iter().any(includes),
    }
}

fn type_name(name: &str) -> Result<EntityTypeName, PolicyError> {
    name.parse().map_err(internal)
}

/// What cannot fail after validation still refuses the set if it does.
fn internal(error: impl fmt::Display) -> PolicyError {
    PolicyError::Unusable {
        detail: error.to_string(),
    }
}

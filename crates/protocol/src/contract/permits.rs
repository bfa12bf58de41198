//! Whether a call is one that a contract allows. Spec: contracts §2.

use core::fmt;

use super::parameters::{self, Found};
use super::{Permission, Pointer, Terms};
use crate::level::Level;
use crate::names::{OperatorName, ReasonCode, Tier};
use crate::numbers::{Amount, UnixMillis};
use crate::record::Action;

/// A call that somebody wants to make under a contract.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who asks.
    pub asking: &'a OperatorName,
    /// Who is asked.
    pub asked: &'a OperatorName,
    /// What for. The contract, not this, says which tier it has.
    pub action: &'a Action,
    /// The parameters as they were sent.
    pub parameters: &'a [u8],
    /// When, by the clock of whoever decides.
    pub time: UnixMillis,
}

/// The conditions under which a contract allows a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted {
    /// Which of the permissions allows it, from 0.
    pub permission: usize,
    /// Its risk tier.
    pub tier: Tier,
    /// What it costs in RISK_POINTS.
    pub points: Amount,
    /// The level that the evidence of the request must reach before it is executed.
    pub level: Level,
}

/// Why a call is outside of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsideContract {
    /// The contract is between others, or the other way round.
    Parties,
    /// The contract has not begun.
    NotBegun(UnixMillis),
    /// The contract has expired.
    Expired(UnixMillis),
    /// No permission names the server, the verb and the tool.
    Action,
    /// Permissions name them, but none for what the parameters aim at.
    Target,
    /// The parameters cannot be read in one way only.
    Parameters(&'static str),
    /// A text that a permission looks at cannot be found.
    Unreadable {
        /// Where it should stand.
        pointer: Pointer,
        /// What is wrong there.
        problem: &'static str,
    },
}

impl Terms {
    /// Whether the contract allows a call. The first permission that applies decides.
    ///
    /// A permission with targets applies if each of them is a string that looks as it should. If
    /// one cannot be read, the call is refused and not judged by a later permission: whoever shapes
    /// the parameters may not choose between permissions by making one of them unreadable.
    ///
    /// It says nothing about whether the contract was accepted or ended, nor about budgets.
    ///
    /// # Errors
    /// Why the call is outside of the contract.
    pub fn permits(&self, call: &Call<'_>) -> Result<Permitted, OutsideContract> {
        let clauses = self.clauses();
        if *call.asking != clauses.asking || *call.asked != clauses.asked {
            return Err(OutsideContract::Parties);
        }
        if call.time < clauses.begins {
            return Err(OutsideContract::NotBegun(clauses.begins));
        }
        if call.time >= clauses.expires {
            return Err(OutsideContract::Expired(clauses.expires));
        }
        let naming: Vec<(usize, &Permission)> = self.naming(call.action).collect();
        let mut texts = Texts::default();
        for (index, permission) in &naming {
            if !permission.targets.is_empty() && texts.found.is_none() {
                texts = Texts::read(call.parameters, &naming)?;
            }
            if texts.fit(permission)? {
                return self.permitted(*index, permission);
            }
        }
        Err(if naming.is_empty() {
            OutsideContract::Action
        } else {
            OutsideContract::Target
        })
    }

    /// Whether some permission names the server, the verb and the tool of an action. If not, no
    /// parameters could make it one that the contract allows.
    pub fn names(&self, action: &Action) -> bool {
        self.naming(action).next().is_some()
    }

    fn naming<'a>(&'a self, action: &'a Action) -> impl Iterator<Item = (usize, &'a Permission)> {
        let permissions = self.clauses().permissions.iter().enumerate();
        permissions.filter(|(_, permission)| {
            permission.server == action.server
                && permission.verb == action.verb
                && permission.tool.matches(action.tool.as_str())
        })
    }

    fn permitted(
        &self,
        index: usize,
        permission: &Permission,
    ) -> Result<Permitted, OutsideContract> {
        // Every tier of a permission has a level; were one missing, nothing would be allowed.
        let level = self
            .level(&permission.tier)
            .ok_or(OutsideContract::Action)?;
        Ok(Permitted {
            permission: index,
            tier: permission.tier.clone(),
            points: permission.points,
            level,
        })
    }
}

/// The texts that permissions look at, as far as they have been read.
#[derive(Default)]
struct Texts<'a> {
    pointers: Vec<&'a Pointer>,
    found: Option<Vec<Found>>,
}

impl<'a> Texts<'a> {
    fn read(json: &[u8], permissions: &[(usize, &'a Permission)]) -> Result<Self, OutsideContract> {
        let targets = permissions.iter().flat_map(|(_, each)| &each.targets);
        let mut pointers: Vec<&Pointer> = targets.map(|target| &target.pointer).collect();
        pointers.sort_unstable();
        pointers.dedup();
        let found = parameters::read(json, &pointers).map_err(OutsideContract::Parameters)?;
        Ok(Self {
            pointers,
            found: Some(found),
        })
    }

    /// Whether the parameters are what a permission is for.
    fn fit(&self, permission: &Permission) -> Result<bool, OutsideContract> {
        let mut fit = true;
        for target in &permission.targets {
            let found = self
                .pointers
                .binary_search(&&target.pointer)
                .ok()
                .and_then(|index| self.found.as_ref()?.get(index));
            let problem = match found {
                Some(Found::Text(text)) => {
                    fit &= target.pattern.matches(text);
                    continue;
                }
                Some(Found::NoText) => "not a string",
                Some(Found::Ambiguous) => "another name differs from it only in case",
                Some(Found::Missing) | None => "missing",
            };
            return Err(OutsideContract::Unreadable {
                pointer: target.pointer.clone(),
                problem,
            });
        }
        Ok(fit)
    }
}

impl OutsideContract {
    /// The stable reason, as records and refusals hold it.
    pub fn reason(&self) -> ReasonCode {
        ReasonCode::literal(match self {
            Self::Parties => "contract_parties",
            Self::NotBegun(_) => "contract_not_begun",
            Self::Expired(_) => "contract_expired",
            Self::Action => "contract_action",
            Self::Target => "contract_target",
            Self::Parameters(_) | Self::Unreadable { .. } => "contract_target_unreadable",
        })
    }
}

impl fmt::Display for OutsideContract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parties => f.write_str("the contract is not about calls between these operators"),
            Self::NotBegun(begins) => write!(f, "the contract begins at {begins}"),
            Self::Expired(expires) => write!(f, "the contract expired at {expires}"),
            Self::Action => f.write_str("no permission of the contract names this tool"),
            Self::Target => f.write_str("no permission of the contract is for these parameters"),
            Self::Parameters(problem) => {
                write!(
                    f,
                    "the parameters cannot be held against the contract: {problem}"
                )
            }
            Self::Unreadable { pointer, problem } => {
                write!(
                    f,
                    "the contract looks at `{pointer}` in the parameters: {problem}"
                )
            }
        }
    }
}

impl core::error::Error for OutsideContract {}

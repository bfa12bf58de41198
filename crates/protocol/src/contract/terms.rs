//! The clauses of a contract. Spec: contracts §1.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_tlog::policy::Policy;

use super::{Pattern, Pointer, decode, encode};
use crate::cbor::{Limits, check};
use crate::digest::Salt;
use crate::disclosure::{DisclosedField, Disclosure};
use crate::failure::{Failure, FailureCode};
use crate::level::Level;
use crate::names::{Contact, OperatorName, ServerName, Tier, Unit, Verb};
use crate::numbers::{Amount, Millis, UnixMillis};
use crate::trust::Trust;

/// The first field of all terms, which says what they are.
pub const FORMAT: &str = "counterfoil/contract/v1";
/// The most bytes of terms: 256 KiB.
pub const MAX_TERMS_BYTES: usize = 256 << 10;
/// The most permissions, and so the most tiers.
pub const MAX_PERMISSIONS: usize = 256;
/// The most target patterns of one permission.
pub const MAX_TARGETS: usize = 16;
/// The most budgets: what fits one record with one reservation for each.
pub const MAX_BUDGETS: usize = 16;
/// The most people who may be asked.
pub const MAX_CONTACTS: usize = 64;

pub(super) const LIMITS: Limits = Limits::untagged(MAX_TERMS_BYTES);

/// One of the two parties. A contract has a direction: one side asks, the other is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The operator whose agents ask.
    Asking,
    /// The operator whose tools are asked for.
    Asked,
}

impl Party {
    /// The party's number in terms.
    pub const fn number(self) -> u64 {
        match self {
            Self::Asking => 1,
            Self::Asked => 2,
        }
    }

    /// The party with this number, if there is one.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Asking),
            2 => Some(Self::Asked),
            _ => None,
        }
    }

    /// The party's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Asked => "asked",
        }
    }
}

/// The clauses as they are written down, before they have been checked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clauses {
    /// The operator whose agents ask.
    pub asking: OperatorName,
    /// The operator whose tools are asked for.
    pub asked: OperatorName,
    /// From when on calls may be made.
    pub begins: UnixMillis,
    /// From when on they may not any more.
    pub expires: UnixMillis,
    /// What may be asked for, 1 to [`MAX_PERMISSIONS`]. The first that applies decides.
    pub permissions: Vec<Permission>,
    /// The level that the evidence of a request must reach before it is executed, for each tier.
    pub levels: BTreeMap<Tier, Level>,
    /// How long after it was made a record may be published at the latest; more than zero.
    pub publish_delay: Millis,
    /// The logs, the witnesses and their quorum: a trust file without operators.
    pub policy: String,
    /// What each party discloses to the other with its records.
    pub disclosures: BTreeSet<(Party, DisclosedField)>,
    /// The policy, in Cedar, that the asked side applies to requests beside its own.
    pub admission: Option<String>,
    /// How much of a unit the calls under this contract may use in each period of this length.
    pub budgets: BTreeMap<(Unit, Millis), Amount>,
    /// Who at a party may be asked when its agents or tools may not decide alone.
    pub escalation: BTreeSet<(Party, Contact)>,
    /// How long after a party has ended it the contract goes on.
    pub notice: Millis,
}

/// What may be asked for, and at which tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The server.
    pub server: ServerName,
    /// The method.
    pub verb: Verb,
    /// Which tools.
    pub tool: Pattern,
    /// What texts in the parameters must look like, all of them; at most [`MAX_TARGETS`].
    pub targets: Vec<Target>,
    /// The risk tier of such calls.
    pub tier: Tier,
    /// The RISK_POINTS that each costs.
    pub points: Amount,
}

/// What one text in the parameters must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which text.
    pub pointer: Pointer,
    /// What it must look like.
    pub pattern: Pattern,
}

/// The terms of a contract: clauses that hold together, and the bytes that were agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    clauses: Clauses,
    policy: Policy,
    encoded: Vec<u8>,
}

impl Terms {
    /// Checks clauses and fixes their bytes.
    ///
    /// # Errors
    /// [`FailureCode::StructureOutOfRange`], [`FailureCode::TrustMalformed`] for the logs and
    /// witnesses, or [`FailureCode::CborTooLarge`]. The detail begins with the clause's name.
    pub fn new(clauses: Clauses) -> Result<Self, Failure> {
        let policy = checked(&clauses)?;
        let encoded = encode::terms(&clauses);
        check(&encoded, &LIMITS).map_err(|failure| failure.at("the terms"))?;
        Ok(Self {
            clauses,
            policy,
            encoded,
        })
    }

    /// Parses the bytes of terms.
    ///
    /// # Errors
    /// A CBOR or structure code, [`FailureCode::NameInvalid`] or [`FailureCode::TrustMalformed`].
    pub fn parse(encoded: &[u8]) -> Result<Self, Failure> {
        let clauses = decode::terms(encoded).map_err(|failure| failure.at("terms"))?;
        let policy = checked(&clauses).map_err(|failure| failure.at("terms"))?;
        Ok(Self {
            clauses,
            policy,
            encoded: encoded.to_vec(),
        })
    }

    /// The clauses.
    pub const fn clauses(&self) -> &Clauses {
        &self.clauses
    }

    /// The bytes that were agreed on.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// What opens the contract's digest. The digest itself, which stands in the records, is that of
    /// the disclosure.
    pub fn disclosure(&self, salt: Salt) -> Disclosure {
        Disclosure {
            field: DisclosedField::Contract,
            salt,
            content: self.encoded.clone(),
        }
    }

    /// The logs, the witnesses and their quorum that the parties agreed on.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whom evidence under this contract is verified against: its logs and witnesses, and the root
    /// keys that `own` knows of operators.
    pub fn trust(&self, own: &Trust) -> Trust {
        own.under(self.policy.clone())
    }

    /// Which party an operator is, if it is one.
    pub fn party(&self, operator: &OperatorName) -> Option<Party> {
        if *operator == self.clauses.asking {
            Some(Party::Asking)
        } else if *operator == self.clauses.asked {
            Some(Party::Asked)
        } else {
            None
        }
    }

    /// The operator that a party is.
    pub const fn operator(&self, party: Party) -> &OperatorName {
        match party {
            Party::Asking => &self.clauses.asking,
            Party::Asked => &self.clauses.asked,
        }
    }

    /// The level that the evidence of a request of this tier must reach before it is executed;
    /// none when the contract has no such tier.
    pub fn level(&self, tier: &Tier) -> Option<Level> {
        self.clauses.levels.get(tier).copied()
    }

    /// What a party must disclose to the other with its records.
    pub fn discloses(&self, party: Party) -> impl Iterator<Item = DisclosedField> {
        let all = self.clauses.disclosures.iter();
        all.filter(move |(by, _)| *by == party)
            .map(|(_, field)| *field)
    }
}

fn checked(clauses: &Clauses) -> Result<Policy, Failure> {
    let range = |detail: String| Err(Failure::new(FailureCode::StructureOutOfRange, detail));
    if clauses.asking == clauses.asked {
        return range(format!("parties: `{}` on both sides", clauses.asking));
    }
    if clauses.begins >= clauses.expires {
        return range("expires: not after the beginning".to_owned());
    }
    count("permissions", clauses.permissions.len(), MAX_PERMISSIONS)?;
    if clauses.permissions.is_empty() {
        return range("permissions: none".to_owned());
    }
    for (index, permission) in clauses.permissions.iter().enumerate() {
        let place = format!("permissions: number {}", index + 1);
        count("targets", permission.targets.len(), MAX_TARGETS)
            .map_err(|failure| failure.at(&place))?;
        if !clauses.levels.contains_key(&permission.tier) {
            return range(format!("{place}: tier `{}` has no level", permission.tier));
        }
    }
    count("levels", clauses.levels.len(), MAX_PERMISSIONS)?;
    if clauses.publish_delay.get() == 0 {
        return range("publish delay: zero".to_owned());
    }
    let policy = policy(clauses)?;
    for (_, field) in &clauses.disclosures {
        if *field == DisclosedField::Contract {
            return range("disclosures: both parties have the contract".to_owned());
        }
    }
    if clauses.admission.as_ref().is_some_and(String::is_empty) {
        return range("admission: empty".to_owned());
    }
    count("budgets", clauses.budgets.len(), MAX_BUDGETS)?;
    for (unit, period) in clauses.budgets.keys() {
        if period.get() == 0 {
            return range(format!("budgets: one of {unit} has no period"));
        }
    }
    count("escalation", clauses.escalation.len(), MAX_CONTACTS)?;
    Ok(policy)
}

/// The agreed logs and witnesses, with which every agreed level can be reached.
fn policy(clauses: &Clauses) -> Result<Policy, Failure> {
    let trust = Trust::parse(clauses.policy.as_bytes())
        .map_err(|failure| failure.at("logs and witnesses"))?;
    if let Some(operator) = trust.operators().next() {
        return Err(Failure::new(
            FailureCode::TrustMalformed,
            format!("logs and witnesses: a line for operator `{operator}`"),
        ));
    }
    let policy = trust.policy().clone();
    let highest = clauses.levels.values().max().copied();
    let lacks = match highest {
        Some(Level::Witnessed) if !policy.needs_witnesses() => Some("quorum of witnesses"),
        Some(Level::Logged | Level::Witnessed) if policy.logs().is_empty() => Some("log"),
        _ => None,
    };
    match lacks {
        Some(lacks) => Err(Failure::new(
            FailureCode::StructureOutOfRange,
            format!("levels: one cannot be reached, as the contract names no {lacks}"),
        )),
        None => Ok(policy),
    }
}

fn count(clause: &str, found: usize, most: usize) -> Result<(), Failure> {
    if found <= most {
        return Ok(());
    }
    Err(Failure::new(
        FailureCode::StructureOutOfRange,
        format!("{clause}: {found}, at most {most} are allowed"),
    ))
}

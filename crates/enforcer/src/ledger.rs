//! The ledger: what agents may spend, what is set aside, what is used.
//!
//! It is derived from the records alone. A request or decision that allows sets an amount aside,
//! the outcome commits or releases it; replaying the records gives the same balances. The period
//! of a budget stands in its scope, so that a balance belongs to one period and no clock is asked
//! when records are replayed.

use std::collections::{BTreeSet, HashMap};

use counterfoil_protocol::contract::Clauses;
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::names::{AgentName, OperatorName, Scope, Unit};
use counterfoil_protocol::numbers::{Amount, Millis, UnixMillis};
use counterfoil_protocol::record::{MAX_RESERVATIONS, Reservation, Settlement};

use crate::error::EnforcerError;

/// The unit of risk budgets.
pub const RISK_POINTS: &str = "RISK_POINTS";

/// How many RISK_POINTS an agent may use in each period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Whose agent; none for every operator's.
    pub operator: Option<OperatorName>,
    /// Which agent; none for every agent, each with a balance of its own.
    pub agent: Option<AgentName>,
    /// How many points in each period.
    pub points: Amount,
    /// How long a period is, in seconds; periods begin at multiples of it since 1970.
    pub period_seconds: u64,
}

impl Budget {
    /// What the budget is called in scopes: whom it covers and for how long, so that changing the
    /// order of the configuration, or the amount, keeps the balance.
    fn name(&self) -> String {
        let or_any = |name: Option<&str>| name.unwrap_or("*").to_owned();
        format!(
            "budget:{}/{}/{}s",
            or_any(self.operator.as_ref().map(OperatorName::as_str)),
            or_any(self.agent.as_ref().map(AgentName::as_str)),
            self.period_seconds.max(1)
        )
    }

    fn covers(&self, operator: &OperatorName, agent: &AgentName) -> bool {
        self.operator.as_ref().is_none_or(|own| own == operator)
            && self.agent.as_ref().is_none_or(|own| own == agent)
    }
}

/// A budget that does not have enough left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) scope: Scope,
    pub(crate) needed: Amount,
    pub(crate) left: Amount,
    pub(crate) renewed: UnixMillis,
}

/// What has been set aside and used, by scope.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    budgets: Vec<Budget>,
    /// What contracts grant of RISK_POINTS, by scope without the number of the period.
    granted: HashMap<String, u64>,
    used: HashMap<Scope, u64>,
}

impl Ledger {
    /// A ledger in which nothing is used yet.
    ///
    /// # Errors
    /// [`EnforcerError::Budgets`] for more budgets than a record can name, or two for the same.
    pub(crate) fn new(budgets: Vec<Budget>) -> Result<Self, EnforcerError> {
        if budgets.len() > MAX_RESERVATIONS {
            return Err(EnforcerError::Budgets(format!(
                "{} budgets, at most {MAX_RESERVATIONS} are allowed",
                budgets.len()
            )));
        }
        let names: BTreeSet<String> = budgets.iter().map(Budget::name).collect();
        if names.len() != budgets.len() {
            return Err(EnforcerError::Budgets(
                "two budgets cover the same agents for the same period".to_owned(),
            ));
        }
        Ok(Self {
            budgets,
            granted: HashMap::new(),
            used: HashMap::new(),
        })
    }

    /// What would be set aside for an action, or the first budget that has too little left.
    /// Changes nothing: [`Ledger::apply`] does, once the record is made.
    pub(crate) fn quote(
        &self,
        operator: &OperatorName,
        agent: &AgentName,
        points: Amount,
        now: UnixMillis,
    ) -> Result<Result<Vec<Reservation>, Exhausted>, EnforcerError> {
        let unit = Unit::literal(RISK_POINTS);
        let mut reservations = Vec::new();
        if points.get() == 0 {
            return Ok(Ok(reservations));
        }
        for budget in &self.budgets {
            if !budget.covers(operator, agent) {
                continue;
            }
            let period = budget.period_seconds.max(1);
            let number = now.seconds().get() / period;
            let scope = Scope::new(format!("{}/{operator}/{agent}/{number}", budget.name()))?;
            let used = self.used.get(&scope).copied().unwrap_or(0);
            let left = budget.points.get().saturating_sub(used);
            let Some(remaining) = left.checked_sub(points.get()) else {
                return Ok(Err(Exhausted {
                    scope,
                    needed: points,
                    left: Amount::new(left),
                    renewed: UnixMillis::new(
                        number
                            .saturating_add(1)
                            .saturating_mul(period)
                            .saturating_mul(1000),
                    ),
                }));
            };
            reservations.push(Reservation {
                scope,
                unit: unit.clone(),
                amount: points,
                remaining: Amount::new(remaining),
            });
        }
        Ok(Ok(reservations))
    }

    /// Notes the budgets of a contract. Only RISK_POINTS are ever used of them: of other units our
    /// policies reserve nothing.
    pub(crate) fn add_contract(&mut self, contract: ContentDigest, clauses: &Clauses) {
        for ((unit, period), amount) in &clauses.budgets {
            if unit.as_str() == RISK_POINTS {
                self.granted
                    .insert(contract_scope(contract, *period), amount.get());
            }
        }
    }

    /// What would be set aside in the budgets of a contract, as [`Ledger::quote`] does in our own.
    pub(crate) fn quote_contract(
        &self,
        contract: ContentDigest,
        clauses: &Clauses,
        points: Amount,
        now: UnixMillis,
    ) -> Result<Result<Vec<Reservation>, Exhausted>, EnforcerError> {
        let mut reservations = Vec::new();
        if points.get() == 0 {
            return Ok(Ok(reservations));
        }
        for ((unit, period), amount) in &clauses.budgets {
            if unit.as_str() != RISK_POINTS {
                continue;
            }
            let length = period.get().max(1);
            let number = now.get() / length;
            let scope = Scope::new(format!("{}/{number}", contract_scope(contract, *period)))?;
            let used = self.used.get(&scope).copied().unwrap_or(0);
            let left = amount.get().saturating_sub(used);
            let Some(remaining) = left.checked_sub(points.get()) else {
                return Ok(Err(Exhausted {
                    scope,
                    needed: points,
                    left: Amount::new(left),
                    renewed: UnixMillis::new(number.saturating_add(1).saturating_mul(length)),
                }));
            };
            reservations.push(Reservation {
                scope,
                unit: unit.clone(),
                amount: points,
                remaining: Amount::new(remaining),
            });
        }
        Ok(Ok(reservations))
    }

    /// Sets aside what a record reserves.
    pub(crate) fn apply(&mut self, reservations: &[Reservation]) {
        for reservation in reservations {
            let used = self.used.entry(reservation.scope.clone()).or_insert(0);
            *used = used.saturating_add(reservation.amount.get());
        }
    }

    /// The lines for an outcome record: all of each reservation is used, or all of it goes back.
    /// Changes nothing: [`Ledger::settle`] does, once the record is made.
    pub(crate) fn settlements(
        &self,
        reservations: &[Reservation],
        commit: bool,
    ) -> Vec<Settlement> {
        reservations
            .iter()
            .map(|reservation| {
                let committed = if commit { reservation.amount.get() } else { 0 };
                let used = self.used.get(&reservation.scope).copied().unwrap_or(0);
                let used = used.saturating_sub(reservation.amount.get() - committed);
                Settlement {
                    scope: reservation.scope.clone(),
                    unit: reservation.unit.clone(),
                    committed: Amount::new(committed),
                    remaining: Amount::new(self.limit_of(reservation).saturating_sub(used)),
                }
            })
            .collect()
    }

    /// Gives back what settlements leave of their reservations.
    pub(crate) fn settle(&mut self, reservations: &[Reservation], settlements: &[Settlement]) {
        for (reservation, settlement) in reservations.iter().zip(settlements) {
            let unused = reservation
                .amount
                .get()
                .saturating_sub(settlement.committed.get());
            let used = self.used.entry(reservation.scope.clone()).or_insert(0);
            *used = used.saturating_sub(unused);
        }
    }

    fn limit_of(&self, reservation: &Reservation) -> u64 {
        let scope = reservation.scope.as_str();
        if let Some((contract, _)) = scope.rsplit_once('/')
            && let Some(granted) = self.granted.get(contract)
        {
            return *granted;
        }
        let of = |budget: &&Budget| scope.starts_with(&format!("{}/", budget.name()));
        self.budgets
            .iter()
            .find(of)
            .map_or(0, |budget| budget.points.get())
    }
}

/// What the budget of a contract for a period is called in scopes. Spec: contracts §5.
fn contract_scope(contract: ContentDigest, period: Millis) -> String {
    format!("contract:{contract}/{period}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(points: u64) -> Ledger {
        Ledger::new(vec![Budget {
            operator: None,
            agent: None,
            points: Amount::new(points),
            period_seconds: 60,
        }])
        .unwrap()
    }

    fn quote(ledger: &Ledger, points: u64, seconds: u64) -> Result<Vec<Reservation>, Exhausted> {
        ledger
            .quote(
                &"acme.example".parse().unwrap(),
                &"bot".parse().unwrap(),
                Amount::new(points),
                UnixMillis::new(seconds * 1000),
            )
            .unwrap()
    }

    #[test]
    fn reserve_commit_release() {
        let mut ledger = ledger(10);
        let first = quote(&ledger, 6, 0).unwrap();
        ledger.apply(&first);
        assert_eq!(first[0].remaining.get(), 4);
        assert_eq!(quote(&ledger, 5, 0).unwrap_err().left.get(), 4);

        let released = ledger.settlements(&first, false);
        ledger.settle(&first, &released);
        assert_eq!(released[0].remaining.get(), 10);
        let second = quote(&ledger, 10, 0).unwrap();
        ledger.apply(&second);
        let committed = ledger.settlements(&second, true);
        ledger.settle(&second, &committed);
        assert_eq!(committed[0].remaining.get(), 0);
        assert!(quote(&ledger, 1, 59).is_err());
    }

    #[test]
    fn a_new_period_starts_full() {
        let mut ledger = ledger(10);
        let reservations = quote(&ledger, 10, 59).unwrap();
        ledger.apply(&reservations);
        let exhausted = quote(&ledger, 1, 59).unwrap_err();
        assert_eq!(exhausted.renewed.get(), 60_000);
        assert!(quote(&ledger, 10, 60).is_ok());
    }

    #[test]
    fn costless_actions_reserve_nothing() {
        assert!(quote(&ledger(0), 0, 0).unwrap().is_empty());
    }
}

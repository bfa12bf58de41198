//! Balances, computed again from the records of one stream.
//!
//! Every record that sets something aside or gives it back says what is left in the budget after
//! it. Whoever has the records can follow that, without the enforcer, its configuration or a clock.
//! What no record shows, the size of a budget, is taken from the first record that names it after
//! the enforcer has started, and held against all that follow. Spec: records §3.

use std::collections::{HashMap, HashSet};

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::names::{AgentName, OperatorName, Scope, Unit};
use counterfoil_protocol::numbers::{Amount, Sequence, UnixMillis};
use counterfoil_protocol::record::{
    Body, Event, Outcome, OutcomeStatus, Record, Reservation, Settlement, Verdict,
};

/// Whether the budgets of an agent had enough left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Funds {
    /// One of them had less left than was needed.
    Exhausted,
    /// All of them had enough left.
    Enough,
    /// The records do not show it.
    Unknown,
}

/// A record that does not follow from those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which.
    pub id: RecordId,
    /// Its place in the stream.
    pub sequence: Sequence,
    /// What does not follow, for people.
    pub detail: String,
}

/// What is wrong with a record.
enum Wrong {
    /// What it says is left in a budget.
    Balance(String),
    Other(String),
}

impl From<String> for Wrong {
    fn from(detail: String) -> Self {
        Self::Other(detail)
    }
}

/// Follows the balances of one stream, record by record.
#[derive(Debug, Default)]
pub struct Recompute {
    next: Option<Sequence>,
    /// Every record from the first on was seen.
    whole: bool,
    last_time: Option<UnixMillis>,
    /// What is left in each budget, where a record has said so since the enforcer started.
    left: HashMap<(Scope, Unit), i128>,
    /// What allowed calls without an outcome have set aside.
    open: HashMap<RecordId, Vec<Reservation>>,
    denied: HashSet<RecordId>,
    settled: HashSet<RecordId>,
    /// A balance that would be wrong, unless the enforcer started then with other budgets.
    suspected: Option<Mistake>,
    /// The budgets that an agent has drawn on last, since the enforcer started.
    drawn: HashMap<(OperatorName, AgentName), Vec<Scope>>,
    checked: u64,
}

impl Recompute {
    /// How many balances were computed again.
    pub const fn checked(&self) -> u64 {
        self.checked
    }

    /// Takes the next record of the stream. After a gap, what is left is not known until a record
    /// says it again.
    ///
    /// # Errors
    /// The record that does not follow from those before it: this one, or one shortly before it.
    pub fn take(&mut self, id: RecordId, record: &Record) -> Result<(), Mistake> {
        self.still_suspected(record)?;
        let sequence = record.sequence;
        let Err(wrong) = self.follow(id, record) else {
            return Ok(());
        };
        let (detail, balance) = match wrong {
            Wrong::Balance(detail) => (detail, true),
            Wrong::Other(detail) => (detail, false),
        };
        let mistake = Mistake {
            id,
            sequence,
            detail,
        };
        match &record.body {
            // An enforcer that starts first settles the calls that were left open, and may have
            // been given other budgets.
            Body::Outcome(outcome) if balance && outcome.status == OutcomeStatus::Unknown => {
                self.suspected.get_or_insert(mistake);
                Ok(())
            }
            _ => Err(mistake),
        }
    }

    /// Whether the enforcer has started, after a balance that seems wrong.
    fn still_suspected(&mut self, record: &Record) -> Result<(), Mistake> {
        match (&record.body, self.suspected.take()) {
            (_, None) | (Body::Control(Event::Started { .. }), _) => Ok(()),
            (Body::Outcome(outcome), suspected) if outcome.status == OutcomeStatus::Unknown => {
                self.suspected = suspected;
                Ok(())
            }
            (_, Some(mistake)) => Err(mistake),
        }
    }

    fn follow(&mut self, id: RecordId, record: &Record) -> Result<(), Wrong> {
        let sequence = record.sequence;
        if self.next != Some(sequence) {
            self.forget();
            self.whole = sequence.get() == 0;
        }
        self.next = sequence.next();
        if let Some(before) = self.last_time.replace(record.time)
            && record.time < before
        {
            return Err(Wrong::Other(format!(
                "its time, {}, is before that of the record before it, {before}",
                record.time
            )));
        }
        match &record.body {
            Body::Request(request) => {
                self.decided(id, request.evaluation.verdict, &request.reservations)?;
                self.note(&request.actor.operator, &request.actor.agent, record);
            }
            Body::Decision(decision) => {
                self.decided(id, decision.evaluation.verdict, &decision.reservations)?;
                self.note(&decision.actor.operator, &decision.actor.agent, record);
            }
            Body::Outcome(outcome) => self.settle(outcome)?,
            // The configuration may be another one now.
            Body::Control(Event::Started { .. }) => self.forget(),
            // The balances go on where those of the predecessor ended.
            Body::Control(Event::StreamOpened {
                predecessor: Some(_),
            }) => self.whole = false,
            Body::Control(_) | Body::Channel(_) => {}
        }
        Ok(())
    }

    /// Whether the budgets that the agent draws on had `points` left before the record that was
    /// taken last.
    pub fn funds(
        &self,
        operator: &OperatorName,
        agent: &AgentName,
        unit: &Unit,
        points: Amount,
        time: UnixMillis,
    ) -> Funds {
        let needed = i128::from(points.get());
        let current = |scope: &Scope| {
            let left = self.left.get(&(scope.clone(), unit.clone()))?;
            in_period(scope, time).then_some(*left)
        };
        let Some(drawn) = self.drawn.get(&(operator.clone(), agent.clone())) else {
            return Funds::Unknown;
        };
        let left: Vec<Option<i128>> = drawn.iter().map(current).collect();
        if left.iter().flatten().any(|left| *left < needed) {
            Funds::Exhausted
        } else if left.iter().all(Option::is_some) && !left.is_empty() {
            Funds::Enough
        } else {
            Funds::Unknown
        }
    }

    fn forget(&mut self) {
        self.left.clear();
        self.drawn.clear();
    }

    fn note(&mut self, operator: &OperatorName, agent: &AgentName, record: &Record) {
        let reservations = record.reservations();
        if !reservations.is_empty() {
            let scopes = reservations.iter().map(|line| line.scope.clone());
            let agent = (operator.clone(), agent.clone());
            self.drawn.insert(agent, scopes.collect());
        }
    }

    fn decided(
        &mut self,
        id: RecordId,
        verdict: Verdict,
        reservations: &[Reservation],
    ) -> Result<(), String> {
        if verdict == Verdict::Deny {
            self.denied.insert(id);
            if reservations.is_empty() {
                return Ok(());
            }
            return Err("it denies, and sets something aside".to_owned());
        }
        for line in reservations {
            let stated = i128::from(line.remaining.get());
            let budget = (line.scope.clone(), line.unit.clone());
            if let Some(before) = self.left.get(&budget) {
                let expected = before - i128::from(line.amount.get());
                self.checked += 1;
                if stated != expected {
                    return Err(wrong_balance(&line.scope, &line.unit, stated, expected));
                }
            }
            self.left.insert(budget, stated);
        }
        self.open.insert(id, reservations.to_vec());
        Ok(())
    }

    fn settle(&mut self, outcome: &Outcome) -> Result<(), Wrong> {
        let decision = outcome.decision;
        if self.denied.contains(&decision) {
            return Err(format!("it is the outcome of {decision}, which denies").into());
        }
        let Some(reservations) = self.open.remove(&decision) else {
            if self.settled.contains(&decision) {
                return Err(format!("it is a second outcome of {decision}").into());
            }
            if self.whole {
                return Err(format!(
                    "it is the outcome of {decision}, which no record before it is"
                )
                .into());
            }
            self.skip(&outcome.settlements);
            return Ok(());
        };
        self.settled.insert(decision);
        if reservations.len() != outcome.settlements.len() {
            return Err(format!(
                "it settles {} of the {} amounts that were set aside",
                outcome.settlements.len(),
                reservations.len()
            )
            .into());
        }
        // Only what was certainly not executed gives back what was set aside for it.
        let used = !matches!(
            outcome.status,
            OutcomeStatus::NotExecuted | OutcomeStatus::RefusedByCounterparty
        );
        for (line, settled) in reservations.iter().zip(&outcome.settlements) {
            self.settle_line(line, settled, used)?;
        }
        Ok(())
    }

    fn settle_line(
        &mut self,
        line: &Reservation,
        settled: &Settlement,
        used: bool,
    ) -> Result<(), Wrong> {
        if (&line.scope, &line.unit) != (&settled.scope, &settled.unit) {
            return Err(Wrong::Other(format!(
                "it settles `{}`, and `{}` was drawn on",
                settled.scope, line.scope
            )));
        }
        let amount = line.amount.get();
        let expected = if used { amount } else { 0 };
        if settled.committed.get() != expected {
            return Err(Wrong::Other(format!(
                "{} {} of {amount} that were set aside in `{}` are used, expected {expected}",
                settled.committed, line.unit, line.scope
            )));
        }
        let stated = i128::from(settled.remaining.get());
        let budget = (line.scope.clone(), line.unit.clone());
        if let Some(before) = self.left.get(&budget) {
            // What goes below nothing, because the budget was made smaller, is said to be nothing.
            let expected = (before + i128::from(amount - expected)).max(0);
            self.checked += 1;
            if stated != expected {
                return Err(Wrong::Balance(wrong_balance(
                    &line.scope,
                    &line.unit,
                    stated,
                    expected,
                )));
            }
        }
        if stated > 0 || self.left.contains_key(&budget) {
            self.left.insert(budget, stated);
        }
        Ok(())
    }

    /// Takes over what settlements say whose reservations were not seen.
    fn skip(&mut self, settlements: &[Settlement]) {
        for line in settlements {
            let budget = (line.scope.clone(), line.unit.clone());
            let stated = i128::from(line.remaining.get());
            if stated > 0 {
                self.left.insert(budget, stated);
            } else {
                self.left.remove(&budget);
            }
        }
    }
}

fn wrong_balance(scope: &Scope, unit: &Unit, stated: i128, expected: i128) -> String {
    format!("it says that {stated} {unit} are left in `{scope}`, and {expected} are")
}

/// Whether the period that stands in the name of a budget is the one of a time.
fn in_period(scope: &Scope, time: UnixMillis) -> bool {
    let mut parts = scope.as_str().split('/');
    let period = parts
        .nth(2)
        .and_then(|part| part.strip_suffix('s')?.parse::<u64>().ok());
    let number = scope.as_str().rsplit('/').next();
    let number = number.and_then(|part| part.parse::<u64>().ok());
    matches!((period, number), (Some(period), Some(number))
        if time.seconds().get().checked_div(period) == Some(number))
}

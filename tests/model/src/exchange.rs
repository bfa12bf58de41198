//! Two operators and a network between them.
//!
//! The network needs no state of its own. What has left a side can arrive at the other at any time
//! after, in any order, again, or never: so whatever one side ever let go is on offer to the other. A
//! record that is lost and sent again is one that arrives late.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::byzantine::forgeries;
use crate::enforcer::Enforcer;
use crate::properties::{self, Sometimes};
use crate::rules::{Answer, Bounds, Conduct, Restores};
use crate::statements::{Id, Party, Signed, Verdict};

/// Two operators that behave in given ways, within bounds.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// How the asking side behaves.
    pub asking: Conduct,
    /// How the asked side behaves.
    pub asked: Conduct,
    /// How far it goes.
    pub bounds: Bounds,
    /// What has to be possible: else the model checks nothing.
    pub expected: Vec<Sometimes>,
}

/// A Byzantine side: what it has signed. Both lists are sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Byzantine {
    /// What it keeps from the other side. A third party may have seen it.
    pub withheld: Vec<Signed>,
    /// What the other side was shown.
    pub shown: Vec<Signed>,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// It keeps the rules, or all but one.
    Honest(Arc<Enforcer>),
    /// It keeps none.
    Byzantine(Arc<Byzantine>),
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The asking side.
    pub asking: Side,
    /// The asked side.
    pub asked: Side,
    /// Crashes so far.
    pub crashes: u8,
    /// Backups restored so far.
    pub restores: u8,
}

impl State {
    /// One of the sides.
    #[must_use]
    pub const fn side(&self, party: Party) -> &Side {
        match party {
            Party::Asking => &self.asking,
            Party::Asked => &self.asked,
        }
    }

    /// A side that keeps the rules.
    #[must_use]
    pub fn honest(&self, party: Party) -> Option<&Enforcer> {
        match self.side(party) {
            Side::Honest(enforcer) => Some(enforcer),
            Side::Byzantine(_) => None,
        }
    }

    /// A side that keeps none.
    #[must_use]
    pub fn byzantine(&self, party: Party) -> Option<&Byzantine> {
        match self.side(party) {
            Side::Honest(_) => None,
            Side::Byzantine(byzantine) => Some(byzantine),
        }
    }

    fn side_mut(&mut self, party: Party) -> &mut Side {
        match party {
            Party::Asking => &mut self.asking,
            Party::Asked => &mut self.asked,
        }
    }

    pub(crate) fn honest_mut(&mut self, party: Party) -> Option<&mut Enforcer> {
        match self.side_mut(party) {
            Side::Honest(enforcer) => Some(Arc::make_mut(enforcer)),
            Side::Byzantine(_) => None,
        }
    }
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The asking side signs a request with these parameters.
    Ask(u8),
    /// The asking side settles a request with the answer that came.
    Settle(Id),
    /// The asking side waits for an answer no more.
    GiveUp(Id),
    /// The asked side decides a request.
    Decide(Id, Verdict),
    /// A decision is carried out.
    Execute(Id),
    /// The tool has answered.
    Finish(Id),
    /// The tool took too long.
    TimeOut(Id),
    /// A request comes again and is refused.
    Repeat(Id),
    /// A side is shown a record that is said to be its own, and denies it.
    Deny(Party, Signed),
    /// A side closes a period.
    Close(Party),
    /// A side ends its stream.
    End(Party),
    /// What a side has signed becomes durable, and leaves.
    Flush(Party),
    /// A side seals a batch.
    Seal(Party),
    /// A record reaches a side.
    Deliver(Party, Signed),
    /// A side dies.
    Crash(Party),
    /// It starts again with its journal, having been answered so.
    Restart(Party, Answer),
    /// Its disk is copied.
    BackUp(Party),
    /// Its disk is lost, and the copy takes its place.
    Restore(Party),
    /// It goes on with a new key; or dies when the manifest has left.
    Rotate(Party, bool),
    /// It signs with a copy of its journal.
    SignInCopy(Party),
    /// A Byzantine side signs something.
    Forge(Party, Signed),
}

impl Exchange {
    /// How a side behaves.
    #[must_use]
    pub const fn conduct(&self, party: Party) -> Conduct {
        match party {
            Party::Asking => self.asking,
            Party::Asked => self.asked,
        }
    }

    fn start(&self, party: Party) -> Side {
        match self.conduct(party) {
            Conduct::Byzantine => Side::Byzantine(Arc::default()),
            Conduct::Honest | Conduct::Breaking(_) => Side::Honest(Arc::new(Enforcer::new(party))),
        }
    }

    fn forge(&self, state: &State, party: Party, byzantine: &Byzantine, actions: &mut Vec<Action>) {
        let mut own: Vec<Signed> = byzantine.withheld.clone();
        own.extend(&byzantine.shown);
        if own.len() < self.bounds.forged {
            let conduct = self.conduct(party.other());
            let theirs: Vec<&Signed> = match state.honest(party.other()) {
                Some(other) => other.left(conduct).collect(),
                None => Vec::new(),
            };
            let forged = forgeries(&self.bounds, party, &own, &theirs);
            actions.extend(
                forged
                    .into_iter()
                    .map(|record| Action::Forge(party, record)),
            );
        }
        if state.honest(party.other()).is_some_and(|other| other.up) {
            let show = |record: &Signed| Action::Deliver(party.other(), *record);
            actions.extend(byzantine.withheld.iter().map(show));
        }
    }

    /// A disk is lost, and its copy takes its place.
    fn restore(&self, state: &mut State, party: Party) -> Option<()> {
        state.restores += 1;
        let restoring = self.bounds.restoring;
        let other = state.side(party.other()).clone();
        let side = state.honest_mut(party)?;
        side.restore(restoring == Restores::Copied);
        if restoring == Restores::InPlace {
            side.forget_unseen(|record| match &other {
                Side::Honest(other) => other.journal.custody().any(|kept| kept == record),
                // It may have anything that was ever sent to it.
                Side::Byzantine(_) => record.record.link.is_some(),
            });
        }
        Some(())
    }
}

impl Model for Exchange {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            asking: self.start(Party::Asking),
            asked: self.start(Party::Asked),
            crashes: 0,
            restores: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for party in Party::BOTH {
            match state.side(party) {
                Side::Honest(enforcer) => {
                    self.steps(state, enforcer, actions);
                    if let Some(other) = state.honest(party.other())
                        && other.up
                    {
                        let left = enforcer.left(self.conduct(party));
                        let new = left.filter(|record| {
                            record.record.link.is_some()
                                && !other.has(self.conduct(other.party), self.bounds.window, record)
                        });
                        actions.extend(new.map(|record| Action::Deliver(party.other(), *record)));
                    }
                }
                Side::Byzantine(byzantine) => self.forge(state, party, byzantine, actions),
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Forge(party, record) => {
                if let Side::Byzantine(byzantine) = state.side_mut(party) {
                    insert(&mut Arc::make_mut(byzantine).withheld, record);
                }
            }
            Action::Deliver(party, record) => {
                if let Side::Byzantine(byzantine) = state.side_mut(party.other()) {
                    let byzantine = Arc::make_mut(byzantine);
                    byzantine.withheld.retain(|withheld| *withheld != record);
                    insert(&mut byzantine.shown, record);
                }
                let enforcer = state.honest_mut(party)?;
                enforcer.receive(self.conduct(party), self.bounds.window, record);
            }
            Action::Crash(party) => {
                state.crashes += 1;
                state.honest_mut(party)?.crash(self.conduct(party));
            }
            Action::Restore(party) => {
                self.restore(&mut state, party)?;
            }
            _ => self.step(&mut state, action)?,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = properties::always();
        all.extend(self.expected.iter().map(|expected| expected.property()));
        all
    }
}

fn insert(records: &mut Vec<Signed>, record: Signed) {
    let at = records.partition_point(|kept| *kept < record);
    records.insert(at, record);
}

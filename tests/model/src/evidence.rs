//! How evidence reaches its level before a call is executed: commitments, a log that may show two
//! trees, witnesses, and the asked side's check (contracts §4).
//!
//! Everything that is signed is on offer to everybody. A Byzantine witness cosigns whatever it is
//! shown, so it has no state.

use stateright::{Model, Property};

/// The level that a call's evidence needs before it is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// The request alone.
    Signed,
    /// Its commitment is under a checkpoint of the log.
    Logged,
    /// That checkpoint has the quorum's cosignatures.
    Witnessed,
}

/// What somebody does otherwise than the rules say: to see that the properties can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// The asked side executes first and looks at the evidence after.
    ExecutesFirst,
    /// It takes a checkpoint of the log for a witnessed one.
    TrustsLog,
    /// It adds up cosignatures of different checkpoints.
    AddsUpCheckpoints,
    /// It does not look at what the commitment holds.
    TakesAnyCommitment,
    /// Witnesses do not remember what they cosigned last.
    WitnessesForget,
    /// The log signs a checkpoint before its tree is durable.
    LogForgets,
}

/// A stream's commitment: which batch it is, and which request it holds, if one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Batch {
    /// Its number.
    pub number: u8,
    /// The request.
    pub request: Option<u8>,
}

/// A log's tree: its entries.
pub type Tree = Vec<Batch>;

/// A tree that the log has signed, with its cosignatures.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Checkpoint {
    /// The tree.
    pub tree: Tree,
    /// Which honest witnesses cosigned it, one bit each.
    pub cosigned: u8,
}

/// Who takes part, and within which bounds.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What each request needs.
    pub needs: Vec<Level>,
    /// Whether the asking side signs commitments that do not follow from each other.
    pub byzantine_asking: bool,
    /// Whether the log shows two trees.
    pub byzantine_log: bool,
    /// Honest witnesses.
    pub witnesses: u8,
    /// Byzantine witnesses.
    pub byzantine_witnesses: u8,
    /// How many witnesses are the quorum.
    pub quorum: u8,
    /// The most entries of a tree.
    pub entries: usize,
    /// What is done wrong.
    pub breach: Option<Breach>,
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct State {
    /// Commitments that the asking side has signed, sorted.
    pub committed: Vec<Batch>,
    /// The log's trees: an honest one has the first only.
    pub trees: [Tree; 2],
    /// What the log has signed, sorted.
    pub checkpoints: Vec<Checkpoint>,
    /// The tree that each honest witness cosigned last.
    pub latest: Vec<Tree>,
    /// The requests that the asked side has executed, one bit each.
    pub executed: u8,
    /// Whether the log has crashed.
    pub crashed: bool,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The asking side signs a commitment.
    Commit(Batch),
    /// The log takes it into one of its trees.
    Log(usize, Batch),
    /// The log signs one of its trees.
    Sign(usize),
    /// The log dies before its last entry was durable.
    LogCrash,
    /// A witness cosigns a checkpoint.
    Cosign(u8, Tree),
    /// The asked side executes a request with a checkpoint's evidence, or with none.
    Execute(u8, Option<Tree>),
}

/// Whether one tree is the other one grown.
#[must_use]
pub fn grows(before: &Tree, after: &Tree) -> bool {
    after.starts_with(before)
}

fn sign(state: &mut State, tree: Tree) {
    if state.checkpoints.iter().all(|signed| signed.tree != tree) {
        state.checkpoints.push(Checkpoint { tree, cosigned: 0 });
        state.checkpoints.sort_unstable();
    }
}

fn holds(tree: &Tree, request: u8) -> bool {
    tree.iter().any(|batch| batch.request == Some(request))
}

impl Evidence {
    fn is_witnessed(&self, checkpoint: &Checkpoint) -> bool {
        let honest = checkpoint.cosigned.count_ones();
        honest + u32::from(self.byzantine_witnesses) >= u32::from(self.quorum)
    }

    /// Whether the asked side takes this evidence for enough.
    fn suffices(
        &self,
        state: &State,
        request: u8,
        need: Level,
        shown: Option<&Checkpoint>,
    ) -> bool {
        if self.breach == Some(Breach::ExecutesFirst) || need == Level::Signed {
            return true;
        }
        let Some(checkpoint) = shown else {
            return false;
        };
        let any = self.breach == Some(Breach::TakesAnyCommitment) && !checkpoint.tree.is_empty();
        if !holds(&checkpoint.tree, request) && !any {
            return false;
        }
        if need == Level::Logged || self.breach == Some(Breach::TrustsLog) {
            return true;
        }
        if self.breach == Some(Breach::AddsUpCheckpoints) {
            let all = state
                .checkpoints
                .iter()
                .fold(0, |all, other| all | other.cosigned);
            return self.is_witnessed(&Checkpoint {
                tree: Vec::new(),
                cosigned: all,
            });
        }
        self.is_witnessed(checkpoint)
    }

    /// The commitments that a Byzantine asking side signs: the requests in order, and another one
    /// for the first batch. What it signs is on offer from the beginning.
    fn forged(&self) -> Vec<Batch> {
        let requests = (0..).zip(&self.needs).map(|(request, _)| request);
        let in_order = requests.map(|request| Batch {
            number: request,
            request: Some(request),
        });
        let fork = Batch {
            number: 0,
            request: Some(1),
        };
        let mut forged: Vec<_> = in_order.chain([fork]).collect();
        forged.sort_unstable();
        forged
    }

    /// The commitment that an honest asking side signs next: one batch for each request, in order.
    fn next_commitment(&self, state: &State) -> Option<Batch> {
        let number = u8::try_from(state.committed.len()).ok()?;
        let more = !self.byzantine_asking && state.committed.len() < self.needs.len();
        more.then_some(Batch {
            number,
            request: Some(number),
        })
    }

    /// Whether the log admits a commitment: it continues the stream (batches §4). A Byzantine log
    /// admits what it likes.
    fn admits(&self, tree: &Tree, batch: &Batch) -> bool {
        tree.len() < self.entries
            && !tree.contains(batch)
            && (self.byzantine_log || usize::from(batch.number) == tree.len())
    }

    fn witnessed<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Checkpoint> {
        state
            .checkpoints
            .iter()
            .filter(|checkpoint| self.is_witnessed(checkpoint))
    }
}

impl Model for Evidence {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            committed: if self.byzantine_asking {
                self.forged()
            } else {
                Vec::new()
            },
            latest: vec![Vec::new(); usize::from(self.witnesses)],
            ..State::default()
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(self.next_commitment(state).map(Action::Commit));
        let trees = if self.byzantine_log { 2 } else { 1 };
        for (index, tree) in state.trees.iter().enumerate().take(trees) {
            let admitted = state
                .committed
                .iter()
                .filter(|batch| self.admits(tree, batch));
            actions.extend(admitted.map(|batch| Action::Log(index, *batch)));
            let signed = |checkpoint: &Checkpoint| checkpoint.tree == *tree;
            if !tree.is_empty() && !state.checkpoints.iter().any(signed) {
                actions.push(Action::Sign(index));
            }
        }
        if self.breach == Some(Breach::LogForgets) && !state.crashed {
            actions.push(Action::LogCrash);
        }
        for checkpoint in &state.checkpoints {
            for (witness, latest) in (0..).zip(&state.latest) {
                let consistent =
                    grows(latest, &checkpoint.tree) || self.breach == Some(Breach::WitnessesForget);
                if consistent && checkpoint.cosigned & (1 << witness) == 0 {
                    actions.push(Action::Cosign(witness, checkpoint.tree.clone()));
                }
            }
        }
        for (request, need) in (0..).zip(&self.needs) {
            if state.executed & (1 << request) != 0 {
                continue;
            }
            let shown = state.checkpoints.iter().map(Some).chain([None]);
            let enough = shown.filter(|shown| self.suffices(state, request, *need, *shown));
            let trees = enough.map(|shown| shown.map(|shown| shown.tree.clone()));
            actions.extend(trees.map(|tree| Action::Execute(request, tree)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Commit(batch) => {
                state.committed.push(batch);
                state.committed.sort_unstable();
            }
            Action::Log(index, batch) => {
                let tree = state.trees.get_mut(index)?;
                tree.push(batch);
                if self.byzantine_log {
                    // It signs whatever it shows to anybody.
                    let tree = tree.clone();
                    sign(&mut state, tree);
                }
            }
            Action::Sign(index) => {
                let tree = state.trees.get(index)?.clone();
                sign(&mut state, tree);
            }
            Action::LogCrash => {
                state.crashed = true;
                state.trees.first_mut()?.pop();
            }
            Action::Cosign(witness, tree) => {
                let mut checkpoints = state.checkpoints.iter_mut();
                let checkpoint = checkpoints.find(|checkpoint| checkpoint.tree == tree)?;
                checkpoint.cosigned |= 1 << witness;
                *state.latest.get_mut(usize::from(witness))? = tree;
            }
            Action::Execute(request, _) => state.executed |= 1 << request,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(LEVEL_REACHED, level_reached),
            Property::always(ONE_TREE, one_tree),
            Property::always(EXECUTED_BOUND, executed_bound),
            Property::always(LOG_NEVER_CONVICTED, |model: &Self, state: &State| {
                model.byzantine_log || !log_convicted(state)
            }),
            Property::sometimes(EXECUTED, |model: &Self, state: &State| {
                model
                    .needs
                    .iter()
                    .enumerate()
                    .all(|(request, _)| state.executed & (1 << request) != 0)
            }),
        ];
        if self.byzantine_log {
            all.push(Property::sometimes(
                LOG_CONVICTED,
                |_: &Self, state: &State| log_convicted(state),
            ));
            all.push(Property::sometimes(
                WITNESSES_SPLIT,
                |_: &Self, state: &State| {
                    let cosigned = |checkpoint: &&Checkpoint| checkpoint.cosigned != 0;
                    apart(state.checkpoints.iter().filter(cosigned))
                },
            ));
        }
        if self.byzantine_asking {
            all.push(Property::sometimes(
                ASKING_CONVICTED,
                |_: &Self, state: &State| {
                    let tree = state.trees.first();
                    tree.is_some_and(forks) && state.executed != 0
                },
            ));
        }
        all
    }
}

/// No request is executed without the evidence that it needs.
pub const LEVEL_REACHED: &str = "nothing is executed below its level";
/// Of two witnessed trees one is the other one grown.
pub const ONE_TREE: &str = "there is one witnessed tree";
/// What a witnessed call was executed on is in every witnessed tree that is as large.
pub const EXECUTED_BOUND: &str = "what was executed on stays in view";
/// An honest log is not convicted.
pub const LOG_NEVER_CONVICTED: &str = "an honest log is never convicted";
/// All requests are executed.
pub const EXECUTED: &str = "all requests are executed";
/// A log with two trees is convicted.
pub const LOG_CONVICTED: &str = "a log fork is convicted";
/// Witnesses have cosigned both trees, though never a quorum of them.
pub const WITNESSES_SPLIT: &str = "witnesses are split";
/// Two commitments for one batch stand in the log.
pub const ASKING_CONVICTED: &str = "a commitment fork stands in the log";

/// It looks at what there is, not at how the asked side came to its judgement.
fn level_reached(model: &Evidence, state: &State) -> bool {
    (0..).zip(&model.needs).all(|(request, need)| {
        let executed = state.executed & (1 << request) != 0;
        let under = |checkpoint: &&Checkpoint| holds(&checkpoint.tree, request);
        !executed
            || match need {
                Level::Signed => true,
                Level::Logged => state.checkpoints.iter().any(|any| under(&any)),
                Level::Witnessed => model.witnessed(state).any(|any| under(&any)),
            }
    })
}

fn one_tree(model: &Evidence, state: &State) -> bool {
    !apart(model.witnessed(state))
}

fn executed_bound(model: &Evidence, state: &State) -> bool {
    (0..).zip(&model.needs).all(|(request, need)| {
        if state.executed & (1 << request) == 0 || *need != Level::Witnessed {
            return true;
        }
        let under = model
            .witnessed(state)
            .filter(|any| holds(&any.tree, request));
        let Some(size) = under.map(|any| any.tree.len()).min() else {
            return false;
        };
        let mut larger = model.witnessed(state).filter(|any| any.tree.len() >= size);
        larger.all(|any| holds(&any.tree, request))
    })
}

/// Whether there are two trees of which none is the other one grown.
fn apart<'a>(checkpoints: impl Iterator<Item = &'a Checkpoint>) -> bool {
    let trees: Vec<_> = checkpoints.map(|checkpoint| &checkpoint.tree).collect();
    let mut pairs = trees.iter().flat_map(|a| trees.iter().map(move |b| (a, b)));
    pairs.any(|(a, b)| !grows(a, b) && !grows(b, a))
}

/// Kinds 14 and 15 of faults §3: of two trees that the log has signed, both of one size with
/// different roots, or different entries at one index.
fn log_convicted(state: &State) -> bool {
    let trees = || state.checkpoints.iter().map(|checkpoint| &checkpoint.tree);
    let differ = |a: &Tree, b: &Tree| {
        let fork = a.len() == b.len() && a != b;
        fork || a.iter().zip(b).any(|(a, b)| a != b)
    };
    trees().any(|a| trees().any(|b| differ(a, b)))
}

/// Kind 5: two commitments with one number.
fn forks(tree: &Tree) -> bool {
    let fork = |a: &Batch| tree.iter().any(|b| a.number == b.number && a != b);
    tree.iter().any(fork)
}

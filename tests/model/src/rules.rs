//! How an operator behaves, and how far the model goes.

use crate::statements::Party;

/// How an operator behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conduct {
    /// As faults §1 says.
    Honest,
    /// The same, but for one rule: to see that the properties can fail.
    Breaking(Breach),
    /// It signs what it likes and shows it to whom it likes.
    Byzantine,
}

impl Conduct {
    /// Whether it breaks this rule.
    #[must_use]
    pub fn breaks(self, breach: Breach) -> bool {
        self == Self::Breaking(breach)
    }
}

/// A rule that an operator breaks which keeps all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// Faults §1 rule 1: a record leaves before it is durable.
    LeavesBeforeDurable,
    /// Rule 1: a copy of the journal is in use beside it.
    TwoJournals,
    /// Rule 1: a commitment leaves before it is durable.
    CommitmentNotDurable,
    /// Rule 1: a batch does not begin where the one before ended.
    LeavesRecordsOut,
    /// Rule 2: after a restart it draws other signatures for the records of its journal.
    SignsAgain,
    /// Rule 2 and faults §6.1: a journal restored from a backup is continued.
    ContinuesBackup,
    /// Faults §6.3: a counterparty that does not answer at the start is passed over.
    PassesOver,
    /// Faults §6.3: whom the journal holds no record for is not waited for. A journal that was set
    /// back does not know to whom it has spoken.
    AsksWhomItRemembers,
    /// Faults §6.3: whoever is asked tells what it has without a gap before it, and not what came
    /// early.
    TellsOnlyLinked,
    /// Rule 3: a request that comes again is decided again.
    DecidesAgain,
    /// Rule 3: the refusal of a request that came again names it.
    RefusalNamesRepeat,
    /// Rule 3: what becomes known after an outcome of `unknown` is made an outcome of its own.
    SettlesAgain,
    /// Rule 3: after a crash calls stay open.
    LeavesCallsOpen,
    /// Rule 4: a denied action is executed.
    ExecutesDenied,
    /// Rule 4: a request is allowed with other parameters.
    AllowsOtherwise,
    /// Rule 5: what came last is acknowledged, with a gap before it.
    AcknowledgesAcrossGap,
    /// Rule 5: what is acknowledged is not durable.
    AcknowledgesVolatile,
    /// Rule 5: of two records for one place the later one is acknowledged.
    AcknowledgesFork,
    /// Rule 6: whatever the journal does not hold is denied.
    DeniesUnknown,
    /// Rule 6: keys of the past are no keys of its own.
    DeniesOldKeys,
    /// Rule 7: something is signed after the record that ends the stream.
    SignsAfterEnd,
    /// Rule 8: a manifest leaves before it is durable.
    ManifestNotDurable,
    /// Faults §6.5: a manifest is made on top of restored ones, and the log is not asked.
    ManifestFromBackup,
    /// Not a rule of faults §1: a record that does not fit is dropped and not kept as evidence.
    DropsEvidence,
    /// Not a rule of faults §1: what came too early and was refused is not taken in when it is sent
    /// again.
    RefusesForEver,
    /// Not a rule of faults §1: what links to another record than the one before is taken in.
    TakesUnlinked,
}

/// What the counterparty says when an enforcer starts (faults §6.3). The log always says what is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// All that it has of the stream, linked or not. One that is down says so when it comes up,
    /// before it has asked anybody itself; its disk holds the same then.
    True,
    /// Nothing, and it is passed over.
    Silent,
    /// That it has nothing.
    Lie,
}

/// How disks are lost, if they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Restores {
    /// The backup is another file.
    #[default]
    Copied,
    /// The backup takes the journal's own place, as a snapshot of a whole machine does. Of the lost
    /// part nothing is under way: each record has reached the counterparty before, or it never will.
    InPlace,
    /// The same, and records of the lost part may still arrive.
    InPlaceUnderWay,
}

/// How many of each thing there are. All that is zero does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Bounds {
    /// Requests that an honest asking side makes.
    pub requests: usize,
    /// Different parameters that a Byzantine asking side asks with.
    pub calls: u8,
    /// Records that a Byzantine side signs.
    pub forged: usize,
    /// Places in a channel that it signs for.
    pub places: u8,
    /// How many places ahead of the next one a record is held (mcp §4).
    pub window: u8,
    /// Crashes of both sides together.
    pub crashes: u8,
    /// Backups restored.
    pub restores: u8,
    /// Whose.
    pub restored: Option<Party>,
    /// How.
    pub restoring: Restores,
    /// New keys of each side.
    pub rotations: u8,
    /// Whether a side may also end its stream in order before its disk is lost.
    pub rotates_first: bool,
    /// Batches of each side.
    pub batches: usize,
    /// Refusals of requests that came again.
    pub repeats: usize,
    /// Records of its own that each side denies. Where a disk is lost: only its side, and only then;
    /// before, it is as in a run without.
    pub denials: usize,
    /// Channel statements of each side.
    pub statements: usize,
    /// Whether the asked side's tool may take too long and answer all the same.
    pub late_results: bool,
    /// Whether the asking side gives up waiting.
    pub patience: bool,
    /// Records signed and not durable yet, at most. With none, signing and writing is one step: a
    /// crash between them is then the crash before, since what was not durable leaves no trace.
    pub pending: usize,
}

impl Bounds {
    /// One call, of which nothing is lost but messages: what the runs differ from.
    pub const ONE_CALL: Self = Self {
        requests: 1,
        calls: 1,
        forged: 0,
        places: 0,
        window: 1,
        crashes: 0,
        restores: 0,
        restored: None,
        restoring: Restores::Copied,
        rotations: 0,
        rotates_first: false,
        batches: 0,
        repeats: 0,
        denials: 0,
        statements: 0,
        late_results: false,
        patience: false,
        pending: 0,
    };
}

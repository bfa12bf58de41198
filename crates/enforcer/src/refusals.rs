//! How many refusals are recorded of messages that no operator has signed.
//!
//! Whoever reaches the gateway can have something refused, and a record of it takes room in the
//! journal and in the backlog of the log. Without a bound, strangers could fill both until honest
//! calls are denied. Spec: mcp §5.

use counterfoil_protocol::numbers::UnixMillis;

/// How many are recorded at once.
const BURST: u64 = 256;
/// How many a second are recorded for as long as they keep coming.
const PER_SECOND: u64 = 32;

/// One refusal, in the unit that a millisecond adds [`PER_SECOND`] of.
const ONE: u64 = 1_000;

/// What may still be recorded. It fills up again as time passes.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u64,
    filled: UnixMillis,
    /// Some were left out since it was full.
    exceeded: bool,
}

/// Whether a refusal is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Yes,
    /// The first that is left out since the allowance was full.
    NoLonger,
    No,
}

impl Allowance {
    pub(crate) const fn full() -> Self {
        Self {
            left: BURST * ONE,
            filled: UnixMillis::new(0),
            exceeded: false,
        }
    }

    /// Takes one refusal out, if there is one left at `now`. A clock that went back adds nothing.
    pub(crate) fn take(&mut self, now: UnixMillis) -> Allowed {
        let added = now.since(self.filled).saturating_mul(PER_SECOND);
        self.left = self.left.saturating_add(added).min(BURST * ONE);
        self.filled = now;
        if self.left == BURST * ONE {
            self.exceeded = false;
        }
        match self.left.checked_sub(ONE) {
            Some(left) => {
                self.left = left;
                Allowed::Yes
            }
            None if self.exceeded => Allowed::No,
            None => {
                self.exceeded = true;
                Allowed::NoLonger
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use counterfoil_protocol::digest::ContentDigest;
    use counterfoil_protocol::keys::SigningKey;
    use counterfoil_protocol::names::{AgentName, OperatorName, ReasonCode};
    use counterfoil_protocol::numbers::Amount;

    use super::*;
    use crate::call::{Call, Party};
    use crate::environment::Environment;
    use crate::policy::{self, Evaluation, EvaluationInput, Policy};
    use crate::{Enforcer, EnforcerError, Settings, journal};

    const NOW: u64 = 1_790_000_000_000;

    fn taken(allowance: &mut Allowance, at: u64, tries: u64) -> u64 {
        let now = UnixMillis::new(at);
        (0..tries)
            .filter(|_| allowance.take(now) == Allowed::Yes)
            .count() as u64
    }

    #[test]
    fn a_burst_is_recorded_and_then_so_many_a_second() {
        let mut allowance = Allowance::full();
        assert_eq!(taken(&mut allowance, NOW, 1_000), BURST);
        assert_eq!(taken(&mut allowance, NOW + 31, 10), 0);
        assert_eq!(taken(&mut allowance, NOW + 32, 10), 1);
        assert_eq!(taken(&mut allowance, NOW + 1_032, 1_000), PER_SECOND);
        // However long nothing comes, no more than a burst is saved up.
        assert_eq!(taken(&mut allowance, NOW + 86_400_000, 1_000), BURST);
    }

    #[test]
    fn however_often_they_come_no_more_are_recorded() {
        let mut allowance = Allowance::full();
        let recorded: u64 = (0..60_000)
            .map(|millis| taken(&mut allowance, NOW + millis, 3))
            .sum();
        // The last millisecond of the minute has not passed.
        assert_eq!(recorded, BURST + 60 * PER_SECOND - 1);
    }

    #[test]
    fn a_clock_that_goes_back_adds_nothing() {
        let mut allowance = Allowance::full();
        assert_eq!(taken(&mut allowance, NOW, BURST), BURST);
        assert_eq!(taken(&mut allowance, NOW - 3_600_000, 10), 0);
        assert_eq!(taken(&mut allowance, NOW - 3_599_000, 100), PER_SECOND);
    }

    #[test]
    fn the_first_that_is_left_out_is_told_once() {
        let mut allowance = Allowance::full();
        taken(&mut allowance, NOW, BURST);
        let now = UnixMillis::new(NOW);
        assert_eq!(allowance.take(now), Allowed::NoLonger);
        assert_eq!(allowance.take(now), Allowed::No);
        assert_eq!(taken(&mut allowance, NOW + 1_000, 40), PER_SECOND);
        assert_eq!(allowance.take(UnixMillis::new(NOW + 1_000)), Allowed::No);
        let later = UnixMillis::new(NOW + 60_000);
        assert_eq!(allowance.take(later), Allowed::Yes);
    }

    #[derive(Debug)]
    struct Anything;

    impl Policy for Anything {
        fn evaluate(&self, _: &EvaluationInput<'_>) -> Evaluation {
            Evaluation::Allow(policy::Allowed {
                policies: vec![],
                tier: None,
                points: Amount::new(0),
            })
        }

        fn digest(&self) -> ContentDigest {
            ContentDigest::of(b"anything")
        }
    }

    #[tokio::test]
    async fn refusals_leave_half_of_the_backlog_to_calls() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(journal::FILE_NAME);
        let operator = OperatorName::new("acme.example").unwrap();
        let key = || SigningKey::from_seed(&[7; 32].into()).unwrap();
        journal::create(&path, &operator, &key(), UnixMillis::new(NOW)).unwrap();
        let settings = Settings {
            operator,
            key: key(),
            policy: Arc::new(Anything),
            budgets: vec![],
            journal: path,
            keep_clear_text: false,
            freshness_millis: 60_000,
            backlog_limit: Some(20),
            batch_records: 1_024,
            operators: Arc::default(),
            contracts: Default::default(),
            environment: Environment::system(),
        };
        let enforcer = Enforcer::open(settings).unwrap().0;
        // As if the log had confirmed the journal, and then been gone.
        enforcer.set_blocked(None);
        enforcer.begin().unwrap();
        let waiting = || enforcer.core.stream().waiting();
        let refuse = || enforcer.refuse_message(ReasonCode::literal("not_json"));
        while waiting() <= 10 {
            refuse().await.unwrap();
        }
        let left_out = refuse().await.unwrap_err();
        assert!(
            matches!(left_out, EnforcerError::TooManyRefusals),
            "{left_out}"
        );
        assert_eq!(waiting(), 11);
        let call = Call {
            on_behalf_of: None,
            session: None,
            server: "desk".parse().unwrap(),
            verb: "tools/call".parse().unwrap(),
            tool: "echo".parse().unwrap(),
            arguments: b"{}",
            parameters: b"{}",
            attestations: &[],
        };
        let party = Party::Local {
            agent: AgentName::new("bot").unwrap(),
        };
        let decided = enforcer.authorize(&call, &party).unwrap().wait();
        assert!(matches!(decided, Ok(crate::Decided::Allowed(_))));
    }
}

//! An honest operator is never convicted: a real enforcer is driven through random sequences of
//! calls, lost answers, crashes, restarts, clock steps, rotations and restored backups, and
//! everything of it that anybody can hold is given to the detector. Spec: faults §1, §6.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use counterfoil_enforcer::call::{Envelope, Party};
use counterfoil_enforcer::journal::JournalReader;
use counterfoil_enforcer::publish::{LoggedStream, compare_with_log};
use counterfoil_enforcer::seal::Sealer;
use counterfoil_enforcer::{Completion, Decided, Enforcer, Permit};
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::digest::{CommitmentDigest, KeyThumbprint, RecordId};
use counterfoil_protocol::fault::{Detector, Finding, as_request};
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::numbers::{BatchNumber, Sequence};
use counterfoil_protocol::record::{Body, OutcomeStatus, UnverifiedRecord};
use counterfoil_tlog::tree::leaf_hash;
use support::home::Home;
use support::{NOW, World, call, name};

const ACME: &str = "acme.example";
const GLOBEX: &str = "globex.example";
const PARAMETERS: &[u8] = br#"{"name":"read","arguments":{}}"#;
const RESULT: &[u8] = br#"{"content":[]}"#;
const SEEDS: u64 = 24;
const ACTS: usize = 40;
/// How many records of ours may wait in a channel. Spec: mcp §4.2.
const CROWD: usize = 384;

/// Numbers that a seed gives. Nothing depends on their quality.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What the log has of one stream.
#[derive(Default)]
struct LogStream {
    commitments: Vec<Vec<u8>>,
    records: Vec<Vec<u8>>,
}

struct Run {
    world: World,
    home: Home,
    acme: Option<Enforcer>,
    globex: Enforcer,
    /// Calls of ours that nobody has ended yet.
    open: Vec<Permit>,
    /// Envelopes that were sent and may come again.
    sent: Vec<Envelope>,
    /// Those of globex.
    asked: Vec<Envelope>,
    log: BTreeMap<KeyThumbprint, LogStream>,
    backups: Vec<PathBuf>,
    clock: u64,
    trail: Vec<String>,
    rotations: [u32; 2],
    /// How often acme decided outside of the channel, because too much waited in it.
    crowded: u32,
}

impl Run {
    fn new() -> Self {
        let world = World::new();
        let home = Home::new(&world, ACME);
        let acme = home.open(&world).unwrap();
        let globex = world.open(GLOBEX);
        Self {
            world,
            home,
            acme: Some(acme),
            globex,
            open: Vec::new(),
            sent: Vec::new(),
            asked: Vec::new(),
            log: BTreeMap::new(),
            backups: Vec::new(),
            clock: NOW,
            trail: Vec::new(),
            rotations: [0; 2],
            crowded: 0,
        }
    }

    fn act(&mut self, dice: &mut Dice) {
        let act = dice.throw(18);
        self.trail.push(format!("{act}"));
        match act {
            0 | 1 => self.ask(dice),
            2 | 3 => self.answer(dice),
            4 => self.repeat(dice),
            5 => self.local(dice),
            6 => self.end_one(dice),
            7 => self.step_clock(dice),
            8 | 9 => self.seal(),
            10 => self.restart(),
            11 => self.crash(),
            12 => self.rotate_in_order(),
            13 => self.back_up(),
            14 => self.restore(dice, false),
            15 => self.restore(dice, true),
            16 => self.crowd(),
            _ => self.repeat_after_crash(dice),
        }
    }

    fn acme(&self) -> &Enforcer {
        self.acme.as_ref().unwrap()
    }

    /// Acme asks globex; the request may be lost, and so may the answer.
    fn ask(&mut self, dice: &mut Dice) {
        let globex = name(GLOBEX);
        let party = Party::Outgoing {
            agent: "bot".parse().unwrap(),
            counterparty: &globex,
        };
        let Ok(pending) = self.acme().authorize(&call("read", PARAMETERS), &party) else {
            return;
        };
        let Decided::Allowed(permit) = pending.wait().unwrap() else {
            return;
        };
        let envelope = permit.request_envelope().unwrap();
        self.sent.push(envelope.clone());
        if dice.throw(4) == 0 {
            self.open.push(permit);
            return;
        }
        let party = Party::Incoming {
            envelope: Some(&envelope),
        };
        let heard = self.globex.authorize(&call("read", PARAMETERS), &party);
        let Some(Decided::Allowed(theirs)) = heard.ok().map(|pending| pending.wait().unwrap())
        else {
            self.open.push(permit);
            return;
        };
        let answer = theirs.complete(succeeded()).unwrap().wait().unwrap();
        if dice.throw(4) == 0 {
            self.open.push(permit);
            return;
        }
        let (_, outcome) = permit
            .complete_with_answer(answer.as_ref(), RESULT)
            .unwrap();
        outcome.wait().unwrap();
    }

    /// Globex asks acme.
    fn answer(&mut self, dice: &mut Dice) {
        let acme = name(ACME);
        let party = Party::Outgoing {
            agent: "bot".parse().unwrap(),
            counterparty: &acme,
        };
        let Ok(pending) = self.globex.authorize(&call("read", PARAMETERS), &party) else {
            return;
        };
        let Decided::Allowed(theirs) = pending.wait().unwrap() else {
            return;
        };
        let envelope = theirs.request_envelope().unwrap();
        self.asked.push(envelope.clone());
        let answer = self.hear(dice, &envelope);
        let (_, outcome) = theirs
            .complete_with_answer(answer.as_ref(), RESULT)
            .unwrap();
        outcome.wait().unwrap();
    }

    fn hear(&mut self, dice: &mut Dice, envelope: &Envelope) -> Option<Envelope> {
        let party = Party::Incoming {
            envelope: Some(envelope),
        };
        let asked = call("read", PARAMETERS);
        let pending = self.acme().authorize(&asked, &party).ok()?;
        let answer = match pending.wait().unwrap() {
            Decided::Allowed(permit) if dice.throw(4) == 0 => {
                self.open.push(permit);
                None
            }
            Decided::Allowed(permit) => permit.complete(succeeded()).unwrap().wait().unwrap(),
            Decided::Denied(denial) => {
                let crowded = denial.reason.as_str() == "channel_unacknowledged";
                self.crowded += u32::from(crowded);
                denial.envelope
            }
        };
        let answer = answer.filter(|_| dice.throw(4) != 0);
        self.sent.extend(answer.clone());
        answer
    }

    /// Something that globex asked comes again, and something of acme's arrives late.
    fn repeat(&mut self, dice: &mut Dice) {
        if !self.asked.is_empty() {
            let index = dice.throw(self.asked.len() as u64) as usize;
            let envelope = self.asked[index].clone();
            self.hear(dice, &envelope);
        }
        if !self.sent.is_empty() {
            let index = dice.throw(self.sent.len() as u64) as usize;
            // It may come out of order, or be of a stream that globex has heard the end of.
            let _ = self.globex.ingest(&self.sent[index]);
        }
    }

    /// Acme asks until no more may wait; nothing of it arrives.
    fn crowd(&mut self) {
        let globex = name(GLOBEX);
        let party = Party::Outgoing {
            agent: "bot".parse().unwrap(),
            counterparty: &globex,
        };
        let asked = call("read", PARAMETERS);
        while self.acme().waiting(&globex) <= CROWD {
            let asking = (0..64).map_while(|_| self.acme().authorize(&asked, &party).ok());
            let asking: Vec<_> = asking.collect();
            if asking.is_empty() {
                return;
            }
            for pending in asking {
                drop(pending.wait().unwrap());
            }
        }
    }

    /// Globex asks acme, and has no answer.
    fn ask_acme(&mut self) -> Envelope {
        let envelope = support::ask_operator(&self.globex, ACME, "read", PARAMETERS)
            .request_envelope()
            .unwrap();
        self.asked.push(envelope.clone());
        envelope
    }

    /// Why acme denies what comes, and which request its decision names.
    fn deny(&self, envelope: &Envelope) -> (String, Option<RecordId>) {
        let decided = support::hear(self.acme(), "read", PARAMETERS, envelope);
        let denial = support::denied(decided);
        let reader = JournalReader::open(&self.home.journal()).unwrap();
        let records = reader.records(Sequence::new(0), 100_000).unwrap();
        let record = records
            .iter()
            .map(|(_, bytes)| UnverifiedRecord::parse(bytes).unwrap())
            .find(|record| record.id() == denial.record)
            .unwrap();
        let Body::Decision(decision) = &record.unverified_content().body else {
            panic!("{record:?}");
        };
        let about = decision.request.map(|request| request.id);
        (denial.reason.as_str().to_owned(), about)
    }

    /// What globex asked last comes again after acme's process was killed.
    fn repeat_after_crash(&mut self, dice: &mut Dice) {
        self.crash();
        if let Some(envelope) = self.asked.last().cloned() {
            self.hear(dice, &envelope);
        }
    }

    fn local(&mut self, dice: &mut Dice) {
        let tool = ["read", "forbidden"][dice.throw(2) as usize];
        let party = support::local();
        let asked = call(tool, PARAMETERS);
        if let Ok(pending) = self.acme().authorize(&asked, &party)
            && let Decided::Allowed(permit) = pending.wait().unwrap()
        {
            self.open.push(permit);
        }
    }

    fn end_one(&mut self, dice: &mut Dice) {
        if self.open.is_empty() {
            return;
        }
        let permit = self
            .open
            .swap_remove(dice.throw(self.open.len() as u64) as usize);
        let status = [OutcomeStatus::Succeeded, OutcomeStatus::Failed][dice.throw(2) as usize];
        let result = Some(RESULT);
        let ended = permit.complete(Completion { status, result });
        if let Ok(Some(envelope)) = ended.unwrap().wait() {
            self.sent.push(envelope);
        }
    }

    fn step_clock(&mut self, dice: &mut Dice) {
        self.clock = match dice.throw(3) {
            0 => self.clock.saturating_sub(dice.throw(40_000)),
            1 => self.clock + dice.throw(40_000),
            _ => self.clock + 1,
        };
        self.world.clock.set(self.clock);
    }

    /// Seals and publishes: whatever is sealed is in the log at once.
    fn seal(&mut self) {
        let enforcer = self.acme().clone();
        Sealer::new(enforcer).unwrap().seal().unwrap();
        self.publish();
    }

    /// The log takes what follows, and only that.
    fn publish(&mut self) {
        for journal in self.home.journals() {
            let reader = JournalReader::open(&journal).unwrap();
            let kid = reader.identity().unwrap().kid;
            let stream = self.log.entry(kid).or_default();
            let known = stream.commitments.len() as u64;
            for batch in reader.batches(BatchNumber::new(known), 1000).unwrap() {
                let records = reader.records(batch.first, batch.count).unwrap();
                stream
                    .records
                    .extend(records.into_iter().map(|(_, bytes)| bytes));
                stream.commitments.push(batch.commitment);
            }
        }
    }

    /// Nobody ends the calls that are open: the process is gone.
    fn stop(&mut self, in_order: bool) {
        for permit in self.open.drain(..) {
            if in_order {
                drop(permit);
            } else {
                std::mem::forget(permit);
            }
        }
        self.acme.take().unwrap().close().unwrap();
    }

    fn restart(&mut self) {
        self.stop(true);
        self.start();
    }

    fn crash(&mut self) {
        self.stop(false);
        self.start();
    }

    /// Starts as the gateway does: the file, then the log, then the counterparty; a stream that one
    /// of them knows more of is not continued.
    fn start(&mut self) {
        if self.may_continue() {
            self.acme = Some(self.home.open(&self.world).unwrap());
        } else {
            self.rotations[1] += 1;
            self.publish();
            self.home.rotate(&self.world, None);
            self.acme = Some(self.home.open(&self.world).unwrap());
        }
    }

    fn may_continue(&self) -> bool {
        let enforcer = match self.home.open_unasked(&self.world) {
            Ok(enforcer) => enforcer,
            Err(error) => {
                assert_eq!(error.code(), "journal_copied", "{error}");
                return false;
            }
        };
        let reader = JournalReader::open(&self.home.journal()).unwrap();
        let logged = self.log.get(&enforcer.kid());
        let logged = LoggedStream {
            operator: ACME.to_owned(),
            batches: logged.map_or(0, |stream| stream.commitments.len() as u64),
            records: logged.map_or(0, |stream| stream.records.len() as u64),
            last_commitment: logged
                .and_then(|stream| stream.commitments.last())
                .map(|bytes| CommitmentDigest::of(bytes).to_string()),
            last_index: None,
        };
        let log_agrees = compare_with_log(&reader, &logged).unwrap().is_none();
        let heads = self.globex.channel_heads(&name(ACME)).unwrap();
        let globex_agrees = heads
            .received
            .into_iter()
            .filter(|head| head.stream == enforcer.kid())
            .all(|head| enforcer.has_sent(&name(GLOBEX), head));
        enforcer.close().unwrap();
        log_agrees && globex_agrees
    }

    fn rotate_in_order(&mut self) {
        let enforcer = self.acme.clone().unwrap();
        for permit in self.open.drain(..) {
            drop(permit);
        }
        self.rotations[0] += 1;
        self.home.rotate(&self.world, Some(enforcer));
        self.publish();
        self.backups.clear();
        self.acme = Some(self.home.open(&self.world).unwrap());
    }

    fn back_up(&mut self) {
        self.stop(true);
        let folder = format!("backup-{}-{}", self.home.keys.len(), self.trail.len());
        let folder = self.world.directory.path().join(folder);
        self.home.back_up(&folder);
        self.backups.push(folder);
        self.start();
    }

    /// A backup of the journal and its mark is put back, into the old files or into new ones.
    fn restore(&mut self, dice: &mut Dice, in_place: bool) {
        if self.backups.is_empty() {
            return;
        }
        self.stop(false);
        let index = dice.throw(self.backups.len() as u64) as usize;
        self.home.restore(&self.backups[index], in_place);
        let keys = self.home.keys.len();
        self.start();
        if self.home.keys.len() != keys {
            // Those were of a stream that has been left.
            self.backups.clear();
        } else if in_place {
            // Nobody noticed, so nobody has what was lost; what was on its way is gone too.
            self.sent.clear();
        }
    }

    /// Everything that anybody can hold of acme: what the log has, what globex received or was sent,
    /// and what acme's own journals hold.
    fn check(&self, seed: u64) {
        let keys: BTreeMap<KeyThumbprint, PublicKey> = self
            .home
            .keys
            .iter()
            .map(|key| (key.public().thumbprint(), key.public().clone()))
            .collect();
        let mut records: Vec<Vec<u8>> = Vec::new();
        let received = JournalReader::open(&self.world.journal(GLOBEX)).unwrap();
        let received = received.received(0, 100_000).unwrap();
        records.extend(received.into_iter().map(|row| row.bytes));
        for envelope in &self.sent {
            records.extend(envelope.records.iter().map(|bytes| bytes.to_vec()));
        }
        for stream in self.log.values() {
            records.extend(stream.records.iter().cloned());
        }
        for journal in self.home.journals() {
            let reader = JournalReader::open(&journal).unwrap();
            let rows = reader.records(Sequence::new(0), 100_000).unwrap();
            records.extend(rows.into_iter().map(|(_, bytes)| bytes));
        }
        let mut detector = Detector::new(name(ACME));
        let mut findings: Vec<Finding<usize>> = Vec::new();
        for bytes in self.asked.iter().flat_map(|envelope| &envelope.records) {
            if let Some((id, record)) = as_request(bytes) {
                findings.extend(detector.request(&usize::MAX, id, &record));
            }
        }
        for (token, bytes) in records.iter().enumerate() {
            let record = UnverifiedRecord::parse(bytes).unwrap();
            let key = &keys[&record.kid()];
            let record = record.verify(key).unwrap();
            findings.extend(detector.record(&token, &record, bytes));
        }
        for stream in self.log.values() {
            let mut covered = stream.records.iter();
            for (token, bytes) in stream.commitments.iter().enumerate() {
                let commitment = UnverifiedCommitment::parse(bytes).unwrap();
                let key = &keys[&commitment.kid()];
                let commitment = commitment.verify(key).unwrap();
                findings.extend(detector.commitment(&token, &commitment));
                let content = commitment.commitment();
                let batch: Vec<&Vec<u8>> = covered.by_ref().take(content.count as usize).collect();
                let tree = counterfoil_protocol::batch::BatchTree::build(
                    batch.iter().map(|bytes| bytes.as_slice()),
                )
                .unwrap();
                for (index, bytes) in (0_u64..).zip(&batch) {
                    let sequence = Sequence::new(content.first.get() + index);
                    let path = tree.path(index).unwrap();
                    let leaf = leaf_hash(bytes);
                    findings.extend(detector.path(&token, &commitment, sequence, leaf, &path));
                }
            }
        }
        assert!(
            findings.is_empty(),
            "seed {seed}, acts {}: {findings:?}",
            self.trail.join(" ")
        );
    }
}

fn succeeded() -> Completion<'static> {
    Completion {
        status: OutcomeStatus::Succeeded,
        result: Some(RESULT),
    }
}

#[test]
fn whatever_happens_to_an_honest_operator_it_is_not_convicted() {
    let mut rotations = [0; 2];
    let mut crowded = 0;
    for seed in 1..=SEEDS {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut run = Run::new();
        for _ in 0..ACTS {
            run.act(&mut dice);
        }
        run.seal();
        run.check(seed);
        rotations[0] += run.rotations[0];
        rotations[1] += run.rotations[1];
        crowded += run.crowded;
    }
    // The test has tried what it is about.
    assert!(rotations.iter().all(|count| *count >= 8), "{rotations:?}");
    assert!(crowded >= 8, "{crowded}");
}

/// A request that was denied because too much waits is decided: it is not decided again after a
/// crash or a rotation, whether or not it could be taken in.
#[test]
fn a_request_denied_outside_of_the_channel_is_not_decided_again() {
    for taken_in in [true, false] {
        let mut run = Run::new();
        run.crowd();
        run.ask_acme();
        let whole = run.ask_acme();
        let mut envelope = whole.clone();
        if !taken_in {
            envelope.records.drain(..envelope.records.len() - 1);
        }
        let request = UnverifiedRecord::parse(envelope.records.last().unwrap());
        let request = request.unwrap().id();
        let (reason, about) = run.deny(&envelope);
        assert_eq!(reason, "channel_unacknowledged");
        assert_eq!(about, Some(request));
        for interrupt in [Run::restart, Run::crash, Run::rotate_in_order] {
            interrupt(&mut run);
            assert_eq!(run.deny(&envelope).1, None);
        }
        // It was not crowded any more, and no better for what was missing.
        assert_eq!(run.deny(&whole), ("request_replayed".to_owned(), None));
        run.crash();
        assert_eq!(run.deny(&whole), ("request_replayed".to_owned(), None));
        run.seal();
        run.check(0);
    }
}

/// The same evidence convicts one that goes on with a restored journal: the test above can fail.
#[test]
fn whoever_goes_on_with_a_restored_journal_is_convicted() {
    let mut run = Run::new();
    let mut dice = Dice(7);
    run.back_up();
    for _ in 0..4 {
        run.local(&mut dice);
    }
    run.seal();
    run.stop(true);
    let backup = run.backups[0].clone();
    run.home.restore(&backup, true);
    assert!(!run.may_continue());
    // It does so all the same.
    run.acme = Some(run.home.open(&run.world).unwrap());
    run.ask(&mut Dice(1));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.check(0)));
    let caught = caught.unwrap_err();
    let text = caught.downcast_ref::<String>().unwrap();
    assert!(text.contains("StreamFork"), "{text}");
}

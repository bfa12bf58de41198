//! Contract files: how far a contract has come, and what does not belong in its file.

use counterfoil_protocol::FailureCode::{
    self, CborTrailingBytes, ContractMismatch, DisclosureMismatch, KeyRevoked, LevelNotReached,
    NameInvalid, OperatorUnknown, SignatureInvalid, StructureMissingField, StructureOutOfRange,
};
use counterfoil_protocol::contract::{
    ContractFile, ContractReport, ContractState, ContractStepName, verify_contract,
};
use counterfoil_protocol::digest::{ContentDigest, RecordId, Salt};
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::record::{ChannelEvent, Record};
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::StepOutcome;

use super::operators::{DAY, LOGS, Operator, START, Two, acknowledging, reason, says, terms};

/// The records that make and end a contract, before they are put in a file.
struct Story {
    two: Two,
    file: ContractFile,
    contract: ContentDigest,
    proposal: Record,
    acceptance: Record,
}

impl Story {
    /// Acme proposes, globex accepts.
    fn new() -> Self {
        let two = Two::new();
        let disclosure = terms().disclosure(Salt::from_bytes([1; 16]));
        let contract = disclosure.digest();
        let proposed = ChannelEvent::ContractProposed { contract };
        let proposal = says(&two.globex, 3, START + 1, proposed);
        let accepted = ChannelEvent::ContractAccepted {
            contract,
            proposal: two.acme.id(&proposal),
        };
        let acceptance = says(&two.acme, 2, START + 2, accepted);
        let file = ContractFile {
            terms: disclosure,
            proposal: two.acme.receipt(&proposal).encode(),
            acceptance: Some(two.globex.receipt(&acceptance).encode()),
            end: None,
        };
        Self {
            two,
            file,
            contract,
            proposal,
            acceptance,
        }
    }

    fn ends(&self, by: &Operator, to: &Operator, sequence: u64, time: u64) -> Vec<u8> {
        let ended = ChannelEvent::ContractEnded {
            contract: self.contract,
            reason: reason(),
        };
        by.receipt(&says(to, sequence, time, ended)).encode()
    }

    fn verify(&self) -> ContractReport {
        verify_contract(&self.file.encode(), &self.two.trust, Level::Signed)
    }

    fn refused(&self, code: FailureCode, step: ContractStepName) {
        let report = self.verify();
        assert!(!report.is_verified());
        let failure = report.failure.unwrap();
        assert_eq!(failure.code(), code, "{failure}");
        let last = report.steps.last().unwrap();
        assert_eq!((last.name, last.outcome), (step, StepOutcome::Failed));
        assert_eq!(report.state, None);
    }
}

#[test]
fn a_contract_is_proposed_accepted_and_ended() {
    let mut story = Story::new();
    let accepted = story.verify();
    assert!(accepted.is_verified(), "{:?}", accepted.failure);
    assert_eq!(accepted.state, Some(ContractState::Accepted));
    assert_eq!(accepted.digest, Some(story.contract));
    assert_eq!(accepted.terms.as_ref().unwrap(), &terms());
    let millis = |time| UnixMillis::new(START + time);
    assert_eq!(accepted.in_force(), Some((millis(2), millis(30 * DAY))));
    assert_eq!(accepted.agreed(), (None, None));
    let numbers: Vec<u8> = accepted
        .steps
        .iter()
        .map(|step| step.name.number())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);

    story.file.end = Some(story.ends(&story.two.globex, &story.two.acme, 5, START + 9));
    let ended = story.verify();
    assert_eq!(ended.state, Some(ContractState::Ended));
    assert_eq!(ended.in_force(), Some((millis(2), millis(DAY + 9))));
    let late = story.ends(&story.two.globex, &story.two.acme, 5, START + 40 * DAY);
    story.file.end = Some(late);
    assert_eq!(
        story.verify().in_force(),
        Some((millis(2), millis(30 * DAY)))
    );

    story.file.acceptance = None;
    let taken_back = story.verify();
    assert_eq!(taken_back.state, Some(ContractState::Ended));
    assert_eq!(taken_back.in_force(), None);

    story.file.end = None;
    let proposed = story.verify();
    assert_eq!(proposed.state, Some(ContractState::Proposed));
    assert_eq!(proposed.in_force(), None);
    assert_eq!(
        ContractFile::parse(&story.file.encode()).unwrap(),
        story.file
    );
}

#[test]
fn either_side_may_propose() {
    let mut story = Story::new();
    let contract = story.contract;
    let proposal = says(
        &story.two.acme,
        1,
        START,
        ChannelEvent::ContractProposed { contract },
    );
    let accepted = ChannelEvent::ContractAccepted {
        contract,
        proposal: story.two.globex.id(&proposal),
    };
    let acceptance = says(&story.two.globex, 1, START, accepted);
    story.file.proposal = story.two.globex.receipt(&proposal).encode();
    story.file.acceptance = Some(story.two.acme.receipt(&acceptance).encode());
    assert_eq!(story.verify().state, Some(ContractState::Accepted));
}

#[test]
fn a_file_that_is_none_is_refused() {
    let trust = Two::new().trust;
    let code = |bytes: &[u8]| {
        let report = verify_contract(bytes, &trust, Level::Signed);
        assert!(!report.is_verified());
        report.failure.unwrap().code()
    };
    let good = Story::new().file;
    let mut long = good.encode();
    long.push(0);
    assert_eq!(code(&long), CborTrailingBytes);
    assert_eq!(code(&[0xa0]), StructureMissingField);
    let mut other_field = good.clone();
    other_field.terms.field = DisclosedField::Parameters;
    assert_eq!(code(&other_field.encode()), StructureOutOfRange);
    let mut other_format = good.encode();
    let end = other_format
        .windows(2)
        .position(|pair| pair == b"v1")
        .unwrap();
    other_format[end + 1] = b'2';
    assert_eq!(code(&other_format), StructureOutOfRange);
}

#[test]
fn terms_must_parse_and_be_those_proposed() {
    let mut story = Story::new();
    story.file.terms.salt = Salt::from_bytes([2; 16]);
    story.refused(DisclosureMismatch, ContractStepName::Proposal);

    let mut story = Story::new();
    let name = b"acme.example";
    let at = story
        .file
        .terms
        .content
        .windows(12)
        .position(|part| part == name)
        .unwrap();
    story.file.terms.content[at] = b'A';
    story.refused(NameInvalid, ContractStepName::Terms);
    story.file.terms.content[at] = b'b';
    story.refused(ContractMismatch, ContractStepName::Proposal);
}

#[test]
fn the_receipts_must_verify() {
    let mut story = Story::new();
    let end = story.file.proposal.len();
    let mut receipt = story.two.acme.receipt(&story.proposal);
    *receipt.record.last_mut().unwrap() ^= 1;
    story.file.proposal = receipt.encode();
    assert_eq!(story.file.proposal.len(), end);
    story.refused(SignatureInvalid, ContractStepName::Proposal);

    let mut story = Story::new();
    let mut receipt = story.two.globex.receipt(&story.acceptance);
    receipt.manifests = vec![story.two.globex.manifest(true)];
    story.file.acceptance = Some(receipt.encode());
    story.refused(KeyRevoked, ContractStepName::Acceptance);

    let story = Story::new();
    let nobody = Trust::parse(LOGS.as_bytes()).unwrap();
    let report = verify_contract(&story.file.encode(), &nobody, Level::Signed);
    assert_eq!(report.failure.unwrap().code(), OperatorUnknown);
    let report = verify_contract(&story.file.encode(), &story.two.trust, Level::Logged);
    assert_eq!(report.failure.unwrap().code(), LevelNotReached);
}

#[test]
fn the_records_must_be_the_ones_that_make_a_contract() {
    use ContractStepName::{Acceptance, End, Proposal};
    let contract = Story::new().contract;
    let acme = |story: &Story, record: &Record| story.two.acme.receipt(record).encode();
    let globex = |story: &Story, record: &Record| story.two.globex.receipt(record).encode();

    let mut story = Story::new();
    story.file.proposal = story.file.acceptance.clone().unwrap();
    story.refused(ContractMismatch, Proposal);

    // To somebody else.
    let mut story = Story::new();
    let to_self = says(
        &story.two.acme,
        3,
        START,
        ChannelEvent::ContractProposed { contract },
    );
    story.file.proposal = acme(&story, &to_self);
    story.refused(ContractMismatch, Proposal);

    // An acceptance of another proposal, by the proposer, and something that is none.
    let mut story = Story::new();
    let accepted = |id| ChannelEvent::ContractAccepted {
        contract,
        proposal: id,
    };
    let other = accepted(RecordId::from_bytes([5; 32]));
    story.file.acceptance = Some(globex(&story, &says(&story.two.acme, 2, START, other)));
    story.refused(ContractMismatch, Acceptance);
    let own = accepted(story.two.acme.id(&story.proposal));
    story.file.acceptance = Some(acme(&story, &says(&story.two.globex, 9, START, own)));
    story.refused(ContractMismatch, Acceptance);
    let ended = ChannelEvent::ContractEnded {
        contract,
        reason: reason(),
    };
    story.file.acceptance = Some(globex(&story, &says(&story.two.acme, 2, START, ended)));
    story.refused(ContractMismatch, Acceptance);
    let denied = ChannelEvent::RecordDenied {
        record: RecordId::from_bytes([5; 32]),
        reason: reason(),
    };
    story.file.acceptance = Some(globex(&story, &says(&story.two.acme, 2, START, denied)));
    story.refused(ContractMismatch, Acceptance);

    // An acceptance of other terms.
    let mut story = Story::new();
    let other = ChannelEvent::ContractAccepted {
        contract: ContentDigest::of(b"other terms"),
        proposal: story.two.acme.id(&story.proposal),
    };
    story.file.acceptance = Some(globex(&story, &says(&story.two.acme, 2, START, other)));
    story.refused(DisclosureMismatch, Acceptance);

    // An end that is none, and one that comes first.
    let mut story = Story::new();
    story.file.end = story.file.acceptance.clone();
    story.refused(ContractMismatch, End);
    story.file.end = Some(story.ends(&story.two.acme, &story.two.globex, 2, START + 9));
    story.refused(ContractMismatch, End);
    story.file.end = Some(story.ends(&story.two.globex, &story.two.acme, 1, START + 9));
    story.refused(ContractMismatch, End);
}

#[test]
fn what_is_known_to_be_taken_back_cannot_be_accepted() {
    let mut story = Story::new();
    story.file.end = Some(story.ends(&story.two.acme, &story.two.globex, 4, START + 1));
    let acceptance = acknowledging(story.acceptance.clone(), &story.two.acme, 4);
    story.file.acceptance = Some(story.two.globex.receipt(&acceptance).encode());
    story.refused(ContractMismatch, ContractStepName::End);

    // Whoever did not know accepts, and the notice runs.
    let acceptance = acknowledging(story.acceptance.clone(), &story.two.acme, 3);
    story.file.acceptance = Some(story.two.globex.receipt(&acceptance).encode());
    let report = story.verify();
    assert_eq!(report.state, Some(ContractState::Ended));
    let millis = |time| UnixMillis::new(START + time);
    assert_eq!(report.in_force(), Some((millis(2), millis(DAY + 1))));
}

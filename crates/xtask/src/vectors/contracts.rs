//! Contract files: proposed, accepted, ended, and every way in which their parts do not fit.

use anyhow::{Context as _, Result};
use ciborium::Value;
use counterfoil_protocol::contract::ContractFile;
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::failure::FailureCode::{
    self, CborTrailingBytes, ContractMismatch, DisclosureMismatch, LevelNotReached,
    OperatorUnknown, SignatureInvalid, StructureMissingField, StructureOutOfRange,
    StructureUnknownField,
};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};

use super::Case;
use super::edit::{Entries, edited, remove, set};
use crate::world::{Stream, World, keys, record};

const OBJECT: &str = "contract";

const TRUST: &str = "trust/both-witnesses";

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let ended = file(world)?;
    let digest = world.agreement.disclosure.digest();
    let accepted = ContractFile {
        end: None,
        ..ended.clone()
    };
    let proposed = ContractFile {
        acceptance: None,
        ..accepted.clone()
    };
    let withdrawn = ContractFile {
        acceptance: None,
        ..ended.clone()
    };
    let mut cases = Vec::new();
    for (name, state, comment, file) in [
        ("proposed", "proposed", "one side has spoken", &proposed),
        ("accepted", "accepted", "both sides agree", &accepted),
        ("ended", "ended", "one side has ended it", &ended),
        (
            "withdrawn",
            "ended",
            "the proposal is taken back",
            &withdrawn,
        ),
    ] {
        cases.push(
            Case::success(OBJECT, name, comment, file.encode())
                .with("trust", TRUST)
                .with("require", "signed")
                .with("digest", digest)
                .with("state", state),
        );
    }
    cases.extend(form_faults(&ended)?);
    cases.extend(record_faults(world, &ended)?);
    Ok(cases)
}

fn bad(name: &str, step: &str, code: FailureCode, comment: &str, file: Vec<u8>) -> Case {
    Case::refused(OBJECT, name, code, comment, file)
        .with("step", step)
        .with("trust", TRUST)
        .with("require", "signed")
}

/// The contract of the world, with its end.
pub(super) fn file(world: &World) -> Result<ContractFile> {
    let agreement = &world.agreement;
    Ok(ContractFile {
        terms: agreement.disclosure.clone(),
        proposal: receipt(world, &agreement.acme, 1)?,
        acceptance: Some(receipt(world, &agreement.globex, 1)?),
        end: Some(receipt(world, &agreement.acme, 3)?),
    })
}

/// The signed receipt of a record of one of the streams in which the contract was made.
fn receipt(world: &World, stream: &Stream, sequence: u64) -> Result<Vec<u8>> {
    let manifest = if stream.operator == world.acme.name {
        world.acme_manifests.first().context("no manifest")?
    } else {
        &world.globex_manifest
    };
    Ok(signed(&record(stream, sequence)?.bytes, &manifest.bytes).encode())
}

/// A receipt of nothing but a record and a manifest.
pub(super) fn signed(record: &[u8], manifest: &[u8]) -> Receipt {
    Receipt {
        record: record.to_vec(),
        manifests: vec![LoggedManifest {
            manifest: manifest.to_vec(),
            log_proof: None,
        }],
        batch: None,
        log_proof: None,
        beacon: None,
        disclosures: Vec::new(),
        presentation: None,
    }
}

fn form_faults(file: &ContractFile) -> Result<Vec<Case>> {
    let encoded = file.encode();
    let edit = |spoil: &dyn Fn(&mut Entries)| edited(&encoded, spoil);
    let mut wrong_field = file.clone();
    wrong_field.terms.field = DisclosedField::Parameters;
    let mut terms_version = file.clone();
    terms_version.terms.content = edited(&file.terms.content, |t| {
        set(t, 1, "counterfoil/contract/v2");
    })?;
    let mut terms_field = file.clone();
    terms_field.terms.content = edited(&file.terms.content, |t| set(t, 15, 1))?;
    let mut terms_missing = file.clone();
    terms_missing.terms.content = edited(&file.terms.content, |t| remove(t, 14))?;
    let mut terms_same = file.clone();
    terms_same.terms.content = edited(&file.terms.content, |t| set(t, 3, "acme.example"))?;
    Ok(vec![
        bad(
            "trailing-byte",
            "file",
            CborTrailingBytes,
            "a byte after the file",
            [encoded.as_slice(), &[0]].concat(),
        ),
        bad(
            "format-other",
            "file",
            StructureOutOfRange,
            "version 2",
            edit(&|f| set(f, 1, "counterfoil/contract-file/v2"))?,
        ),
        bad(
            "proposal-missing",
            "file",
            StructureMissingField,
            "no field 3",
            edit(&|f| remove(f, 3))?,
        ),
        bad(
            "field-unknown",
            "file",
            StructureUnknownField,
            "field 6",
            edit(&|f| set(f, 6, Value::Null))?,
        ),
        bad(
            "terms-another-disclosure",
            "file",
            StructureOutOfRange,
            "the disclosure of parameters",
            wrong_field.encode(),
        ),
        bad(
            "terms-format-other",
            "terms",
            StructureOutOfRange,
            "terms of version 2",
            terms_version.encode(),
        ),
        bad(
            "terms-field-unknown",
            "terms",
            StructureUnknownField,
            "field 15",
            terms_field.encode(),
        ),
        bad(
            "terms-without-notice",
            "terms",
            StructureMissingField,
            "no field 14",
            terms_missing.encode(),
        ),
        bad(
            "terms-with-itself",
            "terms",
            StructureOutOfRange,
            "one operator on both sides",
            terms_same.encode(),
        ),
    ])
}

fn record_faults(world: &World, file: &ContractFile) -> Result<Vec<Case>> {
    let agreement = &world.agreement;
    let acceptance = file.acceptance.clone().context("no acceptance")?;
    let end = file.end.clone().context("no end")?;
    let statement = receipt(world, &agreement.acme, 2)?;
    let changed = |change: &dyn Fn(&mut ContractFile)| {
        let mut file = file.clone();
        change(&mut file);
        file.encode()
    };
    let request = record(&world.acme_stream, 2)?;
    let manifest = &world.acme_manifests.first().context("no manifest")?.bytes;
    let mut flipped = file.proposal.clone();
    let record = &super::super::world::record(&agreement.acme, 1)?.bytes;
    let at = flipped
        .windows(record.len())
        .position(|window| window == record.as_slice())
        .context("no record in its receipt")?;
    if let Some(byte) = flipped.get_mut(at + record.len() - 1) {
        *byte ^= 1;
    }
    Ok(vec![
        bad(
            "terms-other-salt",
            "proposal",
            DisclosureMismatch,
            "the same terms with another salt",
            changed(&|f| f.terms.salt = keys::salt("another salt")),
        ),
        bad(
            "proposal-signature-flipped",
            "proposal",
            SignatureInvalid,
            "one bit of the record's signature",
            changed(&|f| f.proposal.clone_from(&flipped)),
        ),
        bad(
            "proposal-is-a-request",
            "proposal",
            ContractMismatch,
            "a call under the contract",
            changed(&|f| f.proposal = signed(&request.bytes, manifest).encode()),
        ),
        bad(
            "proposal-is-a-statement",
            "proposal",
            ContractMismatch,
            "a record of the channel that is about no contract",
            changed(&|f| f.proposal.clone_from(&statement)),
        ),
        bad(
            "proposal-is-an-acceptance",
            "proposal",
            ContractMismatch,
            "the acceptance in its place",
            changed(&|f| f.proposal.clone_from(&acceptance)),
        ),
        bad(
            "acceptance-is-the-proposal",
            "acceptance",
            ContractMismatch,
            "the proposal in its place",
            changed(&|f| f.acceptance = Some(f.proposal.clone())),
        ),
        bad(
            "end-is-the-acceptance",
            "end",
            ContractMismatch,
            "the acceptance in its place",
            changed(&|f| f.end = Some(acceptance.clone())),
        ),
        bad(
            "acceptance-is-the-end",
            "acceptance",
            ContractMismatch,
            "the end in its place",
            changed(&|f| f.acceptance = Some(end.clone())),
        ),
        bad(
            "operator-unknown",
            "proposal",
            OperatorUnknown,
            "the trust file names globex only",
            file.encode(),
        )
        .replacing("trust", "trust/only-globex"),
        bad(
            "level-signed-only",
            "proposal",
            LevelNotReached,
            "signed, committed was asked for",
            file.encode(),
        )
        .replacing("require", "committed"),
    ])
}

//! What the Rust verifier answers to a case, in the form of `tests/second-verifier/answers.py`.

use std::collections::BTreeMap;

use counterfoil_protocol::Failure;
use counterfoil_protocol::bundle::Verifier;
use counterfoil_protocol::cbor::{self, Limits};
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::contract::verify_contract;
use counterfoil_protocol::fault::verify_fault;
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::manifest::{UnverifiedManifest, VerifiedManifest};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_protocol::stock::{CoseReceipt, TransparentStatement};
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::{Audience, Level, Request, verify};
use counterfoil_tlog::checkpoint::Checkpoint;
use counterfoil_tlog::note::{Note, VerifierKey};
use counterfoil_tlog::tile::ResourcePath;
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::leaf_hash;
use counterfoil_tlog::witness::AddCheckpoint;
use xtask::vectors::conversation;

use super::cases::{Case, Seeds};

type Facts = Vec<(&'static str, String)>;
/// Facts of what was accepted, or the code and perhaps the step of a refusal.
type Outcome = Result<Facts, (String, Option<&'static str>)>;

/// Answers cases; what several need is read once.
pub(crate) struct Ours<'a> {
    seeds: &'a Seeds,
    trusts: BTreeMap<String, Trust>,
}

fn code(failure: Failure) -> (String, Option<&'static str>) {
    (failure.code().to_string(), None)
}

impl<'a> Ours<'a> {
    pub(crate) fn new(seeds: &'a Seeds) -> Self {
        let trusts = seeds
            .all()
            .filter(|(_, case)| case.get("object") == "trust" && case.get("expect") == "success")
            .map(|(name, case)| (name.to_owned(), Trust::parse(&case.body).unwrap()))
            .collect();
        Self { seeds, trusts }
    }

    /// `success` or `failure`, and what was found.
    pub(crate) fn answer(&self, case: &Case) -> String {
        if case.get("object") == conversation::OBJECT {
            return conversation::answer(&case.body).unwrap();
        }
        let (word, facts) = match self.outcome(case) {
            Ok(facts) => ("success", facts),
            Err((code, step)) => {
                let step = step.map(|step| ("step", step.to_owned()));
                (
                    "failure",
                    [("code", code)].into_iter().chain(step).collect(),
                )
            }
        };
        facts.iter().fold(word.to_owned(), |answer, (name, value)| {
            format!("{answer} {name}={value}")
        })
    }

    fn outcome(&self, case: &Case) -> Outcome {
        match case.get("object") {
            "cbor" => check_cbor(case),
            "record" => record(case),
            "commitment" => commitment(case),
            "manifest" => self
                .manifest(case)
                .map(|manifest| vec![("digest", manifest.digest().to_string())])
                .map_err(code),
            "trust" => Trust::parse(&case.body).map(|_| Vec::new()).map_err(code),
            "receipt" => self.receipt(case),
            "contract" => self.contract(case),
            "bundle" => self.bundle(case),
            "fault" => self.fault(case),
            "cose-receipt" => self.cose_receipt(case),
            "transparent-statement" => transparent_statement(case),
            "note" => note(case),
            "checkpoint" => {
                let text = std::str::from_utf8(&case.body).unwrap();
                let read = Checkpoint::parse(text);
                read.map(|_| Vec::new())
                    .map_err(|error| (error.code().to_owned(), None))
            }
            "tlog-proof" => self.tlog_proof(case),
            "add-checkpoint" => AddCheckpoint::parse(&case.body)
                .map(|_| Vec::new())
                .map_err(|error| (error.code().to_owned(), None)),
            "tile-path" => {
                let path = std::str::from_utf8(&case.body).unwrap();
                let read = ResourcePath::parse(path);
                read.map(|_| Vec::new())
                    .map_err(|error| (error.code().to_owned(), None))
            }
            other => panic!("object `{other}`"),
        }
    }

    fn trust(&self, case: &Case) -> &Trust {
        &self.trusts[case.get("trust")]
    }

    fn manifest(&self, case: &Case) -> Result<VerifiedManifest, Failure> {
        let manifest = UnverifiedManifest::parse(&case.body)?;
        match case.optional("before") {
            Some(before) => manifest.verify_next(&self.manifest(self.seeds.case(before)).unwrap()),
            None => {
                let trusted = PublicKey::from_bytes(&hex(case.get("trusted"))).unwrap();
                manifest.verify_first(|root| *root == trusted)
            }
        }
    }

    fn receipt(&self, case: &Case) -> Outcome {
        let audience: Option<OperatorName> =
            case.optional("audience").map(|name| name.parse().unwrap());
        let request = Request {
            level: required(case),
            audience: match (&audience, case.optional("presented")) {
                (None, _) => Audience::Unnamed,
                (Some(name), None) => Audience::Named(name),
                (Some(name), Some(_)) => Audience::Presented(name),
            },
        };
        let report = verify(&case.body, self.trust(case), request);
        if let Some(failure) = report.failure {
            let step = report.steps.last().map(|step| step.name.as_str());
            return Err((failure.code().to_string(), step));
        }
        let mut facts = vec![("level", report.level.unwrap().to_string())];
        let numbers = [
            ("not-before", report.not_before.map(|time| time.get())),
            ("not-after", report.not_after.map(|time| time.get())),
            ("keys-known-to", report.keys_known_to_size),
        ];
        for (name, value) in numbers {
            facts.extend(value.map(|value| (name, value.to_string())));
        }
        let within = report.time_within_bounds;
        facts.extend(within.map(|within| ("time-within-bounds", within.to_string())));
        Ok(facts)
    }

    fn contract(&self, case: &Case) -> Outcome {
        let report = verify_contract(&case.body, self.trust(case), required(case));
        if let Some(failure) = report.failure {
            let step = report.steps.last().map(|step| step.name.as_str());
            return Err((failure.code().to_string(), step));
        }
        Ok(vec![
            ("digest", report.digest.unwrap().to_string()),
            ("state", report.state.unwrap().as_str().to_owned()),
        ])
    }

    fn bundle(&self, case: &Case) -> Outcome {
        let verifier = Verifier::new(self.trust(case), required(case));
        let summary = verifier.run(case.body.chunks(1024), |_, _| {});
        match summary.failure() {
            Some(failure) => Err((failure.code().to_string(), None)),
            None => Ok(vec![("records", summary.records.to_string())]),
        }
    }

    fn fault(&self, case: &Case) -> Outcome {
        let report = verify_fault(&case.body, self.trust(case));
        if let Some(failure) = &report.failure {
            let step = report.steps.last().map(|step| step.name.as_str());
            return Err((failure.code().to_string(), step));
        }
        Ok(vec![
            ("kind", report.kind.unwrap().to_string()),
            ("accused", report.accused.clone().unwrap().to_string()),
        ])
    }

    fn cose_receipt(&self, case: &Case) -> Outcome {
        let entry = &self.seeds.case(case.get("entry")).body;
        let receipt = CoseReceipt::parse(&case.body, entry).map_err(code)?;
        receipt.verify(&key(case)).map_err(code)?;
        Ok(vec![("root", receipt.root().to_string())])
    }

    fn tlog_proof(&self, case: &Case) -> Outcome {
        let entry = &self.seeds.case(case.get("entry")).body;
        let policy = self.trust(case).policy();
        let proof =
            TlogProof::parse(&case.body).map_err(|error| (error.code().to_owned(), None))?;
        proof
            .verify(&leaf_hash(entry), policy)
            .map(|_| Vec::new())
            .map_err(|error| (error.code().to_owned(), None))
    }
}

fn required(case: &Case) -> Level {
    let named = |level: &Level| level.as_str() == case.get("require");
    Level::ALL.into_iter().find(named).unwrap()
}

fn key(case: &Case) -> PublicKey {
    PublicKey::from_bytes(&hex(case.get("key"))).unwrap()
}

fn check_cbor(case: &Case) -> Outcome {
    let limits = Limits {
        tags: &[18],
        ..Limits::untagged(65_535)
    };
    cbor::check(&case.body, &limits).map_err(code)?;
    Ok(Vec::new())
}

fn record(case: &Case) -> Outcome {
    let record = UnverifiedRecord::parse(&case.body).map_err(code)?;
    let verified = record.verify(&key(case)).map_err(code)?;
    Ok(vec![("id", verified.id().to_string())])
}

fn commitment(case: &Case) -> Outcome {
    let commitment = UnverifiedCommitment::parse(&case.body).map_err(code)?;
    let verified = commitment.verify(&key(case)).map_err(code)?;
    Ok(vec![("digest", verified.digest().to_string())])
}

fn transparent_statement(case: &Case) -> Outcome {
    let transparent = TransparentStatement::parse(&case.body).map_err(code)?;
    Ok(vec![
        ("receipts", transparent.receipts.len().to_string()),
        ("leaf", leaf_hash(&transparent.statement).to_string()),
    ])
}

fn note(case: &Case) -> Outcome {
    let note = Note::parse(&case.body).map_err(|error| (error.code().to_owned(), None))?;
    let known =
        [case.get("key"), case.get("witness-key")].map(|key| VerifierKey::parse(key).unwrap());
    note.verify(&known)
        .map_err(|error| (error.code().to_owned(), None))?;
    Ok(Vec::new())
}

fn hex<const N: usize>(digits: &str) -> [u8; N] {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes.try_into().unwrap()
}

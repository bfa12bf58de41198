//! `counterfoil receipt export`: a receipt for those who verify COSE receipts or SCITT statements.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use counterfoil_durable::file::{self, Access};
use counterfoil_gateway::home::{Home, read_key};
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::receipt::{BatchPart, Receipt};
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_protocol::stock::{Algorithm, CoseReceipt, TransparentStatement};
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::{Level, verify};
use counterfoil_tlog::policy::PolicyLog;
use counterfoil_tlog::tlog_proof::TlogProof;
use serde_json::json;

use crate::answer::{Answer, Exit, OrProblem as _, Problem};
use crate::commands::verify::read_trust;
use crate::log_client::LogClient;
use crate::{explain, home, serve};

/// Export a receipt for those who verify COSE receipts (RFC 9942) or SCITT statements (RFC 9943).
///
/// Two levels: the operator's receipt that the record stands in its batch, and the log's that the
/// batch stands in its tree. The receipt is verified first. The first level is made of the receipt
/// alone; for the second the log is asked to sign the root that its checkpoint has, and its answer
/// must be about that very root.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 exported, 1 the receipt is not verified, 2 wrong usage or input.

Examples:
  counterfoil receipt export 12.receipt --format rfc9942 --home acme --out stock
  counterfoil receipt export 12.receipt --format scitt --home acme --algorithm eddsa --out stock
  counterfoil receipt export 12.receipt --format rfc9942 --trust trust \\
    --log https://log.example --out stock
  counterfoil receipt export 12.receipt --format scitt --trust trust --offline --out stock")]
pub(crate) struct Export {
    /// The receipt; its batch must be logged, with --offline sealed.
    #[arg(value_name = "FILE")]
    receipt: PathBuf,
    /// What to write.
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// The folder to write to, one for each export.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Under which number the receipts name their algorithm. Old verifiers know only `eddsa`; the
    /// operator's receipt then is signed again, with the enforcer key of --home.
    #[arg(long, value_name = "ALGORITHM", default_value = "ed25519")]
    algorithm: AlgorithmName,
    /// Our home, which has a trust file and the address of a log.
    #[arg(long, value_name = "DIR", env = "COUNTERFOIL_HOME")]
    home: Option<PathBuf>,
    /// Whom to believe, instead of the home's trust file.
    #[arg(long, value_name = "FILE", env = "COUNTERFOIL_TRUST")]
    trust: Option<PathBuf>,
    /// Where the log of the receipt answers, instead of the home's.
    #[arg(long, value_name = "URL")]
    log: Option<String>,
    /// Ask no log: write the operator's receipt only.
    #[arg(long, conflicts_with = "log")]
    offline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Signed statements, and beside each the COSE receipt for it.
    Rfc9942,
    /// Transparent statements: each with its receipt inside.
    Scitt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AlgorithmName {
    /// Ed25519, -19: fully specified (RFC 9864).
    Ed25519,
    /// EdDSA, -8: deprecated, and what most verifiers know.
    Eddsa,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Ed25519 => Self::Ed25519,
            AlgorithmName::Eddsa => Self::EdDsa,
        }
    }
}

/// All names that an export gives to files.
const NAMES: [&str; 6] = [
    "record.cose",
    "record.receipt.cose",
    "commitment.cose",
    "commitment.receipt.cose",
    "enforcer.pem",
    "log.pem",
];

/// A signed statement, its receipt, and the key that verifies the receipt.
struct Leaf {
    name: &'static str,
    statement: Vec<u8>,
    receipt: CoseReceipt,
    key_file: &'static str,
    key: PublicKey,
}

pub(crate) fn run(command: &Export) -> Result<Answer, Problem> {
    let path = command.receipt.display();
    let own = command.home.as_ref().map(Home::new);
    let trust = match (&command.trust, &own) {
        (Some(path), _) => read_trust(path)?,
        (None, Some(own)) => home::trust(own)?,
        (None, None) => {
            return Err(Problem::new("no trust file to verify the receipt with")
                .next("give one with --trust, or a home with --home"));
        }
    };
    let mut receipt =
        Receipt::parse(&file::read(&command.receipt)?).at(format!("{path} is not a receipt"))?;
    // Whom it was shown to concerns none of what is exported.
    receipt.presentation = None;
    let required = if command.offline {
        Level::Committed
    } else {
        Level::Logged
    };
    let report = verify(&receipt.encode(), &trust, required);
    if !report.is_verified() {
        return Ok(Answer {
            json: explain::json(&report, required),
            text: format!("{path}\n{}\nnothing is exported\n", explain::text(&report)),
            exit: Exit::NotVerified,
        });
    }
    is_unused(&command.out)?;
    let incomplete = || Problem::new(format!("{path} has no batch"));
    let batch = receipt.batch.as_ref().ok_or_else(incomplete)?;
    let mut leaves = vec![of_operator(command, &receipt, batch, own.as_ref())?];
    if !command.offline {
        let proof = receipt.log_proof.as_deref().ok_or_else(incomplete)?;
        let proof = TlogProof::parse(proof)?;
        leaves.push(of_log(command, batch, &proof, &trust, own.as_ref())?);
    }
    write(command, &leaves)
}

/// Files of two exports in one folder would be taken for one.
fn is_unused(out: &Path) -> Result<(), Problem> {
    match NAMES
        .iter()
        .map(|name| out.join(name))
        .find(|path| path.exists())
    {
        Some(path) => Err(Problem::new(format!(
            "`{}` is there already: an export has a folder of its own",
            path.display()
        ))
        .next("give another folder with --out, or remove the files of the earlier export")),
        None => Ok(()),
    }
}

/// The record and the operator's receipt for it.
fn of_operator(
    command: &Export,
    receipt: &Receipt,
    batch: &BatchPart,
    own: Option<&Home>,
) -> Result<Leaf, Problem> {
    let record = &receipt.record;
    let path = batch.path.clone();
    let made = match Algorithm::from(command.algorithm) {
        Algorithm::Ed25519 => CoseReceipt::of_batch(record, &batch.commitment, path)?,
        Algorithm::EdDsa => {
            let next = "only the operator itself can sign for such verifiers: run this with its \
                        --home, or export with --algorithm ed25519";
            let own = own
                .ok_or_else(|| Problem::new("the operator's receipt has to be signed again"))
                .or_next(next)?;
            let key = read_key(&own.enforcer_key())?;
            let record = UnverifiedRecord::parse(record)?;
            let kid = record.kid();
            // Its key was rotated away: there is nobody left to sign.
            if kid != key.public().thumbprint() && *record.issuer() == home::config(own)?.operator {
                return Err(Problem::new(format!(
                    "the operator's receipt has to be signed again, and {} has another key now than \
                     {kid}, which signed the record",
                    own.directory().display()
                ))
                .next(
                    "of a further enforcer, give the home that has this key; a retired key is gone, \
                     and its records can be exported with --algorithm ed25519 only",
                ));
            }
            CoseReceipt::of_batch_signed_again(&receipt.record, &batch.commitment, path, &key)
                .at("the operator's receipt has to be signed again")
                .or_next(next)?
        }
    };
    let kid = UnverifiedRecord::parse(record)?.kid();
    let mut listed = receipt.manifests.iter().filter_map(|logged| {
        let manifest = UnverifiedManifest::parse(&logged.manifest).ok()?;
        manifest.lists(kid)
    });
    let key = listed
        .next()
        .ok_or_else(|| Problem::new("no manifest lists the key of the record"))?;
    made.verify(&key)?;
    Ok(Leaf {
        name: "record",
        statement: record.clone(),
        receipt: made,
        key_file: "enforcer.pem",
        key,
    })
}

/// The commitment and the log's receipt for it, about the root that the verified checkpoint has.
fn of_log(
    command: &Export,
    batch: &BatchPart,
    proof: &TlogProof,
    trust: &Trust,
    own: Option<&Home>,
) -> Result<Leaf, Problem> {
    let url = match (&command.log, own) {
        (Some(url), _) => Some(url.clone()),
        (None, Some(own)) => home::config(own)?.log.map(|log| log.url.to_string()),
        (None, None) => None,
    };
    let url = url
        .ok_or_else(|| Problem::new("the log has to be asked for its receipt"))
        .or_next("give its address with --log, or --offline to leave it out")?;
    let origin = proof.checkpoint().origin().as_str();
    let key = trust
        .policy()
        .logs()
        .iter()
        .map(PolicyLog::key)
        .find(|key| key.name().as_str() == origin)
        .ok_or_else(|| Problem::new(format!("the trust file names no log `{origin}`")))?;
    let key = PublicKey::from_bytes(key.public_key())?;
    let (index, size) = (proof.index(), proof.checkpoint().size());
    let algorithm = Algorithm::from(command.algorithm);
    let ask = async {
        LogClient::new(&url)?
            .cose_receipt(index, size, algorithm)
            .await
    };
    let answer = serve::runtime()?.block_on(ask)?;
    let place = format!("the receipt of the log at {url}");
    let made = CoseReceipt::parse(&answer, &batch.commitment).at(&place)?;
    made.verify(&key).at(&place)?;
    if made.issuer() != origin || made.root() != proof.checkpoint().root() {
        return Err(Problem::new(format!(
            "{place} is about another tree than the checkpoint in our receipt"
        ))
        .next("keep both: a log that signs two trees of one size has forked"));
    }
    if made.algorithm() != algorithm || made.inclusion().index != index {
        return Err(Problem::new(format!("{place} is not what was asked for")));
    }
    Ok(Leaf {
        name: "commitment",
        statement: batch.commitment.clone(),
        receipt: made,
        key_file: "log.pem",
        key,
    })
}

fn write(command: &Export, leaves: &[Leaf]) -> Result<Answer, Problem> {
    let out = &command.out;
    file::ensure_directory(out)?;
    let (mut list, mut text) = (Vec::new(), String::new());
    let mut put = |name: String, content: &[u8], what: String| -> Result<(), Problem> {
        let path = out.join(name);
        file::replace(&path, content, Access::Everyone)?;
        text.push_str(&format!("{}: {what}\n", path.display()));
        list.push(json!({ "file": path, "what": what }));
        Ok(())
    };
    for leaf in leaves {
        let (name, receipt) = (leaf.name, leaf.receipt.encode());
        let place = leaf.receipt.inclusion();
        let says = format!(
            "{} signs that it is leaf {} of {}",
            leaf.receipt.issuer(),
            place.index,
            place.size
        );
        match command.format {
            Format::Rfc9942 => {
                let statement = format!("the {name}, a signed statement");
                put(format!("{name}.cose"), &leaf.statement, statement)?;
                let file = format!("{name}.receipt.cose");
                put(file, &receipt, format!("the COSE receipt for it: {says}"))?;
            }
            Format::Scitt => {
                let transparent = TransparentStatement {
                    statement: leaf.statement.clone(),
                    receipts: vec![receipt],
                };
                let what = format!("the {name}, a transparent statement: {says}");
                put(format!("{name}.cose"), &transparent.encode()?, what)?;
            }
        }
        let what = format!("the key of {}", leaf.receipt.issuer());
        put(
            leaf.key_file.to_owned(),
            leaf.key.to_pem()?.as_bytes(),
            what,
        )?;
    }
    if leaves.iter().any(|leaf| leaf.receipt.inclusion().size == 1) {
        text.push_str(
            "\na tree of one leaf has an empty path, which strict readers of RFC 9942 may refuse\n",
        );
    }
    let levels: Vec<_> = leaves.iter().map(|leaf| level(leaf, out)).collect();
    Ok(Answer::good(
        json!({ "files": list, "levels": levels }),
        text,
    ))
}

fn level(leaf: &Leaf, out: &Path) -> serde_json::Value {
    let place = leaf.receipt.inclusion();
    json!({
        "statement": leaf.name,
        "issuer": leaf.receipt.issuer(),
        "algorithm": leaf.receipt.algorithm().number(),
        "index": place.index,
        "size": place.size,
        "root": leaf.receipt.root().to_string(),
        "key": out.join(leaf.key_file),
    })
}

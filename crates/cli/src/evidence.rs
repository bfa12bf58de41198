//! Files with evidence, read one record after the other: bundles and receipts.
//!
//! A receipt is read as the bundle that holds its record alone, so that whoever looks at records
//! has one kind of thing to look at.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use counterfoil_protocol::Failure;
use counterfoil_protocol::bundle::{Entry, Header, Part, Seal, Summary, Verifier};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::receipt::{self, LoggedManifest, Receipt};
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_protocol::trust::Trust;

use crate::answer::{OrProblem as _, Problem};
use crate::progress::Progress;

/// How much of a file is read at once.
const CHUNK: usize = 1 << 20;

/// A piece of evidence.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// A file that holds a bundle.
    Bundle(PathBuf),
    /// The bytes of a bundle, and where they are from.
    Bytes(String, Vec<u8>),
}

impl Piece {
    /// A file: a bundle, or a receipt.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let mut file = File::open(path)
            .at(path.display())
            .or_next("name files with evidence: bundles (.evidence) or receipts (.receipt)")?;
        let mut head = Vec::new();
        std::io::Read::by_ref(&mut file)
            .take(64)
            .read_to_end(&mut head)
            .at(path.display())?;
        let format = receipt::FORMAT.as_bytes();
        if !head.windows(format.len()).any(|window| window == format) {
            return Ok(Self::Bundle(path.to_owned()));
        }
        file.take(receipt::MAX_BYTES as u64 + 1)
            .read_to_end(&mut head)
            .at(path.display())?;
        let receipt = Receipt::parse(&head).at(path.display())?;
        Ok(Self::Bytes(
            path.display().to_string(),
            bundle_of(&receipt).at(path.display())?,
        ))
    }

    /// Records of an operator of which nothing is known but that they are signed.
    pub(crate) fn signed(
        place: String,
        operator: OperatorName,
        manifests: Vec<LoggedManifest>,
        record: Vec<u8>,
    ) -> Self {
        let header = Header {
            operator,
            counterparty: None,
            manifests,
        };
        let part = Part {
            records: vec![record],
            ..Part::default()
        };
        Self::Bytes(place, [header.encode(), part.encode()].concat())
    }

    /// Where it is from.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Bundle(path) => path.display().to_string(),
            Self::Bytes(place, _) => place.clone(),
        }
    }

    /// Whose records it says it holds, if its manifests hold.
    pub(crate) fn operator(&self, trust: &Trust) -> Result<OperatorName, Problem> {
        let mut verifier = Verifier::new(trust, Level::Signed);
        let mut reader: Box<dyn std::io::Read + '_> = match self {
            Self::Bundle(path) => Box::new(File::open(path)?),
            Self::Bytes(_, bytes) => Box::new(bytes.as_slice()),
        };
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = reader.read(&mut chunk)?;
            verifier.push(chunk.get(..count).unwrap_or_default());
            verifier.next_entry()?;
            if let Some(header) = verifier.header() {
                return Ok(header.operator.clone());
            }
            if count == 0 {
                verifier.finish()?;
                return Err(Problem::new("it has no header"));
            }
        }
    }

    /// Verifies it, record by record.
    pub(crate) fn read(
        &self,
        trust: &Trust,
        required: Level,
        each: impl FnMut(Entry, &Verifier<'_>),
    ) -> Result<Read, Problem> {
        let mut verifier = Verifier::new(trust, required);
        match self {
            Self::Bundle(path) => read_file(path, &mut verifier, each).at(path.display())?,
            Self::Bytes(_, bytes) => {
                let mut each = each;
                read_piece(bytes, &mut verifier, &mut each);
            }
        }
        // A refusal stands in the summary.
        let _ = verifier.finish();
        Ok(Read {
            header: verifier.header().cloned(),
            summary: verifier.summary().clone(),
        })
    }
}

/// What reading a piece of evidence came to.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    /// Whose records they are, if it says so and its manifests hold.
    pub(crate) header: Option<Header>,
    /// The sum over its records.
    pub(crate) summary: Summary,
}

impl Read {
    /// Whether the file is a bundle at all.
    pub(crate) fn is_readable(&self) -> bool {
        self.header.is_some() || !self.summary.stopped.as_ref().is_some_and(is_about_form)
    }
}

/// Whether a refusal is about how the bytes are formed and not about what they say.
pub(crate) fn is_about_form(failure: &Failure) -> bool {
    let code = failure.code().as_str();
    code.starts_with("cbor_") || code.starts_with("structure_") || code == "name_invalid"
}

/// The bundle that holds the record of a receipt alone.
fn bundle_of(receipt: &Receipt) -> Result<Vec<u8>, Failure> {
    let record = UnverifiedRecord::parse(&receipt.record)?;
    let header = Header {
        operator: record.issuer().clone(),
        counterparty: None,
        manifests: receipt.manifests.clone(),
    };
    let part = Part {
        seal: receipt.batch.as_ref().map(|batch| Seal {
            commitment: batch.commitment.clone(),
            log_proof: receipt.log_proof.clone(),
            // Of a single leaf the multiproof is its path.
            hashes: batch.path.clone(),
        }),
        records: vec![receipt.record.clone()],
        disclosures: receipt
            .disclosures
            .iter()
            .map(|disclosure| (0, disclosure.clone()))
            .collect(),
        beacons: receipt.beacon.iter().cloned().collect(),
    };
    Ok([header.encode(), part.encode()].concat())
}

fn read_file(
    path: &Path,
    verifier: &mut Verifier<'_>,
    mut each: impl FnMut(Entry, &Verifier<'_>),
) -> Result<(), std::io::Error> {
    let mut file = File::open(path)?;
    let total = file.metadata().ok().map(|metadata| metadata.len());
    let mut progress = Progress::new(path.display().to_string());
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk)?;
        let read = chunk.get(..count).unwrap_or_default();
        if read.is_empty() || verifier.summary().stopped.is_some() {
            return Ok(());
        }
        read_piece(read, verifier, &mut each);
        progress.at(verifier.summary().bytes, total, "bytes");
    }
}

fn read_piece(
    bytes: &[u8],
    verifier: &mut Verifier<'_>,
    each: &mut impl FnMut(Entry, &Verifier<'_>),
) {
    verifier.push(bytes);
    while let Ok(Some(entry)) = verifier.next_entry() {
        each(entry, verifier);
    }
}

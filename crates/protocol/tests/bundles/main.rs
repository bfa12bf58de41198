//! Bundles as a whole: every record verifies exactly as its own receipt does, and whatever is
//! wrong with a bundle is found and named.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod whole;

use counterfoil_protocol::bundle::{Entry, Header, Part, Summary, Verifier};
use counterfoil_protocol::digest::Salt;
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::record::{Body, Event};
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::Level;
use support::{ACME, GLOBEX, Log, START, Stream, encode, header, key, manifest};

/// Acme's stream: three batches, some records of the channel to globex, beacons, disclosures, and
/// two records that no batch has sealed.
struct World {
    trust: Trust,
    log: Log,
    stream: Stream,
    header: Header,
    parts: Vec<Part>,
}

fn world() -> World {
    let mut log = Log::default();
    let first = manifest(ACME, &[&key("enforcer")], &[], None);
    let logged_at = log.append(&first);
    let beacon = log.checkpoint(2, START - 5);

    let mut stream = Stream::new(ACME, "enforcer");
    for _ in 0..3 {
        stream.local_call();
        stream.remote_call(GLOBEX);
    }
    stream.beacon = Some(support::beacon(&beacon));
    disclose(&mut stream);
    stream.seal();
    stream.local_call();
    stream.seal();
    stream.beacon = None;
    stream.remote_call(GLOBEX);
    stream.local_call();
    stream.seal();
    stream.publish(&mut log);
    stream.remote_call(GLOBEX);

    let checkpoint = log.checkpoint(2, START + 60);
    let header = header(
        ACME,
        vec![LoggedManifest {
            manifest: first,
            log_proof: Some(log.proof(logged_at, &checkpoint)),
        }],
    );
    let beacon = beacon.to_string().into_bytes();
    let parts = stream.parts(&log, &checkpoint, Some(&beacon), |_| true);
    let root = key("acme.example root");
    let trust = log.trust(&[(ACME, root.public())]);
    World {
        trust,
        log,
        stream,
        header,
        parts,
    }
}

/// A record that discloses its parameters and names a beacon.
fn disclose(stream: &mut Stream) {
    let disclosure = Disclosure {
        field: DisclosedField::Parameters,
        salt: Salt::from_bytes([7; 16]),
        content: br#"{"ticket":"T-1"}"#.to_vec(),
    };
    let mut decision = support::decision(&stream.operator, None, None);
    decision.parameters = disclosure.digest();
    stream.push(Body::Decision(decision));
    stream.records.last_mut().unwrap().disclosures = vec![disclosure];
    stream.push(Body::Control(Event::Started {
        policy_set: support::digest("policy set"),
        unresolved: 0,
    }));
}

/// Verifies a bundle that comes in pieces of `step` bytes.
fn verify(
    bundle: &[u8],
    trust: &Trust,
    required: Level,
    step: usize,
) -> (Vec<(Entry, Option<Receipt>)>, Summary) {
    let mut entries = Vec::new();
    let summary = Verifier::new(trust, required).run(bundle.chunks(step), |entry, verifier| {
        let count = verifier.summary().records;
        assert_eq!(count, entry.position + 1);
        entries.push((entry, verifier.receipt()));
    });
    assert_eq!(
        summary.is_good(),
        summary.complete && summary.failure().is_none()
    );
    (entries, summary)
}

impl World {
    fn bundle(&self) -> Vec<u8> {
        encode(&self.header, &self.parts)
    }

    /// Verifies the bundle asking for no more than signatures.
    fn summary(&self) -> Summary {
        verify(&self.bundle(), &self.trust, Level::Signed, 1 << 20).1
    }
}

//! Receipts on a machine without a network, and their proofs checked by code that is not ours.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_protocol::receipt::Receipt;
use ct_merkle::{InclusionProof, RootHash};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::binaries::{command, counterfoil, run, said, source, third_party};
use crate::world::World;

/// Makes some receipts and returns their paths.
fn receipts(world: &World) -> Vec<String> {
    let mut agent = world.agent();
    for ticket in ["T-1001", "T-1002", "T-1003"] {
        agent.call("read_ticket", json!({ "id": ticket })).unwrap();
    }
    let arguments = [
        "receipt",
        "get",
        "--home",
        "acme",
        "--all",
        "--from",
        "globex.example",
    ];
    let got = world.good(&[arguments.as_slice(), &["--wait", "witnessed"]].concat());
    got.as_array()
        .unwrap()
        .iter()
        .map(|receipt| receipt["file"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_receipt_that_is_not_sealed_yet_is_named_and_waited_for() {
    let mut world = World::set_up();
    let path = world.path("globex/operator.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (fast, slow) = ("interval_millis = 1000", "interval_millis = 3600000");
    fs::write(&path, text.replacen(fast, slow, 1)).unwrap();
    world.start_process("globex");
    world.start_process("acme");
    let call = || {
        let mut agent = world.agent();
        agent
            .call("read_ticket", json!({ "id": "T-1001" }))
            .unwrap();
    };
    call();
    let get = ["receipt", "get", "--home", "acme", "--all", "--from"];
    let get = [&get[..], &["globex.example", "--out", "theirs"]].concat();
    let said = world.run(&get);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let list = said.json.as_array().unwrap();
    assert!(!list.is_empty());
    assert!(list.iter().all(|one| one["code"] == "not_sealed"));

    // A gateway that ends seals what it has; what comes after that is not sealed again.
    world.stop("globex");
    fs::write(&path, text.replacen(fast, slow, 1)).unwrap();
    world.start_process("globex");
    let sealed = list.len();
    let mut agent = world.agent();
    agent
        .call("read_ticket", json!({ "id": "T-1002" }))
        .unwrap();
    let said = world.run(&get);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let list = said.json.as_array().unwrap();
    let written = list.iter().filter(|one| one["file"].is_string()).count();
    assert_eq!(written, sealed, "{:#}", said.json);
    assert!(list.len() > written);

    // Waited for, all of them come once somebody seals them.
    world.stop("globex");
    fs::write(&path, &text).unwrap();
    world.start_process("globex");
    let got = world.good(&[&get[..], &["--wait", "witnessed"]].concat());
    assert_eq!(got.as_array().unwrap().len(), list.len());
}

#[test]
fn receipts_verify_without_a_network() {
    let world = World::start();
    let files = receipts(&world);
    // What is left is a folder with receipts and a trust file, as on another machine.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(world.path("trust"), elsewhere.path().join("trust")).unwrap();
    let mut names = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let name = format!("{number}.receipt");
        fs::copy(world.path(file), elsewhere.path().join(&name)).unwrap();
        names.push(name);
    }
    drop(world);

    let mut arguments = vec![
        "verify",
        "--trust",
        "trust",
        "--level",
        "witnessed",
        "--json",
    ];
    arguments.extend(names.iter().map(String::as_str));
    let mut alone = if can_leave_the_network() {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["-rn", "--"])
            .arg(counterfoil())
            .args(&arguments);
        unshare.current_dir(elsewhere.path());
        unshare
    } else {
        command(elsewhere.path(), &arguments)
    };
    // Should anything try to use a network after all, it meets nobody.
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        alone.env(proxy, "http://127.0.0.1:1");
    }
    let said = said(&alone.output().unwrap());
    assert_eq!(said.code, Some(0), "{} {:#}", said.stderr, said.json);
    assert_eq!(said.json["receipts"].as_array().unwrap().len(), names.len());
    for receipt in said.json["receipts"].as_array().unwrap() {
        assert_eq!(receipt["level"], "witnessed");
        assert_eq!(receipt["time_within_bounds"], true);
    }
}

/// Nobody's clock can be set wrong here, so these receipts are those of the vectors.
#[test]
fn a_time_outside_the_bounds_of_the_log_is_reported() {
    let vectors = source("../test-vectors");
    let body = |name: &str| {
        let vector = fs::read(vectors.join(format!("{name}.vector"))).unwrap();
        let head = vector.windows(2).position(|two| two == b"\n\n").unwrap();
        vector[head + 2..].to_vec()
    };
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("trust"), body("trust/both-witnesses")).unwrap();
    for name in ["time-before-bounds", "time-after-bounds"] {
        let file = directory.path().join("it.receipt");
        fs::write(file, body(&format!("receipt/{name}"))).unwrap();
        let arguments = ["verify", "it.receipt", "--trust", "trust"];
        let said = run(directory.path(), &arguments);
        assert_eq!(said.code, Some(0), "{name}: {:#}", said.json);
        let receipt = &said.json["receipts"][0];
        assert_eq!(receipt["time_within_bounds"], false, "{name}");
        let mut shown = command(directory.path(), &arguments);
        let shown = String::from_utf8(shown.output().unwrap().stdout).unwrap();
        assert!(shown.contains("OUTSIDE the bounds"), "{shown}");
    }
}

fn can_leave_the_network() -> bool {
    Command::new("unshare")
        .args(["-rn", "true"])
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn a_receipt_under_another_trust_file_is_not_verified() {
    let world = World::start();
    let file = receipts(&world).remove(0);
    let trust = fs::read_to_string(world.path("trust")).unwrap();
    let without = |word: &str| -> String {
        trust
            .lines()
            .filter(|line| !line.starts_with(word))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    // Another log of the same name, and another witness.
    let other = World::set_up();
    let other_trust = fs::read_to_string(other.path("trust")).unwrap();
    let other_log = other_trust.lines().next().unwrap();
    let cases = [
        (without("operator globex"), "operator_unknown"),
        (without("log "), "log_unknown"),
        (
            format!("{other_log}\n{}", without("log ")),
            "checkpoint_signature_invalid",
        ),
        (other_trust.clone(), "manifest_chain_broken"),
    ];
    for (trust, code) in cases {
        fs::write(world.path("other"), &trust).unwrap();
        let said = world.run(&["verify", &file, "--trust", "other", "--level", "signed"]);
        assert_eq!(said.code, Some(1), "{code}: {:#}", said.json);
        assert_eq!(said.json["receipts"][0]["failure"]["code"], code);
    }
}

#[test]
fn an_independent_implementation_agrees_with_the_proofs() {
    let world = World::start();
    let files = receipts(&world);
    let trust = fs::read_to_string(world.path("trust")).unwrap();
    for file in files {
        let receipt = Receipt::parse(&fs::read(world.path(&file)).unwrap()).unwrap();
        let batch = receipt.batch.unwrap();
        let proof = ForeignProof::read(&receipt.log_proof.unwrap());
        proof.check(&batch.commitment);
        proof.check_signature(&trust);
        // A proof of anything else does not hold.
        let mut other = batch.commitment.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(!proof.holds(&other));
        for manifest in receipt.manifests {
            let proof = ForeignProof::read(&manifest.log_proof.unwrap());
            proof.check(&manifest.manifest);
            proof.check_signature(&trust);
        }
        // The path in the batch is of the same kind: RFC 9162 with SHA-256.
        let (index, count, root) = batch_header(&world, &file);
        let inclusion = inclusion(batch.path.iter().map(|hash| *hash.as_bytes()));
        let root = RootHash::<Sha256>::new(root.into(), count);
        root.verify_inclusion(&receipt.record, index, &inclusion)
            .unwrap();
    }
}

#[test]
fn a_verifier_in_python_agrees() {
    let world = World::start();
    for file in receipts(&world) {
        let python = |file: &str| {
            Command::new(third_party("venv/bin/python"))
                .arg(source("second-verifier/verify.py"))
                .args([file, "trust"])
                .current_dir(world.directory())
                .output()
                .unwrap()
        };
        let output = python(&file);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {said}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let report = world.good(&["verify", &file, "--trust", "trust"]);
        let record = &report["receipts"][0]["record"];
        assert_eq!(found["operator"], record["operator"]);
        assert_eq!(found["sequence"], record["sequence"]);

        // One bit anywhere, and neither believes it.
        let bytes = fs::read(world.path(&file)).unwrap();
        for at in (100..bytes.len()).step_by(bytes.len() / 8) {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            fs::write(world.path("changed"), changed).unwrap();
            let output = python("changed");
            assert_eq!(output.status.code(), Some(1), "bit 2 of byte {at}");
            let found: Value = serde_json::from_slice(&output.stdout).unwrap();
            let said = world.run(&["verify", "changed", "--trust", "trust"]);
            assert_ne!(said.code, Some(0), "bit 2 of byte {at}");
            let failure = &said.json["receipts"][0]["failure"];
            assert_eq!(found["failure"], failure["code"], "bit 2 of byte {at}");
        }
    }
}

/// Where the record is in its batch, as the verifier says, and the root that the batch's signature
/// is over: the payload at the end of the commitment, in front of the signature.
fn batch_header(world: &World, file: &str) -> (u64, u64, [u8; 32]) {
    let report = world.good(&["verify", file, "--trust", "trust"]);
    let steps = report["receipts"][0]["steps"].as_array().unwrap();
    let detail = |name: &str| -> Vec<u64> {
        let step = steps.iter().find(|step| step["name"] == name).unwrap();
        step["detail"]
            .as_str()
            .unwrap()
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let (index, count) = (detail("batch_path")[0], detail("commitment")[1]);
    let receipt = Receipt::parse(&fs::read(world.path(file)).unwrap()).unwrap();
    let commitment = receipt.batch.unwrap().commitment;
    // ... 0x58 0x20 root 0x58 0x40 signature.
    let signature = commitment.len() - 66;
    assert_eq!(commitment[signature..signature + 2], [0x58, 0x40]);
    assert_eq!(commitment[signature - 34..signature - 32], [0x58, 0x20]);
    let root = commitment[signature - 32..signature].try_into().unwrap();
    (index, count, root)
}

/// A tlog-proof, read here from its text alone.
struct ForeignProof {
    index: u64,
    path: Vec<[u8; 32]>,
    origin: String,
    size: u64,
    root: [u8; 32],
    note: String,
    signatures: Vec<String>,
}

impl ForeignProof {
    fn read(proof: &[u8]) -> Self {
        let text = std::str::from_utf8(proof).unwrap();
        let (head, note) = text.split_once("\n\n").unwrap();
        let mut head = head.lines();
        assert_eq!(head.next(), Some("c2sp.org/tlog-proof@v1"));
        let index = head.next().unwrap().strip_prefix("index ").unwrap();
        let hash = |text: &str| -> [u8; 32] { STANDARD.decode(text).unwrap().try_into().unwrap() };
        let (checkpoint, signatures) = note.split_once("\n\n").unwrap();
        let lines: Vec<&str> = checkpoint.lines().collect();
        Self {
            index: index.parse().unwrap(),
            path: head.map(hash).collect(),
            origin: lines[0].to_owned(),
            size: lines[1].parse().unwrap(),
            root: hash(lines[2]),
            note: format!("{checkpoint}\n"),
            signatures: signatures.lines().map(str::to_owned).collect(),
        }
    }

    fn holds(&self, entry: &[u8]) -> bool {
        RootHash::<Sha256>::new(self.root.into(), self.size)
            .verify_inclusion(
                &entry.to_vec(),
                self.index,
                &inclusion(self.path.iter().copied()),
            )
            .is_ok()
    }

    fn check(&self, entry: &[u8]) {
        assert!(self.holds(entry), "entry {} of {}", self.index, self.size);
    }

    /// The log's own signature, with the key of the trust file, by the rules of signed-note.
    fn check_signature(&self, trust: &str) {
        let vkey = trust.lines().next().unwrap().strip_prefix("log ").unwrap();
        let (name, id_and_key) = vkey.split_once('+').unwrap();
        let (id, key) = id_and_key.split_once('+').unwrap();
        assert_eq!(name, self.origin);
        let key = STANDARD.decode(key).unwrap();
        assert_eq!(key[0], 1);
        let mut hashed = Sha256::new();
        hashed.update(format!("{name}\n"));
        hashed.update(&key);
        let computed: String = hashed.finalize()[..4]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(computed, id);
        let line = self
            .signatures
            .iter()
            .find_map(|line| line.strip_prefix(&format!("\u{2014} {name} ")))
            .unwrap();
        let signature = STANDARD.decode(line).unwrap();
        let key = VerifyingKey::from_bytes(key[1..].try_into().unwrap()).unwrap();
        let signature = Signature::from_slice(&signature[4..]).unwrap();
        key.verify_strict(self.note.as_bytes(), &signature).unwrap();
    }
}

fn inclusion(path: impl Iterator<Item = [u8; 32]>) -> InclusionProof<Sha256> {
    InclusionProof::try_from_bytes(path.flatten().collect()).unwrap()
}

/// The entries of a small log, read from its files.
pub(crate) fn log_entries(log: &Path) -> Vec<Vec<u8>> {
    let folder = log.join("tiles/tile/entries/000.p");
    let newest = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .max_by_key(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.parse::<u64>().unwrap()
        })
        .unwrap();
    let bundle = fs::read(newest).unwrap();
    let mut rest = bundle.as_slice();
    let mut entries = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
        entries.push(entry.to_vec());
        rest = tail;
    }
    entries
}

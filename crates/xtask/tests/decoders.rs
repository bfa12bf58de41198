//! Runs every fuzz target over its corpus and over changes of it, without a fuzzer.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

// In the library behind a feature, so that no command has to build the gateway.
#[path = "../src/decoders/gateway.rs"]
#[allow(unreachable_pub, reason = "public in the library")]
mod gateway;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use xtask::decoders::{TARGETS, Target};

/// How many changes of each seed are tried.
const CHANGES: u64 = 2000;

fn targets() -> impl Iterator<Item = Target> {
    TARGETS.iter().chain(gateway::TARGETS).copied()
}

fn fuzz() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz"))
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = fuzz().join("corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn no_decoder_panics_on_its_corpus_or_changes_of_it() {
    for (name, decode) in targets() {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        // A whole verification costs as much as a hundred decodings.
        let changes = if ["verify", "contract_file", "fault", "bundle"].contains(&name) {
            CHANGES / 10
        } else {
            CHANGES
        };
        for (number, seed) in seeds.iter().enumerate() {
            try_input(name, decode, seed);
            for change in 0..changes {
                let mut random = Random(number as u64 * 1_000_003 + change);
                let other = &seeds[random.below(seeds.len())];
                try_input(name, decode, &changed(seed, other, &mut random));
            }
        }
    }
}

#[test]
fn every_target_is_a_fuzz_target() {
    let names: BTreeSet<String> = targets().map(|(name, _)| name.to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        fs::read_dir(fuzz().join(folder))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("corpus"), names);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

fn try_input(name: &str, decode: fn(&[u8]), input: &[u8]) {
    if catch_unwind(|| decode(input)).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{name} panics on {hex}");
    }
}

/// One to four small changes.
fn changed(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let length = random.below(9);
        let end = (at + length).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => {
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b' ', b'"'][random.below(8)];
            }
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let from = random.below(other.len() + 1);
                let to = (from + random.below(40)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => bytes.insert(at, random.below(256) as u8),
        }
    }
    bytes
}

/// SplitMix64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

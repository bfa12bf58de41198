//! No bit of a witnessed receipt is free: whichever is flipped, the receipt does not verify.

use std::thread;

use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::{Level, verify};

use super::file;

const THREADS: usize = 2;

fn every_bit_matters(name: &str) {
    let vector = file::named(name);
    let trust = Trust::parse(&file::named(vector.get("trust")).body).unwrap();
    let receipt = &vector.body;
    assert!(verify(receipt, &trust, Level::Witnessed).is_verified());

    let free: Vec<usize> = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|worker| {
                let trust = &trust;
                scope.spawn(move || {
                    let mut flipped = receipt.clone();
                    let mut free = Vec::new();
                    for bit in (worker..receipt.len() * 8).step_by(THREADS) {
                        flipped[bit / 8] ^= 1 << (bit % 8);
                        if verify(&flipped, trust, Level::Witnessed).is_verified() {
                            free.push(bit);
                        }
                        flipped[bit / 8] ^= 1 << (bit % 8);
                    }
                    free
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(free.is_empty(), "{name}: bits {free:?} can be flipped");
}

#[test]
fn of_a_request_with_disclosures() {
    every_bit_matters("receipt/disclosed");
}

#[test]
fn of_an_outcome_of_the_other_operator() {
    every_bit_matters("receipt/disclosed-result");
}

#[test]
fn of_a_control_record_after_a_key_change() {
    every_bit_matters("receipt/rotation");
}

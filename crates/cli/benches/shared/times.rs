//! Times of many runs, and the yardstick beside them.

use std::time::{Duration, Instant};

use counterfoil_protocol::keys::SigningKey;

/// Times, shortest first.
#[derive(Debug)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort_unstable();
        Self(times)
    }

    /// The time within which `share` of a hundred runs ended, in milliseconds.
    pub(crate) fn millis(&self, share: usize) -> f64 {
        let last = self.0.len() - 1;
        self.0[(self.0.len() * share / 100).min(last)].as_secs_f64() * 1e3
    }
}

/// How long a bare Ed25519 signature of 600 bytes takes, in microseconds.
pub(crate) fn signature_micros() -> f64 {
    const COUNT: u32 = 2_000;
    let key = SigningKey::from_seed(&[7; 32].into()).unwrap();
    let message = [1; 600];
    let start = Instant::now();
    for _ in 0..COUNT {
        std::hint::black_box(key.sign(std::hint::black_box(&message)));
    }
    (start.elapsed() / COUNT).as_secs_f64() * 1e6
}

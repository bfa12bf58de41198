//! The nonces of requests that have been answered: none is answered twice.

use std::collections::HashMap;

use axum::http::StatusCode;
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::names::OperatorName;

use super::refusal::Refusal;

/// How many nonces of one operator are remembered; more requests of it in the window are refused.
const MAX_NONCES: usize = 10_000;

/// Nonces of verified requests, and until when a request with them could be fresh.
#[derive(Debug, Default)]
pub(super) struct Nonces(HashMap<OperatorName, HashMap<(KeyThumbprint, String), u64>>);

impl Nonces {
    /// Remembers a nonce of an operator for as long as a request with it could be fresh.
    pub(super) fn spend(
        &mut self,
        operator: &OperatorName,
        (kid, nonce): (KeyThumbprint, String),
        until: u64,
        now: u64,
    ) -> Result<(), Refusal> {
        let spent = self.0.entry(operator.clone()).or_default();
        if spent.len() >= MAX_NONCES {
            spent.retain(|_, until| *until >= now);
        }
        if spent.len() >= MAX_NONCES {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many requests in a short time".to_owned(),
            ));
        }
        match spent.insert((kid, nonce), until) {
            None => Ok(()),
            Some(_) => Err(Refusal::unauthorized(
                "request_replayed",
                "a request with this nonce has been answered".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_that_asks_too_much_locks_out_nobody_else() {
        let mut nonces = Nonces::default();
        let kid = KeyThumbprint::from_bytes([7; 32]);
        let acme = "acme.example".parse().unwrap();
        let initech = "initech.example".parse().unwrap();
        let mut spend = |operator: &OperatorName, nonce: usize, now| {
            let spent = nonces.spend(operator, (kid, nonce.to_string()), now + 10, now);
            spent.map_err(|refusal| refusal.code)
        };
        for nonce in 0..MAX_NONCES {
            assert_eq!(spend(&acme, nonce, 100), Ok(()));
        }
        let refused = Err("too_many_requests".to_owned());
        assert_eq!(spend(&acme, MAX_NONCES, 110), refused);
        assert_eq!(spend(&initech, 0, 110), Ok(()));
        let replayed = Err("request_replayed".to_owned());
        assert_eq!(spend(&initech, 0, 110), replayed);
        // What could not be fresh any more makes room.
        assert_eq!(spend(&acme, MAX_NONCES, 111), Ok(()));
    }
}

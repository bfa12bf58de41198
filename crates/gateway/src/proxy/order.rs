//! Messages that overtook others: their records wait for those before them. Spec: mcp §4.

use counterfoil_enforcer::Held;

use super::{Direction, Gate, Proxy, Request};
use crate::exchange::Errands;

impl Proxy {
    /// Waits, for a while, for the records that belong before those of a request of another
    /// operator. Then it is decided, whether or not they have come.
    pub async fn in_order(&self, request: &Request) {
        if let (Direction::Incoming, Gate::Open(enforcer), Some(envelope)) =
            (&self.direction, &self.gate, &request.envelope)
            && let Some(held) = enforcer.hold(envelope)
        {
            fill(held, self.errands.as_ref()).await;
        }
    }
}

/// Fetches what a message waits for, and waits with it.
pub(crate) async fn fill(held: Held, errands: Option<&Errands>) {
    if let Some(errands) = errands {
        errands.fetch(held.counterparty());
    }
    let operator = held.counterparty().clone();
    if !held.filled().await {
        tracing::warn!(%operator, "records are missing, and did not come in time");
    }
}

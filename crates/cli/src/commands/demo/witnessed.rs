//! The calls whose requests were witnessed before they were executed, and what that cost.

use serde_json::{Value, json};

use super::lines::{Line, field, level};

/// The first such call, and the times of all.
#[derive(Debug)]
pub(super) struct Witnessed {
    call: usize,
    asks: String,
    /// What globex states that it had verified before it executed the call.
    evidence: String,
    /// The level of acme's request now.
    request: String,
    millis: u64,
    /// The times of all of them, and of those that needed a signature alone; shortest first.
    all: Vec<u64>,
    signed: Vec<u64>,
}

impl Witnessed {
    /// One such call, beside the times of all.
    pub(super) fn of(line: &Line<'_>, lines: &[Line<'_>]) -> Self {
        let times = |wanted: bool| {
            let done = lines.iter().filter(|line| line.is_done_by_globex());
            let found = done.filter(|line| line.is_witnessed() == wanted);
            let mut times: Vec<u64> = found.map(Line::millis).collect();
            times.sort_unstable();
            times
        };
        let verified = line.globex.as_ref().and_then(|one| field(one, "evidence"));
        Self {
            call: line.number,
            asks: line.call.planned.about.clone(),
            evidence: verified.unwrap_or("nothing").to_owned(),
            request: level(line.acme.as_ref()).to_owned(),
            millis: line.millis(),
            all: times(true),
            signed: times(false),
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let reached = [&self.evidence, &self.request];
        if reached.iter().all(|level| *level == "witnessed") && !self.signed.is_empty() {
            return Vec::new();
        }
        vec![format!("no call was witnessed before it ran: {self:?}")]
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "call": self.call,
            "asks": self.asks,
            "needs": "witnessed",
            "verified_before_execution": self.evidence,
            "request_level": self.request,
            "millis": self.millis,
            "calls": self.all.len(),
            "median_millis": median(&self.all),
            "signed_calls": self.signed.len(),
            "signed_median_millis": median(&self.signed),
        })
    }

    pub(super) fn text(&self) -> String {
        format!(
            "WITNESSED BEFORE EXECUTION. Call {} ({}) took {} ms. Acme put its signed request into \
             the log, waited for both witnesses to cosign, and sent the receipt along; globex \
             verified it before the tool ran, and its decision says so. The {} calls of that kind \
             took {} ms, and the {} that need a signature alone {} ms (medians).\n",
            self.call,
            self.asks,
            self.millis,
            self.all.len(),
            median(&self.all),
            self.signed.len(),
            median(&self.signed),
        )
    }
}

/// The middle one of times that are in order.
fn median(times: &[u64]) -> u64 {
    times.get(times.len() / 2).copied().unwrap_or_default()
}

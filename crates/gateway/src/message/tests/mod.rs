mod call;
mod envelope;
mod framing;
mod json;
mod refusal;
mod splice;
mod sse;
mod values;

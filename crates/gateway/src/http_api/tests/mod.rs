mod commitment;
mod evidence_header;
mod headers;
mod target;

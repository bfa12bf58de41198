#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xtask::decoders::transparency::verifier_key(data));

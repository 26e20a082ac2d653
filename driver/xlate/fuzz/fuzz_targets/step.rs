//! libFuzzer's way into `nat64_xlate_fuzz::step`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nat64_xlate_fuzz::step(data));

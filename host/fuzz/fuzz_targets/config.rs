//! libFuzzer's way into `nat64_host_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nat64_host_fuzz::config(data));

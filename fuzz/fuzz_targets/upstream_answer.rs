//! libFuzzer's door to `dockswap_fuzz::upstream_answer`: answers of upstreams through the proxy.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dockswap_fuzz::upstream_answer(bytes));

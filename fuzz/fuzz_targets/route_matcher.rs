//! libFuzzer's door to `dockswap_fuzz::route_matcher`: route tables and what is asked of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dockswap_fuzz::route_matcher(bytes));

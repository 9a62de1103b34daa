//! libFuzzer's door to `dockswap_fuzz::api_bodies`: requests to the controller's API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dockswap_fuzz::api_bodies(bytes));

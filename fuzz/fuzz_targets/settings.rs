//! libFuzzer's door to `dockswap_fuzz::settings`: settings.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dockswap_fuzz::settings(bytes));

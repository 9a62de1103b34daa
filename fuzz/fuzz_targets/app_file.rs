//! libFuzzer's door to `dockswap_fuzz::app_file`: app files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dockswap_fuzz::app_file(bytes));

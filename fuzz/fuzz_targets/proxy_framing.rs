//! libFuzzer's door to `dockswap_fuzz::proxy_framing`: client connections through the proxy.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dockswap_fuzz::proxy_framing(bytes));

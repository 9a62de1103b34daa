//! libFuzzer's door to `dockswap_fuzz::event_replay`: sequences and records of events.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dockswap_fuzz::event_replay(bytes));

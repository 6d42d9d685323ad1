//! See [`okd_fuzz::vault`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| okd_fuzz::vault(bytes));

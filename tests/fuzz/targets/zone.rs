//! See [`okd_fuzz::zone`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| okd_fuzz::zone(bytes));

//! See [`okd_fuzz::yaml`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| okd_fuzz::yaml(bytes));

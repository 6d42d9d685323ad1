//! See [`okd_fuzz::ini`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| okd_fuzz::ini(bytes));

//! See [`okd_fuzz::property`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| okd_fuzz::property(bytes));

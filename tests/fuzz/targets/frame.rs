//! See [`okd_fuzz::frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| okd_fuzz::frame(bytes));

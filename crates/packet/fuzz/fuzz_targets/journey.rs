//! The input is a fleet's tables and what a guest sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizar_packet_fuzz::targets::journey(data));

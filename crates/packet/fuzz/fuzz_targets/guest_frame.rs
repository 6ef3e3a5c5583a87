//! A guest sends the input.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizar_packet_fuzz::targets::guest_frame(data));

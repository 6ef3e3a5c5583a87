//! The input comes from the wire.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizar_packet_fuzz::targets::wire_frame(data));

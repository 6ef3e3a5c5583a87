//! A host gets the input as a control message.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizar_packet_fuzz::targets::control_frame(data));

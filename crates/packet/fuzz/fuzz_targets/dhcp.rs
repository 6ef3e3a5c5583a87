//! A guest sends the input to the DHCP server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizar_packet_fuzz::targets::dhcp(data));

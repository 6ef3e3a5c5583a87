//! The kernel programs: each lends a kernel frame and the maps to `mizar-packet`, and does what the
//! verdict says.
//!
//! | program                     | where                                           |
//! |-----------------------------|-------------------------------------------------|
//! | `trampoline`                | cls_bpf ingress of each guest's host-side device |
//! | `depart`, `answer_*`        | slots of `GUEST_SLOTS`                          |
//! | `wire_xdp`                  | XDP on the NIC                                  |
//! | `control_xdp`, `stray_xdp`  | slots of `WIRE_SLOTS`                           |
//! | `wire_tc`                   | tc ingress of the NIC                           |
//! | `control_tc`, `stray_tc`    | slots of `WIRE_TC_SLOTS`                        |
//! | `guard`                     | tc egress of the NIC                            |
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod guest;
mod maps;
mod nic;
mod tc;
mod words;
mod xdp;

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}

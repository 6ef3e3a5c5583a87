//! Wire formats: one protocol a file, each with its layout, its constants and literal-byte tests.
//!
//! A header is a plain struct of big-endian fields without padding, loaded and stored by value.

/// Derives what every header needs and gives it `LEN`, its length in bytes.
macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty),* $(,)?
    })*) => { $(
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable,
            zerocopy::KnownLayout, zerocopy::Unaligned,
        )]
        #[repr(C)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),* }

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = size_of::<Self>();
        }
    )* };
}

pub mod arp;
pub mod checksum;
pub mod dhcp;
pub mod ethernet;
pub mod geneve;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod oam;
pub mod tcp;
pub mod udp;

pub use ethernet::Ethernet;
pub use geneve::Geneve;
pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use udp::Udp;

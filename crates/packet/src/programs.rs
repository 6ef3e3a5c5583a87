//! The kernel programs by name, and the numbers by which they find each other.

/// Slot of `GUEST_SLOTS` that every guest's trampoline calls.
pub const SLOT_DEPART: u32 = 0;
/// Slot of `GUEST_SLOTS` for the rare cases of guests' frames: ARP and neighbour discovery.
pub const SLOT_ANSWER_LINK: u32 = 1;
/// Slot of `GUEST_SLOTS` for the rare cases that are answered by ICMP.
pub const SLOT_ANSWER_ICMP: u32 = 2;
/// Slot of `GUEST_SLOTS` for DHCP.
pub const SLOT_ANSWER_DHCP: u32 = 3;
/// Slots of `GUEST_SLOTS`; those beyond the ones above are room for hooks.
pub const GUEST_SLOTS: u32 = 16;

/// Slot of `WIRE_SLOTS` (XDP) and `WIRE_TC_SLOTS` (tc) for control messages and ICMP errors.
pub const SLOT_CONTROL: u32 = 0;
/// Slot of the same for packets that went astray.
pub const SLOT_STRAY: u32 = 1;
/// Slots of `WIRE_SLOTS` and `WIRE_TC_SLOTS`; those beyond are room for hooks.
pub const WIRE_SLOTS: u32 = 8;

/// The program on each guest's interface, which calls [`SLOT_DEPART`].
pub const TRAMPOLINE: &str = "trampoline";
/// The program on the NIC, in XDP.
pub const WIRE_XDP: &str = "wire_xdp";
/// The program on the NIC, in XDP above a driver that has none.
pub const WIRE_XDP_GENERIC: &str = "wire_xdp_generic";
/// The program on the NIC, tc ingress.
pub const WIRE_TC: &str = "wire_tc";
/// The program on the NIC, tc egress.
pub const GUARD: &str = "guard";

/// Which program stands in which slot of `GUEST_SLOTS`.
pub const GUEST: &[(u32, &str)] = &[
    (SLOT_DEPART, "depart"),
    (SLOT_ANSWER_LINK, "answer_link"),
    (SLOT_ANSWER_ICMP, "answer_icmp"),
    (SLOT_ANSWER_DHCP, "answer_dhcp"),
];
/// Which program stands in which slot of `WIRE_SLOTS`.
pub const WIRE: &[(u32, &str)] = &[(SLOT_CONTROL, "control_xdp"), (SLOT_STRAY, "stray_xdp")];
/// Which program stands in which slot of `WIRE_TC_SLOTS`.
pub const WIRE_IN_TC: &[(u32, &str)] = &[(SLOT_CONTROL, "control_tc"), (SLOT_STRAY, "stray_tc")];

/// The mark that XDP puts before a frame it has unwrapped, for `wire_tc` to deliver it by.
///
/// The kernel's GRO merges only frames whose marks are equal, so guests' packets stay apart.
///
/// It is the same in every layout of the tables: while programs are replaced, `wire_tc` reads what
/// another layout's XDP has written. Were it to change, it would get another [`Tag::MAGIC`], and
/// `wire_tc` would have to know both.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(C)]
pub struct Tag {
    /// VNI in the upper 24 bits, [`Tag::MAGIC`] in the lower eight.
    vni_magic: u32,
    /// Interface index of the host's end of the guest's link.
    pub interface: u32,
}

impl Tag {
    /// Marks a tag as ours.
    pub const MAGIC: u32 = 0xa1;

    /// The tag of a delivery.
    #[inline(always)]
    pub const fn new(delivery: &crate::Delivery) -> Self {
        Self { vni_magic: delivery.vni << 8 | Self::MAGIC, interface: delivery.interface }
    }

    /// The VNI, if the tag is ours.
    #[inline(always)]
    pub const fn vni(&self) -> Option<u32> {
        if self.vni_magic & 0xff == Self::MAGIC { Some(self.vni_magic >> 8) } else { None }
    }
}

//! The domain: what a cloud network is made of, and the pure planner that spreads it over hosts.
//!
//! The way from what somebody asks for to what each host is told has three steps, each a pure
//! function of its arguments:
//!
//! ```text
//! Manifest ──apply──► Catalog ──assign──► SlotMaps ──rows──► HostRows ──► VpcUpdate
//! as asked for        checked      ▲      who holds           what each    in bounded
//!                     and complete │      which slot          host knows   batches
//!                                  └────── acknowledgements, load, leases ──┘
//! ```
//!
//! - [`Catalog::apply`] checks a resource against all others and fills in what was left open (VNIs,
//!   addresses, MAC addresses). It is all or nothing; an error ([`Refused`]) names the field, its
//!   value and what would be right.
//! - [`assign_network`] decides which hosts hold which of a network's 256 slots, and
//!   [`assign_dividers`] which hosts divide a VPC's traffic. Each call is one step: a slot is given
//!   up only once another host has taken it over. The results, the [`SlotMaps`], are stored values:
//!   later steps read them, they never recompute them. While the [`Guard`] is frozen, nothing that
//!   is assigned changes.
//! - [`rows`](rows()) says what each host must know, without history. Whoever asks about one host,
//!   or one row, of very many asks a [`View`], which says the same.
//! - [`VpcUpdate`] brings a host from one state of one VPC to another.
//!
//! Every quantity with rules is a checked newtype ([`Vni`], [`Mac`], [`Name`], …), so that what
//! stands behind the types need not be checked again.
//!
//! This crate refuses to know files, sockets, clocks, threads and async runtimes: what depends on
//! them is an argument.

#![forbid(unsafe_code)]

mod assign;
mod attachment;
pub mod catalog;
mod digest;
#[cfg(test)]
mod example;
mod fleet;
mod generation;
mod guard;
mod host_config;
mod labels;
mod mac;
pub mod manifest;
mod mtu;
mod name;
mod network_id;
mod prefix;
mod problem;
mod rendezvous;
mod replicas;
mod rows;
#[cfg(feature = "schema")]
mod schema;
mod slot;
mod slot_map;
#[cfg(any(test, feature = "proptest"))]
pub mod strategy;
pub mod tables;
mod tag_keys;
mod update;
mod vni;

pub use assign::{
    Bouncers, DividerStep, Limits, Needs, Progress, Step, Stuck, assign_dividers, assign_network,
};
pub use attachment::{Attachment, AttachmentError};
pub use catalog::{Catalog, Changed, Refused};
pub use digest::Digest;
pub use fleet::{Candidate, Fleet, Standing};
pub use generation::{Generation, GenerationError};
pub use guard::Guard;
pub use host_config::HostConfig;
pub use labels::{LabelError, Labels, Selector};
pub use mac::{Mac, MacError};
pub use manifest::{Kind, Manifest, Metadata, Ref};
pub use mtu::{Mtu, MtuError};
pub use name::{Name, NameError};
pub use network_id::{NetworkId, NetworkIdError};
pub use prefix::is_underlay;
pub use problem::Problem;
pub use replicas::{Replicas, ReplicasError};
pub use rows::{
    HeldRow, HostRows, NetworkRow, PortMigration, PortRow, Row, RowsError, SlotHolders, View,
    VpcRows, rows,
};
pub use slot::Slot;
pub use slot_map::{HolderState, SlotMap, SlotMapBytesError, SlotMapError, SlotMaps, VpcSlotMaps};
pub use tag_keys::{TagKey, TagKeys};
pub use update::{
    Assembly, Batch, BatchError, Changes, IndexedRows, RowKey, UpdateError, VpcUpdate,
};
pub use vni::{Vni, VniError};

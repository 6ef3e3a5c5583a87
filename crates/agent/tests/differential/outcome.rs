//! What a program has done, and how two of them are compared.

use crate::hosts::TICK;
use mizar_packet::Address;
use mizar_packet::count::Counter;
use mizar_packet::memory::MemoryTables;
use mizar_packet::programs::Tag;
use mizar_packet::tables::{Bucket, Event, Host, Learned};
use std::collections::BTreeMap;

/// What has become of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What the program returns.
    pub(crate) code: u32,
    /// The frame.
    pub(crate) bytes: Vec<u8>,
    /// Its mark; 0 in XDP.
    pub(crate) mark: u32,
    /// What stands before it.
    pub(crate) tag: Option<Tag>,
}

/// The rows that programs write.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Counters by VPC and row; those that are zero are left out.
    pub(crate) counters: BTreeMap<(u32, u32), u64>,
    /// Learned locations by VNI and address.
    pub(crate) learned: BTreeMap<(u32, Address), Learned>,
    /// Token buckets by interface.
    pub(crate) buckets: BTreeMap<u32, Bucket>,
    /// Hosts by index.
    pub(crate) hosts: BTreeMap<u32, Host>,
    /// Learned rows by VPC; zeros are left out.
    pub(crate) learned_count: BTreeMap<u32, u64>,
    /// Events in order.
    pub(crate) events: Vec<Event>,
}

impl State {
    /// The same of tables in memory. Takes the events.
    pub(crate) fn of(tables: &MemoryTables) -> Self {
        let mut learned_count = tables.learned_count.borrow().clone();
        learned_count.retain(|_, count| *count != 0);
        Self {
            counters: tables.counters.borrow().clone(),
            learned: tables.learned.borrow().clone(),
            buckets: tables.buckets.borrow().clone(),
            hosts: tables.hosts.borrow().clone(),
            learned_count,
            events: tables.events.take(),
        }
    }

    /// How this state of the kernel differs from the one that is right, in words.
    pub(crate) fn differences(&self, right: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let name = |(vpc, row): &(u32, u32)| {
            let name = Counter::from_row(*row).map_or("?", Counter::name);
            format!("counter {name} of VPC {vpc}")
        };
        compare(&mut found, &self.counters, &right.counters, name, |a, b| a == b);
        let name = |(vni, address): &(u32, Address)| format!("learned {address} of VNI {vni}");
        compare(&mut found, &self.learned, &right.learned, name, same_learned);
        compare(&mut found, &self.hosts, &right.hosts, |index| format!("host {index}"), same_host);
        let name = |interface: &u32| format!("bucket {interface}");
        compare(&mut found, &self.buckets, &right.buckets, name, same_bucket);
        let name = |vpc: &u32| format!("learned rows of VPC {vpc}");
        compare(&mut found, &self.learned_count, &right.learned_count, name, |a, b| a == b);
        if self.events != right.events {
            found.push(format!("events: kernel {:?}, right {:?}", self.events, right.events));
        }
        found
    }
}

fn compare<K: Ord + Copy, V: std::fmt::Debug>(
    found: &mut Vec<String>,
    kernel: &BTreeMap<K, V>,
    right: &BTreeMap<K, V>,
    name: impl Fn(&K) -> String,
    same: impl Fn(&V, &V) -> bool,
) {
    let mut keys: Vec<_> = kernel.keys().chain(right.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let (kernel, right) = (kernel.get(&key), right.get(&key));
        let equal = match (kernel, right) {
            (Some(kernel), Some(right)) => same(kernel, right),
            _ => false,
        };
        if !equal {
            found.push(format!("{}: kernel {kernel:?}, right {right:?}", name(&key)));
        }
    }
}

fn same_learned(kernel: &Learned, right: &Learned) -> bool {
    let Learned { used, teach_until, notice_at, .. } = *right;
    same_stamp(kernel.used, used)
        && same_stamp(kernel.teach_until, teach_until)
        && same_stamp(kernel.notice_at, notice_at)
        && Learned { used, teach_until, notice_at, ..*kernel } == *right
}

fn same_host(kernel: &Host, right: &Host) -> bool {
    let Host { used, alive_until, .. } = *right;
    same_stamp(kernel.used, used)
        && same_stamp(kernel.alive_until, alive_until)
        && Host { used, alive_until, ..*kernel } == *right
}

fn same_bucket(kernel: &Bucket, right: &Bucket) -> bool {
    same_stamp(kernel.filled, right.filled) && kernel.tokens == right.tokens
}

/// The kernel's clock runs on while a test does; stamps that mean different things are a tick
/// apart.
fn same_stamp(kernel: u64, right: u64) -> bool {
    kernel >= right && kernel - right < TICK / 10
}

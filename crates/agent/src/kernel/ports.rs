//! The pinned table of guests' interfaces, and their tokens beside it.
//!
//! Both are arrays, which a program looks into without a call. The row of an interface is its index
//! modulo the number of rows, a power of two; whoever makes interfaces gives them indices that no
//! two guests have the same row of.

use super::table::{Table, TableError, call};
use mizar_packet::tables::{Bucket, Port};
use std::io;
use zerocopy::FromZeros;

/// Guests' interfaces and their tokens.
#[derive(Debug)]
pub struct PortTable {
    ports: Table<u32, Port>,
    buckets: Table<u32, Bucket>,
}

impl PortTable {
    /// Takes two arrays of equally many rows.
    pub(crate) fn new(
        ports: Table<u32, Port>,
        buckets: Table<u32, Bucket>,
    ) -> Result<Self, TableError> {
        let rows = ports.capacity();
        if !rows.is_power_of_two() || buckets.capacity() != rows {
            return Err(call(ports.name(), "use")(io::ErrorKind::InvalidData.into()));
        }
        Ok(Self { ports, buckets })
    }

    /// How many rows it has.
    pub fn capacity(&self) -> u32 {
        self.ports.capacity()
    }

    /// Binary logarithm of that, for `Config::port_bits`.
    pub fn bits(&self) -> u8 {
        self.capacity().trailing_zeros() as u8
    }

    /// The row of an interface.
    pub fn get(&self, interface: u32) -> Result<Option<Port>, TableError> {
        let port = self.ports.get(&self.row(interface))?;
        Ok(port.filter(|port| port.interface == interface && interface != 0))
    }

    /// Writes the row of `port.interface`. One that is new gets all its tokens.
    pub fn put(&self, port: &Port) -> Result<(), TableError> {
        let row = self.row(port.interface);
        if self.get(port.interface)?.is_none() {
            self.buckets.put(&row, &Bucket::full(0))?;
        }
        self.ports.put(&row, port)
    }

    /// Removes the row of an interface; whether there was one.
    pub fn remove(&self, interface: u32) -> Result<bool, TableError> {
        let there = self.get(interface)?.is_some();
        if there {
            self.ports.put(&self.row(interface), &Port::new_zeroed())?;
        }
        Ok(there)
    }

    /// All rows that somebody has.
    pub fn rows(&self) -> Result<Vec<Port>, TableError> {
        let rows = self.ports.rows()?.into_iter().map(|(_, port)| port);
        Ok(rows.filter(|port| port.interface != 0).collect())
    }

    /// The tokens of an interface, full or not; None: it has no row.
    pub(super) fn tokens(&self, interface: u32) -> Result<Option<Bucket>, TableError> {
        self.buckets.get(&self.row(interface))
    }

    /// The row of both tables that an interface has.
    pub(super) fn row(&self, interface: u32) -> u32 {
        interface & (self.capacity() - 1)
    }
}

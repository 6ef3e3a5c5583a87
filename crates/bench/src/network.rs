//! The network that the rows of a host are of, where only one host is real.

use anyhow::Result;
use mizar_vpc::{Generation, HeldRow, NetworkRow, SlotHolders, VpcRows};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// A VPC of one network, for which this host bounces, and another one too, which is the divider.
pub(crate) fn rows(here: IpAddr, there: IpAddr) -> Result<VpcRows> {
    let holders = SlotHolders { hosts: vec![here, there], slots: vec![vec![0, 1]; 256] };
    let network = NetworkRow {
        v4: Some("10.0.0.0/8".parse()?),
        v6: Some("fd00::/64".parse()?),
        v4_gateway: Some("10.0.0.1".parse()?),
        v6_gateway: Some("fd00::1".parse()?),
        holders,
    };
    Ok(VpcRows {
        dividers: vec![there],
        quota: 100,
        networks: [(1.try_into()?, network)].into(),
        ..VpcRows::default()
    })
}

/// So many endpoints of one host, from 10.2.0.0 on.
pub(crate) fn held(host: IpAddr, count: u32) -> Result<BTreeMap<IpAddr, HeldRow>> {
    let row = HeldRow { host, generation: Generation::new(1, 1)? };
    let first = u32::from(Ipv4Addr::new(10, 2, 0, 0));
    Ok((first..first + count).map(|address| (Ipv4Addr::from(address).into(), row)).collect())
}

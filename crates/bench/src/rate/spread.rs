//! How evenly the planner spreads a network's flows over its bouncers.

use super::ENDPOINTS;
use anyhow::{Result, bail};
use mizar_vpc::{
    Bouncers, Candidate, Fleet, Limits, Name, Needs, Progress, Slot, SlotMap, Standing, Step,
    assign_network,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The address of an endpoint, by its number.
pub(super) fn address(number: u32) -> Ipv4Addr {
    let [_, _, high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 1, high, low)
}

/// One network with so many bouncers, as the planner divides its slots among them.
pub(super) struct Spread {
    map: SlotMap,
}

impl Spread {
    pub(super) fn over(bouncers: u16) -> Result<Self> {
        let mut fleet = Fleet::default();
        for number in 0..bouncers {
            let name = format!("b{number}").parse()?;
            let (zone, standing) = (None, Standing::Alive);
            fleet.insert(Candidate { name, zone, weight: 100, standing, cordoned: false });
        }
        let needs = Needs {
            key: 1,
            replicas: u8::try_from(bouncers.min(2))?.try_into()?,
            bouncers: Bouncers::Count(bouncers),
            rows: ENDPOINTS.into(),
            packets_per_second: 0,
        };
        match assign_network(&needs, None, &fleet, &Limits::default(), &New) {
            Step::Change(map) => Ok(Self { map }),
            other => bail!("{bouncers} bouncers take no slots: {other:?}"),
        }
    }

    /// The first endpoints' bouncers in order of preference, of so many endpoints; each has a flow.
    fn preferred(&self) -> impl Iterator<Item = (u32, &Name)> {
        let first = |number| self.map.holders(Slot::of(address(number))).next();
        (0..ENDPOINTS).filter_map(move |number| Some((number, first(number)?)))
    }

    /// How many flows the bouncer with the most has, for each that it would have if all had the
    /// same.
    pub(super) fn imbalance(&self) -> f64 {
        let mut flows = BTreeMap::<_, u32>::new();
        for (_, bouncer) in self.preferred() {
            *flows.entry(bouncer).or_default() += 1;
        }
        let most = flows.values().copied().max().unwrap_or(0);
        f64::from(most) * self.map.size() as f64 / f64::from(ENDPOINTS)
    }

    /// What one bouncer has: the endpoints whose rows it keeps, and those whose flows it bounces.
    pub(super) fn of_one(&self) -> Result<(Vec<u32>, Vec<u32>)> {
        let Some(one) = self.map.hosts().next() else { bail!("nobody has slots") };
        let keeps = |number: &u32| self.map.keepers(Slot::of(address(*number))).any(|it| it == one);
        let kept = (0..ENDPOINTS).filter(keeps).collect();
        let flows = self.preferred().filter(|(_, bouncer)| *bouncer == one);
        Ok((kept, flows.map(|(number, _)| number).collect()))
    }
}

/// Nobody has acknowledged anything yet.
struct New;

impl Progress for New {
    fn synced(&self, _host: &Name) -> u64 {
        0
    }

    fn told(&self) -> u64 {
        0
    }

    fn waited(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bouncer_has_every_flow_and_eight_have_an_eighth_each() {
        let one = Spread::over(1).unwrap();
        assert!((one.imbalance() - 1.0).abs() < 1e-9);
        let (kept, flows) = one.of_one().unwrap();
        assert_eq!((kept.len(), flows.len()), (ENDPOINTS as usize, ENDPOINTS as usize));

        let eight = Spread::over(8).unwrap();
        let (kept, flows) = eight.of_one().unwrap();
        let (quarter, eighth) = (ENDPOINTS as usize / 4, ENDPOINTS as usize / 8);
        assert!(kept.len().abs_diff(quarter) < quarter / 4, "{} rows", kept.len());
        assert!(flows.len().abs_diff(eighth) < eighth / 4, "{} flows", flows.len());
        assert!((1.0..1.25).contains(&eight.imbalance()), "{}", eight.imbalance());
    }

    #[test]
    fn a_bouncer_keeps_the_rows_of_the_flows_that_it_bounces() {
        let (kept, flows) = Spread::over(4).unwrap().of_one().unwrap();
        assert!(flows.iter().all(|flow| kept.binary_search(flow).is_ok()));
    }
}

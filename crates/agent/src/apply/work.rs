//! An update on its way: what is still to be done for it, step by step.

use super::scope::Scope;
use super::{Applier, Errors, Finished, Outcome};
use crate::netlink::EndpointSpec;
use crate::ports::{Done, What};
use mizar_packet::tables::Port;
use mizar_proto::{PortReport, Step};
use mizar_vpc::tables::VpcTables;
use mizar_vpc::{Generation, HeldRow, Name, Vni, VpcRows};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tracing::warn;

/// Guests of one VPC that are attached at a time: enough to keep the kernel busy, and few enough
/// that another VPC's guest need not wait long.
const IN_FLIGHT: usize = 16;

/// What is being done in one VPC.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) vni: Vni,
    /// Where the update leads to; None for a retry.
    pub(super) generation: Option<Generation>,
    /// When the update came.
    pub(super) since: Instant,
    /// How many rows it had.
    pub(super) rows: usize,
    pub(super) scope: Scope,
    /// Whether anything of the VPC stays.
    pub(super) wanted: bool,
    /// The VPC has no place in the tables.
    pub(super) displaced: bool,
    /// The rows that the tables must have, of those that are in the scope.
    pub(super) desired: VpcTables,
    pub(super) errors: Errors,
    /// Guests to be attached, when others are, each with the row of its interface, if that has a
    /// place.
    pub(super) waiting: VecDeque<(Name, EndpointSpec, Option<Port>)>,
    /// Held endpoints that go, at addresses of guests that come.
    pub(super) replaced: BTreeSet<IpAddr>,
    pub(super) reports: Vec<PortReport>,
    pub(super) held: Duration,
    /// What is written once its hosts can be reached.
    pub(super) late: Option<Late>,
    attaching: usize,
    pub(super) detaching: usize,
    /// Nothing more is written, and what goes has gone.
    settled: bool,
}

/// Rows that take the place of others and name hosts that frames cannot be sent to yet. Until they
/// can, what the others say holds: nobody is told anything else before this host has acknowledged.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Held endpoints.
    pub(super) held: BTreeMap<IpAddr, HeldRow>,
    /// Held endpoints that go.
    pub(super) removals: BTreeSet<IpAddr>,
}

impl Work {
    pub(super) fn new(
        vni: Vni,
        generation: Option<Generation>,
        since: Instant,
        scope: Scope,
    ) -> Self {
        Self {
            vni,
            generation,
            since,
            rows: 0,
            scope,
            wanted: true,
            displaced: false,
            desired: VpcTables::default(),
            errors: Errors::new(),
            waiting: VecDeque::new(),
            replaced: BTreeSet::new(),
            reports: Vec::new(),
            held: Duration::ZERO,
            late: None,
            attaching: 0,
            detaching: 0,
            settled: false,
        }
    }
}

impl Applier {
    /// Goes on with an update of which a guest is attached or detached.
    pub(super) fn proceed(&mut self, Done { vni, name, what }: Done) {
        let Some(mut work) = self.work.remove(&vni) else {
            warn!(%vni, endpoint = %name, "attached or detached for nobody");
            return;
        };
        match what {
            What::Attached(result) => {
                work.attaching -= 1;
                self.attach_waiting(&mut work);
                self.with_rows(vni, |applier, rows| {
                    applier.attached(&mut work, rows.rows(), name, result);
                });
            }
            What::Detached(result) => {
                work.detaching -= 1;
                if let Err(error) = result {
                    warn!(%vni, endpoint = %name, error, "guest not detached");
                }
            }
        }
        self.advance(work);
    }

    /// Writes what waited for hosts to be reached.
    pub(super) fn write_late(&mut self) {
        for (vni, mut work) in
            self.work.extract_if(.., |_, it| it.late.is_some()).collect::<Vec<_>>()
        {
            if let Some(late) = work.late.take() {
                self.with_rows(vni, |applier, rows| applier.write_rest(&mut work, rows, &late));
            }
            self.advance(work);
        }
    }

    /// Takes what can be taken of the next steps.
    pub(super) fn advance(&mut self, mut work: Work) {
        let vni = work.vni;
        self.attach_waiting(&mut work);
        if work.attaching == 0 && work.late.is_none() && !work.settled {
            work.settled = true;
            if !work.displaced {
                self.with_rows(vni, |applier, rows| applier.settle(&mut work, rows));
            }
        }
        if work.settled && work.detaching == 0 {
            self.finish(work);
        } else {
            self.work.insert(vni, work);
        }
    }

    /// Attaches the next guests, up to the limit.
    pub(super) fn attach_waiting(&mut self, work: &mut Work) {
        while work.attaching < IN_FLIGHT
            && let Some((name, spec, row)) = work.waiting.pop_front()
        {
            work.attaching += 1;
            self.ports.attach(work.vni, name, (spec, row));
        }
    }

    /// Gives a guest that is attached its rows. One that is not loses those that it had.
    fn attached(
        &mut self,
        work: &mut Work,
        rows: &VpcRows,
        name: Name,
        result: Result<Option<Port>, String>,
    ) {
        let vni = work.vni;
        match result {
            Ok(row) => {
                let current = self.installed.entry(vni.get()).or_default();
                current.ports.extend(row.map(|row| (row.interface, row)));
            }
            Err(reason) => {
                let addresses = rows.ports.get(&name).into_iter().flat_map(|port| port.addresses());
                work.scope.gone.endpoints.extend(addresses.map(mizar_packet::Address::from));
                work.scope.gone.ports.extend(self.ports.get(vni, &name).map(|port| port.interface));
                work.errors.insert(mizar_vpc::RowKey::Port(name), reason);
                return;
            }
        }
        let start = Instant::now();
        self.write_port(work, rows, &name);
        let mut steps = self.ports.get(vni, &name).map(|p| p.steps.clone()).unwrap_or_default();
        steps.insert(Step::Rows, start.elapsed());
        self.ports.set_steps(vni, &name, steps.clone());
        work.reports.push(PortReport { name, steps, total: work.since.elapsed() });
    }

    /// Ends an update: its VPC stands where it led to, and the next one begins.
    fn finish(&mut self, work: Work) {
        let Work { vni, generation, since, rows, scope, errors, reports, held, .. } = work;
        self.found.remove(&vni.get());
        let known = self.known.entry(vni).or_default();
        known.generation = generation.or(known.generation);
        let before = known.errors.clone();
        known.errors.retain(|row, _| !scope.has(row));
        known.errors.extend(errors);
        let news = known.errors != before || !reports.is_empty();
        let (errors, touched) = (known.errors.clone(), scope.ports);
        let outcome = Outcome { errors, ports: reports, held, touched, news };
        let (took, result) = (since.elapsed(), Ok(outcome));
        self.finished.push_back(Finished { vni, generation, rows, took, result });
        if known.lost.is_empty() {
            self.begin_next(vni);
        } else {
            self.retry(vni);
        }
    }
}

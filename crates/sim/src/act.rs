//! What the steps of a script do.

use crate::controller::{apply, delete, endpoint_manifest, host_manifest, network_manifest};
use crate::controller::{fleet_manifest, migration_manifest, vni, vpc_manifest};
use crate::hostile::FORGE_PAUSE;
use crate::scenario::{ADDRESSES, Action, EndpointId, HostId};
use crate::world::{Task, World};
use mizar_vpc::Name;
use std::rc::Rc;

impl World {
    /// A step of the script.
    pub(crate) fn step(&mut self, number: usize) {
        let scenario = Rc::clone(&self.scenario);
        self.trace(&[2, number as u64]);
        self.act(&scenario.script[number].action);
    }

    /// Does something. What makes no sense as things are does nothing.
    pub(crate) fn act(&mut self, action: &Action) {
        self.note(|| format!("=== {action}"));
        let scenario = Rc::clone(&self.scenario);
        let mut write = |manifest| match apply(manifest) {
            Ok(change) => self.write(vec![change]),
            Err(error) => self.fail(format!("{action}: {error:#}")),
        };
        match action {
            Action::Put(endpoint, host) => write(endpoint_manifest(&scenario, *endpoint, *host)),
            Action::Prepare(endpoint, host) => {
                if let Some((home, _)) = self.whereabouts(*endpoint).filter(|it| it.0 != *host) {
                    let manifest = migration_manifest(&scenario, *endpoint, home, *host);
                    apply(manifest).into_iter().for_each(|change| self.write(vec![change]));
                }
            }
            Action::Switch(endpoint) => {
                let to = self.whereabouts(*endpoint).and_then(|(_, target)| target);
                if let Some(to) = to.filter(|to| self.has_port(*endpoint, *to)) {
                    let manifest = endpoint_manifest(&scenario, *endpoint, to);
                    apply(manifest).into_iter().for_each(|change| self.write(vec![change]));
                }
            }
            Action::Cancel(endpoint) => {
                if let Some((home, Some(_))) = self.whereabouts(*endpoint) {
                    let manifest = endpoint_manifest(&scenario, *endpoint, home);
                    apply(manifest).into_iter().for_each(|change| self.write(vec![change]));
                }
            }
            Action::Bouncers(vpc, network, hosts) => {
                write(network_manifest(&scenario, *vpc, *network, hosts));
            }
            Action::Dividers(vpc, hosts) => write(vpc_manifest(&scenario, *vpc, hosts)),
            Action::Join(host) => write(host_manifest(*host, false)),
            Action::Cordon(host, is_cordoned) => {
                let manifest = host_manifest(*host, *is_cordoned);
                if self.is_member(*host) {
                    apply(manifest).into_iter().for_each(|change| self.write(vec![change]));
                }
            }
            Action::Delete(endpoint) => self.write(vec![delete(*endpoint)]),
            Action::Replace(endpoint, host) => {
                let mut changes: Vec<_> = self.namesakes(*endpoint).map(delete).collect();
                changes.extend(apply(endpoint_manifest(&scenario, *endpoint, *host)));
                self.write(changes);
            }
            Action::Stream(from, to, pieces) => self.begin_stream(*from, *to, *pieces),
            Action::Flow(flow) => self.begin_flow(*flow, u32::MAX),
            action => self.act_on_machines(action),
        }
    }

    fn act_on_machines(&mut self, action: &Action) {
        match *action {
            Action::StopAgent(host) => self.stop_agent(host),
            Action::StartAgent(host) => self.start_agent(host),
            Action::Upgrade(host) if self.hosts[host].alive => {
                self.stop_agent(host);
                self.hosts[host].lay_out(host, self.scenario.seed, self.defect);
                self.start_agent(host);
            }
            Action::StopHost(host) if self.hosts[host].alive => {
                // Nobody says so: the controller notices when its stream answers no more.
                self.break_stream(host, 10_000_000);
                self.agents[host].stream = None;
                self.stop_agent(host);
                self.hosts[host].alive = false;
                self.traffic.deaths.push(self.now);
            }
            Action::StartHost(host) if !self.hosts[host].alive => {
                let (seed, defect) = (self.scenario.seed, self.defect);
                self.hosts[host].reboot(host, seed, defect);
                self.start_agent(host);
            }
            Action::StopController => self.stop_controller(),
            Action::StartController => self.start_controller(),
            Action::Reset(host) => self.break_stream(host, 100_000),
            Action::Mute(host, true) => {
                self.break_stream(host, 3_000_000);
                self.underlay.mute(host, true);
            }
            Action::Mute(host, false) => self.underlay.mute(host, false),
            Action::Cut(from, to, is_cut) => self.underlay.cut(from, to, is_cut),
            Action::Loss(permille) => self.underlay.loss = permille,
            Action::Replay(permille) => self.underlay.replay = permille,
            Action::Turn => {
                self.controller.turns += 1;
                let fleet = fleet_manifest(self.controller.turns);
                apply(fleet).into_iter().for_each(|change| self.write(vec![change]));
            }
            Action::Forge(frames) => (0..frames).for_each(|number| {
                self.after(number * FORGE_PAUSE, Task::Forge);
            }),
            _ => {}
        }
    }

    /// Whether a host is one of the fleet.
    pub(crate) fn is_member(&self, host: usize) -> bool {
        let name = &self.hosts[host].name;
        self.controller.core().is_some_and(|core| core.view().catalog.host(name).is_some())
    }

    /// Where an endpoint is, and where it is about to move.
    fn whereabouts(&self, endpoint: EndpointId) -> Option<(HostId, Option<HostId>)> {
        let view = self.controller.core()?.view();
        let vpc = view.catalog.vpc(vni(endpoint.vpc))?;
        let (_, record) = vpc.endpoint_named(&endpoint.name())?;
        let place = |name: &Name| self.hosts.iter().position(|host| host.name == *name);
        let target = record.migration.as_ref().and_then(|migration| place(&migration.host));
        Some((place(&record.host)?, target))
    }

    /// Whether a host can take an endpoint over, as whoever moves it would look at first.
    fn has_port(&self, endpoint: EndpointId, host: HostId) -> bool {
        self.agents[host].stream.is_some()
            && !self.underlay.is_muted(host)
            && self.hosts[host].guests.contains_key(&(vni(endpoint.vpc), endpoint.name()))
    }

    /// The endpoints that have the address of this one.
    fn namesakes(&self, endpoint: EndpointId) -> impl Iterator<Item = EndpointId> {
        let catalog = self.controller.core().map(|core| core.view().catalog);
        let vpc = catalog.and_then(|catalog| catalog.vpc(vni(endpoint.vpc)));
        let same = (endpoint.number % ADDRESSES..3 * ADDRESSES).step_by(ADDRESSES);
        let same = same.map(move |number| EndpointId { number, ..endpoint });
        let there =
            |it: &EndpointId| vpc.is_some_and(|vpc| vpc.endpoint_named(&it.name()).is_some());
        same.filter(there).collect::<Vec<_>>().into_iter()
    }
}

//! The guests' interfaces on this host.
//!
//! Guests are attached and detached by jobs of their own, of which many run at a time; whoever
//! starts them learns from [`Ports::next`] what has become of each.

use crate::error_chain;
use crate::kernel::Maps;
use crate::netlink::{
    self, Attached, Earlier, EndpointSpec, GuestAddress, GuestEnd, Hook, Netlink, Outcome,
};
use crate::places::Places;
use ipnet::IpNet;
use mizar_packet::tables::Port;
use mizar_proto::{Step, Steps};
use mizar_vpc::{Attachment, Name, NetworkRow, PortRow, Vni};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

/// Attaches and detaches guests, and remembers which interface is whose.
#[derive(Debug)]
pub(crate) struct Ports {
    maps: Arc<Maps>,
    netlink: Netlink,
    trampoline: Arc<OwnedFd>,
    /// What becomes of the program that an interface has already.
    earlier: Earlier,
    attached: BTreeMap<Vni, BTreeMap<Name, AttachedPort>>,
    by_interface: BTreeMap<u32, (Vni, Name)>,
    places: Arc<Mutex<Places>>,
    jobs: JoinSet<Job>,
    /// Interfaces of nobody known that went while jobs ran: one of them may turn out to be that of
    /// a guest that was being attached.
    vanished: BTreeSet<u32>,
}

/// A guest that is attached.
#[derive(Debug)]
pub(crate) struct AttachedPort {
    /// None if it was found at the start.
    spec: Option<EndpointSpec>,
    /// Interface index of the host's end.
    pub(crate) interface: u32,
    /// How long each step took.
    pub(crate) steps: Steps,
}

/// What has become of a guest.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) vni: Vni,
    pub(crate) name: Name,
    pub(crate) what: What,
}

/// What was done with a guest; why not, if it was not.
#[derive(Debug)]
pub(crate) enum What {
    /// With the row of its interface that was written already.
    Attached(Result<Option<Port>, String>),
    Detached(Result<(), String>),
}

/// A job that has ended.
#[derive(Debug)]
enum Job {
    Attach(Vni, Name, Box<EndpointSpec>, Result<(Attached, Option<Port>), String>),
    Detach(Vni, Name, netlink::Result<bool>),
}

impl Ports {
    /// Takes over the interfaces of an earlier agent of this instance.
    pub(crate) async fn recover(
        maps: Arc<Maps>,
        netlink: Netlink,
        (trampoline, earlier): (OwnedFd, Earlier),
    ) -> netlink::Result<Self> {
        let found = netlink.list_endpoints().await?;
        let rows = maps.ports.capacity();
        let mut ports = Self {
            maps,
            netlink,
            trampoline: Arc::new(trampoline),
            earlier,
            attached: BTreeMap::new(),
            by_interface: BTreeMap::new(),
            places: Arc::new(Mutex::new(Places::new(rows))),
            jobs: JoinSet::new(),
            vanished: BTreeSet::new(),
        };
        for found in found {
            // Interfaces are named by checked names: others are not ours.
            if let (Ok(vni), Ok(name)) = (Vni::try_from(found.vni), found.name.parse::<Name>()) {
                let steps = Steps::new();
                // One whose row is taken is made anew when it is attached.
                lock(&ports.places).take(found.interface);
                ports.insert(
                    (vni, name),
                    AttachedPort { spec: None, interface: found.interface, steps },
                );
            }
        }
        Ok(ports)
    }

    /// Has every guest's interface run the program of this layout, whatever it ran before: one
    /// after the other, each without a gap.
    ///
    /// # Errors
    /// An interface that is there cannot be given the program.
    pub(crate) async fn replace_programs(&mut self) -> netlink::Result<()> {
        self.earlier = Earlier::Replaced;
        for found in self.netlink.list_endpoints().await? {
            let interface = found.interface;
            let attached =
                self.netlink.attach_filter(interface, Hook::Guest, &*self.trampoline).await;
            match attached {
                // It went meanwhile.
                Err(error) if error.is_no_device() => {}
                attached => attached?,
            }
        }
        Ok(())
    }

    /// Whether a guest is attached just so.
    pub(crate) fn is_attached(&self, vni: Vni, name: &Name, spec: &EndpointSpec) -> bool {
        self.get(vni, name).is_some_and(|there| there.spec.as_ref() == Some(spec))
    }

    /// A guest, if it is attached.
    pub(crate) fn get(&self, vni: Vni, name: &Name) -> Option<&AttachedPort> {
        self.attached.get(&vni)?.get(name)
    }

    /// Notes how long the steps of attaching a guest took.
    pub(crate) fn set_steps(&mut self, vni: Vni, name: &Name, steps: Steps) {
        if let Some(port) = self.attached.get_mut(&vni).and_then(|of| of.get_mut(name)) {
            port.steps = steps;
        }
    }

    /// Begins to attach a guest, or to complete what is there. The row of a new interface is
    /// written before the interface is there, so that the guest is heard from its first frame on.
    pub(crate) fn attach(
        &mut self,
        vni: Vni,
        name: Name,
        (spec, row): (EndpointSpec, Option<Port>),
    ) {
        let attach = Attach {
            maps: Arc::clone(&self.maps),
            netlink: self.netlink.clone(),
            trampoline: Arc::clone(&self.trampoline),
            earlier: self.earlier,
            places: Arc::clone(&self.places),
        };
        let there = self.get(vni, &name).map(|port| port.interface);
        self.jobs.spawn(async move {
            let result = attach.run(there, &spec, row).await;
            Job::Attach(vni, name, Box::new(spec), result)
        });
    }

    /// Begins to detach a guest.
    pub(crate) fn detach(&mut self, vni: Vni, name: Name) {
        let netlink = self.netlink.clone();
        self.jobs.spawn(async move {
            let result = netlink.detach_endpoint(vni.get(), name.as_str()).await;
            Job::Detach(vni, name, result)
        });
    }

    /// The next job that ends; for ever, if there is none. Cancelling the wait loses nothing.
    pub(crate) async fn next(&mut self) -> Done {
        loop {
            let job = match self.jobs.join_next().await {
                Some(Ok(job)) => job,
                Some(Err(error)) => {
                    error!(%error, "a job has ended without a result");
                    continue;
                }
                None => std::future::pending().await,
            };
            let done = match job {
                Job::Attach(vni, name, spec, result) => {
                    self.attach_done((vni, name), *spec, result)
                }
                Job::Detach(vni, name, result) => self.detach_done((vni, name), result),
            };
            if self.jobs.is_empty() {
                self.vanished.clear();
            }
            return done;
        }
    }

    /// How many guests are attached.
    pub(crate) fn len(&self) -> usize {
        self.by_interface.len()
    }

    /// VPCs with guests that are attached.
    pub(crate) fn vnis(&self) -> BTreeSet<Vni> {
        self.attached.keys().copied().collect()
    }

    /// Names of the guests of a VPC that are attached.
    pub(crate) fn of(&self, vni: Vni) -> impl Iterator<Item = &Name> {
        self.attached.get(&vni).into_iter().flat_map(BTreeMap::keys)
    }

    /// Forgets an interface that is gone; whose it was.
    pub(crate) fn gone(&mut self, interface: u32) -> Option<(Vni, Name)> {
        let key = self.by_interface.get(&interface).cloned();
        match &key {
            Some(key) => self.remove(key),
            None if !self.jobs.is_empty() => _ = self.vanished.insert(interface),
            None => {}
        }
        key
    }

    fn attach_done(
        &mut self,
        key: (Vni, Name),
        spec: EndpointSpec,
        result: Result<(Attached, Option<Port>), String>,
    ) -> Done {
        let (vni, name) = key.clone();
        let result = match result {
            Err(problem) => Err(problem),
            Ok((attached, row)) if self.vanished.contains(&attached.interface) => {
                self.remove(&key);
                withdraw(&self.maps, row);
                lock(&self.places).release(attached.interface);
                Err("its interface has vanished while it was attached".to_owned())
            }
            Ok((attached, row)) => {
                let Attached { interface, outcome, .. } = attached;
                let took =
                    attached.steps.iter().map(|(_, time)| *time).sum::<std::time::Duration>();
                if outcome != Outcome::Kept {
                    info!(%vni, endpoint = %name, interface, ?took, "guest attached");
                }
                let steps = summary(&attached.steps);
                if self.get(vni, &name).is_none_or(|there| there.interface != interface) {
                    self.remove(&key);
                }
                self.insert(key, AttachedPort { spec: Some(spec), interface, steps });
                Ok(row)
            }
        };
        Done { vni, name, what: What::Attached(result) }
    }

    fn detach_done(&mut self, key: (Vni, Name), result: netlink::Result<bool>) -> Done {
        if result.is_ok() {
            self.remove(&key);
        }
        let (vni, name) = key;
        if let Ok(true) = result {
            info!(%vni, endpoint = %name, "guest detached");
        }
        let result = result.map(drop).map_err(|error| error_chain(&error));
        Done { vni, name, what: What::Detached(result) }
    }

    fn insert(&mut self, key: (Vni, Name), port: AttachedPort) {
        self.by_interface.insert(port.interface, key.clone());
        self.attached.entry(key.0).or_default().insert(key.1, port);
    }

    fn remove(&mut self, (vni, name): &(Vni, Name)) {
        let Some(of) = self.attached.get_mut(vni) else { return };
        if let Some(port) = of.remove(name) {
            self.by_interface.remove(&port.interface);
            lock(&self.places).release(port.interface);
        }
        if of.is_empty() {
            self.attached.remove(vni);
        }
    }
}

/// What a job needs that attaches a guest.
struct Attach {
    maps: Arc<Maps>,
    netlink: Netlink,
    trampoline: Arc<OwnedFd>,
    earlier: Earlier,
    places: Arc<Mutex<Places>>,
}

impl Attach {
    /// Attaches a guest: by the interface that is `there`, if it has its row among the ports. The
    /// row that was written for a new one, and stays.
    async fn run(
        &self,
        there: Option<u32>,
        spec: &EndpointSpec,
        row: Option<Port>,
    ) -> Result<(Attached, Option<Port>), String> {
        if let Some(index) = there.filter(|&index| lock(&self.places).has(index)) {
            match self.attach(index, spec).await {
                // Somebody else has made an interface with that index.
                Err(error) if error.is_index_taken() => {}
                attached => return attached.map(|it| (it, None)).map_err(|it| error_chain(&it)),
            }
        }
        loop {
            let index = lock(&self.places).allocate().map_err(|error| error_chain(&error))?;
            let row = row.map(|row| Port { interface: index, ..row });
            // One that cannot be written is tried again, and told, once the guest is attached.
            let row = row.filter(|row| self.maps.ports.put(row).is_ok());
            match self.attach(index, spec).await {
                Ok(attached) => return Ok((attached, row)),
                Err(error) => {
                    withdraw(&self.maps, row);
                    lock(&self.places).release(index);
                    if !error.is_index_taken() {
                        return Err(error_chain(&error));
                    }
                }
            }
        }
    }

    async fn attach(&self, index: u32, spec: &EndpointSpec) -> netlink::Result<Attached> {
        let spec = EndpointSpec { index, ..spec.clone() };
        self.netlink.attach_endpoint_with(&spec, &self.trampoline, self.earlier).await
    }
}

/// Takes away the row of an interface that has not come to be.
fn withdraw(maps: &Maps, row: Option<Port>) {
    if let Some(Err(error)) = row.map(|row| maps.ports.remove(row.interface)) {
        warn!(%error, "row of no interface not removed");
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    // Nothing panics while it is held.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a guest's interface must be like.
pub(crate) fn spec(
    vni: Vni,
    name: &Name,
    port: &PortRow,
    network: &NetworkRow,
    mtu: u16,
) -> EndpointSpec {
    let (end, interface) = match &port.attachment {
        Attachment::Veth { netns, interface } => (GuestEnd::Namespace(netns.clone()), interface),
        Attachment::Host { interface, routes } => {
            (GuestEnd::Host { routes: routes.clone() }, interface)
        }
    };
    let v4 = port.v4.zip(network.v4).map(|(address, prefix)| {
        guest(address.into(), prefix.prefix_len(), network.v4_gateway.map(IpAddr::V4))
    });
    let v6 = port.v6.zip(network.v6).map(|(address, prefix)| {
        guest(address.into(), prefix.prefix_len(), network.v6_gateway.map(IpAddr::V6))
    });
    EndpointSpec {
        vni: vni.get(),
        name: name.to_string(),
        index: 0,
        end,
        interface: interface.clone(),
        mac: port.mac.octets(),
        mtu: u32::from(mtu),
        addresses: [v4, v6].into_iter().flatten().flatten().collect(),
    }
}

fn guest(address: IpAddr, length: u8, gateway: Option<IpAddr>) -> Option<GuestAddress> {
    // A prefix of the same family has no length that the address could not have.
    Some(GuestAddress { address: IpNet::new(address, length).ok()?, gateway })
}

/// The steps as others see them.
fn summary(taken: &[(netlink::Step, std::time::Duration)]) -> Steps {
    let mut steps = Steps::new();
    for (step, time) in taken {
        *steps.entry(reported(*step)).or_default() += *time;
    }
    steps
}

fn reported(step: netlink::Step) -> Step {
    use netlink::Step as Taken;
    match step {
        Taken::Check
        | Taken::Namespace
        | Taken::LookUp
        | Taken::Remove
        | Taken::Create
        | Taken::HostEnd
        | Taken::Up => Step::Interface,
        Taken::Filter => Step::Program,
        Taken::GuestEnd | Taken::Addresses | Taken::Routes => Step::Addresses,
    }
}

//! What the agent needs of the kernel's network stack, by netlink and ethtool requests.
//!
//! No process is forked and no interface is moved between namespaces: both take tens of
//! milliseconds where a request takes hundredths of one. Requests run one after the other on a
//! thread of their own, for two reasons: only a thread that belongs to nobody else can visit a
//! guest's namespace to open a socket there, and the kernel serves such requests one at a time
//! anyway. The async runtime's threads never leave their namespace. Only removing a link, which
//! waits for grace periods, has a second thread, so that nothing else waits with it.
//!
//! Messages are built and read here (`wire.rs`) rather than by a library, since a request is then a
//! system call and no more, and a message that a newer kernel has extended stays readable.
//!
//! Nothing is remembered between calls: what is there is asked of the kernel each time, so an agent
//! that starts anew finds everything again.

mod attach;
mod endpoint;
mod error;
mod ethtool;
mod events;
mod filter;
mod guest;
mod link;
mod namespace;
mod neighbour;
mod nic;
mod route;
mod socket;
mod sys;
mod wire;

pub use endpoint::{
    Attached, EndpointSpec, FoundEndpoint, GuestEnd, Outcome, Step, host_interface,
};
pub use error::{Error, Result};
pub use events::{Changes, Event, Events};
pub use filter::{Earlier, Hook};
pub use guest::GuestAddress;
pub use link::Link;
pub use namespace::Namespace;
pub use neighbour::{Neighbour, Way};
pub use nic::Nic;

use socket::Socket;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use tokio::sync::oneshot;

/// A handle on the network stack of one namespace, the host's. Clones share two threads, which end
/// with the last of them.
///
/// A request that has begun is finished even if nobody waits for it any longer.
#[derive(Clone, Debug)]
pub struct Netlink {
    requests: Thread,
    removals: Thread,
}

/// A thread that does one job after the other.
#[derive(Clone, Debug)]
struct Thread {
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// What the thread works with.
struct Worker {
    /// The host's namespace.
    home: Namespace,
    /// Tells the interfaces of several agents apart.
    instance: String,
    /// A socket in the host's namespace.
    host: Socket,
}

impl Netlink {
    /// Starts working in the `host` namespace. `instance` tells the endpoints of several agents in
    /// one namespace apart: 1 to 32 letters, digits and hyphens.
    ///
    /// # Errors
    /// [`Error::Invalid`] (`instance`), [`Error::Namespace`], [`Error::Socket`], [`Error::Start`].
    pub async fn open(host: Namespace, instance: &str) -> Result<Self> {
        endpoint::check_instance(instance)?;
        let removals = Thread::start("netlink-remove", host.duplicate()?, instance).await?;
        Ok(Self { requests: Thread::start("netlink", host, instance).await?, removals })
    }

    /// Attaches an endpoint: a veth with the guest's end where it is to be, the `program` at the
    /// host's end, the guest's addresses and routes. What is there already is kept and
    /// completed (an agent that starts anew), or remade if its ends are not what they should be.
    /// On an error nothing that was made stays.
    ///
    /// The program is attached before the link is up, so no frame passes without it.
    ///
    /// # Errors
    /// [`Error::Endpoint`] with the step and its reason, which is [`Error::IndexTaken`] if another
    /// index should be tried.
    pub async fn attach_endpoint(
        &self,
        spec: &EndpointSpec,
        program: impl AsFd,
    ) -> Result<Attached> {
        self.attach_endpoint_with(spec, program, Earlier::Replaced).await
    }

    /// The same, and what becomes of the program that its interface has already.
    ///
    /// # Errors
    /// As of [`Netlink::attach_endpoint`].
    pub async fn attach_endpoint_with(
        &self,
        spec: &EndpointSpec,
        program: impl AsFd,
        earlier: Earlier,
    ) -> Result<Attached> {
        let program = duplicate(program)?;
        let spec = spec.clone();
        let attach =
            move |worker: &mut Worker| attach::attach(worker, &spec, (program.as_fd(), earlier));
        self.requests.run(attach).await
    }

    /// Detaches an endpoint; whether it was attached. An interface of its name that is not this
    /// instance's is left alone. This takes tens of milliseconds, while other requests go on: wait
    /// for it before the same endpoint is attached again.
    ///
    /// # Errors
    /// [`Error::Endpoint`] with the step and its reason.
    pub async fn detach_endpoint(&self, vni: u32, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.removals.run(move |worker| attach::detach(worker, vni, &name)).await
    }

    /// The endpoints of this instance that are attached to this host.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn list_endpoints(&self) -> Result<Vec<FoundEndpoint>> {
        self.requests.run(attach::list).await
    }

    /// Attaches a classifier program to an interface, or replaces the one that was attached so
    /// before.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn attach_filter(
        &self,
        interface: u32,
        hook: Hook,
        program: impl AsFd,
    ) -> Result<()> {
        let program = duplicate(program)?;
        let attach = move |worker: &mut Worker| {
            let program = (program.as_fd(), Earlier::Replaced);
            filter::attach(worker, interface, hook, program)
        };
        self.requests.run(attach).await
    }

    /// Removes the program that [`Netlink::attach_filter`] attached to the NIC; whether there was
    /// one. What guests share goes with the last of their interfaces.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn detach_filter(&self, interface: u32, hook: Hook) -> Result<bool> {
        self.requests.run(move |worker| filter::detach(&mut worker.host, interface, hook)).await
    }

    /// What there is to know about an interface of the host.
    ///
    /// # Errors
    /// [`Error::NoInterface`], [`Error::Ethtool`], [`Error::Refused`].
    pub async fn nic(&self, name: &str) -> Result<Nic> {
        let name = name.to_owned();
        self.requests.run(move |worker| nic::facts(worker, &name)).await
    }

    /// Has buffers of several UDP datagrams cut before an interface of the host sends them, instead
    /// of by whoever gets them. Buffers of TCP segments stay whole.
    ///
    /// # Errors
    /// [`Error::Ethtool`], [`Error::Unsupported`].
    pub async fn cut_datagrams(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        let features = [("tx-udp-segmentation", false)];
        self.requests.run(move |worker| ethtool::set_features(&worker.host, &name, &features)).await
    }

    /// How packets to an underlay address leave this host.
    ///
    /// Lower path MTUs that the network reports are not announced as events: ask again from time to
    /// time.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Refused`].
    pub async fn way(&self, destination: IpAddr) -> Result<Way> {
        self.requests.run(move |worker| neighbour::way(&mut worker.host, destination)).await
    }

    /// The neighbour's entry, if there is one.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn neighbour(&self, interface: u32, address: IpAddr) -> Result<Option<Neighbour>> {
        self.requests.run(move |worker| neighbour::find(&mut worker.host, interface, address)).await
    }

    /// Makes the kernel resolve a neighbour and keep it resolved, with or without traffic, also
    /// while no agent runs. The answer comes as [`Event::Neighbour`].
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn resolve(&self, interface: u32, address: IpAddr) -> Result<()> {
        self.requests
            .run(move |worker| neighbour::resolve(&mut worker.host, interface, address))
            .await
    }

    /// Lets go of a neighbour that is kept resolved; whether there was one.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn release(&self, interface: u32, address: IpAddr) -> Result<bool> {
        self.requests
            .run(move |worker| neighbour::release(&mut worker.host, interface, address))
            .await
    }

    /// Such changes from now on. Subscribe first and look up then: so nothing is missed.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub async fn events(&self, changes: Changes) -> Result<Events> {
        Events::read_from(self.requests.run(move |_| Events::open(changes)).await?)
    }
}

impl Thread {
    async fn start(name: &str, host: Namespace, instance: &str) -> Result<Self> {
        let instance = instance.to_owned();
        let (jobs, queue) = mpsc::channel();
        let (started, start) = oneshot::channel();
        let work = move || match Worker::new(host, instance) {
            Ok(mut worker) => {
                let _ = started.send(Ok(()));
                worker.run(&queue);
            }
            Err(error) => drop(started.send(Err(error))),
        };
        std::thread::Builder::new().name(name.into()).spawn(work).map_err(Error::Start)?;
        start.await.map_err(|_| Error::Stopped)??;
        Ok(Self { jobs })
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Worker) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, result) = oneshot::channel();
        // Nobody may be waiting for the answer any longer: that is no error.
        let job = move |worker: &mut Worker| drop(answer.send(job(worker)));
        self.jobs.send(Box::new(job)).map_err(|_| Error::Stopped)?;
        result.await.map_err(|_| Error::Stopped)?
    }
}

impl Worker {
    fn new(home: Namespace, instance: String) -> Result<Self> {
        home.enter()?;
        Ok(Self { home, instance, host: Socket::open()? })
    }

    fn run(&mut self, queue: &mpsc::Receiver<Job>) {
        for job in queue {
            job(self);
        }
    }
}

fn duplicate(program: impl AsFd) -> Result<OwnedFd> {
    program.as_fd().try_clone_to_owned().map_err(socket::failed("keep the program's descriptor"))
}

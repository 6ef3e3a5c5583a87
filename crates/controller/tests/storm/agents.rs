//! Agents without kernels, and the network between them and a controller.

use axum::Router;
use hyper_util::rt::TokioIo;
use mizar_identity::serve::{Acceptor, Incoming, Limits, PeerAddress, serve};
use mizar_proto::pb::controller_client::ControllerClient;
use mizar_proto::{
    Ack, AgentMessage, Applied, ControllerMessage, Hello, Outcome, PROTOCOL, Position, TAGS, pb,
};
use mizar_vpc::{Assembly, Generation, Vni, VpcRows};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Endpoint, Uri};

/// Bytes that a connection holds in each direction.
const PIPE: usize = 32 << 10;
/// How long a fleet may take to settle.
const PATIENCE: Duration = Duration::from_secs(300);

/// What leads to a controller.
#[derive(Clone, Debug)]
pub(crate) struct Network(mpsc::UnboundedSender<DuplexStream>);

/// Those who dial.
struct Dialled(mpsc::UnboundedReceiver<DuplexStream>);

impl Incoming for Dialled {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, PeerAddress)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, PeerAddress::Unix { uid: 0, pid: None })),
            None => std::future::pending().await,
        }
    }
}

impl Network {
    /// To whoever serves this. Everybody here is the local operator, who may be any host.
    pub(crate) fn serve(service: Router) -> Self {
        let (dial, dialled) = mpsc::unbounded_channel();
        let acceptor = Acceptor::local(Dialled(dialled), Limits::default());
        tokio::spawn(serve(acceptor, service, std::future::pending()));
        Self(dial)
    }

    async fn dial(&self) -> io::Result<TokioIo<DuplexStream>> {
        let (own, other) = tokio::io::duplex(PIPE);
        self.0.send(other).map_err(io::Error::other)?;
        Ok(TokioIo::new(own))
    }
}

/// All agents of a fleet.
pub(crate) struct Agents {
    agents: Vec<Arc<Mutex<Agent>>>,
    broken: watch::Sender<u32>,
    _tasks: JoinSet<()>,
}

/// What one agent has.
#[derive(Debug, Default)]
struct Agent {
    rows: BTreeMap<Vni, (Generation, VpcRows)>,
    told: Told,
    is_connected: bool,
    last: Option<Instant>,
}

/// How often an agent was told something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Everything of a VPC.
    pub(crate) full: usize,
    /// What changed.
    pub(crate) changes: usize,
}

impl Agents {
    /// So many, called h0 and so on, who begin to dial.
    pub(crate) fn start(count: usize, network: &Network) -> Self {
        let (broken, breaks) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let mut start = |number: usize| {
            let agent = Arc::new(Mutex::new(Agent::default()));
            let live = live(number, network.clone(), Arc::clone(&agent), breaks.clone());
            tasks.spawn(live);
            agent
        };
        Self { agents: (0..count).map(&mut start).collect(), broken, _tasks: tasks }
    }

    /// All connections break; some agents forget what they were told.
    pub(crate) fn break_all(&self, forgets: impl Fn(usize) -> bool) {
        for (number, agent) in self.agents.iter().enumerate() {
            let mut agent = agent.lock().unwrap();
            agent.is_connected = false;
            if forgets(number) {
                agent.rows.clear();
            }
        }
        self.broken.send_modify(|count| *count += 1);
    }

    /// Waits until all are connected and nobody was told anything for a while.
    pub(crate) async fn settle(&self, what: &str) {
        let start = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let quiet = |agent: &Arc<Mutex<Agent>>| {
                let agent = agent.lock().unwrap();
                let is_quiet = agent.last.is_none_or(|at| at.elapsed() > Duration::from_secs(1));
                agent.is_connected && is_quiet
            };
            if self.agents.iter().all(quiet) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what}");
        }
    }

    /// The addresses that one holds.
    pub(crate) fn rows(&self, number: usize) -> usize {
        let agent = self.agents[number].lock().unwrap();
        agent.rows.values().map(|(_, rows)| rows.held.len()).sum()
    }

    pub(crate) fn told(&self, number: usize) -> Told {
        self.agents[number].lock().unwrap().told
    }
}

async fn live(
    number: usize,
    network: Network,
    agent: Arc<Mutex<Agent>>,
    mut breaks: watch::Receiver<u32>,
) {
    loop {
        // As long as the host is not in the fleet, it is turned away.
        tokio::select! {
            _ = converse(number, &network, &agent) => {}
            _ = breaks.changed() => continue,
        }
        tokio::time::sleep(Duration::from_millis(100 + number as u64 % 100)).await;
    }
}

async fn converse(
    number: usize,
    network: &Network,
    agent: &Mutex<Agent>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let network = network.clone();
    let dial = move |_: Uri| {
        let network = network.clone();
        async move { network.dial().await }
    };
    let endpoint = Endpoint::from_static("http://controller.invalid");
    let channel = endpoint.connect_with_connector(tower::service_fn(dial)).await?;
    let (say, said) = mpsc::channel(16);
    say.send(AgentMessage::Hello(hello(number, agent))).await?;
    let said = ReceiverStream::new(said).map(pb::AgentMessage::from);
    let mut messages = ControllerClient::new(channel).connect(said).await?.into_inner();
    let mut assembly = Assembly::default();
    while let Some(message) = messages.message().await? {
        let ControllerMessage::Update(batch) = message.try_into()? else {
            agent.lock().unwrap().is_connected = true;
            continue;
        };
        agent.lock().unwrap().last = Some(Instant::now());
        let Some(update) = assembly.push(batch)? else { continue };
        let (vni, generation) = (update.vni, update.generation);
        {
            let mut agent = agent.lock().unwrap();
            let at = agent.rows.get(&vni).map(|(at, _)| *at);
            update.check_position(at)?;
            match update.base {
                Some(_) => agent.told.changes += 1,
                None => agent.told.full += 1,
            }
            let (at, rows) = agent.rows.entry(vni).or_insert((generation, VpcRows::default()));
            rows.apply(update)?;
            *at = generation;
        }
        let outcome = Outcome::Applied(Applied::default());
        say.send(AgentMessage::Ack(Ack { vni, generation, outcome })).await?;
    }
    Ok(())
}

fn hello(number: usize, agent: &Mutex<Agent>) -> Hello {
    let [high, low] = (number as u16 + 1).to_be_bytes();
    let agent = agent.lock().unwrap();
    let positions = agent.rows.iter().map(|(vni, (generation, rows))| {
        (*vni, Position { generation: *generation, digest: Some(rows.digest()) })
    });
    Hello {
        host: format!("h{number}").parse().unwrap(),
        protocol: PROTOCOL,
        version: "test".to_owned(),
        underlay: Some(IpAddr::V4(Ipv4Addr::new(100, 64, high, low))),
        tags: TAGS,
        positions: positions.collect(),
    }
}

//! Hosts without kernels: each has a stream of its own to the controller and behaves as an agent,
//! but installs nothing. It keeps where it stands, answers at once, and beats.

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use mizar_proto::pb::controller_client::ControllerClient;
use mizar_proto::{
    Ack, AgentMessage, Applied, Beat, ControllerMessage, Hello, Outcome, PROTOCOL, Position, TAGS,
    pb,
};
use mizar_vpc::{Assembly, Generation, Name, Vni};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Endpoint, Uri};

/// How often a host says that it lives.
const BEAT: Duration = Duration::from_secs(5);
/// Before a stream that has ended is opened anew.
const PAUSE: Duration = Duration::from_millis(500);
/// Messages in each direction that wait, as at an agent.
const QUEUE: usize = 16;

/// Hosts, for as long as this lives.
pub(crate) struct Hosts {
    heard: Vec<Arc<Heard>>,
    _tasks: JoinSet<()>,
}

/// What one host has heard.
#[derive(Debug, Default)]
struct Heard {
    connected: AtomicU64,
    messages: AtomicU64,
}

impl Hosts {
    /// Hosts that begin to connect.
    pub(crate) fn start(hosts: &[(Name, IpAddr)], socket: &Path) -> Self {
        let mut tasks = JoinSet::new();
        let mut start = |host: &(Name, IpAddr)| {
            let heard = Arc::new(Heard::default());
            tasks.spawn(live(host.clone(), socket.to_owned(), Arc::clone(&heard)));
            heard
        };
        Self { heard: hosts.iter().map(&mut start).collect(), _tasks: tasks }
    }

    /// How many have been connected.
    pub(crate) fn connected(&self) -> usize {
        self.heard.iter().filter(|it| it.connected.load(Ordering::Relaxed) > 0).count()
    }

    /// The messages with rows that each has had.
    pub(crate) fn messages(&self) -> Vec<u64> {
        self.heard.iter().map(|it| it.messages.load(Ordering::Relaxed)).collect()
    }
}

async fn live(host: (Name, IpAddr), socket: PathBuf, heard: Arc<Heard>) {
    let mut positions = BTreeMap::new();
    loop {
        // The controller may be starting or stopping.
        let _ = converse(&host, &socket, &mut positions, &heard).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn converse(
    host: &(Name, IpAddr),
    socket: &Path,
    positions: &mut BTreeMap<Vni, Generation>,
    heard: &Heard,
) -> Result<()> {
    let path = socket.to_owned();
    let channel = Endpoint::from_static("http://controller.invalid")
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
        .context("connect")?;
    let (say, said) = mpsc::channel(QUEUE);
    say.send(AgentMessage::Hello(hello(host, positions))).await?;
    let said = ReceiverStream::new(said).map(pb::AgentMessage::from);
    let mut messages = ControllerClient::new(channel).connect(said).await?.into_inner();
    let mut assembly = Assembly::default();
    let mut beats = tokio::time::interval(BEAT);
    loop {
        let message = tokio::select! {
            message = messages.message() => message?.context("the controller has gone")?,
            _ = beats.tick() => {
                say.send(AgentMessage::Beat(Beat::default())).await?;
                continue;
            }
        };
        let ControllerMessage::Update(batch) = message.try_into()? else {
            // It is told of the fleet once it is accepted.
            heard.connected.store(1, Ordering::Relaxed);
            continue;
        };
        heard.messages.fetch_add(1, Ordering::Relaxed);
        let Some(update) = assembly.push(batch)? else { continue };
        let (vni, generation) = (update.vni, update.generation);
        update.check_position(positions.get(&vni).copied())?;
        match update.removed {
            true => drop(positions.remove(&vni)),
            false => drop(positions.insert(vni, generation)),
        }
        let outcome = Outcome::Applied(Applied::default());
        say.send(AgentMessage::Ack(Ack { vni, generation, outcome })).await?;
    }
}

fn hello((host, underlay): &(Name, IpAddr), positions: &BTreeMap<Vni, Generation>) -> Hello {
    let position =
        |(vni, at): (&Vni, &Generation)| (*vni, Position { generation: *at, digest: None });
    Hello {
        host: host.clone(),
        protocol: PROTOCOL,
        version: "bench".to_owned(),
        underlay: Some(*underlay),
        tags: TAGS,
        positions: positions.iter().map(position).collect(),
    }
}

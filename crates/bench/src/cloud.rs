//! Real agents on hosts of a benchmark, and a controller that tells them what it is told.

use crate::namespace::Namespace;
use anyhow::{Context, Result, bail, ensure};
use mizar_proto::pb::controller_server::{Controller, ControllerServer};
use mizar_proto::{Ack, AgentMessage, Applied, ControllerMessage, Outcome, pb};
use mizar_vpc::{HostConfig, Name, VpcUpdate};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// How long anything of an agent may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Rows of one message.
const BATCH: usize = 1000;

/// A controller and the place where its agents keep what they keep. All ends with it.
pub(crate) struct Cloud {
    agents: Vec<Child>,
    streams: mpsc::Receiver<Stream>,
    runtime: Runtime,
    folder: TempDir,
}

/// The stream of one agent.
pub(crate) struct Stream {
    host: Name,
    to: mpsc::Sender<Result<pb::ControllerMessage, Status>>,
    from: Streaming<pb::AgentMessage>,
}

impl Cloud {
    /// Begins without agents, with a BPF file system of its own.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("create a folder")?;
        mount_pins(folder.path())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start the controller")?;
        let (tell, streams) = mpsc::channel(4);
        let socket = folder.path().join("controller.sock");
        let listener = runtime.block_on(async { UnixListener::bind(&socket) });
        let listener = listener.context("listen for agents")?;
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(ControllerServer::new(Service(tell)))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Ok(Self { agents: Vec::new(), streams, runtime, folder })
    }

    /// Starts a host's agent with such sizes of tables (`endpoints=131072`, …) where they are not
    /// the usual ones, waits until it has connected, and tells it about its host.
    pub(crate) fn start(
        &mut self,
        namespace: &Namespace,
        config: HostConfig,
        mode: &str,
        sizes: &[&str],
    ) -> Result<Stream> {
        let host = config.name.to_string();
        let path = |name: String| self.folder.path().join(name);
        let log = File::create(path(format!("{host}.log"))).context("create a log")?;
        let agent = namespace
            .command(program()?)
            .args(["agent", "--host", &host, "--instance", &host, "--nic", "nic", "--mode", mode])
            .args(sizes.iter().flat_map(|size| ["--rows", size]))
            .arg("--controller")
            .arg(format!("unix:{}", path("controller.sock".to_owned()).display()))
            .arg("--socket")
            .arg(path(format!("{host}.sock")))
            .arg("--pins")
            .arg(self.pins(&host))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share a log")?)
            .stderr(log)
            .spawn()
            .context("start an agent")?;
        self.agents.push(agent);
        let streams = &mut self.streams;
        let connected = async { tokio::time::timeout(PATIENCE, streams.recv()).await };
        let Ok(Some(stream)) = self.runtime.block_on(connected) else {
            let log = std::fs::read_to_string(path(format!("{host}.log"))).unwrap_or_default();
            bail!("the agent of {host} does not connect; its log:\n{log}");
        };
        ensure!(stream.host == config.name, "an agent says that it is {}", stream.host);
        stream.say(ControllerMessage::Config(config))?;
        Ok(stream)
    }

    /// Where a host's agent pins.
    pub(crate) fn pins(&self, host: &str) -> PathBuf {
        self.folder.path().join("bpf").join(host)
    }

    /// The process of the agent that was started first, second, ….
    pub(crate) fn agent(&self, number: usize) -> Option<u32> {
        self.agents.get(number).map(Child::id)
    }

    /// Sends an update and waits until the agent has applied it; what it says
    /// of that.
    pub(crate) fn update(&self, stream: &mut Stream, update: VpcUpdate) -> Result<Applied> {
        let host = stream.host.clone();
        for batch in update.batches(BATCH) {
            stream.say(ControllerMessage::Update(batch))?;
        }
        let answer = async { tokio::time::timeout(PATIENCE, stream.ack()).await };
        let answer = self.runtime.block_on(answer);
        let Ok(answer) = answer else { bail!("the agent of {host} does not answer an update") };
        match answer? {
            Outcome::Applied(applied) if applied.errors.is_empty() => Ok(applied),
            other => bail!("{host} could not install everything: {other:?}"),
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            // What an agent has set up is in namespaces and mounts that end with this process.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

impl Stream {
    /// The agent's next answer.
    async fn ack(&mut self) -> Result<Outcome> {
        loop {
            let message = self.from.next().await;
            let message =
                message.with_context(|| format!("the agent of {} has gone", self.host))?;
            let message = message.with_context(|| format!("the stream of {} fails", self.host))?;
            match AgentMessage::try_from(message)? {
                AgentMessage::Ack(Ack { outcome, .. }) => return Ok(outcome),
                AgentMessage::Beat(_) => {}
                other => bail!("{} answers an update with {other:?}", self.host),
            }
        }
    }

    fn say(&self, message: ControllerMessage) -> Result<()> {
        let sent = self.to.blocking_send(Ok(message.into()));
        sent.with_context(|| format!("the agent of {} has gone", self.host))
    }
}

/// Gives this thread, and those that it starts, mounts of their own, with a BPF file system at
/// `bpf`
/// in a folder.
pub(crate) fn mount_pins(folder: &Path) -> Result<()> {
    crate::sys::unshare_mounts().context("have mounts of its own")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("keep mounts from spreading")?;
    let pins = folder.join("bpf");
    std::fs::create_dir(&pins).context("create the folder of the pins")?;
    mount("bpf", &pins, "bpf", MountFlags::empty(), None).context("mount a BPF file system")
}

/// The program that is running: `mizar`, which is agents and controllers too.
pub(crate) fn program() -> Result<PathBuf> {
    std::env::current_exe().context("find this program")
}

struct Service(mpsc::Sender<Stream>);

#[tonic::async_trait]
impl Controller for Service {
    type ConnectStream = ReceiverStream<Result<pb::ControllerMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut from = request.into_inner();
        let first = from.next().await.ok_or_else(|| Status::invalid_argument("no hello"))??;
        let first = AgentMessage::try_from(first);
        let Ok(AgentMessage::Hello(hello)) = first else {
            return Err(Status::invalid_argument("hello comes first"));
        };
        let (to, messages) = mpsc::channel(64);
        let stream = Stream { host: hello.host, to, from };
        let taken = self.0.send(stream).await;
        taken.map_err(|_| Status::unavailable("the benchmark has ended"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

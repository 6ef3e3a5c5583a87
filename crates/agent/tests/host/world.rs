//! A host for one scenario: namespaces of its own, a NIC, guests, and a controller that says what
//! it is told to say.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a part of tests")]

use mizar_agent::{ModeChoice, Options};
use mizar_proto::pb::controller_server::{Controller, ControllerServer};
use mizar_proto::{Ack, AgentMessage, Beat, ControllerMessage, Hello, Outcome, RowError, pb};
use mizar_vpc::{Generation, HostConfig, NetworkRow, PortRow, SlotHolders, VpcRows, VpcUpdate};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

const INSIDE: &str = "MIZAR_TEST_INSIDE";
/// Set in a process that is an agent: its host and its mode.
const AGENT: &str = "MIZAR_TEST_AGENT";
/// The underlay address of the host.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));
/// Another host, on the same link.
pub(crate) const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2));
/// One more.
pub(crate) const THIRD: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 3));

/// Runs a scenario, the body of the test `name`, in network and mount namespaces of its own with a
/// BPF file system; all ends with it. Skips it without root.
pub(crate) fn enter<F: Future<Output = ()>>(name: &str, scenario: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        let agent = std::env::var(AGENT).ok();
        if agent.is_none() {
            set_up_nic();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let limit = Duration::from_secs(60);
        runtime.block_on(async {
            match agent {
                Some(agent) => {
                    let (host, mode) = agent.split_once(' ').unwrap();
                    let mode = mode.parse().unwrap();
                    mizar_agent::run(Options { mode, ..options_of(host) }).await.unwrap();
                }
                None => tokio::time::timeout(limit, scenario()).await.unwrap(),
            }
        });
        return;
    }
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout != b"0\n" {
        println!("SKIPPED: needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t bpf bpf \"$1\" && shift && exec \"$@\"";
    let pins = folder.path().join("bpf");
    std::fs::create_dir(&pins).unwrap();
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(&pins)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "{name}: {status}");
}

/// Whether this kernel can unwrap frames above a NIC's driver, which takes Linux 6.3.
pub(crate) fn unwraps_in_tc() -> bool {
    linux() >= (6, 3)
}

/// The version of this kernel.
pub(crate) fn linux() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Options of the agent of host h1, in this namespace.
pub(crate) fn options() -> Options {
    options_of("h1")
}

/// Options of a host's agent.
pub(crate) fn options_of(host: &str) -> Options {
    Options {
        host: host.to_owned(),
        nic: "nic".to_owned(),
        underlay: None,
        controller: format!("unix:{}", folder().join("controller.sock").display()),
        credentials: None,
        ca: None,
        socket: folder().join(host),
        metrics: None,
        pins: folder().join("bpf").join(host),
        mode: ModeChoice::Auto,
        instance: host.to_owned(),
        sizes: mizar_agent::kernel::Sizes::default(),
        layout: mizar_packet::tables::LAYOUT,
    }
}

/// An agent that runs.
pub(crate) type Agent = JoinHandle<Result<(), mizar_agent::RunError>>;

/// Starts an agent; aborting it is its sudden death.
pub(crate) fn start(options: Options) -> Agent {
    tokio::spawn(async {
        let ended = mizar_agent::run(options).await;
        println!("the agent ended: {ended:?}");
        ended
    })
}

/// Ends an agent as if it were killed, and waits until it is gone.
pub(crate) async fn kill(agent: Agent) {
    agent.abort();
    assert!(agent.await.unwrap_err().is_cancelled());
}

/// The agent of a host in another namespace: a process of the test `name` that ends with this.
pub(crate) fn start_in(namespace: &Path, host: &str, mode: &str, name: &str) -> Running {
    let child = Command::new("nsenter")
        .arg(format!("--net={}", namespace.display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(AGENT, format!("{host} {mode}"))
        .spawn();
    Running(child.unwrap())
}

/// A process that is killed when this is dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Asks it to end, and waits until it has; whether it did so well.
    pub(crate) fn terminate(mut self) -> bool {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.0.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client of the agent's local service, as soon as it answers.
async fn local(host: &str) -> pb::agent_client::AgentClient<tonic::transport::Channel> {
    let path = options_of(host).socket;
    loop {
        let path = path.clone();
        let connector = tower::service_fn(move |_: tonic::transport::Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://agent.invalid");
        if let Ok(channel) = endpoint.connect_with_connector(connector).await {
            return pb::agent_client::AgentClient::new(channel);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the agent says of itself, as soon as it answers.
pub(crate) async fn status(host: &str) -> mizar_proto::Status {
    let status = local(host).await.status(pb::StatusRequest {}).await.unwrap();
    status.into_inner().try_into().unwrap()
}

/// The agent's metrics.
pub(crate) async fn metrics(host: &str) -> String {
    local(host).await.metrics(pb::MetricsRequest {}).await.unwrap().into_inner().text
}

/// What the agent's host has counted of the first VPC.
pub(crate) async fn counters(host: &str) -> mizar_proto::VpcCounters {
    let counters = local(host).await.counters(pb::CountersRequest {}).await.unwrap();
    let counters: mizar_proto::Counters = counters.into_inner().try_into().unwrap();
    counters.vpcs.get(&mizar_vpc::Vni::MIN).cloned().unwrap_or_default()
}

/// Runs a command of iproute2 and returns what it says.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A guest: a network namespace that lives as long as this.
pub(crate) struct Guest(Running);

impl Guest {
    pub(crate) fn new() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap();
        let guest = Self(Running(child));
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        while std::fs::read_link(guest.namespace()).unwrap() == own {
            std::thread::sleep(Duration::from_millis(2));
        }
        guest
    }

    pub(crate) fn namespace(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.0.id()).into()
    }

    /// Whether a command succeeds there.
    pub(crate) fn succeeds(&self, command: &str) -> bool {
        self.output(command).status.success()
    }

    /// Runs a command there and returns what it says; panics if it fails.
    pub(crate) fn run(&self, command: &str) -> String {
        let output = self.output(command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}{failed}");
        said
    }

    fn output(&self, command: &str) -> Output {
        let mut words = command.split(' ');
        Command::new("nsenter")
            .arg(format!("--net={}", self.namespace().display()))
            .arg(words.next().unwrap())
            .args(words)
            .output()
            .unwrap()
    }
}

/// A controller for one agent.
pub(crate) struct FakeController {
    streams: mpsc::Receiver<Stream>,
}

/// One stream of the agent.
pub(crate) struct Stream {
    pub(crate) hello: Hello,
    from: Streaming<pb::AgentMessage>,
    to: mpsc::Sender<Result<pb::ControllerMessage, Status>>,
}

impl FakeController {
    /// Listens where [`options`] says.
    pub(crate) fn listen() -> (Self, JoinHandle<()>) {
        let path = folder().join("controller.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(path).unwrap();
        let (tell, streams) = mpsc::channel(4);
        let service = ControllerServer::new(Service(tell));
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(UnixListenerStream::new(listener));
        (Self { streams }, tokio::spawn(async { server.await.unwrap() }))
    }

    /// The agent's next stream, after its hello.
    pub(crate) async fn stream(&mut self) -> Stream {
        self.streams.recv().await.unwrap()
    }
}

impl Stream {
    /// Tells the agent about its host.
    pub(crate) async fn configure(&self) {
        let config = HostConfig {
            name: self.hello.host.clone(),
            underlay: match self.hello.host.as_str() {
                "h1" => HERE,
                "h2" => THERE,
                _ => THIRD,
            },
            fleet: vec!["100.64.0.0/10".parse().unwrap()],
            keys: None,
        };
        self.say(ControllerMessage::Config(config)).await;
    }

    /// Sends an update and returns the answer.
    pub(crate) async fn update(&mut self, update: VpcUpdate) -> Ack {
        for batch in update.batches(3) {
            self.say(ControllerMessage::Update(batch)).await;
        }
        self.ack().await
    }

    /// The agent's next answer.
    pub(crate) async fn ack(&mut self) -> Ack {
        loop {
            match self.message().await {
                AgentMessage::Ack(ack) => return ack,
                AgentMessage::Beat(_) => {}
                other => panic!("neither an answer nor a beat: {other:?}"),
            }
        }
    }

    /// The agent's next sign of life.
    pub(crate) async fn beat(&mut self) -> Beat {
        loop {
            if let AgentMessage::Beat(beat) = self.message().await {
                return beat;
            }
        }
    }

    /// Whatever the agent says next.
    pub(crate) async fn message(&mut self) -> AgentMessage {
        self.from.next().await.unwrap().unwrap().try_into().unwrap()
    }

    pub(crate) async fn say(&self, message: ControllerMessage) {
        self.to.send(Ok(message.into())).await.unwrap();
    }
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
        let hello = from.next().await.unwrap()?;
        let AgentMessage::Hello(hello) = AgentMessage::try_from(hello).unwrap() else {
            panic!("no hello");
        };
        let (to, messages) = mpsc::channel(16);
        self.0.send(Stream { hello, from, to }).await.unwrap();
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// What could not be installed of an update that was applied.
pub(crate) fn errors(ack: &Ack) -> &[RowError] {
    match &ack.outcome {
        Outcome::Applied(applied) => &applied.errors,
        Outcome::Refused(reason) => panic!("refused: {reason}"),
    }
}

/// Panics unless all of an update was installed.
pub(crate) fn all_applied(ack: &Ack) {
    assert_eq!(errors(ack), []);
}

/// A generation of the controller's store.
pub(crate) fn at(revision: u64) -> Generation {
    Generation::new(1, revision).unwrap()
}

/// A VPC with one network, held by the other host, and these ports.
pub(crate) fn rows(ports: &[(&str, PortRow)]) -> VpcRows {
    let holders = SlotHolders { hosts: vec![THERE], slots: vec![vec![0]; 256] };
    let network = NetworkRow {
        v4: Some("10.0.0.0/24".parse().unwrap()),
        v6: Some("fd00::/64".parse().unwrap()),
        v4_gateway: Some("10.0.0.1".parse().unwrap()),
        v6_gateway: Some("fd00::1".parse().unwrap()),
        holders,
    };
    VpcRows {
        dividers: vec![THERE],
        quota: 100,
        networks: [(1.try_into().unwrap(), network)].into(),
        ports: ports.iter().map(|(name, row)| (name.parse().unwrap(), row.clone())).collect(),
        ..VpcRows::default()
    }
}

/// A guest's port, whose last byte of everything is `last`.
pub(crate) fn port(namespace: &Path, last: u8, generation: Generation) -> PortRow {
    PortRow {
        network: 1.try_into().unwrap(),
        mac: [2, 0, 0, 0, 0, last].try_into().unwrap(),
        v4: Some(Ipv4Addr::new(10, 0, 0, last)),
        v6: Some(format!("fd00::{last:x}").parse().unwrap()),
        generation,
        attachment: mizar_vpc::Attachment::Veth {
            netns: namespace.to_owned(),
            interface: "eth0".to_owned(),
        },
        migration: None,
    }
}

fn folder() -> PathBuf {
    std::env::var_os(INSIDE).unwrap().into()
}

/// The NIC and the far end of its link, where the other host would be.
fn set_up_nic() {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap();
    if !std::mem::replace(&mut *done, true) {
        ip("link set lo up");
        ip("link add nic type veth peer name wire");
        ip("address add 100.64.0.1/24 dev nic");
        // Its link-local address is there at once, not when a second has shown that it is unique.
        std::fs::write("/proc/sys/net/ipv6/conf/nic/accept_dad", "0").unwrap();
        ip("link set nic up");
        ip("link set wire up");
    }
}

/// Joins namespaces to the far end of the NIC's link, as hosts h2, h3 and so on.
pub(crate) fn set_up_others(others: &[&Guest]) {
    ip("link add wires type bridge");
    ip("link set wires up");
    ip("link set wire master wires");
    for (number, other) in (2..).zip(others) {
        let namespace = other.namespace();
        ip(&format!("link add wire{number} type veth peer name nic netns {}", namespace.display()));
        ip(&format!("link set wire{number} master wires up"));
        other.run("ip link set lo up");
        other.run(&format!("ip address add 100.64.0.{number}/24 dev nic"));
        other.run("ip link set nic up");
    }
}

/// Has the NIC's link carry frames as a wire does, none larger than its MTU.
pub(crate) fn no_aggregation() {
    for end in ["nic", "wire"] {
        let mut ethtool = Command::new("ethtool");
        let done = ethtool.args(["-K", end, "tso", "off", "gso", "off", "tx", "off"]).status();
        assert!(done.unwrap().success(), "{end}");
    }
}

/// Puts the other end of the NIC's link into a namespace, as the NIC of host h2.
pub(crate) fn set_up_peer(peer: &Guest) {
    let pid = peer.0.0.id();
    ip(&format!("link set wire netns {pid} name nic"));
    peer.run("ip link set lo up");
    peer.run("ip address add 100.64.0.2/24 dev nic");
    peer.run("ip link set nic up");
}

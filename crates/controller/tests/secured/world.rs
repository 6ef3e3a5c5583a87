//! A CA, a controller that it vouches for, and those who dial it.

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use mizar_controller::api::{Limits as ApiLimits, Parts};
use mizar_controller::{Office, engine, service};
use mizar_identity::audit::Rotation;
use mizar_identity::pki::{Authority, Constraints, Lifetimes, Subject};
use mizar_identity::serve::{Acceptor, Limits, bind, serve};
use mizar_identity::{Audit, Credentials, Trust, tls};
use mizar_proto::pb::controller_client::ControllerClient;
use mizar_proto::{AgentMessage, ControllerMessage, Hello, PROTOCOL, TAGS, pb};
use mizar_store::Memory;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
const NAME: &str = "controller.test";

/// A controller of its own, and its CA.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
    log: PathBuf,
    store: Arc<Memory>,
}

impl World {
    /// With a fleet, hosts h1 and h2, and VPCs of the tenants acme and other.
    pub(crate) async fn new() -> Self {
        let world = Self::with_log("audit.log").await;
        let named = |kind: &str, name: &str| json!({ "kind": kind, "metadata": { "name": name } });
        let with = |mut manifest: Value, spec: Value| {
            manifest["spec"] = spec;
            manifest
        };
        let host = |name: &str, at: &str| with(named("Host", name), json!({ "underlay": at }));
        let vpc = |name: &str| with(named("Vpc", name), json!({ "tenant": name }));
        let manifests = json!({ "manifests": [
            with(named("Fleet", "fleet"), json!({ "prefixes": ["100.64.0.0/16"] })),
            host("h1", "100.64.0.1"), host("h2", "100.64.0.2"),
            with(named("Tenant", "acme"), json!({})), with(named("Tenant", "other"), json!({})),
            vpc("acme"), vpc("other"),
        ] });
        world.post("operator/alice", "/v1/apply", manifests).await.expect(StatusCode::OK);
        world
    }

    /// Empty, with its audit log in that file.
    pub(crate) async fn with_log(log: impl AsRef<Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Made long ago, so that certificates may have expired already.
        let long_ago = SystemTime::now() - 100 * HOUR;
        let constraints = Constraints::default();
        let authority =
            Authority::init(folder.path(), &constraints, 1000 * HOUR, long_ago).unwrap();
        let log = folder.path().join(log);
        Self { folder, authority, log, store: Arc::new(Memory::new()) }.started().await
    }

    /// Another controller, with the same store.
    pub(crate) async fn restarted(mut self) -> Self {
        fs::remove_file(self.folder.path().join("s")).unwrap();
        // The other one still has its own.
        self.log.set_extension("next");
        self.started().await
    }

    async fn started(self) -> Self {
        let subject = Subject::controller(&[NAME]).unwrap();
        let own = self.authority.issue_file(&subject, HOUR, SystemTime::now()).unwrap();
        let own = Arc::new(Credentials::load(&own).unwrap());
        let config = tls::server_config(own, &self.authority.trust()).unwrap();
        let (engine, _thread) = engine::start(self.store.clone()).unwrap();
        let (audit, _thread) = Audit::open(&self.log, Rotation::default()).unwrap();
        let address = format!("https://{NAME}:6443").parse().unwrap();
        let authority = Authority::load(self.folder.path()).unwrap();
        let office =
            Office::new(authority, address, self.store.clone(), Lifetimes::default()).unwrap();
        let revocations = office.revocations();
        let limits = ApiLimits::default();
        let parts = Parts { engine, limits, audit: Some(audit), office: Some(office) };
        let listener = bind(&self.folder.path().join("s")).await.unwrap();
        let acceptor = Acceptor::tls(listener, config, Limits::default());
        let acceptor = acceptor.believing_none_of(revocations);
        tokio::spawn(serve(acceptor, service(parts), std::future::pending()));
        self
    }

    /// The file with somebody's credentials, issued so long ago, for an hour.
    pub(crate) fn issued(&self, who: &str, age: Duration) -> PathBuf {
        let subject = Subject::new(who.parse().unwrap());
        let pem = self.authority.issue(&subject, HOUR, SystemTime::now() - age).unwrap();
        let path = self.folder.path().join(format!("{}.pem", who.replace('/', "-")));
        Credentials::write(&path, &pem).unwrap();
        path
    }

    /// How somebody dials: nobody, if it is empty.
    pub(crate) fn config(&self, who: &str) -> ClientConfig {
        let own = (!who.is_empty())
            .then(|| Arc::new(Credentials::load(&self.issued(who, Duration::ZERO)).unwrap()));
        tls::client_config(own, &self.authority.trust()).unwrap()
    }

    pub(crate) async fn dial(
        &self,
        config: ClientConfig,
    ) -> std::io::Result<TlsStream<UnixStream>> {
        dial(&self.folder.path().join("s"), config).await
    }

    pub(crate) async fn post(&self, who: &str, path: &str, body: Value) -> Answer {
        self.ask(self.config(who), Method::POST, path, Some(body)).await.unwrap()
    }

    pub(crate) async fn send(&self, who: &str, method: Method, path: &str) -> Answer {
        self.ask(self.config(who), method, path, None).await.unwrap()
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(
        &self,
        config: ClientConfig,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, String> {
        let stream = self.dial(config).await.map_err(|error| error.to_string())?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header(header::HOST, NAME);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::<Bytes>::from(text)).unwrap();
        let answer = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    }

    /// What the controller says first to an agent that shows a certificate, and says it is a host.
    pub(crate) async fn stream(&self, who: &str, host: &str) -> Result<ControllerMessage, Status> {
        let mut stream = self.open(self.config(who), host).await?;
        Ok(stream.messages.message().await?.unwrap().try_into().unwrap())
    }

    /// The stream of an agent that shows the certificate in a file.
    pub(crate) async fn open_with(&self, file: &Path, host: &str) -> Result<AgentStream, Status> {
        let own = Some(Arc::new(Credentials::load(file).unwrap()));
        self.open(tls::client_config(own, &self.authority.trust()).unwrap(), host).await
    }

    async fn open(&self, mut config: ClientConfig, host: &str) -> Result<AgentStream, Status> {
        let path = self.folder.path().join("s");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tower::service_fn(move |_: http::Uri| {
            let (path, config) = (path.clone(), config.clone());
            async move { dial(&path, config).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://controller.test");
        let channel = endpoint.connect_with_connector(connector).await.unwrap();
        let hello = AgentMessage::Hello(Hello {
            host: host.parse().unwrap(),
            protocol: PROTOCOL,
            version: "test".to_owned(),
            underlay: format!("100.64.0.{}", &host[1..]).parse().ok(),
            tags: TAGS,
            positions: std::collections::BTreeMap::new(),
        });
        let (say, said) = tokio::sync::mpsc::channel(1);
        say.send(pb::AgentMessage::from(hello)).await.unwrap();
        let said = tokio_stream::wrappers::ReceiverStream::new(said);
        let messages = ControllerClient::new(channel).connect(said).await?.into_inner();
        Ok(AgentStream { messages, _say: say })
    }

    /// The audit log, as far as it is written.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The trust that hosts of this cloud have.
    pub(crate) fn trust(&self) -> Trust {
        self.authority.trust()
    }
}

async fn dial(path: &Path, config: ClientConfig) -> std::io::Result<TlsStream<UnixStream>> {
    let stream = UnixStream::connect(path).await?;
    TlsConnector::from(Arc::new(config)).connect(NAME.try_into().unwrap(), stream).await
}

/// An agent's stream, for as long as this lives.
pub(crate) struct AgentStream {
    pub(crate) messages: Streaming<pb::ControllerMessage>,
    _say: tokio::sync::mpsc::Sender<pb::AgentMessage>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Why it is forbidden, if it is.
    #[track_caller]
    pub(crate) fn forbidden(self) -> String {
        self.expect(StatusCode::FORBIDDEN)["detail"].as_str().unwrap().to_owned()
    }
}

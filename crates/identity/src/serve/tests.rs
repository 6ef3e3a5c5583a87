//! Peers as services see them, and those who do not behave.

use super::*;
use crate::connect::{Connector, secure};
use crate::testing::{HOUR, LOCALHOST, World, now};
use crate::tls::{self, Protocol};
use axum::extract::Extension;
use axum::{Router, routing::get};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

mod join;

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);
/// Requests of the one test that counts them.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Something that serves on a socket in the test's own folder.
struct Server {
    path: PathBuf,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn local(world: &World, limits: Limits) -> Self {
        let path = world.folder.path().join("local.sock");
        let listener = bind(&path).await.unwrap();
        Self::start(path, Acceptor::local(listener, limits), router())
    }

    /// TLS, over a Unix socket: tests have no network.
    async fn tls(world: &World, limits: Limits) -> Self {
        Self::tls_for(world, limits, router()).await
    }

    async fn tls_for(world: &World, limits: Limits, router: Router) -> Self {
        let path = world.folder.path().join("tls.sock");
        let listener = bind(&path).await.unwrap();
        let trust = world.authority.trust();
        let config = tls::server_config(world.credentials("controller"), &trust).unwrap();
        Self::start(path, Acceptor::tls(listener, config, limits), router)
    }

    fn start(path: PathBuf, acceptor: Acceptor<UnixListener>, router: Router) -> Self {
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let task = tokio::spawn(serve(acceptor, router, stopped));
        Self { path, stop, task }
    }

    async fn raw(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }
}

fn router() -> Router {
    let who = |Extension(peer): Extension<Peer>| async move {
        peer.identity.map_or("nobody".to_owned(), |identity| identity.to_string())
    };
    let slow = || async {
        ASKED.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    };
    let stuck = || async {
        ASKED.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<&'static str>().await
    };
    Router::new().route("/who", get(who)).route("/slow", get(slow)).route("/stuck", get(stuck))
}

fn short() -> Limits {
    let (patience, grace) = (Duration::from_secs(1), Duration::from_secs(3));
    Limits { patience, grace, ..Limits::default() }
}

/// Asks who one is, over a connection of HTTP/1.1 or HTTP/2.
async fn ask_as(server: &Server, world: &World, who: Option<&str>, protocol: Protocol) -> String {
    let credentials = who.map(|who| world.credentials(who));
    let mut config = tls::client_config(credentials, &world.authority.trust()).unwrap();
    config.alpn_protocols = protocol.names();
    let host = LOCALHOST.try_into().unwrap();
    let dialled = secure(server.raw().await, &host, Arc::new(config)).await.unwrap();
    let request = Request::get("http://controller.invalid/who").body(Empty::<Bytes>::new());
    let request = request.unwrap();
    let answer = if protocol == Protocol::Http2 {
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), dialled).await;
        let (mut send, connection) = shaken.unwrap();
        tokio::spawn(connection);
        send.send_request(request).await.unwrap()
    } else {
        let (mut send, connection) = hyper::client::conn::http1::handshake(dialled).await.unwrap();
        tokio::spawn(connection);
        send.send_request(request).await.unwrap()
    };
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn each_request_knows_its_peer_whatever_http_it_speaks() {
    let world = World::new();
    let server = Server::tls(&world, Limits::default()).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for who in ["operator/alice", "tenant/acme/bob", "host/h1"] {
            assert_eq!(ask_as(&server, &world, Some(who), protocol).await, who);
        }
        assert_eq!(ask_as(&server, &world, None, protocol).await, "nobody");
    }
}

#[tokio::test]
async fn who_may_connect_to_the_local_socket_is_the_local_operator() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let server = Server::local(&world, Limits::default()).await;
    let mode = std::fs::metadata(&server.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let connector = Connector::local(&server.path);
    let uri = connector.address().origin().to_string() + "who";
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let answer = client.get(uri.parse().unwrap()).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "operator/local");
}

#[tokio::test]
async fn grpc_clients_connect_with_the_connector() {
    let world = World::new();
    let server = Server::local(&world, Limits::default()).await;
    let connector = Connector::local(&server.path);
    let endpoint = tonic::transport::Endpoint::from(connector.address().origin());
    let mut channel = endpoint.connect_with_connector(connector).await.unwrap();
    let request = Request::get("/who").body(tonic::body::Body::empty()).unwrap();
    let ready = tower::ServiceExt::ready(&mut channel).await.unwrap();
    let answer = tower::Service::call(ready, request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "operator/local");
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let world = World::new();
    let path = world.folder.path().join("new/folder/a.sock");
    let first = bind(&path).await.unwrap();
    assert!(matches!(bind(&path).await, Err(BindError::Taken(_))));
    drop(first);
    bind(&path).await.unwrap();
    let file = world.folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(bind(&file).await, Err(BindError::NoSocket(_))));
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

#[tokio::test]
async fn who_does_not_shake_hands_is_cut_off_and_holds_nobody_up() {
    let world = World::new();
    let limits = Limits { handshakes: 2, ..short() };
    let server = Server::tls(&world, limits).await;
    let mut lazy = Vec::new();
    for _ in 0..5 {
        lazy.push(server.raw().await);
    }
    assert_eq!(ask_as(&server, &world, Some("host/h1"), Protocol::Http2).await, "host/h1");
    for mut stream in lazy {
        let read = tokio::time::timeout(LONG, stream.read_u8()).await;
        assert!(read.expect("cut off in time").is_err());
    }
}

#[tokio::test]
async fn where_the_oldest_goes_any_number_who_do_not_shake_hands_keep_out_nobody() {
    let world = World::new();
    // Nobody is cut off for being slow while this goes on.
    let limits = Limits { handshakes: 4, oldest_goes: true, patience: LONG, ..Limits::default() };
    let server = Server::tls(&world, limits).await;
    let mut lazy = Vec::new();
    for round in 0..10 {
        for _ in 0..5 {
            lazy.push(server.raw().await);
        }
        let asked = ask_as(&server, &world, Some("host/h1"), Protocol::Http1);
        let who = tokio::time::timeout(LONG / 2, asked).await;
        assert_eq!(who.unwrap_or_else(|_| panic!("kept out in round {round}")), "host/h1");
    }
    for mut stream in lazy.drain(..40) {
        let read = tokio::time::timeout(LONG / 2, stream.read_u8()).await;
        assert!(read.expect("given up").is_err());
    }
}

#[tokio::test]
async fn who_is_not_expected_is_heard_among_few_and_does_not_stay() {
    let world = World::new();
    let path = world.folder.path().join("tls.sock");
    let listener = bind(&path).await.unwrap();
    let config = tls::server_config(world.credentials("host/h1"), &world.authority.trust());
    let stay = Duration::from_secs(2);
    let limits = Limits { strangers: 1, stay, ..Limits::default() };
    let acceptor = Acceptor::tls(listener, config.unwrap(), limits)
        .expecting(|who| matches!(who, Identity::Monitor(_)));
    let server = Server::start(path, acceptor, router());
    let dial = async |who: &str| {
        let (chain, key) = world.chain_and_key(who);
        let config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(world.authority.trust().roots().unwrap())
            .with_client_auth_cert(chain, key)
            .unwrap();
        let host = crate::pki::HOST_NAME.try_into().unwrap();
        let dialled = secure(server.raw().await, &host, Arc::new(config)).await.unwrap();
        let mut stream = TokioIo::new(dialled);
        let _ = stream.write_all(b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stream
    };
    let read = async |mut stream: TokioIo<_>| {
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut heard)).await.unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    };
    let mut monitor = dial("monitor/m").await;
    let bob = dial("tenant/acme/bob").await;
    let mut heard = [0; 8];
    monitor.read_exact(&mut heard).await.unwrap();
    assert!(read(bob).await.ends_with("tenant/acme/bob"), "he is heard, and then cut off");
    let (first, second) = tokio::join!(dial("host/h2"), dial("host/h3"));
    let heard = [read(first).await, read(second).await];
    assert_eq!(heard.iter().filter(|heard| heard.is_empty()).count(), 1, "{heard:?}");
    // Longer than strangers may.
    monitor.write_all(b"GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(read(monitor).await.ends_with("monitor/m"));
}

#[tokio::test]
async fn headers_that_are_too_long_are_refused_and_nobody_stays_for_ever() {
    let world = World::new();
    let age = Some(Duration::from_secs(2));
    let limits = Limits { headers: 8192, age, ..Limits::default() };
    let server = Server::tls(&world, limits).await;
    let dial = async || {
        let mut config =
            tls::client_config(Some(world.credentials("host/h1")), &world.authority.trust());
        config.as_mut().unwrap().alpn_protocols = Protocol::Http1.names();
        let host = LOCALHOST.try_into().unwrap();
        TokioIo::new(secure(server.raw().await, &host, Arc::new(config.unwrap())).await.unwrap())
    };
    let read = async |mut stream: TokioIo<_>| {
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut heard)).await.unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    };
    let mut long = dial().await;
    let request = format!("GET /who HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(9000));
    let _ = long.write_all(request.as_bytes()).await;
    let heard = read(long).await;
    assert!(heard.starts_with("HTTP/1.1 431 "), "{heard}");
    let mut stays = dial().await;
    stays.write_all(b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read(stays).await.ends_with("host/h1"));
}

#[tokio::test]
async fn who_asks_nothing_after_the_handshake_is_cut_off() {
    let world = World::new();
    let server = Server::tls(&world, short()).await;
    let config = tls::client_config(Some(world.credentials("host/h1")), &world.authority.trust());
    let host = LOCALHOST.try_into().unwrap();
    let dialled = secure(server.raw().await, &host, Arc::new(config.unwrap())).await.unwrap();
    let mut silent = TokioIo::new(dialled);
    let read = tokio::time::timeout(LONG, silent.read_u8()).await;
    assert!(read.expect("cut off in time").is_err());
}

#[tokio::test]
async fn strangers_are_few_and_do_not_stay() {
    let world = World::new();
    let stay = Duration::from_secs(4);
    let server = Server::tls(&world, Limits { strangers: 1, stay, ..Limits::default() }).await;
    let dial = async || {
        let mut config = tls::client_config(None, &world.authority.trust()).unwrap();
        config.alpn_protocols = Protocol::Http1.names();
        let host = LOCALHOST.try_into().unwrap();
        let dialled = secure(server.raw().await, &host, Arc::new(config)).await.unwrap();
        let mut stream = TokioIo::new(dialled);
        let _ = stream.write_all(b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stream
    };
    let mut first = dial().await;
    let mut heard = [0; 8];
    first.read_exact(&mut heard).await.unwrap();
    let mut second = dial().await;
    let mut nothing = Vec::new();
    let _ = tokio::time::timeout(LONG, second.read_to_end(&mut nothing)).await.unwrap();
    assert!(nothing.is_empty(), "one is one too many");
    assert_eq!(ask_as(&server, &world, Some("host/h1"), Protocol::Http2).await, "host/h1");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(LONG, first.read_to_end(&mut rest)).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).ends_with("nobody"));
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let world = World::new();
    let server = Server::tls(&world, Limits::default()).await;
    let left = Duration::from_secs(4);
    let credentials = world.credentials_at("host/h1", now() + left - HOUR, HOUR);
    let mut config = tls::client_config(Some(credentials), &world.authority.trust()).unwrap();
    config.alpn_protocols = Protocol::Http1.names();
    let host = LOCALHOST.try_into().unwrap();
    let dialled = secure(server.raw().await, &host, Arc::new(config)).await.unwrap();
    let mut stream = TokioIo::new(dialled);
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let read = stream.read_to_end(&mut heard);
    // Whether the end is announced is another question than whether it comes.
    let _ = tokio::time::timeout(LONG, read).await.expect("cut off in time");
    assert!(String::from_utf8_lossy(&heard).ends_with("host/h1"));
}

#[tokio::test]
async fn shutting_down_answers_what_has_been_asked_and_waits_for_no_more() {
    let world = World::new();
    let server = Server::local(&world, short()).await;
    let (mut asked, mut stuck) = (server.raw().await, server.raw().await);
    asked.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    stuck.write_all(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    while ASKED.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.stop.send(()).unwrap();
    let mut heard = String::new();
    asked.read_to_string(&mut heard).await.unwrap();
    assert!(heard.ends_with("done"), "{heard}");
    tokio::time::timeout(LONG, server.task).await.unwrap().unwrap();
    assert!(UnixStream::connect(&server.path).await.is_err());
}

//! Over the network, a certificate says who asks.

use crate::world::{Ended, ended};
use mizar_controller::{api, engine};
use mizar_identity::pki::{Authority, Constraints, Subject};
use mizar_identity::serve::{Acceptor, Limits, serve};
use mizar_identity::{Credentials, tls};
use mizar_store::Memory;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const HOUR: Duration = Duration::from_secs(3600);

/// A controller on a TCP port, with a CA of its own.
struct Secured {
    folder: TempDir,
    authority: Authority,
    port: u16,
    _runtime: Runtime,
}

impl Secured {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path().join("pki");
        let authority =
            Authority::init(&pki, &Constraints::default(), 24 * HOUR, SystemTime::now()).unwrap();
        let subject = Subject::controller(&["127.0.0.1"]).unwrap();
        let own = authority.issue_file(&subject, HOUR, SystemTime::now()).unwrap();
        let own = Arc::new(Credentials::load(&own).unwrap());
        let config = tls::server_config(own, &authority.trust()).unwrap();
        let runtime = Runtime::new().unwrap();
        let (engine, _thread) = engine::start(Arc::new(Memory::new())).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            let acceptor = Acceptor::tls(listener, config, Limits::default());
            serve(acceptor, api::router(engine), std::future::pending()).await;
        });
        Self { folder, authority, port, _runtime: runtime }
    }

    fn credentials(&self, who: &str) -> PathBuf {
        let subject = Subject::new(who.parse().unwrap());
        self.authority.issue_file(&subject, HOUR, SystemTime::now()).unwrap()
    }

    /// Runs the program as somebody, with a context.
    fn run(&self, who: &str, line: &str) -> Ended {
        let mizar = |words: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mizar"));
            command.env("MIZAR_CONFIG", self.folder.path().join("config.yaml"));
            command.env_remove("MIZAR_CONTROLLER");
            ended(&command.args(words).output().unwrap())
        };
        let address = format!("https://127.0.0.1:{}", self.port);
        let ca = self.folder.path().join("pki/ca.crt");
        let credentials = self.credentials(who);
        mizar(&[
            "config",
            "set-context",
            "test",
            "--controller",
            &address,
            "--ca",
            ca.to_str().unwrap(),
            "--credentials",
            credentials.to_str().unwrap(),
        ])
        .expect(0);
        mizar(&line.split_whitespace().collect::<Vec<_>>())
    }
}

#[test]
fn an_operator_may_and_a_host_may_not() {
    let world = Secured::new();
    let file = crate::world::example("fleet-and-hosts.yaml");
    let apply = format!("apply -f {}", file.display());
    world.run("operator/alice", &apply).expect(0);
    assert!(world.run("operator/alice", "get hosts -o name").expect(0).contains("host h1\n"));
    let said = world.run("host/h1", "delete host h2").refusal(5);
    assert!(said.starts_with("error: "), "{said}");
}

#[test]
fn a_controller_of_another_ca_is_not_believed() {
    let (world, other) = (Secured::new(), Secured::new());
    let ca = other.folder.path().join("pki/ca.crt");
    let said = world.run("operator/alice", &format!("get hosts --ca {}", ca.display()));
    let said = said.refusal(1);
    assert!(said.contains("UnknownIssuer"), "{said}");
}

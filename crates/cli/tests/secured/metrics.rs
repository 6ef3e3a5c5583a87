//! Those who collect metrics, at a host and at the controller, and those who may not.

use crate::agent::agent;
use crate::world::{CONTROLLER, World, needs_root};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the agent listens.
pub(crate) const PORT: &str = "127.0.0.1:6082";
/// By which name all hosts are known.
const HOST: &str = "host.mizar.internal:6082";

/// What a host answers to somebody with these credentials, or with none: the status, 0 if there is
/// no answer, and the text, or why there is none. The path comes first, then options of curl.
pub(crate) fn of_host(world: &World, own: Option<&str>, ask: &[&str]) -> (u16, String) {
    let resolve = format!("{HOST}:127.0.0.1");
    let url = format!("https://{HOST}{}", ask[0]);
    let ask = [&[&url, "--resolve", &resolve], &ask[1..]].concat();
    curl(world, own, &ask)
}

fn curl(world: &World, own: Option<&str>, ask: &[&str]) -> (u16, String) {
    let mut curl = world.inside("curl");
    curl.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", "--cacert"]);
    curl.arg(world.path("pki/ca.crt"));
    curl.args(own.map(|own| ["--cert", own]).into_iter().flatten()).args(ask);
    let output = curl.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (text, status) = text.rsplit_once('\n').unwrap();
    match status.parse().unwrap() {
        0 => (0, String::from_utf8(output.stderr).unwrap()),
        status => (status, text.to_owned()),
    }
}

#[test]
fn monitors_and_operators_collect_metrics_and_nobody_else() {
    needs_root!();
    let world = World::new();
    let _agent = agent(&world, "metrics", &["--metrics", PORT]);
    let monitor = world.issue("monitor/prometheus", "monitor.pem");
    let alice = world.issue("operator/alice", "alice.pem");
    for own in [&monitor, &alice] {
        let (status, text) = of_host(&world, Some(own), &["/metrics"]);
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("\nmizar_agent_connected 1\n"), "{text}");
    }
    let local = world.run(&["agent", "metrics", "--socket", &world.path("agent.sock")]).expect(0);
    let names = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("# TYPE ")).map(str::to_owned).collect()
    };
    let (_, text) = of_host(&world, Some(&monitor), &["/metrics"]);
    assert_eq!(names(&text), names(&local));

    for who in ["tenant/acme/bob", "host/h1"] {
        let own = world.issue(who, "other.pem");
        let (status, text) = of_host(&world, Some(&own), &["/metrics"]);
        let why = "may not read metrics: it takes an operator or a monitor";
        assert_eq!((status, text.trim_end()), (403, &*format!("{who} {why}")));
    }
    let (status, text) = of_host(&world, None, &["/metrics"]);
    assert!(status == 403 && text.starts_with("no certificate is shown"), "{status} {text}");
    world.line(&format!("pki init --pki {}", world.path("other"))).expect(0);
    let own = world.path("foreign.pem");
    let issue = ["pki", "issue", "monitor/prometheus", "--pki", &world.path("other")];
    world.run(&[&issue[..], &["--out", &own]].concat()).expect(0);
    let (status, text) = of_host(&world, Some(&own), &["/metrics"]);
    assert!(status == 0 && text.contains("alert"), "{status} {text}");
    // Nor does anybody speak to it who is not encrypted.
    let (status, _) = curl(&world, None, &[&format!("http://{PORT}/metrics")]);
    assert_eq!(status, 0);

    assert_eq!(of_host(&world, Some(&monitor), &["/v1/hosts"]).0, 404);
    let (status, text) = of_host(&world, Some(&monitor), &["/metrics", "-i", "-X", "POST"]);
    let head = text.to_lowercase();
    assert!(status == 405 && head.contains("\r\nallow: get\r\n"), "{status} {text}");
    let long = format!("X-Long: {}", "x".repeat(9_000));
    assert_eq!(of_host(&world, Some(&monitor), &["/metrics", "-H", &long]).0, 431);

    let of_controller =
        |own: Option<&str>, path: &str| curl(&world, own, &[&format!("{CONTROLLER}{path}")]);
    let (status, text) = of_controller(Some(&monitor), "/metrics");
    assert!(status == 200 && text.contains("mizar_controller_hosts 1"), "{status} {text}");
    let (status, text) = of_controller(Some(&monitor), "/v1/hosts");
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &problem["status"]), (403, &403.into()), "{problem}");
    assert_eq!(of_controller(None, "/metrics").0, 403);
}

#[test]
fn who_connects_and_says_nothing_keeps_nobody_from_collecting_metrics() {
    needs_root!();
    let world = World::new();
    let _agent = agent(&world, "slow", &["--metrics", PORT]);
    let monitor = world.issue("monitor/prometheus", "monitor.pem");
    let bob = world.issue("tenant/acme/bob", "bob.pem");
    // So many more connections than there may be handshakes that, if each were waited for, it would
    // take longer than anybody waits here.
    let script = format!(
        "for i in {{10..409}}; do eval \"exec $i<>/dev/tcp/{}\"; done; echo; exec sleep 60",
        PORT.replace(':', "/")
    );
    let mut silent = [(); 3].map(|()| world.start_other("bash", &["-c", &script]));
    for silent in &mut silent {
        let mut line = String::new();
        BufReader::new(silent.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "\n");
    }
    // And many who show what is not enough, and want to stay.
    let connect = ["s_client", "-quiet", "-connect", PORT, "-cert", &bob, "-key", &bob];
    let _strangers: Vec<_> = (0..20).map(|_| world.start_other("openssl", &connect)).collect();
    let start = Instant::now();
    for _ in 0..20 {
        let (status, text) = of_host(&world, Some(&monitor), &["/metrics"]);
        assert_eq!(status, 200, "{text}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    world.alice("wait host h1 --timeout 10s").expect(0);
}

#[test]
fn metrics_take_a_certificate() {
    needs_root!();
    let world = World::new();
    let socket = format!("unix:{}", world.path("c.sock"));
    let words = ["agent", "--host", "h1", "--nic", "lo", "--controller", &socket];
    let refused = world.run(&[&words[..], &["--metrics", PORT]].concat()).refusal(1);
    assert!(refused.contains("--metrics 127.0.0.1:6082 takes a certificate"), "{refused}");
    let refused = world.run(&[&words[..], &["--metrics", "6082"]].concat()).refusal(2);
    assert!(refused.contains("--metrics <ADDRESS:PORT>"), "{refused}");
}

#[test]
fn prometheus_collects_both_as_the_documentation_says() {
    needs_root!();
    // `cargo xtask test --full` unpacks it.
    if Command::new("prometheus").arg("--version").output().is_err() {
        println!("SKIPPED: needs prometheus, of Debian's package of that name");
        return;
    }
    let world = World::new();
    let _agent = agent(&world, "prometheus", &["--metrics", PORT]);
    world.issue("monitor/prometheus", "monitor.pem");
    std::fs::copy(world.path("pki/ca.crt"), world.path("ca.crt")).unwrap();
    let documentation = include_str!("../../../../docs/metrics.md");
    let (_, config) = documentation.split_once("```yaml\n").unwrap();
    let (config, _) = config.split_once("```").unwrap();
    let folder = world.path("");
    let config = config
        .replace("/etc/prometheus/mizar/", &folder)
        .replace("controller.example:6443", CONTROLLER.trim_start_matches("https://"));
    let config = format!("global: {{scrape_interval: 1s}}\n{config}");
    std::fs::write(world.path("prometheus.yml"), config).unwrap();
    let hosts = format!("[{{\"targets\": [\"{PORT}\"], \"labels\": {{\"host\": \"h1\"}}}}]");
    std::fs::write(world.path("hosts.json"), hosts).unwrap();
    let file = format!("--config.file={}", world.path("prometheus.yml"));
    let data = format!("--storage.tsdb.path={}", world.path("tsdb"));
    let listen = "--web.listen-address=127.0.0.1:9090";
    let _prometheus = world.start_other("prometheus", &[&file, &data, listen]);
    let query = "http://127.0.0.1:9090/api/v1/query?query=";
    let found = |query_for: &str| {
        let (_, text) = curl(&world, None, &[&format!("{query}{query_for}")]);
        text.matches("\"value\":").count()
    };
    let start = Instant::now();
    while found("up==1") < 2 || found("mizar_agent_connected") + found("mizar_controller_hosts") < 2
    {
        let (_, told) = curl(&world, None, &["http://127.0.0.1:9090/api/v1/targets"]);
        assert!(start.elapsed() < Duration::from_secs(60), "{told}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A program that ends with the test.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    /// Starts another program in the namespace.
    fn start_other(&self, program: &str, words: &[&str]) -> Other {
        let mut command = self.inside(program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Other(command.spawn().unwrap())
    }
}

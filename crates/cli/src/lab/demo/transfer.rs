//! Bulk data over TCP: whole, and as fast as without an overlay.

use super::checks::Checks;
use super::world::World;
use anyhow::{Context, Result, anyhow, ensure};
use std::fs::{self, File};
use std::io::Read;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Bytes of the file that is downloaded.
const SIZE: usize = 32 << 20;
const PORT: &str = "8081";
/// Throughput is measured so often, in turns.
const ROUNDS: usize = 3;
/// Seconds of one measurement.
const SECONDS: &str = "2";
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn show(world: &World, checks: &mut Checks) -> Result<()> {
    checks.run("HTTP download between guests", download(world)).await?;
    checks.run("throughput beside the same hosts without overlay", throughput(world)).await
}

/// A download inside a network over IPv4, and one across networks over IPv6.
async fn download(world: &World) -> Result<String> {
    let folder = world.folder("www-file")?;
    let file = folder.join("file");
    let mut bytes = vec![0; SIZE];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("cannot read random bytes")?;
    fs::write(&file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;

    let (file, folder) = (file.display().to_string(), folder.display().to_string());
    // Both families by the unspecified IPv6 address.
    let address = format!("[::]:{PORT}");
    world.start("blue/web", &["busybox", "httpd", "-f", "-p", &address, "-h", &folder])?;
    let right = digest(&world.run("blue/web", &["busybox", "sha256sum", &file]).await?)?;
    let (v4, v6) = (world.v4("blue/web")?, world.v6("blue/web")?);
    for (client, host) in [("blue/client", v4.to_string()), ("blue/db", format!("[{v6}]"))] {
        let script = format!(
            "set -o pipefail; curl -g -s -S -f -m 10 http://{host}:{PORT}/file | busybox sha256sum"
        );
        let fetched = world.run_soon(client, &["busybox", "sh", "-c", &script]).await?;
        let found = digest(&fetched)?;
        ensure!(found == right, "{client} got a file with digest {found}, not {right}");
    }
    let start = right.get(..8).unwrap_or(&right);
    Ok(format!("{} MiB by IPv4 and across networks by IPv6, SHA-256 {start}… each", SIZE >> 20))
}

fn digest(line: &str) -> Result<String> {
    let digest = line.split_whitespace().next().map(str::to_owned);
    digest.ok_or_else(|| anyhow!("sha256sum says nothing"))
}

/// TCP between two guests and between their hosts, in turns. How fast that is depends on what else
/// the machine does; the ratio depends on it least.
async fn throughput(world: &World) -> Result<String> {
    let (client, server) = ("blue/client", "blue/web");
    let (from, to) = (&world.guest(client)?.host, &world.guest(server)?.host);
    let host = world.status.hosts.iter().find(|host| host.name == *to);
    let host = host.ok_or_else(|| anyhow!("there is no host {to}"))?;
    let (guest, underlay) = (world.v4(server)?.to_string(), host.underlay.to_string());
    for target in [server, to] {
        world.start(target, &["iperf3", "-s"])?;
    }
    let (mut overlay, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        overlay.push(iperf(world, client, &guest).await?);
        bare.push(iperf(world, from, &underlay).await?);
    }
    let (overlay, bare) = (median(overlay), median(bare));
    ensure!(overlay > 0.0 && bare > 0.0, "nothing was transferred");
    Ok(format!(
        "{overlay:.1} Gb/s between guests, {bare:.1} Gb/s between their hosts, ratio {:.2}",
        overlay / bare
    ))
}

/// What one TCP connection transfers, in Gb/s. A server that is about to start is waited for:
/// iperf3 does not fail without one, but says so in place of a rate.
async fn iperf(world: &World, from: &str, address: &str) -> Result<f64> {
    let line = ["iperf3", "-J", "-C", "cubic", "-t", SECONDS, "-c", address];
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = world.run_soon(from, &line).await?;
        let answer: serde_json::Value = serde_json::from_str(&answer).context("iperf3's answer")?;
        let rate = answer.pointer("/end/sum_received/bits_per_second");
        if let Some(bits) = rate.and_then(serde_json::Value::as_f64) {
            return Ok(bits / 1e9);
        }
        let said = answer.get("error").and_then(serde_json::Value::as_str);
        let said = said.unwrap_or("and no reason");
        ensure!(Instant::now() < deadline, "iperf3 states no rate: {said}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_not_moved_by_one_outlier() {
        assert!((median(vec![3.0, 0.1, 4.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }
}

//! Who reaches whom, and who does not.

use super::checks::Checks;
use super::world::World;
use anyhow::{Result, bail, ensure};
use futures::future::try_join_all;
use std::fs;

/// The port of the VPCs' web servers.
const PORT: &str = "8080";

const SAME_NETWORK: [(&str, &str); 5] = [
    ("blue/client", "blue/neighbour"),
    ("blue/client", "blue/web"),
    ("blue/client", "blue/web-2"),
    ("blue/api", "blue/db"),
    ("red/client", "red/web"),
];

const TWO_NETWORKS: [(&str, &str); 5] = [
    ("blue/client", "blue/api"),
    ("blue/client", "blue/db"),
    ("blue/db", "blue/web-2"),
    ("red/client", "red/db"),
    ("red/db", "red/web"),
];

pub(super) async fn show(world: &World, checks: &mut Checks) -> Result<()> {
    checks.run("ping inside a network", pings(world, &SAME_NETWORK, false)).await?;
    checks.run("ping6 inside a network", pings(world, &SAME_NETWORK, true)).await?;
    checks.run("ping across networks", pings(world, &TWO_NETWORKS, false)).await?;
    checks.run("ping6 across networks", pings(world, &TWO_NETWORKS, true)).await?;
    checks.run("same address, two VPCs, two servers", identities(world)).await?;
    checks.run("no way from one VPC into the other", isolation(world)).await
}

async fn pings(world: &World, pairs: &[(&str, &str)], is_v6: bool) -> Result<String> {
    let ping = async |(from, to): &(&str, &str)| {
        let address = if is_v6 { world.v6(to)?.to_string() } else { world.v4(to)?.to_string() };
        world.ping(from, &address, 3).await
    };
    try_join_all(pairs.iter().map(ping)).await?;
    Ok(format!("{} pairs of guests, on one host and on two", pairs.len()))
}

/// A TCP server in each VPC, both at the same address, says which VPC it is in.
async fn identities(world: &World) -> Result<String> {
    let address = world.v4("blue/web")?;
    ensure!(address == world.v4("red/web")?, "the VPCs do not share the address {address}");
    let url = format!("http://{address}:{PORT}/vpc");
    for vpc in ["blue", "red"] {
        let folder = world.folder(&format!("www-{vpc}"))?;
        fs::write(folder.join("vpc"), vpc)?;
        let folder = folder.display().to_string();
        let server = ["busybox", "httpd", "-f", "-p", PORT, "-h", &folder];
        world.start(&format!("{vpc}/web"), &server)?;
        let fetch = ["curl", "-s", "-S", "-f", "-m", "5", &url];
        let answer = world.run_soon(&format!("{vpc}/client"), &fetch).await?;
        ensure!(answer == vpc, "{vpc}/client asked {address} and got an answer from {answer:?}");
    }
    Ok(format!("{address} answers blue/client with \"blue\" and red/client with \"red\""))
}

/// Addresses that only the other VPC has are nowhere, and the drops are counted.
async fn isolation(world: &World) -> Result<String> {
    let foreign = [
        ("red/client", world.v4("blue/web-2")?.to_string()),
        ("red/client", world.v6("blue/api")?.to_string()),
        ("blue/client", world.v6("red/db")?.to_string()),
    ];
    let before = world.counted().await?;
    for (from, address) in &foreign {
        if world.run(from, &["ping", "-n", "-c", "1", "-W", "1", address]).await.is_ok() {
            bail!("{from} reaches {address}, which is in the other VPC only");
        }
        let vni = world.guest(from)?.vni;
        let dropped = world.counted().await?.since(&before, vni, "no_endpoint");
        ensure!(
            !dropped.is_empty(),
            "no host counted the packet of {from} to {address} as dropped"
        );
    }
    Ok(format!("{} addresses of the other VPC are dropped as no_endpoint", foreign.len()))
}

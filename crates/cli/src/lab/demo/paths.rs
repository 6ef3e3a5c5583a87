//! First packets take the way over bouncers and dividers, later ones go direct: by the counters.

use super::checks::Checks;
use super::world::World;
use crate::trace;
use anyhow::{Context, Result, bail};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Packets that must all go direct.
const LATER: u32 = 5;

/// Guests of one network whose hosts are none of its bouncers, so that third hosts help.
const SAME_NETWORK: [(&str, &str); 4] = [
    ("blue/client", "blue/web"),
    ("blue/client", "blue/web-2"),
    ("blue/neighbour", "blue/web"),
    ("red/client", "red/web"),
];

/// Guests of two networks of a VPC.
const TWO_NETWORKS: [(&str, &str); 4] = [
    ("blue/web-2", "blue/db"),
    ("red/web", "red/db"),
    ("blue/db", "blue/web"),
    ("blue/web-2", "blue/api"),
];

/// Shows both; the trace of a first packet, to be shown later.
pub(super) async fn show(world: &World, checks: &mut Checks) -> Result<Option<String>> {
    let bouncer = first_then_direct(world, &SAME_NETWORK, "sent_to_bouncer", "bounced");
    let name = "inside a network, first by way of a bouncer, then direct";
    let inside = checks.run_for(name, bouncer).await?;
    let divider = first_then_direct(world, &TWO_NETWORKS, "sent_to_divider", "divided");
    let name = "across networks, first by way of a divider, then direct";
    let across = checks.run_for(name, divider).await?;
    Ok(across.or(inside))
}

/// Pings where a third host has to help at first. Which pair that is depends on who holds the
/// slots of their addresses: the trace tells, and the counters must agree. On a slow machine
/// another of the holders may have proven itself alive in between, and if that is the destination's
/// own host nobody helps.
async fn first_then_direct(
    world: &World,
    pairs: &[(&str, &str)],
    sent: &str,
    helped: &str,
) -> Result<(String, String)> {
    let mut others = String::new();
    for (from, to) in pairs {
        let trace = trace::ping(&world.status, from, to).await?;
        if !trace.counted.iter().any(|(_, name)| *name == helped) {
            continue;
        }
        let (guest, address) = (world.guest(from)?, world.v4(to)?.to_string());
        let before = world.counted().await?;
        world.ping(from, &address, 1).await.context("the first packet")?;
        let after = world.counted().await?;
        let helpers = after.since(&before, guest.vni, helped);
        let counted = after.risen(&before, guest.vni);
        if after.since(&before, guest.vni, sent).is_empty() {
            bail!(
                "the first packet from {from} to {to} was not counted as {sent}, but as {counted}"
            );
        }
        if helpers.is_empty() {
            others.push_str(&format!("; from {from} to {to}, {counted}"));
            continue;
        }
        until_direct(world, from, &address, sent).await?;
        let helpers: Vec<_> = helpers.into_keys().collect();
        // The answer to a first packet may need help as well, and not from the same host.
        let ways = if helpers.len() > 1 { " (there and back)" } else { "" };
        let (here, there) = (&guest.host, &world.guest(to)?.host);
        let helpers = helpers.join(" and ");
        let said = format!("{from} to {to} first through {helpers}{ways}, then {here} → {there}");
        return Ok((trace.text, said));
    }
    bail!("no pair of guests needs a third host: the topology is another one{others}")
}

/// Waits until pings go direct and no other way, for [`LATER`] packets in a row.
async fn until_direct(world: &World, from: &str, address: &str, sent: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let guest = world.guest(from)?;
    loop {
        let before = world.counted().await?;
        world.ping(from, address, LATER).await.context("later packets")?;
        let after = world.counted().await?;
        let direct = after.since(&before, guest.vni, "sent_direct");
        let direct = direct.get(&guest.host).copied().unwrap_or_default();
        let detours = after.since(&before, guest.vni, sent);
        if direct >= u64::from(LATER) && detours.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("of {LATER} later packets only {direct} went direct: {detours:?} {sent}");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

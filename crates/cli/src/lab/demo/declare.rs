//! An endpoint is declared to the lab's controller, as to any other, and is there.

use super::checks::Checks;
use super::world::World;
use crate::lab::guest;
use crate::output;
use anyhow::{Context, Result, anyhow, bail};
use mizar_controller::client::Client;
use mizar_identity::Connector;
use mizar_vpc::manifest::{EndpointStatus, Timing};
use mizar_vpc::{Kind, Manifest, Name, Ref};
use std::env;
use std::path::Path;
use tokio::process::Command;

/// What is declared: where, what, in which network, on which host.
const EXTRA: [&str; 4] = ["blue", "extra", "front", "h4"];
/// Who tries whether it is there.
const ASKER: &str = "blue/client";

/// Declares it, and shows what the controller has then.
pub(super) async fn show(world: &World, checks: &mut Checks) -> Result<()> {
    let name = "one more endpoint, declared with `mizar apply`";
    if checks.run_for(name, declare(world)).await?.is_none() {
        return Ok(());
    }
    let endpoints = mizar(world, &["get", "endpoints"]).await?;
    let indented = super::indented(&endpoints);
    output::print(&format!("\n    $ mizar get endpoints\n{indented}"))
}

async fn declare(world: &World) -> Result<((), String)> {
    let [vpc, name, network, host] = EXTRA.map(str::parse::<Name>);
    let (vpc, name, network, host) = (vpc?, name?, network?, host?);
    let guest = (vpc.clone(), name.clone());
    let manifest = guest::make(&world.status.lab, &guest, &network, &host).await?;
    let manifest = serde_saphyr::to_string(&manifest)?;
    let file = world.folder("manifests")?.join("extra.yaml");
    std::fs::write(&file, manifest).with_context(|| format!("cannot write {}", file.display()))?;
    mizar(world, &["apply", "-f", text(&file)?, "--wait"]).await?;

    let client = Client::new(Connector::local(&world.status.controller.socket));
    let reference = Ref::in_vpc(Kind::Endpoint, vpc, name);
    let Manifest::Endpoint(endpoint) = client.get(&reference).await? else {
        bail!("the controller has something else as {reference}");
    };
    let status = endpoint.status.ok_or_else(|| anyhow!("{reference} has no status"))?;
    let address = status.v4.ok_or_else(|| anyhow!("{reference} has no IPv4 address"))?;
    world.ping(ASKER, &address.to_string(), 1).await?;
    let ready = millis(&status, "ready")?;
    let attached = millis(&status, "attached")?;
    let said = format!(
        "{reference} is {address}: attached {attached} after it was asked for, Ready {ready} \
         after; \
         {ASKER} reaches it"
    );
    Ok(((), said))
}

/// When a step of making it ready was done.
fn millis(status: &EndpointStatus, step: &str) -> Result<String> {
    let timing = status.timings.iter().find(|timing| timing.step == step);
    let Timing { micros, .. } =
        timing.ok_or_else(|| anyhow!("the controller does not know when it was {step}"))?;
    Ok(format!("{:.1} ms", *micros as f64 / 1000.0))
}

/// Runs this very program against the lab's controller; what it prints.
async fn mizar(world: &World, words: &[&str]) -> Result<String> {
    let program = env::current_exe().context("cannot find this very program")?;
    let address = format!("unix:{}", text(&world.status.controller.socket)?);
    let mut command = Command::new(program);
    // Nothing that the user has configured leads elsewhere.
    command.args(words).args(["--controller", &address]).env_remove("MIZAR_CONTEXT");
    let output = command.output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    bail!("`mizar {}`: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| anyhow!("{} is no text", path.display()))
}

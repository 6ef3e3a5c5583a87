//! What is asked of the controller: VPCs of one network, endpoints one by one or a thousand at a
//! time, and the time until they are ready.

use anyhow::{Context, Result, ensure};
use http::Method;
use mizar_controller::api::body::{BatchBody, ChangeBody, DeleteBody, EventBody, MOST_CHANGES};
use mizar_controller::client::{Client, Watching};
use mizar_controller::engine::{Filter, List, Watch};
use mizar_vpc::manifest::{EndpointSpec, Metadata, NetworkSpec, Object, Phase, RoleSpec, VpcSpec};
use mizar_vpc::{Attachment, Generation, Kind, Labels, Manifest, Name, Ref};
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Batches under way at a time.
const PARALLEL: usize = 4;
/// The label of endpoints whose becoming ready is watched.
const WATCHED: &str = "watched";
/// How long an endpoint may take to become ready; a whole network may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A VPC of one network.
pub(crate) struct Vpc {
    pub(crate) name: Name,
    client: Client,
    watching: Watching,
    /// What endpoints become when all is as well as it can be.
    phase: Phase,
    made: u64,
}

/// An endpoint that was made and has become ready.
pub(crate) struct Made {
    /// From asking for it until being told that it is ready, in milliseconds.
    pub(crate) took_ms: f64,
    /// The write that made it.
    pub(crate) at: Generation,
    reference: Ref,
}

impl Vpc {
    /// A VPC whose network has these bouncers; the first of them are its dividers.
    pub(crate) async fn new(client: &Client, name: &str, bouncers: &[Name]) -> Result<Self> {
        Self::of_phase(client, name, bouncers, Phase::Ready).await
    }

    /// One that lacks a bouncer: its endpoints work, and are called degraded.
    pub(crate) async fn degraded(client: &Client, name: &str, bouncers: &[Name]) -> Result<Self> {
        Self::of_phase(client, name, bouncers, Phase::Degraded).await
    }

    async fn of_phase(
        client: &Client,
        name: &str,
        bouncers: &[Name],
        phase: Phase,
    ) -> Result<Self> {
        let name: Name = name.parse()?;
        let role = RoleSpec::Hosts(bouncers.to_vec());
        let dividers = RoleSpec::Hosts(bouncers.iter().take(2).cloned().collect());
        let vpc = VpcSpec { dividers, ..VpcSpec::default() };
        let v4 = Some("10.0.0.0/8".parse()?);
        let network = NetworkSpec { v4, bouncers: role, ..NetworkSpec::default() };
        let manifests = vec![
            Manifest::Vpc(Object::new(Metadata::new(None, name.clone()), vpc)),
            Manifest::Network(Object::new(
                Metadata::new(Some(name.clone()), "net".parse()?),
                network,
            )),
        ];
        client.apply(manifests, false).await?;
        let mut filter = Filter::all(Kind::Endpoint);
        (filter.vpc, filter.selector) = (Some(name.clone()), WATCHED.parse()?);
        filter.phase = Some(phase);
        // There are none yet.
        let watching = client.watch(&Watch { filter, from: None }).await?;
        Ok(Self { name, client: client.clone(), watching, phase, made: 0 })
    }

    /// Brings the network to so many endpoints, spread over the hosts; the seconds until the last
    /// of them was ready. Each host follows in order, and the last batch reaches all of them.
    pub(crate) async fn fill(&mut self, count: usize, hosts: &[Name]) -> Result<f64> {
        let start = Instant::now();
        let mut under_way = JoinSet::new();
        for first in (0..count).step_by(MOST_CHANGES) {
            let last = first + MOST_CHANGES >= count;
            while under_way.len() >= if last { 1 } else { PARALLEL } {
                under_way.join_next().await.context("no batch")???;
            }
            let numbers = first..count.min(first + MOST_CHANGES);
            let changes = numbers
                .map(|number| {
                    let host = &hosts[number % hosts.len()];
                    self.endpoint(&format!("e{number:07}"), host, last).map(ChangeBody::Create)
                })
                .collect::<Result<Vec<_>>>()?;
            let client = self.client.clone();
            under_way.spawn(async move { create_all(&client, changes).await });
        }
        while let Some(done) = under_way.join_next().await {
            done??;
        }
        let mut waited: BTreeSet<_> = ((count - 1) / MOST_CHANGES * MOST_CHANGES..count)
            .map(|number| format!("e{number:07}"))
            .collect();
        while !waited.is_empty() {
            waited.remove(self.next_ready(PATIENCE * 20).await?.as_str());
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Makes one endpoint, and waits until it is ready.
    pub(crate) async fn create(&mut self, host: &Name) -> Result<Made> {
        self.made += 1;
        let manifest = self.endpoint(&format!("w{:07}", self.made), host, true)?;
        let reference = manifest.reference();
        let path = format!("/v1/vpcs/{}/endpoints", self.name);
        let start = Instant::now();
        let client = self.client.clone();
        let asked = tokio::spawn(async move {
            let made: Manifest = client.ask(Method::POST, &path, Some(&manifest)).await?;
            made.metadata().resource_version.context("no resource version")
        });
        while self.next_ready(PATIENCE).await? != reference.name {}
        let took_ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(Made { took_ms, at: asked.await??, reference })
    }

    /// Deletes an endpoint.
    pub(crate) async fn delete(&self, made: Made) -> Result<()> {
        let reference = made.reference;
        let body = DeleteBody { reference, cascade: false, resource_version: None };
        self.client.batch(vec![ChangeBody::Delete(body)], false).await?;
        Ok(())
    }

    /// How many endpoints are in a phase, of the first page that has any.
    pub(crate) async fn has(&self, phase: Phase) -> Result<bool> {
        let mut filter = Filter::all(Kind::Endpoint);
        (filter.vpc, filter.phase) = (Some(self.name.clone()), Some(phase));
        let mut list = List { filter, limit: 1, after: None };
        loop {
            let page = self.client.list(&list).await?;
            if !page.items.is_empty() {
                return Ok(true);
            }
            let Some(next) = page.next else { return Ok(false) };
            list.after = Some(next);
        }
    }

    /// The next endpoint that is watched and has become ready.
    async fn next_ready(&mut self, patience: Duration) -> Result<Name> {
        loop {
            let event = tokio::time::timeout(patience, self.watching.next()).await;
            let event = event.with_context(|| format!("nothing becomes ready in {}", self.name))?;
            let event = event?.context("the controller has gone")?;
            if let EventBody::Modified { object: Manifest::Endpoint(endpoint), .. } = event
                && endpoint.status.is_some_and(|status| status.phase == self.phase)
            {
                return Ok(endpoint.metadata.name);
            }
        }
    }

    fn endpoint(&self, name: &str, host: &Name, watched: bool) -> Result<Manifest> {
        endpoint(&self.name, name, host, watched)
    }
}

/// Creates endpoints one by one in a VPC, so many a second, until it is aborted.
pub(crate) async fn create_steadily(client: Client, vpc: Name, hosts: Vec<Name>, rate: u32) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut under_way = JoinSet::new();
    for number in 0_usize.. {
        ticks.tick().await;
        let host = &hosts[number % hosts.len()];
        let Ok(manifest) = endpoint(&vpc, &format!("b{number:07}"), host, false) else { return };
        let (client, path) = (client.clone(), format!("/v1/vpcs/{vpc}/endpoints"));
        under_way.spawn(async move {
            client.ask::<IgnoredAny>(Method::POST, &path, Some(&manifest)).await
        });
        while under_way.try_join_next().is_some() {}
    }
}

async fn create_all(client: &Client, changes: Vec<ChangeBody>) -> Result<()> {
    let count = changes.len();
    let body = BatchBody { changes };
    let answer = client.ask::<IgnoredAny>(Method::POST, "/v1/batch", Some(&body)).await;
    ensure!(answer.is_ok(), "a batch of {count} fails: {answer:?}");
    Ok(())
}

fn endpoint(vpc: &Name, name: &str, host: &Name, watched: bool) -> Result<Manifest> {
    let mut metadata = Metadata::new(Some(vpc.clone()), name.parse()?);
    if watched {
        let labels = BTreeMap::from([(WATCHED.to_owned(), String::new())]);
        metadata.labels = Labels::try_from(labels)?;
    }
    let netns = format!("/run/netns/{name}").into();
    let spec = EndpointSpec {
        migration: None,
        network: "net".parse()?,
        host: host.clone(),
        v4: None,
        v6: None,
        mac: None,
        attachment: Attachment::Veth { netns, interface: "eth0".to_owned() },
    };
    Ok(Manifest::Endpoint(Object::new(metadata, spec)))
}

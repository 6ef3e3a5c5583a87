//! The service on the host's local socket: what the agent has and does.

use crate::clock::Clock;
use crate::driver::NOT_AT_WORK;
use crate::hosts::Hosts;
use crate::kernel::{Maps, NicMode, Pins, TableError};
use crate::metrics::Metrics;
use crate::standing::Standing;
use crate::usage::Used;
use mizar_packet::count::{Counter, PER_VPC};
use mizar_proto::pb::agent_server::{Agent, AgentServer};
use mizar_proto::{Counters, FieldError, HostStatus, Look, Status, VpcCounters, pb};
use mizar_vpc::{Mac, Name};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response};

mod metrics;

/// Answers questions.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) host: Name,
    pub(crate) nic: String,
    pub(crate) since: SystemTime,
    pub(crate) clock: Clock,
    pub(crate) maps: Arc<Maps>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) used: Arc<Used>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pins: Pins,
    pub(crate) standing: watch::Receiver<Standing>,
}

/// Listens on a socket that only this user may use. One that an earlier agent left is replaced.
///
/// # Errors
/// The socket cannot be made.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    // Made under another name, and renamed once nobody else may open it.
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = Path::new(&new);
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(new)?;
    std::fs::set_permissions(new, Permissions::from_mode(0o600))?;
    std::fs::rename(new, path)?;
    Ok(listener)
}

impl Local {
    /// Serves for ever.
    pub(crate) async fn serve(self, listener: UnixListener) -> Result<(), tonic::transport::Error> {
        let service = AgentServer::new(self);
        let connections = UnixListenerStream::new(listener);
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(connections)
            .await
    }

    fn host_statuses(&self) -> Vec<HostStatus> {
        let now = self.clock.now();
        let rows = self.hosts.others().into_iter().filter_map(|(underlay, index)| {
            let row = self.maps.hosts.get(&index).ok().flatten()?;
            Some(HostStatus {
                underlay,
                next_hop: Mac::try_from(row.next_hop).ok(),
                alive: row.alive_until > now,
                mtu: row.mtu,
            })
        });
        rows.collect()
    }

    fn counters_of(&self, index: u32) -> Result<VpcCounters, TableError> {
        let mut counters = VpcCounters::new();
        for row in 0..PER_VPC {
            if let Some(counter) = Counter::from_row(row) {
                let sum = self.maps.counters.sum(index * PER_VPC + row)?;
                counters.insert(counter.name().to_owned(), sum);
            }
        }
        Ok(counters)
    }
}

#[tonic::async_trait]
impl Agent for Local {
    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, tonic::Status> {
        let standing = self.standing.borrow().clone();
        let status = Status {
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            layout: self.pins.layout(),
            nic: self.nic.clone(),
            nic_mode: match standing.mode {
                NicMode::Native => mizar_proto::NicMode::Native,
                NicMode::Generic => mizar_proto::NicMode::Generic,
                NicMode::Tc => mizar_proto::NicMode::Tc,
            },
            waits_for: standing.waits_for(),
            nic_mode_reason: standing.reason,
            since: self.since,
            config: standing.config,
            connected: standing.connected,
            positions: standing.positions,
            ports: standing.ports.into_values().flat_map(BTreeMap::into_values).collect(),
            hosts: self.host_statuses(),
        };
        Ok(Response::new(status.into()))
    }

    async fn counters(
        &self,
        _: Request<pb::CountersRequest>,
    ) -> Result<Response<pb::CountersResponse>, tonic::Status> {
        let standing = self.standing.borrow().clone();
        let vpcs = standing.counters.into_iter();
        let vpcs = vpcs.map(|(vni, index)| Ok((vni, self.counters_of(index)?)));
        let vpcs: Result<_, TableError> = vpcs.collect();
        let counters = Counters {
            vpcs: vpcs.map_err(|error| failed(&error))?,
            unknown: self.counters_of(0).map_err(|error| failed(&error))?,
        };
        Ok(Response::new(counters.into()))
    }

    async fn metrics(
        &self,
        _: Request<pb::MetricsRequest>,
    ) -> Result<Response<pb::MetricsResponse>, tonic::Status> {
        let local = self.clone();
        let text = tokio::task::spawn_blocking(move || local.text()).await;
        let text = text.map_err(|error| tonic::Status::internal(error.to_string()))?;
        let text = text.map_err(|error| failed(&error))?;
        Ok(Response::new(pb::MetricsResponse { text }))
    }

    async fn look(
        &self,
        request: Request<pb::Look>,
    ) -> Result<Response<pb::Looked>, tonic::Status> {
        let look = request.into_inner().try_into();
        let look: Look =
            look.map_err(|error: FieldError| tonic::Status::invalid_argument(error.to_string()))?;
        if !self.standing.borrow().others.is_empty() {
            return Err(tonic::Status::failed_precondition(NOT_AT_WORK));
        }
        let (maps, clock) = (Arc::clone(&self.maps), self.clock);
        // System calls: not on a thread that serves others.
        let looked = tokio::task::spawn_blocking(move || maps.look(&look, clock.now())).await;
        let looked = looked.map_err(|error| tonic::Status::internal(error.to_string()))?;
        Ok(Response::new(looked.map_err(|error| failed(&error))?.into()))
    }
}

fn failed(error: &dyn std::error::Error) -> tonic::Status {
    tonic::Status::internal(crate::error_chain(error))
}

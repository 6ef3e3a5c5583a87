//! What a monitoring system collects, in the text format of Prometheus.
//!
//! What happens is counted as it happens; how things stand is looked up when somebody asks. All
//! metrics are listed in docs/metrics.md.

use mizar_vpc::manifest::TagsStatus;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::time::Duration;

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// Upper ends of the histograms' buckets: from a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.008, 0.0125, 0.025, 0.05, 0.1, 0.25,
    1.0, 2.5, 10.0,
];
/// Upper ends of the buckets of how much is written together.
const TOGETHER: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What is counted as it happens.
#[derive(Debug)]
pub(crate) struct Metrics {
    writes: Family<Label, Counter>,
    commit_seconds: Histogram,
    commit_writes: Histogram,
    ready_seconds: Family<Label, Histogram>,
    updates: Family<Label, Counter>,
    rows_sent: Counter,
}

/// How things stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) hosts: u64,
    pub(crate) connected: u64,
    pub(crate) alive: u64,
    pub(crate) vpcs: u64,
    pub(crate) networks: u64,
    pub(crate) endpoints: u64,
    pub(crate) waiting: u64,
    pub(crate) unsettled: u64,
    pub(crate) upgrading: u64,
    pub(crate) resyncing: u64,
    pub(crate) resyncs_waiting: u64,
    pub(crate) watchers: u64,
    pub(crate) frozen: bool,
    pub(crate) keys: TagsStatus,
    pub(crate) revision: u64,
    pub(crate) epoch: u64,
}

impl Metrics {
    /// Nothing has happened.
    pub(crate) fn new() -> Self {
        let (writes, updates) = (Family::<Label, Counter>::default(), Family::default());
        for outcome in ["done", "refused"] {
            // There from the start, so that the first one is seen as a change.
            drop(writes.get_or_create(&[("outcome", outcome)]));
        }
        for outcome in ["applied", "refused"] {
            let _: &Family<Label, Counter> = &updates;
            drop(updates.get_or_create(&[("outcome", outcome)]));
        }
        Self {
            writes,
            commit_seconds: Histogram::new(SECONDS),
            commit_writes: Histogram::new(TOGETHER),
            ready_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            updates,
            rows_sent: Counter::default(),
        }
    }

    /// A request to write was answered.
    pub(crate) fn written(&self, is_done: bool) {
        let outcome = if is_done { "done" } else { "refused" };
        self.writes.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Writes were stored together.
    pub(crate) fn committed(&self, writes: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_writes.observe(writes as f64);
    }

    /// An endpoint has come to a step of getting ready, so long after it was stored.
    pub(crate) fn reached(&self, step: &'static str, after: Duration) {
        self.ready_seconds.get_or_create(&[("step", step)]).observe(after.as_secs_f64());
    }

    /// A host was sent rows.
    pub(crate) fn sent(&self, rows: usize) {
        self.rows_sent.inc_by(rows as u64);
    }

    /// A host has answered an update.
    pub(crate) fn answered(&self, applied: bool) {
        let outcome = if applied { "applied" } else { "refused" };
        self.updates.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// One has a name or a value that the format does not have.
    pub(crate) fn text(&self, snapshot: &Snapshot) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("mizar_controller");
        registry.register(
            "writes",
            "Requests to write, by what became of them",
            self.writes.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Time to store writes together",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register(
            "commit_writes",
            "How many requests were stored together",
            self.commit_writes.clone(),
        );
        registry.register_with_unit(
            "endpoint_ready",
            "From storing an endpoint until its host has it (attached), its bouncers have it \
             (bounced), and both, with its network known to the dividers (ready)",
            Unit::Seconds,
            self.ready_seconds.clone(),
        );
        registry.register(
            "updates",
            "Updates that hosts answered, by what became of them",
            self.updates.clone(),
        );
        registry.register("rows_sent", "Rows that hosts were sent", self.rows_sent.clone());
        for (name, help, value) in snapshot.gauges() {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Snapshot {
    fn gauges(&self) -> [(&'static str, &'static str, u64); 18] {
        [
            ("hosts", "Hosts of the fleet", self.hosts),
            (
                "hosts_connected",
                "Hosts whose agents have a stream to this controller",
                self.connected,
            ),
            ("hosts_alive", "Hosts that were heard of within their lease", self.alive),
            ("vpcs", "VPCs", self.vpcs),
            ("networks", "Networks", self.networks),
            ("endpoints", "Endpoints", self.endpoints),
            ("endpoints_waiting", "Endpoints that are not ready yet", self.waiting),
            (
                "hosts_lagging",
                "Hosts that have not acknowledged all that they were or will be sent",
                self.unsettled,
            ),
            (
                "hosts_upgrading",
                "Hosts whose programs of another layout are at work still",
                self.upgrading,
            ),
            ("resyncs", "Hosts, by VPC, that are being sent everything anew", self.resyncing),
            (
                "resyncs_waiting",
                "Hosts, by VPC, that wait for being sent everything anew",
                self.resyncs_waiting,
            ),
            ("watches", "Watches of the API", self.watchers),
            (
                "reassignment_frozen",
                "1 if so many hosts fell silent at once that nothing is reassigned",
                self.frozen.into(),
            ),
            ("keys_epoch", "The key that hosts sign with, by its number; 0: none", self.keys.epoch),
            (
                "keys_stage",
                "0: hosts sign nothing, 1: they sign, 2: they believe only what is signed",
                self.keys.stage as u64,
            ),
            (
                "keys_waiting",
                "1 while not all hosts have taken the last step of keys",
                (!self.keys.waiting.is_empty()).into(),
            ),
            ("store_revision", "Revision of the last write", self.revision),
            ("store_epoch", "Epoch of the store", self.epoch),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_help_text_and_is_documented() {
        let metrics = Metrics::new();
        metrics.committed(3, Duration::from_millis(2));
        metrics.reached("ready", Duration::from_millis(5));
        let text = metrics.text(&Snapshot::default()).unwrap();
        let documented = include_str!("../../../docs/metrics.md");
        let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
        let mut count = 0;
        for help in helps {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(!words.trim().is_empty(), "{name}");
            assert!(documented.contains(&format!("`{name}")), "docs/metrics.md lacks {name}");
            count += 1;
        }
        assert!(count >= 18, "{text}");
    }
}

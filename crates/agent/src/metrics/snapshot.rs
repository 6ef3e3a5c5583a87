//! What stands in tables, read when somebody asks.

use mizar_packet::count;
use mizar_proto::Usage;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

/// The names of those counters that count drops.
static REASONS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let counters = (0..count::PER_VPC).filter_map(count::Counter::from_row);
    let reasons = counters.filter(|counter| matches!(counter, count::Counter::Dropped(_)));
    reasons.map(count::Counter::name).collect()
});

/// How things stand at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Packets by VNI and name of the counter; VNI 0: of packets whose VPC is not known.
    pub(crate) counters: BTreeMap<u32, BTreeMap<String, u64>>,
    /// Learned locations, by VNI.
    pub(crate) learned: BTreeMap<u32, u64>,
    pub(crate) tables: BTreeMap<&'static str, Usage>,
    /// Endpoints by state.
    pub(crate) ports: BTreeMap<&'static str, u64>,
    pub(crate) connected: bool,
    /// The programs of another layout are still at work.
    pub(crate) waits: bool,
    pub(crate) hosts_known: u64,
    pub(crate) hosts_alive: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) tables_bytes: u64,
    /// Seconds since 1970-01-01 UTC.
    pub(crate) start_seconds: u64,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        page.counters(
            "mizar_packets",
            "Packets, or buffers of many segments, by the way that they took",
            self.packets("way", |name| !REASONS.contains(name)),
        )?;
        page.counters(
            "mizar_drops",
            "Packets, or buffers of many segments, that were dropped, by reason",
            self.packets("reason", |name| REASONS.contains(name)),
        )?;
        page.gauges(
            "mizar_agent_learned_rows",
            "Learned locations",
            self.learned.iter().map(|(vni, rows)| ([("vni", vni.to_string())], *rows)),
        )?;
        let tables = || self.tables.iter().map(|(name, usage)| ([("table", *name)], *usage));
        page.gauges(
            "mizar_agent_table_rows",
            "Rows of the kernel's tables",
            tables().map(|(label, usage)| (label, usage.used.into())),
        )?;
        page.gauges(
            "mizar_agent_table_capacity_rows",
            "Most rows of the kernel's tables",
            tables().map(|(label, usage)| (label, usage.capacity.into())),
        )?;
        page.gauges(
            "mizar_agent_ports",
            "Endpoints of this host, by how they stand",
            self.ports.iter().map(|(state, count)| ([("state", *state)], *count)),
        )?;
        self.encode_agent(&mut page)
    }
}

impl Snapshot {
    fn encode_agent(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge(
            "mizar_agent_connected",
            "Whether there is a stream to a controller",
            self.connected.into(),
        )?;
        page.gauge(
            "mizar_agent_waiting",
            "Whether programs of another layout are still at work, until all tables are as told",
            self.waits.into(),
        )?;
        page.gauge("mizar_agent_hosts_known", "Other hosts that are known", self.hosts_known)?;
        page.gauge(
            "mizar_agent_hosts_alive",
            "Other hosts that are known to be alive; of those that are not used none is",
            self.hosts_alive,
        )?;
        page.gauge(
            "mizar_agent_resident_memory_bytes",
            "Resident memory of the agent",
            self.resident_bytes,
        )?;
        page.gauge(
            "mizar_agent_tables_memory_bytes",
            "Memory of the kernel's tables",
            self.tables_bytes,
        )?;
        page.gauge(
            "mizar_agent_start_time_seconds",
            "When the agent started, since 1970-01-01 UTC",
            self.start_seconds,
        )?;
        page.gauges(
            "mizar_agent_build_info",
            "Always 1; the version of the agent is a label",
            [([("version", env!("CARGO_PKG_VERSION"))], 1)].into_iter(),
        )
    }

    /// Some of the counters, by VNI and by name under this label.
    fn packets(
        &self,
        label: &'static str,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = ([(&'static str, String); 2], u64)> {
        self.counters
            .iter()
            .flat_map(|(vni, counters)| counters.iter().map(move |(name, n)| (vni, name, *n)))
            .filter(move |(_, name, _)| wanted(name))
            .map(move |(vni, name, n)| ([("vni", vni.to_string()), (label, name.clone())], n))
    }
}

/// Metrics one after another.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }
}

/// Resident memory of this process, in bytes; 0 if the kernel does not say.
pub(crate) fn resident_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

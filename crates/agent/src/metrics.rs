//! What a monitoring system collects, in the text format of Prometheus.
//!
//! What happens is counted as it happens; what stands in tables is read when somebody asks, so that
//! nobody who does not ask pays for it. All metrics are listed in docs/metrics.md.

use mizar_proto::PortReport;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::time::Duration;

mod snapshot;
pub(crate) use snapshot::{Snapshot, resident_memory};

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// Upper ends of the histograms' buckets: from a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    1.0, 2.5, 10.0,
];

/// What is counted as it happens.
#[derive(Debug)]
pub(crate) struct Metrics {
    updates: Family<Label, Counter>,
    update_seconds: Histogram,
    attach_seconds: Histogram,
    step_seconds: Family<Label, Histogram>,
}

impl Metrics {
    /// Nothing has happened.
    pub(crate) fn new() -> Self {
        let updates = Family::<Label, Counter>::default();
        for outcome in ["applied", "refused"] {
            // There from the start, so that the first one is seen as a change.
            drop(updates.get_or_create(&[("outcome", outcome)]));
        }
        Self {
            updates,
            update_seconds: histogram(),
            attach_seconds: histogram(),
            step_seconds: Family::new_with_constructor(histogram),
        }
    }

    /// An update was applied.
    pub(crate) fn applied(&self, took: Duration) {
        self.updates.get_or_create(&[("outcome", "applied")]).inc();
        self.update_seconds.observe(took.as_secs_f64());
    }

    /// An update was refused.
    pub(crate) fn refused(&self) {
        self.updates.get_or_create(&[("outcome", "refused")]).inc();
    }

    /// Endpoints were attached.
    pub(crate) fn attached(&self, ports: &[PortReport]) {
        for port in ports {
            self.attach_seconds.observe(port.total.as_secs_f64());
            for (step, time) in &port.steps {
                let step = self.step_seconds.get_or_create(&[("step", step.name())]);
                step.observe(time.as_secs_f64());
            }
        }
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// One has a name or a value that the format does not have.
    pub(crate) fn text(&self, snapshot: Snapshot) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register(
            "mizar_agent_updates",
            "Updates from the controller, by what became of them",
            self.updates.clone(),
        );
        registry.register(
            "mizar_agent_update_seconds",
            "From the last batch of an update to its answer",
            self.update_seconds.clone(),
        );
        registry.register(
            "mizar_agent_attach_seconds",
            "From the last batch of an update until an endpoint of it was attached",
            self.attach_seconds.clone(),
        );
        registry.register(
            "mizar_agent_attach_step_seconds",
            "Time of each step of attaching an endpoint",
            self.step_seconds.clone(),
        );
        registry.register_collector(Box::new(snapshot));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_proto::{Step, Usage};
    use std::collections::BTreeSet;

    fn example() -> String {
        let metrics = Metrics::new();
        metrics.applied(Duration::from_millis(2));
        metrics.attached(&[PortReport {
            name: "a".parse().unwrap(),
            steps: Step::ALL.map(|step| (step, Duration::from_micros(300))).into(),
            total: Duration::from_millis(2),
        }]);
        let counters = [("sent_direct".to_owned(), 7), ("foreign_source".to_owned(), 3)];
        let snapshot = Snapshot {
            counters: [(0, [].into()), (5, counters.into())].into(),
            learned: [(5, 2)].into(),
            tables: [("learned", Usage { used: 2, capacity: 9 })].into(),
            ports: [("ready", 1)].into(),
            connected: true,
            ..Snapshot::default()
        };
        metrics.text(snapshot).unwrap()
    }

    #[test]
    fn metrics_are_text_with_names_and_labels() {
        let text = example();
        for line in [
            "# TYPE mizar_packets_total counter",
            "mizar_packets_total{vni=\"5\",way=\"sent_direct\"} 7",
            "mizar_drops_total{vni=\"5\",reason=\"foreign_source\"} 3",
            "mizar_agent_learned_rows{vni=\"5\"} 2",
            "mizar_agent_table_rows{table=\"learned\"} 2",
            "mizar_agent_table_capacity_rows{table=\"learned\"} 9",
            "mizar_agent_connected 1",
            "mizar_agent_ports{state=\"ready\"} 1",
            "mizar_agent_updates_total{outcome=\"applied\"} 1",
            "mizar_agent_updates_total{outcome=\"refused\"} 0",
            "mizar_agent_attach_step_seconds_count{step=\"rows\"} 1",
            "mizar_agent_attach_seconds_bucket{le=\"0.002\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn every_metric_has_help_a_type_and_a_line_in_the_documentation() {
        let text = example();
        let words = |prefix: &str| -> BTreeSet<&str> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
            lines.filter_map(|line| line.split(' ').next()).collect()
        };
        let (helped, typed) = (words("# HELP "), words("# TYPE "));
        assert_eq!(helped, typed);
        let documentation = include_str!("../../../docs/metrics.md");
        let (_, documentation) = documentation.split_once("### Agent").unwrap();
        let (documentation, _) = documentation.split_once("### Controller").unwrap();
        let documented: BTreeSet<&str> = documentation
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
            .collect();
        assert_eq!(typed, documented, "docs/metrics.md lists others than there are");
    }
}

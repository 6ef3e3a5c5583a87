//! What is shown as a picture, and what one should see in it.

use super::Measurement;
use super::draw::{self, Line, Row};
use anyhow::Result;

/// A picture of some figures.
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What was measured, and what it is seen beside.
    pub(super) caption: &'static str,
    /// What the axis of the values says.
    axis: &'static str,
    form: Form,
}

enum Form {
    /// One bar for each, from above.
    Bars(&'static [(&'static str, Of)]),
    /// The same, but what is shown is 100 divided by it: of gigabits for each core, the part of a
    /// core for each gigabit.
    Inverse(&'static [(&'static str, Of)]),
    /// Figures over what grows, both to the power of ten. Series of the beginnings of their names.
    Growth { x: &'static str, series: &'static [(&'static str, &'static str)] },
}

/// What a bar shows, by the name of a figure.
#[derive(Clone, Copy)]
enum Of {
    /// The figure.
    Own(&'static str),
    /// Of a ratio to a baseline, what it is a ratio of; where the ratio has a bar to meet, so many
    /// times the baseline.
    Ratio(&'static str),
    /// Of a difference to a baseline, what the difference is of.
    Above(&'static str),
    /// Two figures, one after the other.
    Sum(&'static str, &'static str),
    /// The baseline.
    Baseline(&'static str),
    /// The figure, which is of somebody else.
    Other(&'static str),
}

use Form::{Bars, Growth, Inverse};
use Of::{Above, Baseline, Other, Own, Ratio, Sum};

pub(super) const CHARTS: &[Chart] = &[
    Chart {
        title: "Frames that one core forwards",
        caption: "From NIC to NIC, over 65,536 endpoints, with the frames made and received on the \
                  same core; so a NIC that sends everything back as it is has its limit, too. \
                  Beside a bouncer: a host that routes and one between two VXLANs, with one row \
                  for all flows.",
        axis: "million frames a second",
        form: Bars(&[
            ("Mizar, a bouncer", Own("rate.bounce_mpps")),
            ("a host that routes", Baseline("rate.bounce_mpps.vs_routing")),
            ("a host between two VXLANs", Baseline("rate.bounce_mpps.vs_vxlan")),
            ("a NIC that sends all back: the limit", Baseline("rate.bounce_mpps")),
        ]),
    },
    Chart {
        title: "Time per frame with more bouncers",
        caption: "At one of a network's bouncers, with the flows to 65,536 endpoints divided among \
                  so many. What it takes to make and receive the frames is in it.",
        axis: "ns of CPU time for each frame",
        form: Bars(&[
            ("1 bouncer", Own("rate.bounce_ns.1")),
            ("2 bouncers", Own("rate.bounce_ns.2")),
            ("4 bouncers", Own("rate.bounce_ns.4")),
            ("8 bouncers", Own("rate.bounce_ns.8")),
            ("a NIC that sends all back", Baseline("rate.bounce_ns.1")),
        ]),
    },
    Chart {
        title: "How evenly flows are spread",
        caption: "Flows of the bouncer with the most of 65,536, beside what each would have if all \
                  had the same.",
        axis: "times the mean",
        form: Bars(&[
            ("1 bouncer", Own("rate.imbalance.1")),
            ("2 bouncers", Own("rate.imbalance.2")),
            ("4 bouncers", Own("rate.imbalance.4")),
            ("8 bouncers", Own("rate.imbalance.8")),
        ]),
    },
    Chart {
        title: "Telling bouncers of an endpoint",
        caption: "From create to Ready in a network of 1,000 endpoints with so many bouncers, over \
                  the real API and a store that flushes. Hosts are streams without kernels here. \
                  The original took 20 ms.",
        axis: "ms",
        form: Bars(&[
            ("1 bouncer", Own("provision.bouncers_p50_ms.1")),
            ("8 bouncers", Own("provision.bouncers_p50_ms.8")),
            ("64 bouncers", Own("provision.bouncers_p50_ms.64")),
        ]),
    },
    Chart {
        title: "End-to-end provisioning",
        caption: "The same, and then an agent connects the guest to a host that has 100: both \
                  added, though they overlap. The original took 250 ms. Others do less: OVN tells \
                  one host, the CNI plugin and ip tell nobody.",
        axis: "ms",
        form: Bars(&[
            ("Mizar, 1 bouncer", Sum("provision.bouncers_p50_ms.1", "attach.p50_ms.100")),
            ("Mizar, 8 bouncers", Sum("provision.bouncers_p50_ms.8", "attach.p50_ms.100")),
            ("Mizar, 64 bouncers", Sum("provision.bouncers_p50_ms.64", "attach.p50_ms.100")),
            ("CNI bridge plugin", Other("provision.others.cni_bridge_ms")),
            ("ip, ten times", Other("provision.others.ip_ms")),
            ("OVN, with 10 ports", Other("provision.others.ovn_ms.10")),
            ("OVN, with 1,000 ports", Other("provision.others.ovn_ms.1000")),
        ]),
    },
    Chart {
        title: "From create to Ready, as the network grows",
        caption: "Over the real API and a store that flushes, with so many endpoints in the same \
                  network already; OVN with so many ports in its logical switch.",
        axis: "ms",
        form: Growth {
            x: "endpoints in the network",
            series: &[
                ("Mizar, median", "provision.ready_p50_ms"),
                ("Mizar, 99 of 100", "provision.ready_p99_ms"),
                ("Mizar, median under 500 creates/s", "provision.busy_p50_ms"),
                ("OVN, median", "provision.others.ovn_ms"),
            ],
        },
    },
    Chart {
        title: "Connecting one guest to its host",
        caption: "Mizar with so many guests on the host; ten commands of ip in a row, as the \
                  original did it; the reference CNI plugin.",
        axis: "ms",
        form: Bars(&[
            ("Mizar, 10 guests", Own("attach.p50_ms.10")),
            ("Mizar, 100 guests", Own("attach.p50_ms.100")),
            ("Mizar, 1,000 guests", Own("attach.p50_ms.1000")),
            ("CNI bridge plugin", Other("provision.others.cni_bridge_ms")),
            ("ip, ten times", Other("provision.others.ip_ms")),
        ]),
    },
    Chart {
        title: "CPU time of connecting a guest",
        caption: "Of 100 that come at once, for each: what the agent spends. Beside it what the \
                  reference CNI plugin and ten commands of ip spend.",
        axis: "ms of CPU time for each endpoint",
        form: Bars(&[
            ("Mizar", Own("attach.cpu_ms")),
            ("CNI bridge plugin", Other("provision.others.cni_bridge_cpu_ms")),
            ("ip, ten times", Other("provision.others.ip_cpu_ms")),
        ]),
    },
    Chart {
        title: "Round trip",
        caption: "CPU time of a request and its response of 64 bytes by UDP, at all hosts that \
                  they pass: direct, always by way of a bouncer, and of a divider and a bouncer. A \
                  conversation is direct after one round trip.",
        axis: "µs of CPU time for each round trip",
        form: Bars(&[
            ("hosts that route", Baseline("rtt.direct.vs_routing")),
            ("Mizar, direct", Ratio("rtt.direct.vs_routing")),
            ("Mizar, by way of a bouncer", Ratio("rtt.bouncer.vs_direct")),
            ("Mizar, of a divider and a bouncer", Ratio("rtt.divider.vs_direct")),
        ]),
    },
    Chart {
        title: "TCP over wires",
        caption: "NICs like real ones, MTU 1500: XDP in the driver, no segmentation or checksum \
                  offload. Mizar should do as much as the same hosts routing.",
        axis: "Gb/s for each core spent",
        form: Bars(&[
            ("Mizar, 1 stream", Ratio("path.wire.tcp_per_core.vs_routing")),
            ("hosts that route", Baseline("path.wire.tcp_per_core.vs_routing")),
            ("bridge and VXLAN", Baseline("path.wire.tcp_per_core.vs_vxlan")),
            ("routing into VXLAN, as flannel", Baseline("path.wire.tcp_per_core.vs_flannel")),
            ("OVS in user space, Geneve", Baseline("path.wire.tcp_per_core.vs_ovs")),
            ("one veth, no hosts: the limit", Baseline("path.wire.tcp_per_core.vs_bare")),
            ("Mizar, 8 streams", Ratio("path.wire.tcp8_per_core.vs_routing")),
            ("hosts that route", Baseline("path.wire.tcp8_per_core.vs_routing")),
            ("bridge and VXLAN", Baseline("path.wire.tcp8_per_core.vs_vxlan")),
            ("routing into VXLAN, as flannel", Baseline("path.wire.tcp8_per_core.vs_flannel")),
            ("OVS in user space, Geneve", Baseline("path.wire.tcp8_per_core.vs_ovs")),
            ("one veth, no hosts: the limit", Baseline("path.wire.tcp8_per_core.vs_bare")),
        ]),
    },
    Chart {
        title: "TCP over wires, jumbo frames",
        caption: "The same with an MTU of 9000.",
        axis: "Gb/s for each core spent",
        form: Bars(&[
            ("Mizar, 1 stream", Ratio("path.wire9000.tcp_per_core.vs_routing")),
            ("hosts that route", Baseline("path.wire9000.tcp_per_core.vs_routing")),
            ("bridge and VXLAN", Baseline("path.wire9000.tcp_per_core.vs_vxlan")),
            ("one veth, no hosts: the limit", Baseline("path.wire9000.tcp_per_core.vs_bare")),
            ("Mizar, 8 streams", Ratio("path.wire9000.tcp8_per_core.vs_routing")),
            ("hosts that route", Baseline("path.wire9000.tcp8_per_core.vs_routing")),
            ("bridge and VXLAN", Baseline("path.wire9000.tcp8_per_core.vs_vxlan")),
            ("one veth, no hosts: the limit", Baseline("path.wire9000.tcp8_per_core.vs_bare")),
        ]),
    },
    Chart {
        title: "TCP over default veths",
        caption: "NICs are veths as the kernel makes them, MTU 1500: buffers of 64 KB pass whole.",
        axis: "Gb/s for each core spent",
        form: Bars(&[
            ("Mizar, 1 stream", Ratio("path.default.tcp_per_core.vs_routing")),
            ("hosts that route", Baseline("path.default.tcp_per_core.vs_routing")),
            ("bridge and VXLAN", Baseline("path.default.tcp_per_core.vs_vxlan")),
            ("routing into VXLAN, as flannel", Baseline("path.default.tcp_per_core.vs_flannel")),
            ("one veth, no hosts: the limit", Baseline("path.default.tcp_per_core.vs_bare")),
            ("Mizar, 8 streams", Ratio("path.default.tcp8_per_core.vs_routing")),
            ("hosts that route", Baseline("path.default.tcp8_per_core.vs_routing")),
            ("bridge and VXLAN", Baseline("path.default.tcp8_per_core.vs_vxlan")),
            ("routing into VXLAN, as flannel", Baseline("path.default.tcp8_per_core.vs_flannel")),
            ("one veth, no hosts: the limit", Baseline("path.default.tcp8_per_core.vs_bare")),
        ]),
    },
    Chart {
        title: "TCP over default veths, jumbo frames",
        caption: "The same with an MTU of 9000.",
        axis: "Gb/s for each core spent",
        form: Bars(&[
            ("Mizar, 1 stream", Ratio("path.default9000.tcp_per_core.vs_routing")),
            ("hosts that route", Baseline("path.default9000.tcp_per_core.vs_routing")),
            ("bridge and VXLAN", Baseline("path.default9000.tcp_per_core.vs_vxlan")),
            ("one veth, no hosts: the limit", Baseline("path.default9000.tcp_per_core.vs_bare")),
            ("Mizar, 8 streams", Ratio("path.default9000.tcp8_per_core.vs_routing")),
            ("hosts that route", Baseline("path.default9000.tcp8_per_core.vs_routing")),
            ("bridge and VXLAN", Baseline("path.default9000.tcp8_per_core.vs_vxlan")),
            ("one veth, no hosts: the limit", Baseline("path.default9000.tcp8_per_core.vs_bare")),
        ]),
    },
    Chart {
        title: "CPU during TCP",
        caption: "What a gigabit a second between two guests takes, both guests' sockets included; \
                  over wires, MTU 1500, one stream. OVS in user space takes far more than is \
                  drawn.",
        axis: "% of a core for each Gb/s",
        form: Inverse(&[
            ("Mizar", Ratio("path.wire.tcp_per_core.vs_routing")),
            ("hosts that route", Baseline("path.wire.tcp_per_core.vs_routing")),
            ("bridge and VXLAN", Baseline("path.wire.tcp_per_core.vs_vxlan")),
            ("routing into VXLAN, as flannel", Baseline("path.wire.tcp_per_core.vs_flannel")),
            ("one veth, no hosts: the limit", Baseline("path.wire.tcp_per_core.vs_bare")),
        ]),
    },
    Chart {
        title: "TCP by way of a bouncer, at 1 Gb/s",
        caption: "The underlay is capped at 1 Gb/s. By way of a bouncer each packet carries 24 \
                  bytes more. The original lost 5 %.",
        axis: "Gb/s of what the receiver reads",
        form: Bars(&[
            ("Mizar, direct", Baseline("path.capped.bouncer_vs_direct")),
            ("Mizar, by way of a bouncer", Ratio("path.capped.bouncer_vs_direct")),
        ]),
    },
    Chart {
        title: "CPU time of a segment, at 1 Gb/s",
        caption: "Of the same: sending, receiving, and all hosts between.",
        axis: "ns of CPU time for each segment",
        form: Bars(&[
            ("Mizar, direct", Baseline("path.capped.bouncer_ns")),
            ("Mizar, by way of a bouncer", Above("path.capped.bouncer_ns")),
        ]),
    },
    Chart {
        title: "Memory of a host",
        caption: "The agent and the kernel's tables, which have their memory from the start: rows \
                  for 65,536 endpoints, 16,384 learned locations, 1,024 guests, 8,192 hosts, 256 \
                  VPCs, 256 networks and 4,096 routes.",
        axis: "MB",
        form: Bars(&[
            ("idle", Own("memory.idle_mb")),
            ("during TCP", Own("memory.tcp_mb")),
            ("with 100 guests", Own("memory.endpoints_mb.100")),
            ("with 1,000 guests", Own("memory.endpoints_mb.1000")),
            ("of that, tables", Baseline("memory.idle_mb")),
        ]),
    },
    Chart {
        title: "Time per packet in the programs",
        caption: "What the kernel programs take for one packet, over tables of real sizes: met by \
                  one flow, and by flows to 65,536 endpoints.",
        axis: "ns",
        form: Bars(&[
            ("bounce, one flow", Own("packet.bounce.one_ns")),
            ("bounce, 64k endpoints", Own("packet.bounce.many_ns")),
            ("divide, one flow", Own("packet.divide.one_ns")),
            ("divide, 64k endpoints", Own("packet.divide.many_ns")),
            ("unwrap, one flow", Own("packet.unwrap.one_ns")),
            ("unwrap, 64k endpoints", Own("packet.unwrap.many_ns")),
            ("depart, one flow", Own("packet.depart.one_ns")),
            ("depart, 64k endpoints", Own("packet.depart.many_ns")),
            ("not ours", Own("packet.not_ours_ns")),
        ]),
    },
    Chart {
        title: "Request and response",
        caption: "CPU time of 64 bytes there and back by UDP, both guests' sockets included. OVS \
                  in user space takes far more than is drawn.",
        axis: "µs of CPU time for each round trip",
        form: Bars(&[
            ("wire: Mizar", Ratio("path.wire.rr_cpu.vs_routing")),
            ("wire: hosts that route", Baseline("path.wire.rr_cpu.vs_routing")),
            ("wire: bridge and VXLAN", Baseline("path.wire.rr_cpu.vs_vxlan")),
            ("wire: as flannel", Baseline("path.wire.rr_cpu.vs_flannel")),
            ("default veth: Mizar", Ratio("path.default.rr_cpu.vs_routing")),
            ("default veth: hosts that route", Baseline("path.default.rr_cpu.vs_routing")),
            ("default veth: bridge and VXLAN", Baseline("path.default.rr_cpu.vs_vxlan")),
            ("default veth: as flannel", Baseline("path.default.rr_cpu.vs_flannel")),
        ]),
    },
    Chart {
        title: "UDP one way",
        caption: "The same for a packet of 1,200 bytes.",
        axis: "ns of CPU time for each packet",
        form: Bars(&[
            ("wire: Mizar", Ratio("path.wire.udp_cpu.vs_routing")),
            ("wire: hosts that route", Baseline("path.wire.udp_cpu.vs_routing")),
            ("wire: bridge and VXLAN", Baseline("path.wire.udp_cpu.vs_vxlan")),
            ("wire: as flannel", Baseline("path.wire.udp_cpu.vs_flannel")),
            ("default veth: Mizar", Ratio("path.default.udp_cpu.vs_routing")),
            ("default veth: hosts that route", Baseline("path.default.udp_cpu.vs_routing")),
            ("default veth: bridge and VXLAN", Baseline("path.default.udp_cpu.vs_vxlan")),
            ("default veth: as flannel", Baseline("path.default.udp_cpu.vs_flannel")),
        ]),
    },
    Chart {
        title: "Lost when something happens",
        caption: "Of a thousand numbered datagrams a second, one way and direct, from before it \
                  happens until all is as it should be again; of the bouncer, those to whom nobody \
                  has talked yet; made anew: from Ready on.",
        axis: "datagrams",
        form: Bars(&[
            ("an agent is killed", Own("faults.agent_kill.lost")),
            ("agents are replaced", Own("faults.agent_upgrade.lost")),
            ("tables of another layout", Own("faults.agent_layout.lost")),
            ("no controller", Own("faults.controller_down.lost")),
            ("a bouncer dies, somebody new", Own("faults.bouncer_death.lost")),
            ("another guest's host dies", Own("faults.host_death.lost")),
            ("the receiver migrates", Own("faults.migrate.lost")),
            ("the receiver is made anew", Own("faults.recreate.lost")),
            ("the network's slots move", Own("faults.rescale.lost")),
        ]),
    },
    Chart {
        title: "Longest gap when something happens",
        caption: "The longest time in which none of the same arrived. One comes each millisecond, \
                  and two busy processors are some late by themselves.",
        axis: "ms",
        form: Bars(&[
            ("an agent is killed", Own("faults.agent_kill.gap_ms")),
            ("agents are replaced", Own("faults.agent_upgrade.gap_ms")),
            ("tables of another layout", Own("faults.agent_layout.gap_ms")),
            ("no controller", Own("faults.controller_down.gap_ms")),
            ("a bouncer dies, somebody new", Own("faults.bouncer_death.gap_ms")),
            ("another guest's host dies", Own("faults.host_death.gap_ms")),
            ("the receiver migrates", Own("faults.migrate.gap_ms")),
            ("the receiver is made anew", Own("faults.recreate.gap_ms")),
            ("the network's slots move", Own("faults.rescale.gap_ms")),
        ]),
    },
];

impl Chart {
    /// The picture, as SVG; nothing if none of its figures was measured.
    pub(super) fn draw(&self, results: &[Measurement]) -> Result<Option<String>> {
        let bars = |bars: &[(&'static str, Of)]| {
            let bars = bars.iter().filter_map(|(label, of)| of.row(label, results));
            bars.collect::<Vec<_>>()
        };
        let bars = match self.form {
            Form::Bars(rows) => bars(rows),
            Form::Inverse(rows) => bars(rows).into_iter().map(inverse).collect(),
            Form::Growth { x, series } => {
                let found = series.iter().map(|(name, id)| Line { name, at: points(results, id) });
                let found: Vec<_> = found.filter(|line| !line.at.is_empty()).collect();
                let picture = || draw::growth(&found, x, self.axis);
                return (!found.is_empty()).then(picture).transpose();
            }
        };
        (!bars.is_empty()).then(|| draw::bars(&bars, self.axis)).transpose()
    }

    /// The figures that it shows, or the beginnings of their names.
    #[cfg(test)]
    fn names(&self) -> Vec<&'static str> {
        match self.form {
            Form::Bars(rows) | Form::Inverse(rows) => {
                rows.iter().flat_map(|(_, of)| of.names()).collect()
            }
            Form::Growth { series, .. } => series.iter().map(|(_, name)| *name).collect(),
        }
    }
}

impl Of {
    fn row(self, label: &'static str, results: &[Measurement]) -> Option<Row> {
        let result = |id: &str| results.iter().find(|result| result.id == id);
        let plain = |value, is_own| Some(Row { label, value, limit: None, is_own });
        let baseline = |id: &str| Some(result(id)?.baseline.as_ref()?.value);
        let own = |id: &str, times: f64| {
            let Measurement { value, bar, .. } = result(id)?;
            let limit = bar.map(|bar| (bar.limit() * times, bar.is_met(*value)));
            Some(Row { label, value: value * times, limit, is_own: true })
        };
        match self {
            Own(id) => own(id, 1.0),
            Ratio(id) => own(id, baseline(id)?),
            Above(id) => plain(result(id)?.value + baseline(id)?, true),
            Sum(one, other) => plain(result(one)?.value + result(other)?.value, true),
            Baseline(id) => plain(baseline(id)?, false),
            Other(id) => plain(result(id)?.value, false),
        }
    }

    #[cfg(test)]
    fn names(self) -> Vec<&'static str> {
        match self {
            Own(id) | Ratio(id) | Above(id) | Baseline(id) | Other(id) => vec![id],
            Sum(one, other) => vec![one, other],
        }
    }
}

fn inverse(row: Row) -> Row {
    let limit = row.limit.map(|(limit, is_met)| (100.0 / limit, is_met));
    Row { value: 100.0 / row.value, limit, ..row }
}

/// The figures of a name, over the number that each ends in.
fn points(results: &[Measurement], name: &str) -> Vec<(f64, f64)> {
    let point = |result: &Measurement| {
        let size = result.id.strip_prefix(name)?.strip_prefix('.')?;
        Some((size.parse().ok()?, result.value))
    };
    results.iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Bar, Baseline};

    #[test]
    fn charts_show_figures_that_there_are() {
        let known: Vec<_> = crate::GROUPS.iter().flat_map(|group| group.ids).collect();
        for chart in CHARTS {
            for name in chart.names() {
                let there = known.iter().any(|id| crate::is_named(id, name));
                assert!(there, "{} shows {name}, which nobody measures", chart.title);
            }
        }
    }

    #[test]
    fn a_ratio_is_shown_in_the_unit_of_its_baseline_with_its_bar() {
        let of = Baseline { name: "routing", value: 8.0, unit: "Gb/s" };
        let results = [Measurement {
            id: "path.wire.tcp_per_core.vs_routing",
            value: 0.75,
            unit: "×",
            bar: Some(Bar::AtLeast(1.0)),
            baseline: Some(of),
            spread: 0.0,
        }];
        let row = |of: Of| of.row("Mizar", &results).unwrap();
        let own = row(Ratio(results[0].id));
        assert_eq!((own.value, own.limit, own.is_own), (6.0, Some((8.0, false)), true));
        let other = row(Baseline(results[0].id));
        assert_eq!((other.value, other.limit, other.is_own), (8.0, None, false));
        assert_eq!(inverse(own).limit, Some((12.5, false)));
        assert!(Own("path.wire.tcp_per_core.vs_bare").row("Mizar", &results).is_none());
    }
}

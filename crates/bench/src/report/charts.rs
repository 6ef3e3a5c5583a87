//! What is shown as a picture, and what one should see in it.

use super::{Bar, Measurement};
use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;
use std::fmt::Display;

/// A picture of some figures.
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What was measured, and what it is seen beside.
    pub(super) caption: &'static str,
    unit: &'static str,
    form: Form,
}

enum Form {
    /// One bar for each figure; where a figure has a bar to meet, that is a line across it.
    Bars(&'static [(&'static str, &'static str)]),
    /// Figures over what grows, both to the power of ten. Series of the beginnings of their names.
    Growth { x: &'static str, series: &'static [(&'static str, &'static str)] },
}

pub(super) const CHARTS: &[Chart] = &[
    Chart {
        title: "Time per packet",
        caption: "What the kernel programs take for one packet, over tables of real sizes: met by \
                  one flow, and by flows to 65,536 endpoints.",
        unit: "ns",
        form: Form::Bars(&[
            ("bounce, one flow", "packet.bounce.one_ns"),
            ("bounce, 64k endpoints", "packet.bounce.many_ns"),
            ("divide, one flow", "packet.divide.one_ns"),
            ("divide, 64k endpoints", "packet.divide.many_ns"),
            ("unwrap, one flow", "packet.unwrap.one_ns"),
            ("unwrap, 64k endpoints", "packet.unwrap.many_ns"),
            ("depart, one flow", "packet.depart.one_ns"),
            ("depart, 64k endpoints", "packet.depart.many_ns"),
            ("not ours", "packet.not_ours_ns"),
        ]),
    },
    Chart {
        title: "TCP between guests, for each core",
        caption: "Beside the same hosts routing without overlay, and with a bridge and VXLAN. More \
                  is better; 1 is what the other does.",
        unit: "×",
        form: Form::Bars(&[
            ("wire, beside routing", "path.wire.tcp_per_core.vs_routing"),
            ("wire, beside VXLAN", "path.wire.tcp_per_core.vs_vxlan"),
            ("default veth, beside routing", "path.default.tcp_per_core.vs_routing"),
            ("default veth, beside VXLAN", "path.default.tcp_per_core.vs_vxlan"),
        ]),
    },
    Chart {
        title: "Processor time of small packets",
        caption: "Request and response, and UDP one way, beside the same hosts routing without \
                  overlay. Less is better.",
        unit: "×",
        form: Form::Bars(&[
            ("wire, request and response", "path.wire.rr_cpu.vs_routing"),
            ("wire, UDP", "path.wire.udp_cpu.vs_routing"),
            ("default veth, request and response", "path.default.rr_cpu.vs_routing"),
            ("default veth, UDP", "path.default.udp_cpu.vs_routing"),
        ]),
    },
    Chart {
        title: "From create to Ready, as the network grows",
        caption: "Over the real API and a store that flushes, with so many endpoints in the same \
                  network already; OVN with so many ports in its logical switch.",
        unit: "ms",
        form: Form::Growth {
            x: "endpoints in the network",
            series: &[
                ("Mizar, median", "provision.ready_p50_ms"),
                ("Mizar, 99 of 100", "provision.ready_p99_ms"),
                ("Mizar, median under 500 creates a second", "provision.busy_p50_ms"),
                ("OVN, median", "provision.others.ovn_ms"),
            ],
        },
    },
    Chart {
        title: "Connecting one guest to its host",
        caption: "Mizar with so many guests on the host; ten commands of ip in a row, as the \
                  original did it; the reference CNI plugin.",
        unit: "ms",
        form: Form::Bars(&[
            ("Mizar, 10 guests", "attach.p50_ms.10"),
            ("Mizar, 100 guests", "attach.p50_ms.100"),
            ("Mizar, 1,000 guests", "attach.p50_ms.1000"),
            ("CNI bridge plugin", "provision.others.cni_bridge_ms"),
            ("ip, ten times", "provision.others.ip_ms"),
        ]),
    },
];

const SIZE: (u32, u32) = (760, 40);
const ROW: u32 = 30;
const MET: RGBColor = RGBColor(46, 125, 50);
const MISSED: RGBColor = RGBColor(198, 40, 40);
const PLAIN: RGBColor = RGBColor(84, 110, 122);
/// Of series, in their order; told apart by people who do not see colours as others do.
const SERIES: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(86, 180, 233), RGBColor(0, 158, 115), RGBColor(213, 94, 0)];

impl Chart {
    /// The picture, as SVG; nothing if none of its figures was measured.
    pub(super) fn draw(&self, results: &[Measurement]) -> Result<Option<String>> {
        match self.form {
            Form::Bars(bars) => {
                let found = bars.iter().filter_map(|(label, id)| {
                    Some((*label, results.iter().find(|result| result.id == *id)?))
                });
                // Rows are counted from below, and read from above.
                let mut found: Vec<_> = found.collect();
                found.reverse();
                if found.is_empty() { Ok(None) } else { draw_bars(&found, self.unit).map(Some) }
            }
            Form::Growth { x, series } => {
                let found = series.iter().map(|(name, id)| (*name, points(results, id)));
                let found: Vec<_> = found.filter(|(_, points)| !points.is_empty()).collect();
                let axes = (x, self.unit);
                if found.is_empty() { Ok(None) } else { draw_growth(&found, axes).map(Some) }
            }
        }
    }
}

/// The figures of a name, over the number that each ends in.
fn points(results: &[Measurement], name: &str) -> Vec<(f64, f64)> {
    let point = |result: &Measurement| {
        let size = result.id.strip_prefix(name)?.strip_prefix('.')?;
        Some((size.parse().ok()?, result.value))
    };
    results.iter().filter_map(point).collect()
}

fn draw_bars(bars: &[(&str, &Measurement)], unit: &str) -> Result<String> {
    let limit = |result: &Measurement| match result.bar {
        Some(Bar::AtMost(limit) | Bar::AtLeast(limit)) => limit,
        None => 0.0,
    };
    let most = bars.iter().map(|(_, result)| result.value.max(limit(result))).fold(0.0, f64::max);
    let mut svg = String::new();
    {
        let size = (SIZE.0, SIZE.1 + ROW * bars.len() as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .x_label_area_size(30)
            .y_label_area_size(230)
            .margin_right(60)
            .build_cartesian_2d(0.0..most * 1.05, (0..bars.len() - 1).into_segmented())
            .map_err(problem)?;
        let label = |row: &SegmentValue<usize>| match row {
            SegmentValue::CenterOf(row) => bars.get(*row).map_or(String::new(), |bar| bar.0.into()),
            _ => String::new(),
        };
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().y_labels(bars.len()).y_label_formatter(&label);
        mesh.x_desc(unit).light_line_style(TRANSPARENT).draw().map_err(problem)?;
        for (row, (_, result)) in bars.iter().enumerate() {
            let colour = match result.bar.map(|bar| bar.is_met(result.value)) {
                Some(true) => MET,
                Some(false) => MISSED,
                None => PLAIN,
            };
            let is_last = row + 1 == bars.len();
            let high = if is_last { SegmentValue::Last } else { SegmentValue::Exact(row + 1) };
            let low = SegmentValue::Exact(row);
            let ends = [(0.0, low.clone()), (result.value, high.clone())];
            let mut bar = Rectangle::new(ends, colour.filled());
            bar.set_margin(5, 5, 0, 0);
            chart.draw_series([bar]).map_err(problem)?;
            let at = (result.value, SegmentValue::CenterOf(row));
            let text = EmptyElement::at(at)
                + Text::new(super::text(result.value), (5, -6), ("sans-serif", 13));
            chart.draw_series([text]).map_err(problem)?;
            if result.bar.is_some() {
                let line = [(limit(result), low), (limit(result), high)];
                let line = PathElement::new(line, BLACK.stroke_width(2));
                chart.draw_series([line]).map_err(problem)?;
            }
        }
        area.present().map_err(problem)?;
    }
    Ok(svg)
}

fn draw_growth(series: &[(&str, Vec<(f64, f64)>)], axes: (&str, &str)) -> Result<String> {
    let all = || series.iter().flat_map(|(_, points)| points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let low = all().map(of).fold(f64::INFINITY, f64::min);
        let high = all().map(of).fold(0.0, f64::max);
        // Whole powers of ten, so that they can be read.
        (10f64.powf(low.log10().floor())..10f64.powf(high.log10().ceil())).log_scale()
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (SIZE.0, 380)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(15)
            .x_label_area_size(45)
            .y_label_area_size(60)
            .build_cartesian_2d(range(|point| point.0), range(|point| point.1))
            .map_err(problem)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(axes.0).y_desc(axes.1).draw().map_err(problem)?;
        for ((name, points), colour) in series.iter().zip(SERIES.iter().cycle()) {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            let legend = |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            chart.draw_series(line.point_size(4)).map_err(problem)?.label(*name).legend(legend);
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8));
        legend.border_style(PLAIN).draw().map_err(problem)?;
        area.present().map_err(problem)?;
    }
    Ok(svg)
}

fn problem(error: impl Display) -> anyhow::Error {
    anyhow!("a chart cannot be drawn: {error}")
}

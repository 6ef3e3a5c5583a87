//! Draws charts as SVG: narrow enough for a telephone, so that wide pages have some side by side.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::fmt::Display;

/// One bar of a chart.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) label: &'static str,
    pub(super) value: f64,
    /// What it should reach or not exceed, and whether it does.
    pub(super) limit: Option<(f64, bool)>,
    /// Whether it is ours.
    pub(super) is_own: bool,
}

/// One line of a chart, from point to point.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) at: Vec<(f64, f64)>,
}

const WIDTH: u32 = 430;
const TEXT: (&str, i32) = ("sans-serif", 13);
const MET: RGBColor = RGBColor(46, 125, 50);
const MISSED: RGBColor = RGBColor(198, 40, 40);
const OWN: RGBColor = RGBColor(0, 114, 178);
const OTHER: RGBColor = RGBColor(120, 134, 144);
/// Of series, in their order; told apart by people who do not see colours as others do.
const SERIES: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(86, 180, 233), RGBColor(0, 158, 115), RGBColor(213, 94, 0)];

/// Bars from above, each below its label, with a line across where its limit is.
pub(super) fn bars(rows: &[Row], axis: &str) -> Result<String> {
    const ROW: u32 = 38;
    const AXIS: u32 = 42;
    let limit = |row: &Row| row.limit.map_or(0.0, |(limit, _)| limit);
    let most = rows.iter().map(|row| row.value.max(limit(row))).fold(0.0, f64::max);
    // Where all is nothing, as what is lost should be, the axis has a length all the same.
    let most = if most > 0.0 { most } else { 1.0 };
    let count = rows.len() as f64;
    let mut svg = String::new();
    {
        let size = (WIDTH, AXIS + ROW * rows.len() as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .x_label_area_size(AXIS)
            .margin_left(10)
            .margin_top(4)
            .margin_right(50)
            .build_cartesian_2d(0.0..most * 1.02, 0.0..count)
            .map_err(problem)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().disable_y_axis().x_labels(5).x_label_formatter(&short);
        mesh.x_desc(axis).label_style(TEXT).axis_desc_style(TEXT).light_line_style(TRANSPARENT);
        mesh.draw().map_err(problem)?;
        for (row, number) in rows.iter().zip(1..) {
            // From below, of a height of 1.
            let at = count - f64::from(number);
            let ends = [(0.0, at + 0.1), (row.value, at + 0.52)];
            chart.draw_series([Rectangle::new(ends, colour(row).filled())]).map_err(problem)?;
            let label = EmptyElement::at((0.0, at + 0.98)) + Text::new(row.label, (0, 0), TEXT);
            chart.draw_series([label]).map_err(problem)?;
            // Beyond the line if that is where it would stand.
            let beside = row.value..row.value + most * 0.15;
            let end = if beside.contains(&limit(row)) { limit(row) } else { row.value };
            let value = EmptyElement::at((end, at + 0.31))
                + Text::new(super::text(row.value), (5, -7), TEXT);
            chart.draw_series([value]).map_err(problem)?;
            if row.limit.is_some() {
                let line = [(limit(row), at), (limit(row), at + 0.62)];
                let line = PathElement::new(line, BLACK.stroke_width(2));
                chart.draw_series([line]).map_err(problem)?;
            }
        }
        area.present().map_err(problem)?;
    }
    Ok(svg)
}

fn colour(row: &Row) -> RGBColor {
    match row.limit {
        Some((_, true)) => MET,
        Some((_, false)) => MISSED,
        None if row.is_own => OWN,
        None => OTHER,
    }
}

/// Lines over what grows; both axes are logarithmic.
pub(super) fn growth(lines: &[Line], x: &str, y: &str) -> Result<String> {
    let all = || lines.iter().flat_map(|line| &line.at);
    let range = |of: fn(&(f64, f64)) -> f64, room: i32| {
        let low = all().map(of).fold(f64::INFINITY, f64::min);
        let high = all().map(of).fold(0.0, f64::max);
        // Whole powers of ten, so that they can be read.
        let high = high.log10().ceil() as i32 + room;
        (10f64.powf(low.log10().floor())..10f64.powi(high)).log_scale()
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 360)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .margin_right(30)
            .x_label_area_size(42)
            .y_label_area_size(52)
            // Above the lines is room for what they are called.
            .build_cartesian_2d(range(|point| point.0, 0), range(|point| point.1, 1))
            .map_err(problem)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(x).y_desc(y).label_style(TEXT).axis_desc_style(TEXT);
        mesh.x_label_formatter(&short).y_label_formatter(&short);
        mesh.light_line_style(TRANSPARENT).draw().map_err(problem)?;
        for (line, colour) in lines.iter().zip(SERIES.iter().cycle()) {
            let drawn = LineSeries::new(line.at.iter().copied(), colour.stroke_width(2));
            let legend = |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            let drawn = chart.draw_series(drawn.point_size(4)).map_err(problem)?;
            drawn.label(line.name).legend(legend);
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperLeft).label_font(TEXT);
        legend.draw().map_err(problem)?;
        area.present().map_err(problem)?;
    }
    Ok(svg)
}

/// A number of an axis, without digits that say nothing.
fn short(value: &f64) -> String {
    let (value, unit) = match *value {
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e4 => (value / 1e3, "k"),
        value => (value, ""),
    };
    format!("{}{unit}", (value * 1e3).round() / 1e3)
}

fn problem(error: impl Display) -> anyhow::Error {
    anyhow!("a chart cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_axes_are_short() {
        let numbers = [0.0, 0.300_000_000_000_04, 2.5, 1000.0, 20_000.0, 1e6].map(|it| short(&it));
        assert_eq!(numbers, ["0", "0.3", "2.5", "1000", "20k", "1M"]);
    }

    #[test]
    fn bars_of_nothing_can_be_drawn() {
        let row = Row { label: "lost", value: 0.0, limit: Some((0.0, true)), is_own: true };
        let svg = bars(&[row, row], "datagrams").unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("0.00").count(), 2, "{svg}");
    }

    #[test]
    fn a_bar_has_a_line_where_its_limit_is() {
        let row = |limit| Row { label: "bounce", value: 50.0, limit, is_own: true };
        let with = bars(&[row(Some((60.0, true)))], "ns").unwrap();
        let without = bars(&[row(None)], "ns").unwrap();
        assert!(with.contains("#2E7D32") && without.contains("#0072B2"), "{with}\n{without}");
        let lines = [with, without].map(|svg| svg.matches(r#"stroke-width="2""#).count());
        assert_eq!(lines, [1, 0]);
    }
}

//! The results as a page that needs nothing else, and as Markdown.

use super::charts::CHARTS;
use super::environment::Environment;
use super::{Bar, Measurement, replace, text};
use anyhow::Result;
use std::fmt::Write;
use std::path::Path;

/// As many charts side by side as there is room for, by day and by night.
const STYLE: &str = "\
    :root{color-scheme:light dark;--text:#222;--faint:#596066;--line:#ddd;--page:#fff;\
    --met:#2e7d32;--missed:#c62828}\
    @media(prefers-color-scheme:dark){:root{--text:#e4e6e8;--faint:#a4abb2;--line:#3c4248;\
    --page:#16191c;--met:#66bb6a;--missed:#ef6f6c}}\
    body{font:15px/1.5 sans-serif;color:var(--text);background:var(--page);max-width:1400px;\
    margin:2em auto;padding:0 1em}\
    .charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(410px,100%),1fr));\
    gap:0 2em}figure{margin:0 0 1em;max-width:520px}h2{font-size:1.15em;margin:.8em 0 .2em}\
    figcaption{color:var(--faint);font-size:.93em;margin-bottom:.5em}\
    svg{width:100%;height:auto}svg text{fill:var(--text)}\
    svg [stroke=\"#000000\"]{stroke:var(--text)}\
    svg [fill=\"#2E7D32\"]{fill:var(--met)}svg [fill=\"#C62828\"]{fill:var(--missed)}\
    .wide{overflow-x:auto}table{border-collapse:collapse}\
    td,th{padding:.2em .8em .2em 0;text-align:left;vertical-align:top;\
    border-bottom:1px solid var(--line)}td.n{text-align:right;white-space:nowrap}\
    .met{color:var(--met)}.missed{color:var(--missed);font-weight:bold}";

/// Writes a page with charts, or Markdown if the file's name ends in `.md`.
///
/// # Errors
/// The file cannot be written, or a chart not be drawn.
pub(crate) fn write(path: &Path, results: &[Measurement]) -> Result<()> {
    let environment = Environment::read()?;
    let is_markdown = path.extension().is_some_and(|extension| extension == "md");
    let page =
        if is_markdown { markdown(&environment, results) } else { html(&environment, results)? };
    replace(path, &page)
}

fn html(environment: &Environment, results: &[Measurement]) -> Result<String> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>Mizar, measured</title>\n<style>{STYLE}</style>\n<h1>Mizar, measured</h1>\n"
    );
    page += "<p>Medians of rounds that are interleaved with rounds of what they are compared with. \
             Green meets its bar, the line across; red misses it; blue has none; grey is what \
             Mizar is compared with.</p>\n<div class=\"wide\"><table>\n";
    for (name, value) in &environment.facts {
        writeln!(page, "<tr><th>{}<td>{}", escape(&name.replace('`', "")), escape(value))?;
    }
    page += "</table></div>\n<div class=\"charts\">\n";
    for chart in CHARTS {
        if let Some(picture) = chart.draw(results)? {
            let (title, caption) = (chart.title, chart.caption);
            writeln!(page, "<figure><h2>{title}</h2><figcaption>{caption}</figcaption>")?;
            writeln!(page, "{picture}</figure>")?;
        }
    }
    page += "</div>\n<h2>All figures</h2>\n<div class=\"wide\"><table>\n\
             <tr><th>figure<th>value<th>spread<th>bar<th>against\n";
    for result in results {
        let class = match result.bar.map(|bar| bar.is_met(result.value)) {
            Some(true) => "n met",
            Some(false) => "n missed",
            None => "n",
        };
        writeln!(
            page,
            "<tr><td>{}<td class=\"{class}\">{} {}<td class=\"n\">{}<td>{}<td>{}",
            escape(result.id),
            text(result.value),
            escape(result.unit),
            text(result.spread),
            result.bar.map_or(String::new(), Bar::text),
            escape(&against(result)),
        )?;
    }
    page += "</table></div>\n</html>\n";
    Ok(page)
}

fn markdown(environment: &Environment, results: &[Measurement]) -> String {
    let mut page = String::from("# Measured\n\n");
    for (name, value) in &environment.facts {
        page += &format!("- {name}: {value}\n");
    }
    page += "\n| figure | value | spread | bar | against |\n|---|---|---|---|---|\n";
    for result in results {
        let missed = result.bar.is_some_and(|bar| !bar.is_met(result.value));
        let value = format!("{} {}", text(result.value), result.unit);
        let value = if missed { format!("**{value}**") } else { value };
        let bar = result.bar.map_or(String::new(), Bar::text);
        let (id, spread, against) = (result.id, text(result.spread), against(result));
        page += &format!("| {id} | {value} | {spread} | {bar} | {against} |\n");
    }
    page
}

fn against(result: &Measurement) -> String {
    result.baseline.as_ref().map_or(String::new(), |baseline| {
        format!("{}: {} {}", baseline.name, text(baseline.value), baseline.unit)
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Baseline;

    fn results() -> Vec<Measurement> {
        let figure = |id, value, bar, baseline| Measurement {
            id,
            value,
            unit: "ns",
            bar,
            baseline,
            spread: 1.0,
        };
        let baseline = Baseline { name: "a <b> & c", value: 3.0, unit: "ns" };
        vec![
            figure("packet.bounce.one_ns", 47.2, Some(Bar::AtMost(60.0)), Some(baseline)),
            figure("packet.bounce.many_ns", 158.0, Some(Bar::AtMost(90.0)), None),
            figure("provision.ready_p50_ms.10", 1.3, None, None),
            figure("provision.ready_p50_ms.1000000", 1.0, None, None),
            figure("provision.others.ovn_ms.5000", 558.0, None, None),
        ]
    }

    fn environment() -> Environment {
        Environment { facts: vec![("kernel", "6.18 <x>".to_owned())] }
    }

    #[test]
    fn a_page_shows_the_charts_whose_figures_were_measured_and_every_figure() {
        let page = html(&environment(), &results()).unwrap();
        assert_eq!(page.matches("<svg").count(), 2, "{page}");
        for shown in ["bounce, one flow", "OVN, median", "Mizar, median<", "6.18 &lt;x&gt;"] {
            let shown = shown.trim_end_matches('<');
            assert!(page.contains(shown), "{shown} is not in {page}");
        }
        assert!(!page.contains("divide, one flow") && !page.contains("<b>"), "{page}");
        assert!(page.contains("<td class=\"n missed\">158 ns"), "{page}");
        assert!(page.contains("<td class=\"n met\">47.2 ns"), "{page}");
    }

    #[test]
    fn markdown_has_a_line_for_each_figure_and_marks_what_is_missed() {
        let page = markdown(&environment(), &results());
        assert!(page.contains("- kernel: 6.18 <x>\n"));
        assert!(
            page.contains("| packet.bounce.one_ns | 47.2 ns | 1.00 | ≤ 60 | a <b> & c: 3.00 ns |")
        );
        assert!(page.contains("| packet.bounce.many_ns | **158 ns** | 1.00 | ≤ 90 |  |"), "{page}");
        assert_eq!(page.lines().filter(|line| line.starts_with("| p")).count(), 5);
    }
}

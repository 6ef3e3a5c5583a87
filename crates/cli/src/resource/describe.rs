//! All that is known of one resource, for people.

use super::bars::{bar, micros};
use super::show::yaml;
use crate::output;
use anyhow::Result;
use mizar_vpc::Manifest;
use mizar_vpc::manifest::{Condition, Object, Timing};
use std::fmt::Write;

/// The agent's own steps: they say how long they took, not when they ended.
const OWN_STEPS: [&str; 4] = ["interface", "addresses", "program", "rows"];

/// A resource as a page of text.
///
/// # Errors
/// It cannot be written.
pub(crate) fn describe(manifest: &Manifest) -> Result<String> {
    let metadata = manifest.metadata();
    let mut page = manifest.reference().to_string();
    let labels: Vec<_> = metadata.labels.iter().map(|(key, it)| format!("{key}={it}")).collect();
    if !labels.is_empty() {
        let _ = write!(page, "\nlabels   {}", labels.join(", "));
    }
    if let Some(version) = metadata.resource_version {
        let _ = write!(page, "\nversion  {version}");
    }
    let mut value = serde_json::to_value(manifest)?;
    section(&mut page, "asked for", &value["spec"])?;
    let Some(status) = value.get_mut("status").and_then(|it| it.as_object_mut()) else {
        return Ok(page);
    };
    // They have forms of their own.
    status.remove("conditions");
    status.remove("timings");
    section(&mut page, "as it stands", &value["status"])?;
    match manifest {
        Manifest::Endpoint(Object { status: Some(status), .. }) => {
            conditions(&mut page, &status.conditions);
            timings(&mut page, &status.timings);
        }
        Manifest::Host(Object { status: Some(status), .. }) => {
            conditions(&mut page, &status.conditions);
        }
        _ => {}
    }
    Ok(page)
}

fn section(page: &mut String, title: &str, value: &serde_json::Value) -> Result<()> {
    let _ = write!(page, "\n\n{title}");
    for line in yaml(value)?.lines() {
        let _ = write!(page, "\n  {line}");
    }
    Ok(())
}

fn conditions(page: &mut String, conditions: &[Condition]) {
    if conditions.is_empty() {
        return;
    }
    let mut table = output::table(["  CONDITION", "IS", "REASON", "MESSAGE"]);
    for Condition { r#type, status, reason, message } in conditions {
        let text = |text: &String| output::or_none(Some(text).filter(|text| !text.is_empty()));
        table.add_row([format!("  {type}"), format!("{status:?}"), text(reason), text(message)]);
    }
    let _ = write!(page, "\n\n{}", output::text(&table));
}

/// Steps that follow one another stand behind one another; those of the agent begin at the left.
fn timings(page: &mut String, timings: &[Timing]) {
    let Some(most) = timings.iter().map(|timing| timing.micros).max() else { return };
    let mut table = output::table(["  STEP", "TOOK", "ENDED AT", ""]);
    let mut before = 0;
    for Timing { step, micros: at } in timings {
        let is_own = OWN_STEPS.contains(&step.as_str());
        let begin = if is_own { 0 } else { before };
        let ended = if is_own { "-".to_owned() } else { micros(*at) };
        let took = micros(at.saturating_sub(begin));
        table.add_row([format!("  {step}"), took, ended, bar(begin, *at, most)]);
        if !is_own {
            before = before.max(*at);
        }
    }
    let _ = write!(page, "\n\n{}", output::text(&table));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degraded_endpoint_says_why_and_how_long_each_step_took() {
        let manifest = serde_saphyr::from_str(
            "{kind: Endpoint, metadata: {name: web-1, vpc: blue, labels: {app: web}, \
             resourceVersion: '1.7'}, spec: {network: front, host: h1, attachment: {veth: {netns: \
             /run/n, interface: eth0}}}, status: {phase: Degraded, v4: 10.0.1.2, conditions: \
             [{type: Bounced, status: 'False', reason: Partly, message: h3 is silent}], \
             timings: [{step: interface, micros: 500}, {step: bounced, micros: 1000}, \
             {step: ready, micros: 3000}]}}",
        );
        let page = describe(&manifest.unwrap()).unwrap();
        let expected = "\
endpoint blue/web-1
labels   app=web
version  1.7

asked for
  attachment:
    veth:
      interface: eth0
      netns: /run/n
  host: h1
  network: front

as it stands
  generation: null
  mac: null
  phase: Degraded
  v4: \"10.0.1.2\"

  CONDITION  IS     REASON  MESSAGE
  Bounced    False  Partly  h3 is silent

  STEP       TOOK    ENDED AT
  interface  500 µs  -         █████
  bounced    1.0 ms  1.0 ms    ██████████
  ready      2.0 ms  3.0 ms              ████████████████████";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_host_that_is_being_upgraded_says_what_it_waits_for() {
        let manifest = serde_saphyr::from_str(
            "{kind: Host, metadata: {name: h1}, spec: {underlay: 192.0.2.1}, status: {conditions: \
             [{type: Upgrading, status: 'True', reason: Waiting, message: for it}]}}",
        );
        let page = describe(&manifest.unwrap()).unwrap();
        let expected = "
  CONDITION  IS    REASON   MESSAGE
  Upgrading  True  Waiting  for it";
        assert!(page.ends_with(expected), "{page}");
    }
}

//! Resources as the user wants to see them.

use super::{cells, header};
use crate::output;
use anyhow::{Context, Result};
use clap::ValueEnum;
use mizar_vpc::{Kind, Manifest};

/// How resources look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum View {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// Manifests as JSON: one, or a list.
    Json,
    /// Manifests as YAML, one document each.
    Yaml,
    /// Kind and name, one a line.
    Name,
}

impl View {
    /// Whether this is a table, and if it is a wide one.
    pub(crate) const fn table(self) -> Option<bool> {
        match self {
            Self::Table => Some(false),
            Self::Wide => Some(true),
            Self::Json | Self::Yaml | Self::Name => None,
        }
    }

    /// One resource in a form that is no table.
    ///
    /// # Errors
    /// It cannot be written in that form.
    pub(crate) fn one(self, item: &Manifest) -> Result<String> {
        match self {
            Self::Json => serde_json::to_string_pretty(item).context("cannot write JSON"),
            Self::Yaml => yaml(item).map(|text| format!("---\n{}", text.trim_end())),
            Self::Name | Self::Table | Self::Wide => Ok(item.reference().to_string()),
        }
    }
}

/// Resources of one kind as text. A single one that was asked for by name is no list.
///
/// # Errors
/// They cannot be written in that form.
pub(crate) fn show(kind: Kind, items: &[Manifest], view: View, is_list: bool) -> Result<String> {
    if let Some(wide) = view.table() {
        let mut table = output::table(header(kind, wide));
        for item in items {
            table.add_row(cells(item, wide));
        }
        return Ok(output::text(&table));
    }
    match view {
        View::Json if is_list => serde_json::to_string_pretty(items).context("cannot write JSON"),
        _ => {
            let texts = items.iter().map(|item| view.one(item));
            Ok(texts.collect::<Result<Vec<_>>>()?.join("\n"))
        }
    }
}

/// A value as YAML.
pub(crate) fn yaml<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_saphyr::to_string(value).context("cannot write YAML")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(status: &str) -> Manifest {
        let text = format!(
            "{{kind: Endpoint, metadata: {{name: web-1, vpc: blue, labels: {{app: web}}, \
             resourceVersion: '1.7'}}, spec: {{network: front, host: h1, attachment: {{veth: \
             {{netns: /run/netns/w, interface: eth0}}}}}}, status: {status}}}"
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn a_table_has_what_a_person_asks_first_and_a_wide_one_the_rest() {
        let ready = endpoint("{phase: Ready, v4: 10.0.1.2, mac: '02:00:0a:00:01:02'}");
        let items = [ready];
        let narrow = show(Kind::Endpoint, &items, View::Table, true).unwrap();
        assert_eq!(
            narrow,
            "VPC   NAME   NETWORK  HOST  V4        V6  PHASE\n\
             blue  web-1  front    h1    10.0.1.2  -   Ready"
        );
        let wide = show(Kind::Endpoint, &items, View::Wide, true).unwrap();
        let row = wide.lines().nth(1).unwrap();
        for cell in ["02:00:0a:00:01:02", "veth /run/netns/w:eth0", "app=web", "1.7"] {
            assert!(row.contains(cell), "{row}");
        }
    }

    #[test]
    fn a_wide_table_says_which_interface_of_its_host_an_endpoint_is() {
        let cell = |routes: &str| {
            let text = format!(
                "{{kind: Endpoint, metadata: {{name: node, vpc: blue}}, spec: {{network: front, \
                 host: h1, attachment: {{host: {{interface: vpc0{routes}}}}}}}}}"
            );
            let items = [serde_saphyr::from_str(&text).unwrap()];
            show(Kind::Endpoint, &items, View::Wide, true).unwrap()
        };
        assert!(cell("").contains("host vpc0 "));
        let with_routes = cell(", routes: [10.0.2.0/24, 'fd00:2::/64']");
        assert!(with_routes.contains("host vpc0 10.0.2.0/24,fd00:2::/64"), "{with_routes}");
    }

    #[test]
    fn other_forms_are_read_again_as_they_were() {
        let items = [endpoint("{phase: Pending}"), endpoint("{phase: Ready}")];
        let json = show(Kind::Endpoint, &items, View::Json, true).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Manifest>>(&json).unwrap(), items);
        let one = show(Kind::Endpoint, &items[..1], View::Json, false).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&one).unwrap(), items[0]);
        let yaml = show(Kind::Endpoint, &items, View::Yaml, true).unwrap();
        assert_eq!(serde_saphyr::from_multiple::<Manifest>(&yaml).unwrap(), items);
        let names = show(Kind::Endpoint, &items, View::Name, true).unwrap();
        assert_eq!(names, "endpoint blue/web-1\nendpoint blue/web-1");
    }

    #[test]
    fn every_row_has_a_cell_for_every_column() {
        let texts = [
            "{kind: Fleet, metadata: {name: fleet}, spec: {prefixes: [100.64.0.0/16]}}",
            "{kind: Host, metadata: {name: h1}, spec: {underlay: 100.64.0.1, cordoned: true}}",
            "{kind: Tenant, metadata: {name: acme}, spec: {}}",
            "{kind: Vpc, metadata: {name: blue}, spec: {dividers: {count: 2}}}",
            "{kind: Network, metadata: {name: a, vpc: blue}, spec: {bouncers: {hosts: [h1]}}}",
            "{kind: SlotMap, metadata: {name: a, vpc: blue}, spec: {epoch: 3}, status: {holders: \
             {h1: [1, 255, 0]}}}",
        ];
        for text in texts {
            let item: Manifest = serde_saphyr::from_str(text).unwrap();
            for wide in [false, true] {
                assert_eq!(cells(&item, wide).len(), header(item.kind(), wide).len(), "{text}");
            }
        }
        let host: Manifest = serde_saphyr::from_str(texts[1]).unwrap();
        assert!(cells(&host, false).contains(&"unknown,cordoned".to_owned()));
        let map: Manifest = serde_saphyr::from_str(texts[5]).unwrap();
        assert!(cells(&map, false).contains(&"h1:255+1 filling".to_owned()));
    }
}

//! Topologies by few words. Network n has the prefixes 10.0.n.0/24 and fd00:0:0:n::/64, in every
//! VPC; its endpoint k the addresses 10.0.n.k and fd00:0:0:n::k.

/// An endpoint: its name, its host, the last number of its addresses.
pub(crate) type Endpoint<'a> = (&'a str, &'a str, u8);

/// Hosts h1, h2, …, and what lives on them.
pub(crate) fn cloud(hosts: u8, vpcs: &[String]) -> String {
    format!("hosts: {hosts}\nvpcs: [{}]\n", vpcs.join(", "))
}

pub(crate) fn vpc(name: &str, vni: u32, dividers: &[&str], networks: &[String]) -> String {
    let (dividers, networks) = (dividers.join(", "), networks.join(", "));
    format!("{{name: {name}, vni: {vni}, dividers: [{dividers}], networks: [{networks}]}}")
}

pub(crate) fn network(
    name: &str,
    number: u8,
    bouncers: &[&str],
    endpoints: &[Endpoint<'_>],
) -> String {
    let endpoints = endpoints.iter().map(|(name, host, last)| {
        format!(
            "{{name: {name}, host: {host}, v4: 10.0.{number}.{last}, \
             v6: \"fd00:0:0:{number}::{last}\"}}"
        )
    });
    let (bouncers, endpoints) = (bouncers.join(", "), endpoints.collect::<Vec<_>>().join(", "));
    format!(
        "{{name: {name}, v4: 10.0.{number}.0/24, v6: \"fd00:0:0:{number}::/64\", \
         bouncers: [{bouncers}], endpoints: [{endpoints}]}}"
    )
}

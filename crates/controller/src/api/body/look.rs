//! Looks into hosts' tables.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mizar_proto::{Looked, RawRows};
use mizar_vpc::{Name, Vni};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use thiserror::Error;

/// Asks which rows of some hosts decide what becomes of packets between addresses of a VPC.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LookBody {
    /// The addresses, 1 to 4.
    #[schemars(length(min = 1, max = 4))]
    pub addresses: Vec<IpAddr>,
    /// The underlay addresses of the hosts, 1 to 32.
    #[schemars(length(min = 1, max = 32))]
    pub hosts: Vec<IpAddr>,
}

/// What the hosts say.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LookedBody {
    /// VNI of the VPC.
    pub vni: Vni,
    /// The endpoints that have the addresses.
    pub endpoints: BTreeMap<IpAddr, AtBody>,
    /// The hosts. Addresses that no host of the fleet has are left out.
    pub hosts: Vec<LookedHostBody>,
    /// The names of all hosts that are in the rows, by underlay address.
    pub names: BTreeMap<IpAddr, Name>,
}

/// An endpoint, and where it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AtBody {
    /// Its name.
    pub name: Name,
    /// Its host.
    pub host: Name,
}

/// What one host says.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LookedHostBody {
    /// Its name.
    pub name: Name,
    /// Its underlay address.
    pub underlay: IpAddr,
    /// Its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowsBody>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Rows as a host's kernel has them, for programs that know their layout.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowsBody {
    /// Version of the layout.
    pub layout: u32,
    /// When they were read, in jiffies of that host.
    pub now: u64,
    /// Keys and rows in base64, by name of the table.
    pub tables: BTreeMap<String, Vec<(String, String)>>,
}

/// Rows that cannot be read.
#[derive(Clone, Debug, Error)]
#[error("a row of table {table} is no base64")]
pub struct RowsError {
    /// The table.
    pub table: String,
}

impl From<Looked> for RowsBody {
    fn from(looked: Looked) -> Self {
        let row =
            |(key, row)| (BASE64_STANDARD.encode::<Vec<u8>>(key), BASE64_STANDARD.encode(row));
        let table = |(name, rows): (String, RawRows)| (name, rows.into_iter().map(row).collect());
        let tables = looked.tables.into_iter().map(table).collect();
        Self { layout: looked.layout, now: looked.now, tables }
    }
}

impl TryFrom<RowsBody> for Looked {
    type Error = RowsError;

    fn try_from(body: RowsBody) -> Result<Self, RowsError> {
        let row = |(key, row): &(String, String)| {
            Some((BASE64_STANDARD.decode(key).ok()?, BASE64_STANDARD.decode(row).ok()?))
        };
        let table = |(table, rows): (String, Vec<_>)| {
            let rows: Option<RawRows> = rows.iter().map(row).collect();
            rows.map(|rows| (table.clone(), rows)).ok_or(RowsError { table })
        };
        let tables = body.tables.into_iter().map(table).collect::<Result<_, _>>()?;
        Ok(Self { layout: body.layout, now: body.now, tables, hosts: Vec::new() })
    }
}

//! JSON Schemas of the values with rules, for editors, and for whoever speaks to the API.
//!
//! A schema lets pass all that the value's own check lets pass. What a pattern cannot say, only
//! the check refuses.

use crate::manifest::{API_VERSION, ApiVersion};
use crate::{Generation, Labels, Mac, Name, NetworkId, Replicas, Selector, Vni};
use mizar_packet::tables::REPLICAS;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// Implements `JsonSchema` by literal schemas.
macro_rules! schemas {
    ($($name:ident: { $($schema:tt)* })*) => { $(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ $($schema)* })
            }
        }
    )* };
}

schemas! {
    ApiVersion: {
        "description": "The version of the manifest.",
        "const": API_VERSION,
    }
    Name: {
        "description": "A DNS label in lower case.",
        "type": "string",
        "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        "maxLength": Name::MAX_LENGTH,
        "examples": ["web-1"],
    }
    Labels: {
        "description": "What tells resources apart, beside their names.",
        "type": "object",
        "maxProperties": Labels::MOST,
        "propertyNames": { "pattern": "^[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?$" },
        "additionalProperties": {
            "type": "string",
            "pattern": "^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$",
        },
        "examples": [{ "app": "web" }],
    }
    Selector: {
        "description": "Requirements on labels, separated by commas: all must hold.",
        "type": "string",
        "examples": ["app=web,tier!=db,zone,!spare"],
    }
    Generation: {
        "description": "A point in the history of the store: epoch.revision.",
        "type": "string",
        "pattern": "^[0-9]{1,5}\\.[0-9]{1,15}$",
        "examples": ["1.42"],
    }
    Vni: {
        "description": "A VPC's number on the wire.",
        "type": "integer",
        "minimum": Vni::MIN.get(),
        "maximum": Vni::MAX.get(),
    }
    NetworkId: {
        "description": "A network's number in its VPC.",
        "type": "integer",
        "minimum": NetworkId::MIN.get(),
        "maximum": u32::MAX,
    }
    Replicas: {
        "description": "How many bouncers hold each slot of a network.",
        "type": "integer",
        "minimum": 1,
        "maximum": REPLICAS,
        "default": 2,
    }
    Mac: {
        "description": "A unicast MAC address.",
        "type": "string",
        "pattern": "^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$",
        "examples": ["02:00:0a:00:00:05"],
    }
}

/// Prefixes, whose crate knows no schemas: as `#[schemars(with = "…")]` of a field.
pub(crate) mod prefix {
    use super::{Cow, JsonSchema, Schema, SchemaGenerator, json_schema};

    /// Of either family.
    pub(crate) struct Any;
    /// IPv4.
    pub(crate) struct V4;
    /// IPv6.
    pub(crate) struct V6;

    schemas! {
        Any: {
            "type": "string",
            "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$",
            "examples": ["100.64.0.0/16"],
        }
        V4: {
            "type": "string",
            "pattern": "^[0-9]{1,3}(\\.[0-9]{1,3}){3}/[0-9]{1,2}$",
            "examples": ["10.0.1.0/24"],
        }
        V6: {
            "type": "string",
            "pattern": "^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/[0-9]{1,3}$",
            "examples": ["fd00:1::/64"],
        }
    }
}

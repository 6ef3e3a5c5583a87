//! Records as manifests, without their status.

use super::{Catalog, EndpointRecord, Record};
use crate::manifest::{EndpointSpec, Metadata, Object};
use crate::{Manifest, Name};

impl Catalog {
    /// A record as the manifest that asks for it: what was chosen is left out.
    pub fn manifest(&self, record: &Record) -> Option<Manifest> {
        let reference = self.reference(record)?;
        let metadata = Metadata {
            name: reference.name,
            vpc: reference.vpc,
            labels: record.labels().clone(),
            resource_version: Some(record.revision()),
        };
        Some(match record {
            Record::Fleet(it) => Manifest::Fleet(Object::new(metadata, it.spec.clone())),
            Record::Host(it) => Manifest::Host(Object::new(metadata, it.spec.clone())),
            Record::Tenant(it) => Manifest::Tenant(Object::new(metadata, it.spec.clone())),
            Record::Vpc(it) => Manifest::Vpc(Object::new(metadata, it.spec.clone())),
            Record::Network(it) => Manifest::Network(Object::new(metadata, it.spec.clone())),
            Record::Endpoint(it) => {
                let network = self.vpc(it.vni)?.network(it.network)?.record().name.clone();
                Manifest::Endpoint(Object::new(metadata, endpoint_spec(it, network)))
            }
        })
    }
}

fn endpoint_spec(record: &EndpointRecord, network: Name) -> EndpointSpec {
    let asked = |what| record.asked_for(what);
    EndpointSpec {
        network,
        host: record.host.clone(),
        v4: record.v4.filter(|_| asked(EndpointRecord::ASKED_V4)),
        v6: record.v6.filter(|_| asked(EndpointRecord::ASKED_V6)),
        mac: asked(EndpointRecord::ASKED_MAC).then_some(record.mac),
        attachment: record.attachment.clone(),
        migration: record.migration.clone(),
    }
}

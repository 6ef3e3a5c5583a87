//! `/openapi.json`: the API described for programs, from the types that it uses.

mod enrol;
mod paths;

use super::body::{
    ApplyBody, BatchBody, EventBody, ListBody, LookBody, LookedBody, RevocationBody,
    RevocationListBody, RevokeBody, TokenBody, TokenListBody, TokenMadeBody, TokenOrderBody,
    WrittenBody,
};
use super::problem::Problem;
use axum::Json;
use mizar_vpc::{Kind, Manifest};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Answers with the description.
pub(super) async fn serve() -> Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
    Json(&DOCUMENT)
}

/// The description of the API (OpenAPI 3.1).
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mizar",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Resources of a cloud network as manifests. Every error is a problem \
                (RFC 9457). Connections are mutual TLS, or the controller's local socket; the \
                certificate says who asks.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "https://localhost:6443" }],
        "paths": paths::all(),
        "components": { "schemas": schemas(), "responses": responses() },
    })
}

/// The schema of manifests in files, for editors. Draft 7, since that is what they know.
pub fn manifest_schema() -> Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Manifest>();
    schema.insert("title".to_owned(), "Mizar manifest".into());
    schema.to_value()
}

fn schemas() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12();
    let mut generator =
        settings.with(|it| it.definitions_path = "/components/schemas".into()).into_generator();
    add::<Manifest>(&mut generator);
    add::<ApplyBody>(&mut generator);
    add::<BatchBody>(&mut generator);
    add::<ListBody>(&mut generator);
    add::<LookBody>(&mut generator);
    add::<LookedBody>(&mut generator);
    add::<WrittenBody>(&mut generator);
    add::<EventBody>(&mut generator);
    add::<TokenOrderBody>(&mut generator);
    add::<TokenMadeBody>(&mut generator);
    add::<TokenListBody>(&mut generator);
    add::<TokenBody>(&mut generator);
    add::<RevokeBody>(&mut generator);
    add::<RevocationBody>(&mut generator);
    add::<RevocationListBody>(&mut generator);
    add::<Problem>(&mut generator);
    let mut schemas = generator.take_definitions(true);
    split_by_kind(&mut schemas);
    schemas
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

/// Gives the manifest of each kind a name of its own, as paths are about one kind.
fn split_by_kind(schemas: &mut Map<String, Value>) {
    let Some(variants) = schemas.get_mut("Manifest").and_then(|it| it.get_mut("oneOf")) else {
        return;
    };
    let variants = variants.as_array_mut().map(std::mem::take).unwrap_or_default();
    let mut references = Vec::new();
    for (kind, variant) in Kind::ALL.into_iter().zip(variants) {
        references.push(json!({ "$ref": format!("#/components/schemas/{kind}") }));
        schemas.insert(kind.as_str().to_owned(), variant);
    }
    let mapping: Map<_, _> = Kind::ALL
        .into_iter()
        .map(|kind| (kind.to_string(), format!("#/components/schemas/{kind}").into()))
        .collect();
    schemas["Manifest"]["oneOf"] = references.into();
    schemas["Manifest"]["discriminator"] = json!({ "propertyName": "kind", "mapping": mapping });
}

fn responses() -> Value {
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    json!({
        "Problem": {
            "description": "Why not: see the problem's type, detail and errors.",
            "content": { super::problem::MEDIA_TYPE: problem },
        },
    })
}

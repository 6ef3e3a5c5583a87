//! The descriptions of the API and of manifests are true.

use crate::world::World;
use http::{Method, StatusCode};
use mizar_controller::api::openapi;
use serde_json::Value;
use std::path::Path;

/// Set, the published schema is written in place of being compared.
const WRITE: &str = "MIZAR_WRITE_SCHEMA";

#[test]
fn the_published_schema_of_manifests_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema/manifest.schema.json");
    let mut text = serde_json::to_string_pretty(&openapi::manifest_schema()).unwrap();
    text.push('\n');
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == text, "{} is old: run this test with {WRITE}=1", path.display());
}

#[tokio::test]
async fn every_path_and_method_of_the_description_exists_and_no_other() {
    let world = World::new();
    let document = world.get("/openapi.json").await.expect(StatusCode::OK);
    assert_eq!(document["openapi"], "3.1.0");
    let all = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
    for (path, item) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{vpc}", "blue").replace("{name}", "x");
        for method in &all {
            let is_described = item.get(method.as_str().to_lowercase()).is_some();
            let status = world.send(method.clone(), &concrete, &[], "").await.status;
            let exists = status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(exists, is_described, "{method} {path}");
        }
    }
}

#[test]
fn every_reference_of_the_description_leads_somewhere() {
    let document = openapi::document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference inside of the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = Vec::new();
    for operation in document["paths"].as_object().unwrap().values() {
        let operations = operation.as_object().unwrap().values();
        ids.extend(operations.filter_map(|it| it["operationId"].as_str()));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            references.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| collect(value, references));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

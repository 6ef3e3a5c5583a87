//! The paths of the description. A test compares them with those of the router.

use crate::api::backup;
use crate::api::body::MOST_CHANGES;
use crate::api::look;
use crate::api::monitor;
use crate::api::query::{DEFAULT_LIMIT, MOST_ITEMS};
use crate::api::watch;
use mizar_vpc::Kind;
use serde_json::{Map, Value, json};

/// All paths.
pub(super) fn all() -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in Kind::ALL {
        for (path, item) in of_kind(kind) {
            paths.insert(path, item);
        }
    }
    let apply = "Applies manifests together or not at all: those that do not exist are created, \
                 others replaced.";
    paths.insert("/v1/apply".to_owned(), json!({ "post": many("apply", apply, "ApplyBody") }));
    let batch = "Makes changes together or not at all.";
    paths.insert("/v1/batch".to_owned(), json!({ "post": many("batch", batch, "BatchBody") }));
    paths.insert(monitor::PATH.to_owned(), json!({ "get": metrics() }));
    paths.insert("/v1/backup".to_owned(), json!({ "get": take_backup() }));
    paths.insert(
        look::PATH.to_owned(),
        json!({ "parameters": path_parameters(&["vpc"]), "post": look() }),
    );
    paths.extend(super::enrol::all());
    paths
}

fn metrics() -> Value {
    let text = json!({ "schema": { "type": "string" } });
    json!({
        "operationId": "getMetrics",
        "summary": "What a monitoring system collects. For operators and monitors.",
        "responses": {
            "200": {
                "description": "All metrics, in the text format of Prometheus.",
                "content": { monitor::TEXT: text },
            },
            "default": problem(),
        },
    })
}

fn look() -> Value {
    json!({
        "operationId": "lookIntoHosts",
        "summary": "The rows of hosts' tables that decide what becomes of packets between \
            addresses of a VPC, as `mizar trace` takes them. For operators.",
        "requestBody": body("LookBody"),
        "responses": {
            "200": {
                "description": "What each host says, within some seconds.",
                "content": { "application/json": schema("LookedBody") },
            },
            "default": problem(),
        },
    })
}

fn take_backup() -> Value {
    json!({
        "operationId": "backup",
        "summary": "One point in time of the store, for `mizar controller restore`. For operators, \
            by the controller's local socket.",
        "responses": {
            "200": {
                "description": "The backup. Its checksum comes last: what breaks off is none.",
                "content": {
                    backup::MEDIA_TYPE: { "schema": { "type": "string", "format": "binary" } },
                },
            },
            "default": problem(),
        },
    })
}

fn of_kind(kind: Kind) -> Vec<(String, Value)> {
    let plural = kind.plural();
    let is_written = kind != Kind::SlotMap;
    let in_vpc = format!("/v1/vpcs/{{vpc}}/{plural}");
    match kind {
        Kind::Fleet => {
            let mut item = one(kind, &[], is_written);
            item["post"] = create(kind);
            let of_watches = ["watch", "from"];
            let all = list_parameters();
            let all = all.as_array().into_iter().flatten();
            let some = all.filter(|it| of_watches.iter().any(|name| it["name"] == **name));
            item["get"]["parameters"] = some.cloned().collect();
            item["get"]["responses"]["200"]["content"][watch::MEDIA_TYPE] = schema("EventBody");
            vec![(format!("/v1/{plural}"), item)]
        }
        Kind::Host | Kind::Tenant | Kind::Vpc => vec![
            (format!("/v1/{plural}"), collection(kind, &[], is_written)),
            (format!("/v1/{plural}/{{name}}"), one(kind, &["name"], is_written)),
        ],
        Kind::Network | Kind::Endpoint | Kind::SlotMap => vec![
            (format!("/v1/{plural}"), collection(kind, &[], false)),
            (in_vpc.clone(), collection(kind, &["vpc"], is_written)),
            (format!("{in_vpc}/{{name}}"), one(kind, &["vpc", "name"], is_written)),
        ],
    }
}

fn collection(kind: Kind, names: &[&str], is_written: bool) -> Value {
    let place = if names.is_empty() { "All" } else { "Vpc" };
    let mut item = json!({
        "parameters": path_parameters(names),
        "get": {
            "operationId": format!("list{place}{kind}"),
            "summary": format!("A page of {}, or with `watch` their changes.", kind.plural()),
            "parameters": list_parameters(),
            "responses": {
                "200": {
                    "description": "The page; for a watch one event a line, until it ends. The \
                        last line is an Error that says why.",
                    "content": {
                        "application/json": schema("ListBody"),
                        watch::MEDIA_TYPE: schema("EventBody"),
                    },
                },
                "default": problem(),
            },
        },
    });
    if is_written {
        item["post"] = create(kind);
    }
    item
}

fn one(kind: Kind, names: &[&str], is_written: bool) -> Value {
    let text = kind.as_str();
    let mut item = json!({
        "parameters": path_parameters(names),
        "get": {
            "operationId": format!("get{text}"),
            "summary": format!("One {}.", kind.singular()),
            "responses": { "200": found(text), "default": problem() },
        },
    });
    if is_written {
        item["put"] = json!({
            "operationId": format!("replace{text}"),
            "summary": "Another one in its place. What is left out is chosen, not kept.",
            "parameters": [if_match(), dry_run()],
            "requestBody": body(text),
            "responses": { "200": found(text), "default": problem() },
        });
        item["delete"] = json!({
            "operationId": format!("delete{text}"),
            "summary": "Deletes it. Refused while others use it, unless `cascade` is set.",
            "parameters": [
                if_match(),
                dry_run(),
                query("cascade", "Delete all that uses it too.", &json!({ "type": "boolean" })),
            ],
            "responses": { "200": written(), "default": problem() },
        });
    }
    item
}

fn create(kind: Kind) -> Value {
    let text = kind.as_str();
    let mut created = found(text);
    created["description"] = "It is made, and on disk.".into();
    created["headers"]["Location"] = json!({
        "description": "Its path.", "schema": { "type": "string" },
    });
    json!({
        "operationId": format!("create{text}"),
        "summary": format!("Makes a new {}.", kind.singular()),
        "parameters": [dry_run()],
        "requestBody": body(text),
        "responses": { "200": found(text), "201": created, "default": problem() },
    })
}

fn many(id: &str, summary: &str, of: &str) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "description": format!(
            "At most {MOST_CHANGES} at once. The first that is refused is named by `change`, its \
             position; then nothing is changed."
        ),
        "parameters": [dry_run()],
        "requestBody": body(of),
        "responses": { "200": written(), "default": problem() },
    })
}

fn list_parameters() -> Value {
    let name = || json!({ "$ref": "#/components/schemas/Name" });
    let text = |longest: u32| json!({ "type": "string", "maxLength": longest });
    let version = json!({ "$ref": "#/components/schemas/Version" });
    let limit = json!({
        "type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": DEFAULT_LIMIT,
    });
    json!([
        query("selector", "With these labels, as in `app=web,tier!=db`.", &text(1024)),
        query("host", "Endpoints on this host.", &name()),
        query("network", "Endpoints of this network.", &name()),
        query(
            "phase",
            "Endpoints in this phase.",
            &json!({ "$ref": "#/components/schemas/Phase" })
        ),
        query("limit", "How many at most.", &limit),
        query("after", "Where to begin: a page's `next`.", &text(256)),
        query("watch", "Changes as they come, in place of a page.", &json!({ "type": "boolean" })),
        query(
            "from",
            "Watch what came after this event; without it, what is there comes first, unless that \
             is too much to look through (410).",
            &version
        ),
    ])
}

pub(super) fn path_parameters(names: &[&str]) -> Vec<Value> {
    let parameter = |name: &&str| {
        json!({
            "name": name, "in": "path", "required": true,
            "schema": { "$ref": "#/components/schemas/Name" },
        })
    };
    names.iter().map(parameter).collect()
}

fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn dry_run() -> Value {
    query(
        "dryRun",
        "Check, and say what would change, but change nothing.",
        &json!({ "type": "boolean" }),
    )
}

fn if_match() -> Value {
    json!({
        "name": "If-Match", "in": "header",
        "description": "The ETag that was read: refused with 412 if it was written since.",
        "schema": { "type": "string", "examples": ["\"1.42\""] },
    })
}

pub(super) fn body(of: &str) -> Value {
    json!({ "required": true, "content": { "application/json": schema(of) } })
}

fn found(text: &str) -> Value {
    json!({
        "description": "The resource with how it stands.",
        "headers": { "ETag": {
            "description": "Its resource version, for If-Match.", "schema": { "type": "string" },
        } },
        "content": { "application/json": schema(text) },
    })
}

fn written() -> Value {
    json!({
        "description": "What became of each change.",
        "content": { "application/json": schema("WrittenBody") },
    })
}

pub(super) fn problem() -> Value {
    json!({ "$ref": "#/components/responses/Problem" })
}

pub(super) fn schema(name: &str) -> Value {
    json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } })
}

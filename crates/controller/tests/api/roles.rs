//! Who may not do something is told so, and it is not done.

use crate::world::{JSON, World, endpoint, network, vpc};
use http::{Method, StatusCode};
use serde_json::{Value, json};

async fn world() -> World {
    let world = World::with_blue().await;
    let tenant = |name: &str| json!({ "kind": "Tenant", "metadata": { "name": name }, "spec": {} });
    let mut owned = vpc("acme");
    owned["spec"]["tenant"] = "acme".into();
    let manifests = json!({ "manifests": [tenant("acme"), tenant("other"), owned] });
    world.post("/v1/apply", manifests).await.expect(StatusCode::OK);
    world
}

#[tokio::test]
async fn whoever_is_not_known_is_told_how_to_be() {
    let problem = World::new().by_nobody().get("/v1/vpcs").await.problem("forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("certificate"), "{problem}");
}

#[tokio::test]
async fn a_tenant_sees_and_changes_what_is_his() {
    let world = world().await.by("tenant/acme/bob");
    world.get("/v1/vpcs/acme").await.expect(StatusCode::OK);
    let page = world.get("/v1/vpcs").await.expect(StatusCode::OK);
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
    let network = crate::world::network("acme", "main", "10.0.0.0/24");
    world.post("/v1/vpcs/acme/networks", network).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn a_tenant_does_nothing_to_what_is_not_his() {
    let operator = world().await;
    let world = operator.by("tenant/other/eve");
    world.post("/v1/vpcs/blue/endpoints", endpoint("web-1")).await.problem("not-found");
    world.delete("/v1/vpcs/acme").await.problem("not-found");
    world.post("/v1/hosts", crate::world::host("h7", 7)).await.problem("forbidden");
    let mut stolen = vpc("acme");
    stolen["spec"]["tenant"] = "other".into();
    world.put("/v1/vpcs/acme", stolen).await.problem("not-found");
    let kept = operator.get("/v1/vpcs/acme").await.expect(StatusCode::OK);
    assert_eq!(kept["spec"]["tenant"], "acme");
}

/// What a tenant is told of what he asks for, but for the id of the request.
async fn told(world: &World, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let answer = world.send(method, path, &[JSON], &text).await;
    let mut body = answer.body;
    if let Some(body) = body.as_object_mut() {
        body.remove("instance");
    }
    (answer.status, body)
}

#[tokio::test]
async fn a_tenant_does_not_learn_whether_what_is_not_his_exists() {
    let operator = world().await;
    operator.post("/v1/vpcs/blue/endpoints", endpoint("web-1")).await.expect(StatusCode::CREATED);
    let eve = operator.by("tenant/other/eve");
    let network = |vpc: &str| network(vpc, "front", "10.0.1.0/24");
    let endpoint = |vpc: &str| {
        let mut manifest = endpoint("web-1");
        manifest["metadata"]["vpc"] = vpc.into();
        manifest
    };
    // There is a VPC blue with a network front and an endpoint web-1, and no VPC gone.
    for (method, path, body) in [
        (Method::GET, "/v1/vpcs/VPC", Value::Null),
        (Method::GET, "/v1/vpcs/VPC/networks", Value::Null),
        (Method::GET, "/v1/vpcs/VPC/networks/front", Value::Null),
        (Method::GET, "/v1/vpcs/VPC/networks/none", Value::Null),
        (Method::GET, "/v1/vpcs/VPC/endpoints/web-1", Value::Null),
        (Method::GET, "/v1/vpcs/VPC/endpoints?watch=true", Value::Null),
        (Method::GET, "/v1/vpcs/VPC/slotmaps/front", Value::Null),
        (Method::DELETE, "/v1/vpcs/VPC", Value::Null),
        (Method::DELETE, "/v1/vpcs/VPC?cascade=true", Value::Null),
        (Method::DELETE, "/v1/vpcs/VPC/endpoints/web-1", Value::Null),
        (Method::PUT, "/v1/vpcs/VPC", vpc("VPC")),
        (Method::PUT, "/v1/vpcs/VPC/networks/front", network("VPC")),
        (Method::POST, "/v1/vpcs/VPC/networks", network("VPC")),
        (Method::POST, "/v1/vpcs/VPC/endpoints", endpoint("VPC")),
        (Method::POST, "/v1/apply", json!({ "manifests": [endpoint("VPC")] })),
    ] {
        let ask = async |vpc: &str| {
            let body: Value = serde_json::from_str(&body.to_string().replace("VPC", vpc)).unwrap();
            let (status, told) = told(&eve, method.clone(), &path.replace("VPC", vpc), body).await;
            (status, told.to_string().replace(vpc, "VPC"))
        };
        let (theirs, none) = (ask("blue").await, ask("gone").await);
        assert_eq!(theirs, none, "{method} {path}");
        assert_eq!(theirs.0, StatusCode::NOT_FOUND, "{method} {path}: {}", theirs.1);
    }
}

#[tokio::test]
async fn of_others_a_tenant_learns_that_a_name_is_taken_and_no_more() {
    let operator = world().await;
    let eve = operator.by("tenant/other/eve");
    let own = |name: &str, spec: Value| {
        let mut manifest = vpc(name);
        manifest["spec"] = spec;
        manifest["spec"]["tenant"] = "other".into();
        manifest
    };
    for ask in [vpc("blue"), vpc("gone")] {
        eve.post("/v1/vpcs", ask).await.problem("forbidden");
    }
    let problem = eve.post("/v1/vpcs", own("blue", json!({}))).await.problem("exists");
    assert!(problem["detail"].as_str().unwrap().contains("choose another"), "{problem}");
    let vni = operator.get("/v1/vpcs/blue").await.body["status"]["vni"].clone();
    let refused = async |vni: &Value| {
        let problem = eve.post("/v1/vpcs", own("mine", json!({ "vni": vni }))).await;
        let problem = problem.problem("invalid");
        assert_eq!(problem["errors"][0]["field"], "spec.vni");
        problem["detail"].to_string().replace(&vni.to_string(), "VNI")
    };
    assert_eq!(refused(&vni).await, refused(&json!(9_999)).await);
    let mut tenant = json!({ "kind": "Tenant", "metadata": { "name": "other" } });
    tenant["spec"] = json!({ "hosts": "pool=other" });
    operator.put("/v1/tenants/other", tenant).await.expect(StatusCode::OK);
    let refusal = async |host: &str| {
        let spec = json!({ "dividers": { "hosts": [host] } });
        let problem = eve.post("/v1/vpcs", own("mine", spec)).await.problem("invalid");
        assert_eq!(problem["errors"][0]["field"], "spec.dividers.hosts[0]");
        problem["detail"].to_string().replace(host, "HOST")
    };
    assert_eq!(refusal("h1").await, refusal("h9").await);
    eve.post("/v1/vpcs", own("mine", json!({}))).await.expect(StatusCode::CREATED);
    // Its own number says nothing new.
    let vni = eve.get("/v1/vpcs/mine").await.body["status"]["vni"].clone();
    eve.put("/v1/vpcs/mine", own("mine", json!({ "vni": vni }))).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn an_agent_writes_nothing() {
    let world = world().await.by("host/h1");
    world.post("/v1/vpcs", vpc("red")).await.problem("forbidden");
    world.delete("/v1/hosts/h1").await.problem("forbidden");
    world.post("/v1/apply", json!({ "manifests": [vpc("red")] })).await.problem("forbidden");
}

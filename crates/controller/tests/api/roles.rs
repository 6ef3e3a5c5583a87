//! Who may not do something is told so, and it is not done.

use crate::world::{World, endpoint, vpc};
use http::StatusCode;
use serde_json::json;

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
    for path in ["/v1/vpcs/acme", "/v1/vpcs/blue/endpoints", "/v1/vpcs/blue/networks/front"] {
        let answer = world.get(path).await;
        assert!([403, 404].contains(&answer.status.as_u16()), "{path}: {answer:?}");
    }
    world.post("/v1/vpcs/blue/endpoints", endpoint("web-1")).await.problem("forbidden");
    world.delete("/v1/vpcs/acme").await.problem("forbidden");
    world.post("/v1/hosts", crate::world::host("h7", 7)).await.problem("forbidden");
    let mut stolen = vpc("acme");
    stolen["spec"]["tenant"] = "other".into();
    world.put("/v1/vpcs/acme", stolen).await.problem("forbidden");
    let kept = operator.get("/v1/vpcs/acme").await.expect(StatusCode::OK);
    assert_eq!(kept["spec"]["tenant"], "acme");
}

#[tokio::test]
async fn an_agent_writes_nothing() {
    let world = world().await.by("host/h1");
    world.post("/v1/vpcs", vpc("red")).await.problem("forbidden");
    world.delete("/v1/hosts/h1").await.problem("forbidden");
    world.post("/v1/apply", json!({ "manifests": [vpc("red")] })).await.problem("forbidden");
}

//! Whatever is sent is answered with a problem that says what would be right.

use crate::world::{Answer, JSON, World, endpoint, vpc};
use axum::body::Body;
use http::{Method, StatusCode};
use mizar_controller::api::Limits;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;

#[tokio::test]
async fn malformed_json_is_refused_by_line_and_column() {
    let world = World::new();
    for (body, place) in [
        ("", "line 1, column 0"),
        ("{\"kind\": \"Vpc\",\n  nope}", "line 2, column 3"),
        ("{\"kind\": \"Vpc\"} x", "line 1, column 17"),
        ("\u{0}", "line 1, column 1"),
    ] {
        let answer = world.send(Method::POST, "/v1/vpcs", &[JSON], body).await;
        let problem = answer.problem("malformed");
        assert_eq!(problem["status"], 400);
        assert!(problem["detail"].as_str().unwrap().contains(place), "{body:?}: {problem}");
    }
    let deep = format!("{{\"kind\": \"Vpc\", \"spec\": {}", "[".repeat(100_000));
    world.send(Method::POST, "/v1/vpcs", &[JSON], &deep).await.problem("malformed");
    for body in ["[]", "\"Vpc\"", "null", "[[[[[["] {
        let answer = world.send(Method::POST, "/v1/vpcs", &[JSON], body).await;
        assert_eq!(answer.problem("invalid")["errors"][0]["field"], "body");
    }
}

#[tokio::test]
async fn wrong_fields_are_refused_by_path_and_value() {
    let world = World::with_blue().await;
    let refusal = |change: fn(&mut serde_json::Value)| {
        let mut manifest = endpoint("web-1");
        change(&mut manifest);
        let world = world.clone();
        async move {
            let problem = world.post("/v1/vpcs/blue/endpoints", manifest).await.problem("invalid");
            assert_eq!(problem["status"], 422);
            let error = &problem["errors"][0];
            let text = |name: &str| error[name].as_str().unwrap().to_owned();
            (text("field"), text("problem"))
        }
    };
    let (field, problem) = refusal(|it| it["spec"]["hosst"] = "h1".into()).await;
    assert_eq!(field, "spec.hosst");
    assert!(
        problem.contains("unknown field `hosst`, expected one of `network`, `host`"),
        "{problem}"
    );
    let (field, problem) = refusal(|it| it["spec"]["v4"] = "10.0.1.300".into()).await;
    assert_eq!(field, "spec.v4");
    assert!(problem.contains("invalid IPv4 address"), "{problem}");
    let (field, problem) = refusal(|it| it["metadata"]["name"] = "Web".into()).await;
    assert_eq!(field, "metadata.name");
    assert!(problem.contains("\"Web\" is no DNS label"), "{problem}");
    let (field, problem) = refusal(|it| it["apiVersion"] = "mizar/v2".into()).await;
    assert_eq!(field, "apiVersion");
    assert!(problem.contains("it must be mizar/v1"), "{problem}");
    let (field, problem) = refusal(|it| it["kind"] = "Pod".into()).await;
    assert_eq!((field.as_str(), problem.contains("it must be one of Fleet")), ("kind", true));
    let (field, _) = refusal(|it| drop(it.as_object_mut().unwrap().remove("kind"))).await;
    assert_eq!(field, "kind");
}

#[tokio::test]
async fn of_many_manifests_the_wrong_one_is_named() {
    let world = World::new();
    let mut wrong = vpc("red");
    wrong["spec"]["vni"] = json!(0);
    let body = json!({ "manifests": [vpc("blue"), wrong] });
    let problem = world.post("/v1/apply", body).await.problem("invalid");
    assert_eq!(problem["errors"][0]["change"], 1);
    assert_eq!(problem["errors"][0]["field"], "spec.vni");
    assert!(problem["detail"].as_str().unwrap().starts_with("manifests[1]: spec.vni: VNI 0"));
    for body in [json!({}), json!({ "manifests": [] }), json!({ "manifests": {}, }), json!([])] {
        world.post("/v1/apply", body).await.problem("invalid");
    }
    let body = json!({ "changes": [{ "destroy": {} }] });
    let problem = world.post("/v1/batch", body).await.problem("invalid");
    assert!(problem["detail"].as_str().unwrap().contains("`destroy`"), "{problem}");
}

#[tokio::test]
async fn too_much_at_once_is_refused_clearly() {
    let world = World::new();
    let many: Vec<_> = (0..1001).map(|at| vpc(&format!("v{at}"))).collect();
    let problem = world.post("/v1/apply", json!({ "manifests": many })).await.problem("too-large");
    assert!(problem["detail"].as_str().unwrap().contains("1001 entries"), "{problem}");
    let huge = format!("{{\"kind\": \"{}\"}}", "x".repeat(1 << 20));
    let answer = world.send(Method::POST, "/v1/vpcs", &[JSON], &huge).await;
    let problem = answer.problem("too-large");
    assert_eq!(problem["status"], 413);
}

#[tokio::test]
async fn a_look_into_hosts_is_refused_by_field() {
    let world = World::with_blue().await;
    let (address, host) = ("10.0.1.2", "100.64.0.1");
    for (body, field) in [
        (json!({ "addresses": [], "hosts": [host] }), "addresses"),
        (json!({ "addresses": vec![address; 5], "hosts": [host] }), "addresses"),
        (json!({ "addresses": [address], "hosts": [] }), "hosts"),
        (json!({ "addresses": [address], "hosts": vec![host; 33] }), "hosts"),
        (json!({ "addresses": [address], "hosts": [host, "0.0.0.0"] }), "hosts[1]"),
        (json!({ "addresses": ["::"], "hosts": [host] }), "addresses[0]"),
        (json!({ "addresses": ["::ffff:10.0.1.2"], "hosts": [host] }), "addresses[0]"),
        (json!({ "addresses": [address], "hosts": [host, host] }), "hosts[1]"),
        (json!({ "addresses": ["web-1"], "hosts": [host] }), "addresses[0]"),
        (json!({ "addresses": [address], "hosts": [host], "host": host }), "host"),
    ] {
        let problem = world.post("/v1/vpcs/blue/look", body.clone()).await.problem("invalid");
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
    let body = json!({ "addresses": [address], "hosts": [host] });
    world.post("/v1/vpcs/Blue/look", body.clone()).await.problem("malformed");
    world.post("/v1/vpcs/green/look", body.clone()).await.problem("not-found");
    world.post("/v1/vpcs/blue/look?wide=true", body.clone()).await.problem("malformed");
    let eve = world.by("tenant/other/eve");
    eve.post("/v1/vpcs/blue/look", body.clone()).await.problem("forbidden");
    let looked = world.post("/v1/vpcs/blue/look", body).await.expect(StatusCode::OK);
    assert_eq!(looked["hosts"][0]["problem"], "its agent has no stream to the controller");
}

#[tokio::test]
async fn another_content_type_is_refused() {
    let world = World::new();
    let body = vpc("blue").to_string();
    for headers in [&[][..], &[("content-type", "application/yaml")], &[("content-type", "\u{e9}")]]
    {
        let problem = world.send(Method::POST, "/v1/vpcs", headers, &body).await;
        let problem = problem.problem("content-type");
        assert!(problem["detail"].as_str().unwrap().contains("application/json"), "{problem}");
    }
    let headers = [("content-type", "application/json; charset=utf-8")];
    let answer = world.send(Method::POST, "/v1/vpcs", &headers, &body).await;
    answer.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn paths_methods_and_parameters_that_do_not_exist_are_refused_with_those_that_do() {
    let world = World::with_blue().await;
    for path in
        ["/", "/v1", "/v1/pods", "/v1/vpcs/blue/pods", "/v1/vpcs/blue/endpoints/a/b", "/v2/vpcs"]
    {
        let problem = world.get(path).await.problem("path");
        assert!(problem["detail"].as_str().unwrap().contains("/v1/vpcs"), "{problem}");
    }
    for (method, path, allow) in [
        (Method::PATCH, "/v1/vpcs/blue", "GET,HEAD,PUT,DELETE"),
        (Method::DELETE, "/v1/vpcs", "GET,HEAD,POST"),
        (Method::POST, "/v1/endpoints", "GET,HEAD"),
        (Method::GET, "/v1/apply", "POST"),
    ] {
        let answer = world.send(method, path, &[], "").await;
        assert_eq!(answer.header("allow"), allow, "{path}");
        assert_eq!(answer.problem("method")["status"], 405);
    }
    for (path, right) in [
        ("/v1/vpcs?limt=1", "selector, host"),
        ("/v1/vpcs?limit=0", "1 to 500"),
        ("/v1/vpcs?limit=501", "1 to 500"),
        ("/v1/vpcs?limit=1&limit=2", "give it once"),
        ("/v1/vpcs?phase=Ready", "is of lists of endpoints"),
        ("/v1/endpoints?phase=Fine", "Pending, Ready"),
        ("/v1/vpcs?selector=a%20b", "app=web"),
        ("/v1/vpcs?watch=yes", "true or false"),
        ("/v1/vpcs?watch=true&limit=1", "leave it out"),
        ("/v1/vpcs?from=1.1", "leave it out"),
        ("/v1/vpcs?watch=true&from=x", "as in 1.42"),
        ("/v1/vpcs/blue?dryRun=true", "there may be none"),
        ("/v1/vpcs/Blue", "is no DNS label"),
    ] {
        let problem = world.get(path).await.problem("malformed");
        assert!(problem["detail"].as_str().unwrap().contains(right), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_request_keeps_the_id_that_it_brings_if_it_is_one() {
    let world = World::new();
    let send = |id: &'static str| {
        let world = world.clone();
        async move { world.send(Method::GET, "/v1/vpcs/x", &[("x-request-id", id)], "").await }
    };
    let answer = send("build-42.7").await;
    assert_eq!(answer.header("x-request-id"), "build-42.7");
    answer.problem("not-found");
    for id in ["", "a b", "x\"y"] {
        let answer = send(id).await;
        assert_ne!(answer.header("x-request-id"), id);
        answer.problem("not-found");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_with_a_warning() {
    let world = World::with(Limits { answer: Duration::from_millis(20), ..Limits::default() });
    let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, Infallible>>());
    let answer = Answer::of(world.open(Method::POST, "/v1/vpcs", &[JSON], body).await).await;
    let problem = answer.problem("timeout");
    assert_eq!(problem["status"], 504);
    assert!(problem["detail"].as_str().unwrap().contains("look before asking again"));
}

#[tokio::test]
async fn a_peer_has_no_more_requests_than_it_may() {
    let world = World::with(Limits { requests: 0, ..Limits::default() });
    let answer = world.get("/v1/vpcs").await;
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.problem("limit")["status"], 429);
    // A monitor's are counted by themselves.
    let monitor = world.by("monitor/prometheus").get("/metrics").await;
    monitor.expect(StatusCode::OK);
    let world = World::with(Limits { monitors: 0, ..Limits::default() });
    let answer = world.by("monitor/prometheus").get("/metrics").await;
    assert_eq!(answer.problem("limit")["status"], 429);
}

//! The paths of identities: join tokens and certificates.

use super::paths::{body, path_parameters, problem, schema};
use mizar_identity::{enrol, pki};
use serde_json::{Map, Value, json};

/// All of them.
pub(super) fn all() -> Map<String, Value> {
    let mut paths = Map::new();
    paths.insert("/v1/tokens".to_owned(), tokens());
    paths.insert("/v1/tokens/{name}".to_owned(), token());
    paths.insert("/v1/revocations".to_owned(), revocations());
    paths.insert(enrol::JOIN.to_owned(), json!({ "post": join() }));
    paths.insert(enrol::CERTIFICATES.to_owned(), json!({ "post": renew() }));
    paths
}

fn tokens() -> Value {
    let made = answer("It is made, and on disk. It is told this once.", "TokenMadeBody");
    json!({
        "get": {
            "operationId": "listTokens",
            "summary": "All join tokens, without their secrets. For operators.",
            "responses": {
                "200": answer("The tokens.", "TokenListBody"), "default": problem(),
            },
        },
        "post": {
            "operationId": "createToken",
            "summary": "Makes a token by which hosts join. For operators.",
            "requestBody": body("TokenOrderBody"),
            "responses": { "201": made, "default": problem() },
        },
    })
}

fn token() -> Value {
    json!({
        "parameters": path_parameters(&["name"]),
        "delete": {
            "operationId": "deleteToken",
            "summary": "Deletes a join token: nobody joins with it any longer. For operators.",
            "responses": {
                "200": answer("The token that was.", "TokenBody"), "default": problem(),
            },
        },
    })
}

fn revocations() -> Value {
    let done = "From now on nothing is believed of what was issued until then, and connections \
                that were opened with it are cut.";
    json!({
        "get": {
            "operationId": "listRevocations",
            "summary": "Whose certificates are revoked. For operators.",
            "responses": {
                "200": answer("The revocations.", "RevocationListBody"), "default": problem(),
            },
        },
        "post": {
            "operationId": "revoke",
            "summary": "Revokes all certificates that somebody has. For operators.",
            "requestBody": body("RevokeBody"),
            "responses": { "201": answer(done, "RevocationBody"), "default": problem() },
        },
    })
}

fn join() -> Value {
    let name = || json!({ "$ref": "#/components/schemas/Name" });
    let text = json!({ "type": "string" });
    let members = json!({
        "host": name(), "token": name(), "secret": text, "request": request(),
    });
    json!({
        "operationId": "join",
        "summary": "A host's first certificate, for a join token. Needs no certificate.",
        "requestBody": object(&members),
        "responses": { "200": signed(), "default": problem() },
    })
}

fn renew() -> Value {
    json!({
        "operationId": "renewCertificate",
        "summary": "A certificate in place of the one that is shown. For hosts and operators.",
        "requestBody": object(&json!({ "request": request() })),
        "responses": { "200": signed(), "default": problem() },
    })
}

fn request() -> Value {
    json!({
        "type": "string", "maxLength": pki::Request::LONGEST,
        "description":
            "A certificate request in PEM, of a key on P-256. What it asks for is ignored.",
    })
}

fn object(members: &Value) -> Value {
    let required: Vec<_> = members.as_object().into_iter().flat_map(Map::keys).collect();
    let schema = json!({
        "type": "object", "additionalProperties": false,
        "required": required, "properties": members,
    });
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn signed() -> Value {
    let schema = json!({
        "type": "object",
        "required": ["chain", "inFleet"],
        "properties": {
            "chain": {
                "type": "string", "description": "The certificate and its CA's, in PEM.",
            },
            "inFleet": { "type": "boolean", "description": "Whether the fleet has the host." },
        },
    });
    json!({
        "description": "It is signed.",
        "content": { "application/json": { "schema": schema } },
    })
}

fn answer(description: &str, of: &str) -> Value {
    json!({ "description": description, "content": { "application/json": schema(of) } })
}
